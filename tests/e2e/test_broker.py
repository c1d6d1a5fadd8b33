"""Topics that machines share: two servers and a Redis of the test's own. WebSockets and Server-Sent Events of both, replays
with the same ids, outages, TLS, several threads, reloads, and what is said of it all."""

import contextlib
import os
import re
import signal
import tempfile
import unittest

import certificates
import evtest
import redis_server
import ws_client
from lua_site import EVSERVE, Client, script
from test_lua_events import Events

SITE = """
app.set {{ broker = "{url}" }}
app.websocket("/chat", function(ws)
    ws:subscribe "chat"
    ws:send "in"
    for text in ws:messages() do app.publish("chat", text) end
end)
app.events("/news", {{ topic = "news", replay = 20, heartbeat = false }})
app.metrics "/metrics"
app.post("/news", function(req) return assert(app.publish("news", req.body)) and 204 end)
{more}
"""
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")  # for the sandbox
CONNECTED = r"broker \S+: connected"


def has_hiredis():
    """Whether the library is there, and the program was built for it and for scripts."""
    if os.environ.get("EVSERVE_LUA") == "0":
        return False
    with script('app.set { broker = "redis://127.0.0.1" }') as path:
        return evtest.run(EVSERVE, "--check", path).returncode == 0


@contextlib.contextmanager
def serving(url, *argv, more="", waits=CONNECTED):
    with script(SITE.format(url=url, more=more)) as path, \
            evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *argv, path, env=ENVIRONMENT) as server:
        server.path = path
        if waits:
            wait_for_log(server, waits)
        yield server


def log_of(server):
    return "\n".join(server.raw)


def wait_for_log(server, pattern, count=1):
    evtest.wait_until(lambda: len(re.findall(pattern, log_of(server))) >= count, pattern)


def publish(server, text):
    with Client(server) as client:
        assert client.ask("POST", "/news", body=text.encode()).status == 204


def wait_for_subscribers(redis, topic, count):
    evtest.wait_until(lambda: redis.command("PUBSUB", "NUMSUB", f"evserve:0:{topic}")[1] == count, f"{count} of {topic}")


@unittest.skipUnless(has_hiredis(), "hiredis is not installed (scripts/setup.sh --tests)")
class Broker(unittest.TestCase):
    def test_two_servers(self):
        with redis_server.running(password="hush") as redis:
            url = f"redis://:hush@127.0.0.1:{redis.port}"
            with serving(url, "--reactors", "2") as one, serving(f"unix:{redis.path}?password=hush") as two:
                self.check_chat(redis, one, two)
                self.check_events(redis, one, two)
                self.check_outage(redis, one, two)
                self.assertNotIn("hush", log_of(one) + log_of(two))

    def check_chat(self, redis, one, two):
        with ws_client.connect(one, "/chat") as ann, ws_client.connect(two, "/chat") as bob, \
                ws_client.connect(one, "/chat") as eve:
            for ws in ann, bob, eve:
                self.assertEqual(ws.receive(), "in")
            wait_for_subscribers(redis, "chat", 2)
            ann.send("hello")
            for ws in ann, bob, eve:
                self.assertEqual(ws.receive(), "hello")
            texts = [f"text {i}" for i in range(100)]
            for text in texts:
                bob.send(text)
            for ws in ann, bob, eve:
                self.assertEqual([ws.receive() for _ in texts], texts)
            redis.command("PUBLISH", "evserve:0:chat", "from elsewhere")
            for ws in ann, bob, eve:
                self.assertEqual(ws.receive(), "from elsewhere")

    def check_events(self, redis, one, two):
        with Events(one, "/news") as ann, Events(two, "/news") as bob:
            wait_for_subscribers(redis, "news", 2)
            evtest.wait_until(lambda: redis.command("EXISTS", "evserve:keep:news") == 1, "the key that asks for a replay")
            ids = []
            for text in "one", "two", "three":
                publish(two, text)
                self.assertEqual(ann.next(), ("message", text))
                self.assertEqual(bob.next(), ("message", text))
                ids.append(ann.last_id)
            self.assertEqual(ann.last_id, bob.last_id)
        with Events(two, "/news", [("Last-Event-ID", ids[0])]) as ann:  # has moved from one to two
            self.assertEqual(ann.next(), ("message", "two"))
            self.assertEqual(ann.next(), ("message", "three"))
            self.assertEqual(ann.last_id, ids[2])

    def metric(self, server, name):
        with Client(server) as client:
            return int(re.search(rf"^evserve_broker_{name} (\d+)$", client.ask("GET", "/metrics").text, re.MULTILINE)[1])

    def check_outage(self, redis, one, two):
        self.assertEqual(self.metric(one, "connected"), 1)
        self.assertGreater(self.metric(one, "received_total"), 100)
        with Events(one, "/news") as ann, Events(two, "/news") as bob:
            redis.stop()
            for server in one, two:
                wait_for_log(server, r"broker \S+: connection lost: .*; until it is back, messages reach only subscribers of ")
            publish(one, "alone")
            self.assertEqual(ann.next(), ("message", "alone"))
            self.assertEqual(self.metric(one, "connected"), 0)
            self.assertGreater(self.metric(one, "waiting_bytes"), 5)
            redis.start()
            for server in one, two:
                wait_for_log(server, CONNECTED + " again")
            wait_for_subscribers(redis, "news", 2)
            publish(two, "together")
            self.assertEqual(ann.next(), ("message", "together"))
            seen = [bob.next()]
            while seen[-1] != ("message", "together"):  # "alone" comes before it, if two had subscribed in time
                seen.append(bob.next())
            self.assertLessEqual(len(seen), 2)
        self.assertEqual(len(re.findall("connection lost", log_of(one))), 1)

    def test_restarted_server_has_the_history(self):
        with redis_server.running() as redis:
            url = f"redis://127.0.0.1:{redis.port}/3"
            with serving(url) as one:
                evtest.wait_until(lambda: redis.command("PUBSUB", "NUMSUB", "evserve:3:news")[1] == 1, "a subscription")
                with Events(one, "/news") as ann:
                    for text in "one", "two", "three":
                        evtest.wait_until(lambda: (publish(one, text), ann.next())[1] == ("message", text), text)
                        first = ann.last_id if text == "one" else first
            with serving(url) as successor, Events(successor, "/news", [("Last-Event-ID", first)]) as ann:
                self.assertEqual(ann.next(), ("message", "two"))
                self.assertEqual(ann.next(), ("message", "three"))

    def test_reload_and_stop(self):
        with redis_server.running() as redis:
            url = f"redis://127.0.0.1:{redis.port}"
            with serving(url, more='app.on("stopping", function() app.publish("chat", "bye") end)') as one, \
                    serving(url) as two, ws_client.connect(two, "/chat") as bob:
                self.assertEqual(bob.receive(), "in")
                wait_for_subscribers(redis, "chat", 1)
                one.process.send_signal(signal.SIGHUP)
                wait_for_log(one, "reloaded")
                with open(one.path) as file:
                    text = file.read()
                with open(one.path, "w") as file:
                    file.write(text.replace(url, url + "/0"))
                one.process.send_signal(signal.SIGHUP)
                wait_for_log(one, CONNECTED, 2)
                one.stop()
                self.assertEqual(bob.receive(), "bye")

    def test_tls(self):
        certificates.require_tls(EVSERVE)
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            authority = certificates.Authority(folder)
            pair = authority.sign("redis", "localhost", "127.0.0.1")
            with redis_server.running(tls=(*pair, authority.path("ca.pem"))) as redis:
                url = f"rediss://127.0.0.1:{redis.tls_port}"
                with serving(f"{url}?ca_file={authority.path('ca.pem')}"):
                    pass
                with serving(url, waits=r"broker rediss://\S+: cannot be reached: .*certificate"):
                    pass

    def test_denied_and_without_redis(self):
        port = redis_server.free_port()
        with serving(f"redis://127.0.0.1:{port}", waits=r"broker \S+: cannot be reached: .*refused") as server, \
                Events(server, "/news") as ann:
            publish(server, "alone")
            self.assertEqual(ann.next(), ("message", "alone"))
        with serving(f"redis://127.0.0.1:{port}", more='app.set { deny_connect = "private" }',
                     waits="cannot be reached: .*deny_connect denies it"):
            pass

    def test_sandbox(self):
        with redis_server.running() as redis:
            url, place = f"redis://127.0.0.1:{redis.port}", f"127.0.0.1:{redis.port}"
            with serving(url, "--sandbox", "--allow-connect", place):
                pass
            with serving(url, "--sandbox", waits=f"cannot be reached: the sandbox allows no connection to {place}"):
                pass

    def test_check(self):
        with script('app.set { broker = "redis://ann:hush@127.0.0.1/2" }') as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("broker = redis://127.0.0.1:6379/2", done.stdout)
            self.assertNotIn("hush", done.stdout + done.stderr)

    def test_mistakes(self):
        for value, text in (("true", "a URL such as .* expected, got boolean"),
                            ('"http://ann:hush@h"', "the URL of the broker is not valid: a URL such as"),
                            ('"redis://hush@h"', "a user without a password"),
                            ('"redis://h?hush=1"', "an unknown option after its '\\?'")):
            with script(f"app.set {{ broker = {value} }}") as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, "site.lua:2: app.set: broker: .*" + text)
                self.assertNotIn("hush", done.stderr.replace("hush=1", ""))


if __name__ == "__main__":
    unittest.main()
