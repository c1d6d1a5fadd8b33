"""Errors that are answers: app.error in handlers, middleware, streams and timers."""

import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class Raised(SiteCase):
    SCRIPT = r"""
    app.use(function(req, nxt)
        if req.headers["x-refuse"] then app.error(401, "who are you?\n", { ["www-authenticate"] = "Basic" }) end
        if req.headers["x-catch"] then
            local ok, res = pcall(nxt)
            return 200, { ok = ok, status = res.status, body = res.body, text = tostring(res):match("^table") }
        end
        local res = nxt()
        res.headers["x-through"] = "yes"
        return res
    end)
    local function find(id) return id == "7" and "seven\n" or app.error(404, "no such thing\n") end
    app.get("/things/:id", function(req) return find(req.params.id) end)
    app.get("/status", function() app.error(410) end)
    app.get("/table", function() app.error(422, { field = "name" }) end)
    app.get("/again", function() local ok, err = pcall(app.error, 409, "x\n") error(err) end)
    app.get("/late", function() app.sleep(1) app.error(503, "later\n") end)
    app.get("/cleared", function() return "x", { ["x-a"] = "1", ["bad name"] = "2" } end)
    app.get("/stream", function() return function(out) app.error(404, "not begun\n") end, { ["x-a"] = "1" } end)
    app.get("/streaming", function() return function(out) out:write("x") app.sleep(1) app.error(404) end end)
    app.get("/badheader", function() app.error(404, "x", { ["bad name"] = "x" }) end)
    app.get("/status200", function() app.error(200) end)
    app.get("/timer", function() app.after(0, function() app.error(404, "nobody to answer") end) return "set\n" end)
    app.get("/fault", function() error("fault") end)
    app.on("error", function(req, err)
        if req.path == "/fault" then app.error(418, "raised in turn\n") end
        return 500, "handled\n"
    end)
    """

    def test_it_is_the_answer(self):
        self.assertEqual(self.ask("/things/7").text, "seven\n")
        answer = self.ask("/things/8")
        self.assertEqual((answer.status, answer.text), (404, "no such thing\n"))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(self.ask("/status").text, "410 Gone\n")
        self.assertEqual(self.ask("/table").json, {"field": "name"})
        self.assertEqual(self.ask("/late").text, "later\n")
        self.assertEqual(self.log_count("no such thing|GET /late"), 0)

    def test_middleware_may_raise_it_with_fields(self):
        answer = self.ask("/things/7", headers=[("X-Refuse", "1")])
        self.assertEqual((answer.status, answer.text), (401, "who are you?\n"))
        self.assertEqual(answer.headers["www-authenticate"], "Basic")

    def test_it_is_a_response_for_the_middleware_around(self):
        answer = self.ask("/things/8")
        self.assertEqual((answer.status, answer.text, answer.headers["x-through"]), (404, "no such thing\n", "yes"))
        self.assertEqual(self.ask("/things/8", headers=[("X-Catch", "1")]).json,
                         {"ok": True, "status": 404, "body": "no such thing\n", "text": "table"})

    def test_who_caught_it_may_hand_it_on(self):
        answer = self.ask("/again")
        self.assertEqual((answer.status, answer.text), (409, "x\n"))

    def test_a_stream_that_has_not_begun_becomes_the_answer(self):
        answer = self.ask("/stream")
        self.assertEqual((answer.status, answer.text), (404, "not begun\n"))
        self.assertNotIn("x-a", answer.headers)

    def test_in_a_stream_that_has_begun_it_is_an_error_like_others(self):
        self.check_cut("/streaming")
        self.wait_for_log(r"GET /streaming \(route at site\.lua:\d+\): 404")

    def test_in_a_timer_it_is_an_error_like_others(self):
        self.ask("/timer")
        self.wait_for_log(r"timer: 404: nobody to answer")

    def test_mistakes_in_it_are_faults(self):
        for target in ("/badheader", "/status200"):
            self.assertEqual(self.ask(target).text, "handled\n")
        self.wait_for_log(r"app\.error: the status must be a whole number from 400 to 599, not 200")
        self.wait_for_log(r'header "bad name"')

    def test_the_error_function_may_raise_it(self):
        answer = self.ask("/fault")
        self.assertEqual((answer.status, answer.text), (418, "raised in turn\n"))
        self.wait_for_log("fault")


class Layers(SiteCase):
    """What is raised inside of nxt() comes back from it, whoever raises it and whoever calls it."""

    SCRIPT = r"""
    app.set { body_timeout = "100ms", max_body = 20, lua_memory = "8M", handler_cpu = "10s" }
    app.use(function(req, nxt) -- CORS and pages
        local res = nxt()
        res.headers["access-control-allow-origin"] = "*"
        if res.status >= 400 and type(res.body) == "string" then
            res.body, res.headers["content-type"] = "<h1>" .. res.body .. "</h1>", "text/html"
        end
        return res
    end)
    local api = app.group("/api")
    api.use(function(req, nxt)
        if req.query.before then app.error(401, "before") end
        local res = nxt()
        if req.query.after then app.error(409, "after", { ["x-seen"] = res.status }) end
        res.headers["x-layer"] = "inner"
        return res
    end)
    api.post("/json", function(req) return req:json() end)
    api.post("/form", function(req) return req:form() end)
    api.post("/body", function(req) return req.body end)
    api.post("/parts", function(req) for part in req:parts() do part:text() end end)
    api.post("/error", function(req) app.error(tonumber(req.query.status), nil, { ["x-why"] = "y" }) end)
    api.post("/page", function() app.error(404, app.html("page")) end)
    api.post("/wait", function() app.sleep(1) app.error(404, "waited") end)
    api.post("/own", function() coroutine.wrap(function() app.sleep(1) app.error(404, "own") end)() end)
    api.post("/bad", function() app.error(404, "x", "no table") end)
    api.post("/fault", function() local x = nil; return x.field end)
    api.post("/again", function() error("fault again") end)
    api.post("/memory", function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end)
    local caught = app.group("/caught")
    caught.use(function(req, nxt)
        local res = nxt()
        if req.query.rethrow then app.sleep(1) error("again: " .. res.error, 0) end
        return 200, { err = res.error }
    end)
    caught.post("/fault", function() error("in the handler") end)
    local twice = app.group("/twice")
    twice.use(function(req, nxt)
        local first, second = nxt(), nxt()
        second.headers["x-first"] = first.status
        return second
    end)
    local count = 0
    twice.post("/count", function() count = count + 1 app.error(400 + count, "x") end)
    """

    def post(self, target, headers=(), body=None):
        return self.ask(target, "POST", headers, body)

    def check_dressed(self, answer, status, text):
        self.assertEqual((answer.status, answer.text), (status, text))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")

    def test_every_answer_about_a_body_comes_through(self):
        form = [("Content-Type", "multipart/form-data; boundary=x")]
        json = [("Content-Type", "application/json")]
        for target, headers, body, status in (
                ("/api/json", (), b"{}", 415), ("/api/json", json, b"{", 400), ("/api/form", (), b"x", 415),
                ("/api/parts", (), b"x", 415), ("/api/parts", form, b"x", 400),
                ("/api/body", [("Transfer-Encoding", "chunked")], b"zz\r\n", 400)):
            with self.subTest(target=target, status=status), Client(self.server) as client:
                client.send("POST", target, headers, None if "chunked" in str(headers) else body)
                if "chunked" in str(headers):
                    client.sock.sendall(body)
                answer = client.read()
                self.assertEqual(answer.status, status)
                self.assertRegex(answer.text, "(?s)^<h1>.*</h1>$")
                self.assertEqual(answer.headers["access-control-allow-origin"], "*")
                self.assertEqual(answer.headers["x-layer"], "inner")

    def test_so_do_413_and_408(self):
        with Client(self.server) as client:
            client.send("POST", "/api/body", [("Transfer-Encoding", "chunked")])
            client.sock.sendall(b"1e\r\n" + b"x" * 30 + b"\r\n0\r\n\r\n")
            self.check_dressed(client.read(), 413, "<h1>the request body is longer than 20 bytes\n</h1>")
        with Client(self.server) as client:
            client.send("POST", "/api/body", [("Content-Length", "10")])
            self.check_dressed(client.read(), 408, "<h1>the request body arrived too slowly\n</h1>")

    def test_status_fields_and_pages_are_kept(self):
        answer = self.post("/api/error?status=422")
        self.assertEqual((answer.status, answer.headers["x-why"], answer.headers["x-layer"]), (422, "y", "inner"))
        answer = self.post("/api/page")
        self.check_dressed(answer, 404, "<h1>page</h1>")
        self.assertEqual(answer.headers["content-type"], "text/html")
        self.check_dressed(self.post("/api/wait"), 404, "<h1>waited</h1>")
        self.check_dressed(self.post("/api/own"), 404, "<h1>own</h1>")

    def test_what_a_middleware_raises_comes_back_in_the_next_outer_one(self):
        for query, status, text, seen in (("before", 401, "before", None), ("after", 409, "after", "422")):
            answer = self.post(f"/api/error?status=422&{query}=1")
            self.check_dressed(answer, status, f"<h1>{text}</h1>")
            self.assertNotIn("x-layer", answer.headers)
            self.assertEqual(answer.headers.get("x-seen"), seen)

    def test_nxt_may_be_called_again(self):
        answer = self.post("/twice/count")
        self.assertEqual((answer.status, answer.headers["x-first"]), (402, "401"))

    def test_failures_come_back_as_500_and_are_logged_where_they_happened(self):
        answer = self.post("/api/fault")
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertEqual(answer.headers["x-layer"], "inner")
        self.wait_for_log(r"POST /api/fault .*attempt to index")
        log = self.server.lines
        at = next(i for i, line in enumerate(log) if "POST /api/fault" in line)
        evtest.wait_until(lambda: len(log) > at + 5, "the traceback")
        self.assertRegex(log[at], r"site\.lua:29: attempt to index")
        self.assertRegex(log[at + 2], r"site\.lua:29: in function 'fn'")
        self.assertEqual(self.post("/api/again").status, 500)
        self.wait_for_log(r"site\.lua:30: fault again")
        self.assertEqual(self.post("/api/bad").status, 500)
        self.wait_for_log(r"headers must be a table, not \"no table\"")

    def test_without_memory_it_is_a_503_with_the_figures(self):
        self.assertEqual(self.post("/api/memory").status, 503)
        self.wait_for_log(r"POST /api/memory .*not enough memory: \d+ bytes are held .* lua_memory is 8388608")

    def test_a_failure_may_become_any_response(self):
        self.assertRegex(self.post("/caught/fault").json["err"], r"^site\.lua:\d+: in the handler$")
        self.wait_for_log(r"POST /caught/fault \(.*: site\.lua:\d+: in the handler")
        answer = self.post("/caught/fault?rethrow=1")
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (500, "*"))
        self.wait_for_log(": again: site")


class Places(SiteCase):
    """Where an error happened that a handler raises in a tail call, which takes its own line from the stack."""

    SCRIPT = r"""
    app.set { debug = true }
    app.get("/plain", function() return app.redirect("/a\nb") end)
    local group = app.group "/g"
    group.use(function(req, nxt)
        local res = nxt()
        return res
    end)
    group.get("/redirect", function() return app.redirect("/a\nb") end)
    group.get("/url", function() return app.url("nouser") end)
    group.get("/file", function() return app.file("x", { root = "noroot" }) end)
    group.get("/cookie", function() return app.text("x"):set_cookie("a", "\195\164") end)
    group.get("/error", function() return app.error("no") end)
    group.get("/json", function() return app.json.encode(print) end)
    group.get("/require", function() return require "nomod" end)
    group.get("/format", function() return string.format("%d", "x") end)
    group.get("/line", function()
        error("not a tail call")
    end)
    group.get("/module", function()
        local found = require "nomod"
        return found
    end)
    group.get("/event", function() return app.redirect("/event\nb") end)
    local last
    app.on("error", function(req, err) last = tostring(err) end)
    app.get("/last", function() return last end)
    """

    def line_of(self, text):
        with open(self.path, encoding="utf-8") as file:
            return next(number for number, line in enumerate(file, 1) if text in line)

    def test_it_is_that_of_the_route(self):
        for name in ("redirect", "url", "file", "cookie", "error", "json", "require", "format", "event"):
            with self.subTest(name):
                line = self.line_of(f'group.get("/{name}"')
                page = self.ask(f"/g/{name}")
                self.assertEqual(page.status, 500)
                self.assertIn(f"<h1>site.lua:{line}: ", page.text)
                self.assertRegex(page.text, rf"<b>\s+{line}  ")
                self.wait_for_log(rf"GET /g/{name} \(route at site\.lua:{line}\): site\.lua:{line}: ")
                self.assertRegex(self.ask("/last").text, rf"^site\.lua:{line}: ")

    def test_it_is_the_line_where_there_is_one(self):
        for name, text in (("line", "not a tail call"), ("module", 'local found = require')):
            with self.subTest(name):
                line = self.line_of(text)
                page = self.ask(f"/g/{name}")
                self.assertIn(f"<h1>site.lua:{line}: ", page.text)
                self.assertRegex(page.text, rf"<b>\s+{line}  ")

    def test_a_value_in_a_text_is_escaped_once(self):
        line = self.line_of('app.get("/plain"')
        self.assertIn('the address "/a\\nb" contains', self.ask("/plain").text.replace("&quot;", '"').replace("&#34;", '"'))
        self.wait_for_log(rf'site\.lua:{line}: app\.redirect: the address "/a\\nb" contains')
        self.assertIn('the address "/a\\nb" contains', self.ask("/last").text)


class Waiting(unittest.TestCase):
    def test_function_of_an_event_cannot_wait_and_says_so(self):
        for event, way in (("memory", r"use app\.after\(0, fn\)"), ("start", r"use app\.after\(0, fn\)"), ("stopping", r"use app\.after\(0, fn\)"),
                           ("stop", r'do what takes time in app\.on\("stopping", fn\)')):
            text = f'app.on("{event}", function() local ok, err = pcall(app.sleep, 1) app.log("info", err) end)'
            text += 'app.set { lua_memory = "4M" } local kept = {}\n'
            text += 'app.get("/", function() kept[#kept + 1] = ("x"):rep(1000000) .. #kept end)'
            with self.subTest(event), script(text) as path:
                with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, Client(server) as client:
                    for _ in range(6 if event == "memory" else 0):
                        client.ask("GET", "/")
                self.assertRegex("\n".join(server.lines), rf'app\.sleep cannot wait in a "{event}" function: {way}')


if __name__ == "__main__":
    unittest.main()
