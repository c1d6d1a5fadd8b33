"""Passwords (app.basic_auth) on the real program: files of htpasswd that change, hashes that take their time, functions
of scripts that wait, and what clients and logs see of all that."""

import base64
import contextlib
import os
import re
import select
import signal
import tempfile
import threading
import time
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = 'local app = require "evserve"\napp.listen "127.0.0.1:0"\n'
ADAM = "adam:$apr1$abc12345$/mlc75ojIlVbhY7wisKii0\n"  # secret
EVE = "eve:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"  # secret
BCRYPT = "bob:$2y$05$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBae\n"  # secret
SLOW = "slow:$2y$12$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBae\n"  # a quarter of a second, and never right


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(target, *lines, method="GET", body=b"", close=True):
    ends = ["Connection: close"] if close else []
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *ends, *length, *lines, "", ""]).encode() + body


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.write("users", ADAM + EVE)

    def write(self, name, text):
        path = os.path.join(self.root, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    @contextlib.contextmanager
    def serve(self, script, *options):
        self.write("site.lua", HEAD + script)
        with evtest.Program(EVSERVE, *options, "site.lua", cwd=self.root) as server:
            yield server

    def ask(self, server, *args, **options):
        """(status, head, body) of one request."""
        with server.connect() as sock:
            sock.sendall(request(*args, **options))
            head, _, body = evtest.receive_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode("latin-1"), body.decode()

    def status(self, server, *args, **options):
        return self.ask(server, *args, **options)[0]


USER = 'app.get("/*rest", function(req) return tostring(req.user) end)\n'


class Files(Case):
    def test_users_of_the_file_come_in(self):
        self.write("users", ADAM + EVE + (BCRYPT if self.has_crypt() else ""))
        with self.serve('app.basic_auth("/", "users", { realm = "a \\"b\\"" })\n' + USER) as server:
            status, head, body = self.ask(server, "/")
            self.assertEqual((status, body), (401, "401 Unauthorized\n"))
            self.assertIn('\r\nWWW-Authenticate: Basic realm="a \\"b\\"", charset="UTF-8"\r\n', head + "\r\n")
            for _ in range(3):
                self.assertEqual(self.ask(server, "/", basic("adam", "secret"))[::2], (200, "adam"))
                self.assertEqual(self.ask(server, "/", basic("eve", "secret"))[::2], (200, "eve"))
                self.assertEqual(self.status(server, "/", basic("adam", "Secret")), 401)
                self.assertEqual(self.status(server, "/", basic("nobody", "secret")), 401)
                self.assertEqual(self.status(server, "/", basic("", "secret")), 401)
            self.assertEqual(self.status(server, "/", basic("bob", "secret")), 200 if self.has_crypt() else 401)

    def has_crypt(self):
        self.write("crypt", BCRYPT)
        self.write("crypt.lua", HEAD + 'app.basic_auth("/", "crypt")\n')
        return evtest.run(EVSERVE, "--check", "crypt.lua", cwd=self.root).returncode == 0

    def test_a_changed_file_counts_within_a_second(self):
        with self.serve('app.basic_auth("/", "users")\n' + USER) as server:
            self.assertEqual(self.status(server, "/", basic("adam", "secret")), 200)
            self.write("users", EVE)
            time.sleep(0.6)
            self.assertEqual(self.status(server, "/", basic("adam", "secret")), 401)
            self.assertEqual(self.status(server, "/", basic("eve", "secret")), 200)
            self.write("users", ADAM + "broken\n")
            self.assertEqual(self.status(server, "/", basic("new", "secret")), 401)  # has the file looked at now
            self.assertEqual(self.status(server, "/", basic("eve", "secret")), 200)
            self.assertEqual(self.status(server, "/", basic("adam", "secret")), 401)
            lines = [line for line in server.lines if "passwords stay" in line]
            self.assertEqual(len(lines), 1)
            self.assertIn('app.basic_auth: users: line 2: a name, a colon and a hash expected', lines[0])

    def test_all_methods_and_bodies_wait_for_the_verdict(self):
        script = 'app.basic_auth("/", "users")\napp.post("/", function(req) return req.user .. " " .. req.body end)\n'
        with self.serve(script) as server:
            for length in 10, 100_000:
                self.assertEqual(self.ask(server, "/", basic("adam", "secret"), method="POST", body=b"x" * length)[::2],
                                 (200, "adam " + "x" * length))
            self.assertEqual(self.status(server, "/", basic("adam", "wrong"), method="POST", body=b"x" * 10), 401)
            with server.connect() as sock:
                sock.sendall(request("/", basic("eve", "secret"), "Expect: 100-continue", "Content-Length: 2",
                                     method="POST"))
                self.assertEqual(sock.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
                sock.sendall(b"hi")
                self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\neve hi"))
            with server.connect() as sock:
                sock.sendall(request("/", basic("eve", "wrong"), "Expect: 100-continue", "Content-Length: 2",
                                     method="POST"))
                self.assertTrue(evtest.receive_all(sock).startswith(b"HTTP/1.1 401 "))

    def test_pipelined_requests_keep_their_order(self):
        with self.serve('app.basic_auth("/", "users")\napp.basic_auth("/open", false)\n' + USER) as server:
            with server.connect() as sock:
                one = request("/", basic("adam", "secret"), close=False)
                other = request("/", basic("eve", "x"), close=False)
                sock.sendall((one + other + request("/open", close=False)) * 20 + request("/open"))
                text = evtest.receive_all(sock).decode()
            self.assertEqual(re.findall(r"HTTP/1.1 (\d+)", text), ["200", "401", "200"] * 20 + ["200"])

    def test_passwords_are_in_no_log(self):
        script = 'app.set { access_log = "access.log" }\napp.basic_auth("/", "users")\n' + USER
        with self.serve(script, "--log-level", "debug") as server:
            self.status(server, "/", basic("adam", "secret"))
            self.status(server, "/", basic("adam", "parole"))
            raw = list(server.raw)
        with open(os.path.join(self.root, "access.log"), encoding="utf-8") as file:
            access = file.read()
        self.assertEqual(access.count(" - adam ["), 2)
        for text in raw + [access]:
            self.assertNotRegex(text, "secret|parole|YWRhb")

    def test_a_sandbox_lets_the_file_be_read_again(self):
        os.mkdir(os.path.join(self.root, "keys"))
        self.write("keys/users", EVE)
        environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        self.write("site.lua", HEAD + 'app.basic_auth("/", "keys/users")\n' + USER)
        with evtest.Program(EVSERVE, "--sandbox", "site.lua", cwd=self.root, env=environment) as server:
            self.assertEqual(self.status(server, "/", basic("eve", "secret")), 200)
            self.write("keys/users", ADAM + (BCRYPT if self.has_crypt() else ""))
            self.assertEqual(self.status(server, "/", basic("adam", "secret")), 200)
            self.assertEqual(self.status(server, "/", basic("eve", "secret")), 401)
            if self.has_crypt():
                self.assertEqual(self.status(server, "/", basic("bob", "secret")), 200)


class Slow(Case):
    """Hashes that take a quarter of a second."""

    def setUp(self):
        super().setUp()
        self.write("users", SLOW)
        self.write("site.lua", HEAD + 'app.basic_auth("/", "users")\n')
        if evtest.run(EVSERVE, "--check", "site.lua", cwd=self.root).returncode != 0:
            self.skipTest("there is no libcrypt (Debian: apt install libcrypt1)")

    def test_others_are_served_meanwhile(self):
        with self.serve('app.basic_auth("/in", "users")\n' + USER) as server:
            with server.connect() as waiting:
                waiting.sendall(request("/in", basic("slow", "x")))
                for _ in range(10):
                    self.assertEqual(self.status(server, "/"), 200)
                self.assertEqual(select.select([waiting], [], [], 0)[0], [])
                self.assertTrue(evtest.receive_all(waiting).startswith(b"HTTP/1.1 401 "))
            self.assertEqual(server.lines[1:], [])  # no stall of the loop

    def test_a_reload_and_a_stop_wait_for_the_verdict(self):
        with self.serve('app.basic_auth("/in", "users")\n' + USER) as server:
            for number in signal.SIGHUP, signal.SIGTERM:
                with server.connect() as waiting:
                    waiting.sendall(request("/in", basic("slow", f"guess {number}")))
                    evtest.wait_until_read(waiting)
                    server.process.send_signal(number)
                    self.assertTrue(evtest.receive_all(waiting).startswith(b"HTTP/1.1 401 "))

    def test_a_flood_of_passwords_is_bounded(self):
        self.write("users", SLOW + EVE)
        with self.serve('app.basic_auth("/in", "users")\n' + USER) as server:
            self.assertEqual(self.status(server, "/in", basic("eve", "secret")), 200)
            with contextlib.ExitStack() as stack:
                socks = [stack.enter_context(server.connect()) for _ in range(265)]
                for number, sock in enumerate(socks):
                    sock.sendall(request("/in", basic("slow", f"guess {number}")))
                head = evtest.receive_all(socks[-1])
                self.assertTrue(head.startswith(b"HTTP/1.1 503 "), head)
                self.assertIn(b"\r\nRetry-After: 1\r\n", head)
                self.assertEqual(self.status(server, "/"), 200)
                time.sleep(0.6)  # the file has to be looked at again, but who is known need not wait behind the others
                self.assertEqual(self.status(server, "/in", basic("eve", "secret")), 200)
                self.assertEqual(select.select([socks[200]], [], [], 0)[0], [])
            line = next(line for line in server.lines if "wait for their passwords" in line)
            self.assertIn("503: 256 requests wait for their passwords to be checked: limit their number with app.limit",
                          line)
            # All clients have left, so nobody waits any more, and a stop need not either.

    def test_a_file_that_changes_in_a_flood_costs_who_is_known_one_hash(self):
        cheaper = SLOW.replace("$12$", "$07$")
        self.write("users", cheaper + EVE)
        answered, is_over = [], threading.Event()

        def guess(sock):
            while not is_over.is_set():
                sock.sendall(request("/in", basic("slow", f"{sock.fileno()} {len(answered)}"), close=False))
                answered.append(sock.recv(65536))

        def wait_for(count):
            wanted = len(answered) + count
            evtest.wait_until(lambda: len(answered) >= wanted, "responses to guesses")

        with self.serve('app.basic_auth("/in", "users")\n' + USER) as server, contextlib.ExitStack() as stack:
            for _ in range(6):
                thread = threading.Thread(target=guess, args=(stack.enter_context(server.connect()),))
                stack.callback(thread.join)
                thread.start()
            stack.callback(is_over.set)
            wait_for(6)
            self.write("users", cheaper + EVE + ADAM)
            wait_for(12)
            self.assertEqual(self.status(server, "/in", basic("eve", "secret")), 200)
            before = len(answered)
            for _ in range(6):
                wait_for(1)
                self.assertEqual(self.status(server, "/in", basic("eve", "secret")), 200)
            self.assertLess(len(answered) - before, 24)  # behind all others each time there would be 42


class Functions(Case):
    def test_a_function_decides_and_may_wait(self):
        script = """
        app.basic_auth("/", function(user, password, req)
            if user == "wait" then app.sleep(20) end
            if user == "fail" then error "oops" end
            if user == "pay" then app.error(402, "pay first") end
            if user == "body" then return req.body end
            if user == "status" then return 403, "no" end
            if user == "to" then return app.redirect "/login" end
            if user == "text" then return password end
            if user == "nil" then return nil, "no such user" end
            return password == "p" and req.path ~= "/none"
        end)
        """
        with self.serve(script + USER + 'app.post("/*rest", function(req) return req.user .. req.body end)\n') as server:
            for user in "now", "wait":
                self.assertEqual(self.ask(server, "/", basic(user, "p"))[::2], (200, user))
                self.assertEqual(self.status(server, "/", basic(user, "q")), 401)
                self.assertEqual(self.status(server, "/none", basic(user, "p")), 401)
                self.assertEqual(self.ask(server, "/", basic(user, "p"), method="POST", body=b"b" * 70_000)[2],
                                 user + "b" * 70_000)
            self.assertEqual(self.status(server, "/"), 401)
            self.assertEqual(self.status(server, "/", basic("fail", "p")), 500)
            self.assertEqual(self.ask(server, "/", basic("pay", "p"))[::2], (402, "pay first"))
            self.assertEqual(self.status(server, "/", basic("body", "p"), method="POST", body=b"b"), 500)
            self.assertEqual(self.status(server, "/", basic("nil", "p")), 401)
            for user, got in ("status", "403"), ("to", "a table"), ("text", "a string"):
                self.assertEqual(self.status(server, "/", basic(user, "secret")), 500, user)
                self.assertTrue(any(f"app.basic_auth: true or false expected from the function, got {got}; app.error(403) "
                                    "is a response" in line for line in server.lines), server.lines)
            self.assertFalse(any("secret" in line for line in server.lines))
            errors = [line for line in server.lines if " error " in line]
            self.assertIn("(route at site.lua:4): site.lua:6: oops", errors[0])
            self.assertIn("site.lua:8: req.body: a function of app.basic_auth cannot read the body: it is the handler's",
                          errors[1])

    def test_clients_that_leave_end_the_function(self):
        script = """
        local left = 0
        app.basic_auth("/in", function()
            local ok = pcall(app.sleep, "1h")
            left = left + 1
            return ok
        end)
        app.get("/left", function() return tostring(left) end)
        """
        with self.serve(script) as server:
            for _ in range(3):
                with server.connect() as sock:
                    sock.sendall(request("/in", basic("a", "b")))
                    evtest.wait_until_read(sock)
            evtest.wait_until(lambda: self.ask(server, "/left")[2] == "3", "end of the functions")

    def test_a_reload_leaves_a_function_that_waits(self):
        script = 'app.basic_auth("/", function(user) app.sleep(user == "wait" and 200 or 1) return true end)\n'
        with self.serve(script + USER) as server:
            with server.connect() as waiting:
                waiting.sendall(request("/", basic("wait", "p")))
                evtest.wait_until_read(waiting)
                self.write("site.lua", HEAD + 'app.get("/", function() return "new" end)\n')
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: self.ask(server, "/")[2] == "new", "the new site")
                self.assertTrue(evtest.receive_all(waiting).endswith(b"\r\n\r\nwait"))

    def test_names_that_middleware_sets_stay(self):
        script = """
        app.use(function(req, nxt) req.user = "ann" return nxt() end)
        app.basic_auth("/", function() return true end)
        """
        with self.serve(script + USER) as server:
            self.assertEqual(self.ask(server, "/", basic("bob", "p"))[2], "ann")


class Mistakes(Case):
    def test_they_name_the_place(self):
        self.write("broken", "# users\nadam:secret\n")
        cases = {
            'app.basic_auth("/")': 'a password file such as "users.htpasswd", a function or false expected, got nil',
            'app.basic_auth("x", "users")': 'a prefix such as "/" or "/api" expected, got "x"',
            'app.basic_auth("/", "none")': "none: No such file or directory; make it with: htpasswd -cB none NAME",
            'app.basic_auth("/", "broken")': 'broken: line 2, user "adam": the password is in clear text',
            'app.basic_auth("/", "users", { relm = "x" })': 'unknown option "relm"',
            'app.basic_auth("/", "users", { realm = 1 })': "realm: a text expected, got 1",
            'app.basic_auth("/", "users", { realm = "a\\n" })': "realm: a text of at most 128 bytes",
            'app:basic_auth("/", "users")': "call it with a dot, not with a colon",
        }
        lines = "".join(f"try(function() {case} end)\n" for case in cases)
        with self.serve('local function try(fn) app.log("warn", select(2, pcall(fn))) end\n' + lines) as server:
            evtest.wait_until(lambda: sum("app.basic_auth: " in line for line in server.lines) == len(cases), "all lines")
            said = [line for line in server.lines if "app.basic_auth: " in line]
        for number, (line, text) in enumerate(zip(said, cases.values(), strict=True), 4):
            self.assertIn(f"site.lua:{number}: app.basic_auth: {text}", line)


class ClearText(Case):
    def test_passwords_without_tls_are_a_warning(self):
        rule = 'app.basic_auth("/", "users")\n'
        for address, more, is_warned in (("0.0.0.0:8080", "", True), ("0.0.0.0:8080?proxy", "", False),
                                         ("127.0.0.1:8080", "", False),
                                         ("0.0.0.0:8080", 'app.set { trusted_proxies = "127.0.0.1" }', False)):
            self.write("site.lua", f"local app = require 'evserve'\napp.listen '{address}'\n{rule}{more}\n")
            result = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.root)
            self.assertEqual(result.returncode, 0, result.stderr)
            text = 'site.lua:2: listen address "0.0.0.0:8080" has no TLS, so everybody on the way can read the passwords'
            self.assertEqual(text in result.stderr, is_warned, result.stderr)


if __name__ == "__main__":
    side_by_side.main()
