"""Connections of Lua sites to other servers, run by the real program: app.connect, and what sockets can do. The other
servers are threads of this test."""

import contextlib
import os
import queue
import signal
import socket
import ssl
import tempfile
import threading
import time

import certificates
import evtest
import side_by_side
from lua_site import EVSERVE, Client, SiteCase, script


class Peer:
    """A server for one test: serve(connection) is called for each connection, on a thread of its own."""

    def __init__(self, serve, path=None):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(path or ("127.0.0.1", 0))
        self.listener.listen(64)
        self.path = path
        self.serve = serve
        self.count = 0
        self.failures = queue.Queue()
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    @property
    def address(self):
        return "unix:" + self.path if self.path else "127.0.0.1:%d" % self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            connection.settimeout(20)
            thread = threading.Thread(target=self.run, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def run(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError as error:
                self.failures.put(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def sends(*pieces, pause=0.01, stays=False):
    """What a peer does that sends pieces one after the other, and then closes, or waits for the other side to do so."""

    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if stays:
            connection.recv(1)

    return serve


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


class SocketCase(SiteCase):
    # A body is the code that a request runs, with the address of the peer. What it returns comes as a list of texts.
    SCRIPT = r"""
    app.set { handler_cpu = "5s", max_receive = "64K", drain_timeout = "100ms" }
    shared = {}
    local function list(...)
        local texts = {}
        for i = 1, select("#", ...) do texts[i] = tostring((select(i, ...))) end
        return app.json.array(texts)
    end
    app.post("/run", function(req)
        local fn = assert(loadstring(req.body, "@test.lua"))
        return list(fn(app, req.headers["x-peer"], req))
    end)
    """

    @classmethod
    def setUpClass(cls):
        """All classes share one program."""
        if "server" not in SocketCase.__dict__:
            super(SocketCase, SocketCase).setUpClass()

    @classmethod
    def tearDownClass(cls):
        pass

    def run_code(self, code, peer=None):
        headers = [("X-Peer", peer.address)] if peer else []
        answer = self.ask("/run", "POST", headers, ("local app, peer, req = ...\n" + code).encode())
        self.assertEqual(answer.status, 200, answer.text + "".join(self.server.lines[-5:]))
        return answer.json


def tearDownModule():
    if "stack" in SocketCase.__dict__:
        SocketCase.stack.close()


class Receiving(SocketCase):
    def test_lines_numbers_and_all_the_rest(self):
        with Peer(sends(b"+OK\r\n$5\r\nhel", b"lo\r\nre", b"st\r\n")) as peer:
            self.assertEqual(self.run_code(r"""
                local s = app.connect(peer)
                return s:receive(), s:receive "*l", s:receive(5), s:receive "2", s:receive "*a"
            """, peer), ["+OK", "$5", "hello", "\r\n", "rest\r\n"])

    def test_success_is_one_value(self):
        with Peer(sends(b"a\nb\nc\nd")) as peer:
            self.assertEqual(self.run_code(r"""
                local s = app.connect(peer)
                local n = select("#", s:receive())
                local m = select("#", s:receive())
                return n, m, select("#", s:receiveuntil "\n"()), select("#", s:receiveany(9))
            """, peer), ["1", "1", "1", "1"])

    def test_all_carriage_returns_of_a_line_are_dropped(self):
        with Peer(sends(b"\ra\r\rb\r\n")) as peer:
            self.assertEqual(self.run_code("return app.connect(peer):receive()", peer), ["ab"])

    def test_the_end_gives_what_had_come(self):
        for code, wanted in (('"*l"', ["nil", "closed", "abc"]), ("7", ["nil", "closed", "abc\r"]),
                             ('"*a"', ["abc\r"])):
            with self.subTest(code), Peer(sends(b"ab", b"c\r")) as peer:
                self.assertEqual(self.run_code(f"return app.connect(peer):receive({code})", peer), wanted)
        with Peer(sends(b"ab")) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local data = s:receive "*a"
                return data, s:receive "*a"
            """, peer), ["ab", "nil", "closed"])

    def test_a_reset(self):
        def resets(connection):
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        with Peer(resets) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:send "x"
                return s:receive()
            """, peer), ["nil", "connection reset by peer", ""])

    def test_a_timeout_gives_what_had_come_and_the_rest_comes_later(self):
        with Peer(sends(b"ab", b"cd\n", pause=0.3)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer, { timeout = "100ms" })
                local line, err, partial = s:receive()
                s:settimeout(5000)
                return line, err, partial, s:receive()
            """, peer), ["nil", "timeout", "ab", "cd"])

    def test_whatever_there_is(self):
        with Peer(sends(b"abcdef", stays=True)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer, { timeout = 50 })
                return s:receiveany(4), s:receiveany(4), s:receiveany(4)
            """, peer), ["abcd", "ef", "nil", "timeout", ""])

    def test_up_to_a_delimiter(self):
        with Peer(sends(b"hello, wor", b"ld! -agentzh\r\n--abce", b"dhb blah--x--y")) as peer:
            self.assertEqual(self.run_code(r"""
                local s = app.connect(peer)
                local read = s:receiveuntil "\r\n--abcedhb"
                local rest = s:receiveuntil("--", { inclusive = true })
                local first, second = read(), rest()
                return first, second, s:receive(1), rest(), rest()
            """, peer), ["hello, world! -agentzh", " blah--", "x", "--", "nil", "closed", "y"])

    def test_up_to_a_delimiter_in_pieces(self):
        with Peer(sends(b"hello, wor", b"ld! -agentzh\r\n--abce", b"dhb blah")) as peer:
            self.assertEqual(self.run_code(r"""
                local s, out = app.connect(peer), {}
                local read = s:receiveuntil "\r\n--abcedhb"
                while true do
                    local piece, err, partial = read(4)
                    if not piece then
                        return table.concat(out, "|"), err, partial, s:receive(5)
                    end
                    out[#out + 1] = piece
                end
            """, peer), ["hell|o, w|orld|! -a|gent|zh", "nil", "nil", " blah"])

    def test_a_timeout_leaves_the_beginning_of_a_delimiter(self):
        with Peer(sends(b"abc--e", b"nd!", pause=0.3)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer, { timeout = "100ms" })
                local read = s:receiveuntil "--end"
                local data, err, partial = read()
                s:settimeout "5s"
                return data, err, partial, read(), s:receive(1)
            """, peer), ["nil", "timeout", "abc", "", "!"])

    def test_a_result_has_a_limit(self):
        full = b"x" * 65536
        for stream, code, wanted in (
                (full + b"\n", "s:receive()", ["65536"]),
                (full + b"x\n", "s:receive()", ["nil", "more than max_receive: a line", "", "closed"]),
                (full, 's:receive "*a"', ["65536"]),
                (full + b"x", 's:receive "*a"', ["nil", "more than max_receive: everything up to the end", "", "closed"]),
                (full + b"--", 's:receiveuntil "--"()', ["65536"]),
                (full + b"x--", 's:receiveuntil "--"()',
                 ["nil", "more than max_receive: what comes before the delimiter", "", "closed"]),
                (full, "s:receive(65536)", ["65536"]),
                (full, "s:receive(65537)", ["nil", "more than max_receive: 65537 bytes", "", "1"])):
            with self.subTest(code, size=len(stream)), Peer(sends(stream)) as peer:
                self.assertEqual(self.run_code(f"""
                    local s = app.connect(peer)
                    local data, err, partial = {code}
                    if data then return #data end
                    local ok, closed = s:close()
                    return data, err, partial, ok or closed
                """, peer), wanted)

    def test_much_comes_in_many_pieces(self):
        blob = os.urandom(1 << 16) * 40
        with Peer(sends(blob)) as peer:
            self.assertEqual(self.run_code("""
                local s, size, count = app.connect(peer), 0, 0
                while true do
                    local data, err, partial = s:receive(65536)
                    size = size + #(data or partial)
                    count = count + 1
                    if not data then return size, err end
                end
            """, peer), [str(len(blob)), "closed"])


class Sending(SocketCase):
    def test_strings_numbers_and_lists(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code(r"""
                local s = app.connect(peer)
                local a = s:send "ab"
                local b = s:send(17)
                local c = s:send { "x", { 1, true, "y" }, {}, 2.5 }
                local d = s:send ""
                return a, b, c, d, s:receive(a + b + c)
            """, peer), ["2", "2", "10", "0", "ab17x1truey2.5"])

    def test_more_than_the_kernel_takes(self):
        for what in ("text", "{ text:sub(1, 9), { text:sub(10) } }"):
            with self.subTest(what):
                sizes = queue.Queue()

                def slowly(connection, sizes=sizes):
                    time.sleep(0.1)
                    size = 0
                    while data := connection.recv(1 << 20):
                        size += len(data)
                    sizes.put(size)

                with Peer(slowly) as peer:
                    self.assertEqual(self.run_code(f"""
                        local text = ("0123456789abcdef"):rep(600000)
                        local s = app.connect(peer)
                        return s:send({what}), s:close()
                    """, peer), ["9600000", "1"])
                    self.assertEqual(sizes.get(timeout=20), 9600000)

    def test_a_timeout_closes_the_connection(self):
        with Peer(lambda connection: time.sleep(1)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer, { timeout = "50ms" })
                local count, err = s:send(("x"):rep(20000000))
                return count, err, s:send "y"
            """, peer), ["nil", "timeout", "nil", "closed"])

    def test_a_list_has_a_limit(self):
        with Peer(lambda connection: time.sleep(1)) as peer:
            self.assertEqual(self.run_code("""
                local list, text = {}, ("x"):rep(1048576)
                for i = 1, 64 do list[i] = text end
                local s = app.connect(peer)
                s:settimeout(5)
                local ok, err = pcall(s.send, s, { list, "y" })
                local count, timeout = s:send(list)
                return ok, err:match "socket:send.*", count, timeout
            """, peer), ["false", "socket:send: a list of more than 67108864 bytes; send it in pieces", "nil", "timeout"])

    def test_a_peer_that_has_left(self):
        with Peer(sends(b"bye")) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local data = s:receive "*a"
                s:send "x"
                app.sleep(50)
                return data, s:send "y"
            """, peer), ["bye", "nil", "broken pipe"])

    def test_limits_are_reached(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local list = { "x\\n" }
                for i = 1, 31 do list = { list } end
                s:send(list)
                local line = s:receive()
                local ok, err = pcall(s.send, s, { list })
                return line, ok, err:match "more than .*", s:setkeepalive(0, 100000)
            """, peer), ["x", "false", "more than 32 tables inside each other", "1"])

    def test_mistakes_name_the_function_and_the_line(self):
        with Peer(echo) as peer:
            for code, text in (("s:send(nil)", "socket:send: strings, numbers, booleans and lists of them expected, got nil"),
                               ("s:send { text = 'x' }", "socket:send: a list expected, got a table with named fields"),
                               ("s:send {{{ print }}}", "lists of them expected, got function"),
                               ('s:receive "*x"', 'socket:receive: a number of bytes, "*l" or "*a" expected, got "*x"'),
                               ("s:receive(-1)", "socket:receive: a number of bytes from 0 on expected, got -1"),
                               ("s:receiveany()", "socket:receiveany: how many bytes at most?"),
                               ("s.receive()", "socket:receive: call it as a method, with a colon"),
                               ('s:settimeout "soon"', "socket:settimeout:"),
                               ("s:setkeepalive(0, 0)", "socket:setkeepalive: 1 to 100000 connections expected, got 0"),
                               ("s:sslhandshake(nil, {})", "text expected, got table"),
                               ("s:sslhandshake(nil, true)", "text expected, got boolean"),
                               ("s:setkeepalive(0, {})", "1 to 100000 connections expected, got table"),
                               ("s:setkeepalive(0, 100001)", "1 to 100000 connections expected, got 100001"),
                               ("local t = {} t[1] = t s:send(t)", "socket:send: more than 32 tables inside each other")):
                with self.subTest(code):
                    ok, err = self.run_code(f"local s = app.connect(peer) return pcall(function()\n{code} end)", peer)
                    self.assertEqual(ok, "false")
                    self.assertTrue(err.startswith("test.lua:3: "), err)
                    self.assertIn(text, err)


class Connecting(SocketCase):
    def test_refused(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            self.assertEqual(self.run_code(f'return app.connect("127.0.0.1:{port}")'), ["nil", "connection refused"])

    def test_names(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code("""
                local s = assert(app.connect((peer:gsub("127.0.0.1", "localhost"))))
                s:send "ab\\n"
                return s:receive()
            """, peer), ["ab"])
        nobody, err = self.run_code('return app.connect("name.invalid:80")')
        self.assertEqual(nobody, "nil")
        self.assertIn("name.invalid", err)

    def test_denied(self):
        with script('app.set { deny_connect = "private" }\n'
                    'app.get("/", function() return select(2, app.connect "127.0.0.1:1") end)') as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, Client(server) as client:
                self.assertIn("deny_connect", client.ask("GET", "/").text)

    def test_unix_sockets(self):
        with tempfile.TemporaryDirectory() as folder, Peer(echo, os.path.join(folder, "s")) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:send "ab\\n"
                return s:receive()
            """, peer), ["ab"])
            missing = self.run_code(f'return app.connect("unix:{folder}/missing")')
            self.assertEqual(missing, ["nil", "no such file or directory"])

    def test_a_connection_takes_too_long(self):
        with socket.socket() as full, contextlib.ExitStack() as others:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3): # the queue is full then, and no connection comes about
                other = others.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            time.sleep(0.1)
            code = f'return app.connect("127.0.0.1:{full.getsockname()[1]}", {{ timeout = "100ms" }})'
            self.assertEqual(self.run_code(code), ["nil", "timeout"])

    def test_it_cannot_wait_while_the_script_starts(self):
        with script('app.connect "127.0.0.1:1"') as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertIn(":2: app.connect cannot wait while the script starts", done.stderr)

    def test_addresses_and_options_are_checked(self):
        for code, text in (('"127.0.0.1"', '"host:port", "[::1]:port" or "unix:/path" expected, got "127.0.0.1"'),
                           ('"127.0.0.1:0"', 'got "127.0.0.1:0"'), ('"::1:80"', 'got "::1:80"'),
                           ('"a:65536"', 'got "a:65536"'), ('"a:65536"', "ports are 1 to 65535"),
                           ('"a:1", { timeout = 0.5 }', "app.connect: timeout: 0.5 is not a whole number"),
                           ('"a:1", { verify = false }', '"verify" is an option of TLS: tls = { verify = ... }'), ("17", 'such as "127.0.0.1:6379" expected, got 17'),
                           ('"a:1", { tiemout = 1 }', 'unknown option "tiemout" (did you mean "timeout"?)'),
                           ('"a:1", { pool = 1 }', 'pool: a string such as "cache" expected, got 1'),
                           ('"a:1", { tls = 1 }', "tls: true or a table of options expected, got 1"),
                           ('"a:1", { tls = { verfy = false } }', 'tls: unknown option "verfy" (did you mean "verify"?)'),
                           ('"a:1", { tls = { ca = 1 } }', "tls: ca: PEM text or the name of a file expected, got 1"),
                           ('"a:1", 5', "a table of options expected, got 5")):
            with self.subTest(code):
                ok, err = self.run_code(f"return pcall(function()\napp.connect({code}) end)")
                self.assertEqual(ok, "false")
                self.assertTrue(err.startswith("test.lua:3: app.connect: "), err)
                self.assertIn(text, err)

    def test_many_connections_end_with_their_requests(self):
        with Peer(echo) as peer:
            before = self.server.fd_count()
            for _ in range(5):
                self.run_code("for i = 1, 8 do assert(app.connect(peer)) end", peer)
            evtest.wait_until(lambda: peer.count == 40, "all connections")
            evtest.wait_until(lambda: self.server.fd_count() <= before, "closed connections")


class Keeping(SocketCase):
    def test_a_kept_connection_is_used_again(self):
        with Peer(echo) as peer:
            code = r"""
                local s = app.connect(peer)
                local reused = s:getreusedtimes()
                s:send "ab\n"
                local line = s:receive()
                return line, reused, s:setkeepalive("10s", 5), s:send "x"
            """
            for i in range(3):
                self.assertEqual(self.run_code(code, peer), ["ab", str(i), "1", "nil", "closed"])
            self.assertEqual(peer.count, 1)
            self.run_code("local s = app.connect(peer) s:close()", peer)
            self.assertEqual(self.run_code("return app.connect(peer):getreusedtimes()", peer), ["0"])

    def test_a_reload_leaves_kept_connections_and_those_in_use(self):
        with Peer(echo) as peer:
            self.run_code("assert(app.connect(peer):setkeepalive())", peer)
            with Client(self.server) as client:
                client.send("POST", "/run", [("X-Peer", peer.address)], rb"""
                    local app, peer = ...
                    local used = app.connect(peer, { pool = "other" })
                    app.sleep "300ms"
                    used:send "ab\n"
                    return used:receive()
                """)
                evtest.wait_until(lambda: peer.count == 2, "the second connection")
                self.server.process.send_signal(signal.SIGHUP)
                self.wait_for_log(" reloaded ")
                self.assertEqual(client.read().json, ["ab"])
            self.assertEqual(self.run_code("return app.connect(peer):getreusedtimes()", peer), ["1"])

    def test_a_pool_has_a_name(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code("""
                app.connect(peer, { pool = "a" }):setkeepalive()
                local b, a = app.connect(peer, { pool = "b" }), app.connect(peer, { pool = "a" })
                return b:getreusedtimes(), a:getreusedtimes()
            """, peer), ["0", "1"])

    def test_a_connection_that_is_not_clean_is_not_kept(self):
        with Peer(sends(b"ab\nc", stays=True)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:receive()
                local ok, err = s:setkeepalive()
                return ok, err, s:receive(1), s:setkeepalive()
            """, peer), ["nil", "unread data in buffer", "c", "1"])
        with Peer(sends(b"ab\nc", stays=True)) as peer: # nothing was read: the kernel has it all
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                app.sleep(100)
                return s:setkeepalive()
            """, peer), ["nil", "unread data in buffer"])
        with Peer(sends(b"ab\n")) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:receive()
                app.sleep(100)
                return s:setkeepalive()
            """, peer), ["nil", "closed"])

    def test_a_peer_that_leaves_takes_its_kept_connection_along(self):
        with Peer(sends(b"ab\n", pause=0.05)) as peer:
            self.run_code("local s = app.connect(peer) s:receive() assert(s:setkeepalive())", peer)
            time.sleep(0.2)
            self.assertEqual(self.run_code("return app.connect(peer):getreusedtimes()", peer), ["0"])


class Secure(SocketCase):
    @classmethod
    def setUpClass(cls):
        certificates.require_tls(EVSERVE)
        super().setUpClass()
        folder = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(folder)
        cls.cert = cls.authority.sign("server", "localhost", "127.0.0.1")
        cls.other = cls.authority.sign("other", "example.org")
        cls.own = cls.authority.sign("client", "client")
        cls.ca = cls.authority.path("ca.pem")

    def serve(self, serve, cert=None, ask=False, first=b""):
        """A peer with TLS, which sends first without it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(cert or self.cert))
        context.set_alpn_protocols(["one", "two"])
        if ask:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED

        def serve_tls(connection):
            if first:
                connection.recv(100)
                connection.sendall(first)
            with context.wrap_socket(connection, server_side=True) as wrapped:
                serve(wrapped)

        return Peer(serve_tls)

    def test_verified(self):
        with self.serve(echo) as peer:
            self.assertEqual(self.run_code(f"""
                local s = assert(app.connect(peer, {{ tls = {{ ca = "{self.ca}" }} }}))
                s:send "ab\\n"
                local line = s:receive()
                local text = ("0123456789abcdef"):rep(60000)
                app.spawn(function() s:send {{ text, {{ "end" }} }} end)
                local size = 0
                while size < #text do size = size + #assert(s:receiveany(65536)) end
                return line, size >= #text
            """, peer), ["ab", "true"])
            with open(self.ca, encoding="ascii") as file:
                pem = file.read()
            self.assertEqual(self.run_code(f"""
                local s = assert(app.connect(peer, {{ tls = {{ ca = [[{pem}]], server_name = "localhost", alpn = "two" }} }}))
                s:send "ab\\n"
                return s:receive(), s:close()
            """, peer), ["ab", "1"])

    def test_certificates_that_are_not_good(self):
        with self.serve(echo) as peer:
            nobody, err = self.run_code("return app.connect(peer, { tls = true })", peer)
            self.assertEqual(nobody, "nil")
            self.assertIn("certificate", err)
            self.assertEqual(self.run_code("""
                local s = assert(app.connect(peer, { tls = { verify = false } }))
                s:send "ab\\n"
                return s:receive()
            """, peer), ["ab"])
        with self.serve(echo, self.other) as peer:
            nobody, err = self.run_code(f'return app.connect(peer, {{ tls = {{ ca = "{self.ca}" }} }})', peer)
            self.assertEqual(nobody, "nil")
            self.assertIn("example.org", err)
        with Peer(sends(b"220 hello\r\n", stays=True)) as plain:
            self.assertEqual(self.run_code("return app.connect(peer, { tls = true })", plain)[0], "nil")
            nobody, err = self.run_code('return app.connect(peer, { tls = { ca = "missing.pem" } })', plain)
            self.assertEqual(nobody, "nil")
            self.assertIn("missing.pem", err)
        with Peer(lambda connection: time.sleep(0.5)) as silent:
            self.assertEqual(self.run_code('return app.connect(peer, { tls = true, timeout = "100ms" })', silent),
                             ["nil", "timeout"])

    def test_a_certificate_of_the_client(self):
        with self.serve(echo, ask=True) as peer:
            for how in (f'{{ cert = "{self.own[0]}", key = "{self.own[1]}" }}',):
                self.assertEqual(self.run_code(f"""
                    local s = assert(app.connect(peer, {{ tls = {{ ca = "{self.ca}", client_cert = {how} }} }}))
                    s:send "ab\\n"
                    return s:receive()
                """, peer), ["ab"])
            self.assertEqual(self.run_code(f"""
                local s = assert(app.connect(peer, {{ tls = {{ ca = "{self.ca}" }} }}))
                s:send "ab\\n"
                return s:receive()
            """, peer)[0], "nil")

    def test_a_kept_connection_is_only_for_the_same_settings(self):
        with self.serve(echo) as peer:
            keep = 'local s = assert(app.connect(peer, { tls = %s })) return s:getreusedtimes(), s:setkeepalive()'
            trusting = f'{{ ca = "{self.ca}" }}'
            self.assertEqual(self.run_code(keep % trusting, peer), ["0", "1"])
            self.assertEqual(self.run_code(keep % trusting, peer), ["1", "1"])
            self.assertEqual(self.run_code(keep % "{ verify = false }", peer), ["0", "1"])
            self.assertEqual(self.run_code(keep % f'{{ ca = "{self.ca}", server_name = "localhost" }}', peer), ["0", "1"])
            self.assertEqual(self.run_code("return app.connect(peer):getreusedtimes()", peer), ["0"])

    def test_a_pool_that_servers_share_does_not_get_round_the_name_of_the_certificate(self):
        with self.serve(echo) as peer:
            port = peer.address.rpartition(":")[2]
            self.assertEqual(self.run_code(f"""
                local function connect(host)
                    return app.connect(host .. ":{port}", {{ pool = "shared", tls = {{ ca = "{self.ca}" }} }})
                end
                assert(connect "localhost"):setkeepalive()
                local again = assert(connect "localhost")
                local reused = again:getreusedtimes()
                again:setkeepalive()
                local other = connect "127.0.0.1"
                return reused, other and other:getreusedtimes()
            """, peer), ["1", "0"])

    def test_start_tls(self):
        with self.serve(echo, first=b"go on\n") as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:send "STARTTLS\\n"
                local line = s:receive()
                local ok = s:sslhandshake(nil, "localhost", false)
                s:send "ab\\n"
                local again = s:sslhandshake(nil, "localhost", false)
                return line, ok, again, s:receive()
            """, peer), ["go on", "true", "true", "ab"])
        with self.serve(echo, first=b"go on\nand more") as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                s:send "STARTTLS\\n"
                s:receive()
                local ok, err = s:sslhandshake(nil, "localhost", false)
                return ok, err, s:send "x"
            """, peer), ["nil", "unread data in buffer: something came before TLS that the server may not have sent",
                         "nil", "closed"])

    def test_a_handshake_that_was_kept_must_be_enough(self):
        with self.serve(echo) as peer:
            self.run_code('local s = app.connect(peer) assert(s:sslhandshake(nil, "localhost", false)) s:setkeepalive()', peer)
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local reused, ok, err = s:getreusedtimes(), s:sslhandshake(nil, "localhost", true)
                return reused, ok, err
            """, peer), ["1", "nil", "this connection was kept after a handshake for another name, or without verification: "
                                     "give it another pool"])

    def test_a_connection_that_was_kept_is_that_of_one_client_certificate(self):
        with self.serve(echo) as peer:
            shake = f"""
                local function shake(cert)
                    local s = app.connect(peer)
                    if cert then s:setclientcert(cert, "{self.own[1]}") end
                    local ok, err = s:sslhandshake(nil, "localhost", false)
                    local reused = s:getreusedtimes()
                    if ok then s:setkeepalive() end
                    return ok and reused or err
                end
            """
            wrong = "this connection was kept after a handshake with another client certificate: give it another pool"
            own = f'"{self.own[0]}"'
            self.assertEqual(self.run_code(shake + f"return shake({own}), shake({own}), shake(), shake(), shake({own})", peer),
                             ["0", "1", wrong, "0", wrong])

    def test_in_coroutines_and_tasks(self):
        with self.serve(echo) as peer:
            self.assertEqual(self.run_code(f"""
                local function ping()
                    local s = assert(app.connect(peer, {{ tls = {{ ca = "{self.ca}" }} }}))
                    s:send "ab\\n"
                    return s:receive()
                end
                return coroutine.wrap(ping)(), unpack(app.all(ping, ping) and {{}} or {{}})
            """, peer), ["ab"])


class Turns(SocketCase):
    """A peer that is always ready holds up neither the loop nor the handler, whose processor time is limited."""

    COUNT = """
        local turns, is_over = 0, false
        app.spawn(function() while not is_over do app.sleep(0) turns = turns + 1 end end)
        local s = app.connect(peer)
    """

    def test_of_a_reader(self):
        """What it reads is in the kernel before it begins."""
        size = 160 << 10

        def fill(connection):
            connection.sendall(b"a" * (size + 1))
            connection.recv(1)

        for read in ("s:receive(16384)", "s:receiveany(16384)", "until_x(16384)", "coroutine.wrap(s.receive)(s, 16384)"):
            with self.subTest(read=read), tempfile.TemporaryDirectory(prefix="ev") as folder, \
                    Peer(fill, os.path.join(folder, "s")) as peer:
                turns, got = self.run_code(self.COUNT + f"""
                    local got, until_x = 0, s:receiveuntil "x"
                    app.sleep "50ms"
                    s:receive(1) -- it waits, as the first one does
                    turns = 0
                    while got < {size} do
                        got = got + #{read}
                        local begin = os.clock()
                        repeat until os.clock() - begin > 0.002 -- so that the timer is due
                    end
                    is_over = true
                    return turns, got
                """, peer)
                self.assertEqual(int(got), size)
                self.assertGreater(int(turns), 0)

    def test_of_a_sender(self):
        """There is always room in the buffers of the kernel."""
        def sink(connection):
            while connection.recv(1 << 20):
                pass

        for send in ("s:send(block)", "s:send { block }", "coroutine.wrap(s.send)(s, block)"):
            with self.subTest(send=send), Peer(sink) as peer:
                waits, sent = self.run_code(self.COUNT + f"""
                    local block, sent, waits = ("x"):rep(65536), 0, 0
                    while sent < 3 * 2^20 do
                        app.sleep(5)
                        local before = turns
                        sent = sent + {send}
                        waits = waits + (turns > before and 1 or 0)
                    end
                    is_over = true
                    return waits, sent
                """, peer)
                self.assertEqual(int(sent), 3 << 20)
                self.assertGreater(int(waits), 0)


class Sharing(SocketCase):
    def test_two_readers(self):
        with Peer(sends(b"", b"ab\n", pause=0.2)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local task = app.spawn(function() return s:receive() end)
                app.sleep(1)
                local a, err = s:receive()
                local b, other = s:setkeepalive()
                local c, third = s:close()
                return a, err, b, other, c, third, s:send "", task:wait()
            """, peer), ["nil", "socket busy reading", "nil", "socket busy reading", "nil", "socket busy reading", "0", "ab"])

    def test_reader_and_writer_at_the_same_time(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local text = ("0123456789abcdef"):rep(200000)
                local reader = app.spawn(function()
                    local size = 0
                    while size < #text do size = size + #assert(s:receiveany(65536)) end
                    return size
                end)
                return s:send(text), reader:wait()
            """, peer), ["3200000", "3200000"])

    def test_connections_of_tasks_belong_to_their_handler(self):
        with Peer(sends(b"ab\n", stays=True)) as peer:
            self.assertEqual(self.run_code("""
                local function open() return assert(app.connect(peer)) end
                local a, b = app.all(open, open)
                return a:receive(), b:receive()
            """, peer), ["ab", "ab"])

    def test_another_request_must_not_use_it(self):
        with Peer(sends(b"ab\n", stays=True)) as peer:
            self.assertEqual(self.run_code("""
                shared.socket = app.connect(peer)
                shared.socket:settimeout "10s"
                return app.spawn({ detached = true }, function()
                    return pcall(shared.socket.receive, shared.socket)
                end):wait()
            """, peer)[0], "false")
            self.assertEqual(self.run_code("return shared.socket:receive()"), ["nil", "closed"])

    def test_in_coroutines_of_the_script(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code(r"""
                local lines = coroutine.wrap(function()
                    local s = app.connect(peer)
                    for i = 1, 3 do
                        local count = s:send { "line ", i, "\n" }
                        coroutine.yield(count .. s:receive())
                    end
                    local text = ("0123456789abcdef"):rep(200000)
                    app.spawn(function() s:send(text) end)
                    coroutine.yield(#s:receive(60000))
                    s:settimeout(20)
                    return select(2, s:receiveuntil "never"(70000))
                end)
                return lines(), lines(), lines(), lines(), lines()
            """, peer), ["7line 1", "7line 2", "7line 3", "60000", "more than max_receive: 70000 bytes", ""])

    def test_a_client_that_goes_ends_the_wait(self):
        with Peer(sends(b"", stays=True)) as peer:
            body = b"""
                local app, peer = ...
                local s = app.connect(peer)
                shared.ended = nil
                local ok, err = pcall(s.receive, s)
                shared.ended = tostring(err)
                error(err, 0)
            """
            with Client(self.server) as client:
                client.send("POST", "/run", [("X-Peer", peer.address)], body)
                evtest.wait_until(lambda: peer.count == 1, "the connection")
                client.reset()
            evtest.wait_until(lambda: self.run_code("return shared.ended") != ["nil"], "the end of the handler")
            self.assertEqual(self.run_code("return shared.ended"), ["the client has gone"])

    def test_a_cancelled_task_leaves_its_wait(self):
        with Peer(sends(b"", stays=True)) as peer:
            self.assertEqual(self.run_code("""
                local s = app.connect(peer)
                local task = app.spawn(function() return s:receive() end)
                app.sleep(1)
                task:cancel()
                local ok, err = pcall(task.wait, task)
                return ok, err, s:close()
            """, peer), ["false", "the task was cancelled", "1"])

    def test_a_socket_that_is_forgotten_is_closed(self):
        with Peer(echo) as peer:
            self.assertEqual(self.run_code("""
                app.connect(peer):settimeout(1)
                for i = 1, 3 do collectgarbage() app.sleep(1) end
                return collectgarbage "count" > 0
            """, peer), ["true"])

    def test_a_stop_cuts_what_waits(self):
        with Peer(sends(b"", stays=True)) as peer, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0",
                                                                  self.path) as server:
            with Client(server) as client:
                client.send("POST", "/run", [("X-Peer", peer.address)],
                            b"local app, peer = ... app.connect(peer):receive()")
                evtest.wait_until(lambda: peer.count == 1, "the connection")
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
