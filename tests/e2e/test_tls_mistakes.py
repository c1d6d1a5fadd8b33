"""Clients that speak the wrong thing, or ask for the wrong host, with curl and openssl s_client: what they get, and the
one line that the log has of each."""

import re
import shutil
import subprocess
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE, HEAD

SITE = HEAD + """
app.listen "127.0.0.1:0?tls"
app.listen "127.0.0.1:0"
app.tls { cert = "open.pem", key = "open-key.pem" }
app.tls { cert = "closed.pem", key = "closed-key.pem", client_ca = "ca.pem" }
app.get("/", function(req) return req.headers.host .. "\\n" end)
"""


def setUpModule():
    certificates.require_tls(EVSERVE)


def run(*command, text=""):
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=evtest.LIMIT, check=False)


class Mistakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.authority.sign("open", "open.test")
        cls.authority.sign("closed", "closed.test")
        cls.alice = cls.authority.sign("alice")
        with open(cls.authority.path("site.lua"), "w", encoding="ascii") as file:
            file.write(SITE)

    def setUp(self):
        """A server for each test: five lines in ten seconds are all that one writes."""
        self.server = self.enterContext(evtest.Program(EVSERVE, "site.lua", cwd=self.folder))
        evtest.wait_until(lambda: len(self.server.lines) >= 2, "both addresses")
        self.secured, self.plain = (evtest.parse_address(line.removeprefix("listening on "))[1]
                                    for line in self.server.lines[:2])

    def line(self, pattern):
        """Wait for the only line of the log that is not about listening."""
        evtest.wait_until(lambda: len(self.server.lines) >= 3, pattern)
        self.assertEqual(len(self.server.lines), 3, self.server.lines)
        self.assertRegex(self.server.lines[2], pattern)

    def curl(self, *arguments):
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        return run("curl", "-sS", "--noproxy", "*", "--cacert", self.authority.path("ca.pem"), *arguments)

    def s_client(self, port, *arguments, text="Q\n"):
        return run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments, text=text)

    def check_plain(self):
        self.line(r"the client 127\.0\.0\.1:\d+ speaks TLS, but 127\.0\.0\.1:%d is a plain HTTP listener: "
                  r"add \?tls to its address$" % self.plain)

    def test_curl_with_https_at_a_plain_port(self):
        done = self.curl(f"https://127.0.0.1:{self.plain}/")
        self.assertNotEqual(done.returncode, 0)
        self.check_plain()

    def test_openssl_at_a_plain_port(self):
        for version in "-tls1_2", "-tls1_3":
            done = self.s_client(self.plain, version)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, "wrong version number|http")
        evtest.wait_until(lambda: len(self.server.lines) >= 4, "two lines")
        del self.server.lines[3:]
        self.check_plain()

    def test_plain_client_at_a_tls_port(self):
        done = self.curl("-i", f"http://127.0.0.1:{self.secured}/")
        self.assertRegex(done.stdout, r"\AHTTP/1\.1 400 Bad Request\r?\n[^\0]*\n\r?\nThis port expects HTTPS")
        self.line(r"TLS handshake with 127\.0\.0\.1:\d+ failed: the client sent plain HTTP to a port for HTTPS$")

    def test_failed_handshakes(self):
        rows = ((["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "versions of TLS that are switched off here"),
                (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "no cipher in common"),
                (["-alpn", "h2"], "no application protocol"),
                (["-servername", "closed.test", "-tls1_2"], "the client sent no certificate, and one is required"),
                (["-verify_return_error", "-verify", "1"], "the client does not accept the server's certificate"))
        for arguments, reason in rows:
            before = len(self.server.lines)
            self.s_client(self.secured, *arguments)
            evtest.wait_until(lambda: len(self.server.lines) > before, reason)
            self.assertEqual(len(self.server.lines), before + 1, self.server.lines)
            self.assertRegex(self.server.lines[before], r"handshake with 127\.0\.0\.1:\d+ failed: .*" + reason)

    def test_tls_at_a_port_that_redirects(self):
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?redirect_https", "--listen", "127.0.0.1:0?tls", "site.lua",
                            cwd=self.folder) as server:
            port = evtest.parse_address(server.lines[0].removeprefix("listening on "))[1]
            self.s_client(port)
            evtest.wait_until(lambda: "speaks TLS" in server.lines[-1], "the line about it")
            self.assertRegex(server.lines[-1], r"a plain HTTP listener, which only redirects to HTTPS$")

    def test_probes_have_no_line(self):
        for port in self.secured, self.plain:
            evtest.connect(("127.0.0.1", port)).close()
        self.assertEqual(self.curl("--resolve", f"open.test:{self.secured}:127.0.0.1",
                                   f"https://open.test:{self.secured}/").returncode, 0)
        self.assertEqual(len(self.server.lines), 2, self.server.lines)

    def test_host_that_asks_for_certificates_needs_its_own_connection(self):
        def ask(name, host):
            cert, key = self.alice
            done = self.curl("-w", "%{http_code}", "--resolve", f"{name}:{self.secured}:127.0.0.1", "--cert", cert,
                             "--key", key, "-H", "Host: " + host, f"https://{name}:{self.secured}/")
            return re.sub(r"\n[^\0]*\n", " ", done.stdout)
        self.assertEqual(ask("closed.test", "closed.test"), "closed.test\n200")
        self.assertEqual(ask("open.test", "open.test"), "open.test\n200")
        self.assertEqual(ask("closed.test", "open.test"), "open.test\n200")
        self.assertEqual(ask("open.test", "closed.test"), "421 Misdirected Request 421")
        self.assertEqual(ask("open.test", "unknown.test"), "unknown.test\n200")


if __name__ == "__main__":
    unittest.main()
