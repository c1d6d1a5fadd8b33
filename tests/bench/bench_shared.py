"""What data and work that threads share cost: server CPU of an operation.

    python3 tests/bench/bench_shared.py [PROGRAM] [SECONDS]

store:incr on one key by two reactors at the same time, beside incr of nginx's ngx.shared with two worker processes; and a
call of a worker's function, there and back, with one client and with 16.

"A request with one incr" is all that such a request costs, with one request at a time on each of 16 connections or with
16 pipelined. "In a loop" is the difference between a handler that calls incr LOOP times and one that does not, by the
call; LuaJIT compiles that loop in nginx, and interprets it in evserve, where handlers have a deadline, except in routes
with jit = true, "in a compiled loop". Rounds take
turns, and the ratio is the median of the rounds' ratios. Calls are measured with server and wrk on one core: in a
virtual machine, waking a core that sleeps takes longer than the call, and is charged to whoever does it. CPU is user
and system time of all threads and processes of the server; wrk makes the load.
"""

import contextlib
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import servers

ROUNDS = 7
LOOP = 1000
SITE = f"""
local app = require "evserve"
local store = app.store "bench"
local worker = app.worker("calls.lua", {{ threads = 1, queue = 1000 }})
app.get("/none", function() return "x" end)
app.get("/one", function() return tostring(store:incr("hits", 1)) end)
app.get("/loop", function() for i = 1, {LOOP} do store:incr("hits", 1) end return "x" end)
app.get("/compiled", {{ jit = true }}, function() for i = 1, {LOOP} do store:incr("hits", 1) end return "x" end)
app.get("/call", function() worker.nothing() return "x" end)
"""
CALLS = "return { nothing = function() end }\n"
PIPELINE = """
init = function() batch = wrk.format("GET", wrk.path):rep(16) end
request = function() return batch end
"""


def start_nginx(folder):
    port = servers.free_port()
    modules = "/usr/lib/nginx/modules"
    (folder / "nginx.conf").write_text(f"""
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
user root; worker_processes 2; daemon off; pid {folder}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 1000; multi_accept on; use epoll; }}
http {{
    access_log off; server_tokens off; keepalive_requests 1000000000; default_type text/plain;
    lua_shared_dict bench 1m;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location = /none {{ content_by_lua_block {{ ngx.print "x" }} }}
        location = /one {{ content_by_lua_block {{ ngx.print(ngx.shared.bench:incr("hits", 1, 0)) }} }}
        location = /loop {{ content_by_lua_block {{
            local store = ngx.shared.bench
            for i = 1, {LOOP} do store:incr("hits", 1, 0) end
            ngx.print "x"
        }} }}
    }}
}}
""")
    return servers.Server("nginx", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port)


def start_evserve(folder, program):
    (folder / "site.lua").write_text(SITE)
    (folder / "calls.lua").write_text(CALLS)
    return servers.Server("evserve", [program, "--reactors", "2", "--listen", "127.0.0.1:0", str(folder / "site.lua")],
                          port_from="stderr")


def call(server, seconds, connections):
    """CPU of a worker's call, in microseconds; the server is on the first core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # wrk's, too
    try:
        return measure(server, "/call", seconds, connections) - measure(server, "/none", seconds, connections)
    finally:
        os.sched_setaffinity(0, cores)


def measure(server, path, seconds, connections, script=None):
    """Server CPU of one request in a round of so many seconds, in microseconds."""
    before = server.cpu_us()
    more = ["-s", str(script)] if script else []
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *more,
                           f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True)
    requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(f"{server.name} {path}: {done.stdout}")
    return (server.cpu_us() - before) / requests


INCR = ("a request with one incr", "the same, 16 pipelined", "incr in a loop", "in a compiled loop")


def incr(server, seconds, pipeline, compiled="/compiled"):
    """CPU in microseconds, in the order of INCR."""
    none = measure(server, "/none", seconds, 16)
    return (measure(server, "/one", seconds, 16), measure(server, "/one", seconds, 16, pipeline),
            (measure(server, "/loop", seconds, 16) - none) / LOOP, (measure(server, compiled, seconds, 16) - none) / LOOP)


def compare(ours, theirs):
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    return f"{statistics.median(ours):8.3f} us   nginx {statistics.median(theirs):8.3f} us   ratio {ratio:.2f}"


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(servers.ROOT / "evserve")
    seconds = sys.argv[2] if len(sys.argv) > 2 else "1"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ev")))
        evserve = start_evserve(folder, program)
        stack.callback(evserve.stop)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        for_calls = start_evserve(folder, program)
        os.sched_setaffinity(0, cores)
        stack.callback(for_calls.stop)
        nginx = None
        if shutil.which("nginx") and pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists():
            nginx = start_nginx(folder)
            stack.callback(nginx.stop)
        pipeline = folder / "pipeline.lua"
        pipeline.write_text(PIPELINE)
        ours, theirs, calls = [], [], {1: [], 16: []}
        for _ in range(ROUNDS):
            ours.append(incr(evserve, seconds, pipeline))
            if nginx:
                theirs.append(incr(nginx, seconds, pipeline, "/loop"))
            for connections, found in calls.items():
                found.append(call(for_calls, seconds, connections))
    for number, name in enumerate(INCR):
        values = [found[number] for found in ours]
        print(f"{name:32}", compare(values, [found[number] for found in theirs]) if nginx else
              f"{statistics.median(values):8.3f} us   (no nginx with Lua here)")
    for connections, found in calls.items():
        name = f"a worker's call, {connections} client{'s' if connections > 1 else ''}"
        print(f"{name:32} {statistics.median(found):8.3f} us")


if __name__ == "__main__":
    main()
