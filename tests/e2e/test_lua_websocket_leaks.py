"""Nothing is left behind by WebSockets of scripts, however they end: closed by either side, lost, refused, failed, stopped
in the middle, with their script replaced (leaks.py)."""

import contextlib
import random
import signal
import unittest

import evtest
import ws_client
from leaks import Leaks

SCRIPT = r"""
app.set { lua_memory = "16M", drain_timeout = "20s", handler_cpu = 5 }
local thread = app.store "threads":incr "n"
app.websocket("/echo", { compress = true }, function(ws)
    ws:subscribe "a"
    for text in ws:messages() do
        app.publish("a", { text })
        ws:send(text)
    end
end)
app.websocket("/closes", function(ws) ws:receive() ws:close(4000, "bye") ws:receive() end)
app.websocket("/fails", function(ws) ws:receive() error "broken" end)
app.websocket("/spins", function(ws) ws:receive() while true do end end)
app.websocket("/sleeps", function(ws) app.spawn(function() app.sleep "1h" end) app.sleep "1h" end)
app.websocket("/tasks", function(ws)
    app.all(function() for text in ws:messages() do ws:send(text) end end, function() app.sleep "1h" end)
end)
app.websocket("/refused", { origins = { "http://a.test" } }, function() end)
app.websocket("/busy", { max_age = "100ms" }, function(ws) app.sleep(5) ws:send(ws:receive()) end)
app.get("/held", function()
    collectgarbage() collectgarbage()
    return { thread = thread % 2, lua = app.stats().lua_memory, busy = 0 }
end)
"""


class LuaWebSocketLeaks(Leaks, unittest.TestCase):
    SCRIPT = SCRIPT
    TARGETS = ("/echo", "/closes", "/fails", "/spins", "/sleeps", "/tasks", "/busy")

    def requests_of_a_round(self):
        return len(self.TARGETS) + 1

    def play_round(self, server, client):
        for target in self.TARGETS:
            with ws_client.connect(server, target, extensions="permessage-deflate") as ws:
                ws.send("hello" * 100)
                if target in ("/echo", "/tasks", "/busy"):
                    ws.receive()
                with contextlib.suppress(ConnectionError):
                    getattr(ws, random.choice(("close", "drop", "reset")))()
        if ws_client.refusal(server, "/refused", headers=[("Origin", "http://b.test")]).status != 403:
            raise AssertionError("/refused was accepted")

    def reload(self, server):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(ws_client.connect(server, target)) for target in ("/echo", "/sleeps", "/busy")]
            super().reload(server)
            for ws in sockets[:2]:
                ws.close()
            sockets[2].wait_closed()

    def test_requests_leave_everything_where_it_was(self):
        self.check_that_requests_leave_nothing()

    def test_stops_in_the_middle(self):
        """The sanitizer of the dev preset says what was not freed."""
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(self.start(stack))
                sockets = [stack.enter_context(ws_client.connect(server, target)) for target in self.TARGETS]
                for ws in sockets:
                    ws.send("hello")
                server.process.send_signal(signal.SIGTERM)
                for ws in sockets:
                    ws.wait_closed()
                self.assertEqual(server.process.wait(evtest.LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
