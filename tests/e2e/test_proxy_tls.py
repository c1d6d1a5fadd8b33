"""app.proxy with an upstream over TLS: bodies both ways, and a certificate that nobody trusts."""

import contextlib
import os
import unittest

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


if __name__ == "__main__":
    unittest.main()
