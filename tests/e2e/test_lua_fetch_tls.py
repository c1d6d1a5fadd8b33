"""HTTPS to other servers: whom a site trusts, what it shows, and what it says when that does not do."""

import os
import ssl
import tempfile
import unittest

import certificates
import evtest
import lua_site
from lua_site import EVSERVE
from origin import Origin
from test_lua_fetch import FetchCase


# Without what the machine trusts; and the check for leaks traces the program, which the sandbox forbids.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")} | {
    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def setUpModule():
    certificates.require_tls(EVSERVE)


def listen(pair, **settings):
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class TlsCase(FetchCase):
    """The origin has a certificate of an authority that only SSL_CERT_FILE makes trusted."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.ca = certificates.Authority(folder.name)
        cls.pair = cls.ca.sign("site", "127.0.0.1", "site.example")
        cls.OPTIONS = {"env": dict(os.environ, SSL_CERT_FILE=cls.ca.path("ca.pem"))}
        super().setUpClass()
        cls.origin.context = listen(cls.pair)

    def served(self, pair, **settings):
        return self.enterContext(Origin(context=listen(pair, **settings)))

    def get(self, origin, options=""):
        return f"return (app.fetch('{origin.url}/text', {{ {options} }}))"


class Trust(TlsCase):

    def test_authorities_of_the_system(self):
        self.assertEqual(self.run_code("return app.fetch(url .. '/text').body").text, "hello\n")

    def test_connections_are_kept_and_sessions_resumed(self):
        before = self.origin.accepted
        code = "return app.fetch(url .. '/text', { keepalive = %s }).body"
        for _ in range(3):
            self.assertEqual(self.run_code(code % "true").text, "hello\n")
        self.assertLessEqual(self.origin.accepted - before, 1)
        stats = self.origin.context.session_stats()
        for _ in range(3):
            self.assertEqual(self.run_code(code % "false").text, "hello\n")
        self.assertEqual(self.origin.context.session_stats()["hits"] - stats["hits"], 3)

    def test_file_of_an_authority(self):
        other = certificates.Authority(self.ca.folder, "other")
        origin = self.served(other.sign("there", "127.0.0.1"))
        text = r"no TLS with .*: the certificate of 127\.0\.0\.1 is signed by an authority that is not trusted"
        self.check_failure(f"return app.fetch('{origin.url}/text')", text, "tls")
        code = f"return app.fetch('{origin.url}/text', {{ ca = '{other.path('other.pem')}' }}).body"
        self.assertEqual(self.run_code(code).text, "hello\n")
        self.check_failure("return app.fetch(url .. '/text', { ca = '/no/such.pem' })",
                           r"cannot read the certificate of an authority /no/such\.pem: No such file", "tls")

    def test_name(self):
        text = r"the server's certificate is not for other\.example, but for 127\.0\.0\.1, site\.example"
        self.check_failure("return app.fetch(url .. '/text', { server_name = 'other.example' })", text, "tls")
        code = "return app.fetch(url .. '/text', { server_name = 'site.example' }).body"
        self.assertEqual(self.run_code(code).text, "hello\n")

    def test_expired(self):
        origin = self.served(self.ca.sign("old", "127.0.0.1", days=-1))
        text = r"the certificate of 127\.0\.0\.1 has expired \(20"
        self.check_failure(f"return app.fetch('{origin.url}/text')", text, "tls")

    def test_nobody_is_verified_only_where_the_option_says_so(self):
        other = certificates.Authority(self.ca.folder, "self")
        origin = self.served((other.path("self.pem"), other.path("self-key.pem")))
        code = f"return app.fetch('{origin.url}/text', {{ verify = false }}).body"
        self.assertEqual(self.run_code(code).text, "hello\n")
        self.check_failure(f"return app.fetch('{origin.url}/text')", "is signed by itself, and not trusted here", "tls")


class Handshakes(TlsCase):

    def test_client_certificate(self):
        context = listen(self.pair, verify_mode=ssl.CERT_REQUIRED)
        context.load_verify_locations(self.ca.path("ca.pem"))
        origin = self.enterContext(Origin(context=context))
        text = r"asks for a client certificate \(client_cert\)"
        self.check_failure(f"return app.fetch('{origin.url}/text')", text, "tls")
        cert, key = self.ca.sign("me", "me.example")
        code = f"return app.fetch('{origin.url}/text', {{ client_cert = {{ cert = '{cert}', key = '{key}' }} }}).body"
        self.assertEqual(self.run_code(code).text, "hello\n")

    def test_port_without_tls(self):
        port = self.server.address[1]
        self.check_failure(f"return app.fetch('https://127.0.0.1:{port}/text')",
                           r"what the server sent is not TLS: is this the right port\?", "tls")

    def test_old_version(self):
        context = listen(self.pair, minimum_version=ssl.TLSVersion.TLSv1_2)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        origin = self.enterContext(Origin(context=context))
        self.assertEqual(self.run_code(f"return app.fetch('{origin.url}/text').body").text, "hello\n")

    def test_content_that_ends_without_close_notify_is_cut(self):
        def cut(connection, request):
            connection.send("HTTP/1.1 200 OK\r\n\r\nhalf of it")
            connection.sock.unwrap = None
            os.close(connection.sock.detach())
        self.origin.handlers["/cut"] = cut
        self.check_failure("return app.fetch(url .. '/cut')", "broke: .*closed the connection", "closed")

    def test_long_content_both_ways(self):
        code = """local text = ('x'):rep(3000000)
            return tostring(#app.fetch(url .. '/echo', { body = text }):json().body)"""
        answer = self.run_code(code)
        self.assertEqual(answer.text, "3000000", self.server.lines)


class Confined(unittest.TestCase):
    """In the sandbox, too, the authorities of the system are read: from one file, or from a folder with an index."""

    SITE = """local app = require "evserve"
        app.get("/", function(req)
            local res, text, kind = app.fetch(req.query.url, { timeout = "5s" })
            return res and res.body or kind .. ": " .. text
        end)"""

    def check(self, *, env, text):
        with Origin(context=listen(self.pair)) as origin, lua_site.script(self.SITE) as path, evtest.Program(
                EVSERVE, "--listen", "127.0.0.1:0", "--sandbox", "--allow-connect", f"127.0.0.1:{origin.port}",
                "site.lua", cwd=os.path.dirname(path), env=ENVIRONMENT | env) as server:
            with lua_site.Client(server) as client:
                self.assertRegex(client.ask("GET", f"/?url={origin.url}/text").text, text)

    def test_sandbox(self):
        with tempfile.TemporaryDirectory() as folder:
            ca = certificates.Authority(folder)
            self.pair = ca.sign("site", "127.0.0.1")
            self.check(env={"SSL_CERT_FILE": ca.path("ca.pem")}, text="^hello\n$")
            index = os.path.join(folder, "index")
            os.mkdir(index)
            os.rename(ca.path("ca.pem"), os.path.join(index, "ca.pem"))
            certificates.openssl(folder, "rehash", index)
            self.check(env={"SSL_CERT_DIR": index}, text="^hello\n$")
            self.check(env={"SSL_CERT_DIR": "/usr/share"},
                       text="^tls: .*(not trusted here|no certificates of authorities)")


if __name__ == "__main__":
    unittest.main()
