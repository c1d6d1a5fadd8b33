"""The sites of scripts/ as they are shipped."""

import json
import os
import resource
import signal
import tempfile
import time
import unittest

import evtest
import ws_client
from lua_site import EVSERVE, ROOT, Client
from test_lua_events import Events


def run_site(name, **options):
    return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", os.path.join(ROOT, "scripts", name), **options)


class Upload(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.uploads = os.path.join(folder.name, "uploads")
        os.mkdir(self.uploads)
        self.server = run_site("upload.lua", cwd=self.folder)
        self.addCleanup(lambda: self.assertEqual(self.server.stop(), 0, self.server.lines))

    def ask(self, method, target, headers=(), body=None):
        with Client(self.server) as client:
            return client.ask(method, target, headers, body)

    def post(self, *files):
        body = b"".join(b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n'
                        % (name.encode(), content) for name, content in files) + b"--x--\r\n"
        return self.ask("POST", "/files", [("Content-Type", "multipart/form-data; boundary=x")], body)

    def read(self, name):
        with open(os.path.join(self.uploads, name), "rb") as file:
            return file.read()

    def test_long_names_take_no_time(self):
        """A pattern that begins anew at each byte would take 60 ms for each of these, and the handler would be stopped."""
        names = [f"{'a' * 3900}/{number}.txt" for number in range(8)]
        answer = self.post(*((name, b"x") for name in names))
        self.assertEqual(answer.status, 201, answer.text)
        self.assertEqual(sorted(os.listdir(self.uploads)), [f"{number}.txt" for number in range(8)])

    def test_files_of_a_form_are_stored_and_served(self):
        content = evtest.pattern(3 << 20)
        answer = self.post(("notes.txt", b"some notes"), ("large.bin", content))
        self.assertEqual((answer.status, answer.json), (201, [{"name": "notes.txt", "size": 10},
                                                              {"name": "large.bin", "size": len(content)}]))
        self.assertEqual((self.read("notes.txt"), self.read("large.bin")), (b"some notes", content))
        answer = self.ask("GET", "/files/notes.txt")
        self.assertEqual((answer.body, answer.headers["content-disposition"], answer.headers["content-type"]),
                         (b"some notes", 'attachment; filename="notes.txt"', "application/octet-stream"))
        self.assertEqual(self.ask("GET", "/files").json, [{"name": "large.bin", "size": len(content)},
                                                          {"name": "notes.txt", "size": 10}])

    def test_file_can_be_put_and_put_again(self):
        for content in (b"first", b"second one"):
            answer = self.ask("PUT", "/files/a.txt", body=content)
            self.assertEqual((answer.status, answer.headers["location"]), (201, "/files/a.txt"))
            self.assertEqual(self.read("a.txt"), content)
        self.assertEqual(len(self.ask("GET", "/files").json), 1)

    def test_name_never_leaves_the_folder(self):
        for name, stored in (("../../etc/passwd", "passwd"), ("/etc/shadow", "shadow"), ("..\\\\x", "x"),
                             (".htaccess", "htaccess"), ("a b;c&d.sh", "a_b_c_d.sh"), ("x" * 300, "x" * 100), ("a." + "x" * 99, "x" * 99),
                             ("..", None), ("a/..", None), ("\u00fc", "__")):
            answer = self.post((name, b"data"))
            self.assertEqual(answer.status, 201 if stored else 400, name)
            if stored:
                self.assertEqual(answer.json[0]["name"], stored)
                self.assertEqual(self.read(stored), b"data")
        self.assertEqual(os.listdir(self.folder), ["uploads"])
        for target in ("/files/.hidden", "/files/a%20b", "/files/%2E%2E%5Cx"):
            self.assertEqual(self.ask("PUT", target, body=b"x").status, 400)
        self.assertEqual(self.ask("GET", "/files/.part").status, 404)

    def test_upload_that_is_cut_leaves_nothing(self):
        with Client(self.server) as client:
            client.sock.sendall(b"PUT /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200000)
            evtest.wait_until(lambda: os.listdir(self.uploads), "the temporary file")
            client.reset()
        evtest.wait_until(lambda: not os.listdir(self.uploads), "the end of the temporary file")
        self.assertEqual(self.ask("GET", "/files").json, [])

    def test_temporary_files_of_others_are_left_alone(self):
        """Another server with the same folder writes to them, or has left them behind."""
        others = {".1.part", ".2.part"}
        for name in others:
            with open(os.path.join(self.uploads, name), "w") as file:
                file.write("another's")
        self.assertEqual(self.ask("PUT", "/files/a.txt", body=b"mine").status, 201)
        self.assertEqual(set(os.listdir(self.uploads)), others | {"a.txt"})
        self.assertEqual((self.read("a.txt"), self.read(".1.part")), (b"mine", b"another's"))

    def test_name_that_a_folder_has_is_refused_and_the_log_says_why(self):
        os.mkdir(os.path.join(self.uploads, "taken"))
        self.assertEqual(self.ask("PUT", "/files/taken", body=b"x").status, 500)
        evtest.wait_until(lambda: any("Is a directory" in line for line in self.server.lines), "a line in the log")
        self.assertEqual(os.listdir(self.uploads), ["taken"])

    def test_sizes_are_bounded(self):
        with Client(self.server) as client:
            client.sock.sendall(b"PUT /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n")
            self.assertEqual(client.read().status, 413)
        self.assertEqual(self.post(*[(f"{i}.txt", b"x") for i in range(11)]).status, 413)

    def test_full_disk_is_507_and_leaves_the_old_file(self):
        """Instead of a full disk, a limit for files of 1,000 bytes: short files meet it when they are closed."""
        self.assertEqual(self.ask("PUT", "/files/a.txt", body=b"the old one").status, 201)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for size in (1001, 3000, 5000, 200000):
            with self.subTest(size=size):
                self.assertEqual(self.ask("PUT", "/files/a.txt", body=b"x" * size).status, 507)
                self.assertEqual(self.post(("a.txt", b"x" * size)).status, 507)
                self.assertEqual(os.listdir(self.uploads), ["a.txt"])
                self.assertEqual(self.read("a.txt"), b"the old one")
        evtest.wait_until(lambda: sum("File too large" in line for line in self.server.lines) == 8, "lines in the log")
        self.assertEqual(self.ask("PUT", "/files/a.txt", body=b"x" * 1000).status, 201)
        self.assertEqual(self.ask("GET", "/files").json, [{"name": "a.txt", "size": 1000}])

    def test_folder_that_is_not_there_is_told_at_the_start(self):
        os.rmdir(self.uploads)
        done = evtest.run(EVSERVE, "--check", os.path.join(ROOT, "scripts", "upload.lua"), cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("(mkdir uploads?)", done.stderr)
        os.mkdir(self.uploads)


class Log(unittest.TestCase):
    def test_lines_are_sent_to_everybody_who_follows(self):
        with run_site("log.lua") as server, Client(server) as tail, Client(server) as events, Client(server) as other:
            tail.send("GET", "/tail")
            events.send("GET", "/events", [("Last-Event-ID", "nonsense")])
            self.assertTrue(self.line_with(tail, b"the server started"))
            self.assertTrue(self.line_with(events, b"data: "))
            self.assertEqual(other.ask("POST", "/lines", body=b"hello\nthere").status, 201)
            self.assertTrue(self.line_with(tail, b"hello there"))
            self.assertTrue(self.line_with(events, b"-2\n"))
            self.assertTrue(self.line_with(events, b"hello there"))
            tail.reset()
            events.reset()

    def test_followers_end_with_the_script_and_find_the_next_one(self):
        with run_site("log.lua") as server, Client(server) as tail, Client(server) as events, Client(server) as other:
            tail.send("GET", "/tail")
            events.send("GET", "/events")
            for _ in range(20):
                self.assertEqual(other.ask("POST", "/lines", body=b"of the first script").status, 201)
            self.assertTrue(self.line_with(tail, b"the server started"))
            self.assertTrue(self.line_with(events, b"-21\n"))
            server.process.send_signal(signal.SIGHUP)
            for client in (tail, events):
                self.assertIn(b"0\r\n", iter(client.file.readline, b""))  # the last chunk: an end in good order
                self.assertEqual(client.file.readline(), b"\r\n")
            events.send("GET", "/events", [("Last-Event-ID", "1-21")])  # as a browser does that comes back
            self.assertTrue(self.line_with(events, b"the server started"))

    def line_with(self, client, text):
        while line := client.file.readline():
            if text in line:
                return True
        return False

    def test_page_and_mistakes(self):
        with run_site("log.lua") as server, Client(server) as client:
            self.assertIn("EventSource", client.ask("GET", "/").text)
            self.assertEqual(client.ask("POST", "/lines", body=b"").status, 400)
            self.assertEqual(client.ask("POST", "/lines", body=b"x" * 5000).status, 413)


class DemoSite(unittest.TestCase):
    """scripts/site.lua as it is shipped."""

    @classmethod
    def setUpClass(cls):
        cls.server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "scripts/site.lua", cwd=ROOT)

    @classmethod
    def tearDownClass(cls):
        if cls.server.stop() != 0:
            raise AssertionError("\n".join(cls.server.lines))

    def ask(self, *arguments, **options):
        with Client(self.server) as client:
            return client.ask(*arguments, **options)

    def test_routes(self):
        self.assertEqual(self.ask("GET", "/hello").text, "hello, world\n")
        self.assertEqual(self.ask("GET", "/hello/J%C3%BCrgen").text, "hello, Jürgen\n")
        self.assertEqual(self.ask("GET", "/users/7").json, {"id": 7, "name": "user 7"})
        self.assertEqual(self.ask("GET", "/users/ann").status, 404)
        self.assertEqual(self.ask("GET", "/users/5000").status, 404)
        self.assertEqual(self.ask("GET", "/hi").headers["location"], "/hello")
        self.assertEqual(self.ask("GET", "/me").headers["location"], "/users/1")

    def test_stats_have_what_the_start_page_shows(self):
        answer = self.ask("GET", "/api/stats")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        stats = answer.json
        for name in ("version", "uptime", "connections", "accepted", "requests", "bytes_sent", "lua_memory"):
            self.assertIn(name, stats)

    def test_live_numbers(self):
        with Events(self.server, "/api/live?lastEventId=earliest") as events:
            self.assertEqual(events.status, 200)
            stats = json.loads(events.next()[1])
            self.assertEqual(events.retry, 2000)
        for name in ("version", "uptime", "connections", "accepted", "requests", "bytes_sent", "lua_memory"):
            self.assertIn(name, stats)

    def test_chat(self):
        with ws_client.connect(self.server, "/chat", [("Cookie", "name=ann")]) as ann, \
                ws_client.connect(self.server, "/chat") as guest:
            self.assertEqual(json.loads(ann.receive()), {"you": "ann"})
            self.assertRegex(json.loads(guest.receive())["you"], r"^guest-....$")
            ann.send("<b>hi</b>")
            for ws in ann, guest:
                self.assertEqual(json.loads(ws.receive()), {"from": "ann", "text": "<b>hi</b>"})
        with ws_client.connect(self.server, "/chat") as ws:
            ws.receive()
            ws.send("x" * 1025)
            with self.assertRaises(ws_client.Closed) as closed:
                ws.receive()
            self.assertEqual(closed.exception.code, 1009)

    def test_form_cookie_and_template(self):
        form = [("Content-Type", "application/x-www-form-urlencoded")]
        answer = self.ask("POST", "/guest", form, b"name=%3Cann%3E+b")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/guest"))
        self.assertEqual(self.ask("POST", "/guest", form, b"name=%3C%3E").status, 400)
        self.assertEqual(self.ask("GET", "/guest").headers["location"], "/#chat")
        answer = self.ask("GET", "/guest", [("Cookie", "name=<i>; visits=2")])
        self.assertIn("Hello, &lt;i&gt;.", answer.text)
        self.assertIn("Visits with this cookie: 3.", answer.text)
        self.assertNotIn("<i>", answer.text)

    def test_upload(self):
        body = (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
                + b"y" * 300000 + b"\r\n--x--\r\n")
        answer = self.ask("POST", "/upload", [("Content-Type", "multipart/form-data; boundary=x")], body)
        self.assertEqual(answer.json, {"files": [{"field": "file", "name": "a.txt", "type": "text/plain", "bytes": 300000}]})

    def test_echo(self):
        got = self.ask("POST", "/api/echo?a=1", [("X-Test", "yes")], b"12345").json
        self.assertEqual((got["method"], got["body_length"], got["headers"]["x-test"]), ("POST", 5, "yes"))

    def test_count_streams_ten_lines(self):
        with Client(self.server) as client:
            started = time.monotonic()
            answer = client.ask("GET", "/count")
            self.assertEqual(answer.text, "".join(f"{i}\n" for i in range(1, 11)))
            self.assertGreater(time.monotonic() - started, 0.9)


class TodoSite(unittest.TestCase):
    """scripts/todo.lua as it is shipped."""

    def test_list_add_change_remove(self):
        key = [("X-Api-Key", "demo")]
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "scripts/todo.lua", cwd=ROOT) as server, \
                Client(server) as client:
            self.assertEqual(client.ask("GET", "/todos").text, "[]")
            self.assertEqual(client.ask("POST", "/todos", body=b'{"title":"x"}').status, 403)
            self.assertEqual(client.ask("POST", "/todos", key, b'{"title":').status, 400)
            self.assertEqual(client.ask("POST", "/todos", key, b'{}').status, 400)
            self.assertEqual(client.ask("POST", "/todos", key, b'[1]').status, 400)
            answer = client.ask("POST", "/todos", key, b'{"title":"buy milk"}')
            self.assertEqual((answer.status, answer.headers["location"]), (201, "/todos/1"))
            self.assertEqual(client.ask("GET", "/todos/1").json, {"id": 1, "title": "buy milk", "done": False})
            self.assertEqual(client.ask("PATCH", "/todos/1", key, b'{"done":true}').json["done"], True)
            self.assertEqual(len(client.ask("GET", "/todos").json), 1)
            self.assertEqual(client.ask("DELETE", "/todos/1", key).status, 204)
            self.assertEqual(client.ask("DELETE", "/todos/1", key).status, 404)
            self.assertEqual(client.ask("GET", "/todos/1").status, 404)
            self.assertEqual(client.ask("GET", "/todos").text, "[]")


if __name__ == "__main__":
    unittest.main()
