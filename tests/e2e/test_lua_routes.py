"""Registering from Lua: options of routes, groups, names, slashes at the end; run by the real program."""

import socket
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script


class RouteLimits(SiteCase):
    SCRIPT = r"""
    app.put("/large", { max_body = "1K" }, function(req) return #req.body .. "" end)
    app.put("/small", { max_body = 3 }, function(req) return #req.body .. "" end)
    app.put("/usual", function(req) return #req.body .. "" end)
    app.set { max_body = 100 } -- after the routes: those without a limit of their own have it all the same
    """

    def status(self, target, length):
        return self.ask(target, "PUT", body=b"x" * length).status

    def test_limit_of_a_route_is_its_own(self):
        self.assertEqual([self.status("/large", n) for n in (101, 1024, 1025)], [200, 200, 413])
        self.assertEqual([self.status("/small", n) for n in (3, 4)], [200, 413])
        self.assertEqual([self.status("/usual", n) for n in (100, 101)], [200, 413])


class Segments(SiteCase):
    SCRIPT = r"""
    local function show(req) return req.params end
    app.get("/f/:name.:ext", show)
    app.get("/f/:name.html", function(req) return { page = req.params.name } end)
    app.get("/f/:name", function(req) return { all = req.params.name } end)
    app.get("/v:major{int}.:minor{int}.:patch{int}/x", { numbers = true }, show)
    """

    def test_several_parameters_in_a_segment(self):
        for target, want in (("/f/a.txt", {"name": "a", "ext": "txt"}), ("/f/a.tar.gz", {"name": "a", "ext": "tar.gz"}),
                             ("/f/a.html", {"page": "a"}), ("/f/a.b.html", {"page": "a.b"}), ("/f/a", {"all": "a"}),
                             ("/f/a.", {"all": "a."}), ("/f/.a", {"all": ".a"}), ("/f/..a", {"name": ".", "ext": "a"}),
                             ("/v1.22.333/x", {"major": 1, "minor": 22, "patch": 333})):
            with self.subTest(target):
                self.assertEqual(self.ask(target).json, want)
        for target in ("/v1.2/x", "/v1.2./x", "/v1.2.a/x", "/v1.2.3", "/f/"):
            self.assertEqual(self.ask(target).status, 404, target)


class Numbers(SiteCase):
    SCRIPT = r"""
    local function show(req)
        local types = {}
        for name, value in pairs(req.params) do types[name] = type(value) .. " " .. tostring(value) end
        return types
    end
    app.set { numbers = true }
    app.get("/usual/:a/:b{int}/:c{[0-9]+}/*rest", show)
    app.get("/text/:b{int}", { numbers = false }, show)
    local host = app.host "numbers"
    host.get("/:id{int}", show)
    """

    def test_parameters_of_the_type_int_are_numbers(self):
        self.assertEqual(self.ask("/usual/1/007/3/4").json,
                         {"a": "string 1", "b": "number 7", "c": "string 3", "rest": "string 4"})
        self.assertEqual(self.ask("/text/7").json, {"b": "string 7"})
        self.assertEqual(self.ask("/5", headers=[("Host", "numbers")]).json, {"id": "number 5"})

    def test_numbers_that_would_be_rounded_are_text(self):
        for text, kind in (("9007199254740992", "number"), ("9007199254740993", "string"), ("9" * 18, "string")):
            got = self.ask(f"/usual/x/{text}/0/").json["b"]
            self.assertEqual(got.split()[0], kind)
            self.assertIn(text if kind == "string" else "9.00719925474", got)

    def test_only_routes_that_ask_for_it_without_the_setting(self):
        text = """
        app.get("/yes/:n{int}", { numbers = true }, function(req) return type(req.params.n) end)
        app.get("/no/:n{int}", function(req) return type(req.params.n) end)"""
        with script(text) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/yes/1").text, "number")
                self.assertEqual(client.ask("GET", "/no/1").text, "string")


class Groups(SiteCase):
    SCRIPT = r"""
    local function around(name)
        return function(req, nxt)
            req.trail = (req.trail or "") .. name .. ">"
            local res = nxt()
            res.headers["x-back"] = (res.headers["x-back"] or "") .. name
            return res
        end
    end
    local function trail(req) return req.trail or "" end

    local api = app.group("/api")
    local inner = api.group("/v1")
    local plain = app.group("")
    api.get("", trail)
    api.get("/", function() return "slash" end)
    api.get("/x", trail)
    api.post("/x", trail)
    inner.get("/x", trail)
    inner.route({ "PUT", "PATCH" }, "/:id{int}", function(req) return req.params.id .. " " .. trail(req) end)
    plain.get("/plain", trail)
    app.get("/out", trail)
    api.use(around "a")     -- after the routes, and inside of what app.use gets later
    inner.use(around "b")
    inner.use(around "c")
    plain.use(around "p")
    app.use(around "app")
    app.group("/closed").use(function() return 403 end)
    local team = app.group("/teams/:team")
    team.get("/members/:id", function(req) return req.params.team .. " " .. req.params.id end)
    require "lib.users"(app.group("/users"))
    require "lib.users"(api.group("/users"))
    """
    FILES = (("lib/users.lua", 'return function(users)\n'
                               '    users.get("/:id", function(req) return "user " .. req.params.id end)\nend\n'),)

    def test_middleware_of_outer_groups_lies_outside(self):
        for target, trail, back in (("/api", "app>a>", "aapp"), ("/api/x", "app>a>", "aapp"),
                                    ("/api/v1/x", "app>a>b>c>", "cbaapp"), ("/plain", "app>p>", "papp"),
                                    ("/out", "app>", "app")):
            answer = self.ask(target)
            self.assertEqual((answer.text, answer.headers["x-back"]), (trail, back), target)

    def test_path_of_the_group_is_not_that_with_a_slash(self):
        self.assertEqual(self.ask("/api/").text, "slash")
        self.assertEqual(self.ask("/api/v1").status, 404)

    def test_methods_of_a_group(self):
        self.assertEqual(self.ask("/api/v1/7", "PATCH").text, "7 app>a>b>c>")
        answer = self.ask("/api/v1/7")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "PUT, PATCH, OPTIONS"))
        answer = self.ask("/api/x", "OPTIONS")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, HEAD, POST, OPTIONS"))
        answer = self.ask("/api/x", "HEAD")
        self.assertEqual((answer.status, answer.headers["content-length"], answer.body), (200, "6", b""))
        self.assertEqual(self.ask("/api/v1/x7", "PATCH").status, 404)

    def test_prefix_with_parameters(self):
        self.assertEqual(self.ask("/teams/red/members/5").text, "red 5")

    def test_module_is_mounted_where_its_group_is(self):
        self.assertEqual(self.ask("/users/1").text, "user 1")
        answer = self.ask("/api/users/2")
        self.assertEqual((answer.text, answer.headers["x-back"]), ("user 2", "aapp"))


class Names(SiteCase):
    SCRIPT = r"""
    local function ok() return "ok" end
    app.group("/api").get("/users/:id{int}", { name = "user" }, ok)
    app.get("/by/a-:name.txt", { name = "by.name" }, ok)
    app.get("/files/*path", { name = "file" }, ok)
    app.get("/set/:x{[a-z}-]+}", { name = "set" }, ok)
    app.get("/caf%C3%A9/ü", { name = "cafe" }, ok)
    app.get("/:team/:id", { name = "two" }, ok)
    app.get("/v/:a.:b-:c", { name = "inner" }, ok)
    app.get("/w/:n{int}..:b", { name = "inner.int" }, ok)
    local early = app.url("user", { id = 1 })
    local function url(...)
        local done, text = pcall(app.url, ...)
        return done and text or text:gsub("^.-:%d+: ", "")
    end
    local cases = {
        early = function() return early end,
        number = function() return url("user", { id = 7 }) end,
        large = function() return url("user", { id = 2 ^ 52 }) end,
        text = function() return url("user", { id = "007" }) end,
        encoded = function() return url("by.name", { name = "ä b?%" }) end,
        rest = function() return url("file", { path = "a b/c/../d" }) end,
        rest_ok = function() return url("file", { path = "a b/c//d" }) end,
        rest_empty = function() return url("file", { path = "" }) end,
        set = function() return url("set", { x = "a}-" }) end,
        literal = function() return url("cafe") end,
        query = function() return url("cafe", nil, { b = { 1, "x y" }, a = "&=", c = true, d = {} }) end,
        missing = function() return url("user", {}) end,
        unknown = function() return url("user", { ids = 7 }) end,
        type = function() return url("user", { id = "7a" }) end,
        set_type = function() return url("set", { x = "A" }) end,
        fraction = function() return url("user", { id = 1.5 }) end,
        table = function() return url("user", { id = {} }) end,
        empty = function() return url("by.name", { name = "" }) end,
        slash = function() return url("by.name", { name = "a/b" }) end,
        backslash = function() return url("file", { path = "a\\b" }) end,
        nul = function() return url("file", { path = "a\0b" }) end,
        dots = function() return url("two", { team = "..", id = 1 }) end,
        name = function() return url("usr", { id = 7 }) end,
        inner = function() return url("inner", { a = "x-y", b = "z", c = "1.2-3" }) end,
        inner_text = function() return url("inner", { a = "x.y", b = "z", c = "1" }) end,
        inner_type = function() return url("inner.int", { n = "x", b = "z" }) end,
        inner_overlap = function() return url("inner", { a = ".", b = "z", c = "1" }) end,
        no_table = function() return url("user", 7) end,
        bad_query = function() return url("cafe", {}, { "x" }) end,
    }
    app.get("/url/case/:case", function(req) return cases[req.params.case]() end)
    """

    CASES = {
        "inner": "/v/x-y.z-1.2-3",
        "inner_text": 'app.url: inner: parameter "a": "x.y" contains the text behind it in its segment, "."',
        "inner_type": 'app.url: inner.int: parameter "n": "x" is not of the type {int}',
        "inner_overlap": "/v/..z-1",
        "early": "/api/users/1",
        "number": "/api/users/7",
        "large": "/api/users/4503599627370496",
        "text": "/api/users/007",
        "encoded": "/by/a-%C3%A4%20b%3F%25.txt",
        "rest_ok": "/files/a%20b/c//d",
        "rest_empty": "/files/",
        "set": "/set/a%7D-",
        "literal": "/caf%C3%A9/%C3%BC",
        "query": "/caf%C3%A9/%C3%BC?a=%26%3D&b=1&b=x%20y&c=true",
        "rest": 'app.url: file: a segment would be "." or "..", which clients remove from paths',
        "missing": 'app.url: user: the parameter "id" of /api/users/:id{int} is missing',
        "unknown": 'app.url: user: unknown parameter "ids" (did you mean "id"?)',
        "type": 'app.url: user: parameter "id": "7a" is not of the type {int}',
        "set_type": 'app.url: set: parameter "x": "A" is not of the type {[a-z}-]+}',
        "fraction": 'app.url: user: parameter "id": "1.5" is not of the type {int}',
        "table": 'app.url: user: id: text or a number expected, got table',
        "empty": 'app.url: by.name: parameter "name": "" is empty: a parameter needs at least one byte',
        "slash": 'app.url: by.name: parameter "name": "a/b" contains a slash, which only a *rest may',
        "backslash": 'app.url: file: parameter "path": "a\\b" contains a NUL or a backslash, which a path must not',
        "nul": 'app.url: file: parameter "path": "a" contains a NUL or a backslash, which a path must not',
        "dots": 'app.url: two: a segment would be "." or "..", which clients remove from paths',
        "name": 'app.url: unknown route "usr" (did you mean "user"?)',
        "no_table": "app.url: user: a table of parameters, and optionally one for the query, expected",
        "bad_query": "app.url: cafe: names in the query must be text, not 1",
    }

    def test_each_address_or_what_is_wrong_with_it(self):
        for case, expected in self.CASES.items():
            self.assertEqual(self.ask("/url/case/" + case).text, expected, case)

    def test_addresses_lead_back_to_their_routes(self):
        for case, target in self.CASES.items():
            if target.startswith("/"):
                self.assertEqual(self.ask(target).text, "ok", case)


class Slashes:
    """What is the same for every policy."""

    SITE = r"""
    app.get("/plain", function(req) return "plain " .. req.path end)
    app.post("/plain", function(req) return "posted " .. req.body end)
    app.get("/slash/", function(req) return "slash " .. req.path end)
    app.get("/both", function() return "both" end)
    app.get("/both/", function() return "both/" end)
    app.get("/user/:id", function(req) return "user " .. req.params.id end)
    app.get("/rest/*path", function(req) return "rest '" .. req.params.path .. "'" end)
    app.get("//double", function() return "double" end)
    app.static("/files", "files")
    """
    FILES = (("files/docs/index.html", "docs\n"),)

    def test_path_that_fits_as_it_is_is_left_alone(self):
        for target, text in (("/plain", "plain /plain"), ("/slash/", "slash /slash/"), ("/both", "both"),
                             ("/both/", "both/"), ("/rest/", "rest ''"), ("/files/docs/", "docs\n")):
            self.assertEqual(self.ask(target).text, text)
        self.assertEqual(self.ask("/files/docs").headers["location"], "/files/docs/")

    def test_path_that_fits_neither_way_is_not_found(self):
        for target in ("/", "/nothing", "/nothing/", "/plain//", "/files/plain/"):
            self.assertEqual(self.ask(target).status, 404)


class StrictSlashes(Slashes, SiteCase):
    SCRIPT = Slashes.SITE

    def test_other_slash_is_another_path(self):
        for target in ("/plain/", "/slash", "/user/7/", "/rest"):
            self.assertEqual(self.ask(target).status, 404)


class RedirectedSlashes(Slashes, SiteCase):
    SCRIPT = Slashes.SITE + 'app.set { trailing_slash = "redirect" }'

    def check(self, target, location, status=301, method="GET", body=None):
        answer = self.ask(target, method, body=body)
        self.assertEqual((answer.status, answer.headers.get("location")), (status, location), target)

    def test_other_slash_is_sent_there(self):
        self.check("/plain/", "/plain")
        self.check("/slash", "/slash/")
        self.check("/rest", "/rest/")
        self.check("/plain/", "/plain", method="HEAD")
        self.check("/plain/", "/plain", 308, "POST", b"x")

    def test_query_goes_along(self):
        self.check("/plain/?a=1&b=%20", "/plain?a=1&b=%20")
        self.check("/slash?", "/slash/?")

    def test_location_is_encoded_and_on_this_host(self):
        self.check("/user/a%20%C3%A4%0A/", "/user/a%20%C3%A4%0A")
        self.check("//double/", "/.//double")
        self.check("/x/../plain/", "/plain")
        self.check("http://test/plain/", "/plain")

    def test_method_that_is_not_there_either_is_not_sent_on(self):
        self.check("/slash", None, 404, "DELETE")


class IgnoredSlashes(Slashes, SiteCase):
    SCRIPT = Slashes.SITE + 'app.set { trailing_slash = "ignore" }'

    def test_other_slash_is_the_same_path(self):
        for target, text in (("/plain/", "plain /plain/"), ("/slash", "slash /slash"), ("/user/7/", "user 7"),
                             ("/rest", "rest ''")):
            self.assertEqual(self.ask(target).text, text)
        self.assertEqual(self.ask("/plain/", "POST", body=b"abc").text, "posted abc")

    def test_methods_are_those_of_the_route(self):
        answer = self.ask("/plain/", "DELETE")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, POST, OPTIONS"))
        self.assertEqual(self.ask("/plain/", "OPTIONS").headers["allow"], "GET, HEAD, POST, OPTIONS")
        self.assertEqual(self.ask("/slash", "HEAD").status, 200)


class Refused(SiteCase):
    SCRIPT = r"""
    local errors = {}
    local function try(...)
        local _, err = pcall(...)
        errors[#errors + 1] = (err:gsub("^.-:%d+: ", ""))
    end
    app.use(function(req, nxt) return nxt() end)
    try(app.get, "/", { max_body = "x" }, function() end)
    try(app.get, "bad", { write_high_mark = "512K", name = "n" }, function() end)
    app.get("/", { name = "n" }, function() return errors end)
    try(app.get, "/", function() end)
    """

    def test_script_that_catches_the_error_goes_on_without_the_route(self):
        errors = self.ask("/").json
        self.assertEqual(len(errors), 3)
        self.assertIn("already registered", errors[2])


class Late(SiteCase):
    SCRIPT = r"""
    local group = app.group("/g")
    local calls = {
        get = function() app.get("/late", print) end,
        group = function() app.group("/late") end,
        in_group = function() group.get("/late", print) end,
        use = function() group.use(print) end,
        set = function() app.set { trailing_slash = "ignore" } end,
        listen = function() app.listen ":0" end,
    }
    app.get("/:call", function(req)
        local _, err = pcall(calls[req.params.call])
        return (err:gsub("^.-:%d+: ", ""))
    end)
    """

    def test_registering_after_the_start_says_that_it_is_late(self):
        for call, what in (("get", "app.get"), ("group", "app.group"), ("in_group", "group.get"),
                           ("use", "group.use"), ("set", "app.set"), ("listen", "app.listen")):
            self.assertEqual(self.ask("/" + call).text, what + " works only while the script starts")


class Mistakes(unittest.TestCase):
    """What is wrong with a script is one line on standard error, with file and line, and exit status 1."""

    # Each script runs behind a line of its own, so its first line is line 2.
    CASES = (
        ('app.put("/x", { max_bodi = "1M" }, print)',
         'SITE:2: app.put: unknown option "max_bodi" (did you mean "max_body"?)'),
        ('app.put("/x", { max_body = "1X" }, print)',
         'SITE:2: app.put: max_body: "1X" is not a whole number of bytes, or one with K, M or G, such as "64K"'),
        ('app.put("/x", { body_timeout = 0 }, print)',
         'SITE:2: app.put: body_timeout: 0 is out of range (1 to 86400000 ms)'),
        ('app.route("PUT", "/x", { write_cap = {} }, print)',
         'SITE:2: app.route: write_cap: a number or text such as "64K" expected, got table'),
        ('app.get("/x", { max_connections = 5 }, print)',
         'SITE:2: app.get: max_connections applies to the whole server: set it with app.set'),
        ('app.get("/x", { idle_timeout = "5s" }, print)',
         'SITE:2: app.get: idle_timeout applies to the whole server: set it with app.set'),
        ('app.get("/x", { 5 }, print)', 'SITE:2: app.get: unknown option 1'),
        ('\napp.get("/x", { write_high_mark = "512K" }, print)',
         'SITE:3: limits of the route: write_high_mark (524288 bytes) is above write_cap (262144 bytes)'),
        ('app.get("/x", { write_cap = "64K" }, print)\napp.set { write_high_mark = "128K" }',
         'SITE:2: limits of the route: write_high_mark (131072 bytes) is above write_cap (65536 bytes)'),
        ('app.group()', 'SITE:2: app.group: a prefix such as "/api", or "", expected, got nil'),
        ('app.group("api")', 'SITE:2: app.group: a prefix such as "/api", or "", expected, got "api"'),
        ('app.group("/api").group("/")', 'SITE:2: group.group: a prefix such as "/api", or "", expected, got "/"'),
        ('app.group("/api").get("x", print)',
         'SITE:2: group.get: the path "x" must begin with "/", or be empty for that of the group'),
        ('app.group("/api").get(5, print)', 'SITE:2: group.get: a path such as "/users/:id" expected, got number'),
        ('app.group("/api").route(5, "/x", print)',
         'SITE:2: group.route: a method or a list of methods expected, got 5'),
        ('app.group("/:a").get("/:a", print)',
         'SITE:2: bad route pattern "/:a/:a": two parameters are called "a"'),
        ('app.group("").get("", print)', 'SITE:2: bad route pattern "": it must begin with \'/\''),
        ('app.group("/api").use()', 'SITE:2: group.use: a function expected, got nil'),
        ('local api = app.group("/a")\napi.get("/x", print)\napp.get("/a/x", print)',
         'SITE:4: route GET /a/x is already registered at SITE:3'),
        ('app.get("/x", { name = "x" }, print)\napp.post("/x", { name = "x" }, print)',
         'SITE:3: app.post: the name "x" is taken by the route at SITE:2'),
        ('app.get("/x", { name = "a b" }, print)',
         'SITE:2: app.get: name: letters, digits and _ . : - expected, got "a b"'),
        ('app.get("/x", { name = 5 }, print)', 'SITE:2: app.get: name: letters, digits and _ . : - expected, got 5'),
        ('app.url("x")', 'SITE:2: app.url: unknown route "x"'),
        ('app.url()', 'SITE:2: app.url: unknown route nil'),
        ('app.set { trailing_slash = "none" }',
         'SITE:2: app.set: trailing_slash: "strict", "redirect" or "ignore" expected'),
        ('app.set { trailing_slash = true }',
         'SITE:2: app.set: trailing_slash: "strict", "redirect" or "ignore" expected'),
        ('app.set { trusted_proxies = true }',
         'SITE:2: app.set: trusted_proxies: a text such as "127.0.0.1, 10.0.0.0/8, unix:" expected, got boolean'),
        ('app.set { forwarded = true }',
         'SITE:2: app.set: forwarded: "x-forwarded", "forwarded", "off" or a list of fields expected, got boolean'),
        ('app.set { forwarded = "x-forwarded-port" }',
         'SITE:2: app.set: forwarded: "x-forwarded-port" is not one of "x-forwarded", "forwarded" and "off", and no field '
         'that can be chosen: "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"'),
        ('app.set { strip_forwarded = 1 }', 'SITE:2: app.set: strip_forwarded: true or false expected, got number'),
        ('app.set { deny_connect = true }',
         'SITE:2: app.set: deny_connect: a text such as "private" or "10.0.0.0/8, unix:" expected, got boolean'),
        ('app.set { deny_connect = "example.org" }',
         'SITE:2: app.set: deny_connect: "example.org": a name cannot be denied, since its addresses would still be '
         'reached by other names: deny "private", an address or a network'),
        ('app.set { trusted_proxies = "10.0.0.1/8" }',
         'SITE:2: app.set: trusted_proxies: "10.0.0.1/8" is an address within a network: write 10.0.0.0/8 for the '
         'network'),
        ('app.set { trailing_slashes = "ignore" }',
         'SITE:2: app.set: unknown setting "trailing_slashes" (did you mean "trailing_slash"?)'),
        ('app.static("/x", "/tmp")\napp.static("/x/", "/")',
         'SITE:3: app.static: the prefix "/x/" is already mounted (at SITE:2)'),
        ('app.listen "127.0.0.1:0"\napp.listen "127.0.0.1:0"\napp.listen ":9"\napp.listen ":9"',
         'SITE:5: app.listen: already listening on ":9" (at SITE:4)'),
    )

    def test_each_is_one_line_that_names_the_place(self):
        for text, expected in self.CASES:
            with self.subTest(text), script(text) as path:
                for arguments in (["--check"], ["--listen", "127.0.0.1:0"]):
                    done = evtest.run(EVSERVE, *arguments, path)
                    self.assertEqual(done.stderr, expected.replace("SITE", path) + "\n")
                    self.assertEqual(done.returncode, 1)


class FilesInMemory(SiteCase):
    SCRIPT = r"""
    app.static("/", {
        ["/index.html"] = "<p>start",
        ["/a.css"] = "body {}",
        ["/a.css.gz"] = "gzip",
        ["/img/dot"] = { "\0dot", type = "image/x-dot" },
        ["/large.txt"] = ("0123456789"):rep(20000),
        ["/app/index.html"] = "app",
        ["/empty"] = "",
    }, { cache = "1h", headers = { ["x-mount"] = "m" }, not_found = "index.html" })
    app.static("/app", { ["index.html"] = "one page" }, { fallback = "index.html" })
    app.host("example.org").static("/", { ["/index.html"] = "host" })
    app.get("/img/route", function() return "route" end)
    app.get("/collect", function() collectgarbage() collectgarbage() return "done" end)
    """

    def test_they_are_served_as_files_are(self):
        self.ask("/collect")
        for target, status, kind, text in (
                ("/", 200, "text/html; charset=utf-8", "<p>start"), ("/a.css", 200, "text/css; charset=utf-8", "body {}"),
                ("/img/dot", 200, "image/x-dot", "\0dot"), ("/app/", 200, "text/html; charset=utf-8", "one page"),
                ("/app/none", 200, "text/html; charset=utf-8", "one page"),
                ("/large.txt", 200, "text/plain; charset=utf-8", "0123456789" * 20000),
                ("/empty", 200, "application/octet-stream", ""), ("/none", 404, "text/html; charset=utf-8", "<p>start"),
                ("/img/route", 200, "text/plain; charset=utf-8", "route")):
            with self.subTest(target=target):
                answer = self.ask(target)
                self.assertEqual((answer.status, answer.headers["content-type"], answer.text), (status, kind, text))
                head = self.ask(target, "HEAD")
                self.assertEqual((head.status, head.headers["content-length"], head.body),
                                 (status, str(len(answer.body)), b""))
        self.assertEqual(self.ask("/", headers=(("Host", "example.org"),)).text, "host")
        self.assertEqual((self.ask("/img").status, self.ask("/img", "POST").status), (301, 405))

    def test_conditions_ranges_siblings_and_fields_work(self):
        whole = self.ask("/large.txt")
        self.assertEqual((whole.headers["cache-control"], whole.headers["x-mount"]), ("max-age=3600", "m"))
        tag = whole.headers["etag"]
        self.assertRegex(tag, '^"')
        self.assertEqual(self.ask("/large.txt", headers=(("If-None-Match", tag),)).status, 304)
        part = self.ask("/large.txt", headers=(("Range", "bytes=199998-"), ("If-Range", tag)))
        self.assertEqual((part.status, part.text, part.headers["content-range"]), (206, "89", "bytes 199998-199999/200000"))
        packed = self.ask("/a.css", headers=(("Accept-Encoding", "gzip"),))
        self.assertEqual((packed.text, packed.headers["content-encoding"]), ("gzip", "gzip"))
        self.assertEqual(packed.headers["content-type"], "text/css; charset=utf-8")
        self.assertNotEqual(packed.headers["etag"], self.ask("/a.css").headers["etag"])


class FilesInMemoryMistakes(unittest.TestCase):
    CASES = (
        ('{ "x" }', 'the files are named by paths such as ["/index.html"], not by a number'),
        ('{ ["/a"] = 5 }', '"/a": text or { text, type = "..." } expected, got number'),
        ('{ ["/a"] = {} }', '"/a": text or { text, type = "..." } expected, got nil'),
        ('{ ["/a"] = { "x", typ = "y" } }', '"/a": { text, type = "..." } expected, without "typ"'),
        ('{ ["/a"] = { "x", "y" } }', '"/a": { text, type = "..." } expected, without "2"'),
        ('{ ["/a"] = { "x", type = 5 } }', '"/a": type: a text such as "image/png" expected, got number'),
        ('{ ["/a"] = { "x", type = "a\\nb" } }', '"a" has a type that is no field value'),
        ('{ ["/a\0"] = "x" }', 'the path "/a" contains a NUL byte'),
        ('{ ["/a"] = "x", ["a"] = "y" }', '"a" occurs twice'),
        ('{ ["/a/../b"] = "x" }', '"a/../b" has an empty or a dot segment'),
        ('{ ["//a"] = "x" }', '"/a" must not begin with "/"'),
        ('{ ["/a"] = "x" }, { fallback = "/b" }', 'fallback: "b" is not among the files in memory'),
        ('{ ["/a"] = "x" }, { list = true }', 'list: files in memory are not listed'),
        ('(function() local t = {} for i = 1, 4097 do t["/" .. i] = "" end return t end)()',
         'more than 4096 files in memory; serve a directory'),
        ('{ ["/a"] = ("x"):rep(16 * 1024 * 1024 + 1) }', 'files in memory: more than 16 MiB in total'),
    )

    def test_each_names_the_file(self):
        for argument, expected in self.CASES:
            with self.subTest(argument), script(f'app.static("/", {argument})') as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertEqual(done.stderr, f"{path}:2: app.static: {expected}\n")

    def test_limits_themselves_are_allowed(self):
        with script('local t = {} for i = 1, 4095 do t["/" .. i] = "" end\n'
                    't["/all"] = ("x"):rep(16 * 1024 * 1024)\napp.static("/", t)') as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


class Preflights(SiteCase):
    """A route for OPTIONS of all paths leaves other methods as they are."""

    SCRIPT = r"""
    app.static("/", "files")
    app.static("/app", "files", { fallback = "index.html" })
    app.options("/*path", function(req) return 204, nil, { ["access-control-allow-origin"] = "*" } end)
    app.get("/route", function() return "route\n" end)
    app.post("/form", function() return "form\n" end)
    """
    FILES = (("files/index.html", "index\n"), ("files/a.txt", "file\n"))

    def test_each_path_is_what_it_is_without_it(self):
        for method, target, status in (
                ("GET", "/route", 200), ("GET", "/a.txt", 200), ("HEAD", "/a.txt", 200), ("GET", "/", 200),
                ("GET", "/none", 404), ("GET", "/app/none", 200), ("POST", "/route", 405), ("POST", "/none", 405),
                ("GET", "/form", 405)):
            with self.subTest(method=method, target=target):
                self.assertEqual(self.ask(target, method).status, status)

    def test_it_answers_all_preflights(self):
        for target in ("/route", "/a.txt", "/none", "/form", "/app/none"):
            answer = self.ask(target, "OPTIONS")
            self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (204, "*"))

    def test_without_files_a_path_is_missing_for_every_method(self):
        with script('app.options("/*path", function() return 204 end)\napp.listen "127.0.0.1:0"') as path, \
                evtest.Program(EVSERVE, path) as server, Client(server) as client:
            self.assertEqual([client.ask(method, "/x").status for method in ("GET", "POST", "OPTIONS")], [404, 404, 204])


class PassedOn(SiteCase):
    """Routes for every method that leave the request to the static files."""

    SCRIPT = r"""
    app.static("/files", "files", { headers = { ["x-mount"] = "m" } })
    app.any("/files/*path", function() return app.pass, { ["x-route"] = "r", ["content-language"] = "de" } end)
    app.any("/none/*path", function() return app.pass end)
    """
    FILES = (("files/a.txt", "file\n"),)

    def test_options_has_the_methods_of_files_and_another_method_is_405(self):
        for method, status in (("OPTIONS", 204), ("PUT", 405), ("PURGE", 405)):
            for target in ("/files/a.txt", "/files/none"):
                with self.subTest(method=method, target=target):
                    answer = self.ask(target, method=method)
                    self.assertEqual((answer.status, answer.headers["allow"]), (status, "GET, HEAD, OPTIONS"))
                    self.assertEqual((answer.headers["x-mount"], answer.headers["x-route"]), ("m", "r"))
                    self.assertNotIn("content-language", answer.headers)
        self.assertEqual(self.ask("/files/a.txt").text, "file\n")

    def test_without_a_mount_no_method_finds_anything(self):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PURGE"):
            with self.subTest(method):
                answer = self.ask("/none/a.txt", method=method)
                self.assertEqual((answer.status, answer.headers.get("allow")), (404, None))


class RoutesForAllPaths(SiteCase):
    """Files come before a route for all paths, and such a route does not make other methods 405."""

    SCRIPT = r"""
    app.static("/", "files")
    app.static("/app", "files", { fallback = "a.txt" })
    app.static("/guarded/inner", "files")
    app.get("/exact", function() return "a route" end)
    app.get("/guarded/*path", function(req) return "guard of " .. req.params.path end)
    app.get("/*path", function(req) return "all: " .. req.params.path .. " " .. #req.body end)
    local own = app.host("own.test")
    own.static("/files", "files")
    own.get("/*path", { before_files = true, owns_paths = true }, function(req) return "own: " .. req.params.path end)
    local other = app.host("other.test")
    other.get("/*path", function() return "x" end)
    other.post("/form", function() return "y" end)
    """
    FILES = (("files/a.txt", "file\n"), ("files/sub/index.html", "index\n"), ("files/exact", "hidden\n"),
             ("files/x", "guarded\n"))

    def test_files_that_exist_come_first(self):
        for target, text in (("/a.txt", "file\n"), ("/sub/", "index\n"), ("/exact", "a route"),
                             ("/none", "all: none 0"), ("/sub/none", "all: sub/none 0"), ("/", "all:  0"),
                             ("/app/none", "file\n"), ("/guarded/x", "guard of x"), ("/guarded/inner/x", "guarded\n"),
                             ("/guarded/inner/none", "guard of inner/none"), ("/.hidden", "all: .hidden 0")):
            self.assertEqual(self.ask(target).text, text, target)
        self.assertEqual(self.ask("/sub").headers["location"], "/sub/")
        self.assertEqual(self.ask("/none", "HEAD").headers["content-length"], "11")
        self.assertEqual(self.ask("/a.txt", headers=[("Range", "bytes=0-1")]).status, 206)

    def test_a_body_goes_to_the_route(self):
        with Client(self.server) as client:
            for target, text in (("/none", "all: none 5"), ("/a.txt", "file\n"), ("/none", "all: none 5")):
                client.send("GET", target, body=b"12345")
                self.assertEqual(client.read().text, text)
            client.send("GET", "/none", [("Content-Length", "3"), ("Expect", "100-continue")])
            self.assertEqual(client.file.readline(), b"HTTP/1.1 100 Continue\r\n")
            client.file.readline()
            client.sock.sendall(b"abc")
            self.assertEqual(client.read().text, "all: none 3")
        answer = self.ask("/none", headers=[("Content-Length", str(1 << 40))])
        self.assertEqual(answer.status, 413)

    def test_options_of_a_route(self):
        self.assertEqual(self.ask("/files/a.txt", headers=[("Host", "own.test")]).text, "own: files/a.txt")
        answer = self.ask("/x", "POST", headers=[("Host", "own.test")])
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_other_methods(self):
        other = [("Host", "other.test")]
        self.assertEqual(self.ask("/x", "POST", other).status, 404)
        self.assertEqual(self.ask("/x", "OPTIONS", other).status, 404)
        answer = self.ask("/form", "PUT", other)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST, OPTIONS"))
        self.assertEqual(self.ask("/form", "GET", other).text, "x")


class MountFields(SiteCase):
    """A script of another site may read each answer of a mount that lets it."""

    SCRIPT = r"""
    app.static("/", "files", { cache = "1h", headers = { ["access-control-allow-origin"] = "*" } })
    app.static("/app", "files", { cache = "1h", fallback = "a.txt" })
    app.static("/kept", "files", { fallback = "a.txt", headers = { ["cache-control"] = "max-age=5" } })
    app.static("/once", "files", { cache = "1h" })
    app.static("/used", "files", { headers = { ["cache-control"] = "max-age=5" } })
    app.get("/once/*path", function() return app.pass, { ["cache-control"] = "no-store" } end)
    app.get("/used/*path", function() return app.pass, { ["cache-control"] = "no-store" } end)
    """
    FILES = (("files/a.txt", "file\n"),)

    def test_every_answer_has_them(self):
        for method, target, headers, status in (
                ("GET", "/a.txt", [], 200), ("GET", "/none", [], 404), ("OPTIONS", "/a.txt", [], 204),
                ("POST", "/a.txt", [], 405), ("GET", "/a.txt", [("If-Match", '"x"')], 412),
                ("GET", "/a.txt", [("Range", "bytes=9-")], 416)):
            with self.subTest(method=method, status=status):
                answer = self.ask(target, method, headers)
                self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (status, "*"))
                self.assertEqual("cache-control" in answer.headers, status == 200)

    def test_caching_of_a_route_takes_the_place_of_the_mounts(self):
        for headers in ([], [("If-None-Match", "*")], [("Range", "bytes=0-1")]):
            for target in ("/once/a.txt", "/used/a.txt"):
                answer = self.ask(target, headers=headers)
                self.assertEqual((answer.text[:2] in ("", "fi"), answer.headers["cache-control"]), (True, "no-store"))
        self.assertEqual(self.ask("/a.txt").headers["cache-control"], "max-age=3600")

    def test_a_fallback_is_asked_for_again_each_time(self):
        answer = self.ask("/app/none")
        self.assertEqual((answer.status, answer.headers["cache-control"]), (200, "no-cache"))
        answer = self.ask("/app/none", headers=[("If-None-Match", answer.headers["etag"])])
        self.assertEqual((answer.status, answer.headers["cache-control"]), (304, "no-cache"))
        self.assertEqual(self.ask("/app/a.txt").headers["cache-control"], "max-age=3600")
        self.assertEqual(self.ask("/kept/none").headers["cache-control"], "max-age=5")

    def test_a_client_of_ipv4_has_an_address_of_ipv4(self):
        with script('app.get("/", function(req) return req.peer end)') as path, \
                evtest.Program(EVSERVE, "--listen", ":0", path) as server:
            port = server.address[1]
            with socket.create_connection(("127.0.0.1", port), 30) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = sock.makefile("rb").read()
                self.assertTrue(answer.endswith(b"\r\n\r\n127.0.0.1:%d" % sock.getsockname()[1]), answer)


if __name__ == "__main__":
    unittest.main()
