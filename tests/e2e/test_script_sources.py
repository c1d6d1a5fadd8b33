"""Where a script comes from, and what it reads: pipes, and the files that --watch looks at."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import evtest
import side_by_side
from lua_site import EVSERVE, HEAD, Client


@unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name) + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def start(self, *arguments, **options):
        server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *arguments, cwd=self.folder, **options)
        self.addCleanup(server.kill)
        return server

    def ask(self, server, target="/"):
        with Client(server) as client:
            return client.ask("GET", target).text

    def count(self, server, text):
        return sum(1 for line in server.lines if text in line)

    def wait_for_log(self, server, text, count=1):
        evtest.wait_until(lambda: self.count(server, text) >= count, f"log line {text!r}")


class Piped(Case):
    SITE = HEAD + "local lib = require 'lib'\napp.get('/', function() return lib end)\n"

    def pipe(self, text):
        """The reading end of a pipe that has a text in it."""
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        self.addCleanup(os.close, reader)
        return reader

    def test_script_is_read_from_standard_input(self):
        self.write("lib.lua", "return 'lib'")
        for name in ("-", "/dev/stdin"):
            for arguments in ([], ["--reactors", "2"], ["--sandbox"], ["--watch"]):
                with self.subTest(name=name, arguments=arguments):
                    environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
                    server = self.start(*arguments, name, stdin=self.pipe(self.SITE), env=environment)
                    self.assertEqual(self.ask(server), "lib")
                    self.assertEqual(server.stop(), 0)

    def test_script_is_read_from_a_named_pipe(self):
        self.write("lib.lua", "return 'lib'")
        os.mkfifo(self.path("fifo"))
        with subprocess.Popen(["sh", "-c", "printf '%s' \"$1\" > fifo", "sh", self.SITE], cwd=self.folder):
            server = self.start("fifo")
        self.assertEqual(self.ask(server), "lib")
        self.assertEqual(server.stop(), 0)

    def test_check_and_request_take_it(self):
        done = subprocess.run([EVSERVE, "--check", "-"], input=HEAD + "app.get('/x', function() end)", text=True,
                              capture_output=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("/dev/stdin:2", done.stdout)
        done = subprocess.run([EVSERVE, "--request", "GET /x", "-"], input=HEAD + "app.get('/x', function() return 'y' end)",
                              text=True, capture_output=True, timeout=evtest.LIMIT, check=False)
        self.assertTrue(done.stdout.endswith("y"), done.stderr)

    def test_errors_name_it(self):
        for text, expected in (("x = = 1", "/dev/stdin:1: unexpected symbol near '='"), ("\nerror 'no'", "/dev/stdin:2: no"),
                               ("-----BEGIN PRIVATE KEY-----\nMIGHsecret\n", "/dev/stdin is PEM text, not a script: a "
                                "certificate is named with --tls-cert, its key with --tls-key"),
                               ("--" + "x" * (16 << 20), "cannot read /dev/stdin: File too large")):
            done = subprocess.run([EVSERVE, "--check", "-"], input=text, text=True, capture_output=True,
                                  timeout=evtest.LIMIT, check=False)
            self.assertEqual((done.returncode, done.stderr.strip()), (1, expected))

    def test_empty_script_is_an_error(self):
        for arguments in (["-"], ["--check", "-"], ["--request", "GET /", "-"], ["--reactors", "2", "-"], ["/dev/null"]):
            with self.subTest(arguments=arguments):
                done = subprocess.run([EVSERVE, *arguments], input="", text=True, capture_output=True,
                                      timeout=evtest.LIMIT, check=False)
                name = arguments[-1].replace("-", "/dev/stdin")
                self.assertEqual((done.returncode, done.stderr.strip()),
                                 (1, f"{name}: the script is empty (did what writes to the pipe fail?)"))

    def test_watching_what_cannot_be_read_again_is_one_warning(self):
        self.write("lib.lua", "return 'lib'")
        text = "--watch has no effect: /dev/stdin came through a pipe and cannot be read again"
        server = self.start("--watch", "-", stdin=self.pipe(self.SITE))
        self.wait_for_log(server, text)
        self.assertEqual(self.ask(server), "lib")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.count(server, text), 1)
        self.write("site.lua", self.SITE)
        for arguments in (["--watch", "site.lua"], ["--watch", "--root", "."]):
            server = self.start(*arguments)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(self.count(server, "--watch reloads nothing"), 0)

    def test_reload_says_that_it_cannot_be_read_again(self):
        self.write("lib.lua", "return 'one'")
        server = self.start("--watch", "-", stdin=self.pipe(self.SITE))
        for change in (lambda: server.process.send_signal(signal.SIGHUP), lambda: self.write("lib.lua", "return 'two'")):
            before = self.count(server, "not reloaded")
            change()
            self.wait_for_log(server, "not reloaded: /dev/stdin came through a pipe and cannot be read again", before + 1)
            self.assertEqual(self.ask(server), "one")
        self.assertEqual(server.stop(), 0)

    def test_file_as_standard_input_is_a_file(self):
        self.write("lib.lua", "return 'one'")
        self.write("site.lua", self.SITE)
        with open(self.path("site.lua"), encoding="utf-8") as file:
            server = self.start("-", stdin=file)
        self.assertEqual(self.ask(server), "one")
        self.assertEqual(server.stop(), 0)

    def test_dofile_reads_a_pipe_as_well(self):
        done = subprocess.run([EVSERVE, "--check", self.path("site.lua")], input="seen = 'seen'", text=True,
                              capture_output=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual(done.returncode, 1)
        self.write("site.lua", "dofile '/dev/stdin' assert(seen == 'seen')")
        done = subprocess.run([EVSERVE, "--check", self.path("site.lua")], input="seen = 'seen'", text=True,
                              capture_output=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Watched(Case):
    def test_files_that_the_script_reads_at_its_start_are_watched(self):
        self.write("code.lua", "return 'a'")
        self.write("loaded.lua", "return 'b'")
        self.write("opened.txt", "c")
        self.write("lines.txt", "d\n")
        self.write("late.txt", "e")
        self.write("page.html", "{% include 'part.html' %}")
        self.write("part.html", "f")
        self.write("site.lua", HEAD + "local parts = { dofile 'code.lua', loadfile('loaded.lua')(),\n"
                   "io.open('opened.txt'):read('*a'), (io.lines('lines.txt')()) }\n"
                   "io.open('/proc/uptime'):close()\nparts[5] = app.template('page.html'):render()\n"
                   "app.get('/', function() return table.concat(parts, ' ') end)\n"
                   "app.get('/late', function() return io.open('late.txt'):read('*a') end)\n")
        server = self.start("--watch", "site.lua")
        self.assertEqual(self.ask(server), "a b c d f")
        self.assertEqual(self.ask(server, "/late"), "e")
        self.write("late.txt", "not watched")
        for number, (name, text, expected) in enumerate((("code.lua", "return 'A'", "A b c d f"),
                                                         ("loaded.lua", "return 'B'", "A B c d f"),
                                                         ("opened.txt", "C", "A B C d f"),
                                                         ("lines.txt", "D\n", "A B C D f"),
                                                         ("part.html", "F", "A B C D F"))):
            self.write(name, text)
            self.wait_for_log(server, "reloaded site.lua", number + 1)
            self.assertEqual(self.ask(server), expected)
        self.assertEqual(self.count(server, "reloaded"), 5)
        self.assertEqual(server.stop(), 0)

    def test_files_that_the_script_writes_are_not_watched(self):
        self.write("state", "1")
        self.write("replaced", "1")
        self.write("site.lua", HEAD + "local at_start = io.open('state'):read('*a') .. io.open('replaced'):read('*a')\n"
                   "app.get('/', function() return at_start end)\n"
                   "app.get('/write', function() local f = io.open('state', 'w') f:write('22') f:close()\n"
                   "f = io.open('replaced.part', 'w') f:write('22') f:close() os.rename('replaced.part', 'replaced')\n"
                   "return 'written' end)\n")
        server = self.start("--watch", "site.lua")
        self.assertEqual(self.ask(server, "/write"), "written")
        self.write("site.lua", HEAD + "app.get('/', function() return 'new' end)\n")
        self.wait_for_log(server, "reloaded site.lua")
        self.assertEqual(self.ask(server), "new")
        self.assertEqual(self.count(server, "reloaded"), 1)
        self.assertEqual(server.stop(), 0)

    def test_sandbox_does_not_reach_further_for_what_was_read(self):
        os.mkdir(self.path("site"))
        os.mkdir(self.path("data"))
        self.write("data/list", "list")
        self.write("data/secret", "secret")
        self.write("site/site.lua", HEAD + "assert(io.open('data/list'):read('*a') == 'list')\n"
                   "app.get('/', function() return tostring(io.open('data/secret')) end)\n")
        environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        server = self.start("--sandbox", "site/site.lua", env=environment)
        if not any("without landlock" in line for line in server.lines):
            self.assertEqual(self.ask(server), "nil")
        self.assertEqual(server.stop(), 0)

    def test_wrong_arguments_of_the_file_functions_are_told_with_the_place(self):
        for code, text in (("io.open(nil)", "io.open: a path and a mode"), ("io.open('x', 1)", "io.open: a path and a mode"),
                           ("io.lines('nothing')", "nothing: No such file"), ("io.lines({})", "bad argument #1 to 'lines'"),
                           ("os.rename({}, 'x')", "bad argument #1 to 'rename'"),
                           ("io.input('nothing')", "nothing: No such file")):
            with self.subTest(code):
                self.write("site.lua", "\n" + code + "\n")
                done = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.folder)
                self.assertIn("site.lua:2: ", done.stderr)
                self.assertIn(text, done.stderr)


class Random(Case):
    SITE = HEAD + ("local first = {} for i = 1, 4 do first[i] = math.random(1e9) end\n"
                   "app.get('/', function() return table.concat(first, ' ') end)\n")

    def test_each_state_has_its_own_sequence(self):
        self.write("site.lua", self.SITE)
        seen = []
        for _ in range(2):
            server = self.start("site.lua")
            seen.append(self.ask(server))
            server.process.send_signal(signal.SIGHUP)
            self.wait_for_log(server, "reloaded site.lua")
            seen.append(self.ask(server))
            self.assertEqual(server.stop(), 0)
        self.write("site.lua", HEAD + "app.on('start', function() app.log('info', 'first ' .. math.random(1e9)) end)\n")
        server = self.start("--reactors", "2", "site.lua")
        self.wait_for_log(server, "info first ", 2)
        seen += [line.rpartition(" ")[2] for line in server.lines if "info first " in line]
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(set(seen)), 6)

    def test_a_seed_makes_it_the_same_again(self):
        self.write("site.lua", self.SITE.replace("local first", "math.randomseed(1) local first"))
        seen = set()
        for _ in range(2):
            server = self.start("site.lua")
            seen.add(self.ask(server))
            self.assertEqual(server.stop(), 0)
        self.assertEqual(len(seen), 1)


class Redirect(Case):
    def test_location_has_what_an_address_may_have(self):
        rows = (("/a b", "/a%20b"), ('/"x"', "/%22x%22"), ("/ü?q=ß#ö", "/%C3%BC?q=%C3%9F#%C3%B6"),
                ("/a%20b", "/a%20b"), ("/100%", "/100%25"), ("/%zz%4", "/%25zz%254"), ("/%C3%bc", "/%C3%bc"),
                ("https://u@h:1/p;a=b?c=d&e=[f]!$'()*+,", "https://u@h:1/p;a=b?c=d&e=[f]!$'()*+,"),
                ("/<>\\\\^`{|}", "/%3C%3E%5C%5E%60%7B%7C%7D"), ("/%%", "/%25%25"), ("http://[::1]/~x-y_z.", "http://[::1]/~x-y_z."))
        self.write("site.lua", HEAD + "".join(f"app.get('/{i}', function() return app.redirect [==[{url}]==] end)\n"
                                              .replace("\\\\", "\\") for i, (url, _) in enumerate(rows))
                   + "app.get('/control', function(req) return app.redirect('/' .. req.query.to) end)\n")
        server = self.start("site.lua")
        with Client(server) as client:
            for i, (url, expected) in enumerate(rows):
                with self.subTest(url):
                    self.assertEqual(client.ask("GET", f"/{i}").headers["location"], expected)
            for text in ("%0d%0aSet-Cookie:x", "%09", "%00", "%7f"):
                self.assertEqual(client.ask("GET", f"/control?to={text}").status, 500)
        self.wait_for_log(server, "contains a control character", 4)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
