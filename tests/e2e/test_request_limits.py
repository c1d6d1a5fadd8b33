"""app.limit and rate_limit on the real program: threads share what is counted, reloads keep it, streams and WebSockets
have their places until they end, and responses of every kind are sent no faster than they may."""

import contextlib
import os
import re
import signal
import tempfile
import threading
import time
import unittest

import certificates
import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = 'local app = require "evserve"\napp.listen "127.0.0.1:0"\n'
LARGE = bytes(range(256)) * 1600  # 400 KiB
RATE = 1 << 20
LEAST_S = len(LARGE) / RATE - 0.1  # the first tenth of a second is free


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, name, data):
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())

    @contextlib.contextmanager
    def serve(self, script, *options):
        self.write("site.lua", HEAD + script)
        with evtest.Program(EVSERVE, *options, "site.lua", cwd=self.root) as server:
            yield server

    def begin(self, server, target, *lines):
        sock = server.connect()
        self.addCleanup(sock.close)
        lines = [f"GET {target} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]
        sock.sendall("\r\n".join(lines).encode())
        return sock

    def status(self, server, target, *lines):
        with self.begin(server, target, *lines) as sock:
            return int(evtest.receive_all(sock).split()[1])

    def statuses(self, server, count, target, *lines):
        """How many of so many requests, from connections of their own at the same time, got which status."""
        found = {}
        for sock in [self.begin(server, target, *lines) for _ in range(count)]:
            status = int(evtest.receive_all(sock).split()[1])
            found[status] = found.get(status, 0) + 1
        return found


class Limits(Case):
    SCRIPT = """
app.set { trusted_proxies = "127.0.0.1" }
app.limit("/rate", { rate = "5/h" })
app.limit("/slow", { concurrency = 3, by = "all" })
app.get("/rate", function() return "passed\\n" end)
app.get("/slow", function() app.sleep "800ms" return "done\\n" end)
app.get("/stats", function() return tostring(app.stats().total.limited) end)
app.metrics "/metrics"
"""

    def test_threads_share_what_is_counted_and_reloads_keep_it(self):
        with self.serve(self.SCRIPT, "--reactors", "2") as server:
            self.assertEqual(self.statuses(server, 40, "/rate"), {200: 5, 429: 35})
            self.assertEqual(self.statuses(server, 8, "/rate", "X-Forwarded-For: 192.0.2.7"), {200: 5, 429: 3})
            self.assertEqual(self.statuses(server, 12, "/slow"), {200: 3, 429: 9})
            time.sleep(0.2)  # the other thread may send a response a moment before it leaves its place
            self.assertEqual(self.statuses(server, 3, "/slow"), {200: 3})
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.raw), "the reload")
            self.assertEqual(self.status(server, "/rate"), 429)
            with self.begin(server, "/stats") as sock:
                self.assertEqual(evtest.receive_all(sock).rpartition(b"\r\n")[2], b"48")
            with self.begin(server, "/metrics") as sock:
                self.assertIn(b"\nevserve_limited_requests_total 48\n", evtest.receive_all(sock))
            self.assertRegex("\n".join(server.raw), r'429 by app.limit "/rate" \[client 127.0.0.1')

    def test_a_place_is_free_when_its_stream_ends(self):
        script = """
app.limit("/", { concurrency = 1 })
app.events("/news", { topic = "news" })
app.get("/", function() return "x" end)
app.get("/deferring", function() app.defer(function() end) return "x" end)
"""
        with self.serve(script) as server:
            sock = self.begin(server, "/news")
            self.assertIn(b" 200 ", sock.recv(4096))
            self.assertEqual(self.status(server, "/"), 429)
            sock.close()
            evtest.wait_until(lambda: self.status(server, "/") == 200, "a free place")
            for _ in range(2):  # what is deferred is called when the request is over, and so is what the limit counts
                evtest.wait_until(lambda: self.status(server, "/deferring") == 200, "a free place")

    def test_a_websocket_has_its_place_until_it_is_closed(self):
        script = """
app.limit("/chat", { concurrency = 1 })
app.websocket("/chat", function(ws) for text in ws:messages() do ws:send(text) end end)
"""
        fields = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        with self.serve(script) as server:
            def handshake():
                sock = server.connect()
                self.addCleanup(sock.close)
                sock.sendall("\r\n".join(["GET /chat HTTP/1.1", "Host: a", *fields, "", ""]).encode())
                return sock, int(sock.recv(4096).split()[1])

            sock, status = handshake()
            self.assertEqual(status, 101)
            self.assertEqual(handshake()[1], 429)
            sock.sendall(b"\x81\x82\0\0\0\0hi")
            self.assertEqual(sock.recv(100), b"\x81\x02hi")
            self.assertEqual(handshake()[1], 429)
            sock.close()
            evtest.wait_until(lambda: handshake()[1] == 101, "a free place")


class Rates(Case):
    SCRIPT = f"""
app.set {{ rate_limit = "1M" }}
app.static("/files", "files")
app.get("/text", function() return string.rep("x", {len(LARGE)}) end)
app.get("/stream", function()
    return 200, function(out)
        for _ = 1, 100 do out:write(string.rep("x", {len(LARGE) // 100})) end
    end
end)
app.get("/fast", {{ rate_limit = 0 }}, function() return string.rep("x", {len(LARGE)}) end)
"""

    def load(self, server, target, context=None):
        """(seconds, content) of a response."""
        sock = self.begin_tls(server, target, context) if context else self.begin(server, target)
        began = time.monotonic()
        head, _, body = evtest.receive_all(sock).partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head)
        if b"chunked" in head.lower():
            body = b"".join(re.findall(rb"[xX]{64,}", body))
        return time.monotonic() - began, body

    def begin_tls(self, server, target, context):
        sock = context.wrap_socket(server.connect(), server_hostname="localhost")
        self.addCleanup(sock.close)
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return sock

    def check(self, server, targets, context=None):
        """Load all of them at the same time."""
        found = {}
        threads = [threading.Thread(target=lambda target=target: found.update(
            {target: self.load(server, target, context)})) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for target in targets:
            seconds, body = found[target]
            self.assertEqual(body, LARGE if "files" in target else b"x" * len(LARGE), target)
            self.assertGreater(seconds, LEAST_S, target)

    def prepare(self):
        os.mkdir(os.path.join(self.root, "files"))
        self.write("files/large.bin", LARGE)

    def test_responses_of_every_kind_are_sent_no_faster(self):
        self.prepare()
        with self.serve(self.SCRIPT) as server:
            self.check(server, ["/files/large.bin", "/text", "/stream"])
            self.assertEqual(len(self.load(server, "/fast")[1]), len(LARGE))
            proxy = f'app.set {{ rate_limit = "1M" }}\napp.proxy("/", "http://127.0.0.1:{server.address[1]}")\n'
            with self.serve(proxy) as front:
                self.check(front, ["/fast"])

    def test_over_tls_as_well(self):
        certificates.require_tls(EVSERVE)
        self.prepare()
        authority = certificates.Authority(self.root)
        authority.sign("localhost", "localhost")
        script = self.SCRIPT.replace("app.set", 'app.tls { cert = "localhost.pem", key = "localhost-key.pem" }\napp.set')
        self.write("site.lua", HEAD.replace(":0", ":0?tls") + script)
        context = authority.client()
        with evtest.Program(EVSERVE, "site.lua", cwd=self.root) as server:
            self.check(server, ["/files/large.bin", "/text", "/stream"], context)


if __name__ == "__main__":
    side_by_side.main()
