"""Nothing is left behind by stores in Redis, app.udp and app.wait, whatever becomes of their handlers: clients that leave,
timeouts, cancelled tasks, reloads, and stops in the middle. EVSERVE_REQUESTS=100000 plays that many."""

import contextlib
import os
import socket
import unittest
import unittest.mock

import leaks
import redis_server

FAILED, OK = leaks.FAILED, leaks.OK

SCRIPT = r"""
local ffi = require "ffi"
ffi.cdef "int pipe(int fds[2]); int close(int fd);"
local thread = app.store "threads":incr "n"
local there = app.store("there", { redis = "redis://127.0.0.1:%(redis)d" })
local silent = app.store("silent", { redis = "redis://127.0.0.1:%(silent)d", timeout = "5ms" })
local mute = app.store("mute", { redis = "redis://127.0.0.1:%(silent)d", timeout = "1h" })
local dead = app.store("dead", { redis = "redis://127.0.0.1:1" })
local text, busy = ("x"):rep(3000), 0
local function count(fn)
    return function(req)
        busy = busy + 1
        local ok, a, b = pcall(fn, req)
        busy = busy - 1
        if not ok then error(a, 0) end
        return a, b
    end
end
local function route(path, fn) app.get(path, count(fn)) end
local function pipe(fn)
    local fds = ffi.new "int[2]"
    ffi.C.pipe(fds)
    local ok, a = pcall(fn, fds[0], fds[1])
    ffi.C.close(fds[0])
    ffi.C.close(fds[1])
    if not ok then error(a, 0) end
    return tostring(a)
end
local function udp(port)
    local socket = app.udp()
    socket:settimeout "3ms"
    socket:setpeername("127.0.0.1", port)
    socket:send "x"
    return socket
end

app.get("/held", function()
    collectgarbage() collectgarbage()
    return { thread = thread %% 2, lua = app.stats().lua_memory, busy = busy }
end)
route("/set", function(req) there:set("k", text, "1m") return "x" end)
route("/get", function(req) return tostring(there:get "k") end)
route("/table", function(req) there:set("t", { text, { 1, 2 } }) return there:get "t" end)
route("/incr", function(req) return tostring(there:incr("n", 1, 0, "1m")) end)
route("/keys", function(req) return #there:keys() .. "" end)
route("/silent", function(req) return tostring(silent:get "k") end)
route("/dead", function(req) return tostring(dead:get "k") end)
route("/cancel", function(req)
    local task = app.spawn(function() mute:get "k" end)
    app.sleep(1)
    task:cancel()
    return "x"
end)
route("/wait", function(req) return pipe(function(from) return app.wait(from, "read", 1) end) end)
route("/udp", function(req) return tostring(select(2, udp(%(silent)d):receive())) end)
route("/udp-lost", function(req) udp(%(silent)d) return "x" end)
route("/leave-redis", function(req) mute:get "k" end)
route("/leave-wait", function(req) pipe(function(from) app.wait(from, "read", "1h") end) end)
route("/leave-udp", function(req)
    local socket = udp(%(silent)d)
    socket:settimeout "1h"
    socket:receive()
end)
"""


class Redis(leaks.Leaks, unittest.TestCase):
    WHOLE = {"set": OK, "get": OK, "table": OK, "incr": OK, "keys": OK, "silent": FAILED, "dead": FAILED, "cancel": OK, "wait": OK,
             "udp": OK, "udp-lost": OK}
    LEAVERS = ("leave-redis", "leave-wait", "leave-udp")

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.redis = redis = self.stack.enter_context(redis_server.running())
        silent = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
        self.SCRIPT = SCRIPT % {"redis": redis.port, "silent": silent.getsockname()[1]}

    def kept(self):
        """This command comes by a connection, too."""
        return self.redis.command("CLIENT", "LIST").count(b"\n") - 1

    @unittest.mock.patch("leaks.REQUESTS", int(os.environ.get("EVSERVE_REQUESTS", "60")))
    def test_requests_leave_nothing(self):
        self.check_that_requests_leave_nothing()

    def test_stops_leave_nothing(self):
        self.check_that_stops_leave_nothing(self.LEAVERS)


if __name__ == "__main__":
    unittest.main()
