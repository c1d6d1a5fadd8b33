"""What a Lua handler that returns a short string costs beside the same bytes from the file cache, and what a request costs
among 10, 1,000 and 10,000 routes: server CPU a request.

    python3 tests/bench/bench_lua.py [PROGRAM] [SECONDS]

Loads take turns in short rounds, so that a machine that is busy with other things disturbs all alike; the ratio is the
median of the rounds' ratios. CPU is user and system time of the server (/proc/PID/schedstat); wrk makes the load.
"""

import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

TEXT = "hello, a short string\n"
ROUNDS = 7
SITE = f"""
local app = require "evserve"
app.static("/", "files")
app.get("/lua", function() return "hello, a short string\\n" end)
app.group("/api").get("/users/:id{{int}}", function(req) return "hello " .. req.params.id .. "\\n" end)
local wrapped = app.group("")
wrapped.use(function(req, nxt) local res = nxt() res.headers["x-app"] = "demo" return res end)
wrapped.get("/wrapped", function() return "hello, a short string\\n" end)
app.get("/json", function() return {{ hello = "world" }} end)
"""
LOADS = (("file cache", "/file.txt"), ("Lua: a string", "/lua"), ("Lua: a parameter", "/api/users/7"),
         ("Lua: one middleware", "/wrapped"), ("Lua: a table as JSON", "/json"))
PIPELINE = """
local depth = 16
init = function() local one = wrk.format("GET", wrk.path) batch = one:rep(depth) end
request = function() return batch end
"""


ROUTES = """
local app = require "evserve"
local function handler() return "hello, a short string\\n" end
for i = 1, COUNT / 2 do
    app.get("/api/v1/items" .. i .. "/summary", handler)
    app.get("/api/v1/items" .. i .. "/:id{int}/parts/:name", handler)
end
"""
PATHS = """
local requests, at, count = {}, 0, COUNT
init = function()
    for i = 1, count / 2 do
        requests[2 * i - 1] = wrk.format("GET", "/api/v1/items" .. i .. "/summary")
        requests[2 * i] = wrk.format("GET", "/api/v1/items" .. i .. "/" .. i .. "/parts/wheel")
    end
end
request = function() at = (at + 7919) % count return requests[at + 1] end
"""


def cpu_ns(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def measure(server, path, seconds, script):
    """Server CPU of one request in a round of so many seconds."""
    before = cpu_ns(server.pid)
    arguments = ["-s", script] if script else []
    done = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", *arguments, f"http://{server.address}{path}"],
                          capture_output=True, text=True, check=True)
    requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(f"{path}: {done.stdout}")
    return (cpu_ns(server.pid) - before) / requests


def run(loads, seconds):
    """Each load is a name, a server, a path and a script for wrk, or None. The first one is what others are compared to."""
    figures = {load[0]: [] for load in loads}
    for _ in range(ROUNDS):
        for name, *load in loads:
            figures[name].append(measure(load[0], load[1], seconds, load[2]))
    base = figures[loads[0][0]]
    for name, values in figures.items():
        ratio = statistics.median(value / one for value, one in zip(values, base))
        print(f"    {name:24} {statistics.median(values) / 1000:7.2f} us   {ratio:5.2f}")


class Server:
    """A server of a script's text, in a folder with files/file.txt."""

    def __init__(self, program, folder, text):
        (folder / "site.lua").write_text(text, encoding="ascii")
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0", "site.lua"], cwd=folder, text=True,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.address = self.process.stderr.readline().split()[2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()


def run_routes(program, folder, seconds):
    loads = []
    with contextlib.ExitStack() as stack:
        for count in (10, 1000, 10000):
            script = folder / f"paths{count}.lua"
            script.write_text(PATHS.replace("COUNT", str(count)), encoding="ascii")
            server = stack.enter_context(Server(program, folder, ROUTES.replace("COUNT", str(count))))
            loads.append((f"{count} routes", server, "/", str(script)))
        run(loads, seconds)


def main():
    program = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "evserve")
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "files").mkdir()
        (folder / "files" / "file.txt").write_text(TEXT, encoding="ascii")
        script = folder / "pipeline.lua"
        script.write_text(PIPELINE, encoding="ascii")
        with Server(program, folder, SITE) as server:
            print("server CPU a request, 16 connections; and its ratio to the first")
            run([(name, server, path, None) for name, path in LOADS], seconds)
            print("the same with 16 requests in one packet, where the kernel has little to do")
            run([(name, server, path, str(script)) for name, path in LOADS], seconds)
        print("all routes of a site in turn, half of them with parameters")
        run_routes(program, folder, seconds)


if __name__ == "__main__":
    main()
