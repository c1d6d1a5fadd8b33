"""What requests cost whose handler asks another server first: CPU of the server beside nginx.

    python3 tests/bench/bench_outbound.py [PROGRAM] [SECONDS]

A Lua route that reads one value from Redis through lua-nginx-redis, with a kept connection, beside nginx with its Lua
module, which runs the same file; and a route that answers what app.fetch() gets from a local server, beside proxy_pass
with kept connections to the same server. 16 connections of wrk have one request each under way. Each server has one
thread, on the last core; all else is on the first. Rounds take turns, and a ratio is the median of the rounds' ratios.
CPU is user and system time of the server alone: neither Redis, the local server nor wrk counts.
"""

import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import servers
from bench_shared import measure

ROUNDS = 7
CONTENT = b"It is twelve o'clock, and all is well.\n" * 8  # what the local server answers
MODULES = pathlib.Path("/usr/lib/nginx/modules")
READ = """
local redis = require "nginx.redis"
return function(socket)
    local client = redis:new()
    client:set_timeout(1000)
    local ok, err = client:connect("unix:" .. socket)
    if not ok then error(err) end
    local value, why = client:get "key"
    if not value then error(why) end
    client:set_keepalive(10000, 100)
    return value
end
"""
SITE = """
local app = require "evserve"
ngx = require "ngx"
local read = require "read"
app.get("/none", function() return "x" end)
app.get("/redis", function() return read "{folder}/redis.sock" end)
app.get("/fetch", function()
    local res = assert(app.fetch "http://127.0.0.1:{port}/content.txt")
    return res.status, res.body, {{ ["Content-Type"] = res.headers["Content-Type"] }}
end)
"""
NGINX = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
user root; worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 1000; multi_accept on; use epoll; }}
http {{
    access_log off; server_tokens off; keepalive_requests 1000000000; default_type text/plain;
    lua_package_path "{folder}/?.lua;;";
    upstream local {{ server 127.0.0.1:{upstream}; keepalive 30; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location = /none {{ content_by_lua_block {{ ngx.print "x" }} }}
        location = /redis {{ content_by_lua_block {{ ngx.print(require "read" "{folder}/redis.sock") }} }}
        location = /fetch {{
            proxy_pass http://local/content.txt; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
}}
"""


def core():
    """Of the servers that are measured."""
    return os.cpu_count() - 1


@contextlib.contextmanager
def running_redis(folder):
    """Redis on a unix socket, with a value."""
    socket = folder / "redis.sock"
    process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "",
                                "--dir", str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + servers.START_SECONDS
        while subprocess.run(["redis-cli", "-s", str(socket), "set", "key", "a value of thirty bytes or so.."],
                             capture_output=True, text=True, check=False).stdout != "OK\n":
            if time.monotonic() > end:
                raise RuntimeError("Redis does not start")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def start_content(folder, stack, program):
    """The server that is asked: evserve, which serves a file."""
    folder = folder / "content"
    folder.mkdir()
    (folder / "content.txt").write_bytes(CONTENT)
    server = servers.Server("content", [program, "--listen", "127.0.0.1:0", "--root", str(folder)], port_from="stderr")
    stack.callback(server.stop)
    return server.port


def start_evserve(folder, stack, program, upstream):
    (folder / "read.lua").write_text(READ)
    (folder / "site.lua").write_text(SITE.format(folder=folder, port=upstream))
    server = servers.Server("evserve", [program, "--listen", "127.0.0.1:0", str(folder / "site.lua")], core=core(),
                            port_from="stderr")
    stack.callback(server.stop)
    return server


def start_nginx(folder, stack, upstream):
    port = servers.free_port()
    (folder / "nginx.conf").write_text(NGINX.format(modules=MODULES, folder=folder, port=port, upstream=upstream))
    server = servers.Server("nginx", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port, core())
    stack.callback(server.stop)
    return server


LOADS = {"/none": "a short text from Lua", "/redis": "one GET of Redis, by lua-nginx-redis",
         "/fetch": "app.fetch, and proxy_pass"}


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(servers.ROOT / "evserve")
    seconds = sys.argv[2] if len(sys.argv) > 2 else "1"
    for needed in ("redis-server", "nginx", "wrk"):
        if not shutil.which(needed):
            sys.exit(f"no {needed} here")
    if not (MODULES / "ngx_http_lua_module.so").exists():
        sys.exit("no Lua module of nginx here")
    os.sched_setaffinity(0, {0})
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ev")))
        os.chmod(folder, 0o755)
        stack.enter_context(running_redis(folder))
        upstream = start_content(folder, stack, program)
        pair = (start_evserve(folder, stack, program, upstream), start_nginx(folder, stack, upstream))
        found = {path: ([], []) for path in LOADS}
        for server in pair:
            for path in LOADS:
                if b"200 OK" not in servers.fetch(server.port, path):
                    sys.exit(f"{server.name} {path}: {servers.fetch(server.port, path)!r}")
        for _ in range(ROUNDS):
            for path, values in found.items():
                for server, list_of in zip(pair, values):
                    list_of.append(measure(server, path, seconds, 16))
    for path, (ours, theirs) in found.items():
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        print(f"{LOADS[path]:40} {statistics.median(ours):7.2f} us   nginx {statistics.median(theirs):7.2f} us   "
              f"ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
