"""Tasks in Lua sites run by the real program: app.spawn, app.all, app.race."""

import os
import time
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class Tasks(SiteCase):
    SCRIPT = r"""
    local state = { lines = {} }
    local function note(text) state.lines[#state.lines + 1] = text end
    app.get("/state", function() return state end)
    app.get("/order", function()
        local lines = {}
        local task = app.spawn(function(a, b) lines[#lines + 1] = "task " .. a .. b app.sleep(1) return a, nil, b end, "x", "y")
        lines[#lines + 1] = "handler"
        local a, b, c = task:wait()
        return { lines = lines, values = { a, tostring(b), c }, again = { (task:wait()) } }
    end)
    app.get("/error", function()
        local task = app.spawn(function() app.sleep(1) error("broken") end)
        local ok, err = pcall(task.wait, task)
        return { ok = ok, err = err }
    end)
    app.get("/raised", function()
        local task = app.spawn(function() app.error(404, "no such thing\n") end)
        task:wait()
    end)
    app.get("/uncaught", function() app.spawn(function() app.sleep(1) error("deep") end):wait() end)
    app.get("/lost-error", function()
        app.spawn(function() error("nobody waits") end)
        app.sleep(2)
        return "ok"
    end)
    app.get("/timeout", function()
        local task = app.spawn(function() app.sleep "10s" end)
        local value, err = task:wait(5)
        return { value = tostring(value), err = err }
    end)
    app.get("/early", function()
        local task = app.spawn(function() app.sleep(1) return "in time" end)
        return (task:wait "10s")
    end)
    app.get("/cancel", function()
        local why
        local task = app.spawn(function()
            local ok, err = pcall(app.sleep, "10s")
            why = tostring(err)
            app.sleep(1) -- ends it
            why = "it went on"
        end)
        app.sleep(1)
        local first, second = task:cancel(), task:cancel()
        local ok, err = pcall(task.wait, task)
        return { first = first, second = second, ok = ok, err = tostring(err), why = why, last = task:cancel() }
    end)
    app.get("/cancel-first", function()
        local task = app.spawn(function() note("must not run") end)
        task:cancel()
        local ok, err = pcall(task.wait, task)
        return { ok = ok, err = tostring(err) }
    end)
    app.get("/cancel-self", function()
        local task
        task = app.spawn(function()
            task:cancel()
            local ok, err = pcall(app.sleep, 1)
            return tostring(err)
        end)
        return (task:wait())
    end)
    app.get("/self", function()
        local task
        task = app.spawn(function() local ok, err = pcall(task.wait, task) return err end)
        return (task:wait())
    end)
    app.get("/ends", function()
        app.spawn(function()
            local ok, err = pcall(app.sleep, "10s")
            note(tostring(err))
            error(err, 0)
        end)
        app.sleep(1)
        return "ok"
    end)
    app.get("/gone", function()
        app.spawn(function()
            local ok, err = pcall(app.sleep, "10s")
            note("gone: " .. tostring(err))
            error(err, 0)
        end):wait()
    end)
    app.get("/detached", function()
        app.spawn({ detached = true }, function(text) app.sleep(20) note(text) end, "detached")
        return "ok"
    end)
    app.get("/nested", function()
        local task = app.spawn(function()
            app.spawn(function() local ok, err = pcall(app.sleep, "10s") note("inner: " .. tostring(err)) end)
            app.sleep(1)
            return "outer"
        end)
        return (task:wait())
    end)
    app.get("/many", function()
        local task = app.spawn(function() app.sleep(5) return 7 end)
        local waiters = {}
        for i = 1, 10 do waiters[i] = app.spawn(function() return (task:wait()) + i end) end
        local sum = 0
        for i = 1, 10 do sum = sum + waiters[i]:wait() end
        return { sum = sum }
    end)
    app.get("/inside", function()
        local co = coroutine.wrap(function()
            local task = app.spawn(function() app.sleep(1) return "inside" end)
            local value = task:wait()
            local a, b = app.all(function() app.sleep(1) return 1 end, function() return 2 end)
            coroutine.yield(value .. a .. b)
        end)
        return co()
    end)
    app.get("/all", function()
        local a, b, c = app.all(function() app.sleep(10) return "a" end, function() return nil end, function() app.sleep(1) return "c", "more" end)
        return { a, tostring(b), c }
    end)
    app.get("/all-error", function()
        local began = app.now()
        local ok, err = pcall(app.all, function() app.sleep "10s" end, function() app.sleep(1) error("one failed", 0) end)
        return { ok = ok, err = err, quick = app.now() - began < 5 }
    end)
    app.get("/all-none", function() return { n = select("#", app.all()) } end)
    app.get("/race", function()
        local a, b = app.race(function() app.sleep "10s" return "slow" end, function() app.sleep(1) return "fast", "two" end)
        return { a, b }
    end)
    app.get("/race-error", function()
        local ok, err = pcall(app.race, function() app.sleep "10s" end, function() app.sleep(1) error("failed", 0) end)
        return { ok = ok, err = err }
    end)
    app.get("/stopped", function()
        local task = app.spawn(function() while true do end end)
        local ok, err = pcall(task.wait, task)
        return { ok = ok, err = err }
    end)
    app.get("/yields", function()
        local task = app.spawn(function() coroutine.yield() end)
        local ok, err = pcall(task.wait, task)
        return { ok = ok, err = err }
    end)
    app.get("/mistakes", function()
        local function say(fn, ...) local ok, err = pcall(fn, ...) return tostring(err) end
        local task = app.spawn(function() end)
        return app.json.array {
            say(app.spawn), say(app.spawn, 7), say(app.spawn, { detach = true }, print), say(app.spawn, { detached = 1 }, print),
            say(app.spawn, { detached = true }), say(app.all, 7), say(app.race), say(task.wait), say(task.wait, task, "soon"),
            say(task.cancel, "x"),
        }
    end)
    app.get("/body", function(req)
        local task = app.spawn(function() return req.path .. req:header("x-a") end)
        return (task:wait())
    end)
    app.post("/body", function(req)
        local task = app.spawn(function() return req.body end)
        local ok, err = pcall(task.wait, task)
        return tostring(err)
    end)
    app.get("/out", function()
        return function(out)
            local task = app.spawn(function() out:write("x") end)
            local ok, err = pcall(task.wait, task)
            out:write(tostring(err))
        end
    end)
    app.get("/defer", function()
        local task = app.spawn(function() app.defer(function() end) end)
        local ok, err = pcall(task.wait, task)
        return tostring(err)
    end)
    app.get("/group", function()
        local fns = {}
        for i = 1, 1000 do fns[i] = function() return i end end
        local count = select("#", app.all(unpack(fns)))
        fns[1001] = fns[1]
        local ok, err = pcall(app.all, unpack(fns))
        local list = {}
        for i = 1, 200 do list[i] = i end
        local sent = app.spawn(select, "#", unpack(list, 1, 199)):wait()
        local _, refused = pcall(app.spawn, select, "#", unpack(list))
        return { count = count, err = err, sent = sent, refused = refused }
    end)
    """

    def lines(self):
        return self.ask("/state").json["lines"]

    def wait_for_line(self, line):
        evtest.wait_until(lambda: line in self.lines(), f"line {line!r}")

    def test_a_task_runs_beside_the_handler(self):
        self.assertEqual(self.ask("/order").json,
                         {"lines": ["handler", "task xy"], "values": ["x", "nil", "y"], "again": ["x"]})

    def test_an_error_is_raised_where_the_task_is_waited_for(self):
        answer = self.ask("/error").json
        self.assertFalse(answer["ok"])
        self.assertRegex(answer["err"], r"^site\.lua:\d+: broken$")
        self.assertEqual(self.log_count("broken"), 0)

    def test_a_raised_answer_reaches_the_client(self):
        answer = self.ask("/raised")
        self.assertEqual((answer.status, answer.text), (404, "no such thing\n"))

    def test_the_log_has_the_traceback_of_the_task(self):
        self.assertEqual(self.ask("/uncaught").status, 500)
        self.wait_for_log(r"GET /uncaught .*deep")
        self.assertEqual(self.log_count("deep"), 1)

    def test_an_error_that_nobody_waits_for_is_logged(self):
        self.assertEqual(self.ask("/lost-error").text, "ok")
        self.wait_for_log(r"route at site\.lua:\d+: site\.lua:\d+: nobody waits")

    def test_waiting_with_a_timeout(self):
        self.assertEqual(self.ask("/timeout").json, {"value": "nil", "err": "timeout"})
        self.assertEqual(self.ask("/early").text, "in time")

    def test_cancel(self):
        cancelled = "the task was cancelled"
        self.assertEqual(self.ask("/cancel").json, {"first": True, "second": False, "ok": False, "err": cancelled,
                                                    "why": cancelled, "last": False})
        self.assertEqual(self.ask("/cancel-first").json, {"ok": False, "err": cancelled})
        self.assertEqual(self.ask("/cancel-self").text, cancelled)
        self.assertNotIn("must not run", self.lines())
        self.assertEqual(self.log_count("cancelled"), 0)

    def test_a_task_cannot_wait_for_itself(self):
        self.assertIn("would wait for itself", self.ask("/self").text)

    def test_a_task_ends_with_its_request(self):
        self.assertEqual(self.ask("/ends").text, "ok")
        self.wait_for_line("the task was cancelled")

    def test_a_task_ends_with_its_client(self):
        client = Client(self.server)
        client.send("GET", "/gone")
        client.reset()
        self.wait_for_line("gone: the task was cancelled")

    def test_a_detached_task_goes_on(self):
        self.assertEqual(self.ask("/detached").text, "ok")
        self.wait_for_line("detached")

    def test_tasks_of_tasks(self):
        self.assertEqual(self.ask("/nested").text, "outer")
        self.wait_for_line("inner: the task was cancelled")

    def test_many_wait_for_one(self):
        self.assertEqual(self.ask("/many").json, {"sum": 125})

    def test_tasks_inside_a_coroutine_of_the_script(self):
        self.assertEqual(self.ask("/inside").text, "inside12")

    def test_all(self):
        self.assertEqual(self.ask("/all").json, ["a", "nil", "c"])
        self.assertEqual(self.ask("/all-error").json, {"ok": False, "err": "one failed", "quick": True})
        self.assertEqual(self.ask("/all-none").json, {"n": 0})

    def test_race(self):
        self.assertEqual(self.ask("/race").json, ["fast", "two"])
        self.assertEqual(self.ask("/race-error").json, {"ok": False, "err": "failed"})

    def test_a_group_has_a_limit(self):
        answer = self.ask("/group").json
        self.assertEqual(answer["count"], 1000)
        self.assertIn("app.all: at most 1000 functions, got 1001", answer["err"])
        self.assertEqual(answer["sent"], 199)
        self.assertIn("app.spawn: at most 200 arguments, got 201", answer["refused"])

    def test_a_task_that_is_stopped(self):
        answer = self.ask("/stopped").json
        self.assertFalse(answer["ok"])
        self.assertIn("the task was stopped; the log says why", answer["err"])
        self.wait_for_log(r"more than 50 ms of processor time without a wait")
        answer = self.ask("/yields").json
        self.assertIn("the task was stopped", answer["err"])
        self.wait_for_log(r"coroutine.yield\(\) outside a coroutine")

    def test_mistakes(self):
        texts = self.ask("/mistakes").json
        expected = ["app.spawn: a function expected, got nil", "app.spawn: a function expected, got number",
                    'app.spawn: unknown option "detach" (did you mean "detached"?)',
                    "app.spawn: detached is true or false, got 1", "app.spawn: a function expected, got nil",
                    "app.all: a function expected, got 7", "app.race: a function expected, got none",
                    "task:wait: call it as a method, with a colon", 'task:wait: "soon"',
                    "task:cancel: call it as a method, with a colon"]
        self.assertEqual(len(texts), len(expected))
        for text, part in zip(texts, expected):
            self.assertRegex(text, r"^site\.lua:\d+: ")
            self.assertIn(part, text)

    def test_a_task_and_its_request(self):
        self.assertEqual(self.ask("/body", headers=[("x-a", "1")]).text, "/body1")
        with Client(self.server) as client:
            client.sock.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            self.assertIn("req.body", client.read().text)
        self.assertIn("out:write", self.ask("/out").text)
        self.assertIn("app.defer", self.ask("/defer").text)


class Limits(SiteCase):
    SCRIPT = r"""
    app.set { max_tasks = 3 }
    app.get("/", function()
        app.sleep(5) -- those of the request before have been cancelled, and end now
        for i = 1, 3 do app.spawn(function() app.sleep "10s" end) end
        local ok, err = pcall(app.spawn, function() end)
        return err
    end)
    app.get("/groups", function()
        app.sleep(5)
        local begun = 0
        local function count() begun = begun + 1 app.sleep "10s" end
        local _, all = pcall(app.all, count, count, count, count)
        app.sleep(5)
        local _, race = pcall(app.race, count, count, count, count)
        app.sleep(5)
        return { begun = begun, all = all, race = race, first = app.race(function() return 7 end, count, count) }
    end)
    """

    def test_tasks_are_limited(self):
        for _ in range(3):  # those of the request before have ended
            self.assertRegex(self.ask("/").text, r"^site\.lua:\d+: app\.spawn: there are 3 tasks already \(max_tasks\)$")

    def test_a_group_begins_as_a_whole_or_not_at_all(self):
        answer = self.ask("/groups").json
        self.assertEqual((answer["begun"], answer["first"]), (0, 7))
        for name in ("all", "race"):
            self.assertRegex(answer[name], rf"^site\.lua:\d+: app\.{name}: there are 3 tasks already \(max_tasks\)$")


class Stop(unittest.TestCase):
    SCRIPT = r"""
    local function note(text) local file = io.open("notes", "a") file:write(text, "\n") file:close() end
    app.get("/", function()
        app.spawn({ detached = true }, function() app.sleep "200ms" note "short" end)
        app.spawn({ detached = true }, function() app.sleep "1h" note "long" end)
        return "ok"
    end)
    """

    def test_a_stop_waits_for_tasks(self):
        with script(self.SCRIPT) as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path, cwd=os.path.dirname(path)) as server:
                with Client(server) as client:
                    self.assertEqual(client.ask("GET", "/").text, "ok")
                began = time.monotonic()
                server.stop()
                self.assertLess(time.monotonic() - began, 5)
                with open(os.path.join(os.path.dirname(path), "notes"), encoding="utf-8") as file:
                    self.assertEqual(file.read(), "short\n")
                self.assertTrue(any("task of the route at" in line and "cut at" in line for line in server.lines))

    def test_a_stop_ends_a_task_that_receives(self):
        text = r"""
        local channel = app.channel(10)
        local function note(text) local file = io.open("notes", "a") file:write(text, "\n") file:close() end
        app.get("/", function()
            app.spawn({ detached = true }, function()
                for value in channel:each() do note(value) end
                note "closed"
            end)
            channel:send "value"
            return "ok"
        end)
        app.on("stopping", function() channel:close() end)
        """
        with script(text) as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path, cwd=os.path.dirname(path)) as server:
                with Client(server) as client:
                    self.assertEqual(client.ask("GET", "/").text, "ok")
                began = time.monotonic()
                server.stop()
                self.assertLess(time.monotonic() - began, 5)
                with open(os.path.join(os.path.dirname(path), "notes"), encoding="utf-8") as file:
                    self.assertEqual(file.read(), "value\nclosed\n")
                self.assertFalse(any("cut at" in line for line in server.lines))


if __name__ == "__main__":
    unittest.main()
