"""Clients that shut down their side of the connection, or close it, while their request waits: when the server takes them
for gone, and what they still get. And handlers that keep their clients waiting for too long."""

import contextlib
import os
import resource
import socket
import unittest

import evtest
import lua_site

FDS = 64
LEAVERS = 70
BIG = 3_000_000

SITE = """
app.listen "127.0.0.1:0"
app.listen "unix:s.sock"
app.static("/", "pages", { list = true })
local counts = { begun = 0, gone = 0 }

local function late()
    counts.begun = counts.begun + 1
    local ok, err = pcall(app.sleep, "1h")
    if not ok and tostring(err):find("the client has gone") then counts.gone = counts.gone + 1 end
    error(err, 0)
end

app.get("/counts", function() return { begun = counts.begun, gone = counts.gone } end)
app.get("/now", function() return "now\\n" end)
app.get("/late", late)
app.post("/late", late)
app.get("/rows", function() return 200, function(out) for i = 1, 60000 do out:write(i, ",", i, "\\n") end end end)
app.get("/brief/late", { handler_timeout = "50ms" }, late)
app.get("/brief/stream", { stream_timeout = "50ms" }, function()
    return 200, function(out) out:write("begun\\n") late() end
end)

local function relay()
    if not pcall(late) then app.error(502, "no answer from the other side\\n") end
end
app.get("/relay", relay)
app.get("/brief/relay", { handler_timeout = "50ms" }, relay)
app.get("/half-close", { half_close = true }, function() app.sleep(20) return "late\\n" end)
"""


def get(target):
    return f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def few_fds():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FDS, FDS))


class ClientLeft(unittest.TestCase):
    def serve(self, text=SITE, before="", **options):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        files = [("pages/index.txt", "index\n"), ("pages/big", "x" * BIG)]
        path = stack.enter_context(lua_site.script(before + text, files=files))
        self.folder = os.path.dirname(path)
        return stack.enter_context(evtest.Program(lua_site.EVSERVE, "site.lua", cwd=self.folder, **options))

    def connections(self, server):
        """A client by TCP, and one by the unix socket."""
        yield server.connect()
        path = os.path.join(self.folder, "s.sock")
        evtest.wait_until(lambda: evtest.listens(path), "the socket")
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(evtest.LIMIT)
        sock.connect(path)
        yield sock

    def counts(self, server):
        with lua_site.Client(server) as client:
            return client.ask("GET", "/counts").json

    def ask_and_shut(self, sock, request):
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return evtest.receive_all(sock)

    def test_answers_given_at_once_reach_a_client_that_shut_its_side(self):
        server = self.serve()
        for target, end in (("/now", b"now\n"), ("/index.txt", b"index\n"), ("/big", b"x" * 100), ("/", b"</html>\n"),
                            ("/rows", b"60000,60000\n\r\n0\r\n\r\n"), ("/half-close", b"late\n")):
            for sock in self.connections(server):
                with self.subTest(target=target, family=sock.family), sock:
                    answer = self.ask_and_shut(sock, get(target))
                    self.assertIn(b"HTTP/1.1 200 OK\r\n", answer)
                    self.assertTrue(answer.endswith(end), answer[-100:])

    def test_handler_whose_client_leaves_ends_at_its_wait(self):
        server = self.serve()
        body = b"POST /late HTTP/1.1\r\nHost: test\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30000
        cases = (get("/late"), get("/now") + get("/late"), get("/late") + get("/now") * 3, body)
        left = 0
        for request in cases:
            for sock in self.connections(server):
                with self.subTest(request=request[:60], family=sock.family), sock:
                    answer = self.ask_and_shut(sock, request)
                    self.assertEqual(answer.count(b"HTTP/1.1"), request.startswith(get("/now")))
                    left += 1
                    evtest.wait_until(lambda: self.counts(server) == {"begun": left, "gone": left}, "handlers to end")
                    self.assertEqual(server.process.poll(), None)

    def test_clients_that_ask_and_close_keep_no_newcomer_out(self):
        limits = "".join(f'app.set {{ {name}_timeout = "1s" }}\n' for name in ("idle", "header", "body", "write"))
        server = self.serve(before=limits, preexec_fn=few_fds)
        for _ in range(LEAVERS):
            with server.connect() as sock:
                sock.sendall(get("/late"))
                evtest.wait_until_read(sock)
        self.assertEqual(self.counts(server)["begun"], LEAVERS)
        for _ in range(LEAVERS):
            with lua_site.Client(server) as client:
                self.assertEqual(client.ask("GET", "/now").text, "now\n")
        evtest.wait_until(lambda: self.counts(server)["gone"] == LEAVERS, "the handlers to end")

    def test_what_a_handler_raises_as_an_answer_when_its_client_has_left_is_no_failure(self):
        server = self.serve()
        for sock in self.connections(server):
            with sock:
                self.assertEqual(self.ask_and_shut(sock, get("/relay")), b"")
        with lua_site.Client(server) as client:
            self.assertEqual(client.ask("GET", "/brief/relay").status, 503)
        evtest.wait_until(lambda: self.counts(server) == {"begun": 3, "gone": 3}, "the handlers to end")
        server.stop()
        self.assertEqual([line for line in server.lines if " error " in line], [])

    def test_handler_that_is_late_ends_at_its_wait_and_its_client_gets_503(self):
        server = self.serve()
        with lua_site.Client(server) as client:
            self.assertEqual(client.ask("GET", "/brief/late").status, 503)
            self.assertEqual(client.ask("GET", "/counts").json, {"begun": 1, "gone": 1})
            answer = client.ask("GET", "/brief/stream")
            self.assertEqual((answer.text, answer.whole), ("begun\n", False))
        evtest.wait_until(lambda: self.counts(server) == {"begun": 2, "gone": 2}, "the stream to end")
        evtest.wait_until(lambda: any("stream_timeout" in line for line in server.lines), "the line in the log")
        log = "\n".join(server.lines)
        self.assertRegex(log, r"route /brief/late \(site\.lua:\d+\): 503, since its handler did not answer within 50 ms "
                              r"\(handler_timeout\); it waits at site\.lua:10")
        self.assertRegex(log, r"route /brief/stream \(site\.lua:\d+\): cut, since its stream wrote nothing for 50 ms "
                              r"\(stream_timeout\); it waits at site\.lua:10")


if __name__ == "__main__":
    unittest.main()
