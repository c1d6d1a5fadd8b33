"""Slow requests in the log: what their time was spent on, by the real clock, for files, scripts and slow clients."""

import json
import os
import re
import tempfile
import time
import unittest

import evtest
import side_by_side
from lua_site import EVSERVE

SITE = """
local app = require "evserve"
app.set { log_slow = "1h" }
app.get("/nap/:id", function() app.sleep("200ms") return "ok" end)
app.get("/stream", { log_slow = 0 }, function()
    return 200, function(out) out:write("a") app.sleep("200ms") out:write("b") end
end)
app.post("/up", function(req) return #req.body .. " bytes" end)
app.get("/now", function() return "ok" end)
"""
LINE = re.compile(r"slow: (?P<what>\S+ \S+) took [\d.]+ s \(reading (?P<reading>[\d.]+), handler (?P<handler>[\d.]+), "
                  r"waiting (?P<waiting>[\d.]+), sending (?P<sending>[\d.]+)\), (?P<rest>.*)")


def get(path, end=b"\r\n\r\n"):
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close".encode() + end


class Slow(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.site = os.path.join(self.folder, "site.lua")
        with open(self.site, "w", encoding="utf-8") as file:
            file.write(SITE)

    def ask(self, server, *parts, **options):
        """Send parts; a number is a pause in seconds before the next one, or before reading."""
        with server.connect(**options) as sock:
            for part in parts:
                time.sleep(part) if isinstance(part, float) else sock.sendall(part)
            return evtest.receive_all(sock)

    def slow(self, server, count):
        """The parts of the first lines, without those of less than a tenth of a second; and the rest of each."""
        def lines():
            return [match for line in server.lines for match in [LINE.search(line)] if match]
        evtest.wait_until(lambda: len(lines()) >= count, "lines about slow requests")
        return [(match["what"],
                 [part for part in ("reading", "handler", "waiting", "sending") if float(match[part]) >= 0.1],
                 match["rest"]) for match in lines()]

    def test_a_script(self):
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--log-slow", "150ms", self.site) as server:
            for target in ("/now", "/stream", "/nap/7?secret=1"):
                self.ask(server, get(target))
            self.ask(server, b"POST" + get("/up", b"\r\nContent-Length: 2\r\n\r\na")[3:], 0.2, b"b")
            with server.connect() as sock:
                sock.sendall(get("/now").replace(b"close", b"keep-alive"))
                time.sleep(0.2)
                sock.sendall(get("/now"))
                evtest.receive_all(sock)
            self.ask(server, b"GET /na", 0.2, get("/nap/8")[7:])
            found = self.slow(server, 3)
        self.assertEqual(found, [("GET /nap/7", ["waiting"], f"200, route /nap/:id ({self.site}:4)"),
                                 ("POST /up", ["reading"], f"200, route /up ({self.site}:8)"),
                                 ("GET /nap/8", ["reading", "waiting"], f"200, route /nap/:id ({self.site}:4)")])

    def test_a_file_and_a_client_that_reads_late(self):
        with open(os.path.join(self.folder, "big"), "wb") as file:
            file.truncate(3_000_000)
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--log-slow", "200ms", "--access-log", "stdout",
                            "--root", self.folder, stdout=-3) as server:
            self.ask(server, get("/big"), 0.4, receive_buffer=4096)
            found = self.slow(server, 1)
        self.assertEqual(found, [("GET /big", ["sending"], "200")])

    def test_json_of_a_client_that_has_left_has_the_status_of_the_access_log(self):
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--log-slow", "20ms", "--log-format", "json",
                            self.site) as server:
            with server.connect() as sock:
                sock.sendall(get("/nap/1"))
                time.sleep(0.05)
            evtest.wait_until(lambda: any('"slow: ' in line for line in server.raw), "a line about the slow request")
            self.assertEqual(json.loads(next(line for line in server.raw if '"slow: ' in line))["status"], 499)

    def test_json_has_members(self):
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--log-slow", "150ms", "--log-format", "json",
                            self.site) as server:
            self.ask(server, get("/nap/%22"))
            evtest.wait_until(lambda: any('"slow: ' in line for line in server.raw), "the line")
            line = json.loads(next(line for line in server.raw if '"slow: ' in line))
        self.assertRegex(line["client"], r"^127\.0\.0\.1:\d+$")
        self.assertEqual([line[name] for name in ("level", "method", "path", "status", "route", "place")],
                         ["warn", "GET", '/nap/"', 200, "/nap/:id", f"{self.site}:4"])
        self.assertGreaterEqual(line["duration"], line["waiting"])
        self.assertGreaterEqual(line["waiting"], 0.19)
        self.assertLess(line["reading"] + line["handler"] + line["sending"], 0.1 + line["duration"])

    def test_floods_are_ten_a_second(self):
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--log-slow", "1ms", self.site) as server:
            socks = [server.connect() for _ in range(40)]
            for sock in socks:
                sock.sendall(get("/nap/1"))
            for sock in socks:
                evtest.receive_all(sock)
                sock.close()
            evtest.wait_until(lambda: any("more lines like this" in line for line in server.lines), "the count")
            self.assertEqual(len(self.slow(server, 10)), 11)


if __name__ == "__main__":
    side_by_side.main()
