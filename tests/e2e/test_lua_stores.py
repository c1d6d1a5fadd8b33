"""app.store and app.every with once, on a server with two threads: what they share, what survives a reload, what ends."""

import collections
import signal
import threading
import unittest

import evtest
from lua_site import EVSERVE, HEAD, Client, script

COUNTER = """
local store = app.store("a", { size = "%s" })
app.get("/incr", function() return { all = store:incr "n" } end)
app.get("/get", function() return { n = store:get "n", size = store:stats().size, version = %d } end)
app.post("/table", function() store:set("table", { list = { 1, 2, { three = true } } }) end)
app.get("/table", function() return store:get "table" end)
"""

INCR = """
local jit = %s
local store, other = app.store "a", app.store "b"
app.get("/incr", { jit = jit }, function()
    local said = {}
    local function try(...)
        said[#said + 1] = tostring(select(2, pcall(store.incr, ...)))
    end
    store:set("text", "x")
    for _ = 1, 2 do -- the first call of a store is another one than the next
        for _, object in ipairs { store, other } do
            for _, key in ipairs { "n", "text", "", ("k"):rep(250), ("k"):rep(251), 7, true, {} } do
                try(object, key)
                for _, number in ipairs { 1, -2.5, 0, 1 / 0, -1 / 0, 0 / 0, 2 ^ 53, "1", "x", {} } do
                    try(object, key, number)
                    try(object, key, number, 5)
                end
                try(object, key, 1, 0, "1h")
                try(object, key, 1, "x")
                try(object, key, 1, nil, "1h")
                try(object, key, nil, 3)
            end
        end
        try() try(1) try({}, "n") try(io.stdout, "n") try(store, nil)
    end
    store:flush() other:flush()
    return table.concat(said, "\\n")
end)
app.get("/sum", { jit = jit }, function()
    for _ = 1, 1000 do store:incr "sum" end
    return tostring(store:get "sum")
end)
"""

TIMERS = """
local store = app.store "a"
local thread = store:incr "threads"
app.every("5ms", { once = true }, function() store:incr("once:" .. thread) end)
app.every("5ms", { once = false }, function() store:incr("each:" .. thread) end)
local timer = app.every("5ms", { once = true }, function() store:incr "cancelled" end)
timer:cancel()
app.get("/", function()
    return { once = store:keys "once:", each = #store:keys "each:", cancelled = store:get "cancelled" }
end)
"""


def serve(path):
    return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path)


def ask(server, target, method="GET"):
    with Client(server) as client:
        answer = client.ask(method, target)
        if answer.status not in (200, 204):
            raise AssertionError(answer.text)
        return answer.json if answer.body else None


class Stores(unittest.TestCase):
    def reload(self, server, path, text, outcome):
        before = sum(outcome in line for line in server.lines)
        with open(path, "w", encoding="utf-8") as file:
            file.write(HEAD + text)
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: sum(outcome in line for line in server.lines) > before, outcome)

    def test_incr_is_the_same_where_it_is_compiled(self):
        said = []
        for jit in "false", "true":
            with script(INCR % jit) as path, serve(path) as server, Client(server) as client:
                answers = [client.ask("GET", "/incr").text for _ in range(3)]
                said.append([answer.replace(path, "SCRIPT") for answer in answers])
                self.assertEqual([client.ask("GET", "/sum").text for _ in range(3)], ["1000", "2000", "3000"])
        self.assertIn("store:incr: a: the value of \"text\" is not a number", said[0][0])
        self.assertEqual(said[0], said[1])

    def test_threads_count_in_one_store(self):
        with script(COUNTER % ("1M", 1)) as path, serve(path) as server:
            counts = collections.Counter()

            def ask_many():
                with Client(server) as client:
                    for _ in range(100):
                        counts[client.ask("GET", "/incr").json["all"]] += 1

            threads = [threading.Thread(target=ask_many) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(counts, {n: 1 for n in range(1, 801)})  # nobody saw the same number
            ask(server, "/table", "POST")
            for _ in range(20):
                self.assertEqual(ask(server, "/table"), {"list": [1, 2, {"three": True}]})

    def test_reload_keeps_the_data_and_may_change_the_size(self):
        with script(COUNTER % ("1M", 1)) as path, serve(path) as server:
            for _ in range(10):
                ask(server, "/incr")
            self.reload(server, path, COUNTER % ("2M", 2), RELOADED)
            self.assertEqual(ask(server, "/get"), {"n": 10, "size": 2 << 20, "version": 2})
            self.reload(server, path, COUNTER % ("4M", 3) + "error('no')", FAILED)
            self.assertEqual(ask(server, "/get"), {"n": 10, "size": 2 << 20, "version": 2})

    def test_store_that_no_script_uses_ends(self):
        ended = 'app.on("stop", function() app.log("info", "has ended") end)\n'
        with script(COUNTER % ("1M", 1) + ended) as path, serve(path) as server:
            ask(server, "/incr")
            self.reload(server, path, 'app.get("/get", function() return {} end)', RELOADED)
            self.assertEqual(ask(server, "/get"), {})
            evtest.wait_until(lambda: sum("has ended" in line for line in server.lines) == 2, "the old script's end")
            self.reload(server, path, COUNTER % ("1M", 2), RELOADED)
            self.assertEqual(ask(server, "/get"), {"size": 1 << 20, "version": 2})

    def test_timer_with_once_runs_on_one_thread(self):
        with script(TIMERS) as path, serve(path) as server:
            evtest.wait_until(lambda: ask(server, "/")["each"] == 2 and ask(server, "/")["once"], "timers")
            self.assertEqual(ask(server, "/"), {"once": ["once:1"], "each": 2})

    def test_workers_share_the_stores(self):
        module = """
            local app = require "evserve"
            local store = app.store "a"
            return {
                add = function(n) store:set("list", { n }) return app.store("a"):incr("n", n) end,
                fail = function() app.store("b", { redis = "x" }) end,
            }"""
        text = COUNTER % ("1M", 1) + """
            local db = app.worker("db.lua", { threads = 2 })
            app.get("/add", function() return { sum = db.add(10), list = store:get "list" } end)
            app.get("/fail", function() return { err = tostring(select(2, pcall(db.fail))) } end)
            """
        with script(text, files=(("db.lua", module),)) as path, serve(path) as server:
            ask(server, "/incr")
            self.assertEqual(ask(server, "/add"), {"sum": 11, "list": [10]})
            self.assertEqual(ask(server, "/add"), {"sum": 21, "list": [10]})
            self.assertRegex(ask(server, "/fail")["err"], r"db.lua:6: app.store: redis: modules of workers have no stores in Redis")

    def test_copies_are_subject_to_handler_cpu_and_lua_memory(self):
        text = """
            app.set { lua_memory = "12M" }
            local store = app.store("a", { size = "16M" })
            local rows = {}
            for i = 1, 40000 do rows[i] = { i } end
            store:set("rows", rows)
            rows = nil
            app.get("/slow", { handler_cpu = 1 }, function() return #store:get "rows" end)
            app.get("/large", { handler_cpu = "10s" }, function()
                local all = {}
                for i = 1, 9 do all[i] = store:get "rows" end
                return "x"
            end)
            app.get("/fine", function() store:set("text", ("x"):rep(1000000)) return store:stats().keys .. "" end)
            """
        with script(text) as path, serve(path) as server, Client(server) as client:
            self.assertEqual(client.ask("GET", "/fine").text, "2")
            for _ in range(3):
                self.assertEqual(client.ask("GET", "/slow").status, 503)
                self.assertEqual(client.ask("GET", "/large").status, 503)
            self.assertEqual(client.ask("GET", "/fine").text, "2")

    def test_mistake_at_the_start_names_its_place(self):
        for text, error in (
            ('app.store("a", { redis = "http://x" })', "site.lua:2: app.store: redis: a URL such as"),
            ('app.store("a", { size = "1M" }) app.store("a", { size = "2M" })', "site.lua:2: app.store: a: the script"),
            ("app.store()", 'site.lua:2: app.store: a name such as "sessions" expected, got nil'),
            ("app:store('a')", "site.lua:2: app.store: call it with a dot"),
            ('app.store("a"):set("k", print)', "site.lua:2: store:set: a: value: a function cannot be copied"),
            ('app.every("1s", { one = true }, print)', 'site.lua:2: app.every: unknown option "one": there is once'),
            ('app.every("1s", print, { once = true })', "site.lua:2: app.every: options go before the function"),
            ('app.every("1s", { once = 1 }, print)', "site.lua:2: app.every: once: true or false expected, got number"),
        ):
            with script(text + "\n") as path:
                result = evtest.run(EVSERVE, "--check", path)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(error, result.stderr)


RELOADED, FAILED = " reloaded ", " not reloaded: "

if __name__ == "__main__":
    unittest.main()
