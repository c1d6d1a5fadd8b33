"""Error pages (app.error_page) on the real program: of the default host, of hosts, in front of other servers, and what
happens to them when files change."""

import contextlib
import os
import tempfile
import unittest

import evtest
from origin import Origin

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = 'local app = require "evserve"\napp.listen "127.0.0.1:0"\n'


class ErrorPages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        os.mkdir(os.path.join(self.root, "pages"))
        for name in "404.html", "4xx.txt", "5xx.json", "other.html":
            self.write("pages/" + name, name)

    def write(self, name, text):
        with open(os.path.join(self.root, name), "w", encoding="utf-8") as file:
            file.write(text)

    @contextlib.contextmanager
    def serve(self, script):
        self.write("site.lua", HEAD + script)
        with evtest.Program(EVSERVE, "site.lua", cwd=self.root) as server:
            yield server

    def ask(self, server, target, method="GET", host="a"):
        """(status, head, body)."""
        with server.connect() as sock:
            sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = evtest.receive_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode("latin-1"), body.decode()

    def test_whatever_fails_has_its_page(self):
        script = """
        app.error_page(404, "pages/404.html")
        app.error_page("4xx", "pages/4xx.txt")
        app.error_page({ 500, "5xx" }, "pages/5xx.json")
        app.static("/files", "pages")
        app.deny("/no", "all")
        app.get("/bare", function() return 404 end)
        app.get("/empty", function() return 403, "" end)
        app.get("/own", function() return 404, "own" end)
        app.get("/raise", function() app.error(418) end)
        app.get("/says", function() app.error(418, "teapot") end)
        app.get("/oops", function() error "oops" end)
        app.post("/small", { max_body = 1 }, function(req) return req.body end)
        """
        with self.serve(script) as server:
            for target, status, body in (("/", 404, "404.html"), ("/files/none", 404, "404.html"),
                                         ("/files/5xx.json", 200, "5xx.json"), ("/no/x", 403, "4xx.txt"),
                                         ("/bare", 404, "404.html"), ("/empty", 403, "4xx.txt"), ("/own", 404, "own"),
                                         ("/raise", 418, "4xx.txt"), ("/says", 418, "teapot"),
                                         ("/oops", 500, "5xx.json"), ("/%", 400, "4xx.txt")):
                self.assertEqual(self.ask(server, target)[::2], (status, body), target)
            status, head, body = self.ask(server, "/own", "DELETE")
            self.assertEqual((status, body), (405, "4xx.txt"))
            self.assertIn("\r\nAllow: GET, HEAD, OPTIONS\r\n", head)
            self.assertIn("\r\nContent-Type: text/plain", head)
            status, head, body = self.ask(server, "/none", "HEAD")
            self.assertEqual((status, body), (404, ""))
            self.assertIn("\r\nContent-Length: 8\r\n", head)
            self.assertEqual(self.ask(server, "/small HTTP/1.1\r\nContent-Length: 5\r\nX:", "POST")[::2], (413, "4xx.txt"))

    def test_each_host_has_its_own(self):
        script = """
        app.error_page(404, "pages/404.html")
        local other = app.host "other"
        other.error_page(404, "pages/other.html")
        local none = app.host "none"
        none.basic_auth("/", function(user) return false end, { realm = "none" })
        """
        with self.serve(script) as server:
            self.assertEqual(self.ask(server, "/")[2], "404.html")
            self.assertEqual(self.ask(server, "/", host="other")[2], "other.html")
            status, head, body = self.ask(server, "/", host="none")
            self.assertEqual((status, body), (401, "401 Unauthorized\n"))
            self.assertIn('realm="none"', head)

    def test_pages_in_front_of_other_servers(self):
        def respond(status, text=b"theirs"):
            return lambda connection, request: connection.respond(status, text, [("Set-Cookie", "a=b")])

        answers = {"/404": respond(404), "/500": respond(500), "/503": respond(503), "/410": respond(410, b"")}
        with Origin(answers) as origin:
            script = f"""
            app.error_page({{ "5xx", 502 }}, "pages/5xx.json", {{ for_proxied = true }})
            app.error_page("4xx", "pages/4xx.txt")
            app.proxy("/", "http://127.0.0.1:{origin.port}")
            app.proxy("/dead", "http://127.0.0.1:1")
            """
            with self.serve(script) as server:
                self.assertEqual(self.ask(server, "/404")[::2], (404, "theirs"))
                self.assertEqual(self.ask(server, "/410")[::2], (410, ""))
                for status in 500, 503:
                    got, head, body = self.ask(server, f"/{status}")
                    self.assertEqual((got, body), (status, "5xx.json"))
                    self.assertIn("\r\nContent-Type: application/json\r\n", head)
                self.assertEqual(self.ask(server, "/dead")[::2], (502, "5xx.json"))

    def test_a_missing_page_is_a_warning(self):
        with self.serve('app.error_page(404, "pages/new.html")\n') as server:
            self.assertEqual(self.ask(server, "/")[2], "404 Not Found\n")
            self.assertTrue(any("the error page pages/new.html cannot be sent yet: No such file or directory" in line
                                for line in server.lines))
            self.write("pages/new.html", "new")
            self.assertEqual(self.ask(server, "/")[2], "new")

    def test_mistakes_name_the_place(self):
        cases = {
            'app.error_page("3xx", "a")': 'a status from 400 to 599, "4xx" or "5xx" expected, got "3xx"',
            'app.error_page(404)': 'a file such as "404.html" expected, got nil',
            'app.error_page(404, "no/404.html")': "no",
            'app.error_page(404, "a") app.error_page({ 404 }, "b")': '404 has a page already, "a"',
            'app.group("/g").error_page(404, "a")': "error pages hold for all paths of a host",
        }
        for line, text in cases.items():
            self.write("site.lua", HEAD + line + "\n")
            result = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.root)
            self.assertNotEqual(result.returncode, 0, line)
            self.assertIn("site.lua:3: ", result.stderr)
            self.assertIn(text, result.stderr)


if __name__ == "__main__":
    unittest.main()
