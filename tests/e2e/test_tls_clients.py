"""HTTPS with the clients that users have: curl, openssl s_client, Python's ssl, Chromium, wrk and h2load. Those that
are not installed are skipped. What test_tls.py has already is not here."""

import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest
import zlib

import certificates
import evtest
from lua_site import EVSERVE

SITE = """local app = require "evserve"
app.static("/", "files")
app.get("/tls", function(req) return req.tls.version .. " " .. (req.tls.resumed and "resumed" or "new") .. "\\n" end)
app.get("/client", function(req) return (req.tls.client and req.tls.client.subject or "nobody") .. "\\n" end)
app.put("/length", { max_body = "64M" }, function(req)
    local sum = 0
    for chunk in req:chunks() do sum = sum + #chunk end
    return sum .. "\\n"
end)
"""
BIG = evtest.pattern(3_000_000)
ASK = b"GET /tls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

PAGE = """<!doctype html><html><head><title>page</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css"></head><body><p id="p">nothing</p><img id="i" src="image.png">
<script src="script.js"></script></body></html>
"""
SCRIPT = """window.onload = function () {
    var seen = [location.protocol, getComputedStyle(document.getElementById("p")).color,
                document.getElementById("i").naturalWidth];
    fetch("text.txt").then(function (r) { return r.text(); }).then(function (text) {
        document.getElementById("p").textContent = "seen: " + seen.concat(text).join(" | ");
    });
};
"""


def png(size):
    """A red square."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + b"\xff\0\0" * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


FILES = {"index.html": PAGE.encode(), "style.css": b"p { color: rgb(1, 2, 3) }\n", "script.js": SCRIPT.encode(),
         "image.png": png(48), "text.txt": b"some text", "big.bin": BIG}


def setUpModule():
    certificates.require_tls(EVSERVE)


class Case(unittest.TestCase):
    tool = None  # the program that the tests of a class need

    @classmethod
    def setUpClass(cls):
        if cls.tool and shutil.which(cls.tool) is None:
            raise unittest.SkipTest(f"{cls.tool} is not installed")
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.pair = cls.authority.sign("pair", "localhost", "127.0.0.1")
        os.mkdir(cls.authority.path("files"))
        for name, data in FILES.items():
            with open(os.path.join(cls.folder, "files", name), "wb") as file:
                file.write(data)
        cls.make()

    @classmethod
    def make(cls):
        cls.server = cls.serve("--reactors", "2")

    @classmethod
    def serve(cls, *options, script=SITE, name="site.lua"):
        with open(cls.authority.path(name), "w", encoding="ascii") as file:
            file.write(script)
        server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", "--tls-cert", cls.pair[0], "--tls-key",
                                cls.pair[1], *options, name, cwd=cls.folder)
        return cls.enterClassContext(server)

    def url(self, path, server=None):
        return "https://localhost:%d%s" % ((server or self.server).address[1], path)

    def run_tool(self, *arguments, **options):
        return subprocess.run([self.tool, *arguments], cwd=self.folder, capture_output=True, timeout=evtest.LIMIT,
                              check=False, **options)


class Curl(Case):
    tool = "curl"

    def curl(self, *arguments, **options):
        done = self.run_tool("-sS", "--cacert", "ca.pem", *arguments, **options)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def test_versions(self):
        for version in "1.2", "1.3":
            said = self.curl("--tlsv" + version, "--tls-max", version, self.url("/tls"))
            self.assertEqual(said, b"TLSv%s new\n" % version.encode())

    def test_older_versions_of_http(self):
        """HTTP/1.0 has a name of its own in ALPN, which curl offers alone."""
        self.assertEqual(self.curl("-0", self.url("/big.bin")), BIG)
        self.assertEqual(self.curl("-0", "--no-alpn", self.url("/text.txt")), b"some text")
        self.assertTrue(self.curl("-i", "--http2", self.url("/text.txt")).startswith(b"HTTP/1.1 200 "))

    def test_uploads(self):
        for source in "files/big.bin", "-":  # with a length, and in chunks
            said = self.curl("-T", source, self.url("/length"), input=BIG)
            self.assertEqual(said, b"%d\n" % len(BIG))

    def test_ranges_and_slow_reading(self):
        self.assertEqual(self.curl("-r", "1000000-1000999", self.url("/big.bin")), BIG[1000000:1001000])
        self.assertEqual(self.curl("--limit-rate", "6M", self.url("/big.bin")), BIG)

    def test_connection_is_used_again_and_ends_in_order(self):
        url = self.url("/text.txt")
        done = self.run_tool("-v", "--cacert", "ca.pem", url, url, "-H", "Connection: keep-alive")
        self.assertEqual(done.stdout, b"some text" * 2)
        self.assertIn(b"Re-using existing connection", done.stderr)
        done = self.run_tool("-v", "--cacert", "ca.pem", "-H", "Connection: close", url)
        self.assertRegex(done.stderr, rb"\(IN\), TLS alert, close notify")
        self.assertNotRegex(done.stderr, rb"(?i)unexpected|abrupt|missing")

    def test_client_certificates(self):
        alice = self.authority.sign("alice", subject="/O=Example/CN=alice")
        for rule, of_nobody in ("optional", b"nobody\n"), ("required", None):
            with open(self.authority.path(rule + ".lua"), "w", encoding="ascii") as file:
                file.write(SITE + 'app.tls { cert = "pair.pem", key = "pair-key.pem", client_ca = "ca.pem", '
                                  f'client = "{rule}" }}')
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", rule + ".lua", cwd=self.folder) as server:
                said = self.curl("--cert", alice[0], "--key", alice[1], self.url("/client", server))
                self.assertIn(b"CN=alice", said)
                done = self.run_tool("-sS", "--cacert", "ca.pem", self.url("/client", server))
                self.assertEqual(done.stdout, of_nobody or b"")
                self.assertEqual(done.returncode == 0, of_nobody is not None, done.stderr)
            if of_nobody is None:
                self.assertTrue(any("the client sent no certificate, and one is required" in line
                                    for line in server.lines), server.lines)

    def test_name_that_the_certificate_has_not(self):
        port = self.server.address[1]
        done = self.run_tool("-sS", "--cacert", "ca.pem", "--resolve", f"other.test:{port}:127.0.0.1",
                             f"https://other.test:{port}/")
        self.assertEqual(done.returncode, 60)  # curl's word for a certificate that does not suit


class SClient(Case):
    tool = "openssl"

    @classmethod
    def make(cls):
        cls.authority.sign("shop", "shop.test")
        cls.server = cls.serve("--reactors", "2", name="shop.lua",
                               script=SITE + 'app.tls { cert = "shop.pem", key = "shop-key.pem" }\n'
                                             'app.tls { cert = "pair.pem", key = "pair-key.pem" }\n')

    @classmethod
    def serve(cls, *options, script=SITE, name="site.lua"):
        with open(cls.authority.path(name), "w", encoding="ascii") as file:
            file.write(script)
        return cls.enterClassContext(evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", *options, name,
                                                    cwd=cls.folder))

    def ask(self, *options, name="localhost", request=ASK):
        done = self.run_tool("s_client", "-connect", "127.0.0.1:%d" % self.server.address[1], "-CAfile", "ca.pem",
                             "-verify_return_error", "-servername", name, "-verify_hostname", name, *options,
                             input=request)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_response_ends_in_order(self):
        for version in "-tls1_2", "-tls1_3":
            said = self.ask(version, "-ign_eof")
            self.assertRegex(said, rb"TLSv1\.[23] new\n")
            self.assertTrue(said.endswith(b"closed\n"))
            self.assertIn(b"Verify return code: 0 (ok)", said)

    def test_certificate_is_chosen_by_name(self):
        for name in "localhost", "shop.test", "SHOP.Test":
            self.assertIn(b" new\n", self.ask("-ign_eof", name=name))

    def test_session_is_resumed_by_any_reactor_and_after_a_reload(self):
        for version in "-tls1_2", "-tls1_3":
            with self.subTest(version):
                self.assertIn(b" new\n", self.ask(version, "-ign_eof", "-sess_out", "session" + version))
                for _ in range(6):
                    self.assertIn(b" resumed\n", self.ask(version, "-ign_eof", "-sess_in", "session" + version))
                before = len(self.server.lines)
                self.server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: any("reloaded" in line for line in self.server.lines[before:]), "the reload")
                for _ in range(6):
                    self.assertIn(b" resumed\n", self.ask(version, "-ign_eof", "-sess_in", "session" + version))

    def test_session_of_one_name_is_not_resumed_for_another(self):
        self.ask("-tls1_2", "-ign_eof", "-sess_out", "of-shop", name="shop.test")
        self.assertIn(b" new\n", self.ask("-tls1_2", "-ign_eof", "-sess_in", "of-shop", name="localhost"))

    def test_client_without_tickets(self):
        for version in "-tls1_2", "-tls1_3":
            self.assertIn(b" new\n", self.ask(version, "-ign_eof", "-no_ticket"))

    def test_order_of_ciphers_is_the_servers_except_for_chacha20(self):
        for version, option, aes128, aes256, chacha in (
                ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                 "ECDHE-ECDSA-CHACHA20-POLY1305"),
                ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                 "TLS_CHACHA20_POLY1305_SHA256")):
            for offered, wanted in (([aes128, aes256], aes128), ([aes256, chacha, aes128], aes128),
                                    ([chacha, aes128], chacha), ([aes256], aes256)):
                said = self.ask(version, "-ign_eof", option, ":".join(offered))
                self.assertIn(b"Cipher is " + wanted.encode() + b"\n", said)

    def test_early_close(self):
        before = len(self.server.lines)
        self.ask(request=b"")
        self.ask(request=b"GET /tls HTTP/1.1\r\nHost: loc")
        self.assertIn(b" new\n", self.ask("-ign_eof"))
        self.assertEqual(self.server.lines[before:], [])

    def test_no_renegotiation_but_new_keys(self):
        """s_client asks for them by a line with one letter."""
        arguments = [self.tool, "s_client", "-connect", "127.0.0.1:%d" % self.server.address[1], "-CAfile", "ca.pem"]
        for version, letter, wanted in ("-tls1_2", b"R\n", b"no renegotiation"), ("-tls1_3", b"K\n", b" new\n"):
            with subprocess.Popen([*arguments, version], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT) as client:
                lines = iter(client.stdout.readline, b"")
                self.assertTrue(any(b"Verify return code" in line for line in lines))
                client.stdin.write(letter)
                client.stdin.flush()
                if letter == b"K\n":
                    self.assertTrue(any(b"KEYUPDATE" in line for line in lines))
                    client.stdin.write(ASK)
                    client.stdin.flush()
                said = b"".join(lines) if letter == b"R\n" else next(line for line in lines if wanted in line)
                client.kill()
            self.assertIn(wanted, said)


class PythonSsl(Case):
    def connect(self):
        sock = self.authority.client().wrap_socket(evtest.connect(self.server.address), server_hostname="localhost",
                                                   suppress_ragged_eofs=False)
        self.addCleanup(sock.close)
        return sock

    def test_unwrap_at_the_end(self):
        """Both sides say that they end: before anything was asked, while the connection is kept, and after its end."""
        for request in b"", b"GET /text.txt HTTP/1.1\r\nHost: a\r\n\r\n", ASK:
            sock = self.connect()
            if request:
                sock.sendall(request)
                self.assertTrue(sock.recv(9999).startswith(b"HTTP/1.1 200 "))
            if request == ASK:
                self.assertEqual(sock.recv(1), b"")
            sock.unwrap().close()

    def test_bodies_both_ways_at_once(self):
        """A client that sends requests and reads nothing meanwhile, then reads all."""
        request = b"PUT /length HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG
        sock = self.connect()
        sock.sendall(request + b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + ASK)
        said = evtest.receive_all(sock)
        self.assertEqual(said.count(BIG), 3)
        self.assertTrue(said.endswith(b" new\n"))

    def test_client_that_has_ended_gets_the_response_that_it_asked_for(self):
        """close_notify ends one direction (RFC 8446, section 6.1)."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with evtest.connect(self.server.address) as raw:
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65536))
            client.write(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                client.unwrap()
            except ssl.SSLWantReadError:
                pass
            raw.sendall(outgoing.read())
            self.assertGreater(len(evtest.receive_all(raw)), len(BIG))

    def test_client_that_vanishes_leaves_nothing_behind(self):
        fds = self.server.fd_count()
        for request in b"", b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n", b"PUT /length HTTP/1.1\r\nHost: a\r\nContent-":
            sock = self.connect()
            sock.sendall(request)
            with socket.socket(fileno=sock.detach()) as raw:
                evtest.reset(raw)
        evtest.wait_until(lambda: self.server.fd_count() <= fds + 1, "the server's fds are closed")  # and a file


class Browser(Case):
    tool = "chromium"

    def test_page(self):
        """With its style, script and image, and nothing on the console."""
        done = self.run_tool("--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
                             "--user-data-dir=" + self.authority.path("profile"), "--enable-logging=stderr",
                             "--virtual-time-budget=5000", "--dump-dom", self.url("/"), text=True)
        self.assertIn("seen: https: | rgb(1, 2, 3) | 48 | some text", done.stdout, done.stderr[-2000:])
        self.assertNotIn("CONSOLE", done.stderr)


class Load(Case):
    def rate(self, tool, *arguments):
        self.tool = tool
        if shutil.which(tool) is None:
            self.skipTest(f"{tool} is not installed")
        done = self.run_tool(*arguments, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_wrk(self):
        said = self.rate("wrk", "-t1", "-c32", "-d1", self.url("/text.txt"))
        self.assertRegex(said, r"[1-9]\d* requests in")
        self.assertNotRegex(said, r"Non-2xx|Socket errors")

    def test_h2load(self):
        said = self.rate("h2load", "--h1", "-n2000", "-c16", self.url("/text.txt"), self.url("/style.css"))
        self.assertRegex(said, re.escape("2000 succeeded, 0 failed, 0 errored, 0 timeout"))


if __name__ == "__main__":
    unittest.main()
