"""evserve --routes and evserve --request: what a script's author uses in a shell."""

import os
import re
import unittest

import evtest
from lua_site import EVSERVE, script

SITE = r"""
app.set { max_body = 100 }
app.listen "127.0.0.1:1" -- nobody may listen there, and --request does not try to
app.on("start", function() app.log("info", "started") end)
app.on("stop", function() app.log("info", "stopped") end)
app.get("/text", { name = "text" }, function() return "some text\n" end)
app.get("/users/:id{int}", function(req) return { id = tonumber(req.params.id) } end)
app.route({ "PUT", "POST" }, "/echo", function(req)
    return 201, req.method .. " " .. req.body, { ["x-type"] = req:header("content-type") }
end)
app.get("/host", function(req) return req:header("host") .. " " .. req.peer end)
app.get("/fail", function() error "broken" end)
app.get("/teapot", function() return 418 end)
app.get("/moved", function() return app.redirect("/text") end)
app.get("/sleep", function() app.sleep "30ms" return "slept\n" end)
app.get("/stream", function()
    return 200, function(out) for i = 1, 3 do out:write(i .. "\n") app.sleep "2ms" end end
end)
app.get("/large", function()
    return 200, function(out) for i = 1, 400 do out:write(("%04d"):format(i):rep(256)) end end
end)
app.get("/cut", function()
    return 200, function(out) out:write("first\n") error "broken" end
end)
app.get("/forever", function() app.sleep "1h" end)
app.group("/api").delete("/a-long-path/*rest", { name = "rest" }, function() end)
app.static("/files", "files")
local ticks = 0
app.every(2, function() ticks = ticks + 1 end)
app.get("/ticks", function() while ticks < 3 do app.sleep(1) end return "ticked\n" end)
"""
FILES = (("files/hello.txt", "hello\n"), ("body.txt", "of a file"))


def place(path):
    """Where the script registers it."""
    return f"site.lua:{2 + SITE[:SITE.index(path)].count(chr(10))}"


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = script(SITE, files=FILES)
        cls.folder = os.path.dirname(cls.context.__enter__())

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def run_tool(self, *arguments):
        return evtest.run(EVSERVE, *arguments, "site.lua", cwd=self.folder)


class Routes(Tools):
    def test_table_is_aligned_and_in_the_order_of_paths(self):
        done = self.run_tool("--routes")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual([line.split() for line in lines], [
            ["DELETE", "/api/a-long-path/*rest", "rest", place("/a-long-path")],
            ["GET", "/cut", "-", place("/cut")],
            ["POST,PUT", "/echo", "-", place("/echo")],
            ["GET", "/fail", "-", place("/fail")],
            ["static", "/files", "-", "files"],
            *([["GET", path, "-", place(path)] for path in
               ("/forever", "/host", "/large", "/moved", "/sleep", "/stream", "/teapot")]),
            ["GET", "/text", "text", place("/text")],
            ["GET", "/ticks", "-", place("/ticks")],
            ["GET", "/users/:id{int}", "-", place("/users")],
        ])
        for column in (1, 2, 3):
            starts = {[match.start() for match in re.finditer(r"\S+", line)][column] for line in lines}
            self.assertEqual(len(starts), 1)

    def test_check_shows_it_too(self):
        lines = self.run_tool("--check").stdout.splitlines()
        self.assertEqual(lines[:2], ["set     max_body = 100", "listen  127.0.0.1:1"])
        self.assertEqual(lines[2:], self.run_tool("--routes").stdout.splitlines())

    def test_mistake_is_told_in_its_place(self):
        with script("app.get()") as path:
            done = evtest.run(EVSERVE, "--routes", path)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("site.lua:2: app.get:", done.stderr)

    def test_site_without_routes_has_an_empty_table(self):
        with script("") as path:
            done = evtest.run(EVSERVE, "--routes", path)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class Request(Tools):
    def ask(self, request, *arguments):
        done = self.run_tool("--request", request, *arguments)
        head, _, body = done.stdout.partition("\n\n")
        return done, head.splitlines(), body

    def check(self, request, status, body, *arguments):
        """The answer, and the exit status that goes with it. Returns the lines of the head."""
        done, head, text = self.ask(request, *arguments)
        self.assertEqual(head[0].split()[:2], ["HTTP/1.1", str(status)], done.stderr)
        self.assertEqual(text, body)
        self.assertEqual(done.returncode, 0 if status < 400 else 1)
        return head

    def test_head_and_content_are_printed(self):
        head = self.check("GET /text", 200, "some text\n")
        self.assertIn("Content-Type: text/plain; charset=utf-8", head)
        self.assertIn("Content-Length: 10", head)

    def test_target_alone_is_got(self):
        self.check("/users/7", 200, '{"id":7}')

    def test_exit_status_is_that_of_the_answer(self):
        self.check("/moved", 302, "302 Found\n")
        self.check("/nothing", 404, "404 Not Found\n")
        self.check("/teapot", 418, "418 I'm a Teapot\n")
        self.check("/fail", 500, "500 Internal Server Error\n")
        self.check("DELETE /text", 405, "405 Method Not Allowed\n")

    def test_answers_without_content(self):
        self.assertIn("Content-Length: 10", self.check("HEAD /text", 200, ""))
        self.assertIn("Allow: GET, HEAD, OPTIONS", self.check("OPTIONS /text", 204, ""))

    def test_static_files(self):
        self.check("/files/hello.txt", 200, "hello\n")

    def test_header_and_body(self):
        head = self.check("PUT /echo", 201, "PUT a body", "--header", "Content-Type: x/y", "--body", "a body")
        self.assertIn("x-type: x/y", head)
        self.check("POST /echo", 201, "POST of a file", "--body", "@body.txt", "--header", "content-type: a/b")
        self.check("PUT /echo", 413, "413 Content Too Large\n", "--body", "x" * 101)

    def test_own_host_takes_the_place_of_the_usual_one(self):
        self.check("/host", 200, "localhost unix:")
        self.check("/host", 200, "here:8 unix:", "--header", "Host: here:8")

    def test_chunks_are_taken_off(self):
        self.assertIn("Transfer-Encoding: chunked", self.check("/stream", 200, "1\n2\n3\n"))
        self.check("/large", 200, "".join(f"{i:04d}" * 256 for i in range(1, 401)))

    def test_handlers_may_wait_and_timers_run(self):
        self.check("/sleep", 200, "slept\n")
        self.check("/ticks", 200, "ticked\n")

    def test_log_goes_to_standard_error_and_events_happen(self):
        done, _, _ = self.ask("/fail")
        self.assertEqual(re.findall(r"Z (info|error) (started|stopped|.*broken)", done.stderr),
                         [("info", "started"), ("error", f"GET /fail (route at {place('/fail')}): {place('/fail')}: broken"),
                          ("info", "stopped")])

    def test_answer_that_is_cut_is_a_failure(self):
        done, head, body = self.ask("/cut")
        self.assertEqual((done.returncode, head[0], body), (1, "HTTP/1.1 200 OK", "first\n"))
        self.assertIn("evserve: the connection was closed before the response was complete\n", done.stderr)

    def test_time_is_limited(self):
        done, head, _ = self.ask("/forever", "--timeout", "1")
        self.assertEqual((done.returncode, head), (1, []))
        self.assertIn("evserve: no complete response before the timeout\n", done.stderr)

    def test_script_with_a_mistake(self):
        with script("app.get()") as path:
            done = evtest.run(EVSERVE, "--request", "/", path)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("site.lua:2: app.get:", done.stderr)

    def test_bad_options(self):
        for arguments, text in (
                (("--request", ""), '--request expects a method and a target, such as "GET /users/7"'),
                (("--request", "GET /\r\nX: y"), '--request expects a method and a target, such as "GET /users/7"'),
                (("--request", "/", "--header", "x"), '--header expects a line such as "Accept: text/html"'),
                (("--request", "/", "--header", "x: y\n"), '--header expects a line such as "Accept: text/html"'),
                (("--request", "/", "--timeout", "0"), '--timeout expects a number of seconds from 1 to 86400, not "0"'),
                (("--request", "/", "--routes"),
                 "--check, --routes, --request, --test, --reload, --upgrade and --pack exclude each other"),
                (("--request", "/", "--listen", ":0"), "--request cannot be combined with --listen or --reactors"),
                (("--upgrade", "/x.pid"),
                 '--upgrade takes no script, but "site.lua" is there: the server keeps its arguments'),
                (("--reload", "/x.pid"),
                 '--reload takes no script, but "site.lua" is there: the server keeps its arguments'),
                (("--body", "x"), "--header, --body and --timeout require --request"),
                (("--request", "/", *("--header", "a: b") * 101), "--header may be repeated 100 times at most"),
        ):
            done = self.run_tool(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (2, "", f"evserve: {text}; try 'evserve --help'\n"))
        done = self.run_tool("--request", "/", "--body", "@nothing")
        self.assertEqual((done.returncode, done.stderr),
                         (2, "evserve: cannot read the body @nothing: No such file or directory\n"))


if __name__ == "__main__":
    unittest.main()
