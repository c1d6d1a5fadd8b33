"""Coroutines of the script's own: what a wait in them ends with is theirs, and they look the same as elsewhere."""

import unittest

import evtest
from lua_site import Client, SiteCase


class WaitsThatFail(SiteCase):
    """An error that ends a wait is raised at the wait, inside."""

    SCRIPT = r"""
    app.set { body_timeout = "100ms" }
    local seen = {}
    app.get("/seen", function() local last = seen seen = {} return last end)

    -- Runs wait in a coroutine inside of depth others. Tells what each level sees.
    local function nested(wait, depth)
        if depth == 0 then return wait() end
        local thread = coroutine.create(nested)
        local ok, err = coroutine.resume(thread, wait, depth - 1)
        table.insert(seen, { ok = ok, status = coroutine.status(thread), err = type(err) == "table" and err.status
            or tostring(err) })
        if not ok then error(err, 0) end
        return err
    end
    local waits = {
        sleep = function() return app.sleep "1h" end,
        body = function(req) return req.body end,
        chunks = function(req) for _ in req:chunks() do end end,
        parts = function(req) for part in req:parts() do part:text() end end,
        json = function(req) return req:json() end,
    }
    local function uncaught(req)
        nested(function() return waits[req.params.how](req) end, tonumber(req.params.depth))
    end
    local function caught(req)
        nested(function()
            local ok, err = pcall(waits[req.params.how], req)
            table.insert(seen, { caught = not ok, err = type(err) == "table" and err.status or tostring(err) })
            return "goes on"
        end, tonumber(req.params.depth))
        return "answered\n"
    end
    app.post("/uncaught/:how/:depth{int}", uncaught)
    app.post("/caught/:how/:depth{int}", caught)
    -- For clients that leave, however late a busy machine lets them.
    app.post("/patient/uncaught/:how/:depth{int}", { body_timeout = "1h" }, uncaught)
    app.post("/patient/caught/:how/:depth{int}", { body_timeout = "1h" }, caught)
    app.post("/wrapped", function(req)
        local ok, err = pcall(coroutine.wrap(function() return req.body end))
        table.insert(seen, { caught = not ok, err = err.status })
        error(err)
    end)
    local block = ("x"):rep(2000000) -- three are more than a socket ever takes
    app.get("/write", function(req)
        return function(out)
            coroutine.wrap(function()
                local first, why = out:write(block, block, block)
                local ok, err = pcall(out.write, out, block)
                table.insert(seen, { first = tostring(first), why = why, ok = ok, err = tostring(err) })
                error(err, 0)
            end)()
        end
    end)
    app.get("/sort-write", function(req)
        return function(out)
            coroutine.wrap(function()
                table.sort({ 2, 1 }, function()
                    coroutine.wrap(function()
                        local first, why = out:write(block, block, block)
                        table.insert(seen, { first = tostring(first), why = why, again = tostring(out:write "x") })
                    end)()
                    return false
                end)
            end)()
        end
    end)
    app.get("/foreign", function(req)
        local leaked = app.leaked
        local ok, err = coroutine.resume(coroutine.create(function() return leaked:write("x") end))
        return { ok = ok, err = err }
    end)
    app.get("/leak", function() return function(out) app.leaked = out end end)
    app.get("/sort", function()
        local result
        coroutine.wrap(function()
            table.sort({ 2, 1 }, function()
                local thread = coroutine.create(function() local ok, err = pcall(app.sleep, 1) return { ok = ok, err = err } end)
                result = select(2, coroutine.resume(thread))
                return false
            end)
        end)()
        return result
    end)
    """

    def seen(self):
        return self.ask("/seen").json

    def leave(self, target, method="POST"):
        client = Client(self.server, receive_buffer=4096)
        client.send(method, target, [("Content-Length", "10"), ("Content-Type", "multipart/form-data; boundary=x")])
        self.ask("/foreign" if method == "GET" else "/leak")  # it has been begun
        client.reset()
        seen = []
        evtest.wait_until(lambda: seen.extend(self.seen()) or seen, "the end of the coroutine")
        return seen

    def test_the_level_that_waits_sees_that_the_client_has_gone(self):
        for how in ("sleep", "body", "chunks", "parts"):
            for depth in (1, 3):
                with self.subTest(how=how, depth=depth):
                    seen = self.leave(f"/patient/caught/{how}/{depth}")
                    self.assertEqual(seen[0], {"caught": True, "err": "the client has gone"})
                    self.assertEqual(seen[1:], [{"ok": True, "status": "dead", "err": "goes on"}] * depth)

    def test_uncaught_it_comes_out_of_resume_as_false(self):
        for depth in (1, 3):
            seen = self.leave(f"/patient/uncaught/sleep/{depth}")
            self.assertEqual(seen, [{"ok": False, "status": "dead", "err": "the client has gone"}] * depth)
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_a_slow_body_is_a_408_inside(self):
        for how, depth in (("body", 1), ("chunks", 2), ("parts", 1), ("json", 3)):
            kind = "application/json" if how == "json" else "multipart/form-data; boundary=x"
            headers = [("Content-Length", "10"), ("Content-Type", kind)]
            with self.subTest(how=how, depth=depth):
                with Client(self.server) as client:
                    client.send("POST", f"/uncaught/{how}/{depth}", headers)
                    self.assertEqual(client.read().status, 408)
                self.assertEqual(self.seen(), [{"ok": False, "status": "dead", "err": 408}] * depth)
                with Client(self.server) as client:
                    client.send("POST", f"/caught/{how}/{depth}", headers)
                    self.assertEqual(client.read().text, "answered\n")
                self.assertEqual(self.seen()[0], {"caught": True, "err": 408})

    def test_wrap_raises_the_same_value(self):
        with Client(self.server) as client:
            client.send("POST", "/wrapped", [("Content-Length", "10")])
            self.assertEqual(client.read().status, 408)
        self.assertEqual(self.seen(), [{"caught": True, "err": 408}])

    def test_a_write_to_a_client_that_has_gone(self):
        self.assertEqual(self.leave("/write", "GET"),
                         [{"first": "nil", "why": "closed", "ok": False, "err": "the client has gone"}])

    def test_a_stream_of_another_request(self):
        self.ask("/leak")
        answer = self.ask("/foreign").json
        self.assertFalse(answer["ok"])
        self.assertRegex(answer["err"], r"^site\.lua:\d+: out:write: the stream is over")

    def test_a_write_that_some_outer_level_cannot_wait_for_cuts_the_answer(self):
        with Client(self.server, receive_buffer=4096) as client:
            self.assertFalse(client.ask("GET", "/sort-write").whole)
        seen = self.seen()[0]
        self.assertEqual((seen["first"], seen["again"]), ("false", "nil"))
        self.assertRegex(seen["why"], r"out:write cannot wait inside a function that C calls back")

    def test_a_wait_that_some_outer_level_cannot_do(self):
        answer = self.ask("/sort").json
        self.assertFalse(answer["ok"])
        self.assertRegex(answer["err"], r"app.sleep cannot wait inside a function that C calls back")


class States(SiteCase):
    """Who resumes, asks for the status of, or ends a coroutine, while it waits or otherwise."""

    SCRIPT = r"""
    local shared
    app.get("/wait", function()
        shared = coroutine.create(function(first)
            app.sleep "200ms"
            return first
        end)
        return { coroutine.resume(shared, "mine") }
    end)
    app.get("/meddle", function()
        local before = coroutine.status(shared)
        local ok, err = coroutine.resume(shared, "theirs")
        return { before = before, ok = ok, err = err }
    end)
    app.get("/meddle-wrap", function()
        local entered
        local wrapped = coroutine.wrap(function(again)
            if entered then return end
            entered = true
            return again
        end)
        local inner
        inner = coroutine.wrap(function() return pcall(inner) end)
        local ok, err = inner()
        wrapped()
        return { ok = ok, err = err }
    end)
    app.get("/states", function()
        local states, thread = {}, nil
        thread = coroutine.create(function()
            states.running = coroutine.status(thread)
            states.same = coroutine.running() == thread
            states.can_yield = coroutine.isyieldable == nil or coroutine.isyieldable()
            coroutine.wrap(function() app.sleep(1) states.normal = coroutine.status(thread) end)()
            app.sleep(1)
            coroutine.yield(1)
            app.sleep(1)
        end)
        states.before = coroutine.status(thread)
        coroutine.resume(thread)
        states.between = coroutine.status(thread)
        coroutine.resume(thread)
        states.after = coroutine.status(thread)
        states.dead = select(2, coroutine.resume(thread))
        return states
    end)
    app.get("/many", function()
        local sum = 0
        for i in coroutine.wrap(function() for i = 1, 300 do app.sleep(0) coroutine.yield(i) app.sleep(0) end end) do
            sum = sum + i
        end
        return tostring(sum)
    end)
    app.get("/types", function()
        local messages = {}
        for i, call in ipairs { function() coroutine.resume(7) end, function() coroutine.status({}) end } do
            messages[i] = select(2, pcall(call))
        end
        return messages
    end)
    app.get("/deep", function()
        local function level(n)
            if n == 0 then app.sleep(1) error("at the bottom") end
            coroutine.wrap(level)(n - 1)
        end
        level(3)
    end)
    """

    def test_one_that_waits_cannot_be_resumed_by_others(self):
        with Client(self.server) as client:
            client.send("GET", "/wait")
            evtest.wait_until_read(client.sock)
            answer = self.ask("/meddle").json
            self.assertEqual(answer, {"before": "normal", "ok": False, "err": "cannot resume non-suspended coroutine"})
            self.assertEqual(client.read().json, [True, "mine"])

    def test_one_that_runs_cannot_be_resumed_by_itself(self):
        answer = self.ask("/meddle-wrap").json
        self.assertFalse(answer["ok"])
        self.assertIn("cannot resume", answer["err"])

    def test_its_states(self):
        self.assertEqual(self.ask("/states").json, {
            "before": "suspended", "running": "running", "same": True, "can_yield": True, "normal": "normal",
            "between": "suspended", "after": "dead", "dead": "cannot resume dead coroutine"})

    def test_waits_and_values_in_turn(self):
        self.assertEqual(self.ask("/many").text, "45150")

    def test_wrong_arguments_are_the_callers_mistake(self):
        for message in self.ask("/types").json:
            self.assertRegex(message, r"^site\.lua:\d+: coroutine\.(resume|status): a coroutine expected, got (7|table)")

    def test_an_error_within_is_logged_with_its_place(self):
        self.assertEqual(self.ask("/deep").status, 500)
        self.wait_for_log(r"GET /deep .*site\.lua:\d+: at the bottom.*")
        log = self.server.lines
        at = next(i for i, line in enumerate(log) if "at the bottom" in line)
        evtest.wait_until(lambda: len([line for line in log[at:] if line == "stack traceback:"]) == 4, "four tracebacks")


class CoroutinesOfHandlers(SiteCase):
    """A script gets the coroutine of a handler from coroutine.running(), and may keep it. It belongs to the server, which uses
    it for other requests later: nothing else resumes it."""

    SCRIPT = r"""
    local kept, raw
    for i = 1, 100 do
        local name, value = debug.getupvalue(coroutine.resume, i)
        raw = name == "resume" and value or raw
    end
    local opened = false
    app.get("/gate", function() while not opened do app.sleep(1) end return "through" end)
    app.get("/open", function() opened = true return "opened" end)
    app.get("/keep", function() kept = coroutine.running() opened = false return "kept" end)
    app.get("/wait", function()
        kept = coroutine.running()
        opened = false
        while not opened do app.sleep(1) end
        return "waited"
    end)
    app.get("/meddle", function()
        local before = coroutine.status(kept)
        local ok, err = coroutine.resume(kept, 1, 2)
        return { before = before, ok = ok, err = err, after = coroutine.status(kept) }
    end)
    app.get("/force", function() local ok = raw(kept, 1, 2) return { ok = ok } end)
    app.get("/callable", function(req)
        local meta = debug.getmetatable(req)
        debug.setmetatable(meta, { __call = function() coroutine.yield() end })
        return "callable"
    end)
    """

    def hold(self, count):
        """Have count handlers wait, each in a coroutine of its own."""
        clients = [Client(self.server) for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
            client.send("GET", "/gate")
            evtest.wait_until_read(client.sock)
        return clients

    def keep_one_at_rest(self):
        """Afterwards the script has a coroutine that no request uses, and is not the next one that a request gets."""
        self.ask("/open")
        self.ask("/keep")  # which closes the gate
        other = self.hold(1)
        self.ask("/keep")
        self.ask("/open")
        self.assertEqual(other[0].read().text, "through")

    def check_pool(self):
        self.ask("/keep")
        clients = self.hold(4)
        self.ask("/open")
        self.assertEqual([client.read().text for client in clients], ["through"] * 4)

    def test_one_that_is_at_rest_is_dead(self):
        self.keep_one_at_rest()
        for _ in range(2):
            self.assertEqual(self.ask("/meddle").json, {
                "before": "dead", "ok": False, "err": "cannot resume dead coroutine", "after": "dead"})
        self.check_pool()

    def test_one_that_waits_cannot_be_resumed(self):
        with Client(self.server) as client:
            client.send("GET", "/wait")
            evtest.wait_until_read(client.sock)
            self.assertEqual(self.ask("/meddle").json, {
                "before": "suspended", "ok": False, "err": "cannot resume non-suspended coroutine", "after": "suspended"})
            self.ask("/open")
            self.assertEqual(client.read().text, "waited")
        self.check_pool()

    def test_luajits_own_resume_spoils_one_request_at_most(self):
        for way in "/open", "/callable":
            self.ask(way)
            self.keep_one_at_rest()
            self.ask("/force")
            self.check_pool()
            with Client(self.server) as client:
                client.send("GET", "/wait")
                evtest.wait_until_read(client.sock)
                self.ask("/open")  # so that it ends when it is resumed
                self.ask("/force")
                self.assertIn(client.read().status, (200, 500))
            self.check_pool()


if __name__ == "__main__":
    unittest.main()
