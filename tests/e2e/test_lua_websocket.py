"""app.websocket in Lua sites, run by the real program: messages both ways, refusals, topics, back-pressure, mistakes."""

import json
import re
import time
import unittest

import evtest
import ws_client
from lua_site import EVSERVE, SiteCase, script

ORIGIN = [("Origin", "https://example.org")]


class WebSocket(SiteCase):
    SCRIPT = r"""
    local notes = {}
    local function note(...)
        local list = { ... }
        for i = 1, select("#", ...) do list[i] = tostring(list[i]) end
        notes[#notes + 1] = table.concat(list, " ")
    end
    app.get("/notes", function() return app.json.array(notes) end)
    app.post("/forget", function() notes = {} return 204 end)

    app.use(function(req, nxt)
        if req.query.token == "bad" then return 401, "who are you?" end
        req.user = req.query.token
        local res = nxt()
        if req.query.late == "403" then return 403, "no" end
        if req.query.status == "404" then res.status = 404 end
        if res.status == 101 then res.headers["x-seen"] = "yes" end
        return res
    end)

    app.websocket("/echo", function(ws)
        for text, kind in ws:messages() do
            if kind == "binary" then ws:send_binary(text) else ws:send(text) end
        end
        note("echo over", ws.code, ws.reason)
    end)
    app.websocket("/fields/:room", { protocols = { "v2", "v1" }, name = "fields" }, function(ws)
        ws.mine = "kept"
        ws:send { room = ws.params.room, query = ws.query.x, agent = ws.headers["user-agent"], user = ws.user,
            protocol = ws.subprotocol, path = ws.path, method = ws.method, has_id = #ws.id > 0, code = ws.code,
            mine = ws.mine, peer = type(ws.peer), url = app.url("fields", { room = "x" }) }
    end)
    app.websocket("/never", function() note "never" end)
    app.websocket("/return", function() end)
    app.websocket("/close", function(ws)
        note("close", ws:close(4321, "enough"), ws:close())
        note("after", ws:receive())
        note(ws.code, ws.reason)
        app.sleep(1)
        note("slept")
    end)
    app.websocket("/fail", function(ws) ws:receive() error "broken" end)
    app.websocket("/raise", function(ws) app.error(403, "no") end)
    app.websocket("/spin", function(ws) ws:receive() while true do end end)
    app.websocket("/sleep", function(ws)
        ws:send "ready"
        local ok, err = pcall(app.sleep, "1m")
        note("sleep", ok, err)
        note("then", ws:receive())
        app.sleep(1)
        note("cleaned up")
    end)
    app.websocket("/forever", function(ws)
        note("forever")
        while true do ws:send "tick" app.sleep(10) end
    end)
    app.websocket("/ignore", function(ws)
        ws:send "ready"
        while true do note(ws:receive()) end
    end)
    app.websocket("/finish", { finish = true }, function(ws)
        ws:send "ready"
        app.sleep "100ms"
        note("finished", ws:receive())
    end)
    app.websocket("/timeout", function(ws)
        local text, why = ws:receive(10)
        ws:send(tostring(text) .. " " .. why)
        ws:send(ws:receive "10s")
    end)
    app.websocket("/ping", function(ws) ws:ping "are you there" ws:receive() end)
    app.websocket("/tasks", function(ws)
        local task = app.spawn(function()
            for text in ws:messages() do ws:send("task " .. text) end
            note "task over"
        end)
        app.sleep(1)
        local ok, err = pcall(ws.receive, ws)
        note(err)
        ok, err = pcall(task.wait, task)
        note("main", err)
    end)
    app.websocket("/own", function(ws)
        local next_text = coroutine.wrap(function()
            for text in ws:messages() do coroutine.yield(text) end
        end)
        for text in next_text do
            coroutine.wrap(function() ws:send("own " .. text) end)()
        end
        note "own over"
    end)
    local peers = {}
    app.websocket("/peers", function(ws)
        peers[ws] = true
        for text in ws:messages() do
            for peer in pairs(peers) do peer:send(text) end
        end
        peers[ws] = nil
    end)
    app.get("/shout", function()
        local count = 0
        for peer in pairs(peers) do assert(peer:send "shout") count = count + 1 end
        return tostring(count)
    end)
    app.get("/overflow", function()
        local count = 0
        for peer in pairs(peers) do
            while peer:send(("x"):rep(10000)) do count = count + 1 end
        end
        return tostring(count)
    end)
    local kept
    app.websocket("/keep", function(ws) kept = ws ws:receive() end)
    app.get("/kept", function()
        local ok, err = pcall(kept.receive, kept)
        return { tostring(kept), ok, tostring(err), kept.code or "-", { tostring(kept:send "x"), kept:close() == nil } }
    end)
    app.websocket("/wrong", function(ws)
        local list = {}
        local function try(fn, ...) local ok, err = pcall(fn, ...) list[#list + 1] = ok and "fine" or err end
        try(ws.send, ws, print) try(ws.send, ws, "\255") try(ws.send_binary, ws, 5) try(ws.ping, ws, ("x"):rep(126))
        try(ws.close, ws, 1005) try(ws.close, ws, 999) try(ws.close, ws, "x") try(ws.close, ws, 1000, ("x"):rep(124))
        try(ws.close, ws, 1000, "\255") try(ws.receive, ws, "soon") try(ws.send, {}, "x")
        try(function() ws.send = 1 end) try(function() ws[nil] = 1 end) try(function() ws.code = 1 end)
        ws:send(list)
    end)
    app.websocket("/flood", function(ws)
        ws:receive()
        local text, count = ("x"):rep(1000), 0
        while ws:send(text) do count = count + 1 end
        note("flood over", count > 100)
    end)
    local may_read
    app.websocket("/slow", { max_message = 100000 }, function(ws)
        may_read = false
        ws:send "ready"
        while not may_read do app.sleep(5) end
        local count = 0
        for text in ws:messages() do
            if text == "end" then break end
            count = count + #text
        end
        ws:send(tostring(count))
    end)
    app.post("/read", function() may_read = true return 204 end)
    app.websocket("/small", { max_message = 10 }, function(ws)
        for text in ws:messages() do ws:send(text) end
        note("small over", ws.code)
    end)
    app.websocket("/idle", { idle_timeout = 50 }, function(ws) ws:receive() note("idle over", ws.code) end)
    app.websocket("/origins", { origins = { "https://example.org", "http://a.test:8080" } }, function() end)
    app.websocket("/any", { origins = "*" }, function() end)
    app.websocket("/defer", function(ws)
        ws:receive()
    end)
    app.websocket("/topic/:name", { compress = true }, function(ws)
        local ok, why = ws:subscribe(ws.params.name)
        ws:send { ok, why or "-", ws:subscribe(ws.params.name, { skip = true }), (ws:unsubscribe "other") }
        for text in ws:messages() do
            if text == "leave" then
                ws:send(tostring(ws:unsubscribe(ws.params.name)))
            else
                app.publish(ws.params.name, { text = text })
            end
        end
        note("topic over", ws:subscribe "more")
    end)
    app.post("/publish/:name", function(req)
        local ok, why = app.publish(req.params.name, req.body, { binary = req.query.binary == "1", event = "x" })
        return tostring(ok) .. " " .. tostring(why)
    end)
    app.websocket("/names", function(ws)
        local list = {}
        local function try(...)
            local ok, value, why = pcall(...)
            list[#list + 1] = why or ok and tostring(value) or value
        end
        try(ws.subscribe, ws, "") try(ws.subscribe, ws, ("x"):rep(257)) try(ws.subscribe, ws, 5)
        try(ws.subscribe, ws, "x", { skp = true }) try(ws.subscribe, ws, "x", { skip = 1 })
        try(ws.subscribe, ws, "x", { replay = 3 }) try(ws.subscribe, ws, "x", { drop = true })
        try(ws.messages) try(app.subscribe("x").messages)
        try(app.publish, 5, "x") try(app.publish, "x", print) try(app.publish, "x", "\255")
        try(app.publish, "x", "\255", { binary = true }) try(app.publish, "x", "y", { event = "a\nb" })
        try(app.publish, "x", "y", { event = 1 }) try(app.publish, "x", "y", 1) try(app.publish, "x", ("y"):rep(2^20 + 1))
        ws:send(list)
    end)
    local room = app.group "/room"
    room.use(function(req, nxt) req.group = "room" return nxt() end)
    room.websocket("/:name", function(ws) ws:send(ws.group .. " " .. ws.params.name) end)
    """

    def setUp(self):
        self.ask("/forget", "POST")

    def connect(self, target, **options):
        return ws_client.connect(self.server, target, **options)

    def notes(self):
        return self.ask("/notes").json

    def wait_for_note(self, text):
        evtest.wait_until(lambda: text in self.notes(), f"note {text!r}, there are {self.notes()}")

    def test_messages_are_echoed_whatever_their_kind_and_length(self):
        with self.connect("/echo") as ws:
            self.assertEqual(ws.response["x-seen"], "yes")
            for message in ["hello", "", "ä€😀", b"\0\xff", b"", "x" * 200, "y" * 70000, b"z" * 1000000]:
                for pieces in (1, 3):
                    ws.send(message, pieces=pieces)
                    self.assertEqual(ws.receive(), message)
            for number in range(500):
                ws.send(str(number))
            self.assertEqual([ws.receive() for _ in range(500)], [str(number) for number in range(500)])
            self.assertEqual(ws.close(1000, "bye"), (1000, ""))
        self.wait_for_note("echo over 1000 bye")

    def test_messages_that_came_with_the_request(self):
        behind = ws_client.frame_of(ws_client.TEXT, b"early") + ws_client.frame_of(ws_client.TEXT, b"bird")
        with self.connect("/echo", behind=behind) as ws:
            self.assertEqual((ws.receive(), ws.receive()), ("early", "bird"))

    def test_fields_of_the_request(self):
        with self.connect("/fields/kitchen?x=1&token=ann", headers=[("User-Agent", "tester")],
                          protocols=["v1", "v2"]) as ws:
            self.assertEqual(ws.subprotocol, "v2")
            self.assertEqual(json.loads(ws.receive()), {
                "room": "kitchen", "query": "1", "agent": "tester", "user": "ann", "protocol": "v2",
                "path": "/fields/kitchen", "method": "GET", "has_id": True, "mine": "kept", "peer": "string",
                "url": "/fields/x"})
            self.assertEqual(ws.wait_closed(), (1000, ""))

    def test_a_function_that_returns_closes_with_1000(self):
        with self.connect("/return") as ws:
            self.assertEqual(ws.wait_closed(), (1000, ""))

    def test_middleware_refuses(self):
        self.assertEqual(ws_client.refusal(self.server, "/never?token=bad").status, 401)
        self.assertEqual(ws_client.refusal(self.server, "/never?token=bad").text, "who are you?")
        self.assertEqual(ws_client.refusal(self.server, "/never?late=403").status, 403)
        self.assertEqual(ws_client.refusal(self.server, "/never?status=404").status, 404)
        self.assertNotIn("never", self.notes())

    def test_what_is_no_handshake_is_refused(self):
        self.assertEqual(self.ask("/echo").status, 426)
        self.assertEqual(self.ask("/echo").headers["sec-websocket-version"], "13")
        self.assertEqual(ws_client.refusal(self.server, "/echo", leave_out=["Sec-WebSocket-Key"]).status, 400)
        self.assertEqual(ws_client.refusal(self.server, "/echo", version="1.0").status, 426)

    def test_origins(self):
        refused = ws_client.refusal(self.server, "/echo", headers=ORIGIN)
        self.assertEqual(refused.status, 403)
        self.assertIn("a proxy in between has changed the field Host, or dropped its port", refused.text)
        self.wait_for_log(r'GET /echo: WebSocket refused: Origin https://example\.org, Host test: if both are the '
                          r'same site, the proxy in front must pass on Host with its port; otherwise list the origin in '
                          r'"origins"$')
        for target in ("/origins", "/any"):
            with self.connect(target, headers=ORIGIN) as ws:
                ws.wait_closed()
        self.assertEqual(ws_client.refusal(self.server, "/origins", headers=[("Origin", "http://b.test")]).status, 403)
        self.wait_for_log(r'GET /origins: WebSocket refused: Origin http://b\.test is not in "origins"$')

    def test_groups_have_websockets(self):
        with self.connect("/room/red") as ws:
            self.assertEqual(ws.receive(), "room red")

    def test_the_script_closes(self):
        with self.connect("/close") as ws:
            self.assertEqual(ws.wait_closed(), (4321, "enough"))
        self.wait_for_note("slept")
        self.assertEqual(self.notes(), ["close true nil closed", "after nil closed", "4321 ", "slept"])

    def test_errors_close_with_1011(self):
        for target in ("/fail", "/raise", "/spin"):
            with self.connect(target) as ws:
                ws.send("go")
                self.assertEqual(ws.wait_closed(), (1011, ""), target)
        self.wait_for_log(r"route at site.lua:\d+: site.lua:\d+: broken")
        self.assertTrue(any(re.search(r"broken \[client 127.0.0.1:\d+\]$", line) for line in self.server.raw))
        self.wait_for_log("handler_cpu")

    def test_a_wait_of_another_kind_ends_when_the_client_goes(self):
        for end in ("close", "drop", "reset"):
            self.ask("/forget", "POST")
            with self.connect("/sleep") as ws:
                self.assertEqual(ws.receive(), "ready")
                getattr(ws, end)()
            self.wait_for_note("cleaned up")
            self.assertEqual(self.notes(), ["sleep false the client has gone", "then nil closed", "cleaned up"])

    def test_a_script_that_goes_on_regardless_is_ended(self):
        lines = len(self.server.lines)
        with self.connect("/forever") as ws:
            ws.receive()
        with self.connect("/ignore") as ws:
            ws.receive()
        self.wait_for_note("nil closed")
        self.assertEqual(self.notes().count("nil closed"), 1)
        self.assertEqual(self.server.lines[lines:], [])

    def test_finish_lets_it_run_to_its_end(self):
        with self.connect("/finish") as ws:
            ws.receive()
        self.wait_for_note("finished nil closed")

    def test_receive_has_a_timeout(self):
        with self.connect("/timeout") as ws:
            self.assertEqual(ws.receive(), "nil timeout")
            ws.send("late")
            self.assertEqual(ws.receive(), "late")

    def test_ping(self):
        with self.connect("/ping") as ws:
            ws_client.wait_for(lambda: ws.pings, ws)
            self.assertEqual(ws.pings, [b"are you there"])
            ws.ping(b"and you")
            self.assertEqual(ws.receive_pong(), b"and you")

    def test_tasks_may_receive_and_send(self):
        with self.connect("/tasks") as ws:
            ws.send("a")
            self.assertEqual(ws.receive(), "task a")
            evtest.wait_until(self.notes, "the function has tried to receive, too")
            self.assertIn("another task of the WebSocket waits", self.notes()[0])
            ws.close()
        self.wait_for_note("main the client has gone")
        self.assertIn("task over", self.notes())

    def test_inside_coroutines_of_the_script(self):
        with self.connect("/own") as ws:
            for text in ("a", "b"):
                ws.send(text)
                self.assertEqual(ws.receive(), "own " + text)
            ws.close()
        self.wait_for_note("own over")

    def test_others_may_send(self):
        with self.connect("/peers") as one, self.connect("/peers") as two:
            one.send("hi")
            self.assertEqual((one.receive(), two.receive()), ("hi", "hi"))
            evtest.wait_until(lambda: self.ask("/shout").text == "2", "both are there")
            self.assertEqual((one.receive(), two.receive()), ("shout", "shout"))

    def test_others_do_not_wait_for_a_client_that_does_not_read(self):
        with self.connect("/peers", receive_buffer=4096) as ws:
            ws.send("hi")
            ws.receive()
            self.assertGreater(int(self.ask("/overflow").text), 20)
            with self.assertRaises((ws_client.Closed, ws_client.Violation)):
                while True:
                    ws.receive()

    def test_an_object_that_is_kept_is_closed(self):
        with self.connect("/keep") as ws:
            ws.close(3000)
        evtest.wait_until(lambda: self.ask("/kept").json[0] == "websocket (closed)", "it is over")
        self.assertEqual(self.ask("/kept").json[1:], [True, "nil", 3000, ["nil", True]])

    def test_mistakes_are_errors_that_say_what_is_expected(self):
        with self.connect("/wrong") as ws:
            texts = json.loads(ws.receive())
        expected = ["table to be sent as JSON", "not UTF-8", "a string expected", "more than 125", "1005", "999",
                    "got string", "more than 123", "not UTF-8", "soon", "with a colon", "read-only", "cannot be set",
                    "read-only"]
        self.assertEqual(len(texts), len(expected))
        for text, part in zip(texts, expected):
            self.assertIn(part, text)

    def test_a_client_that_does_not_read_holds_up_the_sender(self):
        with self.connect("/flood", receive_buffer=4096) as ws:
            memory = self.server.memory_kib()
            ws.send("go")
            time.sleep(0.2)
            self.assertLess(self.server.memory_kib(), memory + 5000)
            for _ in range(300):
                ws.receive()
        self.wait_for_note("flood over true")

    def test_a_script_that_does_not_read_holds_up_the_client(self):
        with self.connect("/slow", send_buffer=65536) as ws:
            ws.receive()
            memory = self.server.memory_kib()
            frame = ws_client.frame_of(ws_client.BINARY, b"x" * 99990)
            sock, sent, rest = ws.stream.sock, 0, frame
            sock.settimeout(0.2)
            with self.assertRaises(TimeoutError):
                while sent < 64 << 20:
                    count = sock.send(rest)
                    sent += count
                    rest = rest[count:] or frame
            self.assertLess(self.server.memory_kib(), memory + 2000)
            sock.settimeout(evtest.LIMIT)
            self.ask("/read", "POST")
            ws.send_raw(rest if len(rest) < len(frame) else b"")
            ws.send("end")
            self.assertEqual(int(ws.receive()) % 99990, 0)

    def test_topics(self):
        with self.connect("/topic/a", extensions="permessage-deflate") as one, self.connect("/topic/a") as two:
            self.assertIsNotNone(one.deflate)
            for ws in (one, two):
                self.assertEqual(ws.receive(), '[true,"-",true,false]')
            one.send("hi")
            for ws in (one, two):
                self.assertEqual(ws.receive(), '{"text":"hi"}')
            for body, binary, expected in [(b"x" * 5000, "0", "x" * 5000), (b"\xff", "1", b"\xff"), (b"", "0", "")]:
                self.assertEqual(self.ask(f"/publish/a?binary={binary}", "POST", body=body).text, "true nil")
                self.assertEqual([ws.receive() for ws in (one, two)], [expected] * 2)
            two.send("leave")
            self.assertEqual(two.receive(), "true")
            self.ask("/publish/a", "POST", body=b"news")
            self.assertEqual(one.receive(), "news")
            two.ping(b"x")
            self.assertEqual(two.receive_pong(), b"x")
            one.close()
        self.wait_for_note("topic over nil closed")

    def test_names_and_messages_that_cannot_be(self):
        with self.connect("/names") as ws:
            texts = json.loads(ws.receive())
        expected = ["empty", "256", "name of a topic expected", 'did you mean "skip"', "skip: true or false",
                    '"replay" is an option of app.subscribe', 'unknown option "drop": there is only skip',
                    "ws:messages: call it as a method, with a colon",
                    "subscription:messages: call it as a method, with a colon",
                    "name of a topic expected", "table to be sent as JSON", "UTF-8", "true", "", "a name expected",
                    "a table of options expected", "1"]
        self.assertEqual(len(texts), len(expected))
        for text, part in zip(texts, expected):
            self.assertIn(part, text)

    def test_limits(self):
        with self.connect("/small") as ws:
            ws.send("0123456789")
            self.assertEqual(ws.receive(), "0123456789")
            ws.send("0123456789a")
            self.assertEqual(ws.wait_closed()[0], 1009)
        self.wait_for_note("small over 1009")
        with self.connect("/idle") as ws:
            self.assertEqual(ws.wait_closed()[0], 1001)
        self.wait_for_note("idle over 1001")


class Mistakes(unittest.TestCase):
    """What a script may get wrong at start-up."""

    def test_options(self):
        cases = [
            ('app.websocket("/", 5)', "app.websocket: a table of options expected"),
            ('app.websocket("/", {})', "app.websocket: a function expected, got nil"),
            ('app:websocket("/", print)', "with a dot"),
            ('app.websocket("/", { max_mesage = 1 }, print)', 'did you mean "max_message"?'),
            ('app.websocket("/", { max_message = 0 }, print)', "max_message"),
            ('app.websocket("/", { ping = "soon" }, print)', "ping"),
            ('app.websocket("/", { origins = {} }, print)', "origins"),
            ('app.websocket("/", { origins = { "example.org" } }, print)', 'texts such as "https://example.org"'),
            ('app.websocket("/", { protocols = { "a b" } }, print)', 'texts such as "chat.v2"'),
            ('app.websocket("/", { jit = true }, print)', "jit is not an option"),
            ('app.websocket("x", print)', "/")]
        text = "".join(f"print(select(2, pcall(function() {call} end)))\n" for call, _ in cases)
        with script(text) as path:
            lines = evtest.run(EVSERVE, "--request", "/", path).stderr.splitlines()
        lines = [line for line in lines if "site.lua:" in line]
        self.assertEqual(len(lines), len(cases), lines)
        for line, (_, expected) in zip(lines, cases):
            self.assertIn(expected, line)


if __name__ == "__main__":
    unittest.main()
