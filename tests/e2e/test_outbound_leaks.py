"""Nothing is left behind by handlers that reach other servers, whatever becomes of them: sockets, app.fetch, drivers of
OpenResty, UDP and app.wait, with clients that leave, timeouts, cancelled tasks, servers that close or say nothing,
reloads, and stops in the middle (leaks.py). The server that is asked is another evserve.
"""

import contextlib
import os
import unittest

import evtest
import leaks
import lua_site
from leaks import FAILED, OK, Leaks

PEER = r"""
app.get("/text", function() return "text" end)
app.get("/long", function() return ("x"):rep(100000) end)
app.get("/json", function() return { list = { 1, 2, 3 } } end)
app.get("/redirect", function() return app.redirect "/text" end)
app.get("/round", function() return app.redirect "/round" end)
app.get("/silent", function() app.sleep "1h" end)
app.get("/chunks", function() return function(out) for i = 1, 5 do out:write(("y"):rep(1000)) app.sleep(1) end end end)
app.get("/cut", function() return function(out) out:write "z" error "cut on purpose" end end)
app.post("/echo", function(req) return req.body end)
"""

SCRIPT = r"""
app.set { lua_memory = "16M", drain_timeout = "20s" }
local thread = app.store "threads":incr "n"
local peer = os.getenv "PEER"
local ngx = require "ngx"

local function open(timeout)
    return assert(app.connect(peer, { timeout = timeout or "5s" }))
end
local function ask(socket, path, ending)
    assert(socket:send { "GET ", path, " HTTP/1.1\r\nHost: a\r\n", ending or "", "\r\n" })
end
local function head(socket)
    local length = 0
    for line in function() return assert(socket:receive()) end do
        if line == "" then return length end
        length = tonumber(line:match "^[Cc]ontent%-[Ll]ength: (%d+)") or length
    end
end

app.get("/kept", function()
    local socket = open()
    ask(socket, "/text")
    local text = assert(socket:receive(head(socket)))
    socket:setkeepalive "10ms"
    return text
end)
app.get("/closed", function()
    local socket = open()
    ask(socket, "/long", "Connection: close\r\n")
    head(socket)
    local text = assert(socket:receive "*a")
    local _, err = socket:receive()
    socket:close()
    return #text .. err
end)
app.get("/left-open", function() ask(open(), "/text") return "x" end)
app.get("/until", function()
    local socket = open()
    ask(socket, "/text")
    local read = socket:receiveuntil "\r\n\r\n"
    for piece in function() return (read(20)) end do assert(#piece > 0) end
    return (assert(socket:receive(4)))
end)
app.get("/any", function()
    local socket = open()
    ask(socket, "/long")
    return tostring(#assert(socket:receiveany(100)))
end)
app.get("/udp", function()
    local udp = app.udp()
    udp:settimeout(2)
    assert(udp:setpeername("127.0.0.1", 9))
    udp:send "x"
    return (select(2, udp:receive()))
end)
app.get("/late", function()
    local socket = open()
    ask(socket, "/silent")
    socket:settimeout(2)
    return (select(2, socket:receive()))
end)
app.get("/refused", function() return (select(2, app.connect("127.0.0.1:1", { timeout = "1s" }))) end)
app.get("/no-name", function() return select(2, app.connect("name.invalid:1", { timeout = "1s" })) and "x" end)
app.get("/not-asked", function() open() error "wrong on purpose" end)
app.get("/task", function()
    local task = app.spawn(function() local socket = open() ask(socket, "/silent") socket:receive() end)
    app.sleep(1)
    task:cancel()
    return tostring(select(2, pcall(task.wait, task)))
end)
app.get("/tasks", function()
    local function one() local socket = open() ask(socket, "/text") return socket:receive() end
    return (app.all(one, one, one))
end)
app.get("/tcp", function()
    local socket = ngx.socket.tcp()
    socket:settimeout(5000)
    local host, port = peer:match "^(.*):(%d+)$"
    assert(socket:connect(host, tonumber(port)))
    ask(socket, "/text")
    assert(socket:receive(head(socket)))
    assert(socket:setkeepalive(10, 10))
    return "x"
end)

local url = "http://" .. peer
app.get("/fetch", function() return assert(app.fetch(url .. "/text")).body end)
app.get("/fetch-json", function() return assert(app.fetch(url .. "/json")):json() end)
app.get("/fetch-long", function() return tostring(#assert(app.fetch(url .. "/long")).body) end)
app.get("/fetch-body", function()
    return assert(app.fetch(url .. "/echo", { method = "POST", body = { a = 1 } })).body
end)
app.get("/fetch-redirect", function() return assert(app.fetch(url .. "/redirect")).body end)
app.get("/fetch-round", function() return (select(3, app.fetch(url .. "/round"))) end)
app.get("/fetch-late", function() return (select(3, app.fetch(url .. "/silent", { timeout = 2 }))) end)
app.get("/fetch-large", function() return (select(3, app.fetch(url .. "/long", { max_body = 1000 }))) end)
app.get("/fetch-cut", function() return (select(3, app.fetch(url .. "/cut"))) end)
app.get("/fetch-refused", function() return (select(3, app.fetch "http://127.0.0.1:1/")) end)
app.get("/fetch-wrong", function() assert(app.fetch "gopher://a/") end)
app.get("/fetch-stream", function()
    local res = assert(app.fetch(url .. "/chunks", { stream = true }))
    return function(out) for piece in res:chunks() do out:write(piece) end end
end)
app.get("/fetch-not-read", function()
    return tostring(assert(app.fetch(url .. "/chunks", { stream = true })).status)
end)
app.get("/fetch-task", function()
    local task = app.spawn(app.fetch, url .. "/silent")
    app.sleep(1)
    task:cancel()
    return tostring(select(2, pcall(task.wait, task)))
end)

app.get("/leave-receive", function() local socket = open "1h" ask(socket, "/silent") socket:receive() end)
app.get("/leave-task", function()
    app.all(function() local socket = open "1h" ask(socket, "/silent") socket:receive() end)
end)
app.get("/leave-fetch", function() app.fetch(url .. "/silent", { timeout = "1h" }) end)
app.get("/leave-fetch-stream", function()
    local res = assert(app.fetch(url .. "/chunks", { stream = true }))
    return function(out)
        for piece in res:chunks() do out:write(piece) end
        app.sleep "1h"
    end
end)

app.get("/held", function()
    collectgarbage() collectgarbage()
    return { thread = thread % 2, lua = app.stats().lua_memory, busy = 0 }
end)
"""

WHOLE = {"kept": OK, "closed": OK, "left-open": OK, "until": OK, "any": OK, "udp": OK, "late": OK, "refused": OK, "no-name": OK,
         "not-asked": FAILED, "task": OK, "tasks": OK, "tcp": OK, "fetch": OK, "fetch-json": OK, "fetch-long": OK,
         "fetch-body": OK, "fetch-redirect": OK, "fetch-round": OK, "fetch-late": OK, "fetch-large": OK, "fetch-cut": OK,
         "fetch-refused": OK, "fetch-wrong": FAILED, "fetch-stream": OK, "fetch-not-read": OK, "fetch-task": OK}
LEAVERS = ("leave-receive", "leave-task", "leave-fetch", "leave-fetch-stream")
RESOLVER_THREADS = 4


class OutboundLeaks(Leaks, unittest.TestCase):
    SCRIPT, WHOLE, LEAVERS, THREADS = SCRIPT, WHOLE, LEAVERS, RESOLVER_THREADS * leaks.REACTORS

    def start(self, stack):
        path = stack.enter_context(lua_site.script(PEER, name="peer.lua"))
        peer = stack.enter_context(evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path))
        self.OPTIONS = {"env": {**os.environ, "PEER": f"127.0.0.1:{peer.address[1]}"}}
        return super().start(stack)

    def test_requests_leave_everything_where_it_was(self):
        self.check_that_requests_leave_nothing()

    def test_stops_in_the_middle(self):
        self.check_that_stops_leave_nothing(())


if __name__ == "__main__":
    unittest.main()
