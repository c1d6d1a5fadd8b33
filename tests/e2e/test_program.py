"""The program as a user starts and stops it: command line, errors at start-up, signals, and what clients see of it all.

Where a test has to know that something has happened inside the server it looks at what can be seen from outside (the
listening port refuses, the log has a line, bytes arrived); times are only compared with lower bounds.
"""

import contextlib
import fcntl
import http.client
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = 'local app = require "evserve"\n'
LARGE = 8 << 20  # more than all socket buffers of a connection hold


def get(target, *fields):
    """The bytes of a GET request."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: test", *fields, "", ""]).encode()


class Reader:
    """Reads answers off a connection."""

    def __init__(self, sock):
        self.file = sock.makefile("rb")

    def answer(self, head_only=False):
        """The next answer as (status, fields, content); fields have lower-case names. EOFError at the end."""
        line = self.file.readline()
        if not line:
            raise EOFError("no answer")
        if not re.fullmatch(rb"HTTP/1\.1 \d{3} [^\r\n]*\r\n", line):
            raise AssertionError(f"status line {line!r}")
        status = int(line.split()[1])
        fields = {}
        while (line := self.file.readline()) != b"\r\n":
            if not line.endswith(b"\r\n"):
                raise EOFError("the head is cut")
            name, _, value = line.decode("latin-1").partition(": ")
            fields[name.lower()] = value.strip()
        if head_only or status in (204, 304):
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, self.chunks()
        if "content-length" not in fields:
            return status, fields, self.file.read()
        content = self.file.read(int(fields["content-length"]))
        if len(content) != int(fields["content-length"]):
            raise EOFError(f"{len(content)} of {fields['content-length']} bytes")
        return status, fields, content

    def chunks(self):
        content = b""
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError("the chunks are cut")
            size = int(line, 16)
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise EOFError("a chunk is cut")
            if size == 0:
                return content
            content += data[:-2]

    def at_end(self):
        return self.file.read(1) == b""


class ProgramCase(unittest.TestCase):
    """A test with a folder of its own, in which the program is started."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content=""):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def start(self, *arguments, **options):
        """The running program; it is killed when the test ends."""
        server = evtest.Program(EVSERVE, *arguments, cwd=self.folder, **options)
        self.addCleanup(server.kill)
        return server

    def start_site(self, script, *arguments):
        self.write("site.lua", HEAD + script)
        return self.start("--listen", "127.0.0.1:0", *arguments, "site.lua")

    def fail_to_start(self, *arguments, status=1):
        """Run the program, which must say one line and end. Returns the line."""
        done = evtest.run(EVSERVE, *arguments, cwd=self.folder)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.endswith("\n"))
        return done.stderr.rstrip("\n")

    def ask(self, address, target, *fields):
        with evtest.connect(address) as sock:
            sock.sendall(get(target, "Connection: close", *fields))
            return Reader(sock).answer()

    def wait_for_drain(self, server):
        """Wait until the server has begun to stop: its port refuses."""
        def refuses():
            try:
                evtest.connect(server.address).close()
            except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
                return True
            return False
        evtest.wait_until(refuses, "the server stops listening")


class Addresses(ProgramCase):
    def setUp(self):
        super().setUp()
        self.write("public/index.html", "index\n")

    def test_first_line_names_the_address_that_was_bound(self):
        with self.start("--listen", "127.0.0.1:0") as server:
            self.assertRegex(server.lines[0], r"^listening on 127\.0\.0\.1:[1-9]\d*$")
            self.assertEqual(self.ask(server.address, "/")[2], b"index\n")
            self.assertEqual(len(server.lines), 1)

    def test_first_line_is_the_address_though_the_script_logs_while_it_loads(self):
        with self.start_site('app.log("warn", "early bird")\nprint("second")\n') as server:
            evtest.wait_until(lambda: len(server.lines) >= 3, "the log")
            self.assertRegex(server.lines[0], r"^listening on 127\.0\.0\.1:\d+$")
            self.assertIn("early bird", server.lines[1])
            self.assertIn("second", server.lines[2])

    def test_every_address_is_listened_on_and_named(self):
        with self.start("--listen", "127.0.0.1:0", "--listen=127.0.0.1:0", "--listen", "[::1]:0",
                        "--listen", "unix:" + self.path("sock")) as server:
            evtest.wait_until(lambda: len(server.lines) == 4, "a line for each address")
            addresses = [evtest.parse_address(line[len("listening on "):]) for line in server.lines]
            self.assertEqual([address[0] for address in addresses[:3]], ["127.0.0.1", "127.0.0.1", "::1"])
            self.assertEqual(addresses[3], self.path("sock"))
            self.assertEqual(len(set(addresses)), 4)
            for address in addresses:
                self.assertEqual(self.ask(address, "/")[0], 200)
        self.assertFalse(os.path.exists(self.path("sock")), "the socket's file is removed")

    def test_unix_socket_that_a_dead_server_left_is_replaced(self):
        server = self.start("--listen", "unix:" + self.path("sock"))
        server.kill()
        self.assertTrue(os.path.exists(self.path("sock")))
        with self.start("--listen", "unix:" + self.path("sock")) as server:
            self.assertEqual(self.ask(server.address, "/")[0], 200)

    def test_inherited_socket(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with self.start("--listen", f"fd:{listener.fileno()}", pass_fds=[listener.fileno()]) as server:
                self.assertEqual(server.address, listener.getsockname())
                self.assertEqual(self.ask(server.address, "/")[0], 200)

    def test_without_a_script_public_is_served(self):
        with self.start("--listen", "127.0.0.1:0") as server:
            self.assertEqual(self.ask(server.address, "/index.html")[2], b"index\n")
            self.assertEqual(self.ask(server.address, "/nowhere")[0], 404)

    def test_root_takes_the_place_of_public(self):
        self.write("other/index.html", "other\n")
        with self.start("--root", "other", "--listen", "127.0.0.1:0") as server:
            self.assertEqual(self.ask(server.address, "/")[2], b"other\n")

    def test_root_wins_over_the_script(self):
        self.write("other/index.html", "other\n")
        self.write("assets/a.txt", "asset\n")
        script = 'app.static("/", "public")\napp.static("/assets", "assets")\n'
        with self.start_site(script, "--root=other") as server:
            self.assertEqual(self.ask(server.address, "/")[2], b"other\n")
            self.assertEqual(self.ask(server.address, "/assets/a.txt")[2], b"asset\n")
        with self.start_site(script) as server:
            self.assertEqual(self.ask(server.address, "/")[2], b"index\n")

    def test_listen_wins_over_the_script(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            script = f'app.listen "127.0.0.1:{taken.getsockname()[1]}"\napp.get("/x", function() return "x" end)\n'
            with self.start_site(script) as server:
                self.assertEqual(len(server.lines), 1)
                self.assertEqual(self.ask(server.address, "/x")[2], b"x")

    def test_addresses_of_the_script_are_used_without_one_on_the_command_line(self):
        self.write("site.lua", HEAD + 'app.listen "127.0.0.1:0"\napp.listen "[::1]:0"\n'
                   'app.get("/x", function() return "x" end)\n')
        with self.start("site.lua") as server:
            evtest.wait_until(lambda: len(server.lines) == 2, "two addresses")
            for line in server.lines:
                self.assertEqual(self.ask(evtest.parse_address(line[len("listening on "):]), "/x")[2], b"x")


class CommandLine(ProgramCase):
    def test_version(self):
        done = evtest.run(EVSERVE, "--version", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^evserve \d+\.\d+\.\d+\n$")

    def test_help_names_every_option(self):
        done = evtest.run(EVSERVE, "--help", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--listen", "--root", "--reactors", "--check", "--version", "--help", "SITE.lua", "SIGTERM"):
            self.assertIn(word, done.stdout)

    def test_usage_errors_are_one_line_that_names_the_culprit(self):
        for arguments, culprit in ((["--nope"], "--nope"), (["--listen"], "--listen"), (["--root"], "--root"),
                                   (["-x"], "-x"), (["-xyz"], "-x"), (["--check", "-q"], "-q"), (["-l", "a"], "-l"),
                                   (["--check=yes"], "--check"), (["a.lua", "b.lua"], "b.lua"),
                                   (["a.lua", "--check", "b.lua"], "b.lua"), (["--listen", ""], "--listen"),
                                   (["--listen", "x" * 5000], "--listen"), (["--nope", "--help"], "--nope"),
                                   (["--reactors", "0"], "\"0\""), (["--reactors", "257"], "256"),
                                   (["--reactors", "many"], "many"), (["--reactors", "2x"], "2x")):
            with self.subTest(arguments=arguments):
                self.assertIn(culprit, self.fail_to_start(*arguments, status=2))

    def test_check_of_a_good_site_prints_its_routes_and_does_not_listen(self):
        self.write("public/index.html")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.write("site.lua", HEAD + f'app.listen "{address}"\napp.set {{ idle_timeout = "5s", handler_cpu = "200ms" }}\n'
                       'app.static("/", "public")\n\napp.get("/users/:id{int}", function() end)\n')
            done = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^GET +/users/:id\{int\} +- +site\.lua:6$")
        self.assertRegex(done.stdout, r"(?m)^static +/ +- +.*public$")
        self.assertRegex(done.stdout, rf"(?m)^listen +{address}$")
        self.assertRegex(done.stdout, r"(?m)^set +idle_timeout = 5000 ms$")
        self.assertRegex(done.stdout, r"(?m)^set +handler_cpu = 200 ms$")

    def test_check_after_the_script_or_before_it(self):
        self.write("site.lua", HEAD)
        for arguments in (["--check", "site.lua"], ["site.lua", "--check"]):
            self.assertEqual(evtest.run(EVSERVE, *arguments, cwd=self.folder).returncode, 0)

    def test_check_of_a_bad_site_says_where(self):
        self.write("site.lua", HEAD + "\nlocal x = = 1\n")
        self.assertRegex(self.fail_to_start("--check", "site.lua"), r"^site\.lua:3: ")

    def test_check_of_a_bad_address_names_it(self):
        self.write("public/a.txt")
        done = evtest.run(EVSERVE, "--check", "--listen", "nowhere", cwd=self.folder)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1))
        self.assertIn("nowhere", done.stderr)

    def test_check_without_a_script_checks_the_root(self):
        self.assertIn("public", self.fail_to_start("--check"))
        self.write("public/a.txt")
        done = evtest.run(EVSERVE, "--check", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Reactors(ProgramCase):
    """Several threads, each with a Lua state."""

    SCRIPT = "local id = tostring({})\napp.get('/', function() return id end)\n"

    def ids(self, server, count):
        seen = set()
        def all_seen():
            seen.add(self.ask(server.address, "/")[2])
            return len(seen) >= count
        evtest.wait_until(all_seen, f"answers of {count} threads")
        return seen

    def threads(self, server):
        return len(os.listdir(f"/proc/{server.pid}/task"))

    def test_each_thread_has_a_lua_state_and_gets_connections(self):
        server = self.start_site(self.SCRIPT, "--reactors", "3")
        self.assertEqual(len(self.ids(server, 3)), 3)
        self.assertEqual(server.stop(), 0)

    def test_auto_is_a_thread_for_each_cpu(self):
        one = self.start_site(self.SCRIPT, "--reactors", "1")
        server = self.start_site(self.SCRIPT, "--reactors", "auto")
        more = len(os.sched_getaffinity(0)) - 1  # some start after the first line, and the log's ends
        evtest.wait_until(lambda: self.threads(server) - self.threads(one) == more, f"{more} threads more")
        self.assertEqual(server.stop(), 0)

    def test_requests_in_flight_of_all_threads_are_finished(self):
        server = self.start_site("app.get('/', function() app.log('info', 'asked'); app.sleep '300ms'; return 'done' end)\n",
                                 "--reactors", "2")
        readers = []
        for _ in range(20):
            sock = server.connect()
            self.addCleanup(sock.close)
            sock.sendall(get("/"))
            readers.append(Reader(sock))
        evtest.wait_until(lambda: sum("asked" in line for line in server.lines) == 20, "20 requests")
        self.assertEqual(server.stop(), 0)
        self.assertEqual([reader.answer()[2] for reader in readers], [b"done"] * 20)


class StartErrors(ProgramCase):
    """One line on standard error that names the culprit, and exit status 1."""

    def setUp(self):
        super().setUp()
        self.write("public/index.html", "index\n")

    def site_fails(self, script):
        self.write("sites/site.lua", script)
        return self.fail_to_start("--listen", "127.0.0.1:0", "sites/site.lua")

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            line = self.fail_to_start("--listen", address)
            self.assertIn(address, line)
            self.assertIn("in use", line)
            line = self.fail_to_start("--listen", "127.0.0.1:0", "--listen", address)
            self.assertIn(address, line)

    def test_addresses_that_are_none(self):
        for address in ("nowhere", "127.0.0.1", "127.0.0.1:70000", "example.org:80", "unix:", "fd:x", "fd:999", ",",
                        " ", "127.0.0.1:0,nowhere", "1" * 300 + ":1"):
            with self.subTest(address=address):
                self.assertIn(address.split(",")[-1].strip()[:40], self.fail_to_start("--listen", address))

    def test_socket_of_a_living_server_is_left_alone(self):
        with self.start("--listen", "unix:" + self.path("sock")) as server:
            self.assertIn(self.path("sock"), self.fail_to_start("--listen", "unix:" + self.path("sock")))
            self.assertEqual(self.ask(server.address, "/")[0], 200)

    def test_root_that_is_missing_or_no_directory(self):
        self.assertIn("missing", self.fail_to_start("--root", "missing", "--listen", "127.0.0.1:0"))
        self.assertIn("public/index.html",
                      self.fail_to_start("--root", "public/index.html", "--listen", "127.0.0.1:0"))
        self.assertNotEqual(self.fail_to_start("--root", "", "--listen", "127.0.0.1:0"), "")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_root_that_may_not_be_read(self):
        os.mkdir(self.path("closed"), 0)
        self.assertIn("closed", self.fail_to_start("--root", "closed", "--listen", "127.0.0.1:0"))

    def test_script_that_is_missing_or_no_file(self):
        self.assertIn("missing.lua", self.fail_to_start("missing.lua"))
        self.assertIn("public", self.fail_to_start("public"))

    def test_syntax_error(self):
        self.assertRegex(self.site_fails(HEAD + "\nthis is not Lua\n"), r"^sites/site\.lua:3: ")

    def test_error_while_the_script_runs(self):
        self.assertRegex(self.site_fails(HEAD + "\n\nlocal t = nil\nprint(t.x)\n"), r"sites/site\.lua:5: .*'t'")

    def test_mistakes_in_calls(self):
        for line, culprit in (('app.listen "nowhere"', "nowhere"), ('app.set { idle_timeot = "1s" }', "idle_timeot"),
                              ('app.set { idle_timeout = "soon" }', "soon"), ('app.static("/", "missing")', "missing"),
                              ('app.get("no-slash", function() end)', "no-slash"),
                              ('app.get("/x", "not a function")', ""), ('error("my own words")', "my own words")):
            with self.subTest(line=line):
                said = self.site_fails(HEAD + "\n" + line + "\n")
                self.assertRegex(said, r"^sites/site\.lua:3: ")
                self.assertIn(culprit, said)

    def test_route_registered_twice_names_both_lines(self):
        said = self.site_fails(HEAD + 'app.get("/x", function() end)\n\napp.get("/x", function() end)\n')
        self.assertIn("sites/site.lua:4", said)
        self.assertIn("sites/site.lua:2", said)


SLEEPER = """
app.static("/", "public")
app.get("/sleep/:time", function(req) app.sleep(req.params.time); return "slept\\n" end)
app.get("/half-close", { half_close = true }, function() app.sleep "1ms"; return "slept\\n" end)
app.get("/begun", function() app.log("info", "begun"); app.sleep "400ms"; return "slept\\n" end)
app.get("/for-ever", function() app.log("info", "for ever"); app.sleep "1h" end)
app.post("/upload", function(req) return 201, { bytes = #req.body } end)
app.get("/count", function()
    return 200, function(out) for i = 1, 5 do out:write(i .. "\\n"); app.sleep "100ms" end end
end)
app.on("stop", function() app.log("info", "stopped") end)
"""


class Stopping(ProgramCase):
    def setUp(self):
        super().setUp()
        self.write("public/index.html", "index\n")
        self.write("public/large.bin", evtest.pattern(LARGE))

    def site(self):
        return self.start_site(SLEEPER)

    def wait_for_log(self, server, text, count=1):
        evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"log line {text!r}")

    def test_both_signals_end_an_idle_server_with_0(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            server = self.site()
            self.assertEqual(server.stop(number), 0)
            self.assertIn("stopped", server.lines[-1])

    def test_request_in_flight_is_finished(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            server = self.site()
            with server.connect() as sock:
                sock.sendall(get("/begun"))
                self.wait_for_log(server, "begun")
                server.process.send_signal(number)
                status, fields, content = Reader(sock).answer()
                self.assertEqual((status, content), (200, b"slept\n"))
                self.assertEqual(fields.get("connection"), "close")
                self.assertEqual(sock.recv(1), b"")
            self.assertEqual(server.stop(), 0)

    def test_stream_in_flight_is_finished(self):
        server = self.site()
        with server.connect() as sock:
            sock.sendall(get("/count"))
            reader = Reader(sock)
            self.assertEqual(sock.recv(1, socket.MSG_PEEK), b"H")  # it has begun
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(reader.answer()[2], b"1\n2\n3\n4\n5\n")
        self.assertEqual(server.stop(), 0)

    def test_nobody_is_accepted_while_it_stops(self):
        server = self.site()
        with server.connect() as sock:
            sock.sendall(get("/for-ever"))
            self.wait_for_log(server, "for ever")
            server.process.send_signal(signal.SIGTERM)
            self.wait_for_drain(server)
            self.assertIsNone(server.process.poll())

    def test_upload_that_is_half_there_is_finished(self):
        server = self.site()
        body = evtest.pattern(200000)
        with server.connect() as sock:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:100000])
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            self.wait_for_drain(server)
            sock.sendall(body[100000:])
            status, fields, content = Reader(sock).answer()
            self.assertEqual((status, content), (201, b'{"bytes":200000}'))
            self.assertEqual(fields.get("connection"), "close")
        self.assertEqual(server.stop(), 0)

    def test_head_that_is_half_there_is_finished(self):
        server = self.site()
        with server.connect() as sock:
            sock.sendall(b"GET / HTT")
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            self.wait_for_drain(server)
            sock.sendall(b"P/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(Reader(sock).answer()[2], b"index\n")
        self.assertEqual(server.stop(), 0)

    def test_large_download_that_is_read_slowly_is_finished(self):
        server = self.site()
        with server.connect(receive_buffer=8192) as sock:
            sock.sendall(get("/large.bin"))
            got = sock.recv(1000)
            server.process.send_signal(signal.SIGTERM)
            self.wait_for_drain(server)
            while b"\r\n\r\n" not in got:
                got += sock.recv(1000)
            got = got[got.index(b"\r\n\r\n") + 4:]
            while len(got) < LARGE:
                part = sock.recv(200000)
                self.assertNotEqual(part, b"")
                got += part
                if len(got) < 100000:
                    time.sleep(0.002)
            self.assertEqual(got, evtest.pattern(LARGE))
            self.assertEqual(sock.recv(1), b"")
        self.assertEqual(server.stop(), 0)

    def test_idle_connections_are_closed(self):
        server = self.site()
        silent, used = server.connect(), server.connect()
        with silent, used:
            silent.sendall(b"\r\n")  # no request yet (RFC 9112, 2.2), but what brings it to accept(2)
            used.sendall(get("/"))
            reader = Reader(used)
            self.assertEqual(reader.answer()[0], 200)
            with server.connect() as sock:
                sock.sendall(get("/for-ever"))
                self.wait_for_log(server, "for ever")  # it stays, so that the server does
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(silent.recv(1), b"")
                self.assertTrue(reader.at_end())
                self.assertIsNone(server.process.poll())

    def test_second_signal_cuts_at_once(self):
        """The first one would wait for 10 s: half of that is time enough for a machine that is busy."""
        server = self.site()
        with server.connect() as sock:
            sock.sendall(get("/for-ever"))
            self.wait_for_log(server, "for ever")
            server.process.send_signal(signal.SIGTERM)
            self.wait_for_drain(server)
            self.assertIsNone(server.process.poll())
            before = time.monotonic()
            self.assertEqual(server.stop(signal.SIGINT), 0)
            self.assertLess(time.monotonic() - before, 5)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(sock.recv(1), b"")
        cuts = [line for line in server.lines if "cut" in line]
        self.assertEqual(len(cuts), 3, server.lines)
        self.assertIn("1 while a handler was at work", cuts[0])
        self.assertIn("route /for-ever", cuts[1])
        self.assertIn("1 connection", cuts[2])

    def test_requests_that_were_sent_before_are_answered_not_reset(self):
        """The server stands still while they are sent, some of them on connections it has not accepted yet."""
        server = self.site()
        old = [server.connect() for _ in range(20)]
        for sock in old:
            sock.sendall(get("/"))
            self.assertEqual(Reader(sock).answer()[0], 200)
        os.kill(server.pid, signal.SIGSTOP)
        new = [server.connect() for _ in range(20)]
        for sock in old + new:
            sock.sendall(get("/"))
        server.process.send_signal(signal.SIGTERM)
        os.kill(server.pid, signal.SIGCONT)
        for sock in old + new:
            with sock:
                status, fields, content = Reader(sock).answer()
                self.assertEqual((status, content), (200, b"index\n"))
                self.assertIn(fields.get("connection"), (None, "close"))  # None: answered before the signal was seen
                self.assertEqual(sock.recv(1), b"")
        self.assertEqual(server.stop(), 0)

    def test_signal_during_the_first_lines_is_an_orderly_stop(self):
        """Nobody reads standard error, so the program stands still in the middle of what the script logged at load."""
        evtest.skip_without_lua(["site.lua"])
        self.write("site.lua", HEAD + 'for i = 1, 2000 do app.log("info", i, ("x"):rep(80)) end\n')
        process = subprocess.Popen([EVSERVE, "--listen", "127.0.0.1:0", "site.lua"], cwd=self.folder,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            def waiting():
                return struct.unpack("i", fcntl.ioctl(process.stderr.fileno(), termios.FIONREAD, b"\0" * 4))[0]
            evtest.wait_until(lambda: waiting() >= 60000, "the pipe is full")
            process.send_signal(signal.SIGTERM)
            lines = process.stderr.read().decode().splitlines()
            self.assertEqual(process.wait(evtest.LIMIT), 0)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
        self.assertRegex(lines[0], "^listening on ")
        self.assertEqual(sum("xxx" in line for line in lines), 2000)


class Serving(ProgramCase):
    """A few hundred clients of all kinds."""

    def setUp(self):
        super().setUp()
        self.write("public/index.html", "index\n")
        self.write("public/small.txt", "small\n" * 100)
        self.write("public/large.bin", evtest.pattern(1 << 20))

    def test_fds_at_the_end_are_those_of_the_start(self):
        server = self.start_site(SLEEPER)
        for target in ("/", "/small.txt", "/large.bin", "/nowhere"):  # the file cache keeps what it has open
            self.ask(server.address, target)
        evtest.wait_until(lambda: server.fd_count() <= server.fd_count(), "")
        time.sleep(0.1)
        before = server.fd_count()
        for i in range(40):
            self.assertEqual(self.ask(server.address, "/small.txt")[2], b"small\n" * 100)
            self.assertEqual(self.ask(server.address, "/nowhere")[0], 404)
            self.assertEqual(self.ask(server.address, "/sleep/1ms")[2], b"slept\n")
            with server.connect() as sock:  # keep-alive and pipelined
                sock.sendall(get("/") * 5 + get("/large.bin") + get("/small.txt"))
                reader = Reader(sock)
                for _ in range(5):
                    self.assertEqual(reader.answer()[2], b"index\n")
                self.assertEqual(len(reader.answer()[2]), 1 << 20)
                self.assertEqual(reader.answer()[2], b"small\n" * 100)
            sock = server.connect()  # leaves in the middle of an answer
            sock.sendall(get("/large.bin"))
            sock.recv(1000)
            evtest.reset(sock)
            sock = server.connect()  # leaves while the handler is at work
            sock.sendall(get("/for-ever"))
            evtest.reset(sock)
            sock = server.connect()  # leaves in the middle of a head
            sock.sendall(b"GET / HT")
            sock.close()
            with server.connect() as sock:  # bad, and does not listen
                sock.sendall(b"BAD\r\n\r\n" + b"x" * 1000)
            with server.connect() as sock:  # half-closed
                sock.sendall(get("/") + get("/half-close"))
                sock.shutdown(socket.SHUT_WR)
                reader = Reader(sock)
                self.assertEqual(reader.answer()[2], b"index\n")
                self.assertEqual(reader.answer()[2], b"slept\n")
                self.assertTrue(reader.at_end())
            server.connect().close()
        evtest.wait_until(lambda: server.fd_count() == before, "the server's fds are closed")
        self.assertEqual(server.stop(), 0)

    def test_http_client_of_python(self):
        server = self.start_site(SLEEPER)
        client = http.client.HTTPConnection(*server.address, timeout=evtest.LIMIT)
        for _ in range(3):  # one connection
            client.request("GET", "/small.txt")
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, b"small\n" * 100))
            etag = answer.headers["ETag"]
            client.request("GET", "/small.txt", headers={"If-None-Match": etag})
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.read()), (304, b""))
            client.request("HEAD", "/large.bin")
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.headers["Content-Length"], answer.read()), (200, "1048576", b""))
            client.request("POST", "/upload", body=iter([b"one", b"two"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.read()), (201, b'{"bytes":6}'))
            client.request("GET", "/count")
            self.assertEqual(client.getresponse().read(), b"1\n2\n3\n4\n5\n")
        client.close()
        self.assertEqual(server.stop(), 0)

    def test_http_1_0(self):
        server = self.start("--listen", "127.0.0.1:0")
        with server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reader = Reader(sock)
            self.assertEqual(reader.answer()[2], b"index\n")
            self.assertTrue(reader.at_end())
        with server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2 + b"GET / HTTP/1.0\r\n\r\n")
            reader = Reader(sock)
            self.assertEqual(reader.answer()[1]["connection"], "keep-alive")
            self.assertEqual(reader.answer()[1]["connection"], "keep-alive")
            self.assertEqual(reader.answer()[1]["connection"], "close")
            self.assertTrue(reader.at_end())

    def test_request_that_arrives_byte_by_byte(self):
        server = self.start("--listen", "127.0.0.1:0")
        with server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in get("/", "X-Field: value") + get("/small.txt"):
                sock.sendall(bytes([byte]))
            reader = Reader(sock)
            self.assertEqual(reader.answer()[2], b"index\n")
            self.assertEqual(reader.answer()[2], b"small\n" * 100)

    def test_thousand_requests_pipelined(self):
        server = self.start("--listen", "127.0.0.1:0")
        with server.connect() as sock:
            with evtest.sending(sock, (get("/") + get("/small.txt")) * 500):
                reader = Reader(sock)
                for _ in range(500):
                    self.assertEqual(reader.answer()[2], b"index\n")
                    self.assertEqual(reader.answer()[2], b"small\n" * 100)

    def test_refused_upload_is_answered_and_not_reset(self):
        server = self.start_site(SLEEPER)
        body = bytes(4 << 20)
        with server.connect() as sock:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            with evtest.sending(sock, body):
                reader = Reader(sock)
                self.assertEqual(reader.answer()[0], 413)
                with contextlib.suppress(ConnectionResetError):  # after the answer the server may lose its patience
                    reader.at_end()

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_curl(self):
        server = self.start_site(SLEEPER)
        base = "http://%s:%d" % server.address
        done = evtest.run("curl", "-sS", "-f", base + "/", base + "/small.txt", base + "/sleep/1ms", base + "/count")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "index\n" + "small\n" * 100 + "slept\n1\n2\n3\n4\n5\n")
        done = evtest.run("curl", "-sS", "-f", "--http1.0", base + "/count")
        self.assertEqual((done.returncode, done.stdout), (0, "1\n2\n3\n4\n5\n"))
        done = evtest.run("curl", "-sS", "-f", "-I", base + "/large.bin")
        self.assertIn("Content-Length: 1048576", done.stdout)
        self.write("upload", evtest.pattern(500000))  # long enough for Expect: 100-continue
        done = evtest.run("curl", "-sS", "-f", "--data-binary", "@" + self.path("upload"), base + "/upload")
        self.assertEqual((done.returncode, done.stdout), (0, '{"bytes":500000}'))
        done = evtest.run("curl", "-sS", "-f", "-T", self.path("upload"), "-X", "POST",
                          "-H", "Transfer-Encoding: chunked", base + "/upload")
        self.assertEqual((done.returncode, done.stdout), (0, '{"bytes":500000}'))
        done = evtest.run("curl", "-sS", "-o", self.path("copy"), base + "/large.bin")
        self.assertEqual(done.returncode, 0)
        with open(self.path("copy"), "rb") as file:
            self.assertEqual(file.read(), evtest.pattern(1 << 20))
        self.assertEqual(server.stop(), 0)

    def test_file_truncated_while_it_is_sent_ends_the_connection(self):
        self.write("public/huge.bin", bytes(16 << 20))
        server = self.start("--listen", "127.0.0.1:0")
        with server.connect(receive_buffer=8192) as sock:
            sock.sendall(get("/huge.bin"))
            got = len(sock.recv(1000))
            os.truncate(self.path("public/huge.bin"), 5 << 20)
            while True:
                try:
                    part = sock.recv(1 << 20)
                except ConnectionResetError:
                    break
                if not part:
                    break
                got += len(part)
            self.assertLess(got, 16 << 20)
        self.assertEqual(self.ask(server.address, "/")[0], 200)
        self.assertEqual(server.stop(), 0)


class Deadlines(ProgramCase):
    """Set by the script, from the outside: which comes when, never how soon."""

    def server(self, **times):
        self.write("public/large.bin", bytes(LARGE))
        return self.start_site("app.set { %s }\n%s" % (", ".join(f'{k} = "{v}"' for k, v in times.items()), SLEEPER))

    def seconds_until_end(self, sock):
        """How long the server keeps a silent connection; also returns what it said."""
        before = time.monotonic()
        said = evtest.receive_all(sock)
        return time.monotonic() - before, said

    def test_idle_connection_is_closed_without_a_word_but_not_too_soon(self):
        server = self.server(idle_timeout="300ms", header_timeout="1h")
        with server.connect() as sock:
            seconds, said = self.seconds_until_end(sock)
            self.assertGreaterEqual(seconds, 0.28)
            self.assertEqual(said, b"")
        with server.connect() as sock:
            for _ in range(3):
                sock.sendall(get("/sleep/1ms"))
                self.assertEqual(Reader(sock).answer()[0], 200)
                time.sleep(0.1)
            seconds, said = self.seconds_until_end(sock)
            self.assertGreaterEqual(seconds, 0.15)
            self.assertEqual(said, b"")

    def test_slow_head_is_408(self):
        server = self.server(idle_timeout="1h", header_timeout="300ms")
        with server.connect() as sock:
            time.sleep(0.4)  # idle time is not head time
            before = time.monotonic()
            sock.sendall(b"GET / HTTP/1.1\r\n")
            self.assertEqual(Reader(sock).answer()[0], 408)
            self.assertGreaterEqual(time.monotonic() - before, 0.28)

    def test_body_that_stops_is_408(self):
        server = self.server(body_timeout="300ms")
        with server.connect() as sock:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234")
            before = time.monotonic()
            self.assertEqual(Reader(sock).answer()[0], 408)
            self.assertGreaterEqual(time.monotonic() - before, 0.25)

    def test_client_that_does_not_read_is_cut(self):
        server = self.server(write_timeout="300ms")
        fds = server.fd_count()
        with server.connect(receive_buffer=4096) as sock:
            sock.sendall(get("/large.bin"))
            evtest.wait_until(lambda: server.fd_count() > fds + 1, "the file is open")
            evtest.wait_until(lambda: server.fd_count() == fds + 1, "the connection is closed")  # the cache keeps it
            with contextlib.suppress(ConnectionResetError):
                self.assertLess(len(evtest.receive_all(sock)), LARGE)

    def test_handler_is_not_subject_to_them(self):
        server = self.server(idle_timeout="100ms", header_timeout="100ms", body_timeout="100ms", write_timeout="100ms")
        self.assertEqual(self.ask(server.address, "/sleep/600ms")[2], b"slept\n")


if __name__ == "__main__":
    side_by_side.main()
