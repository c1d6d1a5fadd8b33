"""WebSockets with clients and proxies of others: see scripts/ws_peers.sh. Exit status 0 if all that were there agree, 1 if
one does not, 77 if there was none."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "e2e"))
import evtest  # pylint: disable=wrong-import-position

PYTHON = "/usr/bin/python3"  # Debian's packages are for this one
NODE_ENV = dict(os.environ, NODE_PATH="/usr/share/nodejs")
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{host}:{server_port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""
HAPROXY = """
global
    maxconn 512
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
listen front
    bind 127.0.0.1:{port}
    server one {host}:{server_port}
"""


def has_module(name):
    return os.access(PYTHON, os.X_OK) and subprocess.run(
        [PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def script(name):
    return os.path.join(HERE, "ws", name)


def find_peers(short=False):
    """(name, command behind which the address comes, its scheme, None or what is missing). short: not those that take
    long to start."""
    node = shutil.which("node")
    has_ws = node and subprocess.run([node, "-e", "require('ws')"], env=NODE_ENV, capture_output=True,
                                     check=False).returncode == 0
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    has_websockets = has_module("websockets")
    yield ("Python websockets", [PYTHON, script("peer_websockets.py")], "ws",
           None if has_websockets else "python3-websockets")
    yield ("Python wsproto", [PYTHON, script("peer_wsproto.py")], "ws", None if has_module("wsproto") else "python3-wsproto")
    yield "Node ws", [node, script("peer_node.js")], "ws", None if has_ws else "node-ws"
    if short:
        return
    yield ("Chromium", [PYTHON, script("peer_chromium.py"), browser], "http",
           None if browser and has_websockets else "chromium and python3-websockets")
    yield "curl", [PYTHON, script("peer_curl.py")], "ws", None if shutil.which("curl") else "curl"


@contextlib.contextmanager
def proxy(folder, name, config, command, server):
    """A running proxy; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    path = os.path.join(folder, name + ".conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config.format(folder=folder, port=port, host=server[0], server_port=server[1]))
    with open(os.path.join(folder, name + ".out"), "wb") as out:
        process = subprocess.Popen(command(path), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            def is_up():
                assert process.poll() is None, f"{name} does not start: see {out.name}"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    return True
                return False
            evtest.wait_until(is_up, name)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def run_peers(way, address):
    """Returns how many agreed and how many did not."""
    counts = [0, 0]
    for name, command, scheme, missing in find_peers():
        if missing:
            print(f"-- {name} {way}: skipped, {missing} is not installed", flush=True)
            continue
        start = time.monotonic()
        done = subprocess.run(command + [f"{scheme}://{address}"], env=NODE_ENV, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        checks = sum(line.startswith("ok ") for line in done.stdout.splitlines())
        counts[done.returncode != 0] += 1
        if done.returncode != 0:
            print(done.stdout)
        print(f"{'ok' if done.returncode == 0 else 'FAILED'} {name} {way}: {checks} checks, "
              f"{time.monotonic() - start:.1f} s", flush=True)
    return counts


def main():
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    agreed = failed = 0
    ways = [("nginx", NGINX, lambda path: ["nginx", "-p", os.path.dirname(path), "-c", path]),
            ("haproxy", HAPROXY, lambda path: ["haproxy", "-db", "-f", path])]
    with tempfile.TemporaryDirectory(prefix="ev") as folder, evtest.Program(
            evtest.binary("EVSERVE_BIN"), script("peers.lua"), "--listen", "127.0.0.1:0", *sys.argv[1:]) as server:
        os.chmod(folder, 0o755)
        with contextlib.ExitStack() as stack:
            addresses = [("directly", server.address[1])]
            for name, config, command in ways:
                if not shutil.which(name):
                    print(f"-- through {name}: skipped, it is not installed")
                    continue
                port = stack.enter_context(proxy(folder, name, config, command, server.address))
                addresses.append((f"through {name}", port))
            front = os.path.join(folder, "front.lua")
            with open(front, "w", encoding="utf-8") as file:
                file.write(f'require("evserve").proxy("/", "http://{server.address[0]}:{server.address[1]}")\n')
            through = stack.enter_context(evtest.Program(evtest.binary("EVSERVE_BIN"), front, "--listen", "127.0.0.1:0"))
            addresses.append(("through app.proxy", through.address[1]))
            for way, port in addresses:
                counts = run_peers(way, f"127.0.0.1:{port}")
                agreed, failed = agreed + counts[0], failed + counts[1]
        if server.lines[1:]:
            print("the server's log:", *server.lines[1:], sep="\n    ")
    print(f"{agreed} agree, {failed} do not")
    return 77 if agreed + failed == 0 else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
