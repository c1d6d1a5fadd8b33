"""Server-Sent Events of scripts: what a client reads, when streams are silent, and how they end."""

import signal
import time
import unittest

import evtest
import side_by_side
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
                "app.events: a path and options, options with a topic, or a function expected, got 5")):
            self.assertIn(expected, text)
        self.assertEqual(len(said), 6)


class Topics(SiteCase):
    SCRIPT = r"""
    app.use(function(req, nxt)
        local res = nxt()
        res.headers["x-seen"] = "yes"
        return res
    end)
    app.events("/news", { topic = "news", replay = 3, retry = "1s", name = "news" })
    app.events("/missing", { topic = "missing" })
    app.events("/skip", { topic = "flood", skip = true, heartbeat = "200ms", write_cap = "64K", write_high_mark = "32K" })
    app.events("/end", { topic = "flood", replay = 10, heartbeat = false, write_cap = "64K", write_high_mark = "32K" })
    local inner = app.group("/inner")
    inner.use(function(req, nxt)
        if req.query.key ~= "secret" then return 401 end
        return nxt()
    end)
    inner.events("/:room", { topic = function(req)
        if req.params.room == "closed" then return nil, 403, "closed\n" end
        if req.params.room == "lost" then return nil end
        if req.params.room == "odd" then return 7 end
        return "room:" .. req.params.room
    end })
    app.get("/own/*topic", function(req) return app.events { topic = req.params.topic } end)
    app.get("/status", function() return 201, app.events { topic = "news" } end)
    app.get("/url", function() return app.url "news" end)
    app.get("/break", function() local res = app.events { topic = "news" } res.events.topic = {} return res end)
    app.post("/say/*topic", function(req)
        local options = req.query.event and { event = req.query.event, binary = req.query.binary == "yes" }
        return { select(2, assert(pcall(app.publish, req.params.topic, req.query.json and req:json() or req.body, options))) }
    end)
    app.post("/say-nil/*topic", { max_body = "2M" }, function(req)
        local ok, err = app.publish(req.params.topic, req.body)
        return ok and "ok" or err
    end)
    app.get("/flood", function()
        local text = ("x"):rep(10000)
        for i = 1, 50 do assert(app.publish("flood", text)) end
        return "done"
    end)
    app.get("/mistakes", function()
        local said = {}
        local function try(fn, ...) said[#said + 1] = tostring(select(2, pcall(fn, ...))) end
        try(app.events, {}) try(app.events, { topic = "" })
        try(app.events, { topic = "t", replay = 10001 }) try(app.events, { topic = "t", skip = "yes" })
        try(app.events, print, { topic = "t" }) try(app.events, "/path", { topic = "t" })
        return said
    end)
    """

    def events(self, target, headers=(), **options):
        events = Events(self.server, target, headers, **options)
        self.addCleanup(events.close)
        return events

    def say(self, topic, text, query="", headers=()):
        answer = self.ask(f"/say/{topic}{query}", "POST", headers, text)
        self.assertEqual((answer.status, answer.text), (200, "[true]"))

    def test_what_is_published_goes_to_all_that_listen(self):
        clients = [self.events("/news"), self.events("/own/news"), self.events("/news", version="1.0")]
        for events in clients:
            self.assertEqual((events.status, events.headers["content-type"]), (200, "text/event-stream"))
            self.assertEqual(events.headers["x-seen"], "yes")
        self.say("news", b"one\nline")
        self.say("news", b'{"a":1}', "?json=1", [("Content-Type", "application/json")])
        self.say("news", b"three", "?event=named")
        self.say("news", b"\xff", "?event=bytes&binary=yes")
        for events in clients:
            self.assertEqual([events.next() for _ in range(4)],
                             [("message", "one\nline"), ("message", '{"a":1}'), ("named", "three"), ("bytes", "/w==")])
        self.assertEqual(clients[0].retry, 1000)

    def test_who_comes_back_gets_what_was_missed(self):
        first = self.events("/news")
        for n in range(3):
            self.say("news", b"%d" % n)
        seen = []
        while not seen or seen[-1] != "2":
            seen.append(first.next()[1])
            if seen[-1] == "0":
                last_id = first.last_id
        back = self.events("/news", [("Last-Event-ID", last_id)])
        self.assertEqual([back.next(), back.next()], [("message", "1"), ("message", "2")])
        self.say("news", b"3")
        self.say("news", b"4")
        lost = self.events(f"/news?lastEventId={last_id}")
        self.assertEqual([lost.next() for _ in range(4)],
                         [("lost", ""), ("message", "2"), ("message", "3"), ("message", "4")])
        self.assertEqual(back.next(), ("message", "3"))

    def test_topics_of_requests(self):
        self.assertEqual(self.ask("/inner/a").status, 401)
        a, b = self.events("/inner/a?key=secret"), self.events("/inner/b?key=secret")
        self.say("room:a", b"for a")
        self.say("room:b", b"for b")
        self.assertEqual((a.next(), b.next()), (("message", "for a"), ("message", "for b")))
        closed = self.ask("/inner/closed?key=secret")
        self.assertEqual((closed.status, closed.text), (403, "closed\n"))
        for room, text in (("lost", "group.events: topic returned nothing"),
                           ("odd", "group.events: topic: the name of a topic expected, got number")):
            self.assertEqual(self.ask(f"/inner/{room}?key=secret").status, 500)
            self.wait_for_log(text)
        self.assertEqual(self.ask("/own/" + "t" * 257).status, 500)
        self.wait_for_log("app.events: topic: the name is too long")

    def test_head_and_other_methods(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("HEAD", "/news").headers["content-type"], "text/event-stream")
            self.assertEqual(client.ask("POST", "/news", body=b"").status, 405)
            self.assertEqual(client.ask("GET", "/url").text, "/news")

    def test_slow_clients_miss_events_or_come_back(self):
        skipping = self.events("/skip", receive_buffer=4096)
        ending = self.events("/end", receive_buffer=4096)
        time.sleep(0.1)
        self.assertEqual(self.ask("/flood").text, "done")
        found = ending.all()
        self.assertLess(len(found), 50)
        self.assertTrue(ending.is_whole)
        back = self.events("/end", [("Last-Event-ID", ending.last_id)])
        self.assertEqual(back.next()[0], "lost")
        self.assertEqual([len(back.next()[1]) for _ in range(10)], [10000] * 10)
        while not skipping.comments: # it goes on
            skipping.next()
            self.say("flood", b"more")

    def test_what_cannot_be_published_is_nil_and_why(self):
        for topic, text, why in (("t", b"\xff", "the text is not UTF-8"), ("t" * 257, b"x", "the name is too long"),
                                 ("t", b"x" * (1 << 20 | 1), "the message is too long")):
            with Client(self.server) as client:
                answer = client.ask("POST", "/say-nil/" + topic, body=text)
                self.assertIn(why, answer.text)
        self.assertEqual(self.ask("/say-nil/t", "POST", body=b"x" * (1 << 20)).text, "ok")

    def test_mistakes_say_what_is_wrong(self):
        said = self.ask("/mistakes").json
        for text, expected in zip(said, (
                "app.events: topic: the name of a topic expected, got nil", "the name of a topic must not be empty",
                "app.events: replay: a number of messages up to 10000 expected, got 10001",
                'app.events: skip: true or false expected, got "yes"',
                'app.events: "topic" is an option of streams without a function',
                "app.events works only while the script starts")):
            self.assertIn(expected, text)
        self.assertEqual(len(said), 6)
        self.assertEqual(self.ask("/status").status, 500)
        self.wait_for_log("app.events with the status 201: clients read a stream of events only with 200")
        self.assertEqual(self.ask("/break").status, 500)
        self.wait_for_log("app.events: topic: the name of a topic expected, got table")


class Subscriptions(SiteCase):
    SCRIPT = r"""
    local state = {}
    app.post("/say/:topic", function(req) return { app.publish(req.params.topic, req.body, { event = req.query.event }) } end)
    app.get("/state", function() return state end)
    app.get("/next/:topic", function(req)
        local text, id, event = app.subscribe(req.params.topic):receive(req.query.timeout)
        return { text or "nil", id, event }
    end)
    app.get("/loop", function()
        return app.events(function(events)
            local subscription = app.subscribe("loop", { after = events.last_id, replay = 10 })
            events:send "begun"
            for text, id, event in subscription:messages "400ms" do
                if text == "last" then break end
                events:send { data = text, id = id, event = event }
            end
            local count, is_gap = subscription:lost()
            events:send { event = "end", data = { count, is_gap } }
        end)
    end)
    app.get("/busy", function()
        local subscription = app.subscribe("busy", { queue = 3 })
        for i = 1, 5 do app.publish("busy", i) end
        app.sleep "20ms"
        local got = {}
        for text in subscription:messages(0) do got[#got + 1] = text end
        local lost = subscription:lost()
        return { got, lost, (subscription:lost()) }
    end)
    app.get("/many", { handler_cpu = "20ms" }, function()
        local subscription = app.subscribe("many", { queue = 10000 })
        for round = 1, 3 do
            for i = 1, 3000 do assert(app.publish("many", "x")) end
            app.sleep "10ms"
        end
        local count = 0
        for text in subscription:messages(0) do
            count = count + 1
            for i = 1, 100 do text = text:rep(2):sub(1, 1) end
        end
        return { count, (subscription:lost()) }
    end)
    app.get("/bytes", function()
        local subscription = app.subscribe "bytes"
        local text = ("x"):rep(1048576)
        for i = 1, 6 do assert(app.publish("bytes", text)) end
        app.sleep "20ms"
        return { (subscription:lost()), #subscription:receive() }
    end)
    app.get("/gone", function()
        local subscription = app.subscribe "gone"
        state.waiting = true
        local ok, err = pcall(subscription.receive, subscription)
        state.gone = tostring(err)
        error(err, 0)
    end)
    app.get("/close", function()
        local subscription = app.subscribe "close"
        local task = app.spawn(function() return select(2, subscription:receive()) end)
        app.sleep "5ms"
        return { subscription:close(), task:wait(), select(2, subscription:receive()), subscription:close(), (subscription:lost()) }
    end)
    local kept
    app.get("/keep", function() kept = app.subscribe "kept" return "kept" end)
    app.get("/kept", function() return { select(2, kept:receive()), kept:close() } end)
    app.get("/task", function()
        local subscription = app.spawn(function() return app.subscribe "task" end):wait() -- belongs to the handler
        app.publish("task", "for the handler")
        return (subscription:receive "1s")
    end)
    app.get("/taken", function()
        local signal, shared, got = app.subscribe "signal", app.subscribe "shared", {}
        local waiting = app.spawn(function()
            for text in shared:messages() do
                got[#got + 1] = "waiting: " .. text
                if text == "last" then return end
            end
            got[#got + 1] = "ended"
        end)
        local patient = app.spawn(function()
            local text = shared:receive() or "nothing"
            got[#got + 1] = "patient: " .. text
        end)
        local quick = app.spawn(function()
            signal:receive()
            local text = shared:receive() -- of those that wait, the first one was woken for it
            got[#got + 1] = "quick: " .. text
        end)
        app.sleep "5ms"
        app.publish("signal", "go")
        app.publish("shared", "first")
        app.sleep "10ms"
        for _, text in ipairs { "second", "last" } do app.publish("shared", text) end
        app.sleep "10ms"
        app.publish("shared", "last")
        waiting:wait()
        return got
    end)
    app.get("/own", function()
        local subscription = app.subscribe "own"
        app.after("5ms", function() app.publish("own", "in a coroutine") end)
        return coroutine.wrap(function() return (subscription:receive "1s") end)()
    end)
    app.every("1h", function() end)
    app.after(0, function()
        for text in app.subscribe("timer"):messages() do state.timer = text end
        state.timer_ended = true
    end)
    app.get("/stop-late", function()
        return app.events(function(events)
            local subscription = app.subscribe "stop"
            events:send "begun"
            local text, err
            repeat text, err = subscription:receive() until not text
            events:send(err)
        end)
    end)
    app.get("/most", { handler_cpu = "60s" }, function()
        local count, made, err = -1
        repeat made, err = app.subscribe("most" .. count % 10) count = count + 1 until not made
        return { count, err }
    end)
    app.get("/mistakes", function()
        local said = {}
        local function try(...) said[#said + 1] = tostring(select(2, pcall(...))) end
        try(app.subscribe, "t", { queue = 10001 }) try(app.subscribe, "t", { queue = 10000 })
        try(app.subscribe) try(app.subscribe, "t", 5) try(app.subscribe, "t", { que = 1 }) try(app.subscribe, "t", { queue = 0 })
        try(app.subscribe, "t", { replay = 1.5 }) try(app.subscribe, "t", { after = 7 })
        local subscription = app.subscribe "t"
        try(subscription.receive, "x") try(subscription.receive, subscription, "soon") try(subscription.lost)
        said[#said + 1] = select(2, app.subscribe "")
        said[#said + 1] = select(2, app.subscribe(("t"):rep(257)))
        return said
    end)
    """

    def say(self, topic, text, query=""):
        self.assertEqual(self.ask(f"/say/{topic}{query}", "POST", body=text).text, "[true]")

    def waiting(self, target, topic):
        """A client that waits for a message of a topic."""
        client = Client(self.server)
        self.addCleanup(client.close)
        client.send("GET", target)
        time.sleep(0.05)
        return client

    def test_receive_waits_for_one_message(self):
        client = self.waiting("/next/a?timeout=5s", "a")
        self.say("a", b"hello", "?event=e")
        text, number, event = client.read().json
        self.assertEqual((text, event), ("hello", "e"))
        self.assertRegex(number, r"^\d+-\d+$")
        self.assertEqual(self.ask("/next/a?timeout=5ms").json, ["nil", "timeout"])

    def test_messages_in_a_stream_with_replay(self):
        with Events(self.server, "/loop") as events:
            self.assertEqual(events.next(), ("message", "begun"))
            self.say("loop", b"one")
            self.say("loop", b"two", "?event=named")
            self.assertEqual(events.next(), ("message", "one"))
            first = events.last_id
            self.assertEqual(events.next(), ("named", "two"))
            self.assertEqual(events.next(), ("end", "[0,false]"))  # nothing came for a while
        self.say("loop", b"three")
        with Events(self.server, "/loop", [("Last-Event-ID", first)]) as events:
            self.say("loop", b"last")
            self.assertEqual(events.all(), [("message", "begun"), ("named", "two"), ("message", "three"), ("end", "[0,false]")])
        with Events(self.server, "/loop", [("Last-Event-ID", "what?")]) as events:
            self.assertEqual(events.all()[-1], ("end", "[0,true]"))

    def test_who_does_not_take_messages_loses_the_oldest(self):
        self.assertEqual(self.ask("/busy").json, [["3", "4", "5"], 2, 0])
        self.assertEqual(self.ask("/bytes").json, [2, 1048576])

    def test_a_script_has_a_most_of_subscriptions(self):
        self.assertEqual(self.ask("/most").json, [99999, "the script has 100000 subscriptions already"])  # the timer has one

    def test_each_message_counts_as_a_wait(self):
        self.assertEqual(self.ask("/many").json, [9000, 0])

    def test_ends(self):
        client = self.waiting("/gone", "gone")
        client.reset()
        evtest.wait_until(lambda: "gone" in self.ask("/state").json, "the handler to end")
        self.assertEqual(self.ask("/state").json["gone"], "the client has gone")
        self.assertEqual(self.ask("/close").json, [True, "closed", "closed", False, 0])
        self.assertEqual(self.ask("/keep").text, "kept")
        self.assertEqual(self.ask("/kept").json, ["closed", False])

    def test_in_tasks_coroutines_and_timers(self):
        self.assertEqual(self.ask("/task").text, "for the handler")
        self.assertEqual(self.ask("/own").text, "in a coroutine")
        self.assertEqual(self.ask("/taken").json[0], "quick: first")
        self.assertEqual(sorted(self.ask("/taken").json), ["patient: second", "quick: first", "waiting: last"])
        self.say("timer", b"for the timer")
        evtest.wait_until(lambda: self.ask("/state").json.get("timer") == "for the timer", "the timer's message")

    def test_mistakes_say_what_is_wrong(self):
        said = self.ask("/mistakes").json
        for text, expected in zip(said, (
                "app.subscribe: queue: a whole number from 1 to 10000 expected, got 10001", "userdata",
                "app.subscribe: the name of a topic expected, got nil", "app.subscribe: a table of options expected, got 5",
                'app.subscribe: unknown option "que" (did you mean "queue"?)',
                "app.subscribe: queue: a whole number from 1 to 10000 expected, got 0",
                "app.subscribe: replay: a whole number from 0 to 10000 expected, got 1.5",
                "app.subscribe: after: the id of a message expected, got number", "subscription:receive",
                'subscription:receive: "soon"', "subscription:lost", "the name of a topic must not be empty",
                "the name is too long")):
            self.assertIn(expected, text)
        self.assertEqual(len(said), 13)


class StopSubscriptions(unittest.TestCase):
    def test_a_stop_ends_them_in_order(self):
        with script(Subscriptions.SCRIPT) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            with Events(server, "/stop-late") as events:
                self.assertEqual(events.next(), ("message", "begun"))
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(events.all(), [("message", "stopping")])
                self.assertTrue(events.is_whole)
            self.assertEqual(server.process.wait(timeout=evtest.LIMIT), 0)
            self.assertFalse([line for line in server.lines if "cut" in line])


class Start(unittest.TestCase):
    def test_mistakes_at_the_start(self):
        for text, expected in (
                ('app.events("/x", {})', "app.events: topic: the name of a topic expected, got nil"),
                ('app.events("/x", { topic = ("t"):rep(257) })', "app.events: topic: the name is too long"),
                ('app.events("/x", { topic = "t", replay = 0.5 })', "app.events: replay: a number of messages"),
                ('app.events("/x", { topic = "t", replya = 5 })', 'unknown option "replya" (did you mean "replay"?)'),
                ('app.events("/x", { topic = "t", heartbeat = "1ms" })', "heartbeat: it must be at least 100 ms"),
                ('app.events("/x", { topic = "t", heartbeat = 15 })',
                 'heartbeat: it must be at least 100 ms; for seconds, write "15s"'),
                ('app.events("x", { topic = "t" })', "x"), ('app.events(5)', "got 5"),
                ('for i = 1, 1001 do app.events("/" .. i, { topic = "t" .. i, replay = 1 }) end',
                 "more than 1000 topics whose messages are kept")):
            with script(text) as path:
                done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(expected, done.stderr)
            self.assertIn("site.lua:2", done.stderr)


class Reload(unittest.TestCase):
    SCRIPT = """
    app.events("/news", { topic = "news", replay = 10 })
    app.post("/say", function(req) return { app.publish("news", req.body) } end)
    app.get("/version", function() return "VERSION" end)
    """

    def test_topics_outlive_scripts(self):
        with script(self.SCRIPT.replace("VERSION", "one")) as path, \
                evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path) as server:
            def ask(target, method="GET", body=None):
                with Client(server) as client:
                    return client.ask(method, target, body=body).text
            with Events(server, "/news") as old:
                ask("/say", "POST", b"first")
                self.assertEqual(old.next(), ("message", "first"))
                with open(path, "w", encoding="utf-8") as file:
                    file.write('local app = require "evserve"' + self.SCRIPT.replace("VERSION", "two"))
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: ask("/version") == "two", "the reload")
                ask("/say", "POST", b"second")
                self.assertEqual(old.next(), ("message", "second"))
                with Events(server, "/news", [("Last-Event-ID", old.last_id)]) as new:
                    ask("/say", "POST", b"third")
                    self.assertEqual((old.next(), new.next()), (("message", "third"), ("message", "third")))


class Stop(unittest.TestCase):
    SCRIPT = r"""
    app.events("/topic", { topic = "t" })
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
            with Events(server, "/ticks") as events, Events(server, "/topic") as silent:
                self.assertEqual(events.next(), ("message", "tick"))
                server.process.send_signal(signal.SIGTERM)
                found = events.all()
                self.assertEqual(found[-1], ("why", "stopping"))
                self.assertTrue(events.is_whole)
                self.assertEqual(silent.all(), [])
                self.assertTrue(silent.is_whole)
            self.assertEqual(server.process.wait(timeout=evtest.LIMIT), 0)


if __name__ == "__main__":
    side_by_side.main()
