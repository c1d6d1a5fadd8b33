"""Lua sites run by the real program: how they start and stop, and what is said of scripts that cannot be started."""

import os
import re
import tempfile
import threading
import unittest

import evtest
from lua_site import EVSERVE, HEAD, Client, script


class StartAndStop(unittest.TestCase):
    def test_stop_functions_run_and_sleepers_do_not_hold_up_the_end(self):
        with script('app.on("stop", function() app.log("info", "stopping") end)\n'
                    'app.every("1ms", function() app.sleep "1h" end)\n'
                    'app.after("1h", function() end)\n'
                    'app.get("/", function() return "x" end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/").text, "x")
            self.assertEqual(server.stop(), 0)
            self.assertTrue(server.lines[-1].endswith(" info stopping"), server.lines)

    def test_request_that_sleeps_is_finished_before_the_end(self):
        with script('app.get("/", function() app.sleep "300ms" return "done" end)\n'
                    'app.get("/ok", function() return "ok" end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            with Client(server) as client, Client(server) as other:
                client.send("GET", "/")
                other.ask("GET", "/ok")
                stopper = threading.Thread(target=server.stop)
                stopper.start()
                self.assertEqual(client.read().text, "done")
                stopper.join()
            self.assertEqual(server.process.returncode, 0)

    def test_failing_stop_function_is_logged(self):
        with script('app.on("stop", function() error("no end") end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(server.stop(), 0)
            self.assertTrue(any(f"{path}:2: no end" in line for line in server.lines), server.lines)

    def test_each_stop_function_runs_whatever_becomes_of_the_others(self):
        with script('app.on("stop", function() error({}) end)\n'
                    'app.on("stop", function() while true do end end)\n'
                    'app.on("stop", function() app.log("info", "the last") end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(server.stop(), 0)
            log = "\n".join(server.lines)
            self.assertRegex(log, r"(?s):2: the error is a table.*:3: stopped: .* info the last$")

    def test_failing_start_function_stops_the_start(self):
        with script('app.on("start", function() error("not today") end)') as path:
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr.splitlines()[-1], f"{path}:2: not today")

    def test_several_listens(self):
        with script('app.listen "127.0.0.1:0"\napp.listen "127.0.0.1:0"\napp.get("/", function() return "x" end)') as path:
            with evtest.Program(EVSERVE, path) as server:
                evtest.wait_until(lambda: len(server.lines) >= 2, "two addresses")
                for line in server.lines[:2]:
                    server.address = evtest.parse_address(line.split()[2])
                    with Client(server) as client:
                        self.assertEqual(client.ask("GET", "/").text, "x")

    def test_settings_take_effect(self):
        with script('app.set { idle_timeout = "50ms", max_body = 10, header_timeout = 1000 }\n'
                    'app.post("/", function() return "x" end)') as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                with Client(server) as client:
                    self.assertEqual(client.ask("POST", "/", body=b"0123456789").status, 200)
                    self.assertEqual(client.file.read(), b"")  # closed when idle for too long
                with Client(server) as client:
                    self.assertEqual(client.ask("POST", "/", body=b"0123456789a").status, 413)


class BareNumbers(unittest.TestCase):
    """A number below 1,000 for a timeout is allowed, but most likely meant in seconds."""

    def test_are_warned_of_once_for_all_threads(self):
        with script('app.set { idle_timeout = 30, drain_timeout = "30ms", header_timeout = 1000 }\n'
                    'app.get("/", { write_timeout = 7 }, function() return "x" end)\n'
                    'app.worker("work.lua", { timeout = 5 })\n'
                    'app.worker("work.lua", { timeout = 1000 })\n'
                    'app.websocket("/ws", { ping = 30, max_age = 60, compress_min = 9 }, function() end)\n'
                    'app.events("/a", { topic = "a", retry = 3 })\n'
                    'app.events("/b", { topic = "a", retry = "3ms" })\n'
                    'app.proxy("/api", "http://127.0.0.1:1", { timeout = 5, fail_timeout = "5ms", connect_timeout = 1000 })\n'
                    'app.store("s", { redis = "redis://127.0.0.1:1", timeout = 2 })\n'
                    'app.get("/fetch", function() app.fetch("http://127.0.0.1:1", { timeout = 3 }) return 204 end)', files=(("work.lua", "return { f = print }"),)) as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path) as server:
                for _ in range(2): # once for each thread, which the kernel chooses
                    with Client(server) as client:
                        client.ask("GET", "/fetch")
                self.assertEqual(server.stop(), 0)
                warnings = [line for line in server.lines if "confirm" in line]
                self.assertIn(len(warnings), (9, 10), server.lines)
                self.assertIn(f'{path}:2: app.set: idle_timeout = 30 is 30 ms: write "30s" for seconds, or "30ms" to '
                              'confirm it', warnings[0])
                self.assertIn(f"{path}:3: app.get: write_timeout = 7 is 7 ms", warnings[1])
                self.assertIn(f"{path}:4: app.worker: timeout = 5 is 5 ms", warnings[2])
                self.assertIn(f"{path}:6: app.websocket: ping = 30 is 30 ms", warnings[3])
                self.assertIn(f"{path}:6: app.websocket: max_age = 60 is 60 ms", warnings[4])
                self.assertIn(f"{path}:7: app.events: retry = 3 is 3 ms", warnings[5])
                self.assertIn(f"{path}:9: app.proxy: timeout = 5 is 5 ms", warnings[6])
                self.assertIn(f"{path}:10: app.store: timeout = 2 is 2 ms", warnings[7])
                self.assertIn(f"{path}:11: app.fetch: timeout = 3 is 3 ms", warnings[8])


class ScriptMistakes(unittest.TestCase):
    """What is wrong with a script is one line on standard error, with file and line, and exit status 1."""

    # Each script runs behind HEAD, so its first line is line 2.
    CASES = (
        ('app.set { idle_timout = "30s" }',
         'SITE:2: app.set: unknown setting "idle_timout" (did you mean "idle_timeout"?)'),
        ('\n\napp.set {\n  idle_timeout = "30x" }',
         'SITE:4: app.set: idle_timeout: "30x" is not a whole number with a unit (ms, s, m or h), such as "30s"'),
        ('app.set { idle_timeout = "30" }',
         'SITE:2: app.set: idle_timeout: "30" is not a whole number with a unit (ms, s, m or h), such as "30s"'),
        ('app.cookie("a", "b", { max_age = "86400000" })',
         'SITE:2: app.cookie: max_age: "86400000" is not a whole number with a unit (ms, s, m or h), such as "30s"'),
        ('app.set { max_body = "1T" }',
         'SITE:2: app.set: max_body: "1T" is not a whole number of bytes, or one with K, M or G, such as "64K"'),
        ('app.set { idle_timeout = 0 }', 'SITE:2: app.set: idle_timeout: 0 is out of range (1 to 86400000 ms)'),
        ('app.set { idle_timeout = 1.5 }', 'SITE:2: app.set: idle_timeout: 1.5 is not a whole number'),
        ('app.set { idle_timeout = -1 }', 'SITE:2: app.set: idle_timeout: -1 is not a whole number'),
        ('app.set { idle_timeout = true }',
         'SITE:2: app.set: idle_timeout: a number or text such as "30s" expected, got boolean'),
        ('app.set { write_high_mark = "1M" }',
         'SITE:2: app.set: write_high_mark (1048576 bytes) is above write_cap (262144 bytes)'),
        ('app.set { handler_cpus = "30s" }',
         'SITE:2: app.set: unknown setting "handler_cpus" (did you mean "handler_cpu"?)'),
        ('app.set { handler_cpu = 0 }', 'SITE:2: app.set: handler_cpu: 0 is out of range (1 to 3600000 ms)'),
        ('app.set { handler_cpu = true }',
         'SITE:2: app.set: handler_cpu: a number or text such as "30s" expected, got boolean'),
        ('app.set { lua_memory = 1048575 }',
         'SITE:2: app.set: lua_memory: 1048575 is out of range (1048576 to 1099511627776 bytes)'),
        ('app.set { debug = 1 }', 'SITE:2: app.set: debug: true or false expected, got number'),
        ('app.set { debug = "true" }', 'SITE:2: app.set: debug: true or false expected, got string'),
        ('app.set { reload_timeout = "3s" }',
         'SITE:2: app.set: "reload_timeout" is not a setting of scripts: start evserve with --reload-timeout'),
        ('app.set { allow_connect = "a:1" }',
         'SITE:2: app.set: "allow_connect" is not a setting of scripts: start evserve with --allow-connect'),
        ('app.set { log = "/x" }', 'SITE:2: app.set: "log" is not a setting of scripts: start evserve with --log'),
        ('app.set { error_log = "/x" }',
         'SITE:2: app.set: "error_log" is not a setting of scripts: start evserve with --log'),
        ('app.set { keepalive_timeout = "75s" }', 'SITE:2: app.set: "keepalive_timeout" is not a setting: idle_timeout '
         'is how long a connection waits for its next request'),
        ('app.set { metrics_hosts = "a" }', 'SITE:2: app.set: "metrics_hosts" is not a setting: call '
         'app.metrics("/metrics", { hosts = { "example.org" } })'),
        ('app.set { listen = ":80" }', 'SITE:2: app.set: "listen" is not a setting: call app.listen'),
        ('app.set { root = "public" }', 'SITE:2: app.set: "root" is not a setting: call app.static("/", directory)'),
        ('app.set { tls_cert = "x.pem" }',
         'SITE:2: app.set: "tls_cert" is not a setting: call app.tls { cert = ..., key = ... }'),
        ('app.set { zzz = 1, bbb = 2 }', 'SITE:2: app.set: unknown setting "bbb"'),
        ('app.set { "x" }', 'SITE:2: app.set: unknown setting 1'),
        ('app.set "x"', 'SITE:2: app.set: a table of settings expected, got "x"'),
        ('app.set()', 'SITE:2: app.set: a table of settings expected, got nil'),
        ('app:listen "127.0.0.1:8080"', 'SITE:2: app.listen: call it with a dot, not with a colon'),
        ('app:set { debug = true }', 'SITE:2: app.set: call it with a dot, not with a colon'),
        ('app:static("/", "/tmp")', 'SITE:2: app.static: call it with a dot, not with a colon'),
        ('app:get("/x", print)', 'SITE:2: app.get: call it with a dot, not with a colon'),
        ('app:any("/x", print)', 'SITE:2: app.any: call it with a dot, not with a colon'),
        ('app:route("GET", "/x", print)', 'SITE:2: app.route: call it with a dot, not with a colon'),
        ('app:use(print)', 'SITE:2: app.use: call it with a dot, not with a colon'),
        ('app:on("start", print)', 'SITE:2: app.on: call it with a dot, not with a colon'),
        ('app:group("/api")', 'SITE:2: app.group: call it with a dot, not with a colon'),
        ('app.group("/api"):get("/x", print)', 'SITE:2: group.get: call it with a dot, not with a colon'),
        ('app.listen(8080)', 'SITE:2: app.listen: an address such as "127.0.0.1:8080" expected, got number'),
        ('app.listen()', 'SITE:2: app.listen: an address such as "127.0.0.1:8080" expected, got nil'),
        ('app.listen "nowhere"',
         'SITE:2: app.listen: listen address "nowhere": expected HOST:PORT with a port from 0 to 65535, '
         'unix:PATH, unix:@NAME or fd:N'),
        ('app.listen "127.0.0.1:0\\0.1"', 'SITE:2: app.listen: the text contains a NUL byte'),
        ('app.listen "unix:@name\\0more"', 'SITE:2: app.listen: the text contains a NUL byte'),
        ('app.set { idle_timeout = "30s\\0m" }', 'SITE:2: app.set: idle_timeout: the text contains a NUL byte'),
        ('app.set { trailing_slash = "strict\\0" }', 'SITE:2: app.set: trailing_slash: the text contains a NUL byte'),
        ('app.get("/x", { handler_timeout = "1m\\0s" }, print)',
         'SITE:2: app.get: handler_timeout: the text contains a NUL byte'),
        ('app.after("1s\\0m", print)', 'SITE:2: app.after: the text contains a NUL byte'),
        ('app.static("/", "/tmp", { cache = "1h\\0d" })', 'SITE:2: app.static: cache: a text contains a NUL byte'),
        ('app.file("x", { cache = "1h\\0d" })', 'SITE:2: app.file: cache: the text contains a NUL byte'),
        ('app.static("/", "/tmp", { cash = "1h" })',
         'SITE:2: app.static: unknown option "cash" (did you mean "cache"?)'),
        ('app.static("/", "/tmp", { cache = 5 })',
         'SITE:2: app.static: cache: a time with a unit such as "1h" expected'),
        ('app.static("/", "/tmp", { cache = "1500ms" })',
         'SITE:2: app.static: cache: "1500ms" is not a whole number of seconds below 68 years'),
        ('app.static("/", "/tmp", "1h")', 'SITE:2: app.static: a table of options expected, got "1h"'),
        ('app.static()', 'SITE:2: app.static: a prefix such as "/" expected, got nil'),
        ('app.static("/")', 'SITE:2: app.static: a directory, or a table of files, expected, got nil'),
        ('app.get("/x")', 'SITE:2: app.get: a function expected, got nil'),
        ('app.post("/x", 5)', 'SITE:2: app.post: a function expected, got 5'),
        ('app.put("/x", { max_bdy = "1M" }, function() end)',
         'SITE:2: app.put: unknown option "max_bdy" (did you mean "max_body"?)'),
        ('app.put("/x", 5, function() end)', 'SITE:2: app.put: a table of options expected before the function, not 5'),
        ('app.get(nil, function() end)', 'SITE:2: app.get: a path such as "/users/:id" expected, got nil'),
        ('app.get("x", function() end)', 'SITE:2: bad route pattern "x": it must begin with \'/\''),
        ('app.get("/:a/:a", function() end)', 'SITE:2: bad route pattern "/:a/:a": two parameters are called "a"'),
        ('app.get("/x/:id", function() end)\n\napp.get("/x/:name", function() end)',
         'SITE:4: route GET /x/:name is already registered as /x/:id at SITE:2'),
        ('app.route("get", "/x", function() end)',
         'SITE:2: app.route: "get" is not a method: methods are case-sensitive, write GET'),
        ('app.route({}, "/x", function() end)', 'SITE:2: app.route: at least one method expected'),
        ('app.route(5, "/x", function() end)', 'SITE:2: app.route: a method or a list of methods expected, got 5'),
        ('app.use "x"', 'SITE:2: app.use: a function expected, got "x"'),
        ('app.on("eror", print)', 'SITE:2: app.on: unknown event "eror" (did you mean "error"?)'),
        ('app.on("start")', 'SITE:2: app.on: a function expected, got nil'),
        ('app.on("error", print)\napp.on("error", print)',
         'SITE:3: app.on: the "error" function is already set at SITE:2'),
        ('app.sleep "1s"',
         'SITE:2: app.sleep cannot wait while the script starts: call it in a handler, a stream or a timer'),
        ('app.every(0, print)', 'SITE:2: app.every: the interval must be at least a millisecond'),
        ('app.every("1s")', 'SITE:2: app.every: a function expected, got nil'),
        ('app.after("soon", print)',
         'SITE:2: app.after: "soon" is not a whole number with a unit (ms, s, m or h), such as "30s"'),
        ('app.after(0.5, print)',
         'SITE:2: app.after: 0.5 is not a whole number of milliseconds; write "500ms" or "2s"'),
        ('app.error(404, "not yet\\n")', 'SITE:2: 404: not yet'),
        ('error()', 'SITE:2: the error is a nil'),
        ('error(setmetatable({}, { __tostring = function() return "told" end }))', 'SITE:2: told'),
        ('error(setmetatable({}, { __tostring = error }))', 'SITE:2: the error is a table: {}'),
        ('error { code = 1 }', 'SITE:2: the error is a table: {code = 1}'),
        ('app.log("loud", "x")', 'SITE:2: app.log: the level must be "error", "warn", "info" or "debug"'),
        ('app.json.encode(print)', 'SITE:2: JSON: cannot encode a function'),
        ('app.json.decode()', 'SITE:2: app.json.decode: a string expected, got nil'),
        ('app.escape_html()', 'SITE:2: app.escape_html: a string expected, got nil'),
        ('app.no_such()', "SITE:2: attempt to call field 'no_such' (a nil value)"),
        ('os.exit(1)', 'SITE:2: os.exit would end the whole server; send it SIGTERM instead'),
        ('x = = 1', "SITE:2: unexpected symbol near '='"),
        ('if true then', "SITE:2: 'end' expected near '<eof>'"),
        ('local x\nx.y = 1', "SITE:3: attempt to index local 'x' (a nil value)"),
        ('error "my own"', 'SITE:2: my own'),
        ('error("bare", 0)', 'SITE:2: bare'),
        ('\nerror {}', 'SITE:3: the error is a table: {}'),
        ('error("two\\nlines")', 'SITE:2: two lines'),
        ('require "no.such"', "SITE:2: module 'no.such' not found"),
        ('local function f() f() return 1 end f()', 'SITE:2: stack overflow'),
    )

    def check(self, path, expected, **options):
        for arguments in (["--check"], ["--listen", "127.0.0.1:0"]):
            done = evtest.run(EVSERVE, *arguments, path, **options)
            self.assertEqual(done.stderr, expected + "\n")
            self.assertEqual(done.returncode, 1)

    def test_each_is_one_line_that_names_the_place(self):
        for text, expected in self.CASES:
            with self.subTest(text), script(text) as path:
                self.check(path, expected.replace("SITE", path))

    def test_relative_path_is_told_as_given(self):
        with script("x = = 1") as path:
            folder, name = os.path.split(path)
            self.check(name, "site.lua:2: unexpected symbol near '='", cwd=folder)

    def test_long_path_is_told_in_full(self):
        with script("local x = nil + 1", name="a" * 100 + ".lua") as path:
            self.check(path, f"{path}:2: attempt to perform arithmetic on a nil value")
        with script("app.set()", name="a" * 100 + ".lua") as path:
            self.check(path, f"{path}:2: app.set: a table of settings expected, got nil")

    def test_mistake_in_a_module_names_the_module(self):
        with script('require "lib"', files=[("lib.lua", HEAD + "app.set { nope = 1 }")]) as path:
            folder = os.path.dirname(path)
            self.check(path, f'{folder}/lib.lua:2: app.set: unknown setting "nope"')

    def test_module_that_does_not_compile_is_told_with_its_place_and_that_of_require(self):
        with script('\nrequire "lib"', files=[("lib.lua", "\nx = = 1")]) as path:
            module = os.path.join(os.path.dirname(path), "lib.lua")
            self.check(path, f"{path}:3: error loading module 'lib' from file '{module}': {module}:2: "
                             "unexpected symbol near '='")

    def test_missing_file_and_directory(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            self.check(folder + "/nope.lua", f"cannot open {folder}/nope.lua: No such file or directory")
            self.check(folder, f"cannot open {folder}: Is a directory")

    def test_static_directory_that_is_not_there(self):
        with script('app.static("/", "no/such/dir")') as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^{re.escape(path)}:2: app\.static: .*no/such/dir.*\n$")

    def test_bytecode_is_refused(self):
        with script("\x1bLJ", prelude=False) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("wrong mode", done.stderr)

    def test_empty_script_and_first_line_comment(self):
        for text in ("", "#!/usr/bin/env evserve\n-- nothing"):
            with self.subTest(text), script(text, prelude=False) as path:
                self.assertEqual(evtest.run(EVSERVE, "--check", path).returncode, 0)


if __name__ == "__main__":
    unittest.main()
