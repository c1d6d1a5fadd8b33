"""app.proxy in front of an upstream that does whatever a test says: bodies both ways, framing, failures, retries, time."""

import contextlib
import hashlib
import os
import socket
import threading
import time
import unittest

import evtest
import lua_site
import side_by_side
from lua_site import Client
from origin import Origin, closed_port, raw

SITE = """
app.set { max_body = "64M" }
app.proxy("/", os.getenv "UPSTREAM")
"""
LARGE = 4 << 20  # bytes: more than all buffers between the two ends
PATTERN = evtest.pattern(LARGE)


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class ProxyCase(unittest.TestCase):
    """A site that passes all on to an origin."""

    SITE = SITE
    HANDLERS = {}
    ARGUMENTS = ()

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        try:
            cls.origin = cls.stack.enter_context(Origin(cls.HANDLERS))
            path = cls.stack.enter_context(lua_site.script(cls.SITE))
            cls.server = cls.stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", *cls.ARGUMENTS, "site.lua",
                               cwd=os.path.dirname(path), env={**os.environ, "UPSTREAM": cls.origin.url}))
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def ask(self, target, method="GET", headers=(), body=None, version="1.1"):
        with Client(self.server) as client:
            return client.ask(method, target, headers, body, version)

    def ask_raw(self, data):
        """All that comes until the server closes."""
        with self.server.connect() as sock:
            sock.sendall(data)
            return evtest.receive_all(sock)


def hash_body(connection, request):
    """The SHA-256 of the body, read as it comes."""
    digest = hashlib.sha256()
    for piece in request.read_chunks():
        digest.update(piece)
    connection.respond(200, digest.hexdigest())


def read_slowly(connection, request):
    """It begins to read when the site can have sent no more."""
    time.sleep(0.3)
    hash_body(connection, request)


def send_large(connection, request):
    kind = request.target.partition("?")[2]
    data = PATTERN
    if kind == "length":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    elif kind == "chunks":
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sizes = (1, 65536, 3, 16384, 100000)
        at, i = 0, 0
        while at < LARGE:
            piece = data[at:at + sizes[i % len(sizes)]]
            connection.send(b"%x;x=y\r\n%s\r\n" % (len(piece), piece))
            at, i = at + len(piece), i + 1
        connection.send("0\r\nX-Trailer: 1\r\n\r\n")
        return False
    else:
        connection.send("HTTP/1.1 200 OK\r\n\r\n")
    connection.send(data)
    return kind == "close"


class Bodies(ProxyCase):
    HANDLERS = {"/hash": hash_body, "/slow-hash": read_slowly, "/large": send_large}

    def test_bodies_of_requests_go_up_as_they_are(self):
        for size in (0, 1, 1000, 65536, 1 << 20, LARGE):
            body = PATTERN[:size]
            self.assertEqual(self.ask("/hash", "POST", body=body).text, hashlib.sha256(body).hexdigest())
        self.assertEqual(self.ask("/slow-hash", "POST", body=body).text, hashlib.sha256(body).hexdigest())

    def test_chunked_bodies_go_up_chunked(self):
        body = PATTERN[:1 << 20]
        pieces = [body[:1], body[1:5], body[5:100000], body[100000:]]
        data = b"POST /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked(*pieces)
        self.assertIn(hashlib.sha256(body).hexdigest().encode(), self.ask_raw(data))
        request = self.origin.requests[-1]
        self.assertEqual(request.headers["transfer-encoding"], "chunked")
        self.assertNotIn("content-length", request.headers)

    def test_a_body_that_comes_slowly_goes_up_as_it_comes(self):
        got = threading.Event()

        def take(connection, request):
            self.assertEqual(connection.file.read(3), b"one")
            got.set()
            self.assertEqual(connection.file.read(3), b"two")
            connection.respond(200, "both")

        self.origin.handlers["/pieces"] = take
        with Client(self.server) as client:
            client.sock.sendall(b"POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\none")
            self.assertTrue(got.wait(evtest.LIMIT))
            client.sock.sendall(b"two")
            self.assertEqual(client.read().text, "both")

    def test_content_comes_down_as_it_is(self):
        expected = hashlib.sha256(PATTERN).digest()
        for kind in ("length", "chunks", "close"):
            answer = self.ask("/large?" + kind)
            self.assertEqual((answer.status, answer.whole, len(answer.body)), (200, True, LARGE), kind)
            self.assertEqual(hashlib.sha256(answer.body).digest(), expected, kind)

    def test_to_http_1_0_as_well(self):
        for kind in ("length", "chunks", "close"):
            with self.server.connect() as sock:
                sock.sendall(f"GET /large?{kind} HTTP/1.0\r\n\r\n".encode())
                head, _, body = evtest.receive_all(sock).partition(b"\r\n\r\n")
            self.assertNotIn(b"chunked", head.lower())
            self.assertEqual(body, PATTERN, kind)

    def test_a_client_that_reads_slowly_slows_the_upstream_down(self):
        sent = []

        def send_on(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            connection.sock.settimeout(0.4)
            with contextlib.suppress(TimeoutError):
                while True:
                    sent.append(connection.sock.send(bytes(65536)))
            return True

        self.origin.handlers["/endless"] = send_on
        with self.server.connect(receive_buffer=16384) as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            before = self.server.memory_kib()
            sock.recv(100)
            evtest.wait_until(lambda: self.origin.requests and len(sent) > 0, "the response")
            count = -1
            while len(sent) != count:
                count = len(sent)
                time.sleep(0.2)
            self.assertLess(sum(sent), 30 << 20)
            self.assertLess(self.server.memory_kib() - before, 4096)

    def test_an_upstream_that_reads_slowly_slows_its_client_down(self):
        done = threading.Event()

        def read_nothing(connection, request):
            done.wait(evtest.LIMIT)
            return True

        self.origin.handlers["/deaf"] = read_nothing
        with self.server.connect() as sock:
            sock.sendall(b"POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
            before = self.server.memory_kib()
            sock.settimeout(0.4)
            sent = 0
            with contextlib.suppress(TimeoutError, ConnectionError):  # a 504 may come in between
                while sent < 60000000:
                    sent += sock.send(bytes(65536))
            done.set()
            self.assertLess(sent, 30 << 20)
            self.assertLess(self.server.memory_kib() - before, 4096)


class Responses(ProxyCase):
    def send(self, text, method="GET"):
        """What a client gets of these bytes of an upstream that then closes."""
        self.origin.handlers["/raw"] = raw(text)
        return self.ask("/raw", method)

    def test_head_has_the_fields_and_no_content(self):
        answer = self.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n", "HEAD")
        self.assertEqual((answer.status, answer.headers["content-length"], answer.headers["etag"]), (200, "5", '"a"'))

    def test_304_and_204_have_no_content(self):
        answer = self.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n")
        self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (304, b"", '"a"'))
        answer = self.send("HTTP/1.1 204 No Content\r\nX-Y: z\r\n\r\n")
        self.assertEqual((answer.status, answer.body, answer.headers["x-y"]), (204, b"", "z"))

    def test_fields_go_down_except_those_about_the_connection(self):
        answer = self.send("HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"
                           "Connection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
                           "Upgrade: h2c\r\nTrailer: X-T\r\nServer: other\r\nContent-Length: 2\r\n\r\nok")
        names = [name.lower() for name, _ in answer.lines]
        self.assertEqual([value for name, value in answer.lines if name == "X-A"], ["1", "2"])
        self.assertEqual([value for name, value in answer.lines if name == "Set-Cookie"], ["a=b", "c=d"])
        for name in ("x-hop", "keep-alive", "proxy-authenticate", "upgrade", "trailer"):
            self.assertNotIn(name, names)
        self.assertEqual((names.count("date"), answer.text), (1, "ok"))

    def test_interim_responses_come_before_the_response(self):
        self.origin.handlers["/hints"] = raw(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        got = self.ask_raw(b"GET /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertTrue(got.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK"), got)
        self.assertTrue(got.endswith(b"ok"))
        got = self.ask_raw(b"GET /hints HTTP/1.0\r\nHost: a\r\n\r\n")  # which knows none
        self.assertTrue(got.startswith(b"HTTP/1.1 200 OK"), got)

    def test_statuses_go_down_as_they_are(self):
        for status in (201, 206, 301, 404, 418, 451, 500, 503, 599):
            answer = self.send(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 3\r\nLocation: /x\r\n\r\nabc")
            self.assertEqual((answer.status, answer.text, answer.headers["location"]), (status, "abc", "/x"))

    def test_what_is_no_response_is_502(self):
        for text in ("", "HTTP/1.1 200 OK\r\nContent-Le", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nX y: z\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\n\r\n",
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nA: " + "b" * 70000 + "\r\n\r\n"):
            with self.subTest(text[:80]):
                self.assertEqual(self.send(text).status, 502)
        self.assertTrue(any(self.origin.url in line and "no valid response" in line for line in self.server.lines))

    def test_content_that_is_cut_is_cut(self):
        for text in ("Content-Length: 100000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
                     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\nx\r\n"):
            with self.subTest(text):
                with contextlib.suppress(EOFError, ConnectionError):
                    answer = self.send("HTTP/1.1 200 OK\r\n" + text)
                    self.assertTrue(answer.status == 502 or not answer.whole)

    def test_what_comes_behind_a_response_belongs_to_nobody(self):
        self.origin.handlers["/more"] = raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", closes=False)
        with Client(self.server) as client:
            for _ in range(3):
                self.assertEqual(client.ask("GET", "/more").text, "ok")
                self.assertEqual(client.ask("GET", "/text").text, "hello\n")

    def test_more_content_than_was_announced_is_not_passed_on(self):
        answer = self.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more")
        self.assertEqual(answer.text, "ok")

    def test_an_early_response_to_a_long_body_arrives(self):
        self.origin.handlers["/early"] = lambda c, r: c.respond(413, "too long") or True
        with Client(self.server) as client:
            head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
            with evtest.sending(client.sock, head + bytes(1000000)):
                self.assertEqual(client.read().status, 413)


class Requests(ProxyCase):
    def echo(self, target="/echo", method="GET", headers=(), body=None, version="1.1"):
        return self.ask(target, method, headers, body, version).json

    def test_fields_go_up_except_those_about_the_connection(self):
        seen = self.echo(headers=[
            ("Connection", "x-hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers"),
            ("Upgrade", "h2c"), ("Proxy-Authorization", "x"), ("X-A", "1"), ("Cookie", "a=b"), ("Proxy", "x"),
            ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https")])["headers"]
        for name in ("x-hop", "keep-alive", "te", "upgrade", "proxy-authorization", "proxy"):
            self.assertNotIn(name, seen)
        self.assertEqual((seen["x-a"], seen["cookie"], seen["host"]), ("1", "a=b", "test"))
        self.assertEqual([seen["x-forwarded-" + name] for name in ("for", "proto", "host")], ["127.0.0.1", "http", "test"])

    def test_targets(self):
        self.origin.handlers["/a b"] = Origin.echo
        for target, expected in (("/echo?a=%20&b=c?d", "/echo?a=%20&b=c?d"), ("/x/../echo?", "/echo?"), ("/./echo", "/echo"),
                                 ("http://elsewhere/echo?q", "/echo?q")):
            self.assertEqual(self.echo(target)["target"], expected)

    def test_methods(self):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            self.assertEqual(self.echo(method=method, body=None if method == "GET" else b"x")["method"], method)

    def test_a_client_of_http_1_0_has_a_host_and_http_1_1_upstream(self):
        seen = self.echo(version="1.0")
        self.assertIn("host", seen["headers"])

    def test_expect_is_answered_here(self):
        with Client(self.server) as client:
            client.send("POST", "/echo", [("Expect", "100-continue"), ("Content-Length", "5")])
            self.assertEqual(client.file.readline(), b"HTTP/1.1 100 Continue\r\n")
            client.file.readline()
            client.sock.sendall(b"hello")
            seen = client.read().json
        self.assertEqual((seen["body"], "expect" in seen["headers"]), ("hello", False))

    def test_a_cut_body_reaches_the_upstream_as_cut(self):
        left = threading.Event()

        def read_all(connection, request):
            if len(request.read().body) < 10 and connection.has_left():
                left.set()
            return True

        self.origin.handlers["/cut"] = read_all
        with self.server.connect() as sock:
            sock.sendall(b"POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
            evtest.wait_until(lambda: any(r.path == "/cut" for r in self.origin.requests), "the request")
        self.assertTrue(left.wait(evtest.LIMIT))

    def test_a_client_that_leaves_takes_the_upstreams_connection_with_it(self):
        left = threading.Event()

        def wait(connection, request):
            if connection.has_left():
                left.set()
            return True

        self.origin.handlers["/wait"] = wait
        with self.server.connect() as sock:
            sock.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            evtest.wait_until(lambda: any(r.path == "/wait" for r in self.origin.requests), "the request")
        self.assertTrue(left.wait(evtest.LIMIT))

    def test_pipelined_requests_are_answered_in_order(self):
        data = b"".join(b"GET /echo?%d HTTP/1.1\r\nHost: a\r\n%s\r\n" % (i, b"Connection: close\r\n" if i == 19 else b"")
                        for i in range(20))
        answers = self.ask_raw(data)
        places = [answers.find(b'"/echo?%d"' % i) for i in range(20)]
        self.assertEqual(places, sorted(places))
        self.assertGreater(places[0], 0)

    def test_connections_to_the_upstream_are_kept(self):
        with Client(self.server) as client:
            client.ask("GET", "/text")
            before = self.origin.accepted
            for _ in range(50):
                client.ask("GET", "/text")
            self.assertLessEqual(self.origin.accepted - before, 1)


class Time(ProxyCase):
    SITE = 'app.proxy("/", os.getenv "UPSTREAM", { timeout = "1s" })'

    def test_an_upstream_that_says_nothing_is_504(self):
        self.origin.handlers["/never"] = lambda c, r: c.has_left()
        start = time.monotonic()
        self.assertEqual(self.ask("/never").status, 504)
        self.assertGreater(time.monotonic() - start, 0.9)

    def test_an_upstream_that_stops_in_its_content_is_cut(self):
        def stall(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            return connection.has_left()

        self.origin.handlers["/stall"] = stall
        self.assertFalse(self.ask("/stall").whole)

    def test_a_slow_upstream_that_goes_on_is_waited_for(self):
        def drip(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            for piece in "hello":
                time.sleep(0.25)
                connection.send(piece)

        self.origin.handlers["/drip"] = drip
        self.assertEqual(self.ask("/drip").text, "hello")


class KeepAlive(ProxyCase):
    """Connections that the upstream closes just when the next request is sent."""

    def test_a_kept_connection_that_was_closed_is_replaced(self):
        self.origin.handlers["/close-silently"] = lambda c, r: c.respond(200, "bye") or True
        for _ in range(20):
            self.assertEqual(self.ask("/close-silently").text, "bye")

    def test_many_requests_race_the_end(self):
        failures = []

        def run():
            with Client(self.server) as client:
                for i in range(100):
                    answer = client.ask("GET", "/close-silently" if i % 3 == 0 else "/text")
                    if answer.status != 200:
                        failures.append(answer.status)

        self.origin.handlers["/close-silently"] = lambda c, r: c.respond(200, "bye") or True
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(evtest.LIMIT)
        self.assertEqual(failures, [])

    def test_a_post_is_not_sent_twice_once_it_may_have_arrived(self):
        arrived = []

        def die(connection, request):
            request.read()
            arrived.append(request.method)
            return True

        self.origin.handlers["/die"] = die
        self.assertEqual(self.ask("/die", "POST", body=b"x").status, 502)
        self.assertEqual(arrived, ["POST"])


TWO = """
app.proxy("/", { os.getenv "FIRST", os.getenv "SECOND" }, { fail_timeout = "1h" })
"""


class Retries(unittest.TestCase):
    def test_an_upstream_that_is_down_is_passed_over(self):
        dead = f"http://127.0.0.1:{closed_port()}"
        with Origin() as origin, lua_site.script(TWO) as path:
            with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                env={**os.environ, "FIRST": dead, "SECOND": origin.url}) as server:
                for i in range(10):
                    with Client(server) as client:
                        self.assertEqual(client.ask("POST" if i % 2 else "GET", "/echo", body=b"x").status, 200)
                about = [line for line in server.lines if dead in line]
                self.assertEqual(len(about), 1, about)

    def test_an_upstream_that_dies_is_replaced_for_what_may_be_repeated(self):
        for kind in ("before", "in the head"):
            with Origin({"/x": raw("" if kind == "before" else "HTTP/1.1 2")}) as bad, Origin({"/x": raw(
                    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")}) as good, lua_site.script(TWO) as path:
                with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                    env={**os.environ, "FIRST": bad.url, "SECOND": good.url}) as server:
                    statuses = set()
                    for _ in range(2):
                        with Client(server) as client:
                            statuses.add(client.ask("GET", "/x").status)
                    self.assertEqual(statuses, {200} if kind == "before" else {200, 502})

    def test_all_down_is_502_or_503(self):
        dead = [f"http://127.0.0.1:{closed_port()}" for _ in range(2)]
        with lua_site.script(TWO) as path:
            with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                env={**os.environ, "FIRST": dead[0], "SECOND": dead[1]}) as server:
                for _ in range(3):
                    with Client(server) as client:
                        self.assertIn(client.ask("GET", "/x").status, (502, 503))


class Stopping(ProxyCase):
    def test_a_response_under_way_is_finished_by_a_stop(self):
        go_on = threading.Event()

        def send(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            go_on.wait(evtest.LIMIT)
            connection.send("world")

        self.origin.handlers["/halves"] = send
        path = self.stack.enter_context(lua_site.script(SITE))
        with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                            env={**os.environ, "UPSTREAM": self.origin.url}) as server, server.connect() as sock:
            sock.sendall(b"GET /halves HTTP/1.1\r\nHost: a\r\n\r\n")
            got = b""
            while b"hello" not in got:
                got += sock.recv(1000)
            server.process.terminate()
            time.sleep(0.1)
            go_on.set()
            self.assertTrue((got + evtest.receive_all(sock)).endswith(b"helloworld"))

    def test_a_reload_leaves_it_alone(self):
        go_on = threading.Event()

        def send(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            go_on.wait(evtest.LIMIT)
            connection.send("5\r\nworld\r\n0\r\n\r\n")

        self.origin.handlers["/over"] = send
        with self.server.connect() as sock:
            sock.sendall(b"GET /over HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            got = b""
            while b"hello" not in got:
                got += sock.recv(1000)
            self.server.process.send_signal(1)
            evtest.wait_until(lambda: any("reloaded" in line for line in self.server.lines), "the reload")
            self.assertEqual(self.ask("/text").text, "hello\n")
            go_on.set()
            self.assertIn(b"world", evtest.receive_all(sock))


if __name__ == "__main__":
    side_by_side.main()
