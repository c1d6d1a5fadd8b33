"""Handlers that take too much, on the real clocks: they are stopped, and everybody else is served."""

import ctypes
import os
import threading
import time
import unittest

import evtest
import side_by_side
from lua_site import Client, EVSERVE, SiteCase, script


class FullState(unittest.TestCase):
    """A state that stays full: fresh, or the end. What is tried once a second sees that it is full for the second time."""

    SITE = """
        app.set { lua_memory = "4M", lua_full_timeout = "500ms", lua_full_exit = %s }
        local kept = {}
        app.get("/", function() return "served" end)
        app.get("/fill", function() while true do kept[#kept + 1] = ("x"):rep(4000) .. #kept end end)
    """

    def fill(self, server):
        statuses = []
        for target in ("/fill", "/"):
            with Client(server) as client:
                statuses.append(client.ask("GET", target).status)
        self.assertEqual(statuses, [503, 503])

    def visit(self, server):
        try:
            with Client(server) as client:
                return client.ask("GET", "/").status
        except OSError:
            return 0

    def test_script_is_loaded_anew(self):
        with script(self.SITE % "false") as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            self.fill(server)
            evtest.wait_until(lambda: self.visit(server) == 200, "a fresh state")
            self.assertTrue(any("warn the Lua state stayed full, so the script was loaded anew" in line
                                for line in server.lines), server.lines)

    def test_server_ends_if_the_script_says_so(self):
        for reactors in ([], ["--reactors", "2"]):
            with script(self.SITE % "true") as path:
                server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *reactors, path)
                self.addCleanup(server.kill)
                if reactors:  # each thread has a state of its own
                    evtest.wait_until(lambda: self.visit(server) == 200, "a thread that serves")
                    for _ in range(20):
                        with Client(server) as client:
                            client.ask("GET", "/fill")
                else:
                    self.fill(server)
                evtest.wait_until(lambda: self.visit(server) == 0, "the end")
                self.assertEqual(server.process.wait(evtest.LIMIT), 1)
                self.assertTrue(any("error the Lua state stays full, so the server ends (lua_full_exit)" in line
                                    for line in server.lines), server.lines)


class Deadline(SiteCase):
    SCRIPT = """
        app.set { handler_cpu = "20ms" }
        app.get("/ok", function() return "ok" end)
        app.get("/loop", function()
            while true do end
        end)
        app.get("/pcall", function() while true do pcall(function() while true do end end) end end)
        app.get("/wrap", function() while true do pcall(coroutine.wrap(function() while true do end end)) end end)
        app.get("/sort", function() table.sort({ 1, 2, 3 }, function() pcall(function() while true do end end) end) end)
        app.get("/module", function() require "endless" end)
        app.get("/load", function() loadstring "while true do end"() end)
        app.get("/begun", function() return function(out) out:write("begun") while true do end end end)
        app.get("/many", function() for i = 1, 1e9 do local s = ("x"):rep(100000) end end)
        app.get("/jit", { jit = true }, function() local n = 0 for i = 1, 3e7 do n = n + i % 7 end return "done " .. n end)
        app.get("/json", function() local t = { 1 } for i = 1, 100 do t = { t, t } end return t end)
        local long = "[" .. ("1,"):rep(3000000) .. "1]"
        app.get("/json-decode", function() while true do pcall(app.json.decode, long) end end)
        local helper = function() while true do end end
        app.get("/jit-elsewhere", function() helper() end)
        app.get("/hook", function() debug.sethook() end)
        local ticks = 0
        app.every("20ms", function() ticks = ticks + 1 if ticks == 2 then while true do end end end)
        app.get("/ticks", function() return tostring(ticks) end)
    """
    FILES = (("endless.lua", "while true do end"),)

    def test_endless_loop_is_a_503_and_its_line_is_in_the_log(self):
        self.assertEqual(self.ask("/loop").status, 503)
        self.wait_for_log(r" error GET /loop \(route at site\.lua:5\): site\.lua:6: stopped: more than 20 ms of processor "
                          r"time without a wait \(handler_cpu\)$")
        self.wait_for_log(r"^\tsite\.lua:6: in function")

    def test_nothing_keeps_a_loop_going(self):
        for target in ("/pcall", "/wrap", "/sort", "/module", "/load", "/many", "/json", "/json-decode", "/jit-elsewhere"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 503)
                self.assertEqual(self.ask("/ok").text, "ok")

    def test_stream_that_has_begun_is_cut(self):
        answer = self.ask("/begun")
        self.assertEqual((answer.status, answer.text, answer.whole), (200, "begun", False))

    def test_others_are_served_meanwhile(self):
        stop = threading.Event()

        def loop():
            while not stop.is_set():
                self.ask("/loop")
        threads = [threading.Thread(target=loop, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        with Client(self.server) as client:
            for _ in range(5):
                self.assertEqual(client.ask("GET", "/ok").text, "ok")
        stop.set()
        for thread in threads:
            thread.join()

    def test_timer_is_stopped_and_comes_again(self):
        evtest.wait_until(lambda: int(self.ask("/ticks").text) > 3, "more ticks")
        self.wait_for_log(r" error timer: site\.lua:\d+: stopped: ")

    def test_compiled_route_has_no_deadline(self):
        self.assertEqual(self.ask("/jit").text, "done 89999997")

    def test_hook_cannot_be_taken_away(self):
        self.assertEqual(self.ask("/hook").status, 500)
        self.wait_for_log("debug.sethook would remove the deadline of handlers")

    def test_route_options_are_checked(self):
        for options, expected in (
                ('handler_cpu = 0', "app.get: handler_cpu: 0 is out of range (1 to 3600000 ms)"),
                ('handler_cpu = "x"', 'app.get: handler_cpu: "x" is not a whole number with a unit (ms, s, m or h), such as "30s"'),
                ('jit = 1', "app.get: jit: true or false expected, got number"),
                ('jit = true, handler_cpu = 5',
                 "app.get: jit = true removes the deadline, so handler_cpu has no effect with it")):
            with self.subTest(options), script(f'app.get("/", {{ {options} }}, function() end)') as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertEqual((done.returncode, done.stderr), (1, f"{path}:2: {expected}\n"))


class NoCode(unittest.TestCase):
    def test_process_that_may_not_make_code_interprets(self):
        def deny_code():
            set_mdwe, refuse_exec_gain = 65, 1  # of Linux 6.3: what MemoryDenyWriteExecute= of systemd does
            if ctypes.CDLL(None).prctl(set_mdwe, refuse_exec_gain, 0, 0, 0) != 0:
                os._exit(77)
        text = """
            app.get("/", { jit = true }, function() local n = 0 for i = 1, 1e6 do n = n + i end return n .. "" end)
        """
        with script(text) as path:
            try:
                server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path, preexec_fn=deny_code)
            except AssertionError as error:
                if "(nothing)" not in str(error):
                    raise
                self.skipTest("this kernel has no PR_SET_MDWE")
            with server:
                client = Client(server)
                for _ in range(3):
                    client.send("GET", "/")
                    self.assertEqual(client.read().text, "500000500000")
                lines = [line for line in server.lines if "jit has no effect" in line]
                self.assertEqual(len(lines), 1, server.lines)
                self.assertIn("(Permission denied)", lines[0])


class Memory(SiteCase):
    SCRIPT = """
        app.set { lua_memory = "8M", handler_cpu = "10s" }
        app.get("/ok", function() return "ok" end)
        app.get("/table", function() local t = {} while true do t[#t + 1] = {} end end)
        app.get("/string", function() local s = "x" while true do s = s .. s end end)
        app.get("/array", function() local t = {} for i = 1, 1e9 do t[i] = i end end)
        app.get("/stream", function() return function(out)
            out:write("begun") local t = {} while true do t[#t + 1] = {} end
        end end)
        app.get("/json", function() local t = { 1 } for i = 1, 100 do t = { t, t } end return t end)
        app.get("/stats", function() return app.stats() end)
    """

    def test_json_text_is_bounded_too(self):
        self.assertEqual(self.ask("/json").status, 503)
        self.assertEqual(self.ask("/ok").text, "ok")

    def test_what_grows_without_end_is_a_503_and_the_log_names_the_cap(self):
        for target in ("/table", "/string", "/array") * 3:
            with self.subTest(target):
                time.sleep(0 if self.log_count(f"GET {target} ") else 1.1)  # there is a line a second of it
                self.assertEqual(self.ask(target).status, 503)
                self.assertEqual(self.ask("/ok").text, "ok")
                self.wait_for_log(rf" error GET {target} \(route at site\.lua:\d+\): .*not enough memory: .* "
                                  r"lua_memory is 8388608( \(and \d+ more since the last such line\))?$")
        self.assertLess(self.server.memory_kib(), 400 << 10)  # a sanitizer keeps much of what is freed

    def test_stream_that_has_begun_is_cut(self):
        answer = self.ask("/stream")
        self.assertEqual((answer.status, answer.text, answer.whole), (200, "begun", False))

    def test_memory_is_given_back(self):
        self.ask("/table")
        self.ask("/ok")
        self.assertLess(self.ask("/stats").json["lua_memory"], 8 << 20)


class Leaks(SiteCase):
    """Many requests of every form. tests/unit/lua/test_lua_leaks.c does the same with exact figures and fewer requests."""

    SCRIPT = """
        app.set { lua_memory = "8M" }
        app.static("/files", ".")
        app.get("/string", function() return "text" end)
        app.get("/long", function(req) return ("x"):rep(20000) .. req.id end)
        app.get("/table", function(req) return { req.headers, req.query, req.id } end)
        app.get("/number", function() return 404 end)
        app.get("/triple/:x", function(req) return 201, req.params.x, { ["x-a"] = { "1", "2" } } end)
        app.get("/html", function() return app.html "<p>" end)
        app.get("/redirect", function() return app.redirect "/string" end)
        app.get("/files/*rest", function() return app.pass end)
        app.get("/stream", function() return function(out) for i = 1, 3 do out:write(("y"):rep(3000)) end end end)
        app.get("/error", function(req) error("wrong " .. req.id) end)
        app.get("/raised", function() app.error(404, "none") end)
        app.get("/yield", function() coroutine.yield() end)
        app.get("/deadline", { handler_cpu = 1 }, function() pcall(function() while true do end end) end)
        app.get("/memory", function() return ("x"):rep(10000000) end)
        app.get("/error-in-stream", function() return function(out) out:write("begun") error("late") end end)
        app.get("/deadline-in-stream", { handler_cpu = 1 }, function() return function(out)
            out:write("begun") while true do end
        end end)
        app.get("/held", function()
            collectgarbage() collectgarbage()
            return { lua = app.stats().lua_memory }
        end)
    """
    WHOLE = ("string", "long", "table?a=1", "number", "triple/z", "html", "redirect", "files/site.lua", "files/none",
             "stream", "error", "raised", "yield", "deadline", "memory")
    CUT = ("error-in-stream", "deadline-in-stream")
    REQUESTS = int(os.environ.get("EVSERVE_REQUESTS", "500"))

    def play(self, requests):
        """So many requests, in rounds; each on one connection but for those whose answers are cut."""
        with Client(self.server) as client:
            for _ in range(requests // (len(self.WHOLE) + len(self.CUT)) + 1):
                for target in self.WHOLE:
                    client.ask("GET", "/" + target)
                for target in self.CUT:
                    self.check_cut("/" + target)

    def held(self):
        self.ask("/held")
        evtest.wait_until(lambda: self.server.fd_count() <= self.fds, "connections to end")
        return self.ask("/held").json["lua"], self.server.memory_kib()

    def test_requests_leave_everything_where_it_was(self):
        self.ask("/held")
        evtest.wait_until(lambda: self.ask("/held").status == 200, "an answer")
        self.fds = self.server.fd_count() + 2  # a connection that has not yet been closed; a file in the cache
        self.play(200)
        lua, memory = self.held()
        self.play(self.REQUESTS)
        lua_after, memory_after = self.held()
        print(f"{self.REQUESTS} requests: Lua {lua} -> {lua_after} bytes, resident {memory} -> {memory_after} KiB")
        self.assertLess(lua_after, lua + 4096)


class Globals(SiteCase):
    SCRIPT = """
        package.path = package.path
        app.get("/late", function() return require("late").text .. late_global end)
        app.get("/module", function() require "old" return old.text end)
        app.get("/broken", function() require "broken" end)
        app.get("/after", function() pcall(require, "fails") new_global = 1 return "made" end)
        app.get("/new", function() new_global = 1 return "made" end)
        app.get("/wait", function() require "waits" end)
        app.get("/stop", function() pcall(require, "endless") new_global = 1 return "made" end)
        app.get("/exists", function() return tostring(rawget(_G, "new_global")) end)
    """
    FILES = (("late.lua", 'late_global = " made a global"\nreturn { text = "late" }\n'),
             ("old.lua", 'module("old", package.seeall)\ntext = "as in 2006"\n'),
             ("broken.lua", 'half_global = 1\nerror("broken module")\n'),
             ("fails.lua", 'error("this one too")\n'),
             ("waits.lua", 'require("evserve").sleep(1)\n'),
             ("endless.lua", "while true do end\n"))

    def test_module_that_a_handler_requires_first_may_make_globals(self):
        self.assertEqual(self.ask("/late").text, "late made a global")
        self.assertEqual(self.ask("/late").text, "late made a global")
        self.assertEqual(self.ask("/module").text, "as in 2006")

    def test_handlers_may_not(self):
        for target in ("/new", "/after", "/stop"):
            with self.subTest(target):
                self.assertIn(self.ask(target).status, (500, 503))
                self.assertEqual(self.ask("/exists").text, "nil")
        self.wait_for_log('the global "new_global" is new: globals are frozen after start-up; use local')

    def test_module_that_fails_says_where(self):
        self.assertEqual(self.ask("/broken").status, 500)
        self.wait_for_log(r"broken\.lua:2: broken module")

    def test_module_cannot_wait(self):
        self.assertEqual(self.ask("/wait").status, 500)
        self.wait_for_log("app.sleep cannot wait inside a function that C calls back")


class DebianModules(unittest.TestCase):
    """Modules of Debian's packages for Lua 5.1, which LuaJIT loads; skipped where they are not installed."""

    def use(self, module, body):
        with script(f'local m = require "{module}"\napp.get("/", function() {body} end)\n'
                    f'app.get("/late", function() local m = require "{module}" {body} end)') as path:
            done = evtest.run(EVSERVE, "--check", path)
            if "not found" in done.stderr:
                self.skipTest(f"the Lua module {module} is not installed")
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, Client(server) as client:
                return client.ask("GET", "/").text, client.ask("GET", "/late").text

    def test_cjson(self):
        self.assertEqual(self.use("cjson", 'return m.encode { 1, 2, m.decode("[3]")[1] }'), ("[1,2,3]", "[1,2,3]"))

    def test_lpeg(self):
        self.assertEqual(self.use("lpeg", 'return tostring(m.match(m.R("09") ^ 1, "123x"))'), ("4", "4"))

    def test_lfs(self):
        self.assertEqual(self.use("lfs", 'return m.attributes("/", "mode")'), ("directory", "directory"))


if __name__ == "__main__":
    side_by_side.main()
