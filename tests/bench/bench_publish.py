"""What a broadcast costs: CPU of one publish of 64 bytes to many WebSockets, of a host in C and of a script, beside a
program that only calls send() as often.

    python3 tests/bench/bench_publish.py [CLIENTS] [ROUNDS]

The servers and the floor (publish_floor.c) take turns, each with as many open connections (10,000, if the limit of
open files allows them), whose other ends are processes of this program. A round publishes once and waits until each
client has the whole frame. CPU is user and system time of all threads of the server, in nanoseconds, from /proc. The
ratio is the median of the rounds' ratios; the goal is 1.15.

Then the same for BURST messages that are published at once, by the message: what it costs while a thread catches up.
"""

import multiprocessing
import os
import pathlib
import re
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import servers

FRAME = 2 + 64
BURST, BURST_ROUNDS = 64, 5
HELLO = (b"GET /topic HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
WAIT_SECONDS = 60
REST_SECONDS = 0.01
EVSERVE = os.environ.get("EVSERVE", str(pathlib.Path(__file__).parents[2] / "evserve"))
LUA = """local app = require "evserve"
app.websocket("/topic", { ping = 0 }, function(ws)
    ws:subscribe("bench")
    for _ in ws:messages() do end
end)
local text = ("x"):rep(64)
app.get("/publish", function(request)
    for _ = 1, tonumber(request.query.n) do app.publish("bench", text) end
    return ""
end)
"""


def be_clients(port, count, pipe):
    """Connect, say so, and then answer each message of the pipe when every client has got a frame."""
    epoll = select.epoll()
    clients = {}
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(HELLO)
        reply = b""
        while not reply.endswith(b"\r\n\r\n"):
            reply += client.recv(4096)
        assert reply.startswith(b"HTTP/1.1 101 "), reply
        client.setblocking(False)
        clients[client.fileno()] = client
        epoll.register(client, select.EPOLLIN)
    pipe.send("ready")
    while (messages := pipe.recv()) > 0:
        missing = count * FRAME * messages
        while missing > 0:
            for fd, _ in epoll.poll():
                missing -= len(clients[fd].recv(BURST * FRAME))
        assert missing == 0, missing
        pipe.send("done")


def cpu_ns(pid):
    """CPU of a process, all its threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def memory_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


class Side:
    """A program with its clients."""

    def __init__(self, name, command, count):
        self.name, self.count = name, count
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.port = int(re.search(r"(\d+)$", self.program.stdout.readline())[1])
        before_kib = memory_kib(self.program.pid)
        self.pipe, other = multiprocessing.Pipe()
        self.clients = multiprocessing.Process(target=be_clients, args=(self.port, count, other), daemon=True)
        self.clients.start()
        self.wait_for("ready")
        self.each = (memory_kib(self.program.pid) - before_kib) * 1024 / count

    def wait_for(self, word):
        assert self.pipe.poll(WAIT_SECONDS), f"no {word} within {WAIT_SECONDS} s"
        assert self.pipe.recv() == word

    def publish(self, messages):
        self.program.stdin.write("\n" * messages)
        self.program.stdin.flush()

    def round(self, messages=1):
        """CPU in ns of one publish, or of several at once."""
        time.sleep(REST_SECONDS)
        before = cpu_ns(self.program.pid)
        self.pipe.send(messages)
        self.publish(messages)
        self.wait_for("done")
        time.sleep(REST_SECONDS)
        return cpu_ns(self.program.pid) - before

    def end_clients(self):
        self.pipe.send(0)
        self.clients.join(WAIT_SECONDS)

    def end_program(self):
        self.program.stdin.close()
        self.program.wait(WAIT_SECONDS)


class Script(Side):
    """evserve with a script, which publishes when it is asked to."""

    def __init__(self, count, folder):
        (folder / "topic.lua").write_text(LUA)
        super().__init__("evserve, Lua",
                         [EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "1", folder / "topic.lua"], count)
        self.connection = socket.create_connection(("127.0.0.1", self.port))

    def publish(self, messages):
        self.connection.sendall(f"GET /publish?n={messages} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert self.connection.recv(4096).startswith(b"HTTP/1.1 200 ")

    def end_program(self):
        self.connection.close()
        self.program.terminate()
        super().end_program()


def take_turns(sides, rounds, messages):
    """CPU of each side, for each round."""
    costs = {side: [] for side in sides}
    for n in range(rounds):
        for side in sides if n % 2 == 0 else reversed(sides):
            costs[side].append(side.round(messages))
    return costs


def ratio(costs, side, floor):
    """The median of the rounds' ratios."""
    return statistics.median(ours / least for ours, least in zip(costs[side], costs[floor]))


def measure(sides, count, rounds):
    floor = sides[0]
    for side in sides:
        side.round()
    costs = take_turns(sides, rounds, 1)
    bursts = take_turns(sides, BURST_ROUNDS, BURST)
    print(f"{count} WebSockets, {rounds} rounds; CPU a subscriber of one publish, and of each of {BURST} at once")
    for side in sides:
        print(f"{side.name:12} {statistics.median(costs[side]) / count:6.0f} ns "
              f"(least {min(costs[side]) / count:.0f}), ratio {ratio(costs, side, floor):.3f} (of the least ones {min(costs[side]) / min(costs[floor]):.3f}); "
              f"{statistics.median(bursts[side]) / count / BURST:6.0f} ns, ratio {ratio(bursts, side, floor):.3f}; "
              f"{side.each:.0f} bytes a client")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else min(10000, hard - 100)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 31
    programs = pathlib.Path(os.environ.get("BENCH_PROGRAMS", servers.PROGRAMS))
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        sides = [Side("send() only", [programs / "publish_floor", str(count)], count),
                 Side("evserve, C", [programs / "publish_server"], count), Script(count, pathlib.Path(folder))]
        measure(sides, count, rounds)
        for side in sides:  # the other sides' clients have inherited the standard input of its program
            side.end_clients()
        for side in sides:
            side.end_program()


if __name__ == "__main__":
    main()
