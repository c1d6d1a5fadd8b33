"""A day of a server with HTTPS: on sockets that were given to it and on unix sockets, in the sandbox and as another
user, through reloads and new certificates under load, to a stop while clients are in the middle of their handshakes."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import unittest

import certificates
import evtest
import side_by_side
from lua_site import EVSERVE
from test_tls import IN_SANDBOX

SITE = """local app = require "evserve"
app.get("/", function(req) return req.scheme .. "\\n" end)
app.get("/slow", function() app.sleep "300ms" return "slow\\n" end)
"""
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def setUpModule():
    certificates.require_tls(EVSERVE)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="ev"))
        os.chmod(self.folder, 0o755)
        self.authority = certificates.Authority(self.folder)
        for name in "one", "two":
            self.authority.sign(name, "localhost")
        self.lead_to("one")
        with open(self.authority.path("site.lua"), "w", encoding="ascii") as file:
            file.write(SITE)

    def lead_to(self, name):
        """live.pem and live-key.pem are links, and change one after the other, as certbot has it."""
        for suffix in ".pem", "-key.pem":
            os.symlink(name + suffix, self.authority.path("new"))
            os.rename(self.authority.path("new"), self.authority.path("live" + suffix))

    def serve(self, listen="127.0.0.1:0?tls", *options, **popen):
        return self.enterContext(evtest.Program(EVSERVE, "--listen", listen, "--tls-cert", "live.pem", "--tls-key",
                                                "live-key.pem", *options, "site.lua", cwd=self.folder, env=IN_SANDBOX,
                                                **popen))

    def wrap(self, raw):
        self.addCleanup(raw.close)
        sock = self.authority.client().wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
        self.addCleanup(sock.close)
        return sock

    def ask(self, address, request=ASK):
        """The response, and the serial number of the certificate."""
        sock = self.wrap(evtest.connect(address))
        sock.sendall(request)
        return evtest.receive_all(sock).rpartition(b"\r\n\r\n")[2], sock.getpeercert()["subject"][0][0][1]

    def reload(self, server, wanted="reloaded"):
        before = len(server.lines)
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: any(wanted in line for line in server.lines[before:]), f"{wanted}: {server.lines}")


class Listeners(Case):
    def test_socket_that_was_given(self):
        """As systemd gives them, at the numbers that its environment names."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            server = self.serve(f"fd:{listener.fileno()}?tls", pass_fds=[listener.fileno()])
        self.assertEqual(self.ask(address), (b"https\n", "one"))
        self.lead_to("two")
        self.reload(server)
        self.assertEqual(self.ask(address), (b"https\n", "two"))

    def test_unix_socket(self):
        self.serve("unix:live.sock?tls&mode=660")
        path = self.authority.path("live.sock")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)
        self.assertEqual(self.ask(path), (b"https\n", "one"))
        if shutil.which("curl") is not None:
            done = evtest.run("curl", "-sS", "--cacert", "ca.pem", "--unix-socket", "live.sock", "https://localhost/",
                              cwd=self.folder)
            self.assertEqual((done.stdout, done.stderr), ("https\n", ""))

    def test_sandbox_and_another_user(self):
        """The key is read while the server is root. Later the user must be able to, or the old one stays."""
        if os.getuid() != 0:
            self.skipTest("only root can become another user")
        server = self.serve("127.0.0.1:0?tls", "--user", "nobody", "--sandbox", "--reactors", "2")
        self.assertEqual(self.ask(server.address), (b"https\n", "one"))
        self.lead_to("two")
        self.reload(server, "certificate in use is kept: cannot read the private key live-key.pem: Permission denied")
        self.assertEqual(self.ask(server.address), (b"https\n", "one"))
        os.chown(self.authority.path("two-key.pem"), pwd.getpwnam("nobody").pw_uid, -1)
        self.reload(server)
        evtest.wait_until(lambda: self.ask(server.address) == (b"https\n", "two"), "the new certificate")


class Load(Case):
    def test_new_certificates_under_load_fail_no_request(self):
        if shutil.which("wrk") is None:
            self.skipTest("wrk is not installed")
        server = self.serve("127.0.0.1:0?tls", "--reactors", "2")
        url = "https://localhost:%d/" % server.address[1]
        runs = [subprocess.Popen(["wrk", "-t1", "-c8", "-d2", *fields, url], stdout=subprocess.PIPE, text=True)
                for fields in ([], ["-H", "Connection: close"])]  # on connections that stay, and a new one for each
        replaced = 0
        while any(run.poll() is None for run in runs):
            name = "two" if replaced % 2 == 0 else "one"
            self.lead_to(name)
            self.reload(server)
            self.assertEqual(self.ask(server.address), (b"https\n", name))
            replaced += 1
        for run in runs:
            said = run.communicate()[0]
            self.assertRegex(said, r"[1-9]\d* requests in")
            self.assertNotRegex(said, r"Non-2xx|Socket errors")
        self.assertGreater(replaced, 1)


class Stops(Case):
    def test_requests_are_served_and_handshakes_end(self):
        """A stop waits for requests, not for clients that have sent none: those in the handshake, and after it."""
        server = self.serve()
        out = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.authority.client().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
        hello = out.read()
        waiting = []
        for part in hello[:1], hello[:100], hello:
            sock = evtest.connect(server.address)
            self.addCleanup(sock.close)
            sock.sendall(part)
            waiting.append(sock)
        self.assertEqual(len(waiting[2].recv(1)), 1)
        idle, busy = self.wrap(evtest.connect(server.address)), self.wrap(evtest.connect(server.address))
        idle.sendall(ASK.replace(b"Connection: close\r\n", b""))
        self.assertIn(b" 200 ", idle.recv(9999))
        busy.sendall(ASK.replace(b"/ ", b"/slow ", 1))
        evtest.wait_until_read(busy)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(idle.recv(1), b"")  # with close_notify
        for sock in waiting:
            with contextlib.suppress(ConnectionResetError):
                evtest.receive_all(sock)
        self.assertTrue(evtest.receive_all(busy).endswith(b"\r\n\r\nslow\n"))
        self.assertEqual(server.process.wait(evtest.LIMIT), 0)
        self.assertEqual([line for line in server.lines if re.search("warn|error", line)], [])


if __name__ == "__main__":
    side_by_side.main()
