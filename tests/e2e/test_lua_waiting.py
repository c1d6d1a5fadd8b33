"""Lua sites run by the real program: handlers that stream, sleep, and hold up nobody but their own client."""

import time
import unittest

import evtest
from lua_site import Client, SiteCase


class Streams(SiteCase):
    SCRIPT = r"""
    local state = { closed = 0, ended = 0, cleaned = 0, asserted = 0 }
    app.get("/state", function() return state end)
    app.get("/count", function()
        return function(out)
            for i = 1, 5 do out:write(i .. "\n") app.sleep "5ms" end
        end
    end)
    app.get("/pieces", function() return function(out) out:write("a", 1, "b") out:write("") out:write() end end)
    app.get("/status", function() return 202, function(out) out:write "x" end, { ["x-a"] = "1" } end)
    app.get("/nothing", function() return function() end end)
    app.get("/length", function() return function(out) out:write("12345") end, { ["content-length"] = 5 } end)
    app.get("/short", function() return function(out) out:write("123") end, { ["content-length"] = 5 } end)
    app.get("/over", function() return function(out) out:write("123") out:write("456") end, { ["content-length"] = 5 } end)
    app.get("/early", function() return function(out) app.sleep "20ms" out:write("late") end end)
    app.get("/fail", function() return function(out) out:write("begun\n") app.sleep "1ms" error("halfway") end end)
    app.get("/fail-late", function() return function(out) app.sleep "1ms" error("late") end end)
    local block = {}
    for i = 0, 65535 do block[#block + 1] = string.char(i % 251) end
    block = table.concat(block)
    app.get("/big", function() return function(out) for i = 1, 64 do assert(out:write(block)) end end end)
    app.get("/endless-assert", function()
        return function(out)
            local ok, err = pcall(function() while true do assert(out:write(block)) end end)
            state.asserted = state.asserted + 1
            error(err, 0)
        end
    end)
    app.get("/huge-write", { handler_cpu = "10s" }, function() return function(out) assert(out:write(block:rep(64))) end end)
    app.get("/endless", function()
        return function(out)
            while true do
                local ok, err = out:write(block)
                if not ok then state.closed = state.closed + 1 state.why = err break end
            end
            state.ended = state.ended + 1
        end
    end)
    app.get("/endless-blind", function()
        return function(out)
            local ok, err = pcall(function() while true do out:write(block) end end)
            state.cleaned = state.cleaned + 1
            state.err = tostring(err)
            error(err, 0)
        end
    end)
    app.get("/endless-stubborn", function()
        return function(out)
            while true do pcall(out.write, out, block) app.sleep(1) end
        end
    end)
    app.get("/ticks", function()
        return function(out)
            while true do out:write("tick\n") app.sleep "10ms" end
        end
    end)
    local leaked
    app.get("/leak", function() return function(out) leaked = out end end)
    app.get("/leaked", function() return { pcall(leaked.write, leaked, "x") } end)
    app.get("/steal", function()
        return function(out) out:write("mine\n") leaked = out app.sleep "50ms" end
    end)
    """

    BLOCK = bytes(i % 251 for i in range(65536))

    def state(self):
        return self.ask("/state").json

    def wait_for_state(self, name, value):
        evtest.wait_until(lambda: self.state()[name] >= value, f"{name} to be {value}")

    def test_stream_is_chunked(self):
        answer = self.ask("/count")
        self.assertEqual(answer.text, "1\n2\n3\n4\n5\n")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertTrue(answer.whole)

    def test_http_1_0_ends_with_the_connection(self):
        answer = self.ask("/count", version="1.0")
        self.assertEqual(answer.text, "1\n2\n3\n4\n5\n")
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(answer.headers["connection"], "close")

    def test_connection_is_kept_after_a_stream(self):
        with Client(self.server) as client:
            for _ in range(3):
                client.send("GET", "/count")
                client.send("GET", "/pieces")
                self.assertEqual(client.read().text, "1\n2\n3\n4\n5\n")
                self.assertEqual(client.read().text, "a1b")

    def test_status_and_headers_come_first(self):
        answer = self.ask("/status")
        self.assertEqual((answer.status, answer.text, answer.headers["x-a"]), (202, "x", "1"))
        self.assertEqual(self.ask("/nothing").text, "")

    def test_head_of_a_stream_does_not_run_it(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("HEAD", "/endless").status, 200)
            self.assertEqual(client.ask("HEAD", "/length").headers["content-length"], "5")
            self.assertEqual(client.ask("GET", "/pieces").text, "a1b")

    def test_announced_length(self):
        answer = self.ask("/length")
        self.assertEqual((answer.text, answer.headers["content-length"]), ("12345", "5"))
        self.assertNotIn("transfer-encoding", answer.headers)
        self.check_cut("/short")
        self.wait_for_log(r"the stream ended before the 5 bytes")
        self.check_cut("/over")
        self.wait_for_log(r"out:write: more than the 5 bytes")

    def test_head_is_sent_before_the_first_wait(self):
        with Client(self.server) as client:
            client.send("GET", "/early")
            self.assertTrue(client.file.readline().startswith(b"HTTP/1.1 200"))

    def test_error_in_a_stream_cuts_the_connection(self):
        answer = self.ask("/fail")
        self.assertEqual((answer.status, answer.text, answer.whole), (200, "begun\n", False))
        self.wait_for_log(r"GET /fail .*halfway")
        self.check_cut("/fail-late")

    def test_large_stream_to_a_slow_reader_arrives_whole(self):
        for target in ("/big", "/huge-write"):
            with self.subTest(target), Client(self.server, receive_buffer=4096) as client:
                client.send("GET", target)
                time.sleep(0.1)  # the server runs into the full socket; it must not matter
                answer = client.read()
                self.assertTrue(answer.whole)
                self.assertEqual(answer.body, self.BLOCK * 64)

    def test_client_behind_does_not_grow_memory(self):
        with Client(self.server, receive_buffer=4096) as client:
            client.send("GET", "/endless")
            client.file.readline()
            before = memory_kib(self.server)
            time.sleep(0.3)
            self.assertLess(memory_kib(self.server) - before, 4096)
            client.reset()

    def test_write_tells_that_the_client_has_gone(self):
        ended = self.state()["ended"]
        for leave in (Client.close, Client.reset):
            client = Client(self.server, receive_buffer=4096)
            client.send("GET", "/endless")
            evtest.receive(client.sock, 100000)
            leave(client)
            ended += 1
            self.wait_for_state("ended", ended)
        state = self.state()
        self.assertEqual(state["why"], "closed")
        self.assertEqual(state["closed"], state["ended"])

    def test_script_that_ignores_it_is_ended(self):
        cleaned = self.state()["cleaned"]
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-blind")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.wait_for_state("cleaned", cleaned + 1)
        self.assertEqual(self.state()["err"], "the client has gone")
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_assert_on_a_closed_stream_is_not_logged(self):
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-assert")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.wait_for_state("asserted", 1)
        self.assertEqual([line for line in self.server.lines if "closed" in line], [])

    def test_script_that_catches_even_that_is_ended(self):
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-stubborn")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.state()
        before = self.server.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.server.cpu_seconds() - before, 0.25)

    def test_sleeping_stream_ends_with_its_client(self):
        client = Client(self.server)
        client.send("GET", "/ticks")
        client.file.readline()
        client.reset()
        self.assertEqual(self.ask("/count").text, "1\n2\n3\n4\n5\n")

    def test_stream_object_is_useless_elsewhere(self):
        self.ask("/leak")
        ok, err = self.ask("/leaked").json
        self.assertFalse(ok)
        self.assertRegex(err, r"out:write: the stream is over")
        with Client(self.server) as client:
            client.send("GET", "/steal")
            while client.file.readline() != b"mine\n":
                pass
            ok, err = self.ask("/leaked").json
            self.assertFalse(ok)
            self.assertRegex(err, r"the stream belongs to another request")


class Waiting(SiteCase):
    SCRIPT = r"""
    local state = { ticks = 0, woken = 0, unwound = 0, stubborn = 0, after = 0, slow = 0, failing = 0, cancelled = 0 }
    app.get("/state", function() return state end)
    app.get("/sleep/:ms{int}", function(req)
        local before = app.now()
        app.sleep(tonumber(req.params.ms))
        return { slept = app.now() - before }
    end)
    app.get("/sleep-pcall", function()
        local ok, value = pcall(function() app.sleep(1) return "inside" end)
        return tostring(ok) .. " " .. value
    end)
    app.get("/forever", function()
        local ok, err = pcall(app.sleep, "1h")
        state.unwound = state.unwound + 1
        state.err = tostring(err)
        error(err, 0)
    end)
    app.get("/forever-stubborn", function()
        while true do
            pcall(app.sleep, "1h")
            state.stubborn = state.stubborn + 1
        end
    end)
    app.get("/after", function()
        app.after("1ms", function() app.sleep(1) state.after = state.after + 1 end)
        return 202
    end)
    app.get("/cancel", function()
        local timer = app.after("5ms", function() state.cancelled = state.cancelled + 1 end)
        local first, second = timer:cancel(), timer:cancel()
        app.sleep "20ms"
        return { first, second }
    end)
    app.every("2ms", function() state.ticks = state.ticks + 1 end)
    app.every("2ms", function() state.slow = state.slow + 1 app.sleep "1h" end)
    app.every("20ms", function() state.failing = state.failing + 1 error("timer failed") end)
    local self
    state.self = 0
    self = app.every("1ms", function() state.self = state.self + 1 self:cancel() end)
    app.after("1ms", function() state.started = true end)
    app.get("/memory", { handler_cpu = "10s" }, function() collectgarbage() return { kib = collectgarbage("count"), stats = app.stats().lua_memory } end)
    """

    def state(self):
        return self.ask("/state").json

    def wait_for_state(self, name, value):
        evtest.wait_until(lambda: self.state()[name] >= value, f"{name} to be {value}")

    def test_sleep_waits(self):
        self.assertGreater(self.ask("/sleep/100").json["slept"], 0)  # it counts from the tick's time on
        self.assertEqual(self.ask("/sleep/0").status, 200)
        self.assertEqual(self.ask("/sleep-pcall").text, "true inside")

    def test_sleepers_do_not_hold_up_others(self):
        with Client(self.server) as sleeper:
            sleeper.send("GET", "/sleep/3600000")
            for _ in range(20):
                self.assertEqual(self.ask("/sleep/1").status, 200)
            sleeper.reset()

    def test_many_sleepers_at_once(self):
        clients = [Client(self.server) for _ in range(300)]
        started = time.monotonic()
        for client in clients:
            client.send("GET", "/sleep/200")
        for client in clients:
            self.assertGreaterEqual(client.read().json["slept"], 0.1)
            client.close()
        self.assertLess(time.monotonic() - started, 30)  # one after the other they take a minute

    def test_sleeper_whose_client_has_gone_is_unwound(self):
        before = self.state()["unwound"]
        clients = [Client(self.server) for _ in range(20)]
        for client in clients:
            client.send("GET", "/forever")
        self.state()
        for client in clients:
            client.reset()
        self.wait_for_state("unwound", before + 20)
        self.assertEqual(self.state()["err"], "the client has gone")
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_sleeper_that_goes_on_regardless_is_dropped(self):
        before = self.state()["stubborn"]
        client = Client(self.server)
        client.send("GET", "/forever-stubborn")
        self.state()
        client.reset()
        self.wait_for_state("stubborn", before + 1)
        self.state()
        self.assertEqual(self.state()["stubborn"], before + 1)

    def test_sleepers_leave_no_memory_behind(self):
        def round_of_sleepers():
            before = self.state()["unwound"]
            clients = [Client(self.server) for _ in range(100)]
            for client in clients:
                client.send("GET", "/forever")
            self.state()
            for client in clients:
                client.reset()
            self.wait_for_state("unwound", before + 100)
            return self.ask("/memory").json["kib"]
        round_of_sleepers()
        first = round_of_sleepers()
        for _ in range(5):
            last = round_of_sleepers()
        self.assertLess(last - first, 32)

    def test_timers(self):
        self.wait_for_state("ticks", 20)
        self.wait_for_state("failing", 3)
        self.wait_for_log(r"error timer: site\.lua:\d+: timer failed")
        self.assertEqual(self.state()["slow"], 1, "a run that sleeps lets the next ones pass")
        self.assertEqual(self.state()["self"], 1, "cancelled in its own run")
        self.assertTrue(self.state()["started"])

    def test_after_runs_once_and_outlives_its_request(self):
        before = self.state()["after"]
        self.assertEqual(self.ask("/after").status, 202)
        self.wait_for_state("after", before + 1)

    def test_cancelled_timer_does_not_run(self):
        self.assertEqual(self.ask("/cancel").json, [True, False])
        self.assertEqual(self.state()["cancelled"], 0)


class Memory(SiteCase):
    """Whatever a handler returns, ten thousand of it leave nothing behind."""

    SCRIPT = r"""
    app.static("/", "files")
    app.get("/text", function(req) return "text " .. req.id end)
    app.get("/long", function() return ("x"):rep(20000) .. tostring(math.random()) end)
    app.get("/table", function(req) return { req.id, req.headers, req.query, req.params } end)
    app.get("/status", function() return 404 end)
    app.get("/nothing", function() end)
    app.get("/stream", function(req) return function(out) out:write(req.id) out:write("x") end end)
    app.get("/html", function() return app.html("<p>") end)
    app.get("/pass.txt", function() return app.pass end)
    app.get("/error", function() error("once more") end)
    app.get("/sleep", function(req) app.sleep(0) return req.id end)
    app.get("/after", function() app.after(0, function() end) return 202 end)
    app.post("/body", function(req) return req.body end)
    app.get("/memory", { handler_cpu = "10s" }, function() collectgarbage() collectgarbage() return { collectgarbage("count"), app.stats().lua_memory } end)
    """
    FILES = (("files/pass.txt", "file\n"),)
    FORMS = ("/text", "/long", "/table?a=1&b=2", "/status", "/nothing", "/stream", "/html", "/pass.txt", "/error",
             "/sleep", "/after")

    def rounds(self, client, count):
        for _ in range(count):
            for target in self.FORMS:
                client.ask("GET", target)
            client.ask("POST", "/body", body=bytes(10000))
        return client.ask("GET", "/memory").json

    def test_ten_thousand_requests_leave_memory_flat(self):
        with Client(self.server) as client:
            self.rounds(client, 20)
            first = self.rounds(client, 20)
            last = self.rounds(client, 10000 // (len(self.FORMS) + 1))
        self.assertLess(last[0] - first[0], 16, "KiB that the collector knows")
        self.assertLess(last[1] - first[1], 32768, "bytes that the allocator knows")
        self.assertLess(abs(last[1] / 1024 - last[0]), 64, "both count the same")


def memory_kib(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


if __name__ == "__main__":
    unittest.main()
