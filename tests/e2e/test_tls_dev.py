"""evserve --tls-dev: HTTPS for development with a certificate from memory. Real clients recognize it by what the log
says, it stays the same over reloads, and other machines are kept out."""

import http.client
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE, HEAD

IN_SANDBOX = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
SITE = HEAD + 'app.get("/", function(req) return req.scheme .. " " .. (req.tls and req.tls.sni or "-") .. "\\n" end)\n'


def setUpModule():
    certificates.require_tls(EVSERVE)


class Dev(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.write(SITE)

    @classmethod
    def write(cls, script, name="site.lua"):
        with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
            file.write(script)

    def serve(self, *options, script="site.lua", **popen):
        server = self.enterContext(evtest.Program(EVSERVE, *options, script, cwd=self.folder, **popen))
        evtest.wait_until(lambda: self.facts(server), "the log has the fingerprints")
        return server

    @staticmethod
    def facts(server):
        """The fingerprint and the pin of the key, from the log."""
        text = "\n".join(server.lines)
        fingerprint = re.search(r"its SHA-256 fingerprint is ([0-9A-F:]{95})$", text, re.M)
        pin = re.search(r"sha256//([A-Za-z0-9+/=]{44});", text)
        return fingerprint and pin and (fingerprint[1].replace(":", "").lower(), pin[1])

    def certificate(self, server, name="localhost"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with evtest.connect(server.address) as raw, context.wrap_socket(raw, server_hostname=name) as sock:
            return sock.getpeercert(True)

    def test_browsers_do_not_keep_to_https_unless_told_to(self):
        self.write(SITE + 'app.set { hsts = "365d" }\n', "hsts.lua")
        for options, field in ([], None), (["--hsts", "1h"], "max-age=3600"):
            server = self.serve("--listen", "127.0.0.1:0", "--tls-dev", *options, script="hsts.lua")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client = http.client.HTTPSConnection("localhost", server.address[1], context=context, timeout=10)
            client.request("GET", "/")
            self.assertEqual(client.getresponse().getheader("Strict-Transport-Security"), field)
            client.close()

    def fingerprint(self, server):
        pem = os.path.join(self.folder, "shown.pem")
        with open(pem, "w", encoding="ascii") as file:
            file.write(ssl.DER_cert_to_PEM_cert(self.certificate(server)))
        return certificates.fingerprint(pem)

    def test_log_has_the_fingerprint_of_what_is_shown(self):
        server = self.serve("--tls-dev", "--listen", "127.0.0.1:0")
        self.assertEqual(self.fingerprint(server), self.facts(server)[0])

    def test_clients_that_trust_the_certificate_itself_and_its_names(self):
        server = self.serve("--tls-dev=app.test,*.app.test", "--listen", "127.0.0.1:0")
        context = ssl.create_default_context(cadata=self.certificate(server))
        for name in "localhost", "127.0.0.1", "app.test", "x.app.test":
            with evtest.connect(server.address) as raw, context.wrap_socket(raw, server_hostname=name) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                sni = "-" if name == "127.0.0.1" else name
                self.assertTrue(evtest.receive_all(sock).endswith(f"\r\n\r\nhttps {sni}\n".encode()))
        with evtest.connect(server.address) as raw, self.assertRaises(ssl.SSLCertVerificationError):
            context.wrap_socket(raw, server_hostname="other.test")

    @unittest.skipIf(shutil.which("curl") is None, "curl is not installed")
    def test_curl_with_the_pin_of_the_log(self):
        server = self.serve("--tls-dev", "--listen", "127.0.0.1:0")
        for pin, status in (self.facts(server)[1], 0), ("A" * 43 + "=", 90):
            done = subprocess.run(["curl", "-sSk", "--pinnedpubkey", "sha256//" + pin,
                                   "https://localhost:%d/" % server.address[1]], capture_output=True, text=True,
                                  timeout=evtest.LIMIT, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stdout, "https localhost\n" if status == 0 else "")

    @unittest.skipIf(shutil.which("chromium") is None, "chromium is not installed")
    def test_chromium_with_the_pin_of_the_log(self):
        self.write(HEAD + 'app.get("/", function() return 200, "<p>before</p><script>document.querySelector(\'p\')'
                   '.textContent = location.protocol</script>", { ["Content-Type"] = "text/html" } end)', "page.lua")
        server = self.serve("--tls-dev", "--listen", "127.0.0.1:0", script="page.lua")
        done = subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
                               "--ignore-certificate-errors-spki-list=" + self.facts(server)[1],
                               "--user-data-dir=" + os.path.join(self.folder, "profile"),
                               "--virtual-time-budget=5000", "--dump-dom", "https://localhost:%d/" % server.address[1]],
                              capture_output=True, text=True, timeout=evtest.LIMIT, check=False)
        self.assertIn("<p>https:</p>", done.stdout, done.stderr[-2000:])

    def test_same_key_over_reloads_in_the_sandbox_and_for_all_threads(self):
        for options in [], ["--reactors", "2"], ["--sandbox"], ["--watch"]:
            with self.subTest(options):
                self.write(SITE)
                server = self.serve("--tls-dev", "--listen", "127.0.0.1:0", *options, env=IN_SANDBOX)
                shown = {self.certificate(server) for _ in range(4)}
                self.write(SITE + "-- changed\n")
                if options != ["--watch"]:
                    server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
                shown |= {self.certificate(server) for _ in range(4)}
                self.assertEqual(len(shown), 1)
                server.stop()

    def test_takes_the_place_of_the_scripts_certificates(self):
        self.write(SITE + 'app.listen "127.0.0.1:0?tls"\napp.listen "127.0.0.1:0"\n'
                   'app.tls { cert = "/nonexistent/fullchain.pem", key = "/nonexistent/privkey.pem" }\n', "real.lua")
        server = self.serve("--tls-dev", script="real.lua")
        self.assertEqual(self.fingerprint(server), self.facts(server)[0])
        plain = evtest.parse_address(server.lines[1].removeprefix("listening on "))
        with evtest.connect(plain) as sock:  # an address with ?tls is there, so this one stays as it is
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"http -\n"))

    def refused(self, *options, script="site.lua"):
        done = evtest.run(EVSERVE, *options, script, cwd=self.folder)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_other_machines_are_kept_out(self):
        self.write(SITE + 'app.listen ":0?tls"\n', "public.lua")
        for check in [], ["--check"]:
            error = self.refused(*check, "--tls-dev", "--listen", "0.0.0.0:0")
            self.assertIn('listen address "0.0.0.0:0?tls": other machines could connect to it', error)
            self.assertIn("--tls-dev-anywhere", error)
            self.assertRegex(self.refused(*check, "--tls-dev", script="public.lua"),
                             r'^public\.lua:\d+: listen address')
        server = self.serve("--tls-dev", "--tls-dev-anywhere", script="public.lua")
        server.address = ("127.0.0.1", server.address[1])
        self.assertEqual(self.fingerprint(server), self.facts(server)[0])

    def test_not_with_another_certificate(self):
        self.assertIn("--tls-cert", self.refused("--tls-dev", "--tls-cert", "a.pem"))

    def test_check_and_request_make_none(self):
        done = evtest.run(EVSERVE, "--check", "--tls-dev", "--listen", "127.0.0.1:0", "site.lua", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("127.0.0.1:0?tls", done.stdout)
        done = evtest.run(EVSERVE, "--request", "GET /", "--tls-dev", "site.lua", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
