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


if __name__ == "__main__":
    unittest.main()
