"""deny_connect: what a handler cannot be made to reach, by whatever name, redirect, socket or store; exceptions; and that
a reload changes the list, for kept connections, too."""

import os
import signal
import tempfile
import unittest
from urllib.parse import quote

import evtest
from origin import Origin

EVSERVE = evtest.binary("EVSERVE_BIN")
SITE = """
local app = require "evserve"
app.set { deny_connect = "%s" }
app.get("/fetch", function(req)
    local res, why, kind = app.fetch(req.query.url, { timeout = "5s" })
    return res and res.body or kind .. ": " .. why
end)
app.get("/connect", function(req)
    local sock, why = app.connect(req.query.to, { timeout = "5s" })
    return sock and "connected" or why
end)
app.get("/udp", function(req)
    return tostring(select(2, app.udp():setpeername(req.query.host, 9)))
end)
"""


class DenyConnect(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.site = os.path.join(folder.name, "site.lua")
        self.origin = Origin({
            "/hello": lambda connection, request: connection.respond(200, "hello"),
            "/away": lambda connection, request: connection.respond(302, "", [
                ("Location", f"http://127.0.0.2:{self.port}/hello")])})
        self.origin.__enter__()
        self.addCleanup(self.origin.__exit__, None, None, None)
        self.port = self.origin.port

    def write(self, text):
        with open(self.site, "w", encoding="utf-8") as file:
            file.write(SITE % text)

    def start(self, text):
        self.write(text)
        server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", self.site)
        self.addCleanup(server.kill)
        return server

    def get(self, server, path, **query):
        target = path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        with evtest.connect(server.address) as sock:
            sock.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            return evtest.receive_all(sock).partition(b"\r\n\r\n")[2].decode()

    def fetch(self, server, host, path="/hello"):
        return self.get(server, "/fetch", url=f"http://{host}:{self.port}{path}")

    def test_private(self):
        server = self.start("private")
        for host, what in (("127.0.0.1", "a loopback address"), ("[::1]", "a loopback address"),
                           ("[::ffff:127.0.0.1]", "a loopback address"), ("0.0.0.0", "an address of this network"),
                           ("10.0.0.1", "a private address"), ("169.254.169.254", "a link-local address"),
                           ("[fe80::1]", "a link-local address"), ("[64:ff9b::a00:1]", "a private address")):
            with self.subTest(host=host):
                answer = self.fetch(server, host)
                self.assertRegex(answer, rf"^denied: .*:{self.port} is {what}: deny_connect denies it$")
        for name in "localhost", "x.localhost":
            self.assertRegex(self.fetch(server, name),
                             rf"^denied: {name}:{self.port} leads to .*, which is a loopback address: deny_connect ")
        self.assertRegex(self.get(server, "/fetch", url="http+unix:/run/x.sock:/"), "^denied: unix:/run/x.sock is a unix")
        self.assertRegex(self.get(server, "/connect", to=f"127.0.0.1:{self.port}"), "is a loopback address")
        self.assertRegex(self.get(server, "/connect", to="unix:/run/x.sock"), "is a unix socket")
        self.assertRegex(self.get(server, "/udp", host="127.0.0.1"), "is a loopback address")
        self.assertRegex(self.get(server, "/udp", host="x.localhost"), "is a loopback address")
        self.assertEqual(server.stop(), 0)

    def test_numbers_that_are_addresses(self):
        """The C library takes 2130706433, 0x7f.1 and 0177.1 for 127.0.0.1."""
        server = self.start("private")
        for host in "2130706433", "0x7f.1", "0177.1", "127.1":
            with self.subTest(host=host):
                self.assertRegex(self.fetch(server, host), "^(denied|resolve|request): ")
        self.assertEqual(server.stop(), 0)

    def test_redirects(self):
        server = self.start("127.0.0.2")
        self.assertEqual(self.fetch(server, "127.0.0.1"), "hello")
        self.assertEqual(self.fetch(server, "127.0.0.1", "/away"),
                         f"denied: 127.0.0.2:{self.port} is in 127.0.0.2: deny_connect denies it")
        self.assertEqual(server.stop(), 0)

    def test_exceptions_and_reload(self):
        server = self.start(f"private, !127.0.0.1:{self.port}")
        self.assertEqual(self.fetch(server, "127.0.0.1"), "hello")
        self.assertEqual(self.get(server, "/connect", to=f"127.0.0.1:{self.port}"), "connected")
        self.assertRegex(self.fetch(server, "127.0.0.2"), "^denied: ")
        self.assertEqual(self.fetch(server, "localhost"), "hello")  # by the address that is excepted
        self.write("private")
        os.kill(server.pid, signal.SIGHUP)
        evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
        self.assertRegex(self.fetch(server, "127.0.0.1"), "^denied: ")  # whose connection was kept
        self.assertEqual(server.stop(), 0)

    def test_a_list_that_is_wrong_is_told_at_the_start(self):
        self.write("10.0.0.1/8")
        done = evtest.run(EVSERVE, "--check", self.site)
        self.assertEqual(done.returncode, 1)
        self.assertIn('app.set: deny_connect: "10.0.0.1/8" is an address within a network: write 10.0.0.0/8', done.stderr)

    def test_it_is_shown(self):
        self.write("private, !127.0.0.1:6379")
        done = evtest.run(EVSERVE, "--check", self.site)
        self.assertRegex(done.stdout, r"deny_connect = private, !127\.0\.0\.1:6379")


if __name__ == "__main__":
    unittest.main()
