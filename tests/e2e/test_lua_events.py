"""Server-Sent Events of scripts: what a client reads, when streams are silent, and how they end."""

import signal
import time
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class Events:
    """A client of a stream of events, which reads them as the standard says (WHATWG HTML, section 9.2.6)."""

    def __init__(self, server, target, headers=(), version="1.1", **options):
        self.client = Client(server, **options)
        self.client.send("GET", target, headers, version=version)
        self.status = int(self.client.file.readline().split()[1])
        self.headers = {}
        while (line := self.client.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.is_chunked = self.headers.get("transfer-encoding") == "chunked"
        self.left = b""  # of lines
        self.last_id = ""
        self.retry = None
        self.comments = []
        self.is_whole = None  # at its end: whether that was a proper one

    def _piece(self):
        """More bytes; none at the end."""
        try:
            if not self.is_chunked:
                return self.client.file.read1(65536)
            size = self.client.file.readline()
            piece = self.client.file.read(int(size, 16) + 2)[:-2] if size else b""
            self.is_whole = size == b"0\r\n"
            return piece
        except ConnectionError:
            return b""

    def _line(self):
        while b"\n" not in self.left:
            piece = self._piece()
            if not piece:
                return None
            self.left += piece
        line, _, self.left = self.left.partition(b"\n")
        assert b"\r" not in line
        return line.decode()

    def next(self):
        """The next event: its type and data; None at the end of the stream."""
        data, kind = [], "message"
        while (line := self._line()) is not None:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "" and data:
                return kind, "\n".join(data)
            elif line == "":
                data, kind = [], "message"
            elif name == "":
                self.comments.append(value)
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
        return None

    def all(self):
        found = []
        while event := self.next():
            found.append(event)
        return found

    def close(self):
        self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Handlers(SiteCase):
    SCRIPT = r"""
    local state = { closed = 0 }
    app.get("/state", function() return state end)
    app.get("/kinds", function()
        return app.events(function(events)
            events:send "one"
            events:send "two\nlines"
            events:send { data = "three\r\nlines\r", event = "named" }
            events:send { data = { n = 1 }, id = 7 }
            events:send { data = true }
            events:send(1.5)
            events:send { event = "bare" }
            events:send { id = "forgotten" }
            events:comment "hi"
            events:comment()
            events:send { data = "  blanks", retry = "2s" }
        end)
    end)
    app.get("/last", function()
        return app.events(function(events) events:send(events.last_id or "(none)") end, { retry = 0, heartbeat = false })
    end)
    app.get("/silent", function()
        return app.events(function(events) app.sleep "900ms" events:send "late" end, { heartbeat = "200ms" })
    end)
    app.get("/until-gone", function()
        return app.events(function(events)
            local ok, err
            repeat ok, err = events:send "tick" until not ok -- waits for the client
            state.closed, state.why = state.closed + 1, err
        end)
    end)
    app.get("/asleep", { half_close = true }, function()
        return app.events(function(events)
            events:send "begun"
            pcall(app.sleep, "1m")
            state.woken = true
        end, { heartbeat = "100ms" })
    end)
    app.get("/flood", function()
        return app.events(function(events)
            local text = ("x"):rep(1000)
            for i = 1, 3000 do events:send(text) end
            events:send "end"
        end, { heartbeat = "100ms" })
    end)
    app.get("/own", function()
        return app.events(function(events)
            coroutine.wrap(function() for i = 1, 3 do events:send(i) app.sleep "1ms" end end)()
        end)
    end)
    app.get("/headers", function()
        return 200, app.events(function(events) events:send "x" end), { ["access-control-allow-origin"] = "*" }
    end)
    local kept
    app.get("/keep", function() return app.events(function(events) kept = events end) end)
    local shared = app.events(function(events) events:send "shared" end)
    app.get("/shared", function() return shared end)
    local function mistake(value)
        return function() return app.events(function(events) events:send(value) end) end
    end
    for name, value in pairs {
        none = app.json.null, fn = print, empty = {}, unknown = { n = 1 }, id = { id = "a\nb", data = "" },
        nul = { id = "a\0b", data = "" }, event = { event = "a\rb" }, id_kind = { id = {} }, data = { data = print },
        retry = { retry = -1 }, cycle = (function() local t = {} t.data = { t = t } return t end)(),
    } do
        app.get("/mistake/" .. name, mistake(value))
    end
    app.get("/dot", function() return app.events(function(events) events.send("x") end) end)
    app.get("/over", function() return { pcall(kept.send, kept, "x") } end)
    app.get("/options", function()
        local said = {}
        for _, options in ipairs { { heartbeat = "1ms" }, { heartbeat = true }, { retry = "x" }, { beat = 1 }, 5 } do
            said[#said + 1] = select(2, pcall(app.events, print, options))
        end
        said[#said + 1] = select(2, pcall(app.events, 5))
        return said
    end)
    """

    def events(self, target, headers=(), **options):
        events = Events(self.server, target, headers, **options)
        self.addCleanup(events.close)
        return events

    def test_what_is_sent_is_what_a_client_reads(self):
        events = self.events("/kinds")
        self.assertEqual((events.status, events.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(events.headers["cache-control"], "no-store")
        self.assertEqual(events.headers["x-accel-buffering"], "no")
        self.assertEqual(events.all(), [
            ("message", "one"), ("message", "two\nlines"), ("named", "three\nlines\n"), ("message", '{"n":1}'),
            ("message", "true"), ("message", "1.5"), ("bare", ""), ("message", "  blanks")])
        self.assertEqual((events.last_id, events.retry, events.comments), ("forgotten", 2000, ["hi", ""]))
        self.assertTrue(events.is_whole)

    def test_http_1_0_and_head(self):
        events = self.events("/kinds", version="1.0")
        self.assertEqual(len(events.all()), 8)
        with Client(self.server) as client:
            answer = client.ask("HEAD", "/kinds")
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
            self.assertEqual(client.ask("GET", "/own").text, "data: 1\n\ndata: 2\n\ndata: 3\n\n")

    def test_last_id_is_of_the_field_or_the_query(self):
        for target, headers, expected in (("/last", (), "(none)"), ("/last?lastEventId=a%20b", (), "a b"),
                                          ("/last", [("Last-Event-ID", "7")], "7"),
                                          ("/last?lastEventId=6", [("Last-Event-ID", "7")], "7")):
            events = self.events(target, headers)
            self.assertEqual(events.all(), [("message", expected)])
            self.assertEqual(events.retry, 0)

    def test_silent_streams_have_comments(self):
        silent = self.events("/silent")
        self.assertEqual(silent.all(), [("message", "late")])
        self.assertIn(len(silent.comments), range(2, 9))

    def test_comments_notice_that_a_client_has_gone(self):
        events = self.events("/asleep")
        self.assertEqual(events.next(), ("message", "begun"))
        events.close()  # what comes next is answered with a reset
        evtest.wait_until(lambda: self.ask("/state").json.get("woken"), "the handler to be woken")

    def test_clients_that_go_end_their_streams(self):
        events = self.events("/until-gone")
        self.assertEqual(events.next(), ("message", "tick"))
        events.close()
        evtest.wait_until(lambda: self.ask("/state").json["closed"] == 1, "the stream to end")
        self.assertEqual(self.ask("/state").json["why"], "closed")

    def test_comments_never_come_inside_of_an_event(self):
        events = self.events("/flood", receive_buffer=4096)
        time.sleep(0.4)
        found = events.all()
        self.assertEqual(len(found), 3001)
        self.assertEqual(set(found[:-1]), {("message", "x" * 1000)})
        self.assertEqual(found[-1], ("message", "end"))

    def test_responses_are_as_others(self):
        answer = self.ask("/headers")
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        for _ in range(2):
            self.assertEqual(self.ask("/shared").text, "data: shared\n\n")

    def test_mistakes_say_what_is_wrong(self):
        for name, text in (
                ("none", "a string or a table such as"), ("fn", "a string or a table such as"),
                ("empty", "the event is empty: data expected"),
                ("unknown", 'events:send: "n" is not a member of an event'),
                ("id", "events:send: id: it must not contain a line break"),
                ("nul", "events:send: id: it must not contain a NUL byte"),
                ("event", "events:send: event: it must not contain a line break"),
                ("id_kind", "events:send: id: a string expected, got table"),
                ("data", "events:send: data: a string, or a value for JSON expected, got function"),
                ("retry", "events:send: retry: -1 is not a whole number of milliseconds"), ("cycle", "JSON")):
            with self.subTest(name):
                self.assertEqual(self.ask("/mistake/" + name).status, 500)
                self.wait_for_log(rf"GET /mistake/{name} .*{text}")
        self.assertEqual(self.ask("/dot").status, 500)
        self.wait_for_log("events:send: call it as a method, with a colon")
        self.ask("/keep")
        self.assertIn("the stream is over", self.ask("/over").json[1])

    def test_options_say_what_is_wrong(self):
        said = self.ask("/options").json
        for text, expected in zip(said, (
                "app.events: heartbeat: it must be at least 100 ms", "app.events: heartbeat: a duration",
                "app.events: retry: ", 'app.events: unknown option "beat"', "app.events: a table of options expected",
                "app.events: a function expected, got 5")):
            self.assertIn(expected, text)
        self.assertEqual(len(said), 6)


class Stop(unittest.TestCase):
    SCRIPT = r"""
    app.get("/ticks", function()
        return app.events(function(events)
            local ok, err
            repeat app.sleep "10ms" ok, err = events:send "tick" until not ok
            events:send { event = "why", data = err }
        end)
    end)
    """

    def test_a_stop_ends_streams_behind_what_they_send(self):
        with script(self.SCRIPT) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            with Events(server, "/ticks") as events:
                self.assertEqual(events.next(), ("message", "tick"))
                server.process.send_signal(signal.SIGTERM)
                found = events.all()
                self.assertEqual(found[-1], ("why", "stopping"))
                self.assertTrue(events.is_whole)
            self.assertEqual(server.process.wait(timeout=evtest.LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
