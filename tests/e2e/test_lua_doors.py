"""What the debug library opens: functions of C called with what they were not made for, and objects of the wrong kind.
Each is an error of the script, and the server goes on."""

import contextlib
import unittest

import ws_client
from lua_site import SiteCase

SITE = """
    app.set { handler_cpu = "30s" }
    -- All functions that can be reached from a value through upvalues, tables, metatables and environments.
    local function reach(root)
        local seen, found, queue = {}, {}, { root }
        local function add(value)
            local kind = type(value)
            if (kind == "function" or kind == "table" or kind == "userdata") and not seen[value] then
                seen[value] = true
                queue[#queue + 1] = value
            end
        end
        while #queue > 0 do
            local value = table.remove(queue)
            if type(value) == "function" then
                found[#found + 1] = value
                for i = 1, 60 do
                    local name, upvalue = debug.getupvalue(value, i)
                    if name == nil then break end
                    add(upvalue)
                end
            elseif type(value) == "table" then
                for k, v in next, value do add(k) add(v) end
            end
            add(debug.getmetatable(value))
        end
        return found
    end
    local spared = {} -- what Lua has for ending or reading from the terminal, or what takes long
    for _, name in ipairs { "debug", "sethook" } do spared[debug[name] or 0] = true end
    for _, list in ipairs { io, os, ffi or {}, string, table, math, debug, coroutine, package, jit, bit, _G } do
        for _, value in pairs(list) do if type(value) == "function" then spared[value] = true end end
    end
    local C = {}
    local objects = {}
    local function collect(...)
        for i = 1, select("#", ...) do
            for _, fn in ipairs(reach((select(i, ...)))) do
                if not spared[fn] and debug.getinfo(fn, "S").source:find("^=%[C%]") then C[fn] = true end
            end
        end
    end
    local function attack(req, out)
        collect(app, debug.getmetatable(req), debug.getmetatable(app.after(0, function() end)), coroutine.resume,
            coroutine.wrap, app.sleep, app.html "x", out and debug.getmetatable(out) or {})
        local proxy = newproxy(true)
        local stolen = newproxy(true)
        debug.setmetatable(stolen, debug.getmetatable(req))
        local timer = app.after(0, function() end)
        local cheat = app.after(0, function() end)
        debug.setmetatable(cheat, debug.getmetatable(req))
        local kinds = { nil, false, 1, -1, 0/0, 1e300, "text", "method", {}, { 1, "x" }, print, proxy, stolen, timer, cheat,
            io.stdout, req, out or false, coroutine.create(print), ("x"):rep(70000) }
        local count = 0
        for fn in pairs(C) do
            for a = 1, 20 do
                pcall(fn, kinds[a])
                for b = a % 4 + 1, 20, 4 do
                    pcall(fn, kinds[a], kinds[b], kinds[(a + b) % 20 + 1], kinds[(a * b) % 20 + 1], kinds[b])
                    count = count + 1
                end
            end
            pcall(fn)
        end
        return count
    end
    app.get("/attack", function(req) return tostring(attack(req)) end)
    app.get("/stream", function(req) return function(out) out:write "begun" attack(req, out) end end)
    app.websocket("/websocket", function(ws)
        collect(debug.getmetatable(ws))
        attack(ws)
    end)
    app.every("1h", function() end)
    app.get("/timer", function(req)
        local done
        app.after(0, function() done = attack(req) end)
        while not done do app.sleep(1) end
        return "survived"
    end)
    app.post("/parts", function(req)
        local next_part, reader = req:parts()
        attack(req)
        for fn in pairs(C) do
            pcall(fn, req, reader.parser, "")
            pcall(fn, req, reader.parser, ("x"):rep(100))
            pcall(fn, req, io.stdout, "")
        end
        return "survived"
    end)
    local kept
    app.get("/keep", function(req) kept = req return "kept" end)
    app.get("/kept", function() attack(kept) return "survived" end)

    app.get("/index", function(req) return tostring(debug.getmetatable(req).__index({}, "method")) end)
    app.get("/newindex", function(req) debug.getmetatable(req).__newindex({}, "x", 1) end)
    app.get("/tostring", function(req) return debug.getmetatable(req).__tostring(1) end)
    app.get("/file", function(req) return debug.getmetatable(req).__index(io.stdout, "method") end)
    app.get("/proxy", function(req)
        local proxy = newproxy()
        debug.setmetatable(proxy, debug.getmetatable(req))
        return proxy.method
    end)
    app.get("/foreign", function(req)
        local file = io.tmpfile()
        debug.setmetatable(file, debug.getmetatable(app.after(0, function() end)))
        return tostring(file:cancel())
    end)
    app.get("/registry", function() return tostring(debug.getregistry()) end)
    app.get("/setupvalue", function(req) debug.setupvalue(debug.getmetatable(req).__index, 1, nil) end)
    app.get("/setupvalue-c", function(req) debug.setupvalue(debug.getmetatable(req).__newindex, 1, nil) end)
    app.get("/join", function(req)
        local x = 1
        debug.upvaluejoin(function() return x end, 1, debug.getmetatable(req).__index, 1)
    end)
    app.get("/setlocal", function() for level = 2, 9 do debug.setlocal(level, 1, nil) end end)
    app.get("/setlocal-text", function() local changed = debug.setlocal("2", 1, nil) return changed end)
    app.get("/setlocal-own", function() local changed = debug.setlocal(coroutine.running(), 2, 1, nil) return changed end)
    app.get("/setlocal-for", function() for _ in pairs { a = 1, b = 2 } do debug.setlocal(1, 2, nil) end end)
    app.get("/allowed-own", function()
        local a, b = 1, 2
        local thread = coroutine.create(function() local c = 3 coroutine.yield() return c end)
        coroutine.resume(thread)
        debug.setlocal(coroutine.running(), 1, 2, 20)
        debug.setlocal(thread, 1, 1, 30)
        return a .. " " .. b .. " " .. select(2, coroutine.resume(thread))
    end)
    app.get("/allowed", function()
        local a, b = 1, 2
        local function up() return b end
        debug.setlocal(1, 1, 10)
        debug.setupvalue(up, 1, 20)
        return a .. " " .. up()
    end)
    app.get("/found", function()
        local count = 0
        for _ in pairs(C) do count = count + 1 end
        return tostring(count)
    end)
    app.get("/ok", function(req) return req.method .. req.path end)
"""


class Doors(SiteCase):
    SCRIPT = SITE

    def survive(self):
        self.assertEqual(self.ask("/ok").text, "GET/ok")

    def test_each_function_of_c_checks_what_it_is_given(self):
        self.ask("/attack")  # one of the functions may have answered
        self.survive()
        self.assertGreater(int(self.ask("/found").text), 50)

    def test_in_a_stream(self):
        self.ask("/stream")
        self.survive()

    def test_in_a_timer_and_in_another_request(self):
        self.ask("/timer")
        self.survive()
        self.assertEqual(self.ask("/keep").text, "kept")
        self.ask("/kept")
        self.survive()

    def test_while_parts_are_read(self):
        body = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\ntext\r\n--b--\r\n"
        self.ask("/parts", "POST", [("Content-Type", "multipart/form-data; boundary=b")], body)
        self.survive()

    def test_in_a_websocket(self):
        with ws_client.connect(self.server, "/websocket") as ws:
            with contextlib.suppress(ConnectionError):
                for _ in range(3000):  # for each call that waits for one
                    ws.send("x")
            ws.close()
        self.survive()
        self.ask("/attack")
        self.survive()

    def test_metamethods_refuse_what_is_no_request(self):
        for target in ("/index", "/newindex", "/tostring", "/file", "/proxy"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 500)
                self.wait_for_log(rf" error GET {target} .*a request expected, got ")
                self.survive()

    def test_objects_of_other_libraries_with_our_metatable_are_refused(self):
        self.assertIn(self.ask("/foreign").text, ("false", "500 Internal Server Error\n"))
        self.survive()

    def test_what_c_relies_on_cannot_be_changed(self):
        for target in ("/registry", "/setupvalue", "/setupvalue-c", "/join", "/setlocal", "/setlocal-text",
                       "/setlocal-own", "/setlocal-for"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 500)
                self.wait_for_log(rf" error GET {target} .* debug[.]")
                self.survive()

    def test_functions_of_the_script_stay_its_own(self):
        self.assertEqual(self.ask("/allowed").text, "10 20")
        self.assertEqual(self.ask("/allowed-own").text, "1 20 30")


if __name__ == "__main__":
    unittest.main()
