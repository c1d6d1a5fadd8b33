"""What a broadcast costs: CPU of one publish of 64 bytes to many WebSockets, beside a program that only calls send() as
often.

    python3 tests/bench/bench_publish.py [CLIENTS] [ROUNDS]

The server and the floor (publish_floor.c) take turns, each with as many open connections (10,000, if the limit of open
files allows them), whose other ends are processes of this program. A round publishes once and waits until each client
has the whole frame. CPU is user and system time of all threads of the server, in nanoseconds, from /proc. The ratio is
the median of the rounds' ratios; the goal is 1.15.

Then the same for BURST messages that are published at once, by the message: what it costs while a thread catches up.
"""

import multiprocessing
import os
import pathlib
import resource
import select
import socket
import statistics
import subprocess
import sys
import time

import servers

FRAME = 2 + 64
BURST, BURST_ROUNDS = 64, 5
HELLO = (b"GET /topic HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
WAIT_SECONDS = 60
REST_SECONDS = 0.01


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

    def __init__(self, command, count):
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = int(self.program.stdout.readline())
        self.before_kib = memory_kib(self.program.pid)
        self.pipe, other = multiprocessing.Pipe()
        self.clients = multiprocessing.Process(target=be_clients, args=(port, count, other), daemon=True)
        self.clients.start()
        self.wait_for("ready")

    def wait_for(self, word):
        assert self.pipe.poll(WAIT_SECONDS), f"no {word} within {WAIT_SECONDS} s"
        assert self.pipe.recv() == word

    def round(self, messages=1):
        """CPU in ns of one publish, or of several at once."""
        time.sleep(REST_SECONDS)
        before = cpu_ns(self.program.pid)
        self.pipe.send(messages)
        self.program.stdin.write("\n" * messages)
        self.program.stdin.flush()
        self.wait_for("done")
        time.sleep(REST_SECONDS)
        return cpu_ns(self.program.pid) - before

    def end_clients(self):
        self.pipe.send(0)
        self.clients.join(WAIT_SECONDS)

    def end_program(self):
        self.program.stdin.close()
        self.program.wait(WAIT_SECONDS)


def take_turns(floor, server, rounds, messages):
    """CPU of both, for each round."""
    pairs = []
    for n in range(rounds):
        order = (floor, server) if n % 2 == 0 else (server, floor)
        cost = {side: side.round(messages) for side in order}
        pairs.append((cost[server], cost[floor]))
    return pairs


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else min(10000, hard - 100)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 31
    programs = pathlib.Path(os.environ.get("BENCH_PROGRAMS", servers.PROGRAMS))
    floor = Side([programs / "publish_floor", str(count)], count)
    server = Side([programs / "publish_server"], count)
    each = (memory_kib(server.program.pid) - server.before_kib) * 1024 / count
    for side in (floor, server):
        side.round()
    pairs = take_turns(floor, server, rounds, 1)
    bursts = take_turns(floor, server, BURST_ROUNDS, BURST)
    for side in (floor, server):  # the other side's clients have inherited the standard input of its program
        side.end_clients()
    for side in (floor, server):
        side.end_program()
    print(f"{count} WebSockets, {rounds} rounds, {each:.0f} bytes of memory for each before the first message")
    for name, values in (("evserve", [pair[0] for pair in pairs]), ("send() only", [pair[1] for pair in pairs])):
        print(f"{name:12} {statistics.median(values) / count:8.0f} ns CPU a subscriber (median), "
              f"least {min(values) / count:.0f}")
    print(f"ratio        {statistics.median(ours / least for ours, least in pairs):8.3f} "
          f"(of the least ones: {min(p[0] for p in pairs) / min(p[1] for p in pairs):.3f})")
    each = [statistics.median(values) / count / BURST for values in zip(*bursts)]
    print(f"{BURST} messages at once: evserve {each[0]:.0f} ns, send() only {each[1]:.0f} ns a message and subscriber; "
          f"ratio {statistics.median(ours / least for ours, least in bursts):.3f}")


if __name__ == "__main__":
    main()
