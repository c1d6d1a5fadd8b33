"""What the access log says of the servers behind app.proxy, and error pages in place of their errors."""

import contextlib
import os
import re
import time
import unittest

import evtest
import lua_site
from lua_site import Client
from origin import Origin, closed_port

SITE = """
app.set {
    access_log = "access.log",
    access_log_format = "$uri $status $upstream_addr $upstream_status $upstream_response_time",
}
app.error_page("404", "gone.html", { for_proxied = true })
app.error_page("5xx", "oops.html")
app.metrics "/metrics"
app.get("/own", function() return "own" end)
app.proxy("/dead", "http://127.0.0.1:" .. os.getenv "CLOSED")
app.proxy("/two", { "http://127.0.0.1:" .. os.getenv "CLOSED", os.getenv "UPSTREAM" })
app.proxy("/", os.getenv "UPSTREAM")
"""


def respond_late(connection, request):
    time.sleep(0.2)
    connection.respond(200, "late")


HANDLERS = {
    "/missing": lambda c, r: c.respond(404, "theirs", [("Retry-After", "7"), ("ETag", '"x"')]),
    "/broken": lambda c, r: c.respond(500, "theirs"),
    "/late": respond_late,
    "/two": lambda c, r: c.respond(200, "two"),
}


class Log(unittest.TestCase):
    def test_log_and_pages(self):
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(Origin(HANDLERS))
            path = stack.enter_context(lua_site.script(SITE))
            folder = os.path.dirname(path)
            for name in ("gone.html", "oops.html"):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as page:
                    page.write(f"<p>{name}")
            closed = str(closed_port())
            server = stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=folder,
                               env={**os.environ, "UPSTREAM": origin.url, "CLOSED": closed}))
            with Client(server) as client:
                missing = client.ask("GET", "/missing")
                self.assertEqual((missing.status, missing.text), (404, "<p>gone.html"))
                self.assertEqual(missing.headers["retry-after"], "7")
                self.assertIsNone(missing.headers.get("etag"))
                broken = client.ask("GET", "/broken")
                self.assertEqual((broken.status, broken.text), (500, "theirs"))
                dead = client.ask("GET", "/dead")
                self.assertEqual((dead.status, dead.text), (502, "<p>oops.html"))
                for target in ("/late", "/two", "/own"):
                    self.assertEqual(client.ask("GET", target).status, 200)
                metrics = client.ask("GET", "/metrics").text
            server.stop()
            self.assertRegex(metrics, r'(?m)^evserve_upstream_seconds_count\{upstream="127\.0\.0\.1:\d+"\} 4$')
            self.assertIn(f'evserve_upstream_failures_total{{upstream="127.0.0.1:{closed}"}} 2', metrics)
            with open(os.path.join(folder, "access.log"), encoding="utf-8") as log:
                lines = [line.split() for line in log.read().splitlines()]
            upstream = origin.url.removeprefix("http://").rstrip("/")
            self.assertEqual([line[:4] for line in lines],
                             [["/missing", "404", upstream, "404"], ["/broken", "500", upstream, "500"],
                              ["/dead", "502", f"127.0.0.1:{closed}", "-"], ["/late", "200", upstream, "200"],
                              ["/two", "200", upstream, "200"], ["/own", "200", "-", "-"],
                              ["/metrics", "200", "-", "-"]])
            self.assertEqual(lines[-1][4], "-")
            for line in lines[:-2]:
                self.assertTrue(re.fullmatch(r"\d+\.\d{3}", line[4]), line)
            self.assertGreaterEqual(float(lines[3][4]), 0.15)


class Refused(unittest.TestCase):
    def test_mistakes_are_named(self):
        url = '"http://127.0.0.1:1"'
        group = 'local api = app.group "/api" '
        for text, why in {
            'app.proxy("api", "x")': "a prefix such as",
            'app.proxy("/a")': "a URL such as",
            'app.proxy("/a", {})': "1 to 32 upstreams expected, got 0",
            'app.proxy("/a", { "http://a", 5 })': "a URL such as",
            'app.proxy("/a", "http://a/?b")': "has a query",
            f'app.proxy("/:a", {url})': "without",
            f'app.proxy("/a", {url}, {{ nope = 1 }})': "nope",
            f'app.proxy("/a", {url}, {{ timeout = 0 }})': "timeout: a time from 1 ms",
            f'app.proxy("/a", {url}, {{ tries = 0 }})': "tries: a whole number from 1 to 32",
            f'app.proxy("/a", {url}, {{ keepalive = -1 }})': "keepalive: a whole number from 1 to 1000, or false, expected",
            f'app.proxy("/a", {url}, {{ read_timeout = "5s" }})': '"read_timeout" is no option: timeout is what you mean',
            f'app.proxy("/a", {url}, {{ headers = {{ "a: b" }} }})': 'names of fields expected, such as ["x-name"], got a list',
            f'app.proxy("/a", {{ {url}, weight = 2 }})': '"weight" does not belong into the list of upstreams',
            'app.proxy("/a", "http://unix:/run/x.sock")': "write http+unix:/run/x.sock",
            'app.proxy("/a", "https://a", { ca = "none.pem" })': "app.proxy: ca: cannot open none.pem: No such file",
            'app.proxy("/a", "https://a", { client_cert = { cert = "none.pem" } })': "the certificate: cannot open none.pem",
            f'app.proxy("/a", {url}, {{ headers = {{ host = "b" }} }})': "Host is set with the option host",
            f'app.proxy("/a", {url}, {{ headers = {{ a = {{}} }} }})': "a text or false",
            f'app.proxy("/a", {url}, {{ host = "a b" }})': "host: a name such as",
            f'app.proxy("/a", {url}, {{ verify = 1 }})': "verify: true or false expected",
            f'app.proxy("/a", {url}, {{ client_cert = "x" }})': "client_cert: a table",
            f'app.proxy("/a", {url}, {{ middleware = true }})': "middleware: false expected",
            f'app.proxy("/a", {url}, {{ jit = true }})': "jit is about handlers in Lua",
            f'app.proxy("/a", {url}) app.proxy("/a/", {url})': "already registered",
            f'{group} api.use(function() end) api.proxy("/a", {url})': "middleware of a group does not run",
            f'{group} api.group("/b").proxy("/a", {url}) api.use(function() end)': "middleware of a group does not run",
            f'app.on("start", function() app.proxy("/a", {url}) end)': "works only while the script starts",
        }.items():
            with self.subTest(text), lua_site.script(text) as path:
                done = evtest.run(lua_site.EVSERVE, "--listen", "127.0.0.1:0", path)
                self.assertIn(why, done.stderr)
                self.assertNotEqual(done.returncode, 0)

    def test_middleware_that_does_not_run_is_warned_of(self):
        proxy = 'app.proxy("/a", "http://127.0.0.1:1")'
        known = 'app.proxy("/a", "http://127.0.0.1:1", { middleware = false })'
        use = "app.use(function(req, nxt) return nxt() end)"
        host = 'local site = app.host "a.example"\n'
        words = "middleware of {}use does not run for requests below"
        for text, lines in {
            f"{use}\n{proxy}": {2: words.format("app.")},
            f"{proxy}\n{use} {use}": {1: words.format("app.")},
            f'{proxy}\n{proxy.replace("/a", "/b")}\n{use}': {1: words.format("app."), 2: words.format("app.")},
            f'{use}\napp.group("/x").{proxy[4:]}': {2: words.format("app.")},
            f"{host}{use.replace('app.', 'site.')}\n{proxy.replace('app.', 'site.')}": {3: words.format("host.")},
            f"{host}{use}\n{proxy.replace('app.', 'site.')}": {},
            f"{use}\n{known}\n{use}": {},
            f'local api = app.group "/x"\n{known.replace("app.", "api.")} {use.replace("app.", "api.")}': {},
            proxy: {},
        }.items():
            with self.subTest(text), lua_site.script(text) as path:
                done = evtest.run(lua_site.EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
                self.assertEqual(done.returncode, 0, done.stderr)
                said = [line for line in done.stderr.splitlines() if "middleware" in line]
                self.assertEqual(len(said), len(lines), done.stderr)
                for line, why in lines.items():  # the script has a line before these
                    self.assertTrue(any(f"site.lua:{line + 1}: " in each and why in each for each in said), done.stderr)


if __name__ == "__main__":
    unittest.main()
