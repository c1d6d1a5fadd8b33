"""What a proxied request costs: CPU of app.proxy beside that of nginx's proxy_pass.

    python3 tests/bench/bench_proxy.py [PROGRAM] [SECONDS] [ROUNDS]

The upstream is an evserve that serves a file of 1300 bytes. 64 connections of wrk have one request each under way, and both
proxies keep 64 connections to the upstream. nginx is measured twice: as it comes, and with the fields that app.proxy
always sends (Host, X-Forwarded-For, -Proto, -Host, X-Request-Id). Each proxy has one thread, on the last core; all else
is on the first. Rounds take turns, and a ratio is the median of the rounds' ratios. CPU is user and system time of the
proxy alone. The exit status is 1 if app.proxy takes more than BAR of nginx as it comes.
"""

import contextlib
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

import servers
from bench_shared import measure

BAR = 0.90  # of the CPU of nginx as it comes
CONTENT = b"It is twelve o'clock.\n" * 59 + b"\n\n"  # 1300 bytes
SITE = """
local app = require "evserve"
app.proxy("/", "http://127.0.0.1:{upstream}")
"""
NGINX = """
user root; worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 1000; multi_accept on; use epoll; }}
http {{
    access_log off; server_tokens off; keepalive_requests 1000000000; default_type text/plain;
    upstream local {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
    proxy_http_version 1.1;
    server {{
        listen 127.0.0.1:{port};
        location = /content.txt {{ proxy_pass http://local; proxy_set_header Connection ""; }}
        location = /fields/content.txt {{
            proxy_pass http://local/content.txt;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
        }}
    }}
}}
"""


def start_upstream(folder, stack, program):
    folder = folder / "content"
    folder.mkdir()
    (folder / "content.txt").write_bytes(CONTENT)
    server = servers.Server("content", [program, "--listen", "127.0.0.1:0", "--root", str(folder)], port_from="stderr")
    stack.callback(server.stop)
    return server.port


def start_evserve(folder, stack, program, upstream):
    (folder / "site.lua").write_text(SITE.format(upstream=upstream))
    server = servers.Server("evserve", [program, "--listen", "127.0.0.1:0", str(folder / "site.lua")],
                            core=os.cpu_count() - 1, port_from="stderr")
    stack.callback(server.stop)
    return server


def start_nginx(folder, stack, upstream):
    port = servers.free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, upstream=upstream))
    server = servers.Server("nginx", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port,
                            os.cpu_count() - 1)
    stack.callback(server.stop)
    return server


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(servers.ROOT / "evserve")
    seconds = sys.argv[2] if len(sys.argv) > 2 else "1"
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    for needed in ("nginx", "wrk"):
        if not shutil.which(needed):
            sys.exit(f"no {needed} here")
    os.sched_setaffinity(0, {0})
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ev")))
        os.chmod(folder, 0o755)
        upstream = start_upstream(folder, stack, program)
        ours, nginx = start_evserve(folder, stack, program, upstream), start_nginx(folder, stack, upstream)
        loads = [(ours, "/content.txt", "app.proxy"), (nginx, "/fields/content.txt", "nginx, the same fields"),
                 (nginx, "/content.txt", "nginx, as it comes")]
        for server, path, _ in loads:
            if b"200 OK" not in servers.fetch(server.port, path):
                sys.exit(f"{server.name} {path}: {servers.fetch(server.port, path)!r}")
        found = [[] for _ in loads]
        for _ in range(rounds):
            for (server, path, _), values in zip(loads, found):
                values.append(measure(server, path, seconds, 64))
    for (_, _, name), values in zip(loads, found):
        ratio = statistics.median(a / b for a, b in zip(found[0], values))
        print(f"{name:26} {statistics.median(values):7.2f} us   ratio {ratio:.2f}")
    if ratio > BAR:  # the last one: nginx as it comes
        sys.exit(f"app.proxy takes {ratio:.2f} of nginx's CPU; the bar is {BAR:.2f}")


if __name__ == "__main__":
    main()
