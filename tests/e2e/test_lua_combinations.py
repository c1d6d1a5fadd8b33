"""Every form of an answer with every way it can go out: through middleware, for HEAD and HTTP/1.0, from the error function;
large bodies; and clients that leave at each moment."""

import contextlib
import socket
import unittest

import evtest
from lua_site import Client, SiteCase

FORMS = r"""
    local forms = {
        string = function() return "text\n" end,
        long = function() return ("0123456789"):rep(2000) end,
        empty = function() return "" end,
        table = function() return { a = 1 } end,
        nothing = function() end,
        created = function() return 201 end,
        teapot = function() return 418 end,
        all = function() return 202, "both\n", { ["X-Own"] = { "1", "2" } } end,
        headers = function() return "text\n", { ["content-type"] = "text/x" } end,
        html = function() return app.html("<p>") end,
        ["html-status"] = function() return 404, app.html("<p>") end,
        redirect = function() return app.redirect("/x", 303) end,
        stream = function() return function(out) out:write("a") app.sleep(1) out:write("b") end end,
        ["stream-length"] = function()
            return 203, function(out) out:write("a", "b") end, { ["content-length"] = 2 }
        end,
        file = function() return app.file "files/pass.txt" end,
        ["no-file"] = function() return app.file "files/nothing" end,
        ["no-download"] = function() return app.file("files/nothing", { download = true, cache = "1h", type = "a/b" }) end,
        nils = function() return "nils\n", nil, nil, nil end,
        later = function() app.sleep(1) return "later\n" end,
        error = function() app.error(409, "meant\n", { ["x-own"] = "1" }) end,
    }
"""

# name: status, body, whether the fields of a middleware are there
EXPECTED = {
    "string": (200, "text\n", True),
    "long": (200, "0123456789" * 2000, True),
    "empty": (200, "", True),
    "table": (200, '{"a":1}', True),
    "nothing": (204, "", True),
    "created": (201, "", True),
    "teapot": (418, "418 I'm a Teapot\n", True),
    "all": (202, "both\n", True),
    "headers": (200, "text\n", True),
    "html": (200, "<p>", True),
    "html-status": (404, "<p>", True),
    "redirect": (303, "303 See Other\n", True),
    "stream": (200, "ab", True),
    "stream-length": (203, "ab", True),
    "file": (200, "file\n", True),
    "no-file": (404, "404 Not Found\n", True),
    "no-download": (404, "404 Not Found\n", True),
    "nils": (200, "nils\n", True),
    "later": (200, "later\n", True),
    "error": (409, "meant\n", True),
}


class Forms(SiteCase):
    """The forms as they are, and the same through two middlewares."""

    SCRIPT = FORMS + r"""
    app.static("/", "files")
    app.use(function(req, nxt)
        local res = nxt()
        res.headers["x-outer"] = "yes"
        return res
    end)
    app.use(function(req, nxt)
        if req.query.through then
            local status, body, headers = nxt(), nil, nil
            return status, { ["x-inner"] = "yes" }
        end
        return nxt()
    end)
    app.get("/forms/:name", function(req) return forms[req.params.name]() end)
    app.get("/pass.txt", function() return app.pass end)
    app.get("/no-pass.txt", function() return app.pass end)
    """
    FILES = [("files/pass.txt", "file\n")]

    def check(self, target, status, body, has_fields, inner=False):
        with Client(self.server) as client:
            answers = [client.ask("GET", target), client.ask("GET", target)]
            head = client.ask("HEAD", target)
            answers.append(client.ask("GET", target, version="1.0"))
        for answer in answers:
            self.assertTrue(answer.whole)
            self.assertEqual((answer.status, answer.text), (status, body))
            self.assertEqual(answer.headers.get("x-outer") == "yes", has_fields)
            self.assertEqual(answer.headers.get("x-inner") == "yes", has_fields and inner)
        self.assertEqual((head.status, head.body), (status, b""))
        if status == 404:
            for name in ("content-disposition", "cache-control"):
                self.assertNotIn(name, answers[0].headers)
        for name in ("content-type", "content-length", "transfer-encoding", "x-outer", "location", "x-own"):
            self.assertEqual(head.headers.get(name), answers[0].headers.get(name), name)

    def test_each_for_get_head_and_http_1_0(self):
        for name, (status, body, has_fields) in EXPECTED.items():
            with self.subTest(name):
                self.check("/forms/" + name, status, body, has_fields)

    def test_each_with_fields_of_a_second_middleware(self):
        for name, (status, body, has_fields) in EXPECTED.items():
            with self.subTest(name):
                self.check("/forms/" + name + "?through=1", status, body, has_fields, inner=True)

    def test_pass(self):
        for suffix in ("", "?through=1"):
            self.check("/pass.txt" + suffix, 200, "file\n", True, inner=bool(suffix))
            self.check("/no-pass.txt" + suffix, 404, "404 Not Found\n", True, inner=bool(suffix))

    def test_fields_go_with_304_206_412_and_416(self):
        for target in ("/pass.txt", "/forms/file"):
            tag = self.ask(target).headers["etag"]
            for header, status in ((("If-None-Match", tag), 304), (("Range", "bytes=1-2"), 206),
                                   (("If-Match", '"x"'), 412), (("Range", "bytes=9-"), 416)):
                answer = self.ask(target, headers=[header])
                self.assertEqual((answer.status, answer.headers["x-outer"]), (status, "yes"))


class Injection(SiteCase):
    """A control character in a name or value is an error in the handler, wherever it comes from, and never on the wire."""

    SCRIPT = r"""
    app.static("/", "files")
    local evil
    local places = {
        value = function() return "x", { ["x-a"] = evil } end,
        name = function() return "x", { [evil] = "x" } end,
        list = function() return "x", { ["x-a"] = { "fine", evil } } end,
        type = function() return "x", { ["content-type"] = evil } end,
        table = function() return { 1 }, { ["x-a"] = evil } end,
        stream = function() return function(out) out:write("x") end, { ["x-a"] = evil } end,
        length = function() return function(out) out:write("x") end, { ["content-length"] = evil } end,
        nothing = function() return nil, { ["x-a"] = evil } end,
        redirect = function() return app.redirect(evil) end,
        file = function() return app.file "files/pass.txt", { ["x-a"] = evil } end,
        ["file-type"] = function() return app.file("files/pass.txt", { type = evil }) end,
        download = function() return app.file("files/pass.txt", { download = evil }) end,
        pass = function() return app.pass, { ["x-a"] = evil } end,
        cookie = function() return app.html("x"):set_cookie("a", evil) end,
        ["cookie-name"] = function() return app.html("x"):set_cookie(evil, "a") end,
        ["cookie-path"] = function() return app.html("x"):set_cookie("a", "a", { path = "/" .. evil }) end,
        error = function() app.error(404, "x", { ["x-a"] = evil }) end,
        middleware = function() return "x" end,
    }
    app.use(function(req, nxt)
        evil = req.query.evil
        local res = nxt()
        if req.params.place == "middleware" then res.headers["x-a"] = evil end
        return res
    end)
    app.get("/at/:place", function(req) return places[req.params.place]() end)
    app.get("/places", function()
        local names = {}
        for name in pairs(places) do names[#names + 1] = name end
        return names
    end)
    """
    FILES = [("files/pass.txt", "file\n")]

    def test_no_place_lets_a_control_character_through(self):
        places = self.ask("/places").json
        self.assertGreater(len(places), 15)
        for place in places:
            for code in ("%0d%0a", "%0a", "%0d", "%00", "%1f", "%7f"):
                with self.subTest(place, code=code), contextlib.closing(self.server.connect()) as sock:
                    sock.sendall(f"GET /at/{place}?evil=a{code}x-evil:1 HTTP/1.0\r\n\r\n".encode())
                    received = evtest.receive_all(sock)
                    self.assertTrue(received.startswith(b"HTTP/1.1 500 "), received)
                    self.assertNotIn(b"x-evil", received)


class FromErrorFunction(SiteCase):
    """The error function may answer in any form; what has no status of its own has 500."""

    SCRIPT = FORMS + r"""
    app.static("/", "files")
    local heard = 0
    app.on("error", function(req, err)
        heard = heard + 1
        if req.query.as == "pass" then return app.pass end
        return forms[req.query.as]()
    end)
    app.get("/heard", function() return tostring(heard) end)
    app.get("/pass.txt", function() error "x" end)
    app.get("/fails", function() return "x", { ["x-own"] = "lost", ["a b"] = "" } end)
    app.get("/no-file", function() return app.file "files/nothing" end)
    app.get("/no-pass", function() return app.pass end)
    app.get("/meant", function() app.error(404) end)
    app.get("/begun", function() return function(out) out:write "x" app.sleep(1) error "x" end end)
    app.get("/unbegun", function() return function(out) error "x" end end)
    app.get("/timer", function() app.after(0, function() error "in a timer" end) return "x" end)
    app.get("/defer", function() app.defer(function() error "in a deferred one" end) return "x" end)
    """
    FILES = [("files/pass.txt", "file\n")]

    def test_each_form(self):
        for name, (status, body, _) in EXPECTED.items():
            status = 500 if status == 200 else status
            if name == "nothing":
                status, body = 500, "500 Internal Server Error\n"
            for version in ("1.1", "1.0"):
                with self.subTest(name, version=version):
                    answer = self.ask("/fails?as=" + name, version=version)
                    self.assertTrue(answer.whole)
                    self.assertEqual((answer.status, answer.text), (status, body))
                    self.assertNotEqual(answer.headers.get("x-own"), "lost")
        self.assertEqual(self.ask("/pass.txt?as=pass").text, "file\n")
        self.assertEqual(self.ask("/unbegun?as=stream").text, "ab")

    def test_what_is_no_error_of_a_handler_does_not_reach_it(self):
        before = self.ask("/heard").text
        self.assertEqual(self.ask("/no-file?as=string").status, 404)
        self.assertEqual(self.ask("/no-pass?as=string").status, 404)
        self.assertEqual(self.ask("/meant?as=string").status, 404)
        self.assertEqual(self.ask("/nowhere?as=string").status, 404)
        self.check_cut("/begun?as=string")
        self.ask("/timer")
        self.wait_for_log("in a timer")
        self.ask("/defer")
        self.wait_for_log("in a deferred one")
        self.assertEqual(self.ask("/heard").text, before)


class CutStreams(SiteCase):
    """A stream that fails halfway does not end as a whole one does."""

    SCRIPT = r"""
    app.get("/chunked", function() return function(out) out:write "begun" app.sleep(1) error "x" end end)
    app.get("/length", function()
        return 200, function(out) out:write "begun" app.sleep(1) error "x" end, { ["content-length"] = 10 }
    end)
    app.get("/short", function()
        return 200, function(out) out:write "begun" end, { ["content-length"] = 10 }
    end)
    app.get("/stray", function() return function(out) out:write "begun" coroutine.yield() end end)
    app.get("/whole", function() return function(out) out:write "begun" app.sleep(1) out:write " and ended" end end)
    """

    def bytes_of(self, target, version):
        with contextlib.closing(self.server.connect()) as sock:
            sock.sendall(f"GET {target} HTTP/{version}\r\nHost: test\r\n\r\n".encode())
            received = b""
            try:
                while part := sock.recv(65536):
                    received += part
            except ConnectionResetError:
                return received, "reset"
        return received, "end"

    def test_http_1_1_ends_without_the_last_chunk_or_short_of_its_length(self):
        for target in ("/chunked", "/length", "/short", "/stray"):
            with self.subTest(target):
                received, _ = self.bytes_of(target, "1.1")
                self.assertNotIn(b"\r\n0\r\n", received)
                self.assertIn(b"Content-Length: 10" if target in ("/length", "/short") else b"chunked", received)

    def test_http_1_0_ends_with_a_reset_where_it_has_no_other_end(self):
        for target in ("/chunked", "/stray"):
            with self.subTest(target):
                received, end = self.bytes_of(target, "1.0")
                self.assertNotIn(b"Content-Length", received)
                self.assertEqual(end, "reset")
        received, end = self.bytes_of("/whole", "1.0")
        self.assertTrue(received.endswith(b"\r\n\r\nbegun and ended"))
        self.assertEqual(end, "end")


class LargeBodies(SiteCase):
    """Bodies beyond any buffer: nothing of them counts against write_cap, and the memory comes back."""

    SIZE = 100_000_000
    SCRIPT = r"""
    app.set { write_cap = "64K", write_high_mark = "32K", handler_cpu = "20s" } -- under sanitizers they take their time
    app.get("/string", function() return ("0123456789"):rep(10000000) end)
    app.get("/stream", function() return function(out) assert(out:write(("0123456789"):rep(10000000))) end end)
    app.get("/memory", function()
        for _ = 1, 20 do collectgarbage() end -- each halves the buffer in which LuaJIT made the string
        return app.json.encode(app.stats().lua_memory)
    end)
    """

    def check(self, target):
        before = self.ask("/memory").json
        with Client(self.server, receive_buffer=65536) as client:
            client.send("GET", target)
            self.assertEqual(self.ask("/memory").status, 200)  # others are served meanwhile
            answer = client.read()
        self.assertEqual(len(answer.body), self.SIZE)
        self.assertEqual(answer.body[:10] + answer.body[-10:], b"0123456789" * 2)
        self.assertEqual(answer.body.count(b"0123456789"), self.SIZE // 10)
        self.assertLess(self.ask("/memory").json - before, 65536)

    def test_a_string_of_a_hundred_megabytes(self):
        self.check("/string")

    def test_the_same_written_to_a_stream(self):
        self.check("/stream")

    def test_one_that_nobody_reads_is_let_go_with_its_client(self):
        before = self.ask("/memory").json
        for target in ("/string", "/stream"):
            client = Client(self.server, receive_buffer=4096)
            client.send("GET", target)
            self.assertEqual(client.sock.recv(4), b"HTTP")
            self.assertGreater(self.ask("/memory").json - before, self.SIZE - 1000)
            client.reset()
            evtest.wait_until(lambda: self.ask("/memory").json - before < 65536, "the memory of " + target)


class Leaving(SiteCase):
    """Clients that leave while a handler waits: it is unwound, and nothing stays."""

    SCRIPT = r"""
    local ended, begun = {}, 0
    local function watched(fn)
        return function(...)
            begun = begun + 1
            local results = { pcall(fn, ...) }
            ended[#ended + 1] = tostring(results[2])
            if not results[1] then error(results[2], 0) end
            return unpack(results, 2, 4)
        end
    end
    app.get("/sleep", watched(function() app.sleep "1h" end))
    app.get("/stream-asleep", function() return watched(function(out) out:write "x" app.sleep "1h" end) end)
    app.get("/stream-writing", function()
        return watched(function(out) while true do
            local ok, err = out:write(("x"):rep(10000))
            if not ok then error(err, 0) end
        end end)
    end)
    app.get("/big-write", { handler_cpu = "10s" }, function() return watched(function(out)
        local ok, err = out:write(("x"):rep(50000000))
        error(tostring(err), 0)
    end) end)
    local nap = watched(function() app.sleep "300ms" return "answered\n" end)
    app.get("/nap", nap)
    app.get("/nap-half-close", { half_close = true }, nap)
    app.get("/begun", function() return tostring(begun) end)
    app.get("/ended", function() local now = table.concat(ended, ",") ended = {} return now end)
    app.get("/memory", { handler_cpu = "10s" }, function()
        collectgarbage() collectgarbage()
        return app.json.encode(app.stats().lua_memory)
    end)
    """

    def leave(self, target, how):
        begun = int(self.ask("/begun").text)
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", target)
        evtest.wait_until(lambda: int(self.ask("/begun").text) > begun, "the handler")
        if target.startswith("/stream") or target == "/big-write":
            client.sock.recv(4)
        how(client)
        return client

    def wait_for_end(self, reason):
        evtest.wait_until(lambda: self.ask("/ended").text == reason, reason)

    def test_reset_ends_sleepers_and_writers(self):
        for target, reason in (("/sleep", "the client has gone"), ("/stream-asleep", "the client has gone"),
                               ("/stream-writing", "closed"), ("/big-write", "closed")):
            with self.subTest(target):
                self.leave(target, Client.reset)
                self.wait_for_end(reason)

    def test_close_ends_writers(self):
        for target in ("/stream-writing", "/big-write"):
            with self.subTest(target):
                self.leave(target, Client.close)
                self.wait_for_end("closed")

    def test_a_client_that_shut_its_sending_side_is_answered_where_the_route_says_so(self):
        with self.leave("/nap-half-close", lambda client: client.sock.shutdown(socket.SHUT_WR)) as client:
            answer = client.read()
        self.assertEqual((answer.status, answer.text), (200, "answered\n"))
        self.wait_for_end("answered\n")

    def test_a_client_that_shut_its_sending_side_has_left_elsewhere(self):
        with self.leave("/nap", lambda client: client.sock.shutdown(socket.SHUT_WR)) as client:
            self.assertEqual(client.sock.recv(1), b"")
        self.wait_for_end("the client has gone")

    def test_nothing_stays(self):
        def rounds(count):
            for _ in range(count):
                clients = [Client(self.server) for _ in range(20)]
                begun = int(self.ask("/begun").text)
                for client in clients:
                    client.send("GET", "/sleep")
                evtest.wait_until(lambda: int(self.ask("/begun").text) == begun + 20, "the handlers")
                for client in clients:
                    client.reset()
                gone = []

                def all_gone():
                    gone.extend(text for text in self.ask("/ended").text.split(",") if text)
                    return len(gone) == 20
                evtest.wait_until(all_gone, "their ends")
            return self.ask("/memory").json
        before = rounds(3)
        self.assertLess(rounds(20) - before, 16384)


if __name__ == "__main__":
    unittest.main()
