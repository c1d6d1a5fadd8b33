"""Coroutines of Lua sites that wait for each other, run by the real program: app.semaphore, app.channel, app.shield."""

import unittest

import evtest
from lua_site import Client, SiteCase


class Sync(SiteCase):
    SCRIPT = r"""
    local state = { lines = {} }
    local function note(text) state.lines[#state.lines + 1] = text end
    app.get("/state", function() return state end)
    app.get("/semaphore", function()
        local sem, busy, most, order = app.semaphore(2), 0, 0, {}
        local tasks = {}
        for i = 1, 6 do
            tasks[i] = app.spawn(function()
                sem:wait()
                busy = busy + 1
                most = math.max(most, busy)
                app.sleep(1)
                busy = busy - 1
                order[#order + 1] = i
                sem:post()
            end)
        end
        for i = 1, 6 do tasks[i]:wait() end
        return { most = most, order = order, count = sem:count() }
    end)
    app.get("/timeout", function()
        local sem = app.semaphore(0)
        local ok, err = sem:wait(2)
        sem:post()
        return { ok = tostring(ok), err = err, count = sem:count(), after = sem:wait(2), left = sem:count() }
    end)
    app.get("/posts", function()
        local sem = app.semaphore(0)
        local woken = 0
        for i = 1, 3 do app.spawn(function() sem:wait() woken = woken + 1 end) end
        app.sleep(1)
        sem:post(5)
        app.sleep(1)
        return { woken = woken, count = sem:count() }
    end)
    local shared = app.semaphore(0)
    app.get("/stay", function()
        note("stays")
        local ok, err = pcall(shared.wait, shared)
        if not ok then note("has left") error(err, 0) end
        note("has it")
        return "had it"
    end)
    app.get("/post", function() shared:post() return "posted" end)
    app.get("/cancelled", function()
        local sem, woken = app.semaphore(0), {}
        local first = app.spawn(function() sem:wait() woken[#woken + 1] = "first" end)
        local second = app.spawn(function() sem:wait() woken[#woken + 1] = "second" end)
        app.sleep(1)
        first:cancel()
        sem:post() -- before the first has noticed
        second:wait()
        return { woken = woken, count = sem:count() }
    end)
    app.get("/unused", function()
        local sem, values = app.semaphore(0), setmetatable({}, { __mode = "k" })
        local channel, value = app.channel(), {}
        values[value] = true
        for i = 1, 10 do pcall(sem.wait, sem, "soon") pcall(channel.send, channel, value, "soon") end
        local task = app.spawn(function()
            pcall(app.sleep, "10s")
            channel:send(value) -- ends it: it was cancelled, and knows
        end)
        app.sleep(1)
        task:cancel()
        pcall(task.wait, task)
        value = nil
        collectgarbage() collectgarbage()
        return { left = next(values) ~= nil, count = sem:count(), receive = tostring(channel:receive(1)) }
    end)
    app.get("/inside", function()
        local sem = app.semaphore(0)
        app.spawn(function() app.sleep(1) sem:post() end)
        return coroutine.wrap(function() coroutine.yield(tostring(sem:wait())) end)()
    end)

    app.get("/with", function()
        local sem, busy, most, order = app.semaphore(2), 0, 0, {}
        local tasks = {}
        for i = 1, 6 do
            tasks[i] = app.spawn(sem.with, sem, function(number, none)
                busy = busy + 1
                most = math.max(most, busy)
                app.sleep(1)
                busy = busy - 1
                order[#order + 1] = number
                return number, none, -number
            end, i, nil)
        end
        local results = { tasks[1]:wait() }
        for i = 2, 6 do tasks[i]:wait() end
        local ok, err = pcall(sem.with, sem, function() error("inside", 0) end)
        sem:wait() sem:wait()
        local none, why = sem:with({ timeout = 1 }, error)
        local bad = { pcall(sem.with, sem, { timeout = "soon" }, error) }
        sem:post(2)
        local within = coroutine.wrap(function() return sem:with(function() app.sleep(1) return "within" end) end)()
        return { most = most, order = order, results = { results[1], tostring(results[2]), results[3] }, ok = ok, err = err,
                 none = tostring(none), why = why, bad = bad[2], within = within, count = sem:count() }
    end)
    local held = app.semaphore(1)
    app.get("/held", function() return held:count() .. "\n" end)
    app.get("/with-sleep", function() held:with(app.sleep, "1h") end)
    app.get("/with-waiting", function() held:with(note, "has come in") return "in" end)
    app.get("/with-loop", { handler_cpu = "50ms" }, function() held:with(function() while true do end end) end)
    app.get("/with-deaf", function()
        held:with(function()
            while true do pcall(app.sleep, "1h") end -- it is told that the client has gone, and waits again
        end)
    end)
    app.get("/with-yield", function() held:with(coroutine.yield) end)
    app.get("/with-deaf-inside", function()
        held:with(function() coroutine.wrap(function() while true do pcall(app.sleep, "1h") end end)() end)
    end)
    app.get("/with-left", function()
        local inner = coroutine.wrap(function() held:with(coroutine.yield) end)
        inner() -- and never again
        return "left"
    end)

    local function collect(capacity)
        local channel, got = app.channel(capacity), {}
        local task = app.spawn(function()
            for value in channel:each() do
                got[#got + 1] = value
                app.sleep(1)
            end
        end)
        for i = 1, 10 do channel:send(i) end
        channel:close()
        local ok, err = channel:send(11)
        task:wait()
        local last, why = channel:receive()
        return { got = got, ok = tostring(ok), err = err, last = tostring(last), why = why, count = channel:count() }
    end
    app.get("/channel/:n{int}", function(req) return collect(tonumber(req.params.n)) end)
    app.get("/channel-timeout", function()
        local channel = app.channel(1)
        local value, err = channel:receive(1)
        local first = channel:send(false, 1)
        local ok, why = channel:send("full", 1)
        return { value = tostring(value), err = err, first = first, ok = tostring(ok), why = why, got = channel:receive(1) }
    end)
    app.get("/channel-close", function()
        local channel, closed = app.channel(), {}
        for i = 1, 2 do
            app.spawn(function() local ok, err = channel:send(i) closed[#closed + 1] = err end)
        end
        app.sleep(1)
        channel:close()
        app.sleep(1)
        local other = app.channel()
        local task = app.spawn(function() return select(2, other:receive()) end)
        app.sleep(1)
        other:close()
        return { closed = closed, receiver = task:wait() }
    end)
    app.get("/mistakes", function()
        local function say(fn, ...) local ok, err = pcall(fn, ...) return tostring(err) end
        local sem, channel = app.semaphore(0), app.channel(1)
        return app.json.array {
            say(app.semaphore), say(app.semaphore, -1), say(app.semaphore, 1.5), say(app.channel, "x"), say(app.channel, 1000001),
            say(sem.wait), say(sem.wait, {}), say(sem.post, sem, 0), say(sem.wait, sem, "soon"), say(channel.send, channel),
            say(channel.receive), say(app.shield), say(app.shield, 1),
            say(sem.with, sem), say(sem.with, sem, { patience = 1 }, print), say(sem.with, {}, print),
            say(function() app.semaphore(1000000):post() end),
            say(table.sort, { 1, 2 }, function() sem:wait() end),
        }
    end)

    app.get("/mistakes-leave-nothing", function()
        local sem, channel = app.semaphore(0), app.channel()
        local function kilobytes()
            for _ = 1, 200 do pcall(sem.wait, sem, "soon") pcall(channel.receive, channel, "soon") end
            app.sleep(0)
            collectgarbage()
            return collectgarbage "count"
        end
        kilobytes()
        local before = kilobytes()
        return { grown = kilobytes() - before }
    end)

    app.get("/refers-to-itself", function()
        local function kilobytes()
            for _ = 1, 100 do
                local channel = app.channel(1)
                channel:send(function() return channel end)
            end
            app.sleep(0)
            collectgarbage()
            return collectgarbage "count"
        end
        kilobytes()
        local before = kilobytes()
        return { grown = kilobytes() - before }
    end)

    app.get("/shielded", function()
        app.shield(function(what)
            note("begins")
            app.sleep(30)
            note(what .. " is done")
        end, "work")
        local ok, err = pcall(app.sleep, "10s")
        note("then " .. tostring(err))
        error(err, 0)
    end)
    app.get("/unshielded", function()
        note("goes")
        local ok, err = pcall(app.sleep, "10s")
        note("unshielded: " .. tostring(err))
        error(err, 0)
    end)
    app.get("/finish", { finish = true }, function()
        note("starts")
        app.sleep(20)
        app.sleep(20)
        note("finished")
        return "done"
    end)
    app.get("/shield-values", function()
        local a, b, c = app.shield(function(...) return select("#", ...), nil, "c" end, nil, nil)
        local ok, err = pcall(app.shield, function() error("inside", 0) end)
        return { a = a, b = tostring(b), c = c, err = err }
    end)
    app.get("/shield-body", { finish = true }, function(req) return req.body end)
    app.post("/shield-body", { finish = true }, function(req)
        note("reads")
        local ok, err = pcall(function() return req.body end)
        note("body: " .. tostring(err))
        app.sleep(1)
        note("after the body")
    end)
    app.post("/shield-bodies", { finish = true }, function(req)
        note("reads on")
        local errors = {}
        for i = 1, 3 do errors[i] = tostring(select(2, pcall(function() return req.body end))) end
        app.sleep(1)
        note("bodies: " .. table.concat(errors, ", "))
    end)
    app.get("/finish-late", { finish = true, handler_timeout = "100ms" }, function()
        app.sleep "150ms"
        app.sleep "150ms"
        note("finished late")
        return "done"
    end)
    app.get("/finish-stream", { finish = true }, function()
        return function(out)
            out:write("x")
            note("streams")
            while out:write("x") do app.sleep(1) end
            local _, second = out:write("x")
            app.sleep(1)
            note("stream: " .. second .. ", " .. select(2, out:write("x")))
        end
    end)
    app.get("/shield-stream", function()
        return function(out)
            out:write("x")
            note("writes")
            app.shield(function() while out:write("x") do app.sleep(1) end end)
            local _, err = pcall(app.sleep, "10s")
            note("behind the shield: " .. tostring(err))
            error(err, 0)
        end
    end)
    app.get("/shield-task", function()
        local task = app.spawn(function()
            app.shield(app.sleep, 5)
            note("shielded task")
            app.sleep(1)
            note("must not come")
        end)
        app.sleep(1)
        task:cancel()
        local ok, err = pcall(task.wait, task)
        return tostring(err)
    end)
    """

    def wait_for_line(self, line):
        evtest.wait_until(lambda: line in self.ask("/state").json["lines"], f"line {line!r}")

    def leave(self, method, target, line, body=None):
        """Ask, and leave once the handler has written line."""
        client = Client(self.server)
        if body is None:
            client.send(method, target)
        else:
            client.sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode() + body)
        self.wait_for_line(line)
        client.reset()

    def test_a_semaphore_lets_so_many_in(self):
        self.assertEqual(self.ask("/semaphore").json, {"most": 2, "order": [1, 2, 3, 4, 5, 6], "count": 2})
        self.assertEqual(self.ask("/timeout").json,
                         {"ok": "nil", "err": "timeout", "count": 1, "after": True, "left": 0})
        self.assertEqual(self.ask("/posts").json, {"woken": 3, "count": 2})
        self.assertEqual(self.ask("/inside").text, "true")

    def test_who_has_left_takes_nothing(self):
        self.assertEqual(self.ask("/cancelled").json, {"woken": ["second"], "count": 0})
        self.leave("GET", "/stay", "stays")
        self.wait_for_line("has left")  # on a busy machine the next requests may be seen before the reset
        with Client(self.server) as client:
            client.send("GET", "/stay")
            self.assertEqual(self.ask("/post").text, "posted")
            self.assertEqual(client.read().text, "had it")

    def test_with_gives_back_what_it_took(self):
        self.assertEqual(self.ask("/with").json,
                         {"most": 2, "order": [1, 2, 3, 4, 5, 6], "results": [1, "nil", -1], "ok": False, "err": "inside",
                          "none": "nil", "why": "timeout", "within": "within", "count": 2,
                          "bad": 'site.lua:97: semaphore:with: "soon" is not a whole number with a unit (ms, s, m or h), '
                                 'such as "30s"'})

    def test_with_gives_back_however_its_function_ends(self):
        for path in ("/with-sleep", "/with-deaf", "/with-deaf-inside"):
            with self.subTest(path), Client(self.server) as waiting:
                holder = Client(self.server)
                holder.send("GET", path)
                evtest.wait_until(lambda: self.ask("/held").text == "0\n", "the semaphore to be taken")
                waiting.send("GET", "/with-waiting")
                self.assertEqual(self.ask("/held").text, "0\n")
                holder.reset()
                self.assertEqual(waiting.read().text, "in")
        for path, status in (("/with-loop", 503), ("/with-yield", 500), ("/with-left", 200)):
            with self.subTest(path):
                self.assertEqual(self.ask(path).status, status)
                self.assertEqual(self.ask("/with-waiting").text, "in")
        self.assertEqual(self.ask("/held").text, "1\n")

    def test_a_wait_that_cannot_begin_leaves_nothing_in_the_queue(self):
        self.assertEqual(self.ask("/unused").json, {"left": False, "count": 0, "receive": "nil"})

    def test_a_channel_keeps_the_order(self):
        for capacity in (0, 1, 3, 100):
            with self.subTest(capacity):
                self.assertEqual(self.ask(f"/channel/{capacity}").json,
                                 {"got": list(range(1, 11)), "ok": "nil", "err": "closed", "last": "nil",
                                  "why": "closed", "count": 0})

    def test_a_channel_with_timeouts(self):
        self.assertEqual(self.ask("/channel-timeout").json,
                         {"value": "nil", "err": "timeout", "first": True, "ok": "nil", "why": "timeout",
                          "got": False})
        self.assertEqual(self.ask("/channel-close").json, {"closed": ["closed", "closed"], "receiver": "closed"})

    def test_mistakes(self):
        whole = "a whole number from"
        expected = [whole, whole, whole, f'{whole} 0 to 1000000 expected, got "x"', whole, "semaphore:wait: call it",
                    "semaphore:wait: call it", "semaphore:post: a whole number from 1", 'semaphore:wait: "soon"',
                    "channel:send: a value expected, got nil", "channel:receive: call it",
                    "app.shield: a function expected, got nil", "app.shield: a function expected, got 1",
                    "semaphore:with: a function expected, got nil", 'semaphore:with: unknown option "patience"',
                    "semaphore:with: call it as a method",
                    "the count would be above 1000000", "semaphore:wait cannot wait inside a function that C calls"]
        texts = self.ask("/mistakes").json
        self.assertEqual(len(texts), len(expected))
        for text, part in zip(texts, expected):
            self.assertRegex(text, r"^site\.lua:\d+: ")
            self.assertIn(part, text)

    def test_a_wait_that_raises_leaves_nothing_in_the_queue(self):
        self.assertLess(self.ask("/mistakes-leave-nothing").json["grown"], 20)

    def test_a_channel_with_a_value_that_refers_to_it_is_collected(self):
        self.assertLess(self.ask("/refers-to-itself").json["grown"], 10)

    def test_shielded_work_is_done_when_the_client_leaves(self):
        self.leave("GET", "/shielded", "begins")
        self.wait_for_line("work is done")
        self.wait_for_line("then the client has gone")
        self.leave("GET", "/unshielded", "goes")
        self.wait_for_line("unshielded: the client has gone")
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_a_route_that_finishes(self):
        self.leave("GET", "/finish", "starts")
        self.wait_for_line("finished")
        self.assertEqual(self.ask("/finish").text, "done")

    def test_a_route_that_finishes_after_its_timeout(self):
        self.assertEqual(self.ask("/finish-late").status, 503)
        self.wait_for_line("finished late")

    def test_a_shield_is_no_reason_to_wait_for_a_body(self):
        self.leave("POST", "/shield-body", "reads", b"one")
        self.wait_for_line("body: the client has gone")

    def test_shielded_work_may_ask_its_client_again_and_again(self):
        self.leave("POST", "/shield-bodies", "reads on", b"one")
        self.wait_for_line("bodies: the client has gone, the client has gone, the client has gone")
        self.leave("GET", "/finish-stream", "streams")
        self.wait_for_line("stream: closed, closed")
        self.leave("GET", "/shield-stream", "writes")
        self.wait_for_line("behind the shield: the client has gone")

    def test_shield_hands_values_and_errors_on(self):
        self.assertEqual(self.ask("/shield-values").json, {"a": 2, "b": "nil", "c": "c", "err": "inside"})

    def test_a_shielded_task_ends_after_the_shield(self):
        self.assertEqual(self.ask("/shield-task").text, "the task was cancelled")
        lines = self.ask("/state").json["lines"]
        self.assertIn("shielded task", lines)
        self.assertNotIn("must not come", lines)


if __name__ == "__main__":
    unittest.main()
