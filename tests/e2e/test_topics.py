"""Topics with all kinds of subscribers at the same time: WebSockets, plain, over TLS and compressed, and Server-Sent
Events, on two threads. All of them see one order, and those that do not read harm nobody."""

import os
import signal
import ssl
import threading
import unittest

import certificates
import evtest
import ws_client
from lua_site import EVSERVE, Client, script

SITE = r"""
app.set { write_cap = "32K", write_high_mark = "4K" }
local function subscribe(ws)
    ws:subscribe(ws.params.topic)
    ws:send "subscribed"
    for _ in ws:messages() do end
end
app.websocket("/ws/:topic", subscribe)
app.websocket("/packed/:topic", { compress = true, compress_min = 1 }, subscribe)
app.events("/events/:topic", { topic = function(req) return req.params.topic end, replay = 1000 })
app.on("stopping", function() app.publish("stop", "we stop") end)
app.metrics "/metrics"
app.post("/publish/:topic", function(req)
    for text in req.body:gmatch "[^\n]+" do
        local ok, why = app.publish(req.params.topic, text)
        if not ok then return 503, why end
    end
    return 204
end)
"""
PUBLISHERS, MESSAGES = 3, 60


def anyone():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Events:
    """A stream of Server-Sent Events as (id, text)."""

    def __init__(self, server, target, headers=()):
        self.client = Client(server)
        self.client.send("GET", target, headers)
        self.text = ""
        while self.client.file.readline() != b"\r\n":
            pass

    def next(self):
        """The next event that has data."""
        fields = {}
        while True:
            while "\n" not in self.text:
                size = int(self.client.file.readline(), 16)
                self.text += self.client.file.read(size + 2)[:size].decode()
            line, self.text = self.text.split("\n", 1)
            if line == "":
                if "data" in fields:
                    return fields.get("id"), fields["data"]
                fields = {}
            else:
                name, _, value = line.partition(": ")
                fields[name] = value

    def close(self):
        self.client.close()


class Topics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        certificates.require_tls(EVSERVE)
        cls.enterClassContext(cls.start())

    @classmethod
    def start(cls):
        site = cls.enterClassContext(script(SITE))
        cls.server = evtest.Program(EVSERVE, "--reactors", "2", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0?tls",
                                    "--tls-dev", "site.lua", cwd=os.path.dirname(site))
        evtest.wait_until(lambda: any("(HTTPS)" in line for line in cls.server.lines), "an HTTPS listener")
        line = next(line for line in cls.server.lines if "(HTTPS)" in line)
        cls.https = evtest.parse_address(line.split("listening on ")[1].split()[0])
        return cls.server

    def publish(self, topic, *texts):
        with Client(self.server) as client:
            self.assertEqual(client.ask("POST", f"/publish/{topic}", body="\n".join(texts).encode()).status, 204)

    def subscribe(self, path, **options):
        ws = ws_client.connect(options.pop("server", self.server), path, **options)
        self.addCleanup(ws.drop)
        self.assertEqual(ws.receive(), "subscribed")
        return ws

    def test_all_kinds_of_subscribers_see_one_order(self):
        sockets = [self.subscribe("/ws/mixed") for _ in range(4)]
        sockets += [self.subscribe("/ws/mixed", server=self.https, tls=anyone()) for _ in range(3)]
        sockets += [self.subscribe("/packed/mixed", extensions="permessage-deflate") for _ in range(3)]
        streams = [Events(self.server, "/events/mixed") for _ in range(3)]
        for stream in streams:
            self.addCleanup(stream.close)
        publishers = [threading.Thread(target=self.publish, args=("mixed", *[
            f"{number} {i} {'x' * (i * 7)}" for i in range(MESSAGES)])) for number in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        count = PUBLISHERS * MESSAGES
        heard = [[ws.receive() for _ in range(count)] for ws in sockets]
        events = [[stream.next() for _ in range(count)] for stream in streams]
        for publisher in publishers:
            publisher.join()
        for texts in heard + [[text for _, text in got] for got in events]:
            self.assertEqual(texts, heard[0])
        for number in range(PUBLISHERS):
            self.assertEqual([int(text.split()[1]) for text in heard[0] if text.startswith(f"{number} ")],
                             list(range(MESSAGES)))
        again = Events(self.server, "/events/mixed", [("Last-Event-ID", events[0][100][0])])
        self.addCleanup(again.close)
        self.assertEqual([again.next() for _ in range(count - 101)], events[0][101:])

    def test_those_that_do_not_read_are_cut_and_harm_nobody(self):
        fast = self.subscribe("/ws/slow")
        over_tls = self.subscribe("/ws/slow", server=self.https, tls=anyone())
        slow = [self.subscribe("/ws/slow", receive_buffer=4096) for _ in range(3)]
        text = "x" * 4000
        before = self.metric('evserve_deliveries_total{result="ended"}')
        for _ in range(3000):  # until all buffers on the way are full
            self.publish("slow", *[text] * 10)
            for _ in range(10):
                self.assertEqual(fast.receive(), text)
                self.assertEqual(over_tls.receive(), text)
            if self.metric('evserve_deliveries_total{result="ended"}') - before == len(slow):
                break
        self.assertEqual(self.metric('evserve_deliveries_total{result="ended"}') - before, len(slow))
        self.publish("slow", "end")
        self.assertEqual((fast.receive(), over_tls.receive()), ("end", "end"))

    def metric(self, name):
        with Client(self.server) as client:
            lines = client.ask("GET", "/metrics").text.splitlines()
        return int(next(line.split()[-1] for line in lines if line.startswith(name + " ")))

    def test_a_reload_keeps_subscribers(self):
        ws = self.subscribe("/ws/kept")
        stream = Events(self.server, "/events/kept")
        self.addCleanup(stream.close)
        self.server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: any("reloaded" in line for line in self.server.lines), "a reload")
        self.publish("kept", "after")
        self.assertEqual(ws.receive(), "after")
        self.assertEqual(stream.next()[1], "after")

    def test_what_is_published_at_a_stop_comes_first(self):
        with script(SITE) as site, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", site) as server:
            ws = self.subscribe("/ws/stop", server=server)
            stream = Events(server, "/events/stop")
            self.addCleanup(stream.close)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(ws.receive(), "we stop")
            with self.assertRaises(ws_client.Closed) as closed:
                ws.receive()
            self.assertEqual(closed.exception.code, 1001)
            self.assertEqual(stream.next()[1], "we stop")


if __name__ == "__main__":
    unittest.main()
