"""evserve --test: files of tests for a site. The example sites have one each; the other cases are about reports."""

import os
import re
import subprocess
import tempfile
import unittest

import evtest
from lua_site import EVSERVE, HEAD, ROOT, script

SITE = r"""
local count = 0
app.every("10m", function() count = count + 1 end)
app.get("/count", function() return tostring(count) end)
app.get("/boom", function() app.log("info", "about to fail") error "bad thing" end)
app.get("/users", function() return { users = { { id = 1 }, { id = 2 } }, total = 2 } end)
app.get("/sleep", { handler_timeout = "2h" }, function() app.sleep "1h" return "awake" end)
app.get("/late", function() app.sleep "1h" return "never" end)
app.get("/time", function() return os.time() .. " " .. os.date("!%Y-%m-%d") end)
app.get("/loop", function() return app.redirect "/loop" end)
app.get("/big", function() return ("x"):rep(3e6) end)
app.post("/length", { max_body = "20M" }, function(req) return tostring(#req.body) end)
app.get("/cookies", function(req) return req.headers.cookie or "none" end)
app.get("/stream", function() return 200, function(out) out:write "a" app.sleep "5s" out:write "b" end end)
app.post("/echo", function(req)
    return { type = req.headers["content-type"], query = req.query, body = req.body }
end)
app.get("/set", function()
    return app.redirect "/cookies":set_cookie("short", "1", { max_age = "10m" }):set_cookie("deep", "2", { path = "/a" })
        :set_cookie("keep", "3", { secure = true }):set_cookie("other", "4", { domain = "example.org" })
end)
app.websocket("/echo", { ping = "20s" }, function(ws)
    for text, kind in ws:messages() do
        if text == "bye" then return ws:close(4001, "so long") end
        if kind == "binary" then ws:send_binary(text) else ws:send(text) end
    end
end)
app.limit("/limited", { rate = "1/h", burst = 1 })
app.get("/limited", function() return "ok" end)
"""

TESTS_HEAD = "local app = require 'evserve'\nlocal t = app.test()\n"


class Case(unittest.TestCase):
    def run_tests(self, tests, *options, site=SITE, files=()):
        with script(HEAD + site, files=[("tests.lua", TESTS_HEAD + tests), *files], prelude=False) as path:
            return evtest.run(EVSERVE, "--test", "tests.lua", *options, "site.lua", cwd=os.path.dirname(path))

    def assert_passes(self, tests, **options):
        done = self.run_tests(tests, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout


class ExampleSites(unittest.TestCase):
    def run_site(self, name, **options):
        done = evtest.run(EVSERVE, "--test", f"scripts/{name}_test.lua", f"scripts/{name}.lua", cwd=ROOT, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertNotIn("not ok", done.stdout)

    def test_site(self):
        self.run_site("site")

    def test_todo(self):
        self.run_site("todo")

    def test_log(self):
        self.run_site("log")

    def test_upload(self):
        with tempfile.TemporaryDirectory() as folder:
            self.run_site("upload", env={**os.environ, "UPLOAD_DIR": folder})


class Requests(Case):
    def test_bodies_and_queries(self):
        self.assert_passes(r"""
t:case("form", function(c)
    local got = c:post("/echo?x=1", { form = { a = "1 & 2", b = { "x", "y" } }, query = { q = "ä" } }):json()
    t.equal(got, { type = "application/x-www-form-urlencoded", query = { x = "1", q = "ä" },
        body = "a=1%20%26%202&b=x&b=y" })
end)
t:case("multipart", function(c)
    local got = c:post("/echo", { form = { f = { content = "x\0y", filename = 'a".png', type = "image/png" } } }):json()
    t.match(got.type, "^multipart/form%-data; boundary=")
    t.contains(got.body, 'name="f"; filename="a%22.png"\r\nContent-Type: image/png\r\n\r\nx\0y\r\n--')
end)
t:case("json", function(c)
    t.equal(c:post("/echo", { json = { 1, 2 } }):json(), { type = "application/json", query = {}, body = "[1,2]" })
end)
t:case("large ones", function(c)
    t.equal(#c:get("/big").body, 3000000)
    t.equal(c:post("/length", { body = ("y"):rep(5000000) }).body, "5000000")
    t.equal(c:head("/big").headers.content_length, "3000000")
end)
t:case("a stream in pieces", function(c)
    local request = c:begin("GET", "/stream")
    t.equal(request:head().status, 200)
    t.equal(request:read(), "a")
    t:advance "5s"
    t.equal(request:read(), "b")
    t.equal(request:read(), nil)
end)
""")

    def test_cookies(self):
        self.assert_passes(r"""
t:case("are kept as browsers do", function(c)
    t.equal(c:get("/set", { follow = true }).body, "short=1; keep=3")
end)
t:case("expire, and belong to a client", function(c)
    local res = c:get "/set"
    t.equal(res.cookies.short["max-age"], "600")
    t.equal(c:cookie "short", "1")
    t.equal(c:cookie("deep", "/a/b"), "2")
    t.equal(c:cookie("deep", "/ab"), nil)
    t.equal(c:client():get("/cookies").body, "none")
    t.equal(c:get("/cookies", { cookies = false }).body, "none")
    t:advance "11m"
    t.equal(c:get("/cookies").body, "keep=3")
    c:set_cookie("keep", nil)
    c:set_cookie("mine", "5")
    t.equal(c:get("/cookies").body, "mine=5")
    t.equal(c:get("/cookies", { host = "example.org" }).body, "none")
end)
""")

    def test_websockets(self):
        self.assert_passes(r"""
t:case("echo", function(c)
    local ws = c:websocket "/echo"
    for _, length in ipairs { 0, 125, 126, 65535, 65536 } do
        ws:send(("z"):rep(length), "binary")
        local text, kind = ws:receive()
        t.equal({ #text, kind }, { length, "binary" })
    end
    t:advance "10m" -- pings are answered
    ws:send "still there"
    t.equal(ws:receive(), "still there")
    t.equal({ ws:receive "10ms" }, { nil, "timeout" })
    ws:send "bye"
    t.equal({ ws:receive() }, { nil, "closed", 4001, "so long" })
end)
""")


class Time(Case):
    def test_timers_run_in_their_order(self):
        self.assert_passes(r"""
t:case("an interval", function(c)
    t:advance "1h"
    t.equal(c:get("/count").body, "6")
    t:restart()
    t.equal(c:get("/count").body, "0")
    t:advance "10d"
    t.equal(c:get("/count").body, "1440")
end)
t:case("a sleep", function(c)
    local request = c:begin("GET", "/sleep")
    t:advance "59m"
    t.fails(function() request:response "10ms" end, "t:advance")
    request = c:begin("GET", "/sleep")
    t:advance "59m"
    t:advance "1m"
    t.equal(request:response().body, "awake")
end)
t:case("a timeout", function(c)
    local request = c:begin("GET", "/late")
    t:advance "6m"
    t.equal(request:response().status, 503)
end)
t:case("the date, here and there", function(c)
    local before, here = tonumber(c:get("/time").body:match "%d+"), os.time()
    t:advance "2d"
    local now, date = c:get("/time").body:match "(%d+) (.*)"
    t.ok(now - before >= 172800 and now - before < 172860)
    t.ok(os.time() - here >= 172800)
    t.equal(date, os.date "!%Y-%m-%d")
end)
t:case("a rate", function(c)
    t.equal(c:get("/limited").status, 200)
    t.equal(c:get("/limited").status, 429)
    t:advance "1h"
    t.equal(c:get("/limited").status, 200)
end)
""")

    def test_a_site_that_waits_for_real_time(self):
        self.assert_passes(r"""
t:case("t:wait", function(c)
    local tries = 0
    t.equal(t:wait(function() tries = tries + 1 return tries > 3 and tries end), 4)
    t.fails(function() t:wait(function() end, "20ms") end, "has not come")
end)
""")


class Reports(Case):
    def test_differences(self):
        done = self.run_tests(r"""
t:case("values", function(c)
    t.equal(c:get("/users"):json(), { users = { { id = 1 }, { id = 3 } }, total = 2 })
end)
t:case("texts", function() t.equal(("line\n"):rep(20) .. "a\n", ("line\n"):rep(20) .. "b\n", "the text") end)
t:case("short", function() t.equal(1, "1") end)
t:case("a status", function(c) t.equal(c:get("/boom").status, 200) end)
t:case("passes", function(c) t.equal(c:get("/boom").status, 500) end)
t:case("raises", function() local x = nil; return x.y end)
""")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(re.findall(r"^(?:not )?ok.*$", done.stdout, re.MULTILINE), [
            "not ok 1 - values", "not ok 2 - texts", "not ok 3 - short", "not ok 4 - a status", "ok 5 - passes",
            "not ok 6 - raises"])
        self.assertIn("#   -       id = 3,\n#   +       id = 2,\n", done.stdout)
        self.assertIn("tests.lua:7: the text: expected (-) and got (+) differ:\n#     ...\n#     line\n#     line\n"
                      "#   - b\n#   + a\n", done.stdout)
        self.assertIn('expected "1", got 1\n', done.stdout)
        self.assertIn("#   log: about to fail", done.stdout)
        self.assertEqual(done.stdout.count("bad thing"), 1) # the log of a case that passes is dropped
        self.assertIn('the last response: GET /boom -> 500 "500 Internal Server Error\\n"', done.stdout)
        self.assertRegex(done.stdout, r"tests\.lua:11: attempt to index local 'x'")
        self.assertTrue(done.stdout.endswith("1..6\n# 1 of 6 passed\n"))

    def test_only(self):
        tests = 't:case("one", function() end)\nt:case("two", function() t.ok(false) end)\n'
        done = self.run_tests(tests, "--only", "on")
        self.assertEqual((done.returncode, done.stdout), (0, "ok 1 - one\n1..1\n# 1 of 1 passed, 1 left out\n"))
        done = self.run_tests(tests, "--only", "three")
        self.assertEqual(done.returncode, 1)
        self.assertIn('no case has a name that contains "three"', done.stdout)

    def test_mistakes(self):
        cases = (
            ("c:get('/', { header = {} })", 'unknown option "header" (did you mean "headers"?)'),
            ("c:get 'users'", 'a path such as "/users/7" expected, got "users"'),
            ("c.get '/'", "call it with a colon"),
            ("c:get('/loop', { follow = true })", "more than 10 redirects"),
            ("c:get('/sleep', { timeout = '20ms' })", "no complete response to GET /sleep within 20 ms"),
            ("c:get('/boom'):json()", "the body of GET /boom is not JSON"),
            ("c:websocket '/count'", "GET /count is no WebSocket: 200"),
            ("c:events '/count'", "is no stream of events: 200"),
            ("t:case('y', print)", "a case within a case"),
            ("t:advance 'soon'", "t:advance: "),
            ("app.get('/', print)", "app.get is not there in a file of tests"),
        )
        done = self.run_tests("".join(f't:case("x", function(c) {code} end)\n' for code, _ in cases))
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        for number, (code, text) in enumerate(cases, 3):
            self.assertRegex(done.stdout, rf"#   tests\.lua:{number}: .*{re.escape(text)}", code)
        for tests, text in (("t:case('x', 7)", "a name and a function expected"), ("", "has no cases"),
                            ("x = = 1", "tests.lua:3: unexpected symbol")):
            done = self.run_tests(tests)
            self.assertEqual((done.returncode, done.stderr), (1, ""))
            self.assertIn(text, done.stdout)

    def test_what_cannot_run(self):
        done = self.run_tests("", site="app.get()")
        self.assertEqual(done.returncode, 1)
        self.assertIn("site.lua:", done.stderr)
        done = self.run_tests("t:case('x', print)", site="app.test()")
        self.assertIn("app.test is for files of tests", done.stderr)
        with script(HEAD) as path:
            done = evtest.run(EVSERVE, "--test", "/nowhere.lua", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot open /nowhere.lua: No such file or directory", done.stdout)
            self.assertEqual(evtest.run(EVSERVE, "--test", path).returncode, 2)

    def test_a_restart_that_fails(self):
        done = self.run_tests("""
t:case("breaks", function(c)
    io.open("broken", "w"):close()
    t:restart()
end)
t:case("goes on", function(c) c:get "/" end)
""", site='if io.open "broken" then error "it is broken" end')
        self.assertEqual(done.returncode, 1)
        self.assertIn("the site does not start: site.lua", done.stdout)
        self.assertIn("cannot connect with the site", done.stdout)

    def test_modules_beside_the_tests(self):
        self.assert_passes('t:case("x", function() t.equal(require("helper"), 7) end)', files=[("helper.lua", "return 7")])

    def test_nobody_reads_the_report(self):
        with script(HEAD, files=[("tests.lua", TESTS_HEAD + "t:case('x', print)")], prelude=False) as path, \
                open("/dev/full", "w", encoding="ascii") as full:
            evtest.skip_without_lua((EVSERVE, path))
            done = subprocess.run([EVSERVE, "--test", "tests.lua", "site.lua"], stdout=full, stderr=subprocess.PIPE,
                                  timeout=60, check=False, cwd=os.path.dirname(path))
            self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
