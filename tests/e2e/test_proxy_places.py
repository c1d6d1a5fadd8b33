"""Where app.proxy leads: redirects of upstreams, circles, upstreams that are all down."""

import contextlib
import os
import re
import time
import unittest

import evtest
import lua_site
from lua_site import Client
from origin import Origin, closed_port


@contextlib.contextmanager
def serve(text, *arguments, **env):
    with lua_site.script(text) as path, evtest.Program(
            lua_site.EVSERVE, "--listen", "127.0.0.1:0", *arguments, "site.lua", cwd=os.path.dirname(path),
            env={**os.environ, **env}) as server:
        yield server


class Places(unittest.TestCase):
    def test_redirects_of_the_upstream_lead_through_the_proxy(self):
        fields = []

        def redirect(connection, request):
            connection.respond(302, "", fields)

        with Origin({"/app/x": redirect, "/y": redirect}) as origin:
            site = """
            local url = os.getenv "UPSTREAM"
            app.proxy("/shop", url .. "/app", { strip_prefix = true })
            app.proxy("/one", url, { strip_prefix = true, host = "upstream" })
            app.proxy("/y", url)
            """
            url = origin.url.rstrip("/")
            with serve(site, UPSTREAM=url) as server, Client(server) as client:
                for target, location, expected in (
                        ("/shop/x", url + "/app/cart?a=b", "/shop/cart?a=b"), ("/shop/x", "/app/cart", "/shop/cart"),
                        ("/shop/x", "/other", "/other"),
                        ("/shop/x", "https://example.org/app", "https://example.org/app"),
                        ("/shop/x", "http://a/app/cart", "/shop/cart"), ("/one/y", url + "/z", "/one/z"),
                        ("/one/y", "/z", "/one/z"), ("/y", url + "//evil.test", "/.//evil.test"), ("/y", "/z", "/z"),
                        ("/y", "http://a/z", "http://a/z")):
                    with self.subTest((target, location)):
                        fields[:] = [("Location", location), ("Set-Cookie", "a=b; Path=/app"),
                                     ("Refresh", "1; url=" + location)]
                        answer = client.ask("GET", target, [("Host", "a")])
                        self.assertEqual((answer.status, answer.headers["location"]), (302, expected))
                        self.assertEqual(answer.headers["refresh"], "1; url=" + expected)
                        cookie = {"/shop/x": "/shop", "/one/y": "/one/app", "/y": "/app"}[target]
                        self.assertEqual(answer.headers["set-cookie"], "a=b; Path=" + cookie)

    def test_a_proxy_that_leads_to_itself_ends(self):
        port = closed_port()
        with serve('app.proxy("/", os.getenv "UPSTREAM")', "--listen", f"127.0.0.1:{port}",
                   UPSTREAM=f"http://127.0.0.1:{port}") as server, Client(server) as client:
            self.assertEqual(client.ask("GET", "/x").status, 508)
            self.assertTrue(any("Via names evserve 10 times" in line for line in server.lines), server.lines)

    def test_ten_names_in_via_are_one_too_many(self):
        with Origin() as origin, serve('app.proxy("/", os.getenv "UPSTREAM")', UPSTREAM=origin.url) as server:
            with Client(server) as client:
                others = ", 1.0 other (1.1 evserve), evserve, 1.1 evserve.org, 1.1"
                for via, status in (("1.1 evserve, " * 9 + others, 200), ("1.1 evserve, " * 10, 508),
                                    ("1.1 Evserve (text),1.1  evserve," * 5, 508), ("", 200), (",,", 200)):
                    with self.subTest(via):
                        self.assertEqual(client.ask("GET", "/text", [("Via", via)]).status, status)

    def test_when_all_are_down_the_first_one_that_is_back_is_used(self):
        ports = [closed_port(), closed_port()]
        site = 'app.proxy("/", { os.getenv "ONE", os.getenv "TWO" }, { fail_timeout = "1h", keepalive = false })'
        env = {name: f"http://127.0.0.1:{port}" for name, port in zip(("ONE", "TWO"), ports)}
        with serve(site, **env) as server, Client(server) as client:
            for _ in range(3):
                self.assertEqual(client.ask("GET", "/text").status, 502)
            self.assertEqual(len([line for line in server.lines if "no requests for a while" in line]), 2)
            for port in ports:
                with Origin(address=("127.0.0.1", port)):
                    for _ in range(3):
                        self.assertEqual(client.ask("GET", "/text").status, 200)
                self.assertEqual(client.ask("GET", "/text").status, 502)

    def test_lines_about_slow_requests_name_the_upstream(self):
        def wait(connection, request):
            time.sleep(0.2)
            connection.respond(200, "late")

        with Origin({"/late": wait}) as origin:
            site = 'app.proxy("/", os.getenv "UPSTREAM", { log_slow = 150 })'
            with serve(site, UPSTREAM=origin.url) as server, Client(server) as client:
                self.assertEqual(client.ask("GET", "/late").text, "late")
                evtest.wait_until(lambda: any("slow: " in line for line in server.lines), "the line")
                line = next(line for line in server.lines if "slow: " in line)
                name = re.escape(origin.url.removeprefix("http://").rstrip("/"))
                self.assertRegex(line, rf", route /\*rest \(site\.lua:\d+\), upstream {name} took \d\.\d\d\d")


if __name__ == "__main__":
    unittest.main()
