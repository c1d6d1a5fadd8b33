"""WebSocket clients that mean harm: each kind is ended in its own way and by its own deadline, while others are served:
fragments without end, with and without content; pings whose pongs nobody reads; messages of which a byte comes now and
then; frames without a mask, or of 2^62 bytes; handshakes that are never finished; clients that do not answer a ping.

As in test_hostile.py, the hostile clients are a process of their own, and so are those that behave (requests, and
WebSockets whose masks are zero) and two that send pings as fast as they can. EVSERVE_HOSTILE and EVSERVE_HOSTILE_SCALE are
the same as there; EVSERVE_HOSTILE_KIND names the only kind of hostile clients, such as "half open".
"""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import evtest
import test_hostile
import ws_client
from test_hostile import CLIENTS, EARLY, EACH_KIB, FREE_KIB, SCALE, SPARE_FDS

SITE = """local app = require "evserve"
app.set {{ header_timeout = "{header}ms", write_timeout = "{write}ms" }}
app.static("/", "{folder}")
local function echo(ws) for text, kind in ws:messages() do ws[kind == "text" and "send" or "send_binary"](ws, text) end end
app.websocket("/echo", {{ max_message = "64K", ping = 0 }}, echo)
app.websocket("/idle", {{ ping = 0, idle_timeout = "{idle}ms", close_timeout = "{close}ms" }}, echo)
app.websocket("/ping", {{ ping = "{ping}ms", pong_timeout = "{pong}ms" }}, echo)
"""
SECONDS = {"header": 1.5, "write": 1.0, "idle": 1.0, "close": 0.5, "ping": 0.8, "pong": 0.8}
RESET, SILENCE = "a reset", "an end without a close"  # instead of a close code
HANDSHAKE = "GET {} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
FRAME, TEXT, MORE = ws_client.frame_of, ws_client.TEXT, ws_client.CONTINUATION

# Kind: its route, the seconds after which it may be ended, what it says at once, what it goes on to say in each round, and
# how it ends: with a close code, or one of the above.
KINDS = {
    "fragments": ("/echo", 0, FRAME(TEXT, b"x" * 1000, fin=False), FRAME(MORE, b"x" * 1000, fin=False) * 8, 1009),
    "empty fragments": ("/echo", 0, FRAME(TEXT, b"", fin=False), FRAME(MORE, b"", fin=False) * 20, 1008),
    "oversized": ("/echo", 0, ws_client.head_of(TEXT, 1 << 62, mask=b"mask"), b"", 1009),
    "unmasked": ("/echo", 0, FRAME(TEXT, b"x", mask=None), b"", 1002),
    "slow": ("/idle", SECONDS["idle"], ws_client.head_of(TEXT, 1000, mask=b"mask"), b"x", 1001),
    "mute": ("/ping", SECONDS["ping"] * 3 / 4 + SECONDS["pong"], b"", b"", SILENCE),
    "unread": ("/echo", SECONDS["write"], b"", FRAME(TEXT, b"x" * 16000) * 4, RESET),
    "unread pongs": ("/echo", SECONDS["write"], b"", FRAME(ws_client.PING, b"x" * 125) * 500, RESET),
    "half open": (None, SECONDS["header"], HANDSHAKE.format("/echo").encode(), b"", "408"),
}
if "EVSERVE_HOSTILE_KIND" in os.environ:
    KINDS = {os.environ["EVSERVE_HOSTILE_KIND"]: KINDS[os.environ["EVSERVE_HOSTILE_KIND"]]}


def codes(data):
    """The codes of close frames in what a server has sent."""
    found = []
    while len(data) >= 2:
        opcode, length, at = data[0] & 15, data[1], 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(data[2:at], "big")
        if opcode == ws_client.CLOSE:
            found.append(struct.unpack(">H", data[at:at + 2])[0])
        data = data[at + length:]
    return found


class Hostile(test_hostile.Hostile):
    def __init__(self, kind, address):
        self.kind = kind
        target, _, first, self.more, self.wanted = KINDS[kind]
        self.sock = socket.socket()
        self.sock.settimeout(evtest.LIMIT)
        if self.wanted == RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.sock.connect(address)
        if target:
            self.sock.sendall(HANDSHAKE.format(target).encode() + b"\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.sock.recv(1)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise AssertionError(f"{kind}: {head!r}")
        self.sock.setblocking(False)
        self.since = time.monotonic()
        self.at = 0
        self.was_reset = False
        self.say(first)

    def go_on(self):
        """In a flood, as much as the socket takes; else once."""
        sent = self.say(self.more[self.at:])
        while sent > 0:
            self.at = (self.at + sent) % len(self.more)
            sent = self.say(self.more[self.at:]) if self.wanted == RESET else 0

    def end(self):
        """The server has closed. Returns how long it took, and what is wrong, if anything."""
        took, got, was_reset = time.monotonic() - self.since, b"", self.was_reset
        try:
            while self.wanted != RESET and (part := self.sock.recv(65536)):
                got += part
            was_reset = was_reset or self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            was_reset = True
        self.sock.close()
        if self.wanted == RESET:
            return took, "" if was_reset else "no reset"
        if self.wanted == "408":
            return took, "" if got.startswith(b"HTTP/1.1 408 ") else repr(got[:80])
        if self.wanted == SILENCE:
            return took, "" if got[:1] == b"\x89" and not codes(got) else repr(got[:80])
        return took, "" if codes(got) == [self.wanted] else f"{'reset' if was_reset else 'read'} {got[:80]!r}"


def attack(host, port, count):
    """Prints for each kind how many were ended, how fast and how slowly, and what went wrong."""
    test_hostile.raise_fd_limit()
    poll, clients, kinds = select.epoll(), {}, list(KINDS)
    for n in range(int(count)):
        client = Hostile(kinds[n % len(kinds)], (host, int(port)))
        clients[client.sock.fileno()] = client
        poll.register(client.sock.fileno(), select.EPOLLRDHUP)
    print("connected", flush=True)
    report = {kind: {"ended": 0, "fastest": 1e9, "slowest": 0.0, "wrong": []} for kind in kinds}
    next_round, deadline = time.monotonic(), time.monotonic() + evtest.LIMIT
    while clients and time.monotonic() < deadline:
        if time.monotonic() >= next_round:
            next_round = time.monotonic() + 0.1 * SCALE
            for client in clients.values():
                client.go_on()
        for fd, _ in poll.poll(max(0.0, next_round - time.monotonic()), 1000):
            client = clients.pop(fd)
            poll.unregister(fd)
            took, wrong = client.end()
            row = report[client.kind]
            row["ended"] += 1
            row["fastest"], row["slowest"] = min(row["fastest"], took), max(row["slowest"], took)
            row["wrong"] += [wrong] if wrong else []
    print(json.dumps(report), flush=True)


def flood(host, port):
    """Two that send pings as fast as they can, and read all pongs, until standard input ends. Prints how many pings they sent;
    the server must not end them."""
    block = FRAME(ws_client.PING, b"ping") * 5000
    clients = [ws_client.connect((host, int(port)), "/echo") for _ in range(2)]
    poll, sent = select.poll(), 0
    for client in clients:
        client.stream.sock.setblocking(False)
        poll.register(client.stream.sock, select.POLLIN | select.POLLOUT)
    poll.register(sys.stdin, select.POLLIN)
    socks = {client.stream.sock.fileno(): client.stream.sock for client in clients}
    at = dict.fromkeys(socks, 0)
    while True:
        for fd, events in poll.poll():
            if fd not in socks:
                print(json.dumps(sent // len(FRAME(ws_client.PING, b"ping"))), flush=True)
                return
            if events & select.POLLIN and not socks[fd].recv(1 << 18):
                raise AssertionError("a flood of pings was ended")
            if events & select.POLLOUT:
                count = socks[fd].send(block[at[fd]:])
                at[fd] = (at[fd] + count) % len(block)
                sent += count


def behave(host, port):
    """Echoes on a few WebSockets in turn until standard input ends, every other with masks of zero. Prints how long they took."""
    clients = [ws_client.connect((host, int(port)), "/echo") for _ in range(test_hostile.BEHAVED)]
    times = []
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        for n, client in enumerate(clients):
            before = time.monotonic()
            client.send_frame(TEXT, b"hello " * 20, mask=b"\0\0\0\0" if n % 2 else b"mask")
            if client.receive() != "hello " * 20:
                raise AssertionError("another message came back")
            times.append(time.monotonic() - before)
    times.sort()
    print(json.dumps({"answers": len(times), "median": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                      "slowest": times[-1]}), flush=True)


class HostileWebSockets(unittest.TestCase):
    def start(self, file, *argv):
        process = subprocess.Popen([sys.executable, file, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def start_server(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        with open(os.path.join(folder.name, "small"), "wb") as file:
            file.write(test_hostile.SMALL)
        script = os.path.join(folder.name, "site.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SITE.format(folder=folder.name, **{name: int(value * SCALE * 1000) for name, value in SECONDS.items()}))
        server = evtest.Program(evtest.binary("EVSERVE_BIN"), script, "--listen", "127.0.0.1:0")
        self.addCleanup(server.kill)
        return server

    def test_each_kind_is_ended_while_others_are_served(self):
        hard = test_hostile.raise_fd_limit()
        if hard < CLIENTS + SPARE_FDS:
            self.skipTest(f"{CLIENTS} clients need {CLIENTS + SPARE_FDS} file descriptors in a process, and the hard "
                          f"limit (ulimit -Hn) is {hard}")
        server = self.start_server()
        fds, memory = server.fd_count(), server.memory_kib()
        others = {"requests": self.start(test_hostile.__file__, "behave", *server.address),
                  "WebSockets": self.start(__file__, "behave", *server.address)}
        flooding = self.start(__file__, "flood", *server.address)
        hostile = self.start(__file__, "attack", *server.address, CLIENTS)
        self.assertEqual(hostile.stdout.readline(), "connected\n")
        most = 0
        while not select.select([hostile.stdout], [], [], 0.05)[0]:
            most = max(most, server.memory_kib() - memory)
        report = json.loads(hostile.stdout.readline())
        served = {name: json.loads(process.communicate("")[0]) for name, process in others.items()}
        pings = json.loads(flooding.communicate("")[0])
        if "EVSERVE_HOSTILE" in os.environ:
            print(f"{CLIENTS} hostile WebSockets and {pings} pings of two others, {most} KiB more at most", file=sys.stderr)
            for kind, row in report.items():
                print(f"{kind}: {row['ended']} ended after {row['fastest']:.2f} to {row['slowest']:.2f} s", file=sys.stderr)
            for name, row in served.items():
                print("{}: {answers} answers, median {:.2f} ms, p99 {:.2f} ms, slowest {:.2f} ms".format(
                    name, *(row[figure] * 1000 for figure in ("median", "p99", "slowest")), **row), file=sys.stderr)
        for n, (kind, row) in enumerate(report.items()):
            with self.subTest(kind=kind):
                self.assertEqual(row["wrong"], [])
                self.assertEqual(row["ended"], len(range(n, CLIENTS, len(KINDS))))
                self.assertGreater(row["fastest"], KINDS[kind][1] * SCALE - EARLY)
        for row in served.values():
            self.assertGreater(row["answers"], 0)
        self.assertGreater(pings, 0)
        if not test_hostile.is_instrumented(evtest.binary("EVSERVE_BIN")):
            self.assertLess(most, FREE_KIB + CLIENTS * EACH_KIB, "KiB of memory for the clients")
        evtest.wait_until(lambda: server.fd_count() <= fds + 2, "the server's fds are closed")  # and two files
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.lines[1:], [], "nothing to complain about")


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        attack(*sys.argv[2:])
    elif sys.argv[1:2] == ["flood"]:
        flood(*sys.argv[2:])
    elif sys.argv[1:2] == ["behave"]:
        behave(*sys.argv[2:])
    else:
        unittest.main()
