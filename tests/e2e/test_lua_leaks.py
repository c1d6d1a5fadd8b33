"""Nothing is left behind by handlers that wait, whatever becomes of them: workers, stores, tasks, semaphores, channels and
shields, with clients that leave, timeouts, cancelled tasks, reloads, and stops in the middle (leaks.py).
tests/unit/lua/test_lua_leaks.c counts exactly, with one thread and no workers.
"""

import unittest

from leaks import BUSY, FAILED, OK, Leaks

MODULE = r"""
local app = require "evserve"
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
local calls = app.store "calls"
local m = {}
function m.echo(...) return ... end
function m.nap(ms) ffi.C.usleep(ms * 1000) return ms end
function m.fail() error { code = 7 } end
function m.bad() return print end
function m.eat() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
function m.count() return calls:incr "n" end
return m
"""

SCRIPT = r"""
app.set { lua_memory = "16M", drain_timeout = "20s" }
local store = app.store("data", { size = "64K" })
local thread = app.store "threads":incr "n"
local work = app.worker("m.lua", { threads = 2, queue = 1000, memory = "4M" })
local one = app.worker("m.lua", { threads = 1, queue = 2, timeout = "5ms" })
local sem, channel = app.semaphore(0), app.channel(1)
local text = ("y"):rep(2000)

app.get("/call", function() return tostring(work.echo(7)) end)
app.get("/table", function() return work.echo { 1, { a = "b", c = app.json.null } } end)
app.get("/long", function() return work.echo(("x"):rep(20000)) end)
app.get("/count", function() return tostring(work.count()) end)
app.get("/fail", function() work.fail() end)
app.get("/bad", function() work.bad() end)
app.get("/eat", function() work.eat() end)
app.get("/argument", function() work.echo({ print }) end)
app.get("/unknown", function() work.no_such() end)
app.get("/timeout", function() one.nap(8) end)
app.get("/busy", function() app.all(function() one.nap(1) end, function() one.nap(1) end, function() one.nap(1) end,
                                    function() one.nap(1) end, function() one.nap(1) end) end)
app.get("/all", function() return { app.all(function() return work.nap(1) end, function() return work.echo(2) end) } end)
app.get("/race", function() return app.race(function() work.nap(3) return "a" end, function() app.sleep(1) return "b" end) end)
app.get("/cancel", function()
    local task = app.spawn(work.nap, 2)
    app.sleep(1)
    task:cancel()
    return tostring(select(2, pcall(task.wait, task)))
end)
app.get("/late", function() local task = app.spawn(work.nap, 3) local n, why = task:wait(1) return why or tostring(n) end)
app.get("/detached", function() app.spawn({ detached = true }, work.nap, 1) return "x" end)
app.get("/defer", function() app.defer(function() work.echo "x" end) return "x" end)
app.get("/stream", function() return function(out) for i = 1, 3 do out:write(work.echo(text)) end end end)
app.get("/coroutine", function() return coroutine.wrap(function() return work.echo "x" end)() end)
app.get("/store", function(req)
    local key = req.id
    store:set(key, { list = { 1, 2, { text } } }, "20ms")
    store:add(key .. "+", text)
    store:incr("n", 1, 0, "1s")
    store:expire(key .. "+", 5)
    store:once("once", "1ms")
    local found, ttl = store:get(key), store:ttl(key)
    store:delete(key .. "-")
    return { #store:keys("", 10), store:stats().keys > 0 }
end)
app.get("/store-wrong", function() store:set("text", "x") store:incr "text" end)
app.get("/store-value", function() store:set("f", { a = { print } }) end)
app.get("/store-large", function() store:set("large", ("x"):rep(100000)) end)
app.get("/flush", function() store:flush() return "x" end)
app.get("/semaphore", function() app.spawn(function() app.sleep(1) sem:post() end) sem:wait(50) return select(2, sem:wait(1)) or "taken" end)
app.get("/channel", function()
    local own = app.channel(1)
    app.spawn(function() for i = 1, 3 do own:send(i) end own:close() end)
    local sum = 0
    for value in own:each() do sum = sum + value end
    return { sum, select(2, channel:receive(1)) }
end)
app.get("/shield", function() return tostring(app.shield(work.nap, 1)) end)
app.get("/deadline", { handler_cpu = 1 }, function() work.echo "x" while true do end end)

app.get("/leave-call", function() work.nap(3) return "x" end)
app.get("/leave-queue", function() app.all(function() one.nap(3) end, function() one.nap(3) end) end)
app.get("/leave-shield", function() app.shield(function() work.nap(2) work.echo(text) end) return "x" end)
app.get("/leave-finish", { finish = true }, function() work.nap(2) store:incr "finished" return "x" end)
app.get("/leave-semaphore", function() sem:wait "1h" end)
app.get("/leave-channel", function() app.all(function() channel:receive "1h" end, function() app.sleep "1h" end) end)
app.get("/leave-stream", function() return function(out) while out:write(work.echo(text)) do end end end)

app.get("/held", function()
    collectgarbage() collectgarbage()
    local workers = app.stats().workers
    return { thread = thread % 2, lua = app.stats().lua_memory,
             busy = workers[1].busy + workers[1].waiting + workers[2].busy + workers[2].waiting }
end)
"""

WHOLE = {"call": OK, "table": OK, "long": OK, "count": OK, "fail": FAILED, "bad": FAILED, "eat": FAILED, "argument": FAILED,
         "unknown": FAILED, "timeout": BUSY, "busy": BUSY, "all": OK, "race": OK, "cancel": OK, "late": OK,
         "detached": OK, "defer": OK, "stream": OK, "coroutine": OK, "store": OK, "store-wrong": FAILED,
         "store-value": FAILED, "store-large": FAILED, "flush": OK, "semaphore": OK, "channel": OK, "shield": OK,
         "deadline": (503,)}
LEAVERS = ("leave-call", "leave-queue", "leave-shield", "leave-finish", "leave-semaphore", "leave-channel", "leave-stream")


class LuaLeaks(Leaks, unittest.TestCase):
    SCRIPT, FILES, WHOLE, LEAVERS, THREADS = SCRIPT, (("m.lua", MODULE),), WHOLE, LEAVERS, 3

    def test_requests_leave_everything_where_it_was(self):
        self.check_that_requests_leave_nothing()

    def test_stops_in_the_middle(self):
        self.check_that_stops_leave_nothing(name for name in LEAVERS if name not in ("leave-semaphore", "leave-channel"))


if __name__ == "__main__":
    unittest.main()
