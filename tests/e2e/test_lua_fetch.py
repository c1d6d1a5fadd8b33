"""app.fetch: what a site gets from other servers, and what becomes of it when they, or its own clients, misbehave."""

import gzip
import json
import os
import signal
import socket
import tempfile
import threading
import unittest
from urllib.parse import quote

import evtest
import lua_site
from lua_site import Client, SiteCase
from origin import Origin, closed_port, raw

# A handler for code that a test sends. It returns what the code does; nil, a text and a kind as a list.
SCRIPT = r"""
app.set { lua_memory = "256M", max_body = "64M", handler_cpu = "10s" }
local function run(req)
    local code = req.query.code
    local fn = assert(loadstring("local app, req, out = ... " .. code, "@code"))
    local first, text, kind = fn(app, req)
    if first == nil and text ~= nil then return { false, text, kind } end
    return first
end
app.any("/run", run)
app.any("/finish", { finish = true }, run)
app.get("/stats", function() return { lua_memory = app.stats().lua_memory } end)
"""


class FetchCase(SiteCase):
    """Cases with a site and an origin, whose handlers are HANDLERS."""

    SCRIPT = SCRIPT
    HANDLERS = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.origin = cls.stack.enter_context(Origin(cls.HANDLERS))
        except BaseException:
            cls.stack.close()
            raise

    def run_code(self, code, path="/run", client=None, **options):
        """What the handler with this code responds. url in it is that of the origin."""
        target = self.target(code, path)
        if client:
            return client.ask("POST", target, **options)
        return self.ask(target, "POST", **options)

    def target(self, code, path="/run"):
        return f"{path}?code={quote(f'local url = {json.dumps(self.origin.url)} ' + code)}"

    def fetch(self, code, status=200, **options):
        """The same as JSON."""
        answer = self.run_code(code, **options)
        self.assertEqual(answer.status, status, answer.text)
        return answer.json

    def check_failure(self, code, text, kind):
        """The code returns nil, a text and a kind."""
        first, found, what = self.fetch(code)
        self.assertIs(first, False)
        self.assertRegex(found, text or ".")
        self.assertEqual(what, kind)

    def check_mistake(self, code, text):
        """The code raises an error, whose text begins with its place."""
        answer = self.run_code(f"local ok, err = pcall(function() {code} end) assert(not ok) return tostring(err)")
        self.assertEqual(answer.status, 200, answer.text)
        self.assertRegex(answer.text, rf"^code:1: {text}")


class Responses(FetchCase):
    HANDLERS = {
        "/cookies": lambda c, r: c.respond(200, "", [("Set-Cookie", "a=1"), ("Vary", "a"), ("set-cookie", "b=2"),
                                                     ("vary", "b"), ("X-Long-" + "n" * 100, "7")]),
        "/cookie": lambda c, r: c.respond(200, "", [("Set-Cookie", "a=1")]),
        "/json": lambda c, r: c.respond(200, '{"a":[1,2,null]}'),
        "/null": lambda c, r: c.respond(200, "null"),
        "/teapot": lambda c, r: c.respond(418, "short and stout\n"),
        "/interim": raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                        "HTTP/1.1 200 Fine, Thanks\r\nContent-Length: 2\r\n\r\nok"),
        "/gzip-bomb": raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" +
                          gzip.compress(bytes(40 << 20))),
        "/gzip-of-nothing": raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" +
                                gzip.compress(b"") * 40000 + gzip.compress(b"end")),
        "/until-close": raw("HTTP/1.1 200 OK\r\n\r\nup to here"),
        "/chunked": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n", closes=False),
        "/none": raw("HTTP/1.1 204 No Content\r\n\r\n", closes=False),
    }

    def test_a_response_has_status_fields_and_body(self):
        got = self.fetch('local res = app.fetch(url .. "/text") return { res.status, res.reason, res.body, res.url, '
                         'res.headers["Content-Type"], res.headers["content-length"], res.headers.no == nil, res.redirects }')
        self.assertEqual(got, [200, "OK", "hello\n", self.origin.url + "/text", "text/plain", "6", True, 0])

    def test_a_status_is_no_failure(self):
        self.assertEqual(self.fetch('local res = app.fetch(url .. "/teapot") return { res.status, res.body }'),
                         [418, "short and stout\n"])

    def test_repeated_fields_are_joined_and_cookies_are_a_list(self):
        got = self.fetch('local h = app.fetch(url .. "/cookies").headers return { h["set-cookie"], h.vary, h["x-long-" .. ("n"):rep(100)] }')
        self.assertEqual(got, [["a=1", "b=2"], "a, b", "7"])
        self.assertEqual(self.fetch('return app.fetch(url .. "/cookie").headers["Set-Cookie"]'), ["a=1"])

    def test_json(self):
        self.assertEqual(self.fetch('return app.fetch(url .. "/json"):json()'), {"a": [1, 2, None]})
        self.assertEqual(self.fetch('return { app.fetch(url .. "/null"):json() == app.json.null }'), [True])
        self.check_failure('return app.fetch(url .. "/text"):json()', r"^the response is not valid JSON: .*\(byte 1\)", "protocol")
        self.assertEqual(self.fetch('return app.fetch(url .. "/json", { stream = true }):json()'), {"a": [1, 2, None]})

    def test_framings(self):
        code = 'local res = app.fetch(url .. "{}") return {{ res.status, res.body }}'
        for path, expected in (("/interim", [200, "ok"]), ("/until-close", [200, "up to here"]),
                               ("/chunked", [200, "abcdefg"]), ("/none", [204, ""])):
            with self.subTest(path):
                self.assertEqual(self.fetch(code.format(path)), expected)

    def test_head_has_no_body(self):
        got = self.fetch('local res = app.fetch(url .. "/text", { method = "HEAD" }) return { res.status, res.body }')
        self.assertEqual(got[1], "")

    def test_a_connection_is_kept(self):
        code = 'local a = app.fetch(url .. "/echo"):json() local b = app.fetch(url .. "/echo"{}):json() return {{ a.connection, b.connection }}'
        first, second = self.fetch(code.format(""))
        self.assertEqual(first, second)
        first, second = self.fetch(code.format(", { keepalive = false }"))
        self.assertNotEqual(first, second)

    def test_two_at_a_time(self):
        got = self.fetch('local a, b = app.all(function() return app.fetch(url .. "/text").body end, '
                         'function() return app.fetch(url .. "/teapot").status end) return { a, b }')
        self.assertEqual(got, ["hello\n", 418])

    def test_gzip_of_nothing_in_pieces(self):
        """What was decoded to nothing makes room for what follows."""
        for options in ("", ", stream = true"):
            self.assertEqual(self.fetch(f"""
                local res = app.fetch(url .. "/gzip-of-nothing", {{ timeout = "5s"{options} }})
                local text = ""
                for piece in res:chunks() do text = text .. piece end
                return {{ text }}
            """), ["end"])

    def test_gzip_that_makes_much_of_little_leaves_others_their_turns(self):
        size, turns = self.fetch("""
            local turns, size, is_over = 0, 0, false
            local res = app.fetch(url .. "/gzip-bomb", { stream = true })
            app.spawn(function() while not is_over do app.sleep(0) turns = turns + 1 end end)
            app.sleep "50ms"
            turns = 0
            for piece in res:chunks() do size = size + #piece end
            is_over = true
            return { size, turns }
        """)
        self.assertEqual(size, 40 << 20)
        self.assertGreater(turns, 3)

    def test_gzip_is_unpacked(self):
        got = self.fetch('local res = app.fetch(url .. "/gzip") return { #res.body, res.body:sub(1, 9), res.headers["content-encoding"] or "none" }')
        self.assertEqual(got, [9000, "squeezed ", "none"])
        got = self.fetch('local res = app.fetch(url .. "/gzip", { gzip = false }) return { #res.body, res.headers["content-length"] }')
        self.assertEqual(got, [9000, "9000"])
        got = self.fetch('local res = app.fetch(url .. "/gzip", { headers = { ["Accept-Encoding"] = "gzip" } }) '
                         'return { res.body:byte(1, 2) }')
        self.assertEqual(got, [0x1f, 0x8b])

    def test_inside_a_coroutine_of_the_script(self):
        self.assertEqual(self.fetch('return { coroutine.wrap(function() return app.fetch(url .. "/text").body end)() }'),
                         ["hello\n"])


class Requests(FetchCase):
    def echo(self, options, path="/echo"):
        return self.fetch(f'local res, err, kind = app.fetch(url .. "{path}", {options}) if not res then return nil, err, kind end return res:json()')

    def test_method_and_fields(self):
        got = self.echo('{ method = "PURGE", headers = { ["X-One"] = "1", ["x-two"] = 2, ["x-big"] = 1764448000000000, list = { "a", 3 } } }')
        self.assertEqual(got["method"], "PURGE")
        self.assertEqual((got["headers"]["x-one"], got["headers"]["x-two"], got["headers"]["x-big"]),
                         ("1", "2", "1764448000000000"))
        lists = [value for name, value in self.origin.requests[-1].fields if name == "list"]
        self.assertEqual(lists, ["a", "3"])
        self.assertEqual(got["headers"]["host"], f"127.0.0.1:{self.origin.port}")

    def test_many_fields(self):
        got = self.fetch('local h = {} for i = 1, 200 do h["x-" .. i] = i end return app.fetch(url .. "/echo", { headers = h }):json()')
        self.assertEqual([got["headers"][f"x-{i}"] for i in range(1, 201)], [str(i) for i in range(1, 201)])

    def test_bodies(self):
        for body, sent, kind in (('"text"', "text", None), ("7", "7", None), ('""', "", None),
                                 ('{ a = { 1, 2 } }', '{"a":[1,2]}', "application/json"),
                                 ("{ 1, 2 }", "[1,2]", "application/json")):
            with self.subTest(body):
                got = self.echo(f'{{ method = "POST", body = {body} }}')
                self.assertEqual((got["method"], got["body"], got["headers"].get("content-type")), ("POST", sent, kind))
                self.assertEqual(got["headers"]["content-length"], str(len(sent)))
        got = self.echo('{ method = "PUT", body = { a = 1 }, headers = { ["content-type"] = "application/vnd.x+json" } }')
        self.assertEqual(got["headers"]["content-type"], "application/vnd.x+json")

    def test_a_form(self):
        got = self.echo('{ method = "POST", form = { ["a b"] = "x&y=z+", n = 7, list = { "1", true } } }')
        self.assertEqual((got["body"], got["headers"]["content-type"]),
                         ("a%20b=x%26y%3Dz%2B&list=1&list=true&n=7", "application/x-www-form-urlencoded"))

    def test_a_query(self):
        for path, query, target in (("/echo", '{ q = "a&b #é", n = 1 }', "/echo?n=1&q=a%26b%20%23%C3%A9"),
                                    ("/echo?x=y", '{ q = { "1", "2" } }', "/echo?x=y&q=1&q=2"),
                                    ("/echo#part", '{ q = "" }', "/echo?q="), ("/echo?x", "{}", "/echo?x")):
            with self.subTest(path):
                self.assertEqual(self.echo(f"{{ query = {query} }}", path)["target"], target)

    def test_a_body_from_a_function(self):
        pieces = 'local n = 0 local function body() n = n + 1 if n < 4 then app.sleep(1) return ("x"):rep(n) end end '
        got = self.fetch(pieces + 'return app.fetch(url .. "/echo", { method = "POST", body = body }):json()')
        self.assertEqual((got["body"], got["headers"]["transfer-encoding"]), ("xxxxxx", "chunked"))
        got = self.fetch(pieces + 'return app.fetch(url .. "/echo", { method = "POST", body = body, length = 6 }):json()')
        self.assertEqual((got["body"], got["headers"]["content-length"]), ("xxxxxx", "6"))

    def test_a_large_body_from_a_function_waits_for_the_server(self):
        got = self.fetch('local n, piece = 0, ("x"):rep(100000) local res = app.fetch(url .. "/echo", { method = "PUT", '
                         'body = function() n = n + 1 if n <= 50 then return piece end end }) return { #res.body > 5000000 }')
        self.assertEqual(got, [True])

    def test_a_request_is_passed_on(self):
        body = evtest.pattern(1 << 18)
        answer = self.run_code('local res = app.fetch(url .. "/echo", { method = "PUT", body = req }) '
                               'return { #res:json().body, res:json().body }', body=body)
        length, text = answer.json
        self.assertEqual((length > len(body), text.encode("latin-1")), (True, body))

    def test_a_response_is_passed_on(self):
        code = ('local from = app.fetch(url .. "/bytes?140000", {}) '
                'return app.fetch(url .. "/echo", {{ method = "PUT", body = from }}):json()')
        for options in ("{}", "{ stream = true }"):
            got = self.fetch(code.format(options))
            self.assertEqual(got["body"].encode("latin-1"), evtest.pattern(140000))

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            path = os.path.join(folder, "x.sock")
            with Origin(address=path):
                got = self.fetch(f'return app.fetch("http://some.host/echo?a=b", {{ unix = "{path}" }}):json()')
                self.assertEqual((got["headers"]["host"], got["target"]), ("some.host", "/echo?a=b"))
                got = self.fetch(f'return app.fetch("http+unix:{path}:/echo?a=b"):json()')
                self.assertEqual(got["target"], "/echo?a=b")

    def test_redirects(self):
        got = self.fetch('local res = app.fetch(url .. "/redirect?302,/redirect?301,/echo?x=1") '
                         'return { res.status, res.url, res.redirects, res:json().target }')
        self.assertEqual(got, [200, self.origin.url + "/echo?x=1", 2, "/echo?x=1"])
        for options in ("{ redirects = false }", "{ redirects = 0 }"):
            got = self.fetch(f'local res = app.fetch(url .. "/redirect?302,/echo", {options}) return {{ res.status, res.headers.location }}')
            self.assertEqual(got, [302, "/echo"])
        self.check_failure('return app.fetch(url .. "/redirect?302,/redirect?302,/echo", { redirects = 1 })', "redirect", "redirects")
        got = self.fetch('return app.fetch(url .. "/redirect?303,/echo", { method = "POST", body = "x" }):json()')
        self.assertEqual((got["method"], got["body"]), ("GET", ""))
        got = self.fetch('return app.fetch(url .. "/redirect?307,/echo", { method = "POST", body = "x" }):json()')
        self.assertEqual((got["method"], got["body"]), ("POST", "x"))

    def test_credentials_stay_with_their_origin(self):
        with Origin() as other:
            code = ('return app.fetch(url .. "/redirect?302,{}/echo", {{ headers = {{ authorization = "secret", cookie = "a=b", '
                    '["x-other"] = "1" }} }}):json().headers')
            got = self.fetch(code.format(""))
            self.assertEqual((got.get("authorization"), got.get("cookie"), got.get("x-other")), ("secret", "a=b", "1"))
            got = self.fetch(code.format(other.url))
            self.assertEqual((got.get("authorization"), got.get("cookie"), got.get("x-other")), (None, None, "1"))


class Streams(FetchCase):
    gate = threading.Event()

    @staticmethod
    def drip(connection, request):
        """A piece at once, another one when the test says so."""
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        Streams.gate.wait(evtest.LIMIT)
        connection.send("3\r\ntwo\r\n0\r\n\r\n")

    @staticmethod
    def flood(connection, _):
        """As much as anybody takes, until the client leaves."""
        connection.send("HTTP/1.1 200 OK\r\n\r\n")
        connection.origin.sent = 0
        while True:
            connection.send(b"x" * 65536)
            connection.origin.sent += 65536

    HANDLERS = {
        "/drip": lambda c, r: Streams.drip(c, r),
        "/flood": lambda c, r: Streams.flood(c, r),
        "/cut": raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        "/hold": lambda c, r: (c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), c.has_left(), left.append(1)),
    }

    def test_pieces_arrive_as_they_are_sent(self):
        Streams.gate.clear()
        code = ('local res = app.fetch(url .. "/drip", { stream = true }) return 200, function(out) '
                'for piece in res:chunks() do out:write(piece) end end')
        with Client(self.server) as client:
            client.send("POST", self.target(code.replace("return 200, function", "return function")))
            while client.file.readline() != b"\r\n":
                pass
            self.assertEqual(client.file.read(8), b"3\r\none\r\n")
            Streams.gate.set()
            self.assertEqual(client.file.read(8), b"3\r\ntwo\r\n")

    def test_a_large_body(self):
        code = ('local n, h = 0, 0 local res = app.fetch(url .. "/long?20000000", { stream = true }) assert(res.body == nil) '
                'for piece in res:chunks() do n = n + #piece end return { n, res:read() == nil }')
        self.assertEqual(self.fetch(code), [20000000, True])

    def test_a_slow_reader_slows_the_server_down(self):
        left.clear()
        code = ('local res = app.fetch(url .. "/flood", { stream = true }) assert(#res:read() > 0) app.sleep "300ms" '
                'res:close() return "x"')
        self.assertEqual(self.run_code(code).status, 200)
        self.assertLess(self.origin.sent, 16 << 20) # what the buffers of both kernels hold

    def test_reading_by_hand(self):
        got = self.fetch('local res = app.fetch(url .. "/bytes?5", { stream = true }) local n, piece = 0, res:read() '
                         'while piece do n = n + #piece piece = res:read() end return { n, res:read() == nil }')
        self.assertEqual(got, [5, True])

    def test_chunks_of_a_whole_body(self):
        got = self.fetch('local res = app.fetch(url .. "/bytes?70000") local sizes = {} '
                         'for piece in res:chunks() do sizes[#sizes + 1] = #piece end return { sizes, #res.body }')
        self.assertEqual(got, [[65536, 4464], 70000])

    def test_a_body_that_breaks_off(self):
        answer = self.run_code('local res, seen = app.fetch(url .. "/cut", { stream = true }), "" '
                               'local ok, err = pcall(function() for piece in res:chunks() do seen = seen .. piece end end) '
                               'return { ok, tostring(err), seen }')
        ok, err, seen = answer.json
        self.assertEqual((ok, seen), (False, "abc"))
        self.assertRegex(err, "closed")
        self.check_failure('local res = app.fetch(url .. "/cut", { stream = true }) res:read() return res:read()', "closed", "closed")
        self.check_failure('return app.fetch(url .. "/cut")', "closed", "closed")

    def test_a_response_that_nobody_reads_ends_with_its_handler(self):
        for end in ("", "res:close() app.sleep '1ms'", "app.all(function() res = app.fetch(url .. '/hold', { stream = true }) end)"):
            left.clear()
            self.run_code('local res = app.fetch(url .. "/hold", { stream = true }) ' + end + ' return "x"')
            evtest.wait_until(lambda: left, "the connection to end")

    def test_a_response_of_a_task_outlives_the_task(self):
        got = self.fetch('local res = app.spawn(function() return app.fetch(url .. "/bytes?70000", { stream = true }) end):wait() '
                         'local n = 0 for piece in res:chunks() do n = n + #piece end return { n }')
        self.assertEqual(got, [70000])

    def test_two_tasks_cannot_read_the_same_body(self):
        got = self.fetch('local res = app.fetch(url .. "/hold", { stream = true }) res:read() '
                         'local task = app.spawn(function() return res:read() end) app.sleep "1ms" '
                         'local ok, err = pcall(res.read, res) return { ok, err }')
        self.assertEqual(got[0], False)
        self.assertRegex(got[1], "another task reads this response already")

    def test_an_early_response_ends_the_body(self):
        def refuse(connection, _):
            connection.respond(413, "too much\n", [("Connection", "close")])
            connection.sock.shutdown(socket.SHUT_WR)
            connection.has_left()
            return True
        self.origin.handlers["/refuse"] = refuse
        got = self.fetch('local piece, n = ("x"):rep(65536), 0 local res, err = app.fetch(url .. "/refuse", { method = "POST", '
                         'body = function() n = n + 1 app.sleep(1) if n < 5000 then return piece end end }) '
                         'return { res and res.status or err, n < 5000 }')
        self.assertEqual(got, [413, True])


left = []  # one for each connection that /hold has seen end


class Failures(FetchCase):
    HANDLERS = {
        "/garbage": raw("SSH-2.0-OpenSSH_9.2\r\n"),
        "/nothing": raw(""),
        "/long-head": raw("HTTP/1.1 200 OK\r\n" + "".join(f"X-{i}: {'y' * 1000}\r\n" for i in range(100)) + "\r\n"),
        "/both": raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "/never": lambda c, r: (c.has_left(), left.append(1), True)[2],
        "/trickle": lambda c, r: Failures.trickle(c),
    }

    @staticmethod
    def trickle(connection):
        connection.send("HTTP/1.1 200 OK\r\n\r\n")
        while not connection.sock._closed:
            connection.send("x")
            threading.Event().wait(0.02)

    def test_kinds(self):
        port = closed_port()
        for call, text, kind in (
                (f'"http://127.0.0.1:{port}/"', f"127.0.0.1:{port}.*refused", "connect"),
                ('"http://127.0.0.1:1/", { unix = "/nonexistent/x.sock" }', "/nonexistent/x.sock.*No such file", "connect"),
                (f'"http://no-such-name.invalid:{port}/"', "no-such-name.invalid", "resolve"),
                (f'"http://localhost:{port}/"', f"localhost:{port}.*refused", "connect"),
                ('url .. "/garbage"', "", "protocol"),
                ('url .. "/nothing"', "closed", "closed"),
                ('url .. "/long-head"', "head|65536", "too large"),
                ('url .. "/both"', "", "protocol"),
                ('url .. "/bytes?1001", { max_body = 1000 }', "1000", "too large"),
                ('url .. "/long?16777217"', "16777216", "too large"),
                ('url .. "/never", { timeout = "50ms" }', r"within 50 ms \(timeout\)", "timeout"),
                ('url .. "/trickle", { timeout = "150ms" }', r"complete its response within 150 ms \(timeout\)", "timeout"),
                ('"ftp://x/"', "", "request"),
                ('"http://"', "", "request"),
                ('"/path"', "", "request"),
                ('"http://user:pass@127.0.0.1/"', r'the URL "\.\.\.@127.0.0.1/" has a user name', "request"),
                ('url, { method = "GET X" }', "", "request"),
                ('url, { method = "CONNECT" }', "", "request"),
                ('url, { headers = { ["x y"] = "z" } }', "x y", "request"),
                ('url, { headers = { x = "a\\nb" } }', "x", "request"),
                ('url, { headers = { ["content-length"] = "1" } }', "(?i)content-length", "request")):
            with self.subTest(call):
                self.check_failure(f"return app.fetch({call})", text, kind)
        self.assertEqual(self.fetch('return { #app.fetch(url .. "/bytes?1000", { max_body = 1000 }).body }'), [1000])

    def test_assert_gives_the_text(self):
        answer = self.run_code(f'assert(app.fetch("http://127.0.0.1:{closed_port()}/"))')
        self.assertEqual(answer.status, 500)
        self.wait_for_log("refused")

    def test_mistakes(self):
        for code, text in (
                ("app.fetch()", 'app.fetch: a URL such as "https://example.org/" expected, got nil'),
                ("app.fetch({})", "app.fetch: a URL .* expected, got table"),
                ("app.fetch(url, 7)", "app.fetch: a table of options expected, got 7"),
                ("app.fetch(url, { hedders = {} })", r'app.fetch: unknown option "hedders" \(did you mean "headers"\?\)'),
                ("app.fetch(url, { 1 })", "app.fetch: unknown option 1"),
                ("app.fetch(url, { json = {} })", 'app.fetch: unknown option "json": there are body, ca, client_cert, '),
                ("app.fetch(url, { method = 7 })", 'app.fetch: method: a method such as "POST" expected, got number'),
                ("app.fetch(url, { headers = 7 })", "app.fetch: headers: a table .* expected, got number"),
                ('app.fetch(url, { headers = { "x: y" } })', "app.fetch: headers: names must be strings, got number"),
                ("app.fetch(url, { headers = { x = true } })", "app.fetch: headers: x: a string, a number or a list of them expected, got boolean"),
                ("app.fetch(url, { headers = { x = { {} } } })", "app.fetch: headers: x: .*, got table"),
                ("local h = {} for i = 1, 1001 do h['x' .. i] = i end app.fetch(url, { headers = h })", "app.fetch: headers: more than 1000 fields"),
                ("app.fetch(url, { body = true })", "app.fetch: body: a string, a table, a function or a request expected, got true"),
                ("app.fetch(url, { body = { print } })", "JSON: "),
                ("app.fetch(url, { timeout = 0.5 })", "app.fetch: timeout: 0.5 is not a whole number of milliseconds"),
                ("app.fetch(url, { timeout = 0 })", "app.fetch: timeout: a time from 1 ms to"),
                ("app.fetch(url, { connect_timeout = {} })", "app.fetch: connect_timeout: a duration"),
                ("app.fetch(url, { redirects = 51 })", "app.fetch: redirects: false, or a whole number from 0 to 50 expected"),
                ("app.fetch(url, { redirects = -1 })", "app.fetch: redirects: "),
                ("app.fetch(url, { max_body = 'lots' })", "app.fetch: max_body: "),
                ("app.fetch(url, { max_body = 0 })", "app.fetch: max_body: a size from 1 byte"),
                ("app.fetch(url, { max_head = '1M' })", "app.fetch: max_head: a size from 1 byte to 65536"),
                ("app.fetch(url, { stream = 1 })", "app.fetch: stream: true or false expected, got number"),
                ("app.fetch(url, { verify = 'no' })", "app.fetch: verify: true or false expected, got string"),
                ("app.fetch(url, { client_cert = 'x.pem' })", "app.fetch: client_cert: { cert = "),
                ("app.fetch(url, { tls = true })", "app.fetch: tls: a table of options expected, got boolean; an https:// URL needs none"),
                ("app.fetch(url, { tls = { verifi = false } })", 'app.fetch: tls: unknown option "verifi": there are ca, client_cert, server_name, verify'),
                ("app.fetch(url, { tls = { verify = 0 } })", "app.fetch: verify: true or false expected, got number"),
                ("app.fetch(url, { form = 'a=b' })", "app.fetch: form: a table of names and values expected, got \"a=b\""),
                ("app.fetch(url, { form = {}, body = '' })", "app.fetch: form and body are both given"),
                ("app.fetch(url, { query = 7 })", "app.fetch: query: a table of names and values expected, got 7"),
                ("app.fetch(url, { query = { 7 } })", "app.fetch: query: names in the query must be text, not 1"),
                ("app.fetch(url, { query = { a = {{}} } })", "app.fetch: query: a: text or a number expected, got table"),
                ("app.fetch(url, { unix = '' })", "app.fetch: unix: the path of a unix socket expected, got an empty one"),
                ("app.fetch(url, { length = 5, body = 'x' })", "app.fetch: length: only for a body that a function gives"),
                ("app.fetch(url, { body = function() return {} end })", "app.fetch: the function for the body must return a string, or nil at the end, not table"),
                ("app.fetch(url .. '/echo', { method = 'PUT', length = 3, body = function() return 'xxxx' end })", "app.fetch: the function for the body gives another number of bytes"),
                ("local n = 0 app.fetch(url .. '/echo', { method = 'PUT', length = 3, body = function() n = n + 1 return n == 1 and 'x' or nil end })", "app.fetch: the function for the body gives another number of bytes"),
                ("app.fetch(url .. '/text').json()", "res:json: call it as a method, with a colon"),
                ("app.fetch(url .. '/text'):read()", "res:read: the body was read already")):
            with self.subTest(code):
                self.check_mistake(code, text)

    def test_an_error_in_the_function_for_the_body(self):
        left.clear()
        answer = self.run_code('local n = 0 local function body() n = n + 1 if n > 1 then error "no more" end return "x" end '
                               'app.fetch(url .. "/never", { method = "PUT", body = function() app.sleep "20ms" return body() end })')
        self.assertEqual(answer.status, 500)
        self.wait_for_log("code:1: no more")
        evtest.wait_until(lambda: left, "the connection to end")

    def test_a_response_is_none_of_a_handler(self):
        self.assertEqual(self.run_code('return app.fetch(url .. "/echo")').status, 500)
        self.wait_for_log("the handler returned a response of app.fetch: return what is to be sent of it, such as res.status, res.body")

    def test_where_nothing_can_wait(self):
        self.check_mistake('table.sort({ 1, 2, 3 }, function() app.fetch(url .. "/text") end)',
                           "app.fetch cannot wait inside a function that C calls back")
        with lua_site.script('app.fetch "http://127.0.0.1:1/"') as path:
            done = evtest.run(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "site.lua:2: app.fetch cannot wait while the script starts")

    def test_a_client_that_leaves_ends_it(self):
        for code in ('app.fetch(url .. "/never")', 'for _ in app.fetch(url .. "/hold2", { stream = true }):chunks() do end',
                     'app.all(function() app.fetch(url .. "/never") end)',
                     'coroutine.wrap(function() app.fetch(url .. "/never") end)()'):
            self.origin.handlers["/hold2"] = lambda c, r: (c.send("HTTP/1.1 200 OK\r\n\r\nabc"), c.has_left(), left.append(1), True)[3]
            with self.subTest(code):
                left.clear()
                before = len(self.origin.requests)
                client = Client(self.server)
                client.send("POST", self.target(code + ' return "x"'))
                evtest.wait_until(lambda: len(self.origin.requests) > before, "the request to arrive")
                client.close()
                evtest.wait_until(lambda: left, "the connection to end")

    def test_a_task_that_is_cancelled_ends_it(self):
        left.clear()
        got = self.fetch('local task = app.spawn(function() app.fetch(url .. "/never") end) app.sleep "20ms" task:cancel() '
                         'local ok, err = pcall(task.wait, task) return { ok, tostring(err) }')
        self.assertEqual(got, [False, "the task was cancelled"])
        evtest.wait_until(lambda: left, "the connection to end")

    def test_a_task_that_is_waited_for_too_long(self):
        got = self.fetch('local task = app.spawn(function() app.fetch(url .. "/never") end) local _, why = task:wait "20ms" return { why }')
        self.assertEqual(got, ["timeout"])

    def test_work_goes_on_with_finish(self):
        gate = threading.Event()
        self.origin.handlers["/late"] = lambda c, r: (gate.wait(evtest.LIMIT), c.respond(200, "late"))[1]
        client = Client(self.server)
        client.send("POST", self.target('local res = app.fetch(url .. "/late") app.fetch(url .. "/text?" .. res.body)', "/finish"))
        evtest.wait_until(lambda: any(r.path == "/late" for r in self.origin.requests), "the request to arrive")
        client.close()
        gate.set()
        evtest.wait_until(lambda: any(r.target == "/text?late" for r in self.origin.requests), "the next request")


class Denied(FetchCase):
    SCRIPT = SCRIPT + 'app.set { deny_connect = "127.0.0.2/32" }'

    def test_an_address_and_a_redirect_to_it(self):
        self.check_failure('return app.fetch("http://127.0.0.2:1/")', "127.0.0.2.*deny_connect", "denied")
        self.check_failure('return app.fetch(url .. "/redirect?302,http://127.0.0.2:1/")', "127.0.0.2.*deny_connect", "denied")
        self.assertEqual(self.fetch('return { app.fetch(url .. "/text").status }'), [200])


class Ends(unittest.TestCase):
    """A stop, and a reload, while a fetch waits."""

    def test_a_stop_ends_it(self):
        left.clear()
        script = ('app.set { drain_timeout = "200ms" }\n'
                  'app.get("/", function() app.spawn({ detached = true }, app.fetch, "$URL/never") return "x" end)')
        with Origin({"/never": lambda c, r: (c.has_left(), left.append(1), True)[2]}) as origin, \
                lua_site.script(script.replace("$URL", origin.url)) as path:
            with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                with Client(server) as client:
                    self.assertEqual(client.ask("GET", "/").status, 200)
                evtest.wait_until(lambda: origin.requests, "the request to arrive")
                self.assertEqual(server.stop(), 0)
                evtest.wait_until(lambda: left, "the connection to end")
                self.assertTrue(any("cut at" in line and "where it waits" in line for line in server.lines), server.lines)

    def test_a_request_that_waits_outlives_a_reload(self):
        gate = threading.Event()
        handlers = {"/late": lambda c, r: (gate.wait(evtest.LIMIT), c.respond(200, "late"))[1]}
        script = 'app.get("/", function() return app.fetch("$URL/late").body end)'
        with Origin(handlers) as origin, lua_site.script(script.replace("$URL", origin.url)) as path, \
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path) as server, Client(server) as client:
            client.send("GET", "/")
            evtest.wait_until(lambda: origin.requests, "the request to arrive")
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.raw), "the reload")
            gate.set()
            self.assertEqual(client.read().text, "late")

    def test_a_kept_connection_outlives_a_reload(self):
        script = 'app.get("/", function() return { app.fetch("$URL/echo"):json().connection } end)'
        with Origin() as origin, lua_site.script(script.replace("$URL", origin.url)) as path, \
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/").json, [1])
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.raw), "the reload")
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/").json, [1])


if __name__ == "__main__":
    unittest.main()
