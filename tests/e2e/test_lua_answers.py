"""What a handler answers with, beyond the plain return values: files and cookies; and what it does after that."""

import os

import evtest
import side_by_side

from lua_site import EVSERVE, Client, SiteCase, script


class Files(SiteCase):
    SCRIPT = r"""
    app.get("/up/*path", function(req) return app.file(req.params.path, { root = "up" }) end)
    app.get("/raw", function(req) return app.file(req.query.path, { root = "up", dotfiles = true }) end)
    app.get("/here", function() return app.file "up/a.txt" end)
    app.get("/typed", function() return app.file("up/a.txt", { type = "text/csv", cache = "1h" }) end)
    app.get("/plain-headers", function()
        return app.file("up/a.txt"), { ["Content-Type"] = "text/x", ["x-more"] = "1" }
    end)
    app.get("/download", function(req)
        return app.file("up/a.txt", { download = req.query.name or true })
    end)
    app.get("/save/*path", function(req) return app.file(req.params.path, { root = "up", download = true }) end)
    app.get("/not-found", function() return 404, app.file "up/a.txt" end)
    app.post("/post", function() return app.file "up/a.txt" end)
    app.get("/big", function() return app.file("big", { root = "up" }) end)
    app.get("/replaced", function()
        local res = app.file "up/a.txt"
        res.body = "instead\n"
        return res
    end)
    local wrong = {
        path = function() return app.file(7) end,
        options = function() return app.file("x", "y") end,
        option = function() return app.file("x", { rooot = "up" }) end,
        absolute = function() return app.file "/etc/passwd" end,
        root = function() return app.file("x", { root = "nowhere" }) end,
        ["root-type"] = function() return app.file("x", { root = 7 }) end,
        ["root-nul"] = function() return app.file("x", { root = "up\0" }) end,
        cache = function() return app.file("x", { cache = 60 }) end,
        download = function() return app.file("x", { download = "a\r\nb" }) end,
        ["download-long"] = function() return app.file("x", { download = ("x"):rep(256) }) end,
        type = function() return app.file("up/a.txt", { type = "a\r\nb: c" }) end,
        ["type-type"] = function() return app.file("up/a.txt", { type = 7 }) end,
        dotfiles = function() return app.file("x", { dotfiles = 1 }) end,
        empty = function() return 204, app.file "up/a.txt" end,
        changed = function() local res = app.file "up/a.txt" res.root = "nowhere" return res end,
        pass = function() return 404, app.pass end,
    }
    app.get("/wrong/:what", function(req) return wrong[req.params.what]() end)
    """
    FILES = [("up/a.txt", "0123456789"), ("up/sub/b.html", "<p>"), ("up/.hidden", "hidden"), ("secret", "secret")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        up = os.path.join(os.path.dirname(cls.path), "up")
        os.symlink("../secret", os.path.join(up, "out"))
        with open(os.path.join(up, "big"), "wb") as file:
            file.write(b"b" * (3 << 20))

    def test_a_file_is_sent_as_static_files_are(self):
        answer = self.ask("/up/a.txt")
        self.assertEqual((answer.status, answer.text), (200, "0123456789"))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        tag = answer.headers["etag"]
        self.assertEqual(self.ask("/up/sub/b.html").headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(self.ask("/up/a.txt", headers=[("If-None-Match", tag)]).status, 304)
        part = self.ask("/up/a.txt", headers=[("Range", "bytes=2-4"), ("If-Range", tag)])
        self.assertEqual((part.status, part.text, part.headers["content-range"]), (206, "234", "bytes 2-4/10"))
        head = self.ask("/up/a.txt", method="HEAD")
        self.assertEqual((head.status, head.headers["content-length"]), (200, "10"))
        self.assertEqual(self.ask("/here").text, "0123456789")
        self.assertEqual(self.ask("/big").body, b"b" * (3 << 20))

    def test_the_path_may_come_from_a_client(self):
        for path, status in (("nothing", 404), ("sub", 404), (".hidden", 404), ("out", 403)):
            with self.subTest(path):
                self.assertEqual(self.ask("/up/" + path).status, status)
        for path, status in (("a.txt", 200), (".hidden", 200), ("../secret", 403), ("sub/../../secret", 403),
                             ("/etc/passwd", 403), ("a.txt%00", 404), ("", 404), ("%2e%2e/secret", 403),
                             ("..%2fsecret", 403), ("x" * 4000, 404)):
            with self.subTest(path):
                answer = self.ask("/raw?path=" + path)
                self.assertEqual(answer.status, status)
                self.assertNotIn("secret", answer.text)
        self.assertEqual(self.log_count("error.* (/up/|/raw)"), 0)

    def test_type_and_cache(self):
        answer = self.ask("/typed")
        self.assertEqual(answer.headers["content-type"], "text/csv")
        self.assertEqual(answer.headers["cache-control"], "max-age=3600")
        self.assertIn("etag", answer.headers)
        self.assertEqual(self.ask("/typed", headers=[("If-None-Match", "*")]).headers["cache-control"], "max-age=3600")
        part = self.ask("/typed", headers=[("Range", "bytes=0-0")])
        self.assertEqual((part.status, part.headers["content-type"]), (206, "text/csv"))
        answer = self.ask("/plain-headers")
        self.assertEqual([value for name, value in answer.lines if name.lower() == "content-type"], ["text/x"])
        self.assertEqual(answer.headers["x-more"], "1")

    def test_names_of_downloads(self):
        for name, value in (
                (None, 'filename="a.txt"'),
                ("my%20report.csv", 'filename="my report.csv"'),
                ("a%22b.txt", "filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
                ("50%25.txt", "filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
                ("..%2F..%5Cetc", 'filename=".._.._etc"'),
                ("%E2%82%AC%20rates", "filename=\"___ rates\"; filename*=UTF-8''%E2%82%AC%20rates"),
                ("na%FFme", 'filename="na_me"'),
                ("a;b'c(d)", 'filename="a;b\'c(d)"')):
            with self.subTest(name):
                answer = self.ask("/download" + (f"?name={name}" if name else ""))
                self.assertEqual(answer.headers["content-disposition"], "attachment; " + value)
                self.assertEqual(answer.text, "0123456789")

    def test_download_of_what_a_client_calls_a_file_is_never_an_error(self):
        self.assertEqual(self.ask("/save/a.txt").headers["content-disposition"], 'attachment; filename="a.txt"')
        for path, status in (("", 404), ("a.txt/", 404), ("none/", 404), ("a%0A.txt", 404), ("x" * 300, 404), ("%7F", 404)):
            with self.subTest(path):
                answer = self.ask("/save/" + path)
                self.assertEqual(answer.status, status)
                self.assertNotIn("content-disposition", answer.headers)

    def test_with_a_status_and_for_other_methods_it_is_whole(self):
        answer = self.ask("/not-found", headers=[("Range", "bytes=0-0"), ("If-None-Match", "*")])
        self.assertEqual((answer.status, answer.text), (404, "0123456789"))
        self.assertNotIn("etag", answer.headers)
        answer = self.ask("/post", method="POST", headers=[("Range", "bytes=0-0"), ("If-None-Match", "*")], body=b"")
        self.assertEqual((answer.status, answer.text), (200, "0123456789"))

    def test_a_body_takes_the_place_of_the_file(self):
        answer = self.ask("/replaced")
        self.assertEqual((answer.status, answer.text), (200, "instead\n"))

    def test_mistakes_are_told_in_the_log(self):
        for what, text in (
                ("path", "app.file: a path expected, got 7"),
                ("options", 'app.file: a table of options expected, got "y"'),
                ("option", 'app.file: unknown option "rooot" .did you mean "root"'),
                ("absolute", 'app.file: "/etc/passwd" is not below a root: use root = "/etc"'),
                ("root", 'app.file: root: cannot serve "nowhere": no such directory'),
                ("root-type", "app.file: root: a directory expected, got 7"),
                ("root-nul", "app.file: root: the text contains a NUL byte"),
                ("cache", 'app.file: cache: a time with a unit such as "1h" expected'),
                ("download", "app.file: download: the name contains a control character"),
                ("download-long", "app.file: download: the name is longer than 255 bytes"),
                ("type", 'header "content-type": the name must be a token, and the value must not contain control'),
                ("type-type", "app.file: type: a media type expected, got 7"),
                ("dotfiles", "app.file: dotfiles: true or false expected, got 1"),
                ("empty", "app.file with the status 204: such a response has no content"),
                ("changed", 'app.file: root: cannot serve "nowhere"'),
                ("pass", "app.pass with the status 404: the static files determine the status")):
            with self.subTest(what):
                answer = self.ask("/wrong/" + what)
                self.assertEqual((answer.status, answer.text), (500, "500 Internal Server Error\n"))
                self.wait_for_log(f"GET /wrong/{what} .*site.lua:[0-9]+: .*{text}")


class LongTexts(SiteCase):
    """What meets the text of a client takes time in proportion to its length: else these handlers would be stopped."""
    SCRIPT = r"""
    local dir, spaces = ("a"):rep(65536) .. "/name", (" "):rep(65536) .. "x"
    local calls = {
        download = function() return app.file(dir, { download = true }).headers["content-disposition"] end,
        raised = function()
            local _, err = pcall(app.error, 400, spaces)
            return tostring(err):sub(-1)
        end,
        html = function() return app.escape_html(spaces):sub(-1) end,
        cookie = function() return tostring(pcall(app.cookie, "a", spaces)) end,
        domain = function() return tostring(pcall(app.cookie, "a", "b", { domain = ("a"):rep(65536) .. " " })) end,
        path = function() return tostring(pcall(app.file, ("/"):rep(65536))) end,
    }
    app.get("/:what", function(req)
        for _ = 1, 9 do calls[req.params.what]() end
        return calls[req.params.what]()
    end)
    """

    def test_each(self):
        for what, text in {"download": 'attachment; filename="name"', "raised": "x", "html": "x", "cookie": "false",
                           "domain": "false", "path": "false"}.items():
            with self.subTest(what):
                answer = self.ask(f"/{what}")
                self.assertEqual((answer.status, answer.text), (200, text))


class Numbers(SiteCase):
    SCRIPT = r"""
    local big, max = 1764448000000000, 2 ^ 53
    app.get("/field", function() return 200, "x", { ["x-number"] = big, ["x-more"] = { max } } end)
    app.get("/cookie", function() return 200, "x", { ["set-cookie"] = app.cookie("at", big) } end)
    app.get("/json", function() return { big, max, -max, 1e15, 12.75, 1 / 3, 1e21, 1e-7 } end)
    app.get("/body", function() return app.json.encode(app.json.decode("[1764448000000000,9007199254740991]")) end)
    app.get("/stream", function() return function(out) out:write(big, " ", 0.1) end end)
    app.get("/url", function() return app.url("item", { id = big }, { since = max }) end)
    app.get("/html", function() return app.html(app.escape_html(big)) end)
    app.get("/log", function() print(big, { max } and max, 1e300) return "x" end)
    app.get("/item/:id", { name = "item" }, function(req) return req.params.id end)
    app.static("/files", "files", { headers = { ["x-static"] = big } })
    """
    FILES = [("files/a", "a")]

    def test_whole_numbers_are_digits_wherever_the_server_writes_them(self):
        field = self.ask("/field").headers
        self.assertEqual((field["x-number"], field["x-more"]), ("1764448000000000", "9007199254740992"))
        self.assertEqual(self.ask("/cookie").headers["set-cookie"], "at=1764448000000000; Path=/")
        self.assertEqual(self.ask("/json").text, "[1764448000000000,9007199254740992,-9007199254740992,1000000000000000,"
                                                 "12.75,0.3333333333333333,1e+21,1e-7]")
        self.assertEqual(self.ask("/body").text, "[1764448000000000,9007199254740991]")
        self.assertEqual(self.ask("/stream").text, "1764448000000000 0.1")
        self.assertEqual(self.ask("/url").text, "/item/1764448000000000?since=9007199254740992")
        self.assertEqual(self.ask("/html").text, "1764448000000000")
        self.assertEqual(self.ask("/files/a").headers["x-static"], "1764448000000000")
        self.ask("/log")
        self.wait_for_log("info 1764448000000000 9007199254740992 1e.300")


class SharedAnswers(SiteCase):
    """What a handler returns to many requests is not changed by what middleware does for one of them."""

    SCRIPT = r"""
    local count = 0
    app.use(function(req, nxt)
        local res = nxt()
        count = count + 1
        res:set_cookie("outer", count)
        res.headers["x-for-" .. count] = "1"
        if req.query.status then res.status = tonumber(req.query.status) end
        return res
    end)
    local refusal = app.html("no")
    app.use(function(req, nxt)
        if req.path == "/refused" then return refusal end
        local res = nxt()
        res.headers["x-for-" .. count] = "2"
        return res
    end)
    local page, away, file = app.html("page"), app.redirect("/page"), app.file("site.lua")
    local fields = { ["set-cookie"] = { "a=1", "b=2" } }
    app.get("/page", function() return page end)
    app.get("/away", function() return away end)
    app.get("/file", function() return file end)
    app.get("/fields", function() return "x", fields end)
    app.get("/refused", function() return "x" end)
    app.get("/pass", function() return app.pass end)
    app.static("/", ".")
    """
    FILES = [("pass", "x")]

    def test_nothing_of_one_request_is_in_the_next(self):
        for target, count in (("/page", 1), ("/away", 1), ("/file", 1), ("/fields", 3), ("/refused", 1), ("/pass", 1)):
            for query in ("", "?status=418", ""):
                answer = self.ask(target + ("" if target in ("/file", "/pass") else query))
                names = [name.lower() for name, _ in answer.lines]
                self.assertEqual(names.count("set-cookie"), count, (target, answer.lines))
                self.assertLessEqual(sum(name.startswith("x-for-") for name in names), 2, (target, answer.lines))
            self.assertNotEqual(answer.status, 418)


class Cookies(SiteCase):
    SCRIPT = r"""
    app.use(function(req, nxt)
        local res = nxt()
        if req.query.also then res:set_cookie("also", req.query.also):set_cookie("second", 2) end
        return res
    end)
    app.get("/plain", function() return "x", { ["Set-Cookie"] = app.cookie("a", "b") } end)
    app.get("/two", function() return "x", { ["Set-Cookie"] = { app.cookie("a", "b"), app.cookie("c", "") } } end)
    app.get("/all", function()
        return app.html("x"):set_cookie("__Host-sid", "0x1F=", { path = "/", max_age = "2h", expires = 784111777,
            secure = true, http_only = true, same_site = "Strict" })
    end)
    app.get("/domain", function()
        return app.redirect("/"):set_cookie("a", 1, { domain = "example.org", path = "/x", max_age = 0,
            same_site = "lax", http_only = false })
    end)
    app.get("/pass", function() return app.pass, { ["set-cookie"] = app.cookie("p", "1") } end)
    app.get("/longest", function() return app.html("x"):set_cookie("n", ("v"):rep(4095)) end)
    local shared = app.html("x"):set_cookie("of", "all")
    app.get("/shared", function() return shared end)
    local wrong = {
        name = function() app.cookie("a b", "c") end,
        empty = function() app.cookie("", "c") end,
        ["name-type"] = function() app.cookie(1, "c") end,
        value = function() app.cookie("a", "x\r\nset-cookie: b=c") end,
        semicolon = function() app.cookie("a", "x;Secure") end,
        space = function() app.cookie("a", "x y") end,
        quote = function() app.cookie("a", '"x"') end,
        comma = function() app.cookie("a", "x,y") end,
        backslash = function() app.cookie("a", "x\\y") end,
        byte = function() app.cookie("a", "\200") end,
        nul = function() app.cookie("a", "x\0") end,
        ["value-type"] = function() app.cookie("a", {}) end,
        ["value-nil"] = function() app.cookie("a") end,
        long = function() app.cookie("n", ("v"):rep(4096)) end,
        attributes = function() app.cookie("a", "b", "c") end,
        attribute = function() app.cookie("a", "b", { httponly = true }) end,
        path = function() app.cookie("a", "b", { path = "/;Secure" }) end,
        relative = function() app.cookie("a", "b", { path = "x" }) end,
        domain = function() app.cookie("a", "b", { domain = "a\nb" }) end,
        age = function() app.cookie("a", "b", { max_age = 3600 }) end,
        expires = function() app.cookie("a", "b", { expires = "tomorrow" }) end,
        late = function() app.cookie("a", "b", { expires = 253402300800 }) end,
        flag = function() app.cookie("a", "b", { secure = "yes" }) end,
        site = function() app.cookie("a", "b", { same_site = "some" }) end,
        none = function() app.cookie("a", "b", { same_site = "none" }) end,
        host = function() app.cookie("__Host-a", "b", { secure = true, path = "/x" }) end,
        secure = function() app.cookie("__Secure-a", "b") end,
        pass = function() app.pass:set_cookie("a", "b") end,
        dot = function() app.html("x").set_cookie("a", "b") end,
        shared = function() shared:set_cookie("a", "b") end,
    }
    app.get("/wrong/:what", function(req) wrong[req.params.what]() return "not reached\n" end)
    """

    def cookies(self, target):
        return [value for name, value in self.ask(target).lines if name.lower() == "set-cookie"]

    def test_lines(self):
        self.assertEqual(self.cookies("/plain"), ["a=b; Path=/"])
        self.assertEqual(self.cookies("/two"), ["a=b; Path=/", "c=; Path=/"])
        self.assertEqual(self.cookies("/all"), [
            "__Host-sid=0x1F=; Path=/; Max-Age=7200; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; HttpOnly; "
            "SameSite=Strict"])
        self.assertEqual(self.cookies("/domain"), ["a=1; Path=/x; Domain=example.org; Max-Age=0; SameSite=Lax"])
        self.assertEqual(self.cookies("/pass"), ["p=1; Path=/"])  # a 404 has the fields of the route, too
        self.assertEqual(len(self.cookies("/longest")[0]), 4096 + len("=; Path=/"))

    def test_response_made_at_start_up_may_have_cookies_for_all(self):
        for _ in range(2):
            self.assertEqual(self.cookies("/shared?also=1"), ["of=all; Path=/", "also=1; Path=/", "second=2; Path=/"])

    def test_middleware_adds_to_what_there_is(self):
        self.assertEqual(self.cookies("/plain?also=1"), ["a=b; Path=/", "also=1; Path=/", "second=2; Path=/"])
        self.assertEqual(self.cookies("/two?also=1"),
                         ["a=b; Path=/", "c=; Path=/", "also=1; Path=/", "second=2; Path=/"])

    def test_mistakes_are_told_in_the_log_and_nothing_is_sent(self):
        for what, text in (
                ("name", 'the name must be a token, without spaces and separators, not "a b"'),
                ("empty", "the name must be a token"), ("name-type", "the name must be a token, .* not 1"),
                ("value", "a: the byte 0x0d is not allowed in a cookie: percent-encode"),
                ("semicolon", "byte 0x3b"), ("space", "byte 0x20"), ("quote", "byte 0x22"), ("comma", "byte 0x2c"),
                ("backslash", "byte 0x5c"), ("byte", "byte 0xc8"), ("nul", "byte 0x00"),
                ("value-type", "app.cookie: a: a string or a number expected, got table"),
                ("value-nil", "a string or a number expected, got nil"),
                ("long", "name and value together are longer than 4096 bytes"),
                ("attributes", 'a table of attributes expected, got "c"'),
                ("attribute", 'unknown attribute "httponly" .did you mean "http_only"'),
                ("path", 'app.cookie: path: a path that begins with "/", without semicolons expected'),
                ("relative", "app.cookie: path: "), ("domain", "app.cookie: domain: a host name expected"),
                ("age", 'app.cookie: max_age: a time with a unit such as "1h" expected'),
                ("expires", "app.cookie: expires: seconds since 1970 expected"), ("late", "app.cookie: expires: "),
                ("flag", 'app.cookie: secure: true or false expected, got "yes"'),
                ("site", 'app.cookie: same_site: "strict", "lax" or "none" expected, got "some"'),
                ("none", "accept such a cookie only with secure = true"),
                ("host", 'only without domain, and with path = "/"'), ("secure", "only with secure = true"),
                ("pass", "app.pass cannot hold a cookie"), ("dot", "call it as a method, with a colon"),
                ("shared", "this response was made at start-up, so all requests share it: create it in the handler")):
            with self.subTest(what):
                answer = self.ask("/wrong/" + what)
                self.assertEqual(answer.status, 500)
                self.assertNotIn("set-cookie", answer.headers)
                self.wait_for_log(f"GET /wrong/{what} .*site.lua:[0-9]+: .*{text}")


class Deferred(SiteCase):
    SCRIPT = r"""
    local said = {}
    local function say(text) said[#said + 1] = text end
    app.get("/said", function() local now = table.concat(said, " ") said = {} return now end)
    app.use(function(req, nxt)
        if req.query.through then app.defer(function() say "middleware" end) end
        return nxt()
    end)
    app.get("/order", function(req)
        for i = 1, 3 do app.defer(function() say(i .. req.path) end) end
        say "handler"
        return "x"
    end)
    app.get("/waits", function()
        app.defer(function() app.sleep(20) say "waited" end)
        app.defer(function() say "after" end)
        return "x"
    end)
    app.get("/fails", function()
        app.defer(function() error "first of two" end)
        app.defer(function() say "second" end)
        error "the handler"
    end)
    app.get("/ends", function()
        app.defer(function() while true do end end)
        app.defer(function() coroutine.yield() end)
        app.defer(function() app.sleep(1) say "waited" end)
        app.defer(function() app.sleep(1) while true do end end)
        app.defer(function() say "last" end)
        app.defer(function() coroutine.yield() end)
        return "x"
    end)
    app.get("/stream", function()
        app.defer(function() say "before" end)
        return function(out)
            app.defer(function() say "within" end)
            out:write "a"
            app.sleep(5)
            say "stream"
            out:write "b"
        end
    end)
    app.get("/broken", function()
        app.defer(function() say "broken" end)
        return function(out) out:write "a" app.sleep(1) error "halfway" end
    end)
    app.get("/lost", function()
        app.defer(function() say "lost" end)
        app.sleep "1h"
    end)
    app.get("/after-loss", function()
        pcall(app.sleep, "1h")
        app.defer(function() say "after loss" end)
    end)
    app.get("/big", { handler_cpu = "10s" }, function() app.defer(function() say "sent" end) return ("x"):rep(20000000) end)
    app.get("/nested", function()
        app.defer(function() app.defer(function() say "never" end) end)
        return "x"
    end)
    app.get("/timer", function() app.after(0, function() app.defer(print) end) return "x" end)
    app.get("/kept", function(req)
        req.own = "own"
        app.defer(function()
            say(req.method .. req.path .. req.target .. req.query.a .. req.headers.host .. req.own .. #req.peer .. #req.id)
            say((pcall(function() return req.body end)) and "body" or "none")
        end)
        return "x"
    end)
    app.get("/wrong", function() app.defer("x") end)
    app.get("/memory", { handler_cpu = "10s" }, function()
        said = {}
        collectgarbage() collectgarbage()
        return app.json.encode(app.stats().lua_memory)
    end)
    """

    def expect(self, target, said, **options):
        self.ask(target, **options)
        self.wait_for(said)

    def wait_for(self, said):
        have = [] 


        def complete():
            have.extend(self.ask("/said").text.split())
            return len(have) >= len(said.split())
        evtest.wait_until(complete, said)
        self.assertEqual(" ".join(have), said)

    def test_functions_run_in_their_order_after_the_handler(self):
        self.expect("/order", "handler 1/order 2/order 3/order")
        self.expect("/order?through=1", "handler middleware 1/order 2/order 3/order")

    def test_they_may_wait_and_the_next_one_waits_for_them(self):
        self.expect("/waits", "waited after")

    def test_errors_are_logged_and_do_not_stop_the_next(self):
        self.expect("/fails", "second")
        self.wait_for_log("route at site.lua:[0-9]+: site.lua:[0-9]+: first of two")

    def test_one_that_is_stopped_or_yields_is_the_only_one_that_is_lost(self):
        self.expect("/ends", "waited last")
        evtest.wait_until(lambda: self.log_count("route at .* coroutine.yield.. outside") == 2, "both stray yields")
        self.assertEqual(self.log_count("route at .* stopped: "), 2)

    def test_streams_run_to_their_end_first(self):
        self.expect("/stream", "stream before within")
        self.expect("/broken", "broken")

    def test_lost_answers_count_as_well(self):
        for target, said in (("/lost", "lost"), ("/after-loss", "after loss")):
            with self.subTest(target):
                client = Client(self.server)
                client.send("GET", target)
                self.ask("/said")  # the request before is at work now
                client.reset()
                self.wait_for(said)

    def test_a_client_that_does_not_read_holds_them_up(self):
        with Client(self.server, receive_buffer=4096) as client:
            client.send("GET", "/big")
            for _ in range(20):
                self.assertEqual(self.ask("/said").text, "")
            self.assertEqual(len(client.read().body), 20000000)
            self.wait_for("sent")

    def test_where_there_is_no_answer_it_is_an_error(self):
        sentence = "app.defer: there is no response to wait for here: call it in a handler or a stream"
        self.ask("/nested")
        self.wait_for_log("route at .*" + sentence)
        self.ask("/timer")
        self.wait_for_log("timer: .*" + sentence)
        self.ask("/wrong")
        self.wait_for_log("app.defer: a function expected, got string")
        with script("app.defer(print)\n") as path:
            self.assertIn(sentence, evtest.run(EVSERVE, "--listen", "127.0.0.1:0", path).stderr)

    def test_the_request_is_still_known(self):
        self.ask("/kept?a=1")
        evtest.wait_until(lambda: self.kept(), "the deferred function")

    def kept(self):
        text = self.ask("/said").text
        if text:
            self.assertRegex(text, "^GET/kept/kept[?]a=11testown[0-9]+ none$")
        return text

    def test_memory_stays(self):
        with Client(self.server) as client:
            for _ in range(300):
                client.ask("GET", "/order")
            before = client.ask("GET", "/memory").json
            for _ in range(3000):
                client.ask("GET", "/order")
            self.assertLess(client.ask("GET", "/memory").json - before, 32768)


class OwnCoroutines(SiteCase):
    """What waits does so inside coroutines that the script makes, too."""

    SCRIPT = r"""
    local unwound = "no"
    app.get("/unwound", function() return unwound end)
    app.get("/generator", function()
        local text = ""
        for i in coroutine.wrap(function() for i = 1, 3 do app.sleep(1) coroutine.yield(i) app.sleep(1) end end) do
            text = text .. i
        end
        return text
    end)
    app.get("/nested", function()
        local inner = coroutine.wrap(function() for i = 1, 3 do app.sleep(1) coroutine.yield(i) end end)
        local outer = coroutine.wrap(function() for i in inner do app.sleep(1) coroutine.yield(i * 10) end end)
        local sum = 0
        for i in outer do sum = sum + i end
        return tostring(sum)
    end)
    app.get("/values", function()
        local thread = coroutine.create(function(...)
            app.sleep(1)
            local count = select("#", ...)
            count = count * 10 + select("#", coroutine.yield())
            return count, nil, nil
        end)
        local first = select("#", coroutine.resume(thread, nil, 2, nil))
        app.log("info", first)
        local second = { n = select("#", coroutine.resume(thread, nil)) }
        return first .. " " .. second.n .. " " .. coroutine.status(thread)
    end)
    app.get("/caught", function()
        local ok, err = coroutine.wrap(function() return pcall(function() app.sleep(1) error("within", 0) end) end)()
        local thread = coroutine.create(function() app.sleep(1) error({ code = 7 }) end)
        local ok2, err2 = coroutine.resume(thread)
        local ok3, err3 = pcall(coroutine.wrap(function() app.sleep(1) error "placed" end))
        return { tostring(ok), err, tostring(ok2), err2.code, coroutine.status(thread), err3 }
    end)
    app.get("/stream", function()
        return function(out)
            local writer = coroutine.wrap(function()
                for i = 1, 3 do out:write(i, ("x"):rep(200000)) coroutine.yield() end
                return "end"
            end)
            writer() writer() writer()
            out:write(writer())
        end
    end)
    app.post("/body", function(req) return coroutine.wrap(function() return #req.body end)() .. "" end)
    app.post("/chunks", function(req)
        local reader = coroutine.wrap(function() for chunk in req:chunks() do coroutine.yield(#chunk) end end)
        local sum = 0
        for len in reader do sum = sum + len end
        return sum .. ""
    end)
    app.post("/parts", function(req)
        local reader = coroutine.wrap(function()
            for part in req:parts() do for chunk in part:chunks() do coroutine.yield(#chunk) end end
        end)
        local sum = 0
        for len in reader do sum = sum + len end
        return sum .. ""
    end)
    app.get("/gone", function()
        coroutine.wrap(function()
            unwound = "waiting"
            local ok, err = pcall(app.sleep, "1h")
            unwound = tostring(err)
            error(err, 0)
        end)()
    end)
    app.get("/sort", function()
        coroutine.wrap(function() table.sort({ 3, 1, 2 }, function(a, b) app.sleep(1) return a < b end) end)()
    end)
    app.get("/wrong", function() coroutine.wrap(7) end)
    app.get("/argument", function() coroutine.wrap(function() app.sleep("soon") end)() end)
    """

    def test_sleeping_generators(self):
        self.assertEqual(self.ask("/generator").text, "123")
        self.assertEqual(self.ask("/nested").text, "60")

    def test_values_are_handed_on_as_they_are(self):
        self.assertEqual(self.ask("/values").text, "1 4 dead")

    def test_errors_stay_inside_or_come_out(self):
        self.assertEqual(self.ask("/caught").json,
                         ["false", "within", "false", 7, "dead", "site.lua:35: placed"])

    def test_a_stream_may_be_written_from_within(self):
        with Client(self.server, receive_buffer=4096) as client:
            answer = client.ask("GET", "/stream")
        self.assertEqual(answer.text.replace("x", ""), "123end")
        self.assertEqual(len(answer.body), 600006)

    def test_bodies_may_be_taken_within(self):
        multipart = (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"p" * 50000 + b"\r\n--x--\r\n")
        for target, body, headers, text in (
                ("/body", b"b" * 50000, [], "50000"), ("/chunks", b"b" * 50000, [], "50000"),
                ("/parts", multipart, [("Content-Type", "multipart/form-data; boundary=x")], "50000")):
            with self.subTest(target), Client(self.server) as client:
                client.send("POST", target, [("Content-Length", str(len(body)))] + headers)
                for at in range(0, len(body), 10000):
                    self.ask("/unwound")  # what was sent so far is taken, and the handler waits
                    client.sock.sendall(body[at:at + 10000])
                self.assertEqual(client.read().text, text)

    def test_a_client_that_leaves_unwinds_it(self):
        client = Client(self.server)
        client.send("GET", "/gone")
        evtest.wait_until(lambda: self.ask("/unwound").text == "waiting", "the handler")
        client.reset()
        evtest.wait_until(lambda: self.ask("/unwound").text == "the client has gone", "the end of the coroutine")
        self.assertEqual(self.log_count("/gone"), 0)

    def test_what_cannot_wait_says_why(self):
        for target, text in (("/sort", "app.sleep cannot wait inside a function that C calls back"),
                             ("/wrong", "coroutine.wrap: a function expected, got 7"),
                             ("/argument", 'app.sleep: "soon" is not a whole number')):
            self.assertEqual(self.ask(target).status, 500)
            self.wait_for_log(f"GET {target} .*site.lua:[0-9]+: .*{text}")


class DebugPage(SiteCase):
    SCRIPT = r"""
    app.set { debug = true }
    local function deep(x)
        return x.field.other -- <script>alert("&")</script>
    end
    local module = require "module"
    app.get("/index", function(req) local value = deep({}) return value end)
    app.get("/module", function(req) module.fail() end)
    app.get("/text", function(req) error(req.query.text, 0) end)
    app.get("/table", function(req) error({}) end)
    app.get("/returns", function(req) return 1000 end)
    app.get("/yield", function(req) coroutine.yield() end)
    app.get("/fields", function(req) return "x", { ["x-a"] = "1", ["bad name"] = "2" } end)
    app.get("/stream", function(req) return function(out) error "before" end end)
    app.get("/begun", function(req) return function(out) out:write "x" app.sleep(1) error "after" end end)
    app.get("/known", function(req) app.error(404, "known\n") end)
    app.get("/device", function(req) loadstring("error 'x'", "@/dev/zero")() end)
    app.get("/long", function(req) loadstring(("x"):rep(400) .. "()", "@long.lua")() end)
    app.get("/loop", function(req) while true do end end)
    app.get("/memory", function() collectgarbage() collectgarbage() return app.json.encode(app.stats().lua_memory) end)
    """
    FILES = [("module.lua", "local module = {}\nfunction module.fail()\n    error 'in the module'\nend\nreturn module\n"),
             ("long.lua", "x" * 400 + "()")]

    def test_it_shows_text_source_traceback_and_request(self):
        answer = self.ask("/index?a=<b>", headers=[("X-Shown", "<i>"), ("Cookie", "sid=abc"), ("X-Api-Key", "abc"),
                                                   ("Authorization", "Basic abc")])
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        page = answer.text
        self.assertIn("<h1>site.lua:5: attempt to index field &#39;field&#39; (a nil value)</h1>", page)
        self.assertIn("<b>    5          return x.field.other -- &lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;\n</b>",
                      page)
        self.assertIn("    1  local app = require", page)
        self.assertIn("   11  ", page)
        self.assertNotIn("   12  ", page)
        self.assertIn("site.lua:8: in function &#39;handler&#39;", page)
        self.assertIn("GET /index?a=&lt;b&gt;\nHost: test\nX-Shown: &lt;i&gt;\nCookie: (not shown)\n"
                      "X-Api-Key: (not shown)\nAuthorization: (not shown)\n", page)
        self.assertNotIn("abc", page)
        self.assertNotIn("<script>", page)

    def test_the_source_may_be_a_module(self):
        page = self.ask("/module").text
        self.assertIn("module.lua:3: in the module</h1>", page)
        self.assertIn("<b>    3      error &#39;in the module&#39;\n</b>", page)

    def test_whatever_is_thrown_makes_a_page(self):
        for target, text in (("/text?text=<script>", "<h1>&lt;script&gt;</h1>"),
                             ("/table", "<h1>the error is a table: {"),
                             ("/returns", "returned the status 1000"),
                             ("/yield", "<h1>coroutine.yield() outside"),
                             ("/stream", "before</h1>"),
                             ("/loop", "stopped: more than 50 ms of processor time"),
                             ("/long", "x" * 300 + "...\n</b>")):
            with self.subTest(target):
                answer = self.ask(target)
                self.assertEqual(answer.status, 503 if target == "/loop" else 500)
                self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
                self.assertIn(text, answer.text)
                self.assertNotIn("<script>", answer.text)
        self.assertNotIn("x-a", self.ask("/fields").headers)

    def test_only_regular_files_are_read(self):
        self.assertEqual(self.ask("/device").status, 500)

    def test_json_for_who_wants_it(self):
        answer = self.ask("/index", headers=[("Accept", "application/json")])
        self.assertEqual((answer.status, answer.headers["content-type"]), (500, "application/json"))
        self.assertEqual(answer.json["error"], "site.lua:5: attempt to index field 'field' (a nil value)")
        self.assertEqual(answer.json["traceback"], ["site.lua:5: in function 'deep'", "site.lua:8: in function 'handler'"])
        for accept in ("text/html, application/json", "*/*"):
            answer = self.ask("/index", headers=[("Accept", accept)])
            self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")

    def test_head_and_an_answer_that_has_begun_and_one_that_is_meant(self):
        head = self.ask("/index", method="HEAD")
        self.assertEqual((head.status, head.headers["content-type"]), (500, "text/html; charset=utf-8"))
        self.check_cut("/begun")
        self.assertEqual(self.ask("/known").text, "known\n")

    def test_memory_stays(self):
        with Client(self.server) as client:
            def rounds(count):
                for _ in range(count):
                    client.ask("GET", "/index")
                    client.ask("GET", "/index", headers=[("Accept", "application/json")])
                return client.ask("GET", "/memory").json
            before = rounds(50)
            self.assertLess(rounds(500) - before, 32768)


class DebugAndErrorFunction(SiteCase):
    SCRIPT = r"""
    app.set { debug = true }
    app.on("error", function(req, err)
        if req.path == "/twice" then error "in the error function" end
        if req.path == "/nothing" then return end
        return 500, "mine\n"
    end)
    app.get("/once", function() error "x" end)
    app.get("/twice", function() error "the first one" end)
    app.get("/nothing", function() error "left to the page" end)
    """

    def test_the_error_function_comes_first(self):
        self.assertEqual(self.ask("/once").text, "mine\n")

    def test_when_it_returns_nothing_the_page_tells_of_the_error(self):
        self.assertIn("left to the page</h1>", self.ask("/nothing").text)

    def test_when_it_fails_the_page_tells_of_the_first_error(self):
        page = self.ask("/twice").text
        self.assertIn("the first one</h1>", page)


if __name__ == "__main__":
    side_by_side.main()
