"""Clients that mean harm: each kind is closed by its own deadline, with the answer that is due to it, while others are
served. Kinds: a head that trickles, a body that trickles, a 10 MiB answer that is never read, silence, requests that are
pipelined without reading an answer.

The hostile clients are a second process and the well-behaved ones a third, both this file. EVSERVE_HOSTILE sets the
number of hostile clients (scripts/hostile.sh: 5,000), EVSERVE_HOSTILE_SCALE makes the deadlines that many times longer.
Times are compared with lower bounds alone, and reported when EVSERVE_HOSTILE is set.

And the caps on connections with real sockets.
"""

import json
import os
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import evtest

CLIENTS = int(os.environ.get("EVSERVE_HOSTILE", "100"))
SCALE = float(os.environ.get("EVSERVE_HOSTILE_SCALE", "1"))
SPARE_FDS = 300
LARGE = 10 << 20
SMALL = b"small file\n" * 20
EARLY = 0.1      # seconds that a deadline may seem to come early: clocks are read at different moments
BEHAVED = 8      # well-behaved connections
FREE_KIB = 16384  # memory that a server may take for all its clients together, and
EACH_KIB = 100   # for each hostile one, on average

SITE = """local app = require "evserve"
app.set {{ idle_timeout = {idle}, header_timeout = {header}, body_timeout = {body}, write_timeout = {write} }}
app.static("/", "{folder}")
app.post("/upload", function(req) return "got " .. #req.body .. "\\n" end)
"""

# Kind: the setting that ends it, its deadline in seconds, what it says at once, what it goes on to say, and the status
# that it reads at the end (None: nothing; a client that does not read is reset).
KINDS = {
    "silent": ("idle", 1.0, b"", b"", b""),
    "body": ("body", 1.5, b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x", b"408"),
    "head": ("header", 2.0, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x", b"408"),
    "unread": ("write", 2.5, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", None),
    "pipeline": ("write", 2.5, b"", b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n" * 200, None),
}


def raise_fd_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Hostile:
    """One of them."""

    def __init__(self, kind, address):
        self.kind = kind
        self.first, self.more, self.status = KINDS[kind][2:]
        self.sock = socket.socket()
        if self.status is None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.since = time.monotonic()
        self.at = 0
        self.was_reset = False
        self.say(self.first)

    def say(self, data):
        """Send what the socket takes. False when the connection is over."""
        try:
            return self.sock.send(data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:  # the reset, which SO_ERROR will not report a second time
            self.was_reset = True
            return -1

    def go_on(self):
        if self.kind != "pipeline":
            self.say(self.more)
            return
        sent = 1
        while sent > 0:
            sent = self.say(self.more[self.at:])
            self.at = (self.at + max(sent, 0)) % len(self.more)

    def end(self):
        """The server has closed. Returns how long it took, and what is wrong, if anything."""
        took = time.monotonic() - self.since
        got = b""
        was_reset = self.was_reset
        try:
            while self.status is not None and (part := self.sock.recv(65536)):
                got += part
            was_reset = was_reset or self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            was_reset = True
        self.sock.close()
        if self.status is None:
            return took, "" if was_reset else "no reset"
        if self.status == b"":
            return took, repr(got)[:80] if got else ""
        is_right = got.startswith(b"HTTP/1.1 " + self.status + b" ")
        return took, "" if is_right else f"{'reset' if was_reset else 'read'} {got[:80]!r}"


def attack(host, port, count):
    """The second process. Prints for each kind how many were closed, how fast and how slowly, and what went wrong."""
    raise_fd_limit()
    poll = select.epoll()
    clients = {}
    pause = 0.1 * SCALE
    kinds = list(KINDS)
    for n in range(int(count)):
        client = Hostile(kinds[n % len(kinds)], (host, int(port)))
        clients[client.sock.fileno()] = client
        poll.register(client.sock.fileno(), select.EPOLLRDHUP)
    print("connected", flush=True)
    report = {kind: {"closed": 0, "fastest": 1e9, "slowest": 0.0, "wrong": []} for kind in kinds}
    next_round = time.monotonic()
    deadline = time.monotonic() + evtest.LIMIT
    while clients and time.monotonic() < deadline:
        if time.monotonic() >= next_round:
            next_round = time.monotonic() + pause
            for client in clients.values():
                client.go_on()
        for fd, _ in poll.poll(max(0.0, next_round - time.monotonic()), 1000):
            client = clients.pop(fd)
            poll.unregister(fd)
            took, wrong = client.end()
            row = report[client.kind]
            row["closed"] += 1
            row["fastest"] = min(row["fastest"], took)
            row["slowest"] = max(row["slowest"], took)
            row["wrong"] += [wrong] if wrong else []
    print(json.dumps(report), flush=True)


def connect(address, ca):
    """A connection of a client that behaves; ca: by HTTPS, with a certificate of this authority."""
    sock = evtest.connect(address)
    return ssl.create_default_context(cafile=ca).wrap_socket(sock, server_hostname="localhost") if ca else sock


def behave(host, port, ca=None):
    """The third process: asks on a few connections in turn until its standard input ends. Prints how long answers took.
    A connection that was closed between two requests, as any may be, is made anew."""
    wanted = b"\r\n\r\n" + SMALL
    socks = [None] * BEHAVED
    times = []
    n = 0
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        n = (n + 1) % BEHAVED
        before = time.monotonic()
        got = b""
        for _ in range(3):
            if socks[n] is None:
                socks[n] = connect((host, int(port)), ca)
            try:
                socks[n].sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
                while not got.endswith(wanted):
                    part = socks[n].recv(65536)
                    if not part:
                        break
                    got += part
            except (BrokenPipeError, ConnectionResetError):
                pass
            if got:
                break
            socks[n].close()
            socks[n] = None
        if not got.startswith(b"HTTP/1.1 200 OK\r\n") or not got.endswith(wanted):
            raise AssertionError(f"a client that behaves got {got!r}")
        times.append(time.monotonic() - before)
    times.sort()
    print(json.dumps({"answers": len(times), "median": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                      "slowest": times[-1]}), flush=True)


def is_instrumented(path):
    """Built with AddressSanitizer, whose memory is not what users see."""
    with open(path, "rb") as file:
        return b"__asan_init" in file.read()


class HostilePeers(unittest.TestCase):
    def start(self, *argv):
        process = subprocess.Popen([sys.executable, __file__, *map(str, argv)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def start_server(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        with open(os.path.join(folder.name, "large"), "wb") as file:
            file.write(bytes(LARGE))
        with open(os.path.join(folder.name, "small"), "wb") as file:
            file.write(SMALL)
        script = os.path.join(folder.name, "site.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SITE.format(folder=folder.name,
                                   **{row[0]: int(row[1] * SCALE * 1000) for row in KINDS.values()}))
        program = evtest.binary("EVSERVE_BIN")
        server = evtest.Program(program, script, "--listen", "127.0.0.1:0")
        self.addCleanup(server.kill)
        return server, not is_instrumented(program)

    def test_each_kind_meets_its_deadline_while_others_are_served(self):
        hard = raise_fd_limit()
        if hard < CLIENTS + SPARE_FDS:
            self.skipTest(f"{CLIENTS} clients need {CLIENTS + SPARE_FDS} file descriptors in a process, and the hard "
                          f"limit (ulimit -Hn) is {hard}")
        server, is_measured = self.start_server()
        fds, memory = server.fd_count(), server.memory_kib()
        behaved = self.start("behave", *server.address)
        hostile = self.start("attack", *server.address, CLIENTS)
        self.assertEqual(hostile.stdout.readline(), "connected\n")
        most = 0
        while not select.select([hostile.stdout], [], [], 0.05)[0]:
            most = max(most, server.memory_kib() - memory)
        report = json.loads(hostile.stdout.readline())
        served = json.loads(behaved.communicate("")[0])
        if "EVSERVE_HOSTILE" in os.environ:
            print(f"{CLIENTS} hostile clients, {most} KiB more at most", file=sys.stderr)
            for kind, row in report.items():
                print(f"{kind}: {row['closed']} closed after {row['fastest']:.2f} to {row['slowest']:.2f} s; "
                      f"{KINDS[kind][0]}_timeout is {KINDS[kind][1] * SCALE:.1f} s", file=sys.stderr)
            print("others: {answers} answers, median {0:.2f} ms, p99 {1:.2f} ms, slowest {2:.2f} ms".format(
                *(served[name] * 1000 for name in ("median", "p99", "slowest")), **served), file=sys.stderr)
        for kind, row in report.items():
            with self.subTest(kind=kind):
                self.assertEqual(row["wrong"], [])
                self.assertEqual(row["closed"], CLIENTS // len(KINDS))
                self.assertGreater(row["fastest"], KINDS[kind][1] * SCALE - EARLY)
        self.assertGreater(served["answers"], 0)
        if is_measured:
            self.assertLess(most, FREE_KIB + CLIENTS * EACH_KIB, "KiB of memory for the clients")
        evtest.wait_until(lambda: server.fd_count() <= fds + 2, "the server's fds are closed")  # and two files
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.lines[1:], [], "nothing to complain about")


class UrgentData(unittest.TestCase):
    def test_urgent_data_in_the_middle_of_a_request_is_passed_over(self):
        """A read stops before it though more has arrived, and nothing else tells of the rest."""
        with evtest.Program(evtest.binary("EVSERVE_BIN"), "--listen", "127.0.0.1:0") as server, server.connect() as sock:
            sock.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b" 200 ", evtest.receive(sock, 15))
            server.process.send_signal(signal.SIGSTOP)  # so that all of it is there at the first read
            os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WNOWAIT)
            sock.sendall(b"HEAD / HT")
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            server.process.send_signal(signal.SIGCONT)
            self.assertIn(b" 200 ", evtest.receive_all(sock).partition(b"\r\n\r\n")[2])


class Caps(unittest.TestCase):
    def connect_from(self, address, server, sent):
        """A client, and the first that it reads."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.settimeout(evtest.LIMIT)
        sock.bind((address, 0))
        sock.connect(server.address)
        sock.sendall(sent)
        return sock, sock.recv(1000)

    def test_an_address_at_its_cap_reads_503_and_others_are_served(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        script = os.path.join(folder.name, "site.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write('local app = require "evserve"\napp.set { max_connections_per_address = 2 }\n'
                       'app.get("/small", function(req) return "small\\n" end)\n'
                       'app.post("/small", function(req) return req.body end)\n')
        small = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
        upload = b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        with evtest.Program(evtest.binary("EVSERVE_BIN"), script, "--listen", "127.0.0.1:0") as server:
            busy = []
            for _ in range(2):
                sock, got = self.connect_from("127.0.0.1", server, upload)
                self.assertEqual(got, b"HTTP/1.1 100 Continue\r\n\r\n")
                busy.append(sock)
            _, got = self.connect_from("127.0.0.1", server, small)
            self.assertEqual(got[:13], b"HTTP/1.1 503 ")
            _, got = self.connect_from("127.0.0.2", server, small)
            self.assertEqual(got[:13], b"HTTP/1.1 200 ")
            busy[0].sendall(b"done")
            self.assertEqual(busy[0].recv(1000)[:13], b"HTTP/1.1 200 ")
            _, got = self.connect_from("127.0.0.1", server, small)
            self.assertEqual(got[:13], b"HTTP/1.1 200 ", "the one that is idle now makes room")
            self.assertEqual(busy[0].recv(1000), b"")
            busy[1].close()
            evtest.wait_until(lambda: any("max_connections_per_address (2) reached" in line for line in server.lines),
                              "a line in the log")


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        attack(*sys.argv[2:])
    elif sys.argv[1:2] == ["behave"]:
        behave(*sys.argv[2:])
    else:
        unittest.main()
