#!/usr/bin/env python3
"""What the server refuses passes the middleware of its scope, and the functions of app.on() for it: 404, 405, OPTIONS,
413, handlers that fail, are stopped or late."""

import socket
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class Refusals(SiteCase):
    SCRIPT = r"""
    app.set { handler_cpu = "50ms", max_body = 20 }
    app.static("/files", "files", { headers = { ["x-mount"] = "yes" } })
    app.use(function(req, nxt)
        if req.query.mistake then error("in the middleware") end
        local res = nxt()
        if req.query.later then app.sleep(1) end
        res.headers["x-seen"] = res.status .. " " .. tostring(res.error)
        res.headers["x-path"] = req.path
        return res
    end)
    app.get("/", function() return "home" end)
    app.get("/fail", function() error("it failed", 0) end)
    app.get("/table", function() error({ code = 7 }) end)
    app.get("/loop/:id", function() while true do end end)
    app.get("/late", { handler_timeout = "50ms" }, function() app.sleep "10s" return "x" end)
    app.post("/body", function(req) return req.body end)
    local api = app.group("/api")
    api.use(function(req, nxt)
        local res = nxt()
        res.headers["x-api"] = tostring(res.headers.allow)
        return res
    end)
    api.get("/things", function() return { 1 } end)
    local tenants = app.group("/t/:tenant/items")
    tenants.use(function(req, nxt)
        local res = nxt()
        res.headers["x-tenant"] = tostring(req.params.tenant)
        return res
    end)
    tenants.get("/:id", function() while true do end end)
    local quiet = app.host("quiet.test")
    quiet.get("/", function() return "quiet" end)
    local loud = app.host("loud.test")
    loud.on("not_found", function(req) return { error = "no " .. req.path } end)
    loud.on("not_allowed", function(req) return 404, "pretend there is nothing\n" end)
    loud.get("/", function() return "loud" end)
    """
    FILES = (("files/a.txt", "file a\n"),)

    def check(self, answer, status, error="nil"):
        self.assertEqual((answer.status, answer.headers.get("x-seen")), (status, f"{status} {error}"))

    def test_no_route(self):
        answer = self.ask("/nothing?later=1")
        self.check(answer, 404)
        self.assertEqual((answer.text, answer.headers["x-path"]), ("404 Not Found\n", "/nothing"))
        answer = self.ask("/", "POST", body=b"a body that nobody reads, longer than max_body")
        self.check(answer, 405)
        self.assertEqual(answer.headers["allow"], "GET, HEAD, OPTIONS")
        answer = self.ask("/", "OPTIONS")
        self.check(answer, 204)
        self.assertEqual((answer.headers["allow"], answer.body), ("GET, HEAD, OPTIONS", b""))
        answer = self.ask("/nothing", "HEAD")
        self.check(answer, 404)
        self.assertEqual(answer.headers["content-length"], "14")

    def test_files(self):
        self.assertNotIn("x-seen", self.ask("/files/a.txt").headers)
        for target, method, status in (("/files/none", "GET", 404), ("/files/a.txt", "DELETE", 405),
                                       ("/files/a.txt", "OPTIONS", 204), ("/files/none", "HEAD", 404)):
            answer = self.ask(target, method)
            self.check(answer, status)
            self.assertEqual(answer.headers["x-mount"], "yes")
            self.assertEqual("allow" in answer.headers, status != 404)

    def test_the_group_is_that_of_the_longest_prefix(self):
        answer = self.ask("/api/nothing")
        self.check(answer, 404)
        self.assertEqual(answer.headers["x-api"], "nil")
        self.assertEqual(self.ask("/api/things", "PUT").headers["x-api"], "GET, HEAD, OPTIONS")
        self.assertNotIn("x-api", self.ask("/apis").headers)
        self.assertEqual(self.ask("/t/ann/items").headers["x-tenant"], "nil")
        self.assertNotIn("x-tenant", self.ask("/t/ann/nothing").headers)

    def test_requests_of_one_connection_follow_each_other(self):
        with Client(self.server) as client:
            for target, status in (("/nothing", 404), ("/fail", 500), ("/loop/1", 503), ("/late", 503), ("/", 200)):
                client.send("GET", target)
                self.assertEqual(client.read().status, status, target)
            client.send("POST", "/", body=b"x" * 10)
            client.send("GET", "/nothing?later=1")
            client.send("GET", "/")
            self.assertEqual([client.read().status for _ in range(3)], [405, 404, 200])

    def test_a_body_that_is_announced_to_be_too_long(self):
        with Client(self.server) as client:
            client.send("POST", "/body", body=b"x" * 21)
            answer = client.read()
            self.check(answer, 413, "a body longer than max_body")
            self.assertEqual(answer.headers["connection"], "close")
        with Client(self.server) as client:
            client.send("POST", "/body", [("Content-Length", "21"), ("Expect", "100-continue")])
            self.assertEqual(client.read().status, 413)
        self.assertEqual(self.ask("/body", "POST", body=b"x" * 20).text, "x" * 20)

    def test_failures(self):
        self.check(self.ask("/fail"), 500, "it failed")
        self.check(self.ask("/table"), 500, "the error is a table: {code = 7}")
        answer = self.ask("/?mistake=1")
        self.assertEqual((answer.status, "x-seen" in answer.headers), (500, False))
        self.wait_for_log("in the middleware")
        answer = self.ask("/nothing?mistake=1")
        self.assertEqual((answer.status, answer.text), (500, "500 Internal Server Error\n"))

    def test_handlers_that_are_stopped_or_late(self):
        self.check(self.ask("/loop/7"), 503, "the handler was stopped by its deadline")
        self.check(self.ask("/late"), 503, "the handler did not answer within handler_timeout")
        self.assertEqual(self.ask("/t/ann/items/1").headers["x-tenant"], "ann")

    def test_hosts_have_their_own(self):
        host = [("Host", "quiet.test")]
        for target, method, status in (("/nothing", "GET", 404), ("/", "POST", 405), ("/", "OPTIONS", 204)):
            answer = self.ask(target, method, host)
            self.assertEqual((answer.status, "x-seen" in answer.headers), (status, False))
        host = [("Host", "loud.test")]
        answer = self.ask("/nothing", headers=host)
        self.assertEqual((answer.status, answer.json), (404, {"error": "no /nothing"}))
        answer = self.ask("/", "PUT", host)
        self.assertEqual((answer.status, answer.text), (404, "pretend there is nothing\n"))
        self.assertNotIn("allow", answer.headers)

    def test_a_client_may_leave_while_middleware_waits(self):
        for _ in range(20):
            with Client(self.server) as client:
                client.send("GET", "/nothing?later=1")
                client.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(self.ask("/").text, "home")


class Events(SiteCase):
    SCRIPT = r"""
    app.set { debug = true, handler_cpu = "50ms" }
    app.error_page(404, "404.html")
    app.static("/files", "files")
    app.get("/", function() return "home" end)
    app.get("/fail", function() error("it failed", 0) end)
    app.get("/loop", function() while true do end end)
    app.get("/raise", function() app.error(409, "conflict\n") end)
    app.get("/stream", function() return 200, function(out) out:write("a") error("too late", 0) end end)
    app.get("/file", function() return app.file("files/a.txt") end)
    app.websocket("/chat", function(ws) ws:send("hi") ws:receive() end)
    local group = app.group("/group")
    group.use(function(req, nxt)
        local res = nxt()
        res.headers["access-control-allow-origin"] = "*"
        return res
    end)
    group.get("/fail", function() error("within", 0) end)
    group.get("/asked", function() error("asked", 0) end)
    app.on("not_allowed", function(req) return "no " .. req.method .. " here\n" end)
    app.on("error", function(req, err) if err:find("asked") then return 502, "sorry: " .. err end end)
    app.on("answered", function(req) if req.path == "/raise" then error("a listener failed", 0) end end)
    app.on("answered", function(req, outcome)
        app.log("info", "answered:", req.method, req.path, outcome.status, outcome.bytes > 100, outcome.seconds < 5,
            outcome.error or "-")
    end)
    """
    FILES = (("404.html", "<p>lost"), ("files/a.txt", "file a\n"))

    def check_line(self, method, path, status, error="-"):
        self.wait_for_log(f"answered: {method} {path} {status} true true {error}")

    def test_what_they_return(self):
        answer = self.ask("/", "PUT")
        self.assertEqual((answer.status, answer.text), (405, "no PUT here\n"))
        self.assertEqual(answer.headers["allow"], "GET, HEAD, OPTIONS")
        self.assertEqual((self.ask("/nothing").status, self.ask("/nothing").text), (404, "<p>lost"))

    def test_the_page_of_a_developer_has_the_fields_of_middleware(self):
        answer = self.ask("/group/fail")
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (500, "*"))
        self.assertIn("<h1>within", answer.text)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        answer = self.ask("/group/asked")
        self.assertEqual((answer.status, answer.text), (502, "sorry: asked"))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")

    def test_answered_is_told_of_each_request_once(self):
        for target, status, error in (("/", 200, "-"), ("/raise", 409, "-"), ("/nothing", 404, "-"),
                                      ("/fail", 500, "it failed"), ("/stream", 200, "too late"), ("/file", 200, "-"),
                                      ("/loop", 503, "the handler was stopped by its deadline"),
                                      ("/group/fail", 500, "within"), ("/files/none", 404, "-")):
            try:
                self.ask(target)
            except (EOFError, ValueError, OSError):
                self.assertEqual(target, "/stream")  # is cut
            self.check_line("GET", target, status, error)
        self.assertEqual(self.log_count("answered: GET /loop "), 1)
        self.wait_for_log("a listener failed")  # and the next one was called
        self.ask("/files/a.txt")
        self.assertEqual(self.log_count("answered: GET /files/a.txt "), 0)

    def test_answered_for_a_websocket_and_for_nobody(self):
        with Client(self.server) as client:
            client.send("GET", "/chat", [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                         ("Sec-WebSocket-Version", "13"),
                                         ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
            self.assertEqual(client.file.readline().split()[1], b"101")
        self.check_line("GET", "/chat", 101)


class Mistakes(unittest.TestCase):
    def test_each_names_the_way_out(self):
        for text, error in (
                ('app.on("not_found", function() end) app.on("not_found", function() end)',
                 'the "not_found" function is already set at'),
                ('app.host("a.test").on("error", function() end)', '"error" is about the whole server: use app.on'),
                ('app.host("a.test").on("found", function() end)', 'host.on: unknown event "found"'),
                ('app.on("not_fuond", function() end)', 'app.on: unknown event "not_fuond"')):
            with script(text) as path:
                result = evtest.run(EVSERVE, "--check", path)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(error, result.stderr)


if __name__ == "__main__":
    unittest.main()
