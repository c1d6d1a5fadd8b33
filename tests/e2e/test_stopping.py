"""Stopping without a client noticing: handovers of sockets under load, signals, health, what is cut."""

import os
import random
import signal
import socket
import tempfile
import threading
import time
import unittest

import certificates
import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HAS_LUA = os.environ.get("EVSERVE_LUA") != "0"
HANDOVERS = 10
HEAD = "local app = require 'evserve'\n"


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.write("small.txt", "small\n")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *arguments, **options):
        server = evtest.Program(EVSERVE, *arguments, cwd=self.folder, **options)
        self.addCleanup(server.kill)
        return server

    def start_script(self, script):
        self.write("site.lua", HEAD + script)
        return self.start("--listen", "127.0.0.1:0", "site.lua")


def read_response(sock):
    """Head and content of one response; fails if the connection ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(f"the connection ended after {data!r}")
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(content) < length:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(f"the content ended after {len(content)} bytes")
        content += piece
    return head, content


class Client(threading.Thread):
    """Sends requests until it is told to stop, over a connection each, or over one as long as that lasts."""

    def __init__(self, address, keeps, context):
        super().__init__(daemon=True)
        self.address, self.keeps, self.context = address, keeps, context
        self.done = threading.Event()
        self.count, self.failures, self.last = 0, [], 0
        self.random = random.Random(str(address) + str(keeps))

    def connect(self):
        sock = socket.create_connection(self.address, timeout=evtest.LIMIT)
        return sock if self.context is None else self.context.wrap_socket(sock, server_hostname="localhost")

    def ask(self, sock):
        sock.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        head, content = read_response(sock)
        if not head.startswith(b"HTTP/1.1 200 ") or content != b"small\n":
            raise ValueError(head)
        self.count += 1
        return b"\r\nConnection: close" in head

    def run(self):
        while not self.done.is_set():
            try:
                with self.connect() as sock:
                    time.sleep(self.random.choice((0, 0, 0.001, 0.02, 0.1)))  # a client may think before it asks
                    while not self.ask(sock) and self.keeps and not self.done.is_set():
                        time.sleep(self.random.choice((0, 0, 0.001, 0.02)))
            except (OSError, EOFError, ValueError) as error:
                self.failures.append(repr(error))


class Handover(Case):
    def test_sockets_change_hands_ten_times_and_no_request_fails(self):
        tls, context = [], None
        try:
            certificates.require_tls(EVSERVE)
            authority = certificates.Authority(self.folder)
            cert, key = authority.sign("server", "localhost")
            tls, context = ["--tls-cert", cert, "--tls-key", key], authority.client()
        except unittest.SkipTest:
            pass  # over plain sockets alone
        with socket.create_server(("127.0.0.1", 0), backlog=512) as plain, \
                socket.create_server(("127.0.0.1", 0), backlog=512) as secured:
            kinds = [(plain, "", None), (secured, "?tls", context)][:2 if tls else 1]

            def serve(turn):
                listen = ",".join(f"fd:{sock.fileno()}{options}" for sock, options, _ in kinds)
                return self.start("--listen", listen, *tls, "--root", self.folder,
                                  *(["--reactors", "2"] if turn % 2 else []),
                                  pass_fds=[sock.fileno() for sock, _, _ in kinds])

            clients = [Client(sock.getsockname(), keeps, context) for sock, _, context in kinds
                       for keeps in (False, True) for _ in range(3)]
            server = serve(0)
            for client in clients:
                client.start()
            for turn in range(HANDOVERS):
                before = [client.count for client in clients]
                successor = serve(turn + 1)
                evtest.wait_until(lambda: all(client.count > old for client, old in zip(clients, before)), "requests")
                self.assertEqual(server.stop(), 0)
                self.assertFalse([line for line in server.lines if "cut" in line])
                server = successor
            for client in clients:
                client.done.set()
            for client in clients:
                client.join(evtest.LIMIT)
            self.assertEqual([failure for client in clients for failure in client.failures], [])
            self.assertGreater(min(client.count for client in clients), HANDOVERS)


class Stop(Case):
    def test_client_that_has_just_connected_is_answered(self):
        server = self.start("--listen", "unix:s", "--root", self.folder)
        with socket.socket(socket.AF_UNIX) as fresh, socket.socket(socket.AF_UNIX) as kept:
            kept.connect(os.path.join(self.folder, "s"))
            kept.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
            read_response(kept)
            fresh.connect(os.path.join(self.folder, "s"))
            server.process.send_signal(signal.SIGTERM)
            evtest.wait_until(lambda: not os.path.exists(os.path.join(self.folder, "s")), "the listener's end")
            for sock in (fresh, kept):
                sock.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
                head, content = read_response(sock)
                self.assertIn(b"\r\nConnection: close", head)
                self.assertEqual(content, b"small\n")
                self.assertEqual(sock.recv(1), b"")
        self.assertEqual(server.stop(), 0)

    def test_idle_connections_do_not_hold_a_stop_up_for_long(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", self.folder)
        with server.connect() as idle:
            idle.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
            read_response(idle)
            begin = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertGreater(time.monotonic() - begin, 0.9)
            self.assertEqual(idle.recv(1), b"")  # in order, with no reset
        self.assertFalse([line for line in server.lines if "cut" in line])

    def test_a_probe_that_connects_and_closes_leaves_no_line(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", self.folder)
        for how in ("close", "reset"):
            sock = server.connect()
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(server.lines), 1, server.lines)


@unittest.skipUnless(HAS_LUA, "this build has no Lua")
class Signals(Case):
    SLOW = "app.get('/slow', function() app.sleep '700ms' return 'done' end)\n"

    def ask(self, server, path):
        sock = server.connect()
        self.addCleanup(sock.close)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return sock

    def test_drain_timeout_cuts_and_the_log_says_what(self):
        server = self.start_script("app.set { drain_timeout = '100ms' }\n"
                                   "app.get('/slow', function() app.sleep '1m' return 'done' end)\n"
                                   "app.get('/live', function() return 200, function(out)"
                                   " while out:write 'x' do app.sleep '10ms' end end end)\n")
        self.ask(server, "/slow")
        live = self.ask(server, "/live")
        self.assertTrue(live.recv(1))
        begin = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - begin, 30)
        said = next(line for line in server.lines if "connections are cut: " in line)
        self.assertIn("2 while a handler was at work", said)
        cut = [line for line in server.lines if "cut, since the server stops" in line]
        self.assertEqual(len(cut), 2, server.lines)
        for path, line in ("/slow", 3), ("/live", 4):
            said = f"route {path} (site.lua:{line}): cut, since the server stops; it waits at site.lua:{line}"
            self.assertTrue(any(said in text for text in cut), cut)

    def test_sigquit_waits_longer_than_drain_timeout(self):
        server = self.start_script("app.set { drain_timeout = '1ms' }\n" + self.SLOW +
                                   "app.get('/', function() return 'hi' end)\n")
        slow, probe = self.ask(server, "/slow"), self.ask(server, "/")
        read_response(probe)
        self.assertEqual(server.stop(signal.SIGQUIT), 0)
        self.assertEqual(read_response(slow)[1], b"done")

    def test_second_sigterm_ends_at_once(self):
        server = self.start_script("app.set { drain_timeout = '1h' }\n"
                                   "app.get('/slow', function() app.sleep '1h' return 'done' end)\n"
                                   "app.on('stopping', function() app.log('info', 'first') end)\n"
                                   "app.get('/', function() return 'hi' end)\n")
        self.ask(server, "/slow")
        read_response(self.ask(server, "/"))
        server.process.send_signal(signal.SIGTERM)
        evtest.wait_until(lambda: any("first" in line for line in server.lines), "the stop")
        self.assertEqual(server.stop(), 0)
        said = next(line for line in server.lines if "connections are cut: " in line)
        self.assertIn("the server stops at once, connections are cut: 1 while a handler was at work", said)

    def test_health_turns_before_the_listener_closes(self):
        server = self.start_script("app.set { drain_delay = '1h' }\napp.health '/healthz'\n"
                                   "app.use(function() return 401 end)\n"
                                   "local well, why = true, nil\n"
                                   "app.health('/ready', function() app.sleep '1ms' return well, why end)\n"
                                   "app.health('/bad', function() return nil, 'the queue is full' end)\n"
                                   "app.health('/broken', function() error('no database', 0) end)\n"
                                   "app.health('/quiet', function() end)\n")

        def verdict(path):
            with self.ask(server, path) as sock:
                head, content = read_response(sock)
                self.assertIn(b"\r\nCache-Control: no-store", head)
                return head.split()[1], content

        for path, wanted in (("/healthz", (b"200", b"ok\n")), ("/ready", (b"200", b"ok\n")),
                             ("/quiet", (b"200", b"ok\n")), ("/bad", (b"503", b"the queue is full\n")),
                             ("/broken", (b"503", b"no database\n"))):
            self.assertEqual(verdict(path), wanted)
        verdict("/bad")
        self.assertEqual(sum("/bad says 503: the queue is full" in line for line in server.lines), 1)
        server.process.send_signal(signal.SIGTERM)
        evtest.wait_until(lambda: verdict("/healthz") == (b"503", b"stopping\n"), "health")
        self.assertEqual(verdict("/ready"), (b"503", b"stopping\n"))
        self.assertEqual(server.stop(), 0)  # a second one waits for nothing

    def test_streams_end_when_they_look(self):
        server = self.start_script("app.get('/live', function() return 200, function(out)"
                                   " while not app.stopping() and out:write 'x' do app.sleep '10ms' end"
                                   " out:write 'end' end end)\n")
        live = self.ask(server, "/live")
        self.assertTrue(live.recv(1))
        self.assertEqual(server.stop(), 0)
        self.assertTrue(evtest.receive_all(live).endswith(b"end\r\n0\r\n\r\n"))
        self.assertFalse([line for line in server.lines if "cut" in line])


if __name__ == "__main__":
    side_by_side.main()
