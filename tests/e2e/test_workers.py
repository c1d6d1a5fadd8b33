"""Workers: functions that block on threads of their own, what comes back, what is refused, and how they end."""

import os
import signal
import time
import unittest

import evtest
import lua_site
import side_by_side
from lua_site import Client, SiteCase

MODULE = r"""
local app = require "evserve"
local ffi = require "ffi"
local helper = require "helper"
ffi.cdef "int usleep(unsigned);"
local store = app.store "shared"
local calls = 0
local db = {}
function db.add(a, b) return a + b end
function db.echo(...) return ... end
function db.count(...) return select("#", ...) end
function db.nap(ms) calls = calls + 1 ffi.C.usleep(ms * 1000) return ms end
function db.calls() return calls end
local function look_up(t) local name = t.user.name return name end
function db.fail() look_up {} end
function db.fail_with(value) error(value, 0) end
function db.give_function() return { list = { 1, print } } end
function db.eat() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end
function db.large(bytes) return ("x"):rep(bytes) end
function db.inside() return { app.escape_html "<", app.json.encode { 1, 2 }, helper.name, app.version ~= nil } end
function db.sleep() app.sleep(1) end
function db.log(text) app.log("info", text) print("printed") end
function db.remember(key, value) store:set(key, value) return store:incr("count", 1, 0) end
function db.global() made_here = (made_here or 0) + 1 return made_here end
function db.spin() local x = 0 for i = 1, 2e7 do x = x + i % 3 end return x end
function db.exit() os.exit(1) end
db.version = 7
return db
"""

SCRIPT = r"""
local db = app.worker("db.lua", { threads = 2, queue = 2, memory = "16M", timeout = "3s" })
local one = app.worker("db.lua", { threads = 1 })
local hasty = app.worker("db.lua", { threads = 1, timeout = "200ms" })
local function show(...) return { n = select("#", ...), ok = true, ... } end
app.get("/add", function() return tostring(db.add(40, 2)) end)
app.get("/echo", function()
    local a, b, c, d, e, f = db.echo(nil, "text\0x", 1.5, { a = { 1, { b = app.json.null } }, [2] = false }, true, nil)
    return { a == nil, b == "text\0x", c == 1.5, d.a[2].b == app.json.null, d[2] == false, e, f == nil,
             db.count(nil, nil), db.count(), getmetatable(db.echo(app.json.array())) == getmetatable(app.json.array()) }
end)
app.get("/nap/:ms{int}", function(req) return tostring(db.nap(tonumber(req.params.ms))) end)
app.get("/hasty", function()
    local slow = app.spawn(function() return pcall(hasty.nap, 1000) end)
    app.sleep(20)
    local _, late = pcall(coroutine.wrap(function() hasty.nap(1) end))
    return { select(2, slow:wait()), late }
end)
app.get("/calls", function() return tostring(one.calls()) end)
app.get("/one/:ms{int}", function(req) return tostring(one.nap(tonumber(req.params.ms))) end)
app.get("/fail/:name", function(req) db[req.params.name]() return "never" end)
app.get("/caught/:name", function(req)
    local ok, err = pcall(db[req.params.name])
    return tostring(err)
end)
app.get("/value", function()
    local ok, err = pcall(db.fail_with, { code = 7, list = { 1, 2 } })
    return { ok = ok, code = err.code, last = err.list[2] }
end)
app.get("/argument", function() return db.echo({ users = { 1, 2, { fn = print } } }) end)
app.get("/colon", function() return db:add(1, 2) end)
app.get("/cycle", function() local t = {} t.t = t return db.echo(t) end)
app.get("/many", function() return db.echo(unpack({}, 1, 201)) end)
app.get("/200", function() return tostring(select("#", db.echo(unpack({}, 1, 200)))) end)
app.get("/huge", { handler_cpu = "1m" }, function() return db.echo(("x"):rep(64 * 1024 * 1024)) end)
app.get("/large", function() return tostring(#db.large(5000000)) end)
app.get("/inside", function() return db.inside() end)
app.get("/log", function() one.log("from a worker") return "x" end)
app.get("/global", function() return { one.global(), one.global() } end)
local store = app.store "shared"
app.get("/store", function()
    db.remember("x", { from = "worker" })
    return { count = db.remember("y", app.json.array()), x = store:get("x"), y = store:get("y") }
end)
app.get("/spin", function() return tostring(db.spin()) end)
app.get("/coroutine", function()
    local next_sum = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(db.add(i, i)) end end)
    return { next_sum(), next_sum(), next_sum() }
end)
app.get("/all", function()
    local a, b = app.all(function() return db.add(1, 1) end, function() return db.add(2, 2) end)
    return { a, b }
end)
app.get("/cancel", function()
    local task = app.spawn(function() return one.nap(300) end)
    app.sleep(50)
    task:cancel()
    local ok, err = pcall(task.wait, task)
    return tostring(err)
end)
app.get("/stream", function() return function(out) for i = 1, 3 do out:write(tostring(db.add(i, i))) end end end)
app.get("/assign", function() db.mine = 1 end)
local ticks = 0
app.after(0, function() ticks = db.add(1, 1) end)
app.get("/timer", function() return tostring(ticks) end)
app.get("/stats", function() return app.stats().workers end)
app.get("/quick", function() return "x" end)
"""

FILES = (("db.lua", MODULE), ("helper.lua", "return { name = 'helper' }\n"))


class Calls(SiteCase):
    SCRIPT = SCRIPT
    FILES = FILES

    def test_values_come_and_go_by_copy(self):
        self.assertEqual(self.ask("/add").text, "42")
        self.assertEqual(self.ask("/echo").json, [True, True, True, True, True, True, True, 2, 0, True])
        self.assertEqual(self.ask("/200").text, "200")
        self.assertEqual(self.ask("/large").text, "5000000")

    def test_calls_work_wherever_a_script_may_wait(self):
        self.assertEqual(self.ask("/coroutine").json, [2, 4, 6])
        self.assertEqual(self.ask("/all").json, [2, 4])
        self.assertEqual(self.ask("/stream").text, "246")
        evtest.wait_until(lambda: self.ask("/timer").text == "2", "the timer's call")

    def test_nobody_else_waits(self):
        with Client(self.server) as slow, Client(self.server) as other:
            slow.send("GET", "/nap/1000")
            evtest.wait_until_read(slow.sock)
            start = time.monotonic()
            for _ in range(20):
                self.assertEqual(other.ask("GET", "/quick").text, "x")
            self.assertLess(time.monotonic() - start, 0.9)
            self.assertEqual(slow.read().text, "1000")

    def test_error_has_the_tracebacks_of_both_sides(self):
        self.assertEqual(self.ask("/fail/fail").status, 500)
        self.wait_for_log(r"GET /fail/fail .*: db\.lua:\d+: attempt to index field 'user' \(a nil value\)")
        self.wait_for_log(r"^in the worker: stack traceback:$")
        self.wait_for_log(r"^\tdb\.lua:\d+: in function 'look_up'$")
        self.wait_for_log(r"^\tsite\.lua:\d+: in function 'handler'$")
        self.assertRegex(self.ask("/caught/fail").text, r"^db\.lua:\d+: attempt to index field 'user' \(a nil value\)$")
        self.assertEqual(self.ask("/value").json, {"ok": False, "code": 7, "last": 2})

    def test_what_cannot_be_copied_is_named(self):
        for target, text in (("/argument", r"db\.lua: echo: argument 1\.users\[3\]\.fn: a function cannot be copied"),
                             ("/cycle", r"db\.lua: echo: argument 1\.t\.t\.t"),
                             ("/many", r"db\.lua: echo: more than 200 arguments"),
                             ("/huge", r"db\.lua: echo: the arguments have more than 67108864 bytes"),
                             ("/fail/give_function", r"db\.lua: give_function: result 1\.list\[2\]: a function cannot"),
                             ("/fail/no_such", r'db\.lua: unknown function "no_such"'),
                             ("/fail/version", r'db\.lua: unknown function "version"'),
                             ("/colon", r"site\.lua:\d+: db\.lua: add: call it with a dot, not with a colon"),
                             ("/assign", "db.lua: a worker has the functions of its module and takes no others"),
                             ("/fail/sleep", "db.lua:.*: app.sleep is not there in a worker, whose functions run off"),
                             ("/fail/exit", "os.exit would end the whole server"),
                             ("/fail/eat", r"db\.lua: eat: not enough memory: \d+ bytes are held \(memory of app")):
            with self.subTest(target=target):
                self.assertEqual(self.ask(target).status, 500)
                self.wait_for_log(text)
        self.assertEqual(self.ask("/add").text, "42")

    def test_module_has_what_makes_sense_off_the_loop(self):
        self.assertEqual(self.ask("/inside").json, ["&lt;", "[1,2]", "helper", True])
        self.assertEqual(self.ask("/log").text, "x")
        self.wait_for_log(r"^\S+ info from a worker$")
        self.wait_for_log(r"^\S+ info printed$")
        first, second = self.ask("/global").json
        self.assertEqual(second, first + 1)
        self.assertGreater(int(self.ask("/spin").text), 0)
        self.assertEqual(self.ask("/store").json, {"count": 2, "x": {"from": "worker"}, "y": []})

    def test_full_queue_is_refused_at_once(self):
        clients = [Client(self.server) for _ in range(4)]
        for client in clients: # two threads, and a queue of two
            client.send("GET", "/nap/1000")
            evtest.wait_until_read(client.sock)
        start = time.monotonic()
        self.assertEqual(self.ask("/add").status, 503)
        self.assertEqual(self.ask("/caught/calls").text, "503: busy: the queue is full, try again later")
        self.assertLess(time.monotonic() - start, 0.9)
        self.wait_for_log(r"warn db\.lua: add is refused: 2 threads are busy, and 2 calls wait already \(queue\)")
        stats = self.ask("/stats").json[0]
        self.assertEqual([stats[name] for name in ("path", "threads", "busy", "waiting")], ["db.lua", 2, 2, 2])
        self.assertGreaterEqual(stats["refused"], 2)
        for client in clients:
            self.assertEqual(client.read().text, "1000")
            client.close()

    def test_timeout_ends_the_wait(self):
        start = time.monotonic()
        self.assertEqual(self.ask("/nap/3600").status, 500)
        self.assertLess(time.monotonic() - start, 3.5)
        self.wait_for_log(r"db\.lua: nap: no result within 3000 ms \(timeout\); its thread goes on")

    def test_timeout_tells_whether_the_call_has_begun(self):
        slow, late = self.ask("/hasty").json
        self.assertRegex(slow, r"^site\.lua:\d+: db\.lua: nap: no result within 200 ms \(timeout\); its thread goes on$")
        self.assertRegex(late, r"^site\.lua:\d+: db\.lua: nap: no result within 200 ms \(timeout\); all threads were busy, "
                               r"so it has not begun and is dropped$")

    def test_call_of_a_client_that_left_does_not_run(self):
        with Client(self.server) as busy:
            busy.send("GET", "/one/500")
            evtest.wait_until_read(busy.sock)
            for _ in range(3):
                gone = Client(self.server)
                gone.send("GET", "/one/1")
                gone.reset()
            self.assertEqual(busy.read().text, "500")
        calls = int(self.ask("/calls").text)
        self.assertEqual(self.ask("/one/1").text, "1")
        self.assertEqual(int(self.ask("/calls").text), calls + 1)

    def test_task_that_is_cancelled_hears_of_it(self):
        start = time.monotonic()
        self.assertEqual(self.ask("/cancel").text, "the task was cancelled")
        self.assertLess(time.monotonic() - start, 0.25)


class Starting(unittest.TestCase):
    def fails(self, call, module=MODULE):
        with lua_site.script(call, files=(("db.lua", module), FILES[1])) as path:
            done = evtest.run(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path))
            self.assertEqual(done.returncode, 1)
            return done.stderr

    def test_mistakes(self):
        for call, error in (("app.worker()", 'app.worker: the path of a module such as "db.lua" expected, got nil'),
                            ("app.worker('db.lua', 3)", "app.worker: a table of options expected, got 3"),
                            ("app.worker('db.lua', { thread = 3 })", 'unknown option "thread" (did you mean "threads"?)'),
                            ("app.worker('db.lua', { threads = 0 })", "app.worker: threads: a whole number from 1 to 256"),
                            ("app.worker('db.lua', { threads = 257 })", "app.worker: threads: a whole number from 1"),
                            ("app.worker('db.lua', { queue = -1 })", "app.worker: queue: a whole number from 0 to 1000000"),
                            ("app.worker('db.lua', { queue = 1000001 })", "app.worker: queue: a whole number from 0"),
                            ("app.worker('db.lua', { memory = 'x' })", 'app.worker: memory: "x"'),
                            ("app.worker('db.lua', { memory = 1048575 })", 'app.worker: memory: at least "1M" expected'),
                            ("app.worker('db.lua', { timeout = 0.5 })", "app.worker: timeout: 0.5 is not a whole number"),
                            ("app.worker('none.lua')", "site.lua:2: app.worker: none.lua: cannot open it: No such file"),
                            ("os.execute('mkfifo db.pipe') app.worker('db.pipe')",
                             "site.lua:2: app.worker: db.pipe: it is a pipe, a terminal or a socket; a module is read"),
                            ("package.path = ('?;'):rep(9000) app.worker('db.lua')",
                             "app.worker: its path, with package.path and package.cpath, has more than "),
                            ("local db = app.worker('db.lua') db.add(1, 2)", "db.lua: add cannot wait while the script")):
            with self.subTest(call=call):
                self.assertIn(error, self.fails(call))

    def test_module_that_fails_ends_the_start(self):
        for module, error in (("local x = nil + 1", "db.lua:1: attempt to perform arithmetic on a nil value"),
                              ("x x", "db.lua:1: '=' expected near 'x'"),
                              ("return 3", "db.lua: the module must return a table of functions, got number"),
                              ("return { a = 1 }", "db.lua: the module has no functions: it must return a table of them"),
                              ("require 'none'", "db.lua:1: module 'none' not found"),
                              ("require('evserve').listen ':0'", "app.listen is not there in a worker"),
                              ("return { [('n'):rep(129)] = print }", "a function has more than 128 bytes, or a NUL byte"),
                              ("return { ['a\\0b'] = print }", "a function has more than 128 bytes, or a NUL byte"),
                              ("local m = {} for i = 1, 1001 do m['f' .. i] = print end return m",
                               "db.lua: the module has more than 1000 functions"),
                              ("error('no database', 0)", "db.lua:1: no database"),
                              ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(9999) .. i end", "not enough memory")):
            with self.subTest(module=module):
                text = self.fails("app.worker('db.lua', { memory = '8M' })", module)
                self.assertIn("site.lua:2: app.worker: ", text)
                self.assertIn(error, text)

    def test_module_may_be_as_large_as_allowed(self):
        module = "local m = { [('n'):rep(128)] = print } for i = 2, 1000 do m['f' .. i] = print end return m"
        with lua_site.script("app.worker('db.lua', { threads = 256, memory = '1M' })", files=(("db.lua", module),)) as path:
            done = evtest.run(lua_site.EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_module_lies_beside_the_script_or_where_the_server_was_started(self):
        files = (("above.lua", "return { a = print }"), ("scripts/beside.lua", "return { a = print }"))
        for module, error in (("beside.lua", None), ("above.lua", None), ("scripts/beside.lua", None),
                              ("none.lua", "there is no none.lua, neither in scripts nor in the folder that the server"),
                              ("../above.lua", None)):
            with self.subTest(module=module), lua_site.script(f"app.worker('{module}')", "scripts/site.lua",
                                                              files=files) as path:
                done = evtest.run(lua_site.EVSERVE, "--check", "scripts/site.lua",
                                  cwd=os.path.dirname(os.path.dirname(path)))
                self.assertIn(error or "", done.stderr)
                self.assertEqual(done.returncode, 1 if error else 0, done.stderr)

    def test_check_makes_the_states_and_no_threads(self):
        with lua_site.script("app.worker('db.lua')", files=FILES) as path:
            done = evtest.run(lua_site.EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
            self.assertEqual(done.returncode, 0, done.stderr)


class Ending(unittest.TestCase):
    TEXT = """
    local db = app.worker("db.lua", { threads = 1, timeout = "60s" })
    app.set { drain_timeout = "DRAIN" }
    app.get("/nap/:ms{int}", function(req) return tostring(db.nap(tonumber(req.params.ms))) end)
    app.get("/add", function() return tostring(db.add(1, 2)) end)
    app.get("/stats", function() return app.stats().workers end)
    app.metrics "/metrics"
    """

    def start(self, drain, *arguments, module=MODULE):
        path = self.enterContext(lua_site.script(self.TEXT.replace("DRAIN", drain), files=(("db.lua", module), FILES[1])))
        self.folder = os.path.dirname(path)
        server = evtest.Program(lua_site.EVSERVE, *arguments, "--listen", "127.0.0.1:0", "site.lua", cwd=self.folder)
        self.addCleanup(server.kill)
        return server

    if not hasattr(unittest.TestCase, "enterContext"): # before Python 3.11
        def enterContext(self, context):
            value = context.__enter__()
            self.addCleanup(context.__exit__, None, None, None)
            return value

    def threads(self, server):
        return len(os.listdir(f"/proc/{server.pid}/task"))

    def test_stop_waits_for_what_runs(self):
        server = self.start("10s")
        with Client(server) as client:
            client.send("GET", "/nap/500")
            evtest.wait_until_read(client.sock)
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.read().text, "500")
        self.assertEqual(server.stop(), 0)
        self.assertGreater(time.monotonic() - start, 0.3)

    def test_stop_waits_for_a_call_that_nobody_waits_for(self):
        server = self.start("10s")
        client = Client(server)
        client.send("GET", "/nap/600")
        with Client(server) as other:
            evtest.wait_until(lambda: any(worker["busy"] for worker in other.ask("GET", "/stats").json),
                              "the call to begin")
        client.reset()
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertGreater(time.monotonic() - start, 0.3)

    def test_call_that_does_not_return_is_left_behind(self):
        server = self.start("300ms")
        with Client(server) as client:
            client.send("GET", "/nap/60000")
            evtest.wait_until_read(client.sock)
            start = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - start, 5)
        self.assertTrue(any("warn db.lua: 1 call still runs when the script ends: left behind until it returns" in line
                            for line in server.lines), server.lines)

    def test_reload_brings_new_code_and_ends_the_old_threads(self):
        server = self.start("10s", "--reactors", "2")
        for factor in (10, 100): # the first reload has written to the log, for which the program has a thread
            with open(os.path.join(self.folder, "db.lua"), "w", encoding="utf-8") as file:
                file.write(MODULE.replace("return a + b", f"return a * {factor} + b"))
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: sum("reloaded" in line for line in server.lines) == (1 if factor == 10 else 2),
                              "the reload")
            before = self.threads(server) if factor == 10 else before
            for _ in range(4):
                with Client(server) as client:
                    self.assertEqual(client.ask("GET", "/add").text, str(factor + 2))
            if factor == 10:
                self.assertEqual(self.threads(server), before + 1) # one for both reactors
        evtest.wait_until(lambda: self.threads(server) == before + 1, "the end of the old thread")
        with Client(server) as client:
            text = client.ask("GET", "/metrics").text
        for sample in ('calls_total{worker="db.lua"} 8', 'refused_total{worker="db.lua"} 0',
                       'queue{worker="db.lua"} 0', 'busy_threads{worker="db.lua"} 0'):
            self.assertIn(f"\nevserve_worker_{sample}\n", text)
        with open(os.path.join(self.folder, "db.lua"), "w", encoding="utf-8") as file:
            file.write("error 'broken'")
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: any("db.lua:1: broken" in line for line in server.lines), "the failed reload")
        with Client(server) as client:
            self.assertEqual(client.ask("GET", "/add").text, "102")
        self.assertEqual(server.stop(), 0)

    def test_module_is_watched(self):
        server = self.start("10s", "--watch")
        with open(os.path.join(self.folder, "db.lua"), "w", encoding="utf-8") as file:
            file.write(MODULE.replace("return a + b", "return a - b"))
        evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
        with Client(server) as client:
            self.assertEqual(client.ask("GET", "/add").text, "-1")
        self.assertEqual(server.stop(), 0)

    def test_sandbox_holds_for_its_threads(self):
        module = """
        local db = {}
        function db.add() local file, why = io.open("/etc/passwd") return tostring(file) .. why end
        function db.nap() local pipe = io.popen("echo ran") return pipe and pipe:read "*a" or "refused" end
        return db
        """
        server = self.start("10s", "--sandbox", module=module)
        if any("sandbox without" in line for line in server.lines):
            self.skipTest("no sandbox here")
        with Client(server) as client:
            self.assertIn("ermission denied", client.ask("GET", "/add").text)
            self.assertIn(client.ask("GET", "/nap/1").text, ("refused", ""))


if __name__ == "__main__":
    side_by_side.main()
