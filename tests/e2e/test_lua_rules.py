"""Rules of scripts: app.redirect_from, app.headers, app.cache, app.allow, app.deny, app.cors, and what is wrong in their calls;
run by the real program."""

import os
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script
from origin import Origin


class Rules(SiteCase):
    SCRIPT = r"""
    app.redirect_from("/blog/:id{int}", "/posts/:id", 308)
    app.redirect_from("/old/*rest", "https://old.example.org/*rest")
    app.redirect_from("/page", "/page/one", 302) -- before its route
    app.redirect_from("/gone", nil, 410)
    app.headers("/", { ["x-frame-options"] = "DENY", ["x-number"] = 7, link = { "</a>", "</b>" } })
    app.headers("/own", { ["x-frame-options"] = "replaced", ["x-number"] = false }, { replace = true })
    app.headers("/files/a.txt", { etag = false })
    app.cache("/", { ["*.txt"] = "1y, immutable", ["text/html"] = "no-cache", ["sw.js"] = 0 })
    app.cache("/files/deep", { ["*"] = "1m" })
    app.deny("/internal", "all")
    app.allow("/internal/open", { "127.0.0.1", "::1" })
    app.static("/files", "files")
    app.get("/page", function() return "never" end)
    app.get("/html", function() return 200, "<p>", { ["content-type"] = "text/html; charset=utf-8" } end)
    app.get("/stream", function() return 200, function(out) out:write("one ") app.sleep(1) out:write("two") end end)
    app.get("/own", function() return 200, "own", { ["x-frame-options"] = "SAMEORIGIN", ["x-number"] = "1" } end)
    app.get("/private", function() return 200, "mine", { ["cache-control"] = "private" } end)
    app.get("/file", function() return app.file("files/a.txt") end)
    app.get("/fails", function() error("oops") end)
    app.get("/internal/open", function() return "open" end)
    app.get("/internal/open/er", function() return "open" end)
    local api = app.group("/api")
    local inner = api.group("/v1")
    api.headers("/", { ["x-group"] = "api" })
    inner.headers("/x", { ["x-group"] = "inner" })
    inner.redirect_from("/from/:id", "/api/v1/x?:id", 307)
    inner.cache("/", { ["*"] = "2s" })
    api.deny("/closed", "all")
    inner.get("/x", function() return "x" end)
    api.get("/closed/x", function() return "x" end)
    """
    FILES = (("files/a.txt", "a file\n"), ("files/b.html", "<p>"), ("files/deep/c.html", "<p>"), ("files/sw.js", "1"))

    def test_redirects(self):
        for target, status, location in (
                ("/blog/7", 308, "/posts/7"), ("/blog/7?a=b&c", 308, "/posts/7?a=b&c"), ("/blog/x", 404, None),
                ("/old/", 301, "https://old.example.org/"), ("/old/a%20b/c", 301, "https://old.example.org/a%20b/c"),
                ("/page", 302, "/page/one"), ("/gone", 410, None), ("/api/v1/from/7", 307, "/api/v1/x?7")):
            for method in ("GET", "POST", "HEAD", "PURGE"):
                answer = self.ask(target, method)
                if status != 404:
                    self.assertEqual((answer.status, answer.headers.get("location")), (status, location), target)
                    self.assertEqual(answer.headers["x-frame-options"], "DENY")

    def test_fields_are_in_all_responses(self):
        for target, status in (("/html", 200), ("/files/b.html", 200), ("/files/none", 404), ("/none", 404),
                               ("/stream", 200), ("/fails", 500), ("/internal/x", 403), ("/file", 200), ("/files", 301)):
            answer = self.ask(target)
            self.assertEqual((answer.status, answer.headers["x-frame-options"], answer.headers["x-number"]),
                             (status, "DENY", "7"), target)
            self.assertEqual([value for name, value in answer.lines if name == "link"], ["</a>", "</b>"])
        self.assertEqual(self.ask("/stream").text, "one two")
        answer = self.ask("/html", "DELETE")
        self.assertEqual((answer.status, answer.headers["x-frame-options"]), (405, "DENY"))
        answer = self.ask("/own")
        self.assertEqual((answer.headers["x-frame-options"], answer.text), ("replaced", "own"))
        self.assertNotIn("x-number", answer.headers)

    def test_a_file_without_one_of_its_fields(self):
        answer = self.ask("/files/a.txt")
        self.assertEqual((answer.status, answer.text, answer.headers["content-type"], answer.headers["content-length"]),
                         (200, "a file\n", "text/plain; charset=utf-8", "7"))
        self.assertNotIn("etag", answer.headers)
        self.assertIn("last-modified", answer.headers)
        answer = self.ask("/files/a.txt", headers=[("Range", "bytes=2-5")])
        self.assertEqual((answer.status, answer.text), (206, "file"))
        self.assertNotIn("etag", answer.headers)
        answer = self.ask("/files/a.txt", headers=[("If-Modified-Since", self.ask("/files/a.txt").headers["last-modified"])])
        self.assertEqual(answer.status, 304)
        self.assertIn("etag", self.ask("/files/b.html").headers)

    def test_caching(self):
        for target, caching in (("/files/a.txt", "max-age=31536000, immutable"), ("/files/b.html", "no-cache"),
                                ("/files/sw.js", "max-age=0"), ("/html", "no-cache"), ("/private", "private"),
                                ("/files/deep/c.html", "max-age=60"), ("/page", None), ("/none", None),
                                ("/api/v1/x", "max-age=2"), ("/files/none.txt", None)):
            self.assertEqual(self.ask(target).headers.get("cache-control"), caching, target)
        answer = self.ask("/files/b.html")
        answer = self.ask("/files/b.html", headers=[("If-None-Match", answer.headers["etag"])])
        self.assertEqual((answer.status, answer.headers["cache-control"]), (304, "no-cache"))

    def test_addresses(self):
        self.assertEqual([self.ask(target).status for target in
                          ("/internal", "/internal/x", "/internals", "/internal/open", "/internal/open/er",
                           "/api/closed/x", "/API/closed/x", "/api/closedx", "/x/../internal", "/%69nternal")],
                         [403, 403, 404, 200, 200, 403, 404, 404, 403, 403])

    def test_groups(self):
        self.assertEqual(self.ask("/api/v1/x").headers["x-group"], "inner")
        self.assertEqual(self.ask("/api/none").headers["x-group"], "api")
        self.assertNotIn("x-group", self.ask("/apis").headers)


class Cors(SiteCase):
    SCRIPT = r"""
    app.cors("/", { origins = "https://app.example" })
    app.cors("/api", { origins = { "https://app.example", "https://*.example.org", "http://localhost:*" },
        methods = { "GET", "PURGE" }, headers = { "content-type", "x-key" }, expose = "x-total", credentials = true,
        max_age = "10m" })
    app.cors("/api/open", { origins = "*", max_age = 0 })
    app.cors("/api/closed", false)
    app.limit("/api/once", { rate = "1/h" })
    app.basic_auth("/api/admin", function() return false end)
    app.error_page(404, "files/404.html")
    app.static("/files", "files")
    app.proxy("/api/up", "http://127.0.0.1:1")
    local api = app.group("/api")
    api.get("/things", function() return { 1 } end)
    api.get("/admin", function() return "never" end)
    api.get("/once", function() return "once" end)
    api.get("/fails", function() error("oops") end)
    api.get("/stream", function() return 200, function(out) out:write("one ") app.sleep(1) out:write("two") end end)
    api.post("/json", function(req) return req:json() end)
    api.group("/inner").cors("/", { origins = "https://inner.example" })
    app.websocket("/api/ws", function() end)
    """
    FILES = (("files/a.txt", "a file\n"), ("files/404.html", "<p>not here</p>"))

    def fields(self, target, origin="https://app.example", method="GET", **headers):
        lines = [*headers.items(), *([("Origin", origin)] if origin else [])]
        answer = self.ask(target, method, lines)
        found = {name[len("access-control-"):]: value for name, value in answer.headers.items()
                 if name.startswith("access-control-")}
        return answer.status, found, answer.headers.get("vary")

    def test_responses_of_all_kinds_have_them(self):
        found = {"allow-origin": "https://app.example", "allow-credentials": "true", "expose-headers": "x-total"}
        for target, status in (("/api/things", 200), ("/api/admin", 401), ("/api/once", 200), ("/api/once", 429),
                               ("/api/fails", 500), ("/api/stream", 200), ("/api/none", 404), ("/api/up", 502)):
            with self.subTest(target=target):
                self.assertEqual(self.fields(target), (status, found, "Origin"))
        self.assertEqual(self.fields("/api/json", method="POST"), (415, found, "Origin"))
        for target in ("/files/a.txt", "/files/none"):
            self.assertEqual(self.fields(target)[1], {"allow-origin": "https://app.example"})

    def test_origins(self):
        for origin, fits in (("https://a.b.example.org", True), ("http://localhost:5173", True), ("null", False),
                             ("https://example.org", False), ("https://app.example.evil", False), (None, False)):
            with self.subTest(origin=origin):
                _, found, vary = self.fields("/api/things", origin)
                self.assertEqual((found.get("allow-origin"), vary), (origin if fits else None, "Origin"))
        self.assertEqual(self.fields("/api/open", "https://any.example"), (404, {"allow-origin": "*"}, None))
        self.assertEqual(self.fields("/api/closed"), (404, {}, None))
        self.assertEqual(self.fields("/api/inner", "https://inner.example")[1], {"allow-origin": "https://inner.example"})

    def test_preflights_come_before_limits_and_passwords(self):
        asks = {"Access-Control-Request-Method": "PURGE", "Access-Control-Request-Headers": "x-key"}
        for target in ("/api/things", "/api/admin", "/api/once", "/api/once", "/api/none", "/api/up", "/api/ws"):
            status, found, vary = self.fields(target, method="OPTIONS", **asks)
            self.assertEqual((status, vary), (204, "Origin"))
            self.assertEqual(found, {"allow-origin": "https://app.example", "allow-methods": "GET, PURGE",
                                     "allow-headers": "content-type, x-key", "allow-credentials": "true",
                                     "expose-headers": "x-total", "max-age": "600"})
        self.assertEqual(self.fields("/api/things", "https://evil.example", "OPTIONS", **asks), (403, {}, "Origin"))
        self.assertEqual(self.fields("/api/open", "null", "OPTIONS", **asks)[1]["max-age"], "0")


class Hosts(SiteCase):
    SCRIPT = r"""
    local one, two = app.host("one.test"), app.host("*.two.test")
    app.headers("/", { ["x-host"] = "default" })
    one.headers("/", { ["x-host"] = "one" })
    one.deny("/x", "all")
    one.redirect_from("/*rest", "https://two.test/*rest")
    two.cache("/", { ["*"] = "1h" })
    two.group("/inner").headers("/", { ["x-host"] = "inner" })
    two.get("/x", function() return "x" end)
    two.get("/inner/x", function() return "x" end)
    app.get("/x", function() return "x" end)
    """

    def ask_host(self, host, target):
        with self.server.connect() as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = b"".join(iter(lambda: sock.recv(65536), b"")).decode().partition("\r\n\r\n")[0]
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
        return int(head.split()[1]), fields.get("x-host"), fields.get("cache-control"), fields.get("location")

    def test_rules_are_of_their_host(self):
        self.assertEqual(self.ask_host("other.test", "/x"), (200, "default", None, None))
        self.assertEqual(self.ask_host("one.test", "/x"), (301, "one", None, "https://two.test/x"))
        self.assertEqual(self.ask_host("a.two.test:80", "/x"), (200, None, "max-age=3600", None))
        self.assertEqual(self.ask_host("A.Two.Test", "/inner/x"), (200, "inner", "max-age=3600", None))

    def test_tables_of_routes_have_rules(self):
        done = evtest.run(EVSERVE, "--routes", self.path)
        rows = [line.split() for line in done.stdout.splitlines()]
        self.assertIn(["rule", "/", "-", "app.headers"], rows)
        self.assertIn(["301", "/*rest", "-", "https://two.test/*rest"], rows)
        self.assertIn(["rule", "/inner", "-", "app.headers"], rows)


class Proxied(unittest.TestCase):
    """Responses of other servers have the fields of rules."""

    SITE = r"""
    app.proxy("/", os.getenv "UPSTREAM")
    app.headers("/", { server = false, ["x-frame-options"] = "DENY", ["x-up"] = "added" })
    app.headers("/own", { ["x-up"] = "replaced" }, { replace = true })
    app.cache("/", { ["*.css"] = "1d" })
    app.deny("/internal", "all")
    app.redirect_from("/moved", "/there")
    """

    def test_fields_and_access(self):
        fields = [("Server", "up/1"), ("X-Up", "its own")]
        with Origin({"/own": lambda c, r: c.respond(200, "own", fields),
                     "/a.css": lambda c, r: c.respond(200, "css", [("Server", "up/1")]),
                     "/b.css": lambda c, r: c.respond(200, "css", [("Cache-Control", "no-store")])}) as origin, \
                script(self.SITE) as path, \
                evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                               env={**os.environ, "UPSTREAM": origin.url}) as server:
            def ask(target):
                with Client(server) as client:
                    return client.ask("GET", target)

            answer = ask("/own")
            self.assertEqual((answer.text, answer.headers["x-up"], answer.headers["x-frame-options"]),
                             ("own", "replaced", "DENY"))
            self.assertNotIn("server", answer.headers)
            answer = ask("/a.css")
            self.assertEqual((answer.headers["cache-control"], answer.headers["x-up"]), ("max-age=86400", "added"))
            self.assertNotIn("server", answer.headers)
            self.assertEqual(ask("/b.css").headers["cache-control"], "no-store")
            self.assertEqual([ask(target).status for target in ("/internal", "//internal", "/internal//x", "/moved")],
                             [403, 403, 403, 301])


class Mistakes(unittest.TestCase):
    """The script does not load, and the error says where and what is wrong."""

    CASES = (
        ('app.redirect_from(1, "/x")', 'app.redirect_from: a path such as "/old/*rest" expected, got 1'),
        ('app.redirect_from("/a", 2)', 'app.redirect_from: a target such as "/new/*rest" expected, got 2'),
        ('app.redirect_from("/a", "/b", "301")', 'app.redirect_from: a status such as 301 expected, got "301"'),
        ('app.redirect_from("/a", "/b", 200)', "app.redirect_from: status 301, 302, 303, 307, 308 or 410 expected, got 200"),
        ('app.redirect_from("/a/:x", "/b/:y")', '":y", which is no parameter of "/a/:x"'),
        ('app.redirect_from("/a", "/b") app.redirect_from("/a", "/c")', '"/a" is redirected already'),
        ('app:redirect_from("/a", "/b")', "app.redirect_from: call it with a dot, not with a colon"),
        ("app.headers('/')", "app.headers: a table such as { [\"x-frame-options\"] = \"DENY\" } expected, got nil"),
        ("app.headers('x', { a = 1 })", 'app.headers: a prefix such as "/" or "/api" expected, got "x"'),
        ("app.headers('/', { a = true })", "app.headers: a: text, a number, a list of these or false expected, got true"),
        ("app.headers('/', { 'a' })", 'app.headers: names of fields expected, such as ["x-frame-options"], got 1'),
        ("app.headers('/', { date = 'x' })", 'app.headers: "date": the server writes this field itself'),
        ("app.headers('/', {})", "app.headers: 0 fields: 1 to 64 are possible"),
        ("app.headers('/', { a = 'b\\nc' })", 'app.headers: "a": no valid name or value of a field'),
        ("app.headers('/', { a = 1 }, { replaces = true })",
         'app.headers: unknown option "replaces" (did you mean "replace"?)'),
        ("app.headers('/', { a = 1 }, { replace = 1 })", "app.headers: replace: true or false expected, got 1"),
        ("app.cache('/', { ['*.css'] = 30 })", 'app.cache: *.css: a text such as "30d" expected, got 30'),
        ("app.cache('/', { ['*.css'] = '30' })", 'app.cache: "*.css": a time with a unit, directives of Cache-Control'),
        ("app.cache('/', { '1d' })", 'app.cache: names such as ["*.css"] expected, got 1'),
        ("app.allow('/', 1)", 'app.allow: addresses and networks such as "10.0.0.0/8, ::1" expected, got 1'),
        ("app.allow('/', { 1 })", "app.allow: addresses and networks expected in the list, got 1"),
        ("app.allow('/', {})", 'app.allow: addresses and networks such as "10.0.0.0/8, ::1" expected, got an empty list'),
        ("app.allow('/', '10.0.0.0/8 ::1')", 'app.allow: "10.0.0.0/8 ::1" is no address or network: commas separate several'),
        ("app.deny('/', '*')", 'app.deny: "*" is no address or network: write "all" for all clients'),
        ("app.deny('/admin/*', 'all')", 'app.deny: "/admin/*" is no prefix: plain text is expected, without patterns'),
        ("app.host('a').basic_auth('/:id', false)", 'host.basic_auth: "/:id" is no prefix'),
        ('app.redirect_from("/a/:x", "/b/$1")', 'the target "/b/$1" has "$1": parameters are written as in the pattern'),
        ('app.host("a").set { hsts = "1h" }', 'host.set: "hsts" applies to the whole server: set it with app.set'),
        ('app.set { trusted_proxies = { "127.0.0.1", "x" } }', 'app.set: trusted_proxies: "x" is no address or network'),
        ('app.set { deny_connect = { 1 } }', 'app.set: deny_connect: item 1 of the list: a text expected, got 1'),
        ('app.host("a").listen(":80")', "host.listen does not exist: call app.listen"),
        ('app.group("/a").health("/")', "group.health does not exist: call app.health"),
        ('app.set { trusted_proxies = {} }', 'app.set: trusted_proxies: a text such as'),
        ("app.deny('/', 'example.org')", "app.deny: "),
        ("app.cors('/', true)", 'app.cors: a table such as { origins = "https://app.example" }, or false, expected, got true'),
        ("app.cors('/', {})", 'app.cors: origins is missing: "https://app.example", a list of such, or "*"'),
        ("app.cors('/', { origins = {} })", 'app.cors: origins: a list such as "https://app.example" expected, got an empty'),
        ("app.cors('/', { origins = 'app.example' })", 'app.cors: origins: "app.example" is no origin: write one such as'),
        ("app.cors('/', { origins = '*', credentials = true })", 'app.cors: origins: "*" lets every site act as the user'),
        ("app.cors('/', { origins = '*', method = 'GET' })", 'app.cors: unknown option "method" (did you mean "methods"?)'),
        ("app.cors('/', { origins = '*', methods = 'get' })", 'app.cors: methods: "get": methods are written in capitals'),
        ("app.cors('/', { origins = '*', headers = 7 })", "app.cors: headers: a text or a list such as"),
        ("app.cors('/', { origins = '*', max_age = 1.5 })", 'app.cors: max_age: whole seconds, or a time such as "10m"'),
        ("app.cors('/', { origins = '*', max_age = '10' })", "app.cors: max_age: "),
        ("app.cors('/', { origins = '*', max_age = '9000h' })", "app.cors: max_age: "),
        ("app.deny('/a\\0b', 'all')", "app.deny: "),
        ("app.group('/:team').deny('/', 'all')", 'group.deny: the prefix of the group, "/:team", has parameters'),
        ("app.get('/', function() app.deny('/', 'all') end)", None),
    )

    def test_each(self):
        for line, text in self.CASES:
            with self.subTest(line=line), script(line + "\n") as path:
                done = evtest.run(EVSERVE, "--check", path)
                if text is None:
                    self.assertEqual(done.returncode, 0, done.stderr)
                    continue
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{os.path.basename(path)}:2: ", done.stderr)
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
