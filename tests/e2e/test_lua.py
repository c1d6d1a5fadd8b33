"""Lua sites run by the real program: what handlers return, what requests offer, middleware, what goes wrong and what then
happens. Streams and waiting are in test_lua_waiting.py, start-up and the end in test_lua_start.py."""

import json
import os
import re
import unittest

import evtest
from lua_site import EVSERVE, ROOT, Client, SiteCase


class ReturnValues(SiteCase):
    SCRIPT = r"""
    app.get("/text", function() return "hello\n" end)
    app.get("/empty", function() return "" end)
    app.get("/bytes", function() return "\0\1\255" end)
    app.get("/long", function() return ("0123456789abcdef"):rep(65536) end)
    app.get("/table", function() return { a = 1, list = { 1, 2, 3 } } end)
    app.get("/bigtable", function()
        local t = {}
        for i = 1, 20000 do t[i] = "item " .. i end
        return t
    end)
    app.get("/nothing", function() end)
    app.get("/nil", function() return nil end)
    app.get("/nil-headers", function() return nil, { ["x-a"] = "1" } end)
    app.get("/404", function() return 404 end)
    app.get("/201", function() return 201 end)
    app.get("/503-headers", function() return 503, nil, { ["retry-after"] = 5 } end)
    app.get("/status-text", function() return 404, "nobody here\n" end)
    app.get("/status-table", function() return 409, { error = "busy" } end)
    app.get("/304", function() return 304, nil, { etag = '"x"' } end)
    app.get("/headers", function()
        return "text", { ["X-One"] = "1", ["x-number"] = 42, ["Set-Cookie"] = { "a=1", "b=2" } }
    end)
    app.get("/type", function() return "<p>", { ["Content-Type"] = "text/html" } end)
    app.get("/table-type", function() return { 1 }, { ["content-type"] = "application/problem+json" } end)
    app.get("/close", function() return "bye", { connection = "close" } end)
    app.get("/html", function() return app.html("<b>&</b>") end)
    app.get("/html-404", function() return 404, app.html("<b>no</b>"), { ["x-a"] = "1" } end)
    app.get("/redirect", function() return app.redirect("/text") end)
    app.get("/redirect-301", function() return app.redirect("https://example.org/?a=b", 301) end)
    app.get("/pass.txt", function() return app.pass end)
    app.get("/pass-headers.txt", function() return app.pass, { ["x-passed"] = "yes" } end)
    app.get("/pass-gone.txt", function() return app.pass end)
    app.get("/elsewhere/pass.txt", function() return app.pass end)
    app.get("/head", function(req) return req.method end)
    app.head("/own-head", function(req) return 204, nil, { ["x-own"] = "head" } end)
    app.get("/own-head", function() return "got" end)
    app.static("/", "files")
    """
    FILES = (("files/pass.txt", "from the file\n"), ("files/pass-headers.txt", "this too\n"))

    def check(self, target, status, body, **headers):
        answer = self.ask(target)
        self.assertEqual((answer.status, answer.body), (status, body))
        self.assertTrue(answer.whole)
        for name, value in headers.items():
            self.assertEqual(answer.headers.get(name.replace("_", "-")), value, name)
        return answer

    def test_string_is_a_text_answer(self):
        self.check("/text", 200, b"hello\n", content_type="text/plain; charset=utf-8", content_length="6")
        self.check("/empty", 200, b"", content_length="0")
        self.check("/bytes", 200, b"\0\1\xff")

    def test_long_string_arrives_whole(self):
        self.check("/long", 200, b"0123456789abcdef" * 65536, content_length=str(1 << 20))

    def test_long_strings_pipelined_arrive_in_order(self):
        with Client(self.server) as client:
            for _ in range(5):
                client.send("GET", "/long")
                client.send("GET", "/text")
            for _ in range(5):
                self.assertEqual(client.read().body, b"0123456789abcdef" * 65536)
                self.assertEqual(client.read().body, b"hello\n")

    def test_table_is_json(self):
        answer = self.ask("/table")
        self.assertEqual(answer.json, {"a": 1, "list": [1, 2, 3]})
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(self.ask("/bigtable").json, [f"item {i}" for i in range(1, 20001)])
        self.assertEqual(self.ask("/status-table").status, 409)

    def test_nothing_is_204(self):
        for target in ("/nothing", "/nil"):
            answer = self.check(target, 204, b"")
            self.assertNotIn("content-length", answer.headers)
            self.assertNotIn("content-type", answer.headers)
        self.check("/nil-headers", 204, b"", x_a="1")

    def test_number_alone_is_a_status(self):
        self.check("/404", 404, b"404 Not Found\n", content_type="text/plain; charset=utf-8")
        self.check("/201", 201, b"", content_length="0")
        self.check("/503-headers", 503, b"503 Service Unavailable\n", retry_after="5")
        self.check("/304", 304, b"", etag='"x"')

    def test_status_goes_with_a_body(self):
        self.check("/status-text", 404, b"nobody here\n")

    def test_headers_are_sent_as_given(self):
        answer = self.check("/headers", 200, b"text", x_one="1", x_number="42")
        self.assertEqual([value for name, value in answer.lines if name.lower() == "set-cookie"], ["a=1", "b=2"])

    def test_own_content_type_takes_the_place_of_the_usual_one(self):
        for target, value in (("/type", "text/html"), ("/table-type", "application/problem+json")):
            answer = self.ask(target)
            self.assertEqual([v for name, v in answer.lines if name.lower() == "content-type"], [value])

    def test_connection_close_closes(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("GET", "/close").headers["connection"], "close")
            self.assertEqual(client.file.read(), b"")

    def test_html(self):
        self.check("/html", 200, b"<b>&</b>", content_type="text/html; charset=utf-8")
        self.check("/html-404", 404, b"<b>no</b>", content_type="text/html; charset=utf-8", x_a="1")

    def test_redirect(self):
        self.check("/redirect", 302, b"302 Found\n", location="/text")
        self.check("/redirect-301", 301, b"301 Moved Permanently\n", location="https://example.org/?a=b")

    def test_pass_serves_the_file(self):
        answer = self.check("/pass.txt", 200, b"from the file\n", content_type="text/plain; charset=utf-8")
        self.assertIn("etag", answer.headers)
        self.check("/pass-headers.txt", 200, b"this too\n", x_passed="yes")
        self.assertEqual(self.ask("/pass-gone.txt").status, 404)
        self.assertEqual(self.ask("/elsewhere/pass.txt").status, 404)
        again = self.ask("/pass.txt", headers=[("If-None-Match", answer.headers["etag"])])
        self.assertEqual(again.status, 304)

    def test_head_has_the_head_of_get(self):
        with Client(self.server) as client:
            for target in ("/text", "/table", "/long", "/pass.txt", "/404"):
                get = client.ask("GET", target)
                head = client.ask("HEAD", target)
                self.assertEqual(head.status, get.status)
                self.assertEqual(head.headers.get("content-length"), get.headers.get("content-length"), target)
            self.assertEqual(client.ask("HEAD", "/own-head").headers["x-own"], "head")
            self.assertEqual(client.ask("GET", "/own-head").body, b"got")

    def test_http_1_0(self):
        self.assertEqual(self.ask("/text", version="1.0").body, b"hello\n")

    def test_head_sees_its_method(self):
        self.assertEqual(self.ask("/head", method="HEAD").headers["content-length"], "4")


class Mistakes(SiteCase):
    """Handlers that fail: a 500 for the client, the reason in the log, and the next request is served."""

    CASES = {
        "runtime": ("local t = nil; return t.x", r"attempt to index local 't'"),
        "error": ("error('my own words')", r"my own words"),
        "error-nil": ("error()", r"the error is a nil$"),
        "error-table": ("error({})", r"the error is a table: \{\}$"),
        "error-code": ("error({code = 1})", r"the error is a table: \{code = 1\}$"),
        "error-fields": ("error({'a', true, n = {}, ['b c'] = 0.5})",
                         r"the error is a table: \{\[1\] = \"a\", \[2\] = true, (?=.*n = table)(?=.*\[\"b c\"\] = 0\.5)"),
        "error-many-fields": ("local t = {} for i = 1, 9 do t[i] = i end error(t)",
                              r"the error is a table: \{\[1\] = 1, .*\[8\] = 8\.\.\.\}$"),
        "error-long-field": ("error({('x'):rep(1e6)})", r"the error is a table: \{\[1\] = \"x{192}\.\.\.\}$"),
        "error-index": ("error(setmetatable({}, {__index = function() return 1 end, __pairs = error}))",
                        r"the error is a table: \{\}$"),
        "tail-called": ("return string.rep()", r"site\.lua:\d+: bad argument #1 to '"),
        "tail-called-error": ("return error('last words')", r"site\.lua:\d+: last words$"),
        "error-escaped": ("error('a\\nb\\27[2J\\194\\155\\226\\128\\168\\226\\128\\174\\155 \\195\\164')",
                          r"site\.lua:\d+: a\\nb\\x1b\[2J\\u009b\\u2028\\u202e\\x9b ä$"),
        "error-tostring": ("error(setmetatable({}, {__tostring = function() return 'words of an object' end}))",
                           r"words of an object"),
        "error-tostring-fails": ("error(setmetatable({}, {__tostring = function() error('twice') end}))",
                                 r"the error is a table: \{\}$"),
        "overflow": ("local function f() f() return 1 end f()", r"stack overflow"),
        "boolean": ("return true", r"returned a boolean as the body"),
        "coroutine": ("return coroutine.create(print)", r"returned a thread as the body"),
        "status-0": ("return 42", r"the status 42: it must be a whole number from 200 to 599"),
        "status-100": ("return 101, 'x'", r"the status 101"),
        "status-half": ("return 200.5", r"the status 200\.5"),
        "status-nan": ("return 0/0", r"the status -?nan"),
        "number-body": ("return 200, 5", r"returned a number as the body"),
        "headers-string": ("return 'x', 'y'", r"headers must be a table of names and values; the handler returned a string"),
        "a-failure": ("return nil, 'timeout'", r'the handler returned nil and "timeout": respond to a failure with a status'),
        "a-failure-of-a-kind": ("return app.fetch '/x'", r'the handler returned nil and "the URL .* does not begin with http'),
        "too-many": ("return 200, 'x', {}, 4", r"returned 4 values"),
        "header-name": ("return 'x', {[1] = 'y'}", r"header names must be strings, not number"),
        "header-bad-name": ("return 'x', {['a b'] = 'y'}", r'header "a b": the name must be a token'),
        "header-value": ("return 'x', {a = true}", r'header "a": a value must be a string or a number, not boolean'),
        "header-crlf": ("return 'x', {a = 'y\\r\\nx-evil: 1'}", r'header "a": the name must be a token, and the value'),
        "header-lf": ("return 'x', {a = 'y\\nx-evil: 1'}", r'header "a"'),
        "header-nul": ("return 'x', {a = 'y\\0'}", r'header "a"'),
        "header-name-crlf": ("return 'x', {['a\\r\\nx-evil'] = '1'}", r'header "a\\x0d\\nx-evil'),
        "header-length": ("return 'x', {['content-length'] = 5}", r'"content-length" is set by the server'),
        "header-framing": ("return 'x', {['transfer-encoding'] = 'chunked'}", r'"transfer-encoding" is set by the server'),
        "header-date": ("return 'x', {Date = 'now'}", r'"Date" is set by the server'),
        "header-many": ("return 'x', {a = ('y'):rep(20000)}", r'header fields are longer than 16384 bytes in total'),
        "redirect-crlf": ("return app.redirect('/x\\r\\nx-evil: 1')", r'app\.redirect: the address .* contains a control character'),
        "redirect-nil": ("return app.redirect()", r"app\.redirect: an address expected, got nil"),
        "redirect-status": ("return app.redirect('/x', 200)", r"must be 301, 302, 303, 307 or 308, not 200"),
        "html-nil": ("return app.html()", r"app\.html: a string expected, got nil"),
        "json-function": ("return { f = print }", r'JSON: cannot encode a function \(field "f"\)'),
        "json-holes": ("return { 1, nil, 3 }", r"JSON: cannot encode a list with holes: item 2 is nil"),
        "json-mixed": ("return { 1, a = 2 }", r"JSON: cannot encode a table that mixes"),
        "json-loop": ("local t = {}; t.t = t; return t", r"contains itself"),
        "json-nan": ("return { 0/0 }", r"JSON: cannot encode a number that is not finite \(item 1\)"),
        "global": ("some_global = 1", r'the global "some_global" is new'),
        "yield": ("coroutine.yield()", r"coroutine\.yield\(\) outside a coroutine"),
        "sleep-nothing": ("app.sleep()", r"app\.sleep: a duration"),
        "sleep-fraction": ("app.sleep(0.5)", r"0\.5 is not a whole number of milliseconds"),
        "sleep-in-gsub": ("('x'):gsub('x', function() app.sleep('1ms') end)",
                          r"app\.sleep cannot wait inside a function that C calls back"),
        "write-in-gsub": ("return function(out) ('x'):gsub('x', function() out:write('x') end) end",
                          r"out:write cannot wait inside a function that C calls back"),
        "exit": ("os.exit(3)", r"os\.exit would end the whole server"),
        "get-late": ("app.get('/late', print)", r"app\.get works only while the script starts"),
        "set-late": ("app.set { max_body = 1 }", r"app\.set works only while the script starts"),
        "static-late": ("app.static('/late', '.')", r"app\.static works only while the script starts"),
        "listen-late": ("app.listen ':0'", r"app\.listen works only while the script starts"),
        "use-late": ("app.use(print)", r"app\.use works only while the script starts"),
        "on-late": ("app.on('stop', print)", r"app\.on works only while the script starts"),
        "req-set": ("req.path = '/x'", r"req\.path is read-only"),
        "chunks-alone": ("local next_piece = req:chunks() return next_piece()", r"req:chunks: what it returns is for a loop"),
        "req-method": ("return req.header('x')", r"req:header: call it as a method, with a colon"),
        "two-types": ("return 'x', {['content-type'] = {'a/b', 'c/d'}}", r'header "content-type" is set twice'),
        "two-types-case": ("return 'x', {['content-type'] = 'a/b', ['Content-Type'] = 'a/b'}", r"is set twice"),
        "two-tags": ("return 'x', {etag = {'\"a\"', '\"b\"'}}", r'header "etag" is set twice'),
        "two-servers": ("return 'x', {server = 'a', Server = 'b'}", r'header "[sS]erver" is set twice'),
        "pass-type": ("return app.pass, {['content-type'] = 'x/y'}", r"app\.pass always sends the Content-Type of the file"),
        "bad-response": ("local r = app.html('x'); r.body = true; return r", r"returned a boolean as the body"),
        "bad-response-status": ("local r = app.html('x'); r.status = 'x'; return r", r"the response's status must be a number, not string"),
        "bad-response-headers": ("local r = app.html('x'); r.headers = 5; return r", r"headers must be a table"),
        "stream-before-write": ("return function(out) error('too early') end", r"too early"),
        "stream-colon": ("return function(out) out.write('x') end", r"out:write: call it as a method"),
        "stream-table": ("return function(out) out:write({}) end", r"out:write: a string expected, got table"),
        "stream-length": ("return function(out) end, {['content-length'] = 'many'}", r"must be a number of bytes"),
        "stream-length-nul": ("return function(out) end, {['content-length'] = '5\\0x'}", r"must be a number of bytes"),
    }
    SCRIPT = 'app.get("/ok", function() return "fine" end)\n' + "".join(
        f'app.get("/{name}", function(req) {body} end)\n' for name, (body, _) in CASES.items())

    def test_each_is_a_500_and_the_log_says_why_and_where(self):
        with Client(self.server) as client:
            for number, (name, (_, pattern)) in enumerate(self.CASES.items()):
                with self.subTest(name):
                    answer = client.ask("GET", "/" + name)
                    self.assertEqual((answer.status, answer.text), (500, "500 Internal Server Error\n"))
                    self.assertFalse([line for line in answer.lines if "evil" in line[0]], answer.lines)
                    place = re.escape(f"site.lua:{number + 3}")
                    self.wait_for_log(rf" error GET /{name} \(route at {place}\): .*{pattern}")
                    self.assertEqual(client.ask("GET", "/ok").text, "fine")

    def test_traceback_names_the_line(self):
        self.ask("/runtime")
        self.wait_for_log(r"^stack traceback:$")
        self.wait_for_log(r"^\tsite\.lua:3: in function")

    def test_query_strings_are_not_logged(self):
        self.ask("/error?token=s3cret")
        self.wait_for_log(r" error GET /error\?\.\.\. \(route at site\.lua:\d+\): site\.lua:\d+: my own words$")
        self.assertEqual(self.log_count("s3cret"), 0)

    def test_details_stay_with_the_server(self):
        self.assertNotIn("my own words", self.ask("/error").text)


class Requests(SiteCase):
    SCRIPT = r"""
    local function all(req)
        return {
            method = req.method, path = req.path, target = req.target, params = req.params, query = req.query,
            headers = req.headers, body = req.body, peer = req.peer, id = req.id,
        }
    end
    app.route({ "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }, "/all", all)
    app.get("/params/:first/:second{int}/*rest", all)
    app.get("/headers", function(req)
        return { req.headers["X-One"], req.headers["x-one"], req:header("x-OnE"), tostring(req:header("x-two")),
                 tostring(req.headers["x-two"]), req.headers.cookie or "none" }
    end)
    app.get("/query", function(req)
        return { first = req.query.a or app.json.null, all = req:query_all("a"), none = req:query_all("nope") }
    end)
    app.get("/same", function(req)
        return { req.headers == req.headers, req.params == req.params, req.query == req.query }
    end)
    app.get("/own", function(req)
        req.user = "ann"
        req.body_length = 5
        local before = req.nothing
        req.nothing = { 1 }
        return { req.user, req.body_length, tostring(before), #req.nothing }
    end)
    local kept
    app.get("/keep", function(req)
        local _ = req.headers
        kept = req
        return "kept"
    end)
    app.get("/kept", function()
        local ok, err = pcall(function() return kept.path end)
        local ok2, err2 = pcall(function() return kept:header("host") end)
        return { cached = kept.headers.host, ok = ok, err = err, ok2 = ok2, err2 = err2, text = tostring(kept) }
    end)
    app.post("/length", function(req) return tostring(#req.body) end)
    app.get("/body-of-get", function(req) return { length = #req.body } end)
    app.set { max_body = "100K" }
    """

    def test_host_is_the_authority_of_a_target_in_absolute_form(self):
        self.assertEqual(self.ask("http://other:81/all").json["headers"]["host"], "other:81")
        self.assertEqual(self.ask("/all").json["headers"]["host"], "test")

    def test_fields_of_a_plain_request(self):
        got = self.ask("/all?x=1").json
        self.assertEqual(got["method"], "GET")
        self.assertEqual(got["path"], "/all")
        self.assertEqual(got["target"], "/all?x=1")
        self.assertEqual(got["params"], {})
        self.assertEqual(got["query"], {"x": "1"})
        self.assertEqual(got["headers"], {"host": "test"})
        self.assertEqual(got["body"], "")
        self.assertRegex(got["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertRegex(got["id"], r"^[0-9a-f]{32}$")

    def test_ids_differ(self):
        with Client(self.server) as client:
            ids = {client.ask("GET", "/all").json["id"] for _ in range(20)}
        self.assertEqual(len(ids), 20)

    def test_every_method_reaches_its_route(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            self.assertEqual(self.ask("/all", method=method).json["method"], method)
        self.assertEqual(self.ask("/headers", method="POST").status, 405)
        self.assertEqual(self.ask("/headers", method="POST").headers["allow"], "GET, HEAD, OPTIONS")

    def test_params_are_decoded(self):
        got = self.ask("/params/a%20b/42/x/y%21").json
        self.assertEqual(got["params"], {"first": "a b", "second": "42", "rest": "x/y!"})
        self.assertEqual(got["path"], "/params/a b/42/x/y!")
        self.assertEqual(got["target"], "/params/a%20b/42/x/y%21")

    def test_headers_in_any_case_and_joined(self):
        got = self.ask("/headers", headers=[("X-One", "1"), ("x-ONE", "2"), ("Cookie", "a=1"), ("cookie", "b=2")])
        self.assertEqual(got.json, ["1, 2", "1, 2", "1, 2", "nil", "nil", "a=1; b=2"])

    def test_query_is_decoded_and_repeated_names_are_reachable(self):
        self.assertEqual(self.ask("/query?a=1&b=x&a=2+3&%61=%34").json,
                         {"first": "1", "all": ["1", "2 3", "4"], "none": []})
        self.assertEqual(self.ask("/query").json, {"first": None, "all": [], "none": []})
        self.assertEqual(self.ask("/query?a").json, {"first": "", "all": [""], "none": []})

    def test_tables_are_made_once(self):
        self.assertEqual(self.ask("/same").json, [True, True, True])

    def test_scripts_may_keep_things_with_the_request(self):
        self.assertEqual(self.ask("/own").json, ["ann", 5, "nil", 1])

    def test_request_kept_too_long_says_so(self):
        with Client(self.server) as client:
            client.ask("GET", "/keep")
            got = client.ask("GET", "/kept").json
        self.assertEqual(got["cached"], "test")
        self.assertEqual((got["ok"], got["ok2"]), (False, False))
        self.assertRegex(got["err"], r"^site\.lua:\d+: req\.path: the request is over")
        self.assertRegex(got["err2"], r"^site\.lua:\d+: req:header: the request is over")
        self.assertEqual(got["text"], "request (over)")

    def test_bodies(self):
        with Client(self.server) as client:
            for length in (0, 1, 5000, 100 * 1024):
                self.assertEqual(client.ask("POST", "/length", body=bytes(length)).text, str(length))
            text = "Grüße".encode()
            self.assertEqual(client.ask("POST", "/all", body=text).json["body"], "Grüße")
        self.assertEqual(self.ask("/length", method="POST", body=bytes(100 * 1024 + 1)).status, 413)

    def test_chunked_body(self):
        with Client(self.server) as client:
            client.sock.sendall(b"POST /all HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                                b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
            self.assertEqual(client.read().json["body"], "abcdefg")

    def test_get_may_have_a_body(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("GET", "/body-of-get", body=b"12345").json, {"length": 5})
            self.assertEqual(client.ask("GET", "/body-of-get").json, {"length": 0})


class Json(SiteCase):
    SCRIPT = r"""
    local json = app.json
    app.post("/round", function(req)
        local value, err = json.decode(req.body)
        if err then return 400, err end
        return json.encode(value)
    end)
    app.get("/encode", function()
        return "[" .. table.concat({
            json.encode({}), json.encode(json.array()), json.encode(json.array { 1 }), json.encode(json.null),
            json.encode(nil), json.encode(1e15), json.encode(0.1), json.encode(-7), json.encode(1e300),
            json.encode("\"\\/\b\f\n\r\t\1\127"), json.encode("\xff\xc3\xa9\xed\xa0\x80"), json.encode(true),
            json.encode(9007199254740993), json.encode({ a = json.null }), json.encode(-0.0), json.encode(1/3),
        }, ",\n") .. "]"
    end)
    app.post("/sorted", function(req)
        return json.encode(json.decode(req.body), { sort = true, indent = tonumber(req.query.indent) })
    end)
    app.post("/int64", function(req)
        local value, err = json.decode(req.body, { int64 = req.query.as })
        if err then return 400, err end
        local types = {}
        for i, item in ipairs(value) do types[i] = type(item) .. " " .. tostring(item) end
        return json.encode(value) .. "\n" .. table.concat(types, "\n")
    end)
    app.get("/kinds", function()
        local value = json.decode '{"list":[],"record":{},"full":[1]}'
        return { json.is_array(value.list), json.is_array(value.record), json.is_array(value.full), json.is_array(1),
                 json.is_array {}, json.is_array { 1 }, json.object { "a", "b", [0.5] = "c", d = "e" } }
    end)
    app.post("/refused", function(req)
        local ok, err = pcall(assert(loadstring(req.body)), app)
        return tostring(ok) .. " " .. tostring(err)
    end)
    """

    GOOD = ['null', 'true', 'false', '0', '-1', '1.5', '1e3', '-2.5E-3', '123456789012345', '""', '"a"', '[]', '{}',
            '[[],{}]', '{"a":[1,2,{"b":null}]}', '"\\u00e9\\ud83d\\ude00\\n\\/"', '"Grüße €😀"',
            ' [ 1 , 2 ] ', '[' * 128 + ']' * 128, '[true,false,null]', '"\\u0000"']
    BAD = ['', ' ', 'nul', 'nulll', 'True', '01', '-', '+1', '1.', '.5', '1e', '1e+', '0x10', 'NaN', 'Infinity', '1e999', '1e9999999', '-1e+9999999',
           '"', '"\\x"', '"\\u12"', '"\\ud800"', '"\\ud800\\u0041"', '"\\udc00"', '"a\nb"', '"\t"', '[', '[1', '[1,',
           '[1,]', '[,1]', '[1 2]', '{', '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{a:1}', '{1:1}', "'a'",
           '[' * 129 + ']' * 129, '1 2', '[]]', '\ufeff1', '/**/1', '"\0"', '\0', '[1\0]', b'"\xff"', b'"\xc0\x80"',
           b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\xc3', '--1', '-a', '"\\', '"\\u', 'tru', '{"a":1 "b":2}']

    def test_round_trips(self):
        with Client(self.server) as client:
            for text in self.GOOD:
                with self.subTest(text):
                    answer = client.ask("POST", "/round", body=text.encode())
                    self.assertEqual(answer.status, 200, answer.text)
                    self.assertEqual(answer.json, json.loads(text))

    def test_numbers_survive(self):
        with Client(self.server) as client:
            for number in (0.1, 1 / 3, 2 ** 53, 2 ** 53 - 1, 1e22, 5e-324, 1.7976931348623157e308, -123.456, 1e15 - 1,
                           12345678901234567890.0):
                self.assertEqual(client.ask("POST", "/round", body=json.dumps(number).encode()).json, number)

    def test_exponents_of_many_digits(self):
        for text in ("0e9999999", "-0.0e9999999", "1e-9999999", "-123.45E-9999999"):
            self.assertEqual(self.ask("/round", "POST", body=text.encode()).text, "0")

    def test_what_is_no_json_is_refused_with_its_place(self):
        with Client(self.server) as client:
            for text in self.BAD:
                with self.subTest(text):
                    answer = client.ask("POST", "/round", body=text if isinstance(text, bytes) else text.encode())
                    self.assertEqual(answer.status, 400, answer.text)
                    self.assertRegex(answer.text, r"^JSON: .* \(byte \d+\)$")

    def test_names_come_in_order_and_on_lines_of_their_own(self):
        text = '{"b":[1,{"z":[],"y":{}}],"a":{"é":1,"e":2,"":3,"ab":4,"a":5}}'
        want = json.loads(text)
        for indent in ("", "?indent=0", "?indent=2", "?indent=8"):
            got = self.ask("/sorted" + indent, "POST", body=text.encode()).text
            lines = int(indent[-1]) if indent else 0
            self.assertEqual(got, json.dumps(want, sort_keys=True, ensure_ascii=False, indent=lines or None,
                                             separators=(",", ": " if lines else ":")))

    def test_integers_of_64_bits(self):
        text = ("[1,-2,9007199254740991,9007199254740993,-9007199254740993,9223372036854775807,-9223372036854775808,"
                "9223372036854775808,18446744073709551615,18446744073709551616,-9223372036854775809,1e3,1.5]")
        written, *types = self.ask("/int64?as=cdata", "POST", body=text.encode()).text.split("\n")
        self.assertEqual(written, text.replace("18446744073709551616", "1.8446744073709552e+19")
                         .replace("-9223372036854775809", "-9.223372036854776e+18").replace("1e3", "1000"))
        self.assertEqual(types[2:5], ["number 9.007199254741e+15", "cdata 9007199254740993LL", "cdata -9007199254740993LL"])
        self.assertEqual(types[7:10], ["cdata 9223372036854775808ULL", "cdata 18446744073709551615ULL",
                                       "number 1.844674407371e+19"])
        written, *types = self.ask("/int64?as=text", "POST", body=text.encode()).text.split("\n")
        self.assertEqual(types[9], "string 18446744073709551616")
        self.assertEqual(types[2], "number 9.007199254741e+15")
        written = self.ask("/int64", "POST", body=text.encode()).text.split("\n")[0]
        self.assertEqual(json.loads(written), [float(number) for number in json.loads(text)])

    def test_lists_and_objects_are_told_apart(self):
        self.assertEqual(self.ask("/kinds").json, [True, False, True, False, False, True,
                                                   {"1": "a", "2": "b", "0.5": "c", "d": "e"}])

    def test_what_options_and_values_are_refused(self):
        for code, want in (
                ("json.encode({}, { sorted = true })", "app.json.encode: unknown option sorted: there are sort, indent"),
                ("json.encode({}, { sort = 1 })", "app.json.encode: sort is true or false, not a number"),
                ("json.encode({}, { indent = 9 })", "app.json.encode: indent is a number of spaces, 0 to 8"),
                ("json.encode({}, { indent = 1.5 })", "app.json.encode: indent is a number of spaces, 0 to 8"),
                ("json.encode({}, 2)", "app.json.encode: a table of options expected, got number"),
                ("json.encode({}, {}, {})", "app.json.encode: one value expected"),
                ("json.decode('1', { int64 = 'double' })", 'app.json.decode: int64 is "cdata" or "text"'),
                ("json.decode('1', { x = 1 })", "app.json.decode: unknown option x: there is only int64"),
                ("json.encode({ [7] = 1 })", "JSON: cannot encode a table with number keys that is not a list; use "
                                             "app.json.object"),
                ("json.encode({ [7] = 1 }, { sort = true })", "JSON: cannot encode a table with number keys that is not"),
                ("json.encode { a = require('ffi').new('int[2]') }", 'JSON: cannot encode a cdata (field "a")'),
                ("json.encode { 1i }", "JSON: cannot encode a cdata (item 1)"),
                ("local ffi = require 'ffi' local old = ffi.istype function ffi.istype() error 'called' end "
                 "local ok, err = pcall(app.json.encode, 1LL) ffi.istype = old error(err, 0)", "JSON: cannot encode a cdata")):
            with self.subTest(code):
                code = "app." + code if code.startswith("json") else code
                answer = self.ask("/refused", "POST", body=("local app = ... " + code).encode())
                self.assertIn(want, answer.text)
                self.assertRegex(answer.text, "^false ")

    def test_place_of_the_error(self):
        self.assertEqual(self.ask("/round", "POST", body=b'{"a":1,}').text,
                         "JSON: a field name in quotes expected (byte 8)")

    def test_encoding(self):
        lines = self.ask("/encode").text[1:-1].split(",\n")
        self.assertEqual(lines, ["{}", "[]", "[1]", "null", "null", "1000000000000000", "0.1", "-7", "1e+300",
                                 '"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f"', '"\ufffd\u00e9\ufffd\ufffd\ufffd"', "true",
                                 "9007199254740992", '{"a":null}', "0", "0.3333333333333333"])


class Middleware(SiteCase):
    SCRIPT = r"""
    app.static("/files", "files")
    app.get("/text", function() return "text" end)
    app.get("/table", function() return { a = 1 } end)
    app.get("/nothing", function() end)
    app.get("/stream", function() return 201, function(out) out:write("streamed ") app.sleep(1) out:write("on") end end)
    app.get("/headers", function() return "x", { ["X-Mixed"] = "1", ["X-TRACE"] = "handler" } end)
    app.get("/files/a.txt", function() return app.pass end)
    app.get("/redirect", function() return app.redirect "/text" end)
    app.get("/refused", function() return "never" end)
    app.get("/replaced", function() return "never" end)
    app.get("/forgotten", function() return "x" end)
    app.get("/user", function(req) return "hello " .. req.user end)
    app.get("/boom", function() error("boom") end)
    app.get("/caught", function() error("caught") end)
    app.get("/twice", function() return "x" end)
    app.get("/slow", function() app.sleep "5ms" return "slow" end)
    app.use(function(req, nxt)
        local res = nxt(req)
        res.headers["X-Trace"] = (res.headers["x-trace"] or "") .. "outer"
        res.headers["x-status"] = tostring(res.status)
        return res
    end)
    app.use(function(req, nxt)
        if req.path == "/refused" then return 403, "no", { ["x-why"] = "refused" } end
        if req.path == "/forgotten" then nxt() return end
        if req.path == "/twice" then nxt() end
        if req.path == "/user" then req.user = "ann" end
        if req.path == "/slow" then app.sleep "5ms" end
        if req.path == "/caught" then
            local res = nxt()
            return 502, res.status .. " " .. res.error
        end
        local res = nxt()
        if req.path == "/replaced" then
            res.status = 202
            res.body = "changed from " .. res.body
        end
        res.headers["x-trace"] = (res.headers["x-trace"] or "") .. "inner "
        return res
    end)
    """
    FILES = (("files/a.txt", "file a\n"), ("files/b.txt", "file b\n"))

    def test_order_is_that_of_use_and_headers_meet_in_any_case(self):
        self.assertEqual(self.ask("/text").headers["x-trace"], "inner outer")
        answer = self.ask("/headers")
        self.assertEqual(answer.headers["x-mixed"], "1")
        self.assertEqual([v for n, v in answer.lines if n.lower() == "x-trace"], ["handlerinner outer"])

    def test_every_kind_of_answer_goes_through(self):
        self.assertEqual(self.ask("/text").text, "text")
        self.assertEqual(self.ask("/table").json, {"a": 1})
        self.assertEqual(self.ask("/nothing").status, 204)
        answer = self.ask("/stream")
        self.assertEqual((answer.status, answer.text), (201, "streamed on"))
        answer = self.ask("/redirect")
        self.assertEqual((answer.status, answer.headers["location"]), (302, "/text"))
        self.assertEqual(self.ask("/slow").text, "slow")
        for target in ("/text", "/table", "/nothing", "/stream", "/redirect", "/slow"):
            answer = self.ask(target)
            self.assertEqual(answer.headers["x-status"], str(answer.status), target)

    def test_pass_goes_through_and_is_the_same_next_time(self):
        for _ in range(2):
            answer = self.ask("/files/a.txt")
            self.assertEqual((answer.status, answer.text, answer.headers["x-trace"]), (200, "file a\n", "inner outer"))

    def test_static_files_do_not_go_through(self):
        answer = self.ask("/files/b.txt")
        self.assertEqual(answer.text, "file b\n")
        self.assertNotIn("x-trace", answer.headers)

    def test_middleware_may_answer_itself(self):
        answer = self.ask("/refused")
        self.assertEqual((answer.status, answer.text, answer.headers["x-why"]), (403, "no", "refused"))
        self.assertEqual(answer.headers["x-trace"], "outer")

    def test_middleware_may_change_status_and_body(self):
        answer = self.ask("/replaced")
        self.assertEqual((answer.status, answer.text), (202, "changed from never"))

    def test_forgotten_return_is_an_error_that_names_the_middleware(self):
        self.assertEqual(self.ask("/forgotten").status, 500)
        self.wait_for_log(r"site\.lua:25: the middleware returned nothing")

    def test_fields_set_on_the_request_reach_the_handler(self):
        self.assertEqual(self.ask("/user").text, "hello ann")

    def test_errors_pass_through_middleware(self):
        self.assertEqual(self.ask("/boom").status, 500)
        answer = self.ask("/caught")
        self.assertEqual(answer.status, 502)
        self.assertRegex(answer.text, r"^500 site\.lua:\d+: caught$")
        self.wait_for_log(r"GET /caught \(route at site\.lua:\d+\): site\.lua:\d+: caught")

    def test_next_may_be_called_twice(self):
        self.assertEqual(self.ask("/twice").text, "x")


class ErrorFunction(SiteCase):
    SCRIPT = r"""
    app.get("/boom", function(req) req.mark = "seen" error("boom") end)
    app.get("/object", function() error({ code = 418 }) end)
    app.get("/tail", function() return error("the last call") end)
    local around = app.group("/around")
    around.use(function(req, nxt) return nxt().error end)
    around.get("/it", function() return error("inside") end)
    app.get("/fields", function() return "x", { ["x-a"] = "1", ["bad name"] = "2" } end)
    app.get("/early", function() return function() error("early") end, { ["x-a"] = "1" } end)
    app.get("/twice", function() error("first") end)
    app.get("/stream", function() error("stream") end)
    app.get("/slow", function() app.sleep(2) error("slow") end)
    app.get("/late", function() return function(out) out:write("x") app.sleep(1) error("late") end end)
    app.get("/unanswered", function() error("unanswered") end)
    local plain = {
        ["/text"] = "sorry", ["/json"] = { sorry = true }, ["/html"] = app.html("sorry"),
        ["/writes"] = function(out) out:write("sorry") end, ["/redirect"] = app.redirect("/sorry"),
    }
    for path in pairs(plain) do app.get(path, function() error(path) end) end
    app.on("error", function(req, err)
        if req.path == "/twice" then error("second") end
        if req.path == "/stream" then return 500, function(out) out:write("stre") app.sleep(1) out:write("amed") end end
        if req.path == "/slow" then app.sleep(2) end
        if req.path == "/unanswered" then return end
        if plain[req.path] then return plain[req.path] end
        if type(err) == "table" then return err.code, "an object\n" end
        return 500, "sorry " .. tostring(req.mark) .. ": " .. err, { ["x-error"] = "yes" }
    end)
    """

    def test_it_makes_the_answer_and_sees_the_same_request(self):
        answer = self.ask("/boom")
        self.assertEqual(answer.status, 500)
        self.assertRegex(answer.text, r"^sorry seen: site\.lua:3: boom$")
        self.assertEqual(answer.headers["x-error"], "yes")
        self.wait_for_log(r"GET /boom \(route at site\.lua:3\): site\.lua:3: boom")

    def test_the_place_is_never_one_of_the_server(self):
        self.assertRegex(self.ask("/tail").text, r": site\.lua:\d+: the last call$")
        self.assertRegex(self.ask("/around/it").text, r"^site\.lua:\d+: inside$")

    def test_it_gets_the_value_of_error(self):
        self.assertEqual(self.ask("/object").status, 418)

    def test_fields_of_the_failed_answer_are_gone(self):
        for target in ("/fields", "/early"):
            answer = self.ask(target)
            self.assertEqual(answer.headers["x-error"], "yes")
            self.assertNotIn("x-a", answer.headers)

    def test_when_it_returns_nothing_the_answer_is_plain(self):
        answer = self.ask("/unanswered")
        self.assertEqual((answer.status, answer.text), (500, "500 Internal Server Error\n"))

    def test_a_status_that_it_does_not_give_is_500(self):
        for target in ("/text", "/html", "/writes", "/json"):
            answer = self.ask(target)
            self.assertEqual((answer.status, "sorry" in answer.text), (500, True), target)
        self.assertEqual(self.ask("/redirect").status, 302)

    def test_when_it_fails_itself_the_answer_is_plain(self):
        self.assertEqual(self.ask("/twice").text, "500 Internal Server Error\n")
        self.wait_for_log("first")
        self.wait_for_log("second")

    def test_it_may_stream_and_wait(self):
        self.assertEqual(self.ask("/stream").text, "streamed")
        self.assertRegex(self.ask("/slow").text, "slow")

    def test_an_answer_that_has_begun_is_cut(self):
        self.check_cut("/late")


class App(SiteCase):
    """The functions of app that are not about one request."""

    SCRIPT = r"""
    local lib = require "lib"
    local sub = require "sub.part"
    app.on("start", function() app.log("info", "started", 1, nil, true, lib.name) end)
    app.on("start", function() app.log("warn", "evil\nline\27[2J \1") end)
    app.on("stop", function() app.log("info", "stopping") end)
    counter = 0
    app.get("/stats", function() return app.stats() end)
    app.get("/version", function() return app.version end)
    app.get("/libs", function() return { lib.name, sub.name } end)
    app.get("/escape", function() return app.escape_html("<a href=\"x\">'&'</a>") .. app.escape_html(5) end)
    app.get("/globals", function() counter = counter + 1 return { counter = counter, missing = tostring(missing) } end)
    app.get("/log", function(req)
        app.log("debug", "quiet")
        app.log("error", "said", setmetatable({}, { __tostring = function() return "an object" end }), req.query.x)
        print("printed", 5)
        return { pcall(app.log, "loud", "x") }
    end)
    app.get("/functions", function(req)
        local names = {}
        local function collect(prefix, t)
            for name, value in pairs(t) do
                names[#names + 1] = prefix .. name
                if type(value) == "table" and value ~= app.pass then collect(prefix .. name .. ".", value) end
            end
        end
        collect("app.", app)
        return names
    end)
    """
    FILES = (("lib.lua", 'return { name = "lib" }'), ("sub/part.lua", 'return { name = "part" }'))

    def test_stats(self):
        self.ask("/version")
        stats = self.ask("/stats").json
        self.assertEqual(set(stats), {"accepted", "connections", "requests", "by_class", "bytes_sent",
                                      "bytes_received", "limited", "timeouts", "lost", "stalls", "lua_memory", "uptime", "total",
                                      "workers"})
        self.assertGreaterEqual(stats["requests"], 1)
        self.assertGreaterEqual(stats["by_class"]["2xx"], 1)
        self.assertGreater(stats["bytes_sent"], 100)
        self.assertGreater(stats["lua_memory"], 10000)
        self.assertGreaterEqual(stats["uptime"], 0)

    def test_version(self):
        self.assertEqual("evserve " + self.ask("/version").text, evtest.run(EVSERVE, "--version").stdout.strip())

    def test_require_finds_modules_next_to_the_script(self):
        self.assertEqual(self.ask("/libs").json, ["lib", "part"])

    def test_escape_html(self):
        self.assertEqual(self.ask("/escape").text, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;5")

    def test_globals_of_the_start_can_be_changed(self):
        first = self.ask("/globals").json
        self.assertEqual(self.ask("/globals").json, {"counter": first["counter"] + 1, "missing": "nil"})

    def test_log(self):
        self.wait_for_log(r" info started 1 nil true lib$")
        self.wait_for_log(r" warn evil\\nline\\x1b\[2J \\x01$")
        ok, err = self.ask("/log?x=a%0Aforged").json
        self.assertFalse(ok)
        self.assertRegex(err, r'app\.log: the level must be "error", "warn", "info" or "debug"')
        self.wait_for_log(r" error said an object a\\nforged$")
        self.ask("/log?x=%C2%85%E2%80%A8%E2%80%AE%9B%C3%A4")
        self.wait_for_log(r" error said an object \\u0085\\u2028\\u202e\\x9bä$")
        self.wait_for_log(r" info printed 5$")
        self.assertEqual(self.log_count("quiet"), 0)

    def test_readme_names_every_function(self):
        with open(os.path.join(ROOT, "lua", "README.md"), encoding="utf-8") as readme:
            text = readme.read()
        missing = [name for name in self.ask("/functions").json if name not in text]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()
