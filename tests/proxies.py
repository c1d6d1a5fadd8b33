"""Behind a proxy: see scripts/proxies.sh. Exit status 0 if no request has failed, 1 if some have, 77 without a proxy."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position

EVSERVE = evtest.binary("EVSERVE_BIN")
ROUNDS = 5      # of each thing that happens to the server
PAUSE_S = 1.5   # between two of them: longer than drain_grace, so that each stop comes to its end
CLIENTS = 6     # of the proxy: half of them post
OPTIONS = [option for option in sys.argv[1:] if option.startswith("-")]  # of each server
SITE = """
local app = require "evserve"
app.set { idle_timeout = "75s", drain_delay = os.getenv "DRAIN_DELAY" }
app.health "/healthz"
app.static("/", "public")
app.get("/lua", function() app.sleep "2ms" return "small\\n" end)
app.post("/echo", function(req) return req.body end)
"""

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    upstream site {{ {servers} keepalive 32; keepalive_timeout 60s; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://site;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
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
    retry-on conn-failure empty-response
frontend front
    bind 127.0.0.1:{port}
    default_backend site
backend site
    option httpchk GET /healthz
    http-request disable-l7-retry if METH_POST
    http-reuse safe
{servers}
"""
VARNISH = """
vcl 4.1;
import directors;
{servers}
sub vcl_init {{
    new all = directors.round_robin();
{backends}
}}
sub vcl_recv {{
    set req.backend_hint = all.backend();
    return (pass);
}}
"""


def nginx_command(folder, port, addresses):
    servers = " ".join(f"server {host}:{number} max_fails=0;" for host, number in addresses)
    write(folder, "nginx.conf", NGINX.format(folder=folder, port=port, servers=servers))
    return ["nginx", "-p", folder, "-c", os.path.join(folder, "nginx.conf")]


def haproxy_command(folder, port, addresses):
    servers = "".join(f"    server s{i} {host}:{number} check inter 500ms fall 2 rise 1 pool-purge-delay 30s\n"
                      for i, (host, number) in enumerate(addresses))
    write(folder, "haproxy.cfg", HAPROXY.format(port=port, servers=servers))
    return ["haproxy", "-db", "-f", os.path.join(folder, "haproxy.cfg")]


def varnish_command(folder, port, addresses):
    probe = '.probe = { .url = "/healthz"; .interval = 500ms; .window = 3; .threshold = 2; .initial = 2; }'
    servers = "".join(f'backend s{i} {{ .host = "{host}"; .port = "{number}"; {probe} }}\n'
                      for i, (host, number) in enumerate(addresses))
    backends = "".join(f"    all.add_backend(s{i});\n" for i in range(len(addresses)))
    write(folder, "site.vcl", VARNISH.format(servers=servers, backends=backends))
    return ["varnishd", "-F", "-a", f"127.0.0.1:{port}", "-f", os.path.join(folder, "site.vcl"), "-n",
            os.path.join(folder, "varnish"), "-s", "malloc,16m", "-T", "none", "-S", "none"]


PROXIES = {"nginx": ("nginx", nginx_command), "haproxy": ("haproxy", haproxy_command),
           "varnish": ("varnishd", varnish_command)}


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def read_response(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(f"the connection ended after {data!r}")
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                   if line.lower().startswith(b"content-length")), 0)
    while len(content) < length:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError("the content was cut")
        content += piece
    return head, content


class Client(threading.Thread):
    """Asks through the proxy until it is told to stop."""

    def __init__(self, address, number):
        super().__init__(daemon=True)
        self.address, self.posts = address, number % 2 == 1
        self.done = threading.Event()
        self.count, self.failures = 0, []
        self.random = random.Random(number)

    def ask(self, sock):
        body = b"small\n"
        if self.posts:
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        else:
            sock.sendall(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % self.random.choice((b"lua", b"small.txt")))
        head, content = read_response(sock)
        self.count += 1
        if not head.startswith(b"HTTP/1.1 200 ") or content != body:
            raise ValueError(head.split(b"\r\n")[0].decode())
        return b"\r\nconnection: close" in head.lower()

    def run(self):
        while not self.done.is_set():
            try:
                with socket.create_connection(self.address, timeout=30) as sock:
                    while not self.ask(sock) and not self.done.is_set():
                        time.sleep(self.random.choice((0.001, 0.005, 0.02, 0.1)))
            except (OSError, EOFError, ValueError) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {'POST' if self.posts else 'GET'}: {error!r}")
                time.sleep(0.05)


@contextlib.contextmanager
def proxy(name, folder, addresses):
    """A running proxy; yields its address."""
    program, command = PROXIES[name]
    port = free_port()
    with open(os.path.join(folder, name + ".out"), "wb") as out:
        process = subprocess.Popen(command(folder, port, addresses), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            def is_up():
                if process.poll() is not None:
                    with open(out.name, encoding="utf-8", errors="replace") as text:
                        raise RuntimeError(f"{program} does not start: {text.read()}")
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                    sock.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    return sock.recv(100).startswith(b"HTTP/1.1 200")
                return False
            evtest.wait_until(is_up, program)
            yield "127.0.0.1", port
        finally:
            process.terminate()
            process.wait(30)


def start(folder, *arguments, drain_delay="0s", **options):
    """Only a stop without a successor at the address has a drain_delay: else the checks of the proxy would find the old
    server, which says that it stops, and take the address out of service with the new one."""
    return evtest.Program(EVSERVE, "site.lua", *arguments, *OPTIONS, cwd=folder,
                          env=dict(os.environ, DRAIN_DELAY=drain_delay), **options)


def wait_for_line(server, text):
    evtest.wait_until(lambda: any(text in line for line in server.lines), text)


def ask_under_load(address, happen):
    """Runs happen() while clients ask. Returns the number of requests and the failures."""
    clients = [Client(address, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        happen()
    finally:
        for client in clients:
            client.done.set()
        for client in clients:
            client.join(60)
    return sum(client.count for client in clients), [line for client in clients for line in client.failures]


def prove_changes(name, folder):
    """One address: the server reloads, and hands over to another one, and upgrades itself."""
    usage = subprocess.run([EVSERVE, "--help"], capture_output=True, text=True, check=False).stdout
    can_upgrade = "--upgrade" in usage and "--sandbox" not in OPTIONS
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listen = f"fd:{listener.fileno()}"
        servers = [start(folder, "--listen", listen, pass_fds=[listener.fileno()])]

        def reload():
            before = sum("reloaded" in line for line in servers[-1].lines)
            servers[-1].process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: sum("reloaded" in line for line in servers[-1].lines) > before, "the reload")
            time.sleep(PAUSE_S)

        def hand_over():
            old = servers[-1]
            servers.append(start(folder, "--listen", listen, pass_fds=[listener.fileno()]))
            old.process.send_signal(signal.SIGTERM)
            old.process.wait(60)
            time.sleep(PAUSE_S)

        def happen():
            for _ in range(ROUNDS):
                reload()
                hand_over()

        try:
            with proxy(name, folder, [listener.getsockname()]) as address:
                yield f"{ROUNDS} reloads, {ROUNDS} handovers", *ask_under_load(address, happen)
        finally:
            for server in servers:
                server.kill()
    if can_upgrade:
        yield from prove_upgrades(name, folder)


def prove_upgrades(name, folder):
    """SIGUSR2: the new program takes the sockets over by itself. Not in the sandbox, where no program can be started."""
    port = free_port()
    os.mkdir(os.path.join(folder, "run"))
    os.chmod(os.path.join(folder, "run"), 0o777)  # --user: the new program writes there, too
    pid_file = os.path.join(folder, "run", "pid")
    server = start(folder, "--listen", f"127.0.0.1:{port}", "--pid-file", pid_file)

    def read_pid():
        with open(pid_file, encoding="ascii") as file:
            return int(file.read() or 0)

    def happen():
        for _ in range(ROUNDS):
            before = read_pid()
            os.kill(before, signal.SIGUSR2)
            evtest.wait_until(lambda old=before: read_pid() not in (0, old), "the new program")
            evtest.wait_until(lambda old=before: not os.path.exists(f"/proc/{old}") or is_zombie(old), "the old one's end")
            time.sleep(PAUSE_S)

    try:
        with proxy(name, folder, [("127.0.0.1", port)]) as address:
            yield f"{ROUNDS} upgrades", *ask_under_load(address, happen)
    finally:
        last = read_pid()
        if last != server.pid:
            os.kill(last, signal.SIGTERM)
        server.kill()


def is_zombie(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
    return True


def prove_stops(name, folder):
    """Two addresses: one server after the other is stopped, and started again. drain_delay keeps it in service until the
    checks of the proxy have noticed; nginx, which has none, tries the other server when one refuses connections."""
    ports = [free_port(), free_port()]
    servers = [start(folder, "--listen", f"127.0.0.1:{port}", drain_delay="3s") for port in ports]

    def happen():
        for turn in range(ROUNDS):
            i = turn % 2
            servers[i].process.send_signal(signal.SIGTERM)
            servers[i].process.wait(60)
            servers[i].kill()
            servers[i] = start(folder, "--listen", f"127.0.0.1:{ports[i]}", drain_delay="3s")
            time.sleep(PAUSE_S)

    try:
        with proxy(name, folder, [("127.0.0.1", port) for port in ports]) as address:
            yield f"{ROUNDS} stops beside a second server", *ask_under_load(address, happen)
    finally:
        for server in servers:
            server.kill()


def main(names):
    unknown = [name for name in names if name not in PROXIES]
    if unknown:
        sys.exit(f"proxies.py: {unknown[0]}: one of {', '.join(PROXIES)}")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    os.environ["PATH"] = path
    found = [name for name in names or PROXIES if shutil.which(PROXIES[name][0])]
    for name in set(names or PROXIES) - set(found):
        print(f"{name} is not installed (scripts/setup.sh --proxies)")
    failed = 0
    for name in found:
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            os.chmod(folder, 0o755)  # nginx's and Varnish's workers are other users
            os.mkdir(os.path.join(folder, "public"))
            write(folder, "public/small.txt", "small\n")
            write(folder, "site.lua", SITE)
            for prove in (prove_changes, prove_stops):
                for what, count, failures in prove(name, folder):
                    print(f"{name}: {what}: {count} requests, {len(failures)} failed", flush=True)
                    for line in failures[:10]:
                        print("    " + line)
                    failed += len(failures)
    return 77 if not found else failed > 0


if __name__ == "__main__":
    sys.exit(main([name for name in sys.argv[1:] if not name.startswith("-")]))
