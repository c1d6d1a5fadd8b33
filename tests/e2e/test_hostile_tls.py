"""Clients that mean harm to HTTPS: those that are slow in the handshake are closed by its deadline, and cost little
memory and no CPU while they wait; those that are fast in it leave time for others.

As in test_hostile.py, the hostile clients are a second process and the well-behaved ones a third. EVSERVE_HOSTILE sets
the number of hostile clients (scripts/hostile.sh: 5,000), EVSERVE_HOSTILE_SCALE makes the deadlines that many times
longer. Then figures are reported, and the 99th percentile of the others' times is asserted.
"""

import contextlib
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import certificates
import evtest
from test_hostile import BEHAVED, CLIENTS, EARLY, SCALE, SMALL, SPARE_FDS, behave, is_instrumented, raise_fd_limit

IS_LONG = "EVSERVE_HOSTILE" in os.environ
P99_MS = 20            # of the others' times, while hostile clients wait
WAITING_KIB = 64       # memory of a waiting client on average
CPU_SHARE = 0.05       # of a core, while all of them wait
FAST = 400 if IS_LONG else 64  # connections of clients that are fast in handshakes
LINES = 20             # of the log, for any number of failures in ten seconds

SITE = """local app = require "evserve"
app.set {{ idle_timeout = {idle}, header_timeout = {header} }}
app.static("/", "{folder}")
"""
HEADER, IDLE = 1.0, 1.5  # seconds

# Kind: what ends it, or "" for the server at once.
KINDS = {"silent": "header", "trickle": "header", "half": "header", "hello": "header", "finished": "idle",
         "garbage": ""}
SECONDS = {"header": HEADER * SCALE, "idle": IDLE * SCALE, "": 0.0}
WAITING = [kind for kind, by in KINDS.items() if by]


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello():
    """The first message of a handshake, in its record."""
    out = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def wait_for_input(sock):
    poll = select.poll()  # select(2) knows no fd above 1023
    poll.register(sock, select.POLLIN)
    poll.poll(evtest.LIMIT * 1000)


class Hostile:
    """One of them."""

    def __init__(self, kind, address, hello, context):
        self.kind = kind
        self.sock = evtest.connect(address)
        self.since = time.monotonic()
        self.rest = b""
        if kind == "finished":
            self.sock = context.wrap_socket(self.sock)
            self.since = time.monotonic()
        self.sock.setblocking(False)
        first = {"half": hello[:len(hello) // 2], "hello": hello, "garbage": hello + b"garbage" * 100}
        self.say(first.get(kind, b""))
        self.rest = hello if kind == "trickle" else b""

    def say(self, data):
        try:
            self.sock.send(data)
        except OSError:  # the end of it says more
            pass

    def go_on(self):
        self.say(self.rest[:1])
        self.rest = self.rest[1:]

    def end(self):
        """The server has closed. Returns how long it took, and what is wrong, if anything."""
        took = time.monotonic() - self.since
        got, wrong = b"", ""
        try:
            while part := self.sock.recv(65536):
                got += part
        except ssl.SSLError as error:
            wrong = str(error)
        except OSError as error:
            wrong = str(error) if self.kind != "trickle" else ""  # its last byte may have crossed with the close
        self.sock.close()
        if bool(got) != (self.kind in ("hello", "garbage")):
            wrong = wrong or f"read {got[:80]!r}"
        return took, wrong


def attack(host, port, count, *kinds):
    """The second process. Prints for each kind how many were closed, how fast and how slowly, and what went wrong."""
    raise_fd_limit()
    poll = select.epoll()
    clients = {}
    hello, context = client_hello(), client_context()
    for n in range(int(count)):
        client = Hostile(kinds[n % len(kinds)], (host, int(port)), hello, context)
        clients[client.sock.fileno()] = client
        poll.register(client.sock.fileno(), select.EPOLLRDHUP)
    print("connected", flush=True)
    report = {kind: {"closed": 0, "fastest": 1e9, "slowest": 0.0, "wrong": []} for kind in kinds}
    next_round = time.monotonic()
    deadline = time.monotonic() + evtest.LIMIT
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
            row["closed"] += 1
            row["fastest"] = min(row["fastest"], took)
            row["slowest"] = max(row["slowest"], took)
            row["wrong"] += [wrong] if wrong else []
    print(json.dumps(report), flush=True)


def repeat(host, port, count):
    """Another second process: has the server do its part of a handshake as often as it can, and does nothing itself: it
    sends the same hello on each of count connections, and resets them when the reply comes. Ends with its standard
    input, and prints how many handshakes there were."""
    hello = client_hello()
    poll = select.epoll()
    socks = {}
    made = 0

    def begin():
        sock = evtest.connect((host, int(port)))
        sock.sendall(hello)
        socks[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)

    for _ in range(int(count)):
        begin()
    print("connected", flush=True)
    while made == 0 or not select.select([sys.stdin], [], [], 0)[0]:
        for fd, _ in poll.poll(0.1):
            poll.unregister(fd)
            evtest.reset(socks.pop(fd))
            made += 1
            begin()
    print(json.dumps(made), flush=True)


def crowd(host, port, count):
    """And another: count connections that each hold back the last byte of their hello, until all send it at once; again
    and again. Ends with its standard input, and prints how many handshakes there were."""
    raise_fd_limit()
    hello = client_hello()
    made = 0
    print("connected", flush=True)
    while made == 0 or not select.select([sys.stdin], [], [], 0)[0]:
        socks = [evtest.connect((host, int(port))) for _ in range(int(count))]
        for data in hello[:-1], hello[-1:]:
            for sock in socks:
                sock.sendall(data)
        for sock in socks:
            sock.recv(1)
            evtest.reset(sock)
            made += 1
    print(json.dumps(made), flush=True)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program = evtest.binary("EVSERVE_BIN")
        certificates.require_tls(program)
        cls.is_measured = not is_instrumented(program)

    def start(self, *argv):
        process = subprocess.Popen([sys.executable, __file__, *map(str, argv)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def start_server(self, header=HEADER * SCALE, idle=IDLE * SCALE, *options):
        if raise_fd_limit() < CLIENTS + SPARE_FDS:
            self.skipTest(f"{CLIENTS} clients need {CLIENTS + SPARE_FDS} file descriptors in a process (ulimit -Hn)")
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        pair = certificates.Authority(folder.name).sign("pair", "localhost")
        self.ca = os.path.join(folder.name, "ca.pem")
        os.mkdir(os.path.join(folder.name, "files"))
        with open(os.path.join(folder.name, "files", "small"), "wb") as file:
            file.write(SMALL)
        script = os.path.join(folder.name, "site.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SITE.format(folder=os.path.join(folder.name, "files"), idle=int(idle * 1000),
                                   header=int(header * 1000)))
        server = evtest.Program(evtest.binary("EVSERVE_BIN"), "--listen", "127.0.0.1:0?tls", "--tls-cert", pair[0],
                                "--tls-key", pair[1], *options, script)
        self.addCleanup(server.kill)
        return server

    def report(self, text):
        if IS_LONG:
            print(text, file=sys.stderr)

    def others(self, behaved):
        """What those that behave have seen until now; they end."""
        served = json.loads(behaved.communicate("")[0])
        self.report("others: {answers} answers, median {0:.2f} ms, p99 {1:.2f} ms, slowest {2:.2f} ms".format(
            *(served[name] * 1000 for name in ("median", "p99", "slowest")), **served))
        self.assertGreater(served["answers"], 0)
        return served


class SlowHandshakes(Case):
    def test_each_kind_meets_its_deadline_while_others_are_served(self):
        server = self.start_server()
        fds = server.fd_count()
        behaved = self.start("behave", *server.address, self.ca)
        hostile = self.start("attack", *server.address, CLIENTS, *KINDS)
        self.assertEqual(hostile.stdout.readline(), "connected\n")
        report = json.loads(hostile.stdout.readline())
        self.report(f"{CLIENTS} hostile clients of HTTPS")
        for kind, row in report.items():
            self.report(f"{kind}: {row['closed']} closed after {row['fastest']:.2f} to {row['slowest']:.2f} s; "
                        f"due after {SECONDS[KINDS[kind]]:.1f} s")
        served = self.others(behaved)
        for n, (kind, row) in enumerate(report.items()):
            with self.subTest(kind=kind):
                self.assertEqual(row["wrong"], [])
                self.assertEqual(row["closed"], len(range(n, CLIENTS, len(KINDS))))
                self.assertGreater(row["fastest"], SECONDS[KINDS[kind]] - EARLY)
        if IS_LONG:
            self.assertLess(served["p99"] * 1000, P99_MS)
        evtest.wait_until(lambda: server.fd_count() <= fds + 2, "the server's fds are closed")  # and two files
        self.assertEqual(server.stop(), 0)
        self.report("\n".join(server.lines[1:]))
        self.assertLess(len(server.lines), LINES, server.lines[-5:])

    def test_those_that_wait_cost_little_memory_and_no_cpu(self):
        server = self.start_server(60, 60)
        hello, context = client_hello(), client_context()
        fds, socks = server.fd_count(), []
        stack = self.enterContext(contextlib.ExitStack())
        each = CLIENTS // len(WAITING)
        for kind in WAITING:
            before = server.memory_kib()
            clients = [Hostile(kind, server.address, hello, context) for _ in range(each)]
            socks += [stack.enter_context(client.sock) for client in clients]
            if kind == "trickle":
                for client in clients:
                    client.go_on()
            if kind == "hello":
                for client in clients:
                    wait_for_input(client.sock)
            evtest.wait_until(lambda: server.fd_count() >= fds + len(socks), "all of them to be accepted")
            time.sleep(0.05)
            grown = server.memory_kib() - before
            self.report(f"{kind}: {grown / each:.1f} KiB each")
            if self.is_measured:
                self.assertLess(grown / each, WAITING_KIB)
        cpu, since = server.cpu_seconds(), time.monotonic()
        time.sleep(0.5)
        share = (server.cpu_seconds() - cpu) / (time.monotonic() - since)
        self.report(f"CPU while {len(socks)} clients wait: {share * 100:.1f} %")
        self.assertLess(share, CPU_SHARE)
        stack.close()
        evtest.wait_until(lambda: server.fd_count() <= fds, "the server's fds are closed")
        self.assertEqual(server.stop(), 0)
        self.assertLess(len(server.lines), LINES, server.lines[-5:])


class FastHandshakes(Case):
    def check(self, kind):
        server = self.start_server()
        fds = server.fd_count()
        behaved = self.start("behave", *server.address, self.ca)
        evtest.wait_until(lambda: server.fd_count() >= fds + BEHAVED, "those that behave to be connected")
        hostile = self.start(kind, *server.address, FAST)
        self.assertEqual(hostile.stdout.readline(), "connected\n")
        cpu, since = server.cpu_seconds(), time.monotonic()
        time.sleep(SCALE / 2)
        share = (server.cpu_seconds() - cpu) / (time.monotonic() - since)
        self.others(behaved)
        made = json.loads(hostile.communicate("")[0])
        self.report(f"{kind}: {made} handshakes that were not finished in {time.monotonic() - since:.1f} s; the server "
                    f"used {share * 100:.0f} % of a core")
        self.assertGreater(made, 0)
        evtest.wait_until(lambda: server.fd_count() <= fds + 2, "the server's fds are closed")
        self.assertEqual(server.stop(), 0)
        self.report("\n".join(server.lines[1:]))
        self.assertLess(len(server.lines), LINES, server.lines[-5:])

    def test_repeated_handshakes_leave_time_for_others(self):
        self.check("repeat")

    def test_crowd_of_handshakes_leaves_time_for_others(self):
        self.check("crowd")


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        attack(*sys.argv[2:])
    elif sys.argv[1:2] == ["repeat"]:
        repeat(*sys.argv[2:])
    elif sys.argv[1:2] == ["crowd"]:
        crowd(*sys.argv[2:])
    elif sys.argv[1:2] == ["behave"]:
        behave(*sys.argv[2:])
    else:
        unittest.main()
