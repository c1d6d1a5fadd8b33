"""WebSockets of Lua sites when the server stops or reloads its script, and over TLS."""

import signal
import tempfile
import unittest

import certificates
import evtest
import ws_client
from lua_site import EVSERVE, script


class Ends(unittest.TestCase):
    """Stops and reloads."""

    SCRIPT = r"""
    app.websocket("/ws", { max_age = "300ms" }, function(ws)
        ws:send "one"
        for text in ws:messages() do ws:send("one " .. text .. " " .. tostring(app.stopping())) end
        app.log("info", "over", ws.code, tostring(app.stopping()))
    end)
    app.websocket("/stay", function(ws)
        for text in ws:messages() do ws:send("one " .. text) end
    end)
    """

    def start(self, path):
        return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)

    def test_a_stop_says_1001_and_waits_for_the_client(self):
        with script(self.SCRIPT) as path, self.start(path) as server:
            with ws_client.connect(server, "/ws") as ws:
                self.assertEqual(ws.receive(), "one")
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(ws.wait_closed()[0], 1001)
            server.process.wait(evtest.LIMIT)
            self.assertTrue(any("over 1001 true" in line for line in server.lines), server.lines)
            self.assertFalse(any("cut" in line for line in server.lines), server.lines)

    def test_the_stopping_function_may_say_goodbye(self):
        text = r"""
        local peers = {}
        app.websocket("/ws", function(ws)
            peers[ws] = true
            ws:send "hello"
            for text in ws:messages() do ws:send(text) end
            peers[ws] = nil
            app.sleep(5)
            app.log("info", "cleaned up")
        end)
        app.on("stopping", function()
            for ws in pairs(peers) do ws:send "goodbye" ws:close(4000, "so long") end
        end)
        """
        with script(text) as path, self.start(path) as server:
            with ws_client.connect(server, "/ws") as ws:
                self.assertEqual(ws.receive(), "hello")
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(ws.receive(), "goodbye")
                self.assertEqual(ws.wait_closed(), (4000, "so long"))
            server.process.wait(evtest.LIMIT)
            self.assertTrue(any("cleaned up" in line for line in server.lines), server.lines)

    def test_a_client_that_does_not_answer_the_close_is_cut(self):
        text = "app.set { drain_timeout = 200 }\n" + self.SCRIPT
        with script(text) as path, self.start(path) as server:
            with ws_client.connect(server, "/ws") as ws:
                self.assertEqual(ws.receive(), "one")
                ws.has_sent_close = True  # so it does not answer
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(ws.wait_closed()[0], 1001)
            server.process.wait(evtest.LIMIT)
            self.assertTrue(any("over 100" in line for line in server.lines), server.lines)

    def test_over_tls(self):
        certificates.require_tls(EVSERVE)
        with tempfile.TemporaryDirectory() as folder, script(self.SCRIPT) as path:
            authority = certificates.Authority(folder)
            pair = authority.sign("first", "localhost")
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", "--tls-cert", pair[0], "--tls-key", pair[1],
                                path) as server:
                with ws_client.connect(server, "/ws", tls=authority.client(), host="localhost",
                                       headers=[("Origin", "https://localhost")]) as ws:
                    self.assertEqual(ws.receive(), "one")
                    ws.send("x" * 100000)
                    self.assertEqual(ws.receive(), "one " + "x" * 100000 + " false")
                    self.assertEqual(ws.close(), (1000, ""))

    def test_a_reload_leaves_it_on_the_old_script_until_max_age(self):
        with script(self.SCRIPT) as path, self.start(path) as server:
            with ws_client.connect(server, "/ws") as ws, ws_client.connect(server, "/stay") as stay:
                self.assertEqual(ws.receive(), "one")
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text.replace('"one', '"two'))
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "reload")
                with ws_client.connect(server, "/ws") as new:
                    self.assertEqual(new.receive(), "two")
                    ws.send("still")
                    self.assertEqual(ws.receive(), "one still true")
                    self.assertEqual(ws.wait_closed()[0], 1001)
                    new.send("there")
                    self.assertEqual(new.receive(), "two there false")
                stay.send("here")
                self.assertEqual(stay.receive(), "one here")


if __name__ == "__main__":
    unittest.main()
