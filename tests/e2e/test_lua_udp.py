"""app.udp in Lua sites, run by the real program: datagrams to and from a socket of the test's."""

import os
import signal
import socket
import tempfile
import threading
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class Udp(SiteCase):
    SCRIPT = r"""
    local state = { lines = {} }
    local function note(text) state.lines[#state.lines + 1] = text end
    local function text(...)
        local list = { ... }
        for i = 1, select("#", ...) do list[i] = tostring(list[i]) end
        return table.concat(list, " ")
    end
    local function open(req, timeout)
        local socket = app.udp()
        socket:settimeout(timeout or "10s")
        assert(socket:setpeername("127.0.0.1", tonumber(req.params.port)))
        return socket
    end

    app.get("/state", function() return state end)
    app.get("/echo/:port", function(req)
        local socket = open(req)
        local sent = socket:send(req.query.data or "")
        local data = socket:receive()
        return text(sent, #data, data, socket:close(), socket:close())
    end)
    app.get("/list/:port", function(req)
        local socket = open(req)
        socket:send { "a", { 1, { "b", 2.5 } }, 1e15, "c" }
        return text(socket:receive())
    end)
    app.get("/binary/:port", function(req)
        local socket = open(req)
        local long = ("\0\255"):rep(20000)
        socket:send(long)
        return text(socket:receive() == long, socket:send(("x"):rep(65508)))
    end)
    app.get("/size/:port", function(req)
        local socket = open(req)
        socket:send "abcdef"
        local first = socket:receive(3)
        socket:send "ghi"
        return text(first, socket:receive(100000))
    end)
    app.get("/flood/:port", function(req)
        local socket, turns, is_over = open(req), 0, false
        for _ = 1, 150 do socket:send "x" end
        app.spawn(function() while not is_over do app.sleep(0) turns = turns + 1 end end)
        app.sleep "100ms"
        turns = 0
        for _ = 1, 150 do assert(socket:receive()) end
        is_over = true
        socket:settimeout(5)
        return text(turns > 0, socket:receive())
    end)
    app.get("/late/:port", function(req)
        local socket = open(req, 5)
        local first = text(socket:receive())
        socket:settimeout(0)
        return first .. " " .. text(socket:receive())
    end)
    app.get("/refused/:port", function(req)
        local socket = open(req)
        return text(socket:send "x") .. " " .. text(socket:receive()) .. " " .. text(socket:send "x")
    end)
    app.get("/refused-send/:port", function(req)
        local socket = open(req)
        socket:send "x"
        app.sleep(5)
        return text(socket:send "x")
    end)
    app.get("/two/:port", function(req)
        local socket = open(req)
        local task = app.spawn(function() return socket:receive() end)
        app.sleep(1)
        local busy = text(socket:receive())
        socket:send "x"
        return busy .. " " .. text(task:wait())
    end)
    app.get("/closed/:port", function(req)
        local socket = open(req)
        local task = app.spawn(function() return socket:receive() end)
        app.sleep(1)
        socket:close()
        return text(task:wait()) .. " " .. text(socket:receive()) .. " " .. text(socket:send "x")
    end)
    app.get("/again/:port", function(req)
        local socket = open(req)
        assert(socket:setpeername("localhost", tonumber(req.params.port)))
        socket:send "x"
        return socket:receive()
    end)
    local early = app.udp()
    early:setpeername("127.0.0.1", tonumber(PORT))
    local early_text = text(early:send "x")
    app.get("/early", function()
        early:send "y"
        return early_text .. " " .. text(early:receive())
    end)
    app.get("/name/:name/:port", function(req)
        local socket = app.udp()
        socket:settimeout "300ms"
        local ok, err = socket:setpeername(req.params.name, tonumber(req.params.port))
        if not ok then return text(ok, err) end
        socket:send "x"
        return socket:receive()
    end)
    app.get("/unix", function(req)
        local socket = app.udp()
        local ok, err = socket:setpeername("unix:" .. req.query.path)
        if not ok then return text(ok, err) end
        socket:send "x"
        return socket:receive()
    end)
    app.get("/ipv6/:port", function(req)
        local socket = app.udp()
        local ok, err = socket:setpeername("[::1]", tonumber(req.params.port))
        if not ok then return text(ok, err) end
        socket:send "x"
        return socket:receive()
    end)
    app.get("/inside/:port", function(req)
        local socket = open(req)
        socket:send "slow"
        return coroutine.wrap(function() coroutine.yield(socket:receive()) end)()
    end)
    app.get("/stay/:port", function(req)
        local socket = open(req)
        note "stays"
        local ok, err = pcall(socket.receive, socket)
        note(tostring(err))
        error(err, 0)
    end)
    app.get("/cancel/:port", function(req)
        local socket = open(req)
        local task = app.spawn(function() socket:receive() end)
        app.sleep(1)
        task:cancel()
        local ok, err = pcall(task.wait, task)
        socket:send "x"
        return text(err, socket:receive())
    end)
    app.get("/lost/:port", function(req) -- more than there may be
        for i = 1, 1100 do open(req) end
        return "ok"
    end)
    app.get("/kept/:port", function(req)
        local list = {}
        for i = 1, 1002 do
            list[i] = app.udp()
            local ok, err = list[i]:setpeername("127.0.0.1", tonumber(req.params.port))
            if not ok then
                for j = 1, i - 1 do list[j]:close() end
                return text(i, err)
            end
        end
    end)
    app.get("/unconnected", function()
        local socket = app.udp()
        return text(socket:send "x") .. ", " .. text(socket:receive()) .. ", " .. text(socket:close())
    end)
    app.get("/wrong/:n{int}", function(req)
        local socket = app.udp()
        local deep = {}
        for i = 1, 40 do deep = { deep } end
        local wrong = {
            function() socket:setpeername() end,
            function() socket:setpeername("127.0.0.1") end,
            function() socket:setpeername("127.0.0.1", 0) end,
            function() socket:setpeername("127.0.0.1", 65536) end,
            function() socket:setpeername("127.0.0.1", 1.5) end,
            function() socket:setpeername("unix:") end,
            function() socket:setpeername("unix:/" .. ("x"):rep(107)) end,
            function() socket.send("x") end,
            function() socket:send(nil) end,
            function() socket:send { {}, { true } } end,
            function() socket:send(deep) end,
            function() socket:send(("x"):rep(65536)) end,
            function() socket:settimeout "soon" end,
            function() socket:setpeername("127.0.0.1", 9) socket:receive(0) end,
            function() socket:setpeername("127.0.0.1", 9) socket:receive("5") end,
            function() socket:send { visits = 1 } end,
            function() app.udp("127.0.0.1", 9) end,
        }
        return select(2, pcall(wrong[tonumber(req.params.n)]))
    end)
    local socket = app.udp()
    socket:setpeername("127.0.0.1", 9)
    local named = select(2, pcall(socket.setpeername, socket, "localhost.localdomain", 9))
    app.get("/named", function() return named end)
    socket:setpeername("127.0.0.1", 9)
    local started = select(2, pcall(socket.receive, socket))
    app.get("/started", function() return started end)
    """

    @classmethod
    def setUpClass(cls):
        cls.echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        cls.echo.bind(("127.0.0.1", 0))
        cls.port = cls.echo.getsockname()[1]
        cls.SCRIPT = f"local PORT = {cls.port}\n" + cls.SCRIPT
        cls.thread = threading.Thread(target=cls.serve, args=(cls.echo,), daemon=True)
        super().setUpClass()
        cls.thread.start()

    @classmethod
    def tearDownClass(cls):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", cls.echo.getsockname())
        cls.thread.join()
        cls.echo.close()
        super().tearDownClass()

    @staticmethod
    def serve(sock):
        data = b""
        while data != b"end":
            data, peer = sock.recvfrom(65536)
            if data == b"slow":
                threading.Event().wait(0.02)
            sock.sendto(data, peer)

    def text(self, target):
        return self.ask(target).text

    def free_port(self):
        """A port of UDP on which nobody receives."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def test_datagrams(self):
        self.assertEqual(self.text(f"/echo/{self.port}?data=hello"), "1 5 hello 1 nil closed")
        self.assertEqual(self.text(f"/echo/{self.port}"), "1 0  1 nil closed")
        self.assertEqual(self.text(f"/list/{self.port}"), "a1b2.51000000000000000c")
        self.assertEqual(self.text(f"/binary/{self.port}"), "true nil message too long")
        self.assertEqual(self.text(f"/size/{self.port}"), "abc ghi")
        self.assertEqual(self.text(f"/again/{self.port}"), "x")
        self.assertEqual(self.text(f"/inside/{self.port}"), "slow")

    def test_timeouts(self):
        self.assertEqual(self.text(f"/late/{self.port}"), "nil timeout nil timeout")

    def test_a_fast_sender_leaves_others_their_turns(self):
        self.assertEqual(self.text(f"/flood/{self.port}"), "true nil timeout")

    def test_nobody_listens(self):
        port = self.free_port()
        self.assertEqual(self.text(f"/refused/{port}"), "1 nil connection refused 1")
        self.assertEqual(self.text(f"/refused-send/{port}"), "nil connection refused")

    def test_two_coroutines(self):
        self.assertEqual(self.text(f"/two/{self.port}"), "nil socket busy reading x")
        self.assertEqual(self.text(f"/closed/{self.port}"), "nil closed nil closed nil closed")
        self.assertEqual(self.text(f"/cancel/{self.port}"), "the task was cancelled x")

    def test_unix_sockets(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            path = os.path.join(folder, "echo.sock")
            self.assertEqual(self.text(f"/unix?path={path}"), "nil no such file or directory")
            for name in (path, f"\0evserve-test-{os.getpid()}"):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                    sock.bind(name)
                    thread = threading.Thread(target=lambda: sock.sendto(*sock.recvfrom(100)), daemon=True)
                    thread.start()
                    self.assertEqual(self.text("/unix?path=" + name.replace("\0", "@")), "x")
                    thread.join()

    def test_ipv6(self):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("::1", 0))
            except OSError:
                self.skipTest("this machine has no IPv6")
            thread = threading.Thread(target=lambda: sock.sendto(*sock.recvfrom(100)), daemon=True)
            thread.start()
            self.assertEqual(self.text(f"/ipv6/{sock.getsockname()[1]}"), "x")
            thread.join()

    def test_names(self):
        """test_sandbox_connect.py has a DNS server of its own; here, nobody may be there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            thread = threading.Thread(target=lambda: sock.sendto(*sock.recvfrom(100)), daemon=True)
            thread.start()
            self.assertEqual(self.text(f"/name/localhost/{sock.getsockname()[1]}"), "x")
            thread.join()
        self.assertRegex(self.text("/name/nobody.invalid/9"),
                         r"^nil (timeout|nobody\.invalid could not be resolved \(.*\))$")
        self.assertEqual(self.text("/name/no%20name/9"), 'nil "no name" is no name of a host')
        self.assertEqual(self.text(f"/again/{self.port}"), "x")

    def test_a_socket_of_the_start(self):
        self.assertEqual(self.text("/early"), "nil closed y")

    def test_a_reload_makes_them_anew(self):
        for _ in range(2):
            before = self.log_count("reloaded")
            self.server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: self.log_count("reloaded") > before, "the reload")
            self.assertEqual(self.text("/early"), "nil closed y")

    def test_the_client_leaves(self):
        with Client(self.server) as client:
            client.send("GET", f"/stay/{self.port}")
            evtest.wait_until(lambda: "stays" in self.ask("/state").json["lines"], "the wait")
            client.reset()
        evtest.wait_until(lambda: "the client has gone" in self.ask("/state").json["lines"], "the end of the wait")

    def test_the_limit(self):
        self.assertRegex(self.text(f"/kept/{self.port}"), r"^100[01] too many sockets$")  # one may be the script's
        self.assertEqual(self.text(f"/lost/{self.port}"), "ok")

    def test_mistakes(self):
        self.assertEqual(self.text("/unconnected"), "nil closed, nil closed, nil closed")
        for number, text in enumerate((
                'udp:setpeername: an address such as "127.0.0.1" expected, got nil',
                "udp:setpeername: a port from 1 to 65535 expected, got nil",
                "udp:setpeername: a port from 1 to 65535 expected, got 0",
                "udp:setpeername: a port from 1 to 65535 expected, got 65536",
                "udp:setpeername: a port from 1 to 65535 expected, got 1.5",
                "udp:setpeername: the path of a unix socket has 1 to 107 bytes",
                "udp:setpeername: the path of a unix socket has 1 to 107 bytes",
                "udp:send: call it as a method, with a colon",
                "udp:send: text, a number or a list of these expected, got nil",
                "udp:send: text, a number or a list of these expected, got boolean",
                "udp:send: tables are nested more than 32 deep",
                "udp:send: a datagram of more than 65535 bytes",
                "udp:settimeout: ",
                "udp:receive: at least one byte expected, got 0",
                "udp:receive: at least one byte expected, got string",
                "udp:send: a list expected, got a table with named fields",
                "app.udp: no arguments expected: udp:setpeername(host, port) says where datagrams go",
        ), 1):
            self.assertIn(text, self.text(f"/wrong/{number}"))
        self.assertIn("udp:receive cannot wait while the script starts", self.text("/started"))
        self.assertIn("udp:setpeername cannot wait while the script starts", self.text("/named"))


class Denied(unittest.TestCase):
    def test_deny_connect(self):
        site = """
        app.set { deny_connect = "private" }
        local early = app.udp()
        early:setpeername("127.0.0.1", 9)
        local function try(...)
            local ok, err = app.udp():setpeername(...)
            return tostring(ok) .. " " .. tostring(err)
        end
        app.get("/", function()
            return { try("127.0.0.1", 9), try("[::1]", 9), try("unix:@x"), try("localhost", 9), tostring(select(2, early:send "x")) }
        end)
        """
        with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, \
                Client(server) as client:
            for text in client.ask("GET", "/").json:
                self.assertIn("deny_connect denies it", text)


if __name__ == "__main__":
    unittest.main()
