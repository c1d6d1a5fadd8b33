"""Finalizers: they run where they disturb nobody, and their errors are theirs alone."""

import json
import unittest

from lua_site import Client, SiteCase

LONG = 70000  # bytes that a finalizer logs: more than is kept of a buffer after its use

SITE = """
    app.set { handler_cpu = "30s" }
    local ffi = require "ffi"
    ffi.cdef "struct box { int n; };"
    local finalized, noise = 0, ("n"):rep(%d)
    -- Each has a successor when it is finalized. debug makes the line only when somebody reads it, info always.
    local function litter()
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function() finalized = finalized + 1 print(noise) litter() end
    end
    local function box() ffi.gc(ffi.new("struct box"), function() finalized = finalized + 1 app.json.encode { noise } box() end) end
    for _ = 1, 3 do litter() box() end
    local function busy(fn)
        local before = finalized
        local count = 0
        repeat
            local garbage = { ("g"):rep(1000) .. count }
            fn()
            count = count + 1
        until finalized - before >= 12 or count > 20000
        return finalized - before >= 12
    end
    local text = ("ab%%20c"):rep(30)
    local deep = { text, { a = text .. "\\n" .. text, b = { 1, 2.5, text } } }
    local encoded = app.json.encode(deep)
    app.get("/json", function()
        assert(busy(function() assert(app.json.encode(deep):sub(1, 3) == encoded:sub(1, 3)) end))
        return deep
    end)
    app.get("/decode", function()
        assert(busy(function() assert(app.json.decode(encoded)[2].a == deep[2].a) end))
        return "ok"
    end)
    app.get("/query", function(req)
        local value = ("x"):rep(40)
        assert(busy(function()
            for _, name in ipairs(req:query_all "name") do assert(name == value) end
        end))
        for name, given in pairs(req.query) do assert(given == ("x"):rep(40) or name == "other", name) end
        return "ok"
    end)
    app.get("/each", function(req)
        return { q = req.query, h = req.headers["x-long"], c = req.cookies, p = req.peer }
    end)
    app.post("/form", function(req) return req:form() end)
    app.get("/log", function() assert(busy(function() app.log("debug", text) app.log("info", "line " .. text) end)) return "ok" end)
    app.get("/load", function() assert(busy(function() assert(loadstring("return '" .. text .. "'")() == text) end)) return "ok" end)
    app.get("/file", function() assert(busy(function() assert(dofile "part.lua" == 42) end)) return "ok" end)
    app.get("/url", function()
        assert(busy(function() assert(app.url("named", { id = text }):find("ab%%25", 1, true)) end))
        return "ok"
    end)
    app.get("/named/:id", { name = "named" }, function(req) return req.params.id end)
    app.get("/fields", function() return 200, deep, { ["x-number"] = 12345, ["x-list"] = { text, text } } end)
    app.get("/sort", function()
        assert(busy(function() table.sort({ 3, 1, 2 }, function(a, b) return tostring(a) .. text < tostring(b) .. text end) end))
        return "ok"
    end)
    app.get("/stream", function() return function(out)
        for i = 1, 400 do out:write(text .. i) local made = { text .. i .. "x" } end
    end end)
    app.get("/jit", { jit = true }, function()
        local count = 0
        assert(busy(function() count = count + #app.json.encode(deep) app.log("debug", text .. count) end))
        return deep
    end)
    app.get("/wrong", function() error(("e"):rep(300)) end)
    app.get("/finalized", function() return tostring(finalized) end)
""" % LONG


class Reentry(SiteCase):
    """A finalizer that logs and encodes, at work during each function that makes a text in C."""

    SCRIPT = SITE
    FILES = (("part.lua", "return 42"),)

    def test_no_function_is_disturbed(self):
        for target in ("/json", "/decode", "/log", "/load", "/file", "/url", "/sort", "/jit"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 200, self.server.lines[-3:])
        self.assertEqual(self.ask("/query?" + "&".join(["name=" + "x" * 40] * 50)).text, "ok")

    def test_answers_have_the_texts_of_their_own_request(self):
        query = "&".join(f"name{i}=value%20{i}" for i in range(60))
        with Client(self.server) as client:
            for turn in range(300):
                found = client.ask("GET", f"/each?{query}&turn={turn}", [("X-Long", "h" * 3000)]).json
                self.assertEqual(found["q"], {f"name{i}": f"value {i}" for i in range(60)} | {"turn": str(turn)})
                self.assertEqual(found["h"], "h" * 3000)
                form = "&".join(f"f{i}={turn}%2B{i}" for i in range(60)).encode()
                found = client.ask("POST", "/form", [("Content-Type", "application/x-www-form-urlencoded")], form).json
                self.assertEqual(found, {f"f{i}": f"{turn}+{i}" for i in range(60)})
                self.assertEqual(json.loads(client.ask("GET", "/fields").body)[0], "ab%20c" * 30)
                self.assertEqual(client.ask("GET", "/wrong").status, 500)
        self.assertGreater(int(self.ask("/finalized").text), 10)

    def test_stream(self):
        self.assertEqual(self.ask("/stream").body, b"".join(b"ab%%20c" * 0 + b"ab%20c" * 30 + str(i).encode()
                                                            for i in range(1, 401)))


class Errors(SiteCase):
    SCRIPT = """
        app.set { handler_cpu = "10s" }
        local function litter(fn)
            local proxy = newproxy(true)
            getmetatable(proxy).__gc = fn
        end
        app.get("/litter", function() for _ = 1, 100 do litter(function() error "finalizer failed" end) end end)
        app.get("/yield", function() litter(function() coroutine.yield() end) end)
        app.get("/sleep", function() litter(function() app.sleep(1) end) end)
        app.get("/table", function() litter(function() error { code = 1 } end) end)
        local collected = 0
        app.get("/nested", function() litter(function() collectgarbage() collectgarbage "step" collected = collected + 1 end) end)
        app.get("/collected", function() return tostring(collected) end)
        app.get("/collect", function() collectgarbage() collectgarbage() return "collected" end)
        app.get("/work", function()
            local made = {}
            for i = 1, 5000 do made[i % 10] = { ("text"):rep(10) .. i } end
            return "worked"
        end)
        app.get("/handle", function()
            local before = collectgarbage "count"
            assert(collectgarbage("stop") == 0 and not collectgarbage "isrunning")
            for i = 1, 20000 do local t = { i } end
            assert(collectgarbage "count" - before > 500)
            assert(collectgarbage("restart") == 0 and collectgarbage "isrunning")
            assert(collectgarbage("setpause", 150) == 200 and collectgarbage("setpause", 200) == 150)
            assert(collectgarbage("setstepmul", 300) == 200 and collectgarbage("setstepmul", 200) == 300)
            repeat until collectgarbage("step", 100)
            assert(collectgarbage "collect" == 0 and collectgarbage() == 0)
            assert(not pcall(collectgarbage, "nothing"))
            return "handled"
        end)
    """

    def test_error_is_a_line_in_the_log_and_no_answer_is_lost(self):
        self.assertEqual(self.ask("/litter").status, 204)
        for _ in range(60):
            self.assertEqual(self.ask("/work").text, "worked")
        self.wait_for_log(r" error finalizer \(__gc\): site\.lua:\d+: finalizer failed")
        for target in ("/yield", "/sleep", "/table"):
            self.assertEqual(self.ask(target).status, 204)
            self.assertEqual(self.ask("/collect").text, "collected")
        self.wait_for_log(r"finalizer \(__gc\): .*attempt to yield")
        self.wait_for_log(r"finalizer \(__gc\): site\.lua:\d+: app\.sleep cannot wait")
        self.wait_for_log(r"finalizer \(__gc\): the error is a table")
        self.assertEqual(self.log_count(" error GET "), 0)

    def test_whole_collection_goes_on_behind_an_error(self):
        self.assertEqual(self.ask("/litter").status, 204)
        self.assertEqual(self.ask("/collect").text, "collected")
        self.wait_for_log(r"finalizer failed \(and \d+ more that failed\)$")

    def test_finalizer_that_collects(self):
        self.assertEqual(self.ask("/nested").status, 204)
        self.assertEqual(self.ask("/collect").text, "collected")
        self.assertEqual(self.ask("/collected").text, "1")

    def test_collectgarbage_does_what_lua_says(self):
        self.assertEqual(self.ask("/handle").text, "handled", self.server.lines[-3:])


class Compiled(SiteCase):
    """Compiled code calls no hook: LuaJIT collects by itself, whatever was collected before."""

    SCRIPT = """
        app.set { lua_memory = "16M" }
        local kept = {}
        app.get("/loop", { jit = true }, function()
            local made = {}
            for i = 1, 3000 do made[i] = { tostring(i) } end -- interpreted: the hook makes a step
            for i = 1, 1e6 do kept[1] = { i } end
            return "looped"
        end)
        app.get("/loans", { jit = true }, function()
            for i = 1, 1e5 do
                kept[1] = { i }
                kept[2] = app.json.encode { i, "abcdefghijklmnopqrstuvwxyz" }
            end
            return "lent"
        end)
        app.get("/lost", { jit = true }, function()
            assert(not pcall(app.json.encode, print))
            for i = 1, 1e6 do kept[1] = { i } end
            return "not lost"
        end)
        local ffi = require "ffi"
        ffi.cdef "struct bad { int n; };"
        local bad = ffi.metatype("struct bad", { __gc = function() error "bad metatype" end })
        app.get("/failing", { jit = true }, function()
            getmetatable(newproxy(true)).__gc = function() error "bad proxy" end
            ffi.gc(ffi.new("struct bad"), function() error "bad box" end)
            bad()
            for i = 1, 1e5 do kept[1] = { i } end
            return "survived"
        end)
    """

    def test_loop_that_makes_more_garbage_than_lua_memory_has_room_for(self):
        self.assertEqual(self.ask("/loop").text, "looped")

    def test_loop_that_borrows_the_text_buffer(self):
        self.assertEqual(self.ask("/loans").text, "lent")

    def test_loop_behind_an_error_that_ended_a_loan(self):
        self.assertEqual(self.ask("/lost").text, "not lost")

    def test_finalizers_that_fail_in_compiled_code_are_lines_of_the_log(self):
        for _ in range(10):
            self.assertEqual(self.ask("/failing").text, "survived")
        for what in ("proxy", "box", "metatype"):
            self.wait_for_log(r" error finalizer \(__gc\): site\.lua:\d+: bad " + what)


if __name__ == "__main__":
    unittest.main()
