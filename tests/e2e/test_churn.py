"""Connections that end in every way there is, over and over: the server goes on, has as many fds at the end as at the
start, and ends without an error or a leak, as its sanitizers or valgrind see it. And a soak: many requests, memory flat.
Both over HTTP, and over HTTPS: TLS 1.2 and 1.3, new and resumed sessions, clients that leave in the handshake.

EVSERVE_CHURN sets how often each ending is played, EVSERVE_SOAK the number of requests, EVSERVE_VALGRIND a command that
the server runs under (scripts/churn.sh sets them).
"""

import os
import random
import shlex
import socket
import ssl
import sys
import tempfile
import unittest

import certificates
import evtest
import side_by_side

ROUNDS = int(os.environ.get("EVSERVE_CHURN", "2"))
SOAK = int(os.environ.get("EVSERVE_SOAK", "20000"))
UNDER = shlex.split(os.environ.get("EVSERVE_VALGRIND", ""))
FILES = 2          # that the file cache may hold open at the end
GROWTH_KIB = 2048  # that resident memory may vary by once the soak has warmed up: a byte a request would be more
BATCH = 100        # requests of a soak that are sent at once

SITE = """local app = require "evserve"
app.set {{ idle_timeout = "400ms", header_timeout = "500ms", body_timeout = "600ms", write_timeout = "700ms" }}
app.static("/", "{folder}")
app.get("/hello", function(req) return "hello\\n" end)
app.get("/json/:n{{int}}", function(req) return {{ n = req.params.n, list = {{ 1, 2, 3 }} }} end)
app.get("/wrong", function(req) error "wrong on purpose" end)
app.get("/late", function(req) app.sleep "50ms" return "late\\n" end)
app.get("/slow", function(req) app.sleep "2s" return "slow\\n" end)
app.get("/stream", function(req)
    return 200, function(out) for i = 1, 2000 do out:write(("line %d\\n"):format(i):rep(100)) end end
end)
app.post("/whole", function(req) return #req.body .. "\\n" end)
app.post("/pieces", {{ max_body = "1G" }}, function(req)
    local n = 0
    for piece in req:chunks() do n = n + #piece end
    return n .. "\\n"
end)
"""


def get(path, close=False):
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{'Connection: close' if close else 'X: y'}\r\n\r\n".encode()


def post(path, length=None):
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode()


# What is sent, how many bytes of the answer are read, and how the client goes. "wait" stays until the server closes.
SENT = [
    b"",
    b"GET / HT",
    b"NONSENSE\r\n\r\n",
    get("/small")[:-2],
    get("/small"),
    get("/large"),
    get("/none"),
    get("/hello"),
    get("/json/7"),
    get("/wrong"),
    get("/late"),
    get("/slow"),
    get("/stream"),
    get("/small") * 20 + get("/hello") * 20 + get("/large") + get("/stream"),
    get("/late") + get("/small"),
    get("/small", close=True) + get("/small"),
    post("/whole", 10) + b"01234",
    post("/whole", 10) + b"0123456789",
    post("/whole") + b"5\r\n01234\r\n",
    post("/whole") + b"5\r\n01234\r\n0\r\n\r\n",
    post("/whole") + b"zz\r\n",
    post("/pieces", 1 << 20) + bytes(200000),
    post("/pieces") + b"8000\r\n" + bytes(0x8000) + b"\r\n8000\r\n" + bytes(0x4000),
    post("/small", 100000) + bytes(50000),
]
READ = [0, 1, 5000]
ENDS = ["close", "reset", "half", "wait"]


def shut(sock):
    """End the stream of what is sent. Over TLS this is a FIN without close_notify."""
    socket.socket.shutdown(sock, socket.SHUT_WR)


def play(connect, sent, read, end):
    """One client. Returns its socket when it waits for the server's close, else None."""
    sock = connect(receive_buffer=4096 if end == "wait" else None)
    try:
        sock.settimeout(evtest.LIMIT)
        sock.sendall(sent)
        if end == "half":
            shut(sock)
            if b"/slow" not in sent:  # nobody waits so long
                evtest.receive_all(sock)
        elif end == "notify":
            sock.unwrap()
        elif read > 0 and b"/slow" not in sent and not is_incomplete(sent):
            evtest.receive(sock, read if b"large" in sent or b"stream" in sent else 1)
    except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
        pass  # a server may refuse before it has read all
    if end == "wait" and b"/slow" not in sent:
        return sock
    if end == "reset":
        evtest.reset(sock)
    else:
        sock.close()
    return None


def is_incomplete(sent):
    """A request to which there is no answer before a deadline."""
    return sent in (b"", b"GET / HT", SENT[3]) or sent.startswith(b"POST") and b"zz" not in sent


class Churn(unittest.TestCase):
    LISTEN = "127.0.0.1:0"
    rounds = ROUNDS

    def start(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        for name, size in (("small", 1000), ("large", 4 << 20)):
            with open(os.path.join(folder.name, name), "wb") as file:
                file.write(bytes(size))
        script = os.path.join(folder.name, "site.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SITE.format(folder=folder.name))
        evtest.skip_without_lua([script])
        program = evtest.binary("EVSERVE_BIN")
        with open(program, "rb") as file:
            self.is_measured = b"__asan_init" not in file.read() and not UNDER
        self.log = os.path.join(folder.name, "valgrind")
        under = UNDER + [f"--log-file={self.log}"] if UNDER else []
        options = self.options(program, folder.name)
        self.server = evtest.Program(*under, program, script, "--listen", self.LISTEN, *options)
        self.addCleanup(self.server.kill)
        return self.server

    def options(self, program, folder):
        """More options of the program."""
        return []

    def connect(self, receive_buffer=None):
        return evtest.connect(self.server.address, receive_buffer=receive_buffer)

    def endings(self):
        """Functions that play a client each. They return its socket when it waits for the server's close."""
        return [lambda sent=sent, read=read, end=end: play(self.connect, sent, read, end)
                for sent in SENT for read in READ for end in ENDS]

    def end(self, server):
        """Ends it, and sees that nothing was wrong."""
        status = server.stop()
        complaints = [line for line in server.lines[1:] if "wrong on purpose" not in line and "[C]" not in line
                      and "stack traceback" not in line and "site.lua" not in line
                      and " TLS handshake" not in line]
        report = ""
        if UNDER:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                report = file.read()
        self.assertEqual((status, complaints), (0, []), report)

    def test_every_ending_leaves_the_server_as_it_was(self):
        server = self.start()
        self.assertEqual(self.ask("/small"), b"HTTP/1.1 200 OK")
        evtest.wait_until(lambda: server.fd_count() > 0, "its fds can be counted")
        fds = server.fd_count()
        endings = self.endings()
        shuffle = random.Random(7)
        for _ in range(self.rounds):
            shuffle.shuffle(endings)
            waiting = [sock for sock in (ending() for ending in endings) if sock is not None]
            for sock in waiting:
                try:
                    evtest.receive_all(sock)
                except (ConnectionResetError, ssl.SSLError):
                    pass
                sock.close()
        self.assertEqual(self.ask("/hello"), b"HTTP/1.1 200 OK")
        evtest.wait_until(lambda: server.fd_count() <= fds + FILES, "the server's fds are as at the start")
        self.end(server)

    def test_memory_stays_flat_over_many_requests(self):
        server = self.start()
        paths = ["/small", "/hello", "/json/5", "/none", "/late-not", "/small?a=b"]
        wanted = {"/small": b"200", "/hello": b"200", "/json/5": b"200", "/small?a=b": b"200"}
        batch = b"".join(get(paths[n % len(paths)]) for n in range(BATCH - 1)) + get("/hello", close=True)
        good = sum(paths[n % len(paths)] in wanted for n in range(BATCH - 1)) + 1
        warm = least = most = None
        for n in range(SOAK // BATCH):
            with self.connect() as sock:
                sock.sendall(batch)
                got = evtest.receive_all(sock)
            self.assertEqual(got.count(b"HTTP/1.1 200 OK\r\n"), good)
            self.assertEqual(got.count(b"HTTP/1.1 404 Not Found\r\n"), BATCH - good)
            if n % 100 == 99:
                memory = server.memory_kib()
                if n >= SOAK // BATCH // 5:
                    warm = warm or memory
                    least, most = min(least or memory, memory), max(most or memory, memory)
        if "EVSERVE_SOAK" in os.environ and warm is not None:
            print(f"{SOAK} requests: resident memory {warm} KiB after a fifth of them, then {least} to {most} KiB",
                  file=sys.stderr)
        if self.is_measured and warm is not None:
            self.assertLess(most - warm, GROWTH_KIB)
        self.end(server)

    def ask(self, path):
        with self.connect() as sock:
            sock.sendall(get(path, close=True))
            return evtest.receive_all(sock).split(b"\r\n")[0]


class Https(Churn):
    LISTEN = "127.0.0.1:0?tls"
    rounds = (ROUNDS + 1) // 2  # a handshake takes longer than the rest
    # What a client sends of its first message in the handshake: a part, all of it, or something else.
    HELLOS = [b"", 1, 5, 100, None, get("/small"), b"\x16\x03\x01\xff\xff" + bytes(500), bytes(100)]

    def options(self, program, folder):
        certificates.require_tls(program)
        authority = certificates.Authority(folder)
        cert, key = authority.sign("churn", "localhost")
        self.contexts = [authority.client(minimum_version=version, maximum_version=version)
                         for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
        self.sessions = [None, None]
        self.count = 0
        return ["--tls-cert", cert, "--tls-key", key]

    def connect(self, receive_buffer=None):
        """By turns with both versions, with a new session and a resumed one."""
        self.count += 1
        which = self.count % 2
        session = self.sessions[which] if self.count % 4 < 2 else None
        sock = self.contexts[which].wrap_socket(super().connect(receive_buffer), server_hostname="localhost",
                                                session=session)
        if self.sessions[which] is not None and session is not None:
            self.resumed = sock.session_reused
        self.sessions[which] = sock.session if which == 0 or sock.session.has_ticket else session
        return sock

    def leave_in_handshake(self, hello, end):
        context = self.contexts[self.count % 2]
        self.count += 1
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        first = outgoing.read()
        sock = super().connect()
        try:
            sock.sendall(hello if isinstance(hello, bytes) else first[:hello])
            if hello is None:
                sock.recv(100)
            if end == "half":
                shut(sock)
        except (ConnectionResetError, BrokenPipeError):
            pass
        if end in ("half", "wait"):
            return sock
        if end == "reset":
            evtest.reset(sock)
        else:
            sock.close()
        return None

    def endings(self):
        notifying = [lambda sent=sent, read=read: play(self.connect, sent, read, "notify")
                     for sent in SENT for read in READ if b"/slow" not in sent]
        leaving = [lambda hello=hello, end=end: self.leave_in_handshake(hello, end)
                   for hello in self.HELLOS for end in ENDS]
        return super().endings() + notifying + leaving

    def end(self, server):
        self.assertTrue(self.resumed)
        super().end(server)


if __name__ == "__main__":
    side_by_side.main()
