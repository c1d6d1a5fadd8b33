"""The example hosts in tests/examples: what their first lines promise."""

import base64
import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
import unittest

import evtest
import side_by_side
import ws_client

PROGRAMS = os.environ["EVSERVE_PROGRAMS"]
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples")


def program(name):
    return os.path.join(PROGRAMS, name)


def ignore_long_files():
    """Before a program runs with RLIMIT_FSIZE in place of a full disk: a write fails and does not end it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def ask(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(*server.address, timeout=evtest.LIMIT)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer, answer.read()
    finally:
        connection.close()


class Smallest(unittest.TestCase):
    def test_has_under_20_lines_and_serves(self):
        with open(os.path.join(SOURCES, "smallest.c"), encoding="utf-8") as file:
            self.assertLess(len(file.readlines()), 20)
        with tempfile.TemporaryDirectory(prefix="ev") as root:
            with open(os.path.join(root, "index.html"), "w", encoding="ascii") as file:
                file.write("index\n")
            server = evtest.Program(program("smallest"), root)
            self.addCleanup(server.kill)
            self.assertEqual(ask(server, "GET", "/")[2], b"index\n")
            self.assertEqual(server.stop(), -signal.SIGTERM)  # signals are the host's, and it has no handler


class Replaced(unittest.TestCase):
    def test_next_version_takes_over_and_one_that_fails_does_not(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            path = os.path.join(folder, "program")
            os.symlink(program("replaced"), path)
            server = evtest.Program(path, "127.0.0.1:0")
            self.addCleanup(server.kill)

            def serving():
                return int(ask(server, "GET", "/")[2])
            self.assertEqual(serving(), server.pid)
            os.kill(server.pid, signal.SIGUSR2)
            seen = [server.pid]

            def is_replaced():  # both serve for a while
                seen.append(serving())
                return seen[-1] != server.pid
            evtest.wait_until(is_replaced, "the next process")
            second = seen[-1]
            try:
                self.assertEqual(server.process.wait(evtest.LIMIT), 0)
                os.remove(path)
                os.symlink("/bin/false", path)
                os.kill(second, signal.SIGUSR2)
                evtest.wait_until(lambda: f"process {second}: still here" in server.lines, "the refusal")
                self.assertEqual(serving(), second)
            finally:
                os.kill(second, signal.SIGTERM)


class EmbeddedUi(unittest.TestCase):
    public = os.path.join(SOURCES, "..", "..", "public")

    def test_pages_are_in_the_program(self):
        with tempfile.TemporaryDirectory(prefix="ev") as empty, \
                evtest.Program(program("embedded_ui"), cwd=empty) as server:
            for path, name in ("/", "index.html"), ("/app.js", "app.js"):
                with open(os.path.join(self.public, name), "rb") as file:
                    status, answer, body = ask(server, "GET", path)
                    self.assertEqual((status, body), (200, file.read()))
                self.assertRegex(answer.headers["ETag"], r'\A"[0-9a-f]{16}"\Z')
                self.assertEqual(answer.headers["Cache-Control"], "max-age=60")
            self.assertEqual(json.loads(ask(server, "GET", "/api/state")[2]), {"state": "fine"})
            self.assertEqual(ask(server, "GET", "/none")[0], 404)


class JsonApi(unittest.TestCase):
    def test_life_of_a_note(self):
        with evtest.Program(program("json_api")) as server:
            status, answer, body = ask(server, "POST", "/notes", 'say "hi"\n')
            self.assertEqual((status, answer.headers["Location"]), (201, "/notes/1"))
            note = {"id": 1, "text": 'say "hi"\n'}
            self.assertEqual(json.loads(body), note)
            ask(server, "POST", "/notes", "second")
            status, answer, body = ask(server, "GET", "/notes")
            self.assertEqual((status, answer.headers["Content-Type"]), (200, "application/json"))
            self.assertEqual(json.loads(body), [note, {"id": 2, "text": "second"}])
            self.assertEqual(json.loads(ask(server, "GET", "/notes/1")[2]), note)
            self.assertEqual(ask(server, "DELETE", "/notes/1")[0], 204)
            self.assertEqual(ask(server, "GET", "/notes/1")[0], 404)
            self.assertEqual(ask(server, "GET", "/notes/one")[0], 404)
            self.assertEqual(ask(server, "POST", "/notes", "x" * 201)[0], 400)
            status, answer, _ = ask(server, "PUT", "/notes/2", "x")
            self.assertEqual((status, answer.headers["Allow"]), (405, "GET, HEAD, DELETE, OPTIONS"))


class Stream(unittest.TestCase):
    def test_client_gets_every_number(self):
        with evtest.Program(program("stream")) as server:
            _, answer, body = ask(server, "GET", "/count?to=100000")
            self.assertEqual(answer.headers["Transfer-Encoding"], "chunked")
            self.assertEqual(body, b"".join(b"%d\n" % n for n in range(1, 100001)))

    def test_client_that_does_not_read_costs_no_memory(self):
        with evtest.Program(program("stream")) as server:
            ask(server, "GET", "/count?to=100000")
            before = server.memory_kib()
            with server.connect(receive_buffer=4096) as slow:
                slow.sendall(b"GET /count?to=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(slow.recv(1))
                ask(server, "GET", "/count?to=100000")  # others are served meanwhile
                self.assertLess(server.memory_kib() - before, 20000)

    def test_clock_ticks_until_the_client_leaves(self):
        with evtest.Program(program("stream")) as server:
            with server.connect() as client:
                client.sendall(b"GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
                seen = b""
                while seen.count(b"data: tick\n\n") < 3:
                    seen += client.recv(1000)

    def test_clock_ends_in_order_when_the_server_stops(self):
        with evtest.Program(program("stream")) as server, server.connect() as client:
            client.sendall(b"GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
            seen = client.recv(1000)
            server.process.send_signal(signal.SIGTERM)
            seen += evtest.receive_all(client)
            self.assertTrue(seen.endswith(b"0\r\n\r\n"), seen)


class Upload(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = evtest.Program(program("upload"), self.folder)
        self.addCleanup(self.server.kill)

    @staticmethod
    def part(name, content, filename=None):
        file = f'; filename="{filename}"' if filename else ""
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        return head.encode() + content + b"\r\n"

    def head(self, length):
        return (b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n" % length)

    def post(self, body):
        with self.server.connect() as client:
            client.sendall(self.head(len(body)) + body)
            answer = b""
            while got := client.recv(65536):
                answer += got
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content.decode()

    def wait_for_files(self, count):
        deadline = time.monotonic() + evtest.LIMIT
        while len(os.listdir(self.folder)) != count:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_files_are_written_as_they_came(self):
        contents = [os.urandom(300000), b"", b"\r\n--C\r" * 1000]
        body = self.part("note", b"a text") + b"".join(
            self.part("file", content, f"../{i}.bin") for i, content in enumerate(contents)) + b"--B--\r\n"
        status, answer = self.post(body)
        self.assertEqual(status, 201)
        lines = [line.split(" ") for line in answer.splitlines()]
        self.assertEqual([line[1:] for line in lines], [[str(len(c)), f"../{i}.bin"] for i, c in enumerate(contents)])
        for (path, _, _), content in zip(lines, contents, strict=True):
            self.assertEqual(os.path.dirname(path), self.folder)
            with open(path, "rb") as file:
                self.assertEqual(file.read(), content)
        self.assertEqual(len(os.listdir(self.folder)), 3)
        self.assertEqual(self.server.stop(), 0)

    def test_upload_that_fails_leaves_no_file(self):
        self.assertEqual(self.post(self.part("file", b"x" * 100000, "a") + b"--Bx")[0], 400)
        self.assertEqual(os.listdir(self.folder), [])
        self.assertEqual(self.post(self.part("file", b"x", "a") * 17 + b"--B--")[0], 413)
        self.assertEqual(os.listdir(self.folder), [])
        self.assertEqual(self.post(self.part("file", b"x", "a")),
                         (400, "the body ends before its last boundary"))
        self.assertEqual(os.listdir(self.folder), [])
        self.assertEqual(self.server.stop(), 0)

    def test_full_disk_is_507_and_leaves_no_file(self):
        self.server.kill()
        self.server = evtest.Program(program("upload"), self.folder, preexec_fn=ignore_long_files)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        body = self.part("file", b"x", "a") + self.part("file", b"x" * 1001, "b") + b"--B--"
        self.assertEqual(self.post(body)[0], 507)
        self.assertEqual(os.listdir(self.folder), [])
        self.assertEqual(self.server.stop(), 0)

    def test_upload_of_a_client_that_leaves_is_cancelled(self):
        body = self.part("file", b"x" * 100000, "a")
        with self.server.connect() as client:
            client.sendall(self.head(1000000) + body[:50000])
            self.wait_for_files(1)
        self.wait_for_files(0)
        with self.server.connect() as client:  # and so is one that a stop cuts
            client.sendall(self.head(1000000) + body[:50000])
            self.wait_for_files(1)
            self.assertEqual(self.server.stop(), 1)
        self.assertEqual(os.listdir(self.folder), [])


class Workers(unittest.TestCase):
    def test_threads_answer_by_ticket(self):
        with evtest.Program(program("workers")) as server:
            self.assertEqual(ask(server, "GET", "/sum?to=1000")[2], b"500500\n")
            _, answer, body = ask(server, "GET", "/lines?count=20000")
            self.assertEqual(answer.headers["Transfer-Encoding"], "chunked")
            self.assertEqual(body, b"".join(b"line %d\n" % n for n in range(1, 20001)))

    def test_slow_client_holds_up_its_worker_and_costs_no_memory(self):
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"  # freed is free, here
        with evtest.Program(program("workers"), env={**os.environ, "ASAN_OPTIONS": options}) as server:
            ask(server, "GET", "/lines?count=20000")
            before = server.memory_kib()
            with server.connect(receive_buffer=4096) as slow:
                slow.sendall(b"GET /lines?count=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(slow.recv(1))
                ask(server, "GET", "/lines?count=20000")
                self.assertLess(server.memory_kib() - before, 20000)

    def test_client_that_leaves_ends_its_job(self):
        with evtest.Program(program("workers")) as server:
            for _ in range(8):  # twice as many as there are workers, each for ever
                with server.connect() as client:
                    client.sendall(b"GET /lines?count=1000000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertTrue(client.recv(1))
            self.assertEqual(ask(server, "GET", "/sum?to=10")[2], b"55\n")


class Feed(unittest.TestCase):
    def test_lines_of_standard_input_reach_everyone(self):
        reading, writing = os.pipe()
        try:
            with evtest.Program(program("feed"), stdin=reading) as server, \
                    server.connect() as first, server.connect() as second:
                for client in (first, second):
                    client.sendall(b"GET /feed HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertTrue(client.recv(1))
                os.write(writing, b"one\ntwo\n")
                for client in (first, second):
                    seen = b""
                    while b"data: two\n\n" not in seen or b":\n\n" not in seen:  # and the comment of each second
                        seen += client.recv(1000)
                    self.assertIn(b"data: one\n\n", seen)
        finally:
            os.close(reading)
            os.close(writing)


class Chat(unittest.TestCase):
    def test_a_message_reaches_everyone_in_its_room(self):
        with evtest.Program(program("chat"), "127.0.0.1:0") as server, contextlib.ExitStack() as sockets:
            def enter(path):
                ws = sockets.enter_context(ws_client.connect(server, path))
                ws.ping(b"x")
                self.assertEqual(ws.receive_pong(), b"x")  # it has subscribed
                return ws

            tea = [enter("/rooms/tea") for _ in range(8)]  # on both threads
            coffee = enter("/rooms/coffee")
            tea[0].send("h\u00e9llo")
            tea[1].send("again")
            for ws in tea:
                self.assertEqual(sorted([ws.receive(), ws.receive()]), ["again", "h\u00e9llo"])
            coffee.send("alone")
            self.assertEqual(coffee.receive(), "alone")
            coffee.send(b"\xff")
            with self.assertRaises(ws_client.Closed) as closed:
                coffee.receive()
            self.assertEqual(closed.exception.code, 1008)


class Members(unittest.TestCase):
    def test_files_are_for_members_and_each_request_is_a_line(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            for name in "open", "members":
                os.mkdir(os.path.join(folder, name))
                with open(os.path.join(folder, name, "page.txt"), "w", encoding="ascii") as file:
                    file.write(name)
            path = os.path.join(folder, "log")
            for password in "me:secret", "me:secrets", "you:all of it":
                basic = {"Authorization": "Basic " + base64.b64encode(password.encode()).decode()}
                with open(path, "w", encoding="ascii") as log, \
                        evtest.Program(program("members"), folder, password, stdout=log) as server:
                    self.assertEqual(ask(server, "GET", "/open/page.txt")[2], b"open")
                    status, answer, body = ask(server, "GET", "/page.txt")
                    self.assertEqual((status, body), (401, b"Members only.\n"))
                    self.assertIn("Basic", answer.headers["WWW-Authenticate"])
                    self.assertEqual(ask(server, "GET", "/page.txt", headers=basic)[2], b"members")
                    wrong = {"Authorization": basic["Authorization"].swapcase()}
                    self.assertEqual(ask(server, "GET", "/page.txt", headers=wrong)[0], 401)
                with open(path, encoding="ascii") as log:
                    lines = log.read().splitlines()
                expected = (("/open/page.txt", 200), ("/page.txt", 401), ("/page.txt", 200), ("/page.txt", 401))
                self.assertEqual(len(lines), len(expected))
                for line, (target, status) in zip(lines, expected):
                    self.assertRegex(line, rf"\A127\.0\.0\.1:\d+ GET {target} {status} \d+ \d+us complete\Z")

    def test_password_that_is_too_long_is_refused(self):
        done = subprocess.run([program("members"), "/nowhere", "x" * 151], capture_output=True, text=True, check=False,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (2, "members: NAME:PASSWORD is longer than 150 bytes\n"))


class Confined(unittest.TestCase):
    ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")

    def test_rights_are_given_up_and_files_are_written_all_the_same(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            os.chmod(folder, 0o777)
            user = ["nobody"] if os.geteuid() == 0 else []
            with evtest.Program(program("confined"), folder, *user, env=self.ENVIRONMENT) as server:
                self.assertEqual(ask(server, "PUT", "/report", b"content")[0], 201)
                self.assertEqual(ask(server, "GET", "/report")[2], b"content")
                self.assertIn(ask(server, "GET", "/users")[0], (200, 403))  # 200 on a kernel without landlock
                if user:
                    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
                        self.assertNotIn("Uid:\t0", status.read())
            info = os.stat(os.path.join(folder, "report"))
            self.assertEqual(info.st_mode & 0o777, 0o644)

    def test_full_disk_leaves_the_old_file(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            with evtest.Program(program("confined"), folder, env=self.ENVIRONMENT,
                                preexec_fn=ignore_long_files) as server:
                self.assertEqual(ask(server, "PUT", "/report", b"the old one")[0], 201)
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
                self.assertEqual(ask(server, "PUT", "/report", b"x" * 1001)[0], 507)
                self.assertEqual(ask(server, "GET", "/report")[2], b"the old one")
            self.assertEqual(os.listdir(folder), ["report"])

    def test_user_that_does_not_exist_is_named(self):
        done = subprocess.run([program("confined"), "/tmp", "no-such-user"], capture_output=True, text=True, check=False,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (1, "confined: there is no user no-such-user\n"))


class LuaModule(unittest.TestCase):
    def test_handlers_call_into_the_host(self):
        if not os.path.exists(program("lua_module")):
            self.skipTest("this build has no Lua")
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            script = os.path.join(folder, "site.lua")
            with open(script, "w", encoding="ascii") as file:
                file.write("local app, host = require 'evserve', require 'host'\n"
                           "app.get('/', function() return host.names() end)\n"
                           "app.get('/:name', function(req) return tostring(host.take(req.params.name)) end)\n")
            with evtest.Program(program("lua_module"), script) as server:
                self.assertEqual(json.loads(ask(server, "GET", "/")[2]), ["apples", "pears"])
                self.assertEqual([ask(server, "GET", "/pears")[2] for _ in range(2)], [b"5", b"4"])
                self.assertEqual(ask(server, "GET", "/plums")[2], b"nil")


if __name__ == "__main__":
    side_by_side.main()
