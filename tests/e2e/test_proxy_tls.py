"""app.proxy with an upstream over TLS: bodies both ways, certificates that nobody trusts, and files in the sandbox."""

import contextlib
import os
import tempfile
import unittest

import certificates
import evtest
import lua_site
from lua_site import Client

UPSTREAM = """
app.set { max_body = "8M" }
app.any("/echo", function(req) return req.body end)
"""
SITE = """
app.set { max_body = "8M" }
app.proxy("/", os.getenv "UPSTREAM", { verify = false })
app.proxy("/checked", os.getenv "UPSTREAM", { strip_prefix = true })
"""


class Tls(unittest.TestCase):
    def test_bodies_and_certificates(self):
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(lua_site.script(UPSTREAM))
            upstream = stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--tls-dev", "--listen", "127.0.0.1:0?tls", path))
            path = stack.enter_context(lua_site.script(SITE))
            server = stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path,
                               env={**os.environ, "UPSTREAM": f"https://127.0.0.1:{upstream.address[1]}"}))
            with Client(server) as client:
                for size in (0, 1, 100000, 3 << 20):
                    body = evtest.pattern(size)
                    response = client.ask("POST", "/echo", body=body)
                    self.assertEqual((response.status, response.body), (200, body))
                self.assertEqual(client.ask("GET", "/checked/echo").status, 502)

    def test_the_sandbox_allows_the_files_of_upstreams(self):
        """They are read for the first request."""
        certificates.require_tls(lua_site.EVSERVE)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
            os.chmod(folder, 0o755)
            cert, key = certificates.Authority(folder).sign("server", "127.0.0.1")
            path = stack.enter_context(lua_site.script(UPSTREAM))
            upstream = stack.enter_context(evtest.Program(
                lua_site.EVSERVE, "--tls-cert", cert, "--tls-key", key, "--listen", "127.0.0.1:0?tls", path))
            address = f"127.0.0.1:{upstream.address[1]}"
            path = stack.enter_context(lua_site.script(
                f'app.proxy("/", "https://{address}", {{ ca = "{folder}/ca.pem" }})\n'))
            options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # see test_sandbox.py
            server = stack.enter_context(evtest.Program(
                lua_site.EVSERVE, "--listen", "127.0.0.1:0", "--sandbox", "--allow-connect", address, path,
                env={**os.environ, "ASAN_OPTIONS": options}))
            with Client(server) as client:
                self.assertEqual(client.ask("POST", "/echo", body=b"body").text, "body", server.lines)


if __name__ == "__main__":
    unittest.main()
