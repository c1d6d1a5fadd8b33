"""Turns of the event loop that take too long: what the log says of them, and what counts them."""

import os
import tempfile
import unittest
import urllib.request

import evtest
import ws_client
from lua_site import EVSERVE

SITE = """
local app = require "evserve"
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
app.metrics "/metrics"
app.get("/hold/:id", function() ffi.C.usleep(150000) return "ok" end)
app.websocket("/live", function(ws)
    ws:receive()
    ffi.C.usleep(150000)
    ws:send "done" -- which counts as a wait, but the loop has not turned
end)
app.get("/stream", function() return 200, function(out) ffi.C.usleep(150000) out:write "done" end end)
app.get("/stats", function() return app.stats().stalls .. " " .. app.stats().total.stalls end)
"""


def get(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.address[1]}{path}") as response:
        return response.read().decode()


class Stalls(unittest.TestCase):
    def start(self, settings=""):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.site = os.path.join(folder.name, "site.lua")
        with open(self.site, "w", encoding="utf-8") as file:
            file.write(SITE + settings)
        return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", self.site)

    def test_one_is_logged_and_counted(self):
        with self.start("app.set { stall_warning = '120ms' }") as server:
            get(server, "/hold/7?secret=1")
            evtest.wait_until(lambda: any("stood still" in line for line in server.raw), "the line")
            self.assertRegex([line for line in server.raw if "stood still" in line][0],
                             r" warn the event loop stood still for \d+ ms \(stall_warning is 120 ms\): "
                             rf"route GET /hold/:id at {self.site}:6 ran for \d+ ms without a wait$")
            own, total = map(int, get(server, "/stats").split())
            self.assertGreaterEqual(own, 1)
            self.assertGreaterEqual(total, own)
            self.assertRegex(get(server, "/metrics"), r"\nevserve_loop_stalls_total [1-9]")

    def test_who_sends_behind_it_is_named(self):
        with self.start("app.set { stall_warning = '120ms' }") as server:
            get(server, "/stream")
            evtest.wait_until(lambda: any("route GET /stream at" in line for line in server.raw), "the stream's line")
        with self.start("app.set { stall_warning = '120ms' }") as server:
            with ws_client.connect(server, "/live") as ws:
                ws.send("go")
                self.assertEqual(ws.receive(), "done")
            evtest.wait_until(lambda: any("route GET /live at" in line for line in server.raw), "the WebSocket's line")

    def test_0_is_none(self):
        with self.start("app.set { stall_warning = 0 }") as server:
            get(server, "/hold/1")
            self.assertEqual(get(server, "/stats"), "0 0")
            self.assertFalse([line for line in server.raw if "stood still" in line])


if __name__ == "__main__":
    unittest.main()
