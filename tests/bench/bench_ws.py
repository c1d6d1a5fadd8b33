"""What a WebSocket costs: memory of an idle one, and CPU of a message of 64 bytes that is echoed, for evserve as a C
library and with a Lua script, beside Node's ws and uWebSockets.js, where they are installed.

    python3 tests/bench/bench_ws.py [CLIENTS...]

For each number of clients (64 and 10,000) the servers take turns, each on one thread, in rounds of a second: every
client sends a message, waits for it to come back, and sends the next one (ws_load.c). CPU is user and system time of
all threads of the server, from /proc, and the ratio is the median of the rounds' ratios. Memory is what the resident
memory has grown by for each client, before the first message. Node's ws comes with Debian's node-ws. NODE_PATH says
where uWebSockets.js is, beside /usr/share/nodejs, and UWEBSOCKETS its name if it has another one.
"""

import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import servers
from bench_publish import cpu_ns, memory_kib

PROGRAMS = pathlib.Path(os.environ.get("BENCH_PROGRAMS", servers.PROGRAMS))
EVSERVE = os.environ.get("EVSERVE", str(pathlib.Path(__file__).parents[2] / "evserve"))
ROUNDS, MILLISECONDS = 7, 1000

LUA = """local app = require "evserve"
app.websocket("/echo", { ping = 0 }, function(ws)
    for text in ws:messages() do ws:send(text) end
end)
"""
NODE_WS = """const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096 },
    () => console.log(server.address().port));
server.on("connection", ws => ws.on("message", (data, binary) => ws.send(data, { binary })));
process.stdin.on("end", () => process.exit()).resume();
"""
UWEBSOCKETS = """const uws = require(process.env.UWEBSOCKETS || "uWebSockets.js");
const options = { idleTimeout: 0, sendPingsAutomatically: false };
uws.App().ws("/echo", { ...options, message: (ws, data, binary) => ws.send(data, binary) })
    .listen("127.0.0.1", 0, socket => console.log(uws.us_socket_local_port(socket)));
process.stdin.on("end", () => process.exit()).resume();
"""


class Server:
    """A server with its clients."""

    def __init__(self, name, command, count, folder):
        self.name, self.rounds = name, []
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, cwd=folder,
                                        env={"NODE_PATH": "/usr/share/nodejs", **os.environ})
        line = self.program.stdout.readline()
        port = re.match(r"(?:listening on 127\.0\.0\.1:)?(\d+)$", line)
        if not port:
            self.program.stdin.close()
            raise RuntimeError(line + self.program.stdout.read())
        before = memory_kib(self.program.pid)
        self.clients = subprocess.Popen([PROGRAMS / "ws_load", port[1], str(count)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        if self.clients.stdout.readline() != "ready\n":
            raise RuntimeError(f"{name}: the clients do not connect")
        time.sleep(0.2)
        self.each = (memory_kib(self.program.pid) - before) * 1024 / count

    def round(self):
        """CPU of a message in ns, and messages a second."""
        before, start = cpu_ns(self.program.pid), time.monotonic()
        self.clients.stdin.write(f"{MILLISECONDS}\n")
        self.clients.stdin.flush()
        messages = int(self.clients.stdout.readline())
        self.rounds.append(((cpu_ns(self.program.pid) - before) / messages, messages / (time.monotonic() - start)))

    def end(self):
        self.clients.communicate()
        self.program.terminate()
        self.program.communicate()


def commands(folder):
    """The servers, by name."""
    (folder / "echo.lua").write_text(LUA)
    (folder / "ws.js").write_text(NODE_WS)
    (folder / "uws.js").write_text(UWEBSOCKETS)
    return {"evserve, C": [PROGRAMS / "ws_echo"],
            "evserve, Lua": [EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "1", "echo.lua"],
            "Node ws": ["node", "ws.js"], "uWebSockets.js": ["node", "uws.js"]}


def measure(count, folder):
    running = []
    try:
        for name, command in commands(folder).items():
            try:
                running.append(Server(name, command, count, folder))
            except (OSError, RuntimeError) as error:
                lines = str(error).strip().splitlines()
                print(f"{name} is left out:", next((line for line in lines if line.startswith("Error: ")), lines[-1]))
        for server in running:
            server.round()
            server.rounds.clear()
        for n in range(ROUNDS):
            for server in running if n % 2 == 0 else reversed(running):
                server.round()
    finally:
        for server in running:
            server.end()
    print(f"{count} clients, {ROUNDS} rounds of {MILLISECONDS} ms")
    first = running[0].rounds
    for server in running:
        cpu, rate = (statistics.median(column) for column in zip(*server.rounds))
        ratio = statistics.median(theirs[0] / ours[0] for theirs, ours in zip(server.rounds, first))
        print(f"  {server.name:15} {cpu / 1000:7.2f} us CPU a message ({ratio:5.2f} of {running[0].name}) "
              f"{rate:9.0f} messages/s {server.each:8.0f} bytes a client", flush=True)


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        for count in [int(word) for word in sys.argv[1:]] or [64, min(10000, hard - 100)]:
            measure(count, pathlib.Path(folder))


if __name__ == "__main__":
    main()
