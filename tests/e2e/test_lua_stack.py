"""Scripts that recurse through C: the C stack does not run over, on the main thread and on those of the server."""

import os
import resource
import unittest

import evtest
from lua_site import EVSERVE, SiteCase, script

DEEP = 3000  # parentheses

SITE = """
    app.set { handler_cpu = "30s", max_body = "64K" }
    local function inner(text)
        return (text:gsub("%b()", function(found) return inner(found:sub(2, -2)) end))
    end
    app.post("/gsub", function(req) return inner(req.body) end)
    local keys = setmetatable({}, { __index = function(t, key) return (key:gsub("x", t)) end })
    app.get("/index", function() return (("x"):gsub("x", keys)) end)
    local function wrap() coroutine.wrap(wrap)() end
    app.get("/wrap", function() wrap() end)
    local function resume() coroutine.resume(coroutine.create(resume)) end
    app.get("/resume", function() resume() return "back" end)
    local function sort() table.sort({ 3, 1, 2 }, function(a, b) sort() return a < b end) end
    app.get("/sort", function() sort() end)
    local shown = setmetatable({}, { __tostring = function(self) return string.format("%s", self) end })
    app.get("/format", function() return string.format("%s", shown) end)
    local logged = setmetatable({}, { __tostring = function(self) app.log("info", self) return "" end })
    app.get("/log", function() app.log("info", logged) end)
    local count = 0
    table.insert(package.loaders, function() return function() count = count + 1 require("part" .. count) end end)
    app.get("/require", function() require "part0" end)
    local source = ("local function f() "):rep(190) .. ("end "):rep(190)
    local function parse() assert(load(source)) string.gsub("x", "x", parse) end
    app.get("/parse", function() parse() end)
    app.get("/caught", function()
        local ok, err = pcall(inner, ("("):rep(3000) .. (")"):rep(3000))
        return tostring(ok) .. " " .. err
    end)
    app.get("/ok", function() return (("a-b"):gsub("-", "+")) .. ("abc"):gsub("%w", { b = "B" }) .. ("x"):gsub("x", "y", 0) end)
"""


class Recursion(SiteCase):
    SCRIPT = SITE

    def check(self, target, method="GET", body=None):
        self.assertEqual(self.ask(target, method, body=body).status, 500)
        self.assertEqual(self.ask("/ok").text, "a+baBcx")

    def test_gsub_that_calls_itself_through_its_callback_is_a_stack_overflow(self):
        self.check("/gsub", "POST", b"(" * DEEP + b")" * DEEP)
        self.wait_for_log(r" error POST /gsub \(route at site\.lua:\d+\): site\.lua:\d+: stack overflow \((string\.gsub|a function that C "
                          r"calls back): ")
        self.wait_for_log(r"^\tsite\.lua:\d+: in function")

    def test_gsub_recurses_for_a_while(self):
        self.assertEqual(self.ask("/gsub", "POST", body=b"(" * 400 + b"x" + b")" * 400).text, "x")

    def test_other_functions_that_c_calls_back(self):
        for target in ("/index", "/wrap", "/sort", "/format", "/log", "/require", "/parse"):
            with self.subTest(target):
                self.check(target)

    def test_resume_passes_the_error_to_the_one_that_resumed(self):
        self.assertEqual(self.ask("/resume").text, "back")

    def test_script_can_catch_it(self):
        self.assertRegex(self.ask("/caught").text, r"^false site\.lua:\d+: stack overflow")


class SmallStack(Recursion):
    """The same with the least stack."""

    OPTIONS = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_STACK, (512 << 10, 512 << 10))}

    def test_gsub_recurses_for_a_while(self):
        self.assertEqual(self.ask("/gsub", "POST", body=b"(" * 16 + b"x" + b")" * 16).text, "x")


class StartUp(unittest.TestCase):
    def test_script_that_recurses_while_it_starts_does_not_start(self):
        text = """local function f(s) return (s:gsub("%b()", function(i) return f(i:sub(2, -2)) end)) end
            f(("("):rep(3000) .. (")"):rep(3000))"""
        with script(text) as path:
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^site\.lua:2: stack overflow \([^\n]*\n$")


class End(unittest.TestCase):
    def test_finalizers_that_recurse_when_the_script_is_closed(self):
        text = """
            local function f(s) return (s:gsub("%b()", function(i) return f(i:sub(2, -2)) end)) end
            local function g() coroutine.wrap(g)() end
            for _, fn in ipairs { g, function() f(("("):rep(3000) .. (")"):rep(3000)) end } do
                getmetatable(newproxy(true)).__gc = fn
            end
        """
        for threads in ("1", "2"):  # with several, another thread than the script's own closes it
            with script(text) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", threads,
                                                      path) as server:
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
