"""Lua sites run by the real program: what handlers return, what requests offer, what goes wrong and what then happens."""

import json
import os
import re
import tempfile
import threading
import time
import unittest

import evtest
from lua_site import EVSERVE, HEAD, ROOT, Client, SiteCase, script


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
        "error-nil": ("error()", r"\(the error is a nil\)"),
        "error-table": ("error({})", r"\(the error is a table\)"),
        "error-tostring": ("error(setmetatable({}, {__tostring = function() return 'words of an object' end}))",
                           r"words of an object"),
        "error-tostring-fails": ("error(setmetatable({}, {__tostring = function() error('twice') end}))",
                                 r"\(the error is a table\)"),
        "overflow": ("local function f() f() return 1 end f()", r"stack overflow"),
        "boolean": ("return true", r"returned a boolean as the body"),
        "coroutine": ("return coroutine.create(print)", r"returned a thread as the body"),
        "status-0": ("return 42", r"the status 42: it must be a whole number from 200 to 599"),
        "status-100": ("return 101, 'x'", r"the status 101"),
        "status-half": ("return 200.5", r"the status 200\.5"),
        "status-nan": ("return 0/0", r"the status -?nan"),
        "number-body": ("return 200, 5", r"returned a number as the body"),
        "headers-string": ("return 'x', 'y'", r"returned a string where headers belong"),
        "too-many": ("return 200, 'x', {}, 4", r"returned 4 values"),
        "header-name": ("return 'x', {[1] = 'y'}", r"a number for a name"),
        "header-bad-name": ("return 'x', {['a b'] = 'y'}", r'header "a b": a name must be a token'),
        "header-value": ("return 'x', {a = true}", r'header "a": a value must be a string or a number, not boolean'),
        "header-crlf": ("return 'x', {a = 'y\\r\\nx-evil: 1'}", r'header "a": a name must be a token, and a value'),
        "header-lf": ("return 'x', {a = 'y\\nx-evil: 1'}", r'header "a"'),
        "header-nul": ("return 'x', {a = 'y\\0'}", r'header "a"'),
        "header-name-crlf": ("return 'x', {['a\\r\\nx-evil'] = '1'}", r'header "a\? x-evil'),
        "header-length": ("return 'x', {['content-length'] = 5}", r'"content-length" is the server\'s own'),
        "header-framing": ("return 'x', {['transfer-encoding'] = 'chunked'}", r'"transfer-encoding" is the server'),
        "header-date": ("return 'x', {Date = 'now'}", r'"Date" is the server'),
        "header-many": ("return 'x', {a = ('y'):rep(20000)}", r'more than 16384 bytes of header fields'),
        "redirect-crlf": ("return app.redirect('/x\\r\\nx-evil: 1')", r'header "location"'),
        "redirect-nil": ("return app.redirect()", r"app\.redirect: an address expected, not nil"),
        "redirect-status": ("return app.redirect('/x', 200)", r"must be 301, 302, 303, 307 or 308, not 200"),
        "html-nil": ("return app.html()", r"app\.html: a string expected, not nil"),
        "json-function": ("return { f = print }", r'JSON: cannot encode a function \(field "f"\)'),
        "json-holes": ("return { 1, nil, 3 }", r"JSON: cannot encode a list with holes"),
        "json-mixed": ("return { 1, a = 2 }", r"JSON: cannot encode a table that mixes"),
        "json-loop": ("local t = {}; t.t = t; return t", r"contains itself"),
        "json-nan": ("return { 0/0 }", r"JSON: cannot encode a number that is not finite \(item 1\)"),
        "global": ("some_global = 1", r'the global "some_global" is new'),
        "yield": ("coroutine.yield()", r"coroutine\.yield\(\) outside of a coroutine"),
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
        "req-set": ("req.path = '/x'", r"req\.path is the request's own"),
        "req-method": ("return req.header('x')", r"req:header: call it as a method, with a colon"),
        "two-types": ("return 'x', {['content-type'] = {'a/b', 'c/d'}}", r'header "content-type" is there twice'),
        "two-types-case": ("return 'x', {['content-type'] = 'a/b', ['Content-Type'] = 'a/b'}", r"is there twice"),
        "pass-type": ("return app.pass, {['content-type'] = 'x/y'}", r"app\.pass has the Content-Type of the file"),
        "bad-response": ("local r = app.html('x'); r.body = true; return r", r"returned a boolean as the body"),
        "bad-response-status": ("local r = app.html('x'); r.status = 'x'; return r", r"the response has a string"),
        "bad-response-headers": ("local r = app.html('x'); r.headers = 5; return r", r"where headers belong"),
        "stream-before-write": ("return function(out) error('too early') end", r"too early"),
        "stream-colon": ("return function(out) out.write('x') end", r"out:write: call it as a method"),
        "stream-table": ("return function(out) out:write({}) end", r"out:write: a string expected, not table"),
        "stream-length": ("return function(out) end, {['content-length'] = 'many'}", r"not a number of bytes"),
        "stream-length-nul": ("return function(out) end, {['content-length'] = '5\\0x'}", r"not a number of bytes"),
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
        self.assertRegex(got["id"], r"^[0-9a-f]{8}-[0-9a-f]+$")

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

    def test_place_of_the_error(self):
        self.assertEqual(self.ask("/round", "POST", body=b'{"a":1,}').text,
                         "JSON: a field name in quotes expected (byte 8)")

    def test_encoding(self):
        lines = self.ask("/encode").text[1:-1].split(",\n")
        self.assertEqual(lines, ["{}", "[]", "[1]", "null", "null", "1e+15", "0.1", "-7", "1e+300",
                                 '"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f"', '"\ufffd\u00e9\ufffd\ufffd\ufffd"', "true",
                                 "9007199254740992", '{"a":null}', "0", "0.3333333333333333"])


class Streams(SiteCase):
    SCRIPT = r"""
    local state = { closed = 0, ended = 0, cleaned = 0, asserted = 0 }
    app.get("/state", function() return state end)
    app.get("/count", function()
        return function(out)
            for i = 1, 5 do out:write(i .. "\n") app.sleep "5ms" end
        end
    end)
    app.get("/pieces", function() return function(out) out:write("a", 1, "b") out:write("") out:write() end end)
    app.get("/status", function() return 202, function(out) out:write "x" end, { ["x-a"] = "1" } end)
    app.get("/nothing", function() return function() end end)
    app.get("/length", function() return function(out) out:write("12345") end, { ["content-length"] = 5 } end)
    app.get("/short", function() return function(out) out:write("123") end, { ["content-length"] = 5 } end)
    app.get("/over", function() return function(out) out:write("123") out:write("456") end, { ["content-length"] = 5 } end)
    app.get("/early", function() return function(out) app.sleep "20ms" out:write("late") end end)
    app.get("/fail", function() return function(out) out:write("begun\n") app.sleep "1ms" error("halfway") end end)
    app.get("/fail-late", function() return function(out) app.sleep "1ms" error("late") end end)
    local block = {}
    for i = 0, 65535 do block[#block + 1] = string.char(i % 251) end
    block = table.concat(block)
    app.get("/big", function() return function(out) for i = 1, 64 do assert(out:write(block)) end end end)
    app.get("/endless-assert", function()
        return function(out)
            local ok, err = pcall(function() while true do assert(out:write(block)) end end)
            state.asserted = state.asserted + 1
            error(err, 0)
        end
    end)
    app.get("/huge-write", function() return function(out) assert(out:write(block:rep(64))) end end)
    app.get("/endless", function()
        return function(out)
            while true do
                local ok, err = out:write(block)
                if not ok then state.closed = state.closed + 1 state.why = err break end
            end
            state.ended = state.ended + 1
        end
    end)
    app.get("/endless-blind", function()
        return function(out)
            local ok, err = pcall(function() while true do out:write(block) end end)
            state.cleaned = state.cleaned + 1
            state.err = tostring(err)
            error(err, 0)
        end
    end)
    app.get("/endless-stubborn", function()
        return function(out)
            while true do pcall(out.write, out, block) app.sleep(1) end
        end
    end)
    app.get("/ticks", function()
        return function(out)
            while true do out:write("tick\n") app.sleep "10ms" end
        end
    end)
    local leaked
    app.get("/leak", function() return function(out) leaked = out end end)
    app.get("/leaked", function() return { pcall(leaked.write, leaked, "x") } end)
    app.get("/steal", function()
        return function(out) out:write("mine\n") leaked = out app.sleep "50ms" end
    end)
    """

    BLOCK = bytes(i % 251 for i in range(65536))

    def state(self):
        return self.ask("/state").json

    def wait_for_state(self, name, value):
        evtest.wait_until(lambda: self.state()[name] >= value, f"{name} to be {value}")

    def test_stream_is_chunked(self):
        answer = self.ask("/count")
        self.assertEqual(answer.text, "1\n2\n3\n4\n5\n")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertTrue(answer.whole)

    def test_http_1_0_ends_with_the_connection(self):
        answer = self.ask("/count", version="1.0")
        self.assertEqual(answer.text, "1\n2\n3\n4\n5\n")
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(answer.headers["connection"], "close")

    def test_connection_is_kept_after_a_stream(self):
        with Client(self.server) as client:
            for _ in range(3):
                client.send("GET", "/count")
                client.send("GET", "/pieces")
                self.assertEqual(client.read().text, "1\n2\n3\n4\n5\n")
                self.assertEqual(client.read().text, "a1b")

    def test_status_and_headers_come_first(self):
        answer = self.ask("/status")
        self.assertEqual((answer.status, answer.text, answer.headers["x-a"]), (202, "x", "1"))
        self.assertEqual(self.ask("/nothing").text, "")

    def test_head_of_a_stream_does_not_run_it(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("HEAD", "/endless").status, 200)
            self.assertEqual(client.ask("HEAD", "/length").headers["content-length"], "5")
            self.assertEqual(client.ask("GET", "/pieces").text, "a1b")

    def test_announced_length(self):
        answer = self.ask("/length")
        self.assertEqual((answer.text, answer.headers["content-length"]), ("12345", "5"))
        self.assertNotIn("transfer-encoding", answer.headers)
        self.check_cut("/short")
        self.wait_for_log(r"the stream ended before the 5 bytes")
        self.check_cut("/over")
        self.wait_for_log(r"out:write: more than the 5 bytes")

    def test_head_is_sent_before_the_first_wait(self):
        with Client(self.server) as client:
            client.send("GET", "/early")
            self.assertTrue(client.file.readline().startswith(b"HTTP/1.1 200"))

    def test_error_in_a_stream_cuts_the_connection(self):
        answer = self.ask("/fail")
        self.assertEqual((answer.status, answer.text, answer.whole), (200, "begun\n", False))
        self.wait_for_log(r"GET /fail .*halfway")
        self.check_cut("/fail-late")

    def test_large_stream_to_a_slow_reader_arrives_whole(self):
        for target in ("/big", "/huge-write"):
            with self.subTest(target), Client(self.server, receive_buffer=4096) as client:
                client.send("GET", target)
                time.sleep(0.1)  # the server runs into the full socket; it must not matter
                answer = client.read()
                self.assertTrue(answer.whole)
                self.assertEqual(answer.body, self.BLOCK * 64)

    def test_client_behind_does_not_grow_memory(self):
        with Client(self.server, receive_buffer=4096) as client:
            client.send("GET", "/endless")
            client.file.readline()
            before = memory_kib(self.server)
            time.sleep(0.3)
            self.assertLess(memory_kib(self.server) - before, 4096)
            client.reset()

    def test_write_tells_that_the_client_has_gone(self):
        ended = self.state()["ended"]
        for leave in (Client.close, Client.reset):
            client = Client(self.server, receive_buffer=4096)
            client.send("GET", "/endless")
            evtest.receive(client.sock, 100000)
            leave(client)
            ended += 1
            self.wait_for_state("ended", ended)
        state = self.state()
        self.assertEqual(state["why"], "closed")
        self.assertEqual(state["closed"], state["ended"])

    def test_script_that_ignores_it_is_ended(self):
        cleaned = self.state()["cleaned"]
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-blind")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.wait_for_state("cleaned", cleaned + 1)
        self.assertEqual(self.state()["err"], "the client has gone")
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_assert_on_a_closed_stream_is_not_logged(self):
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-assert")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.wait_for_state("asserted", 1)
        self.assertEqual([line for line in self.server.lines if "closed" in line], [])

    def test_script_that_catches_even_that_is_ended(self):
        client = Client(self.server, receive_buffer=4096)
        client.send("GET", "/endless-stubborn")
        evtest.receive(client.sock, 100000)
        client.reset()
        self.state()
        before = self.server.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.server.cpu_seconds() - before, 0.25)

    def test_sleeping_stream_ends_with_its_client(self):
        client = Client(self.server)
        client.send("GET", "/ticks")
        client.file.readline()
        client.reset()
        self.assertEqual(self.ask("/count").text, "1\n2\n3\n4\n5\n")

    def test_stream_object_is_useless_elsewhere(self):
        self.ask("/leak")
        ok, err = self.ask("/leaked").json
        self.assertFalse(ok)
        self.assertRegex(err, r"out:write: the stream is over")
        with Client(self.server) as client:
            client.send("GET", "/steal")
            while client.file.readline() != b"mine\n":
                pass
            ok, err = self.ask("/leaked").json
            self.assertFalse(ok)
            self.assertRegex(err, r"the stream belongs to another request")


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
            local ok, err = pcall(nxt)
            return 502, tostring(ok) .. " " .. tostring(err)
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
        self.assertRegex(answer.text, r"^false site\.lua:\d+: caught$")

    def test_next_may_be_called_twice(self):
        self.assertEqual(self.ask("/twice").text, "x")


class ErrorFunction(SiteCase):
    SCRIPT = r"""
    app.get("/boom", function(req) req.mark = "seen" error("boom") end)
    app.get("/object", function() error({ code = 418 }) end)
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


class Waiting(SiteCase):
    SCRIPT = r"""
    local state = { ticks = 0, woken = 0, unwound = 0, stubborn = 0, after = 0, slow = 0, failing = 0, cancelled = 0 }
    app.get("/state", function() return state end)
    app.get("/sleep/:ms{int}", function(req)
        local before = app.now()
        app.sleep(tonumber(req.params.ms))
        return { slept = app.now() - before }
    end)
    app.get("/sleep-pcall", function()
        local ok, value = pcall(function() app.sleep(1) return "inside" end)
        return tostring(ok) .. " " .. value
    end)
    app.get("/forever", function()
        local ok, err = pcall(app.sleep, "1h")
        state.unwound = state.unwound + 1
        state.err = tostring(err)
        error(err, 0)
    end)
    app.get("/forever-stubborn", function()
        while true do
            pcall(app.sleep, "1h")
            state.stubborn = state.stubborn + 1
        end
    end)
    app.get("/after", function()
        app.after("1ms", function() app.sleep(1) state.after = state.after + 1 end)
        return 202
    end)
    app.get("/cancel", function()
        local timer = app.after("5ms", function() state.cancelled = state.cancelled + 1 end)
        local first, second = timer:cancel(), timer:cancel()
        app.sleep "20ms"
        return { first, second }
    end)
    app.every("2ms", function() state.ticks = state.ticks + 1 end)
    app.every("2ms", function() state.slow = state.slow + 1 app.sleep "1h" end)
    app.every("20ms", function() state.failing = state.failing + 1 error("timer failed") end)
    local self
    state.self = 0
    self = app.every("1ms", function() state.self = state.self + 1 self:cancel() end)
    app.after("1ms", function() state.started = true end)
    app.get("/memory", function() collectgarbage() return { kib = collectgarbage("count"), stats = app.stats().lua_memory } end)
    """

    def state(self):
        return self.ask("/state").json

    def wait_for_state(self, name, value):
        evtest.wait_until(lambda: self.state()[name] >= value, f"{name} to be {value}")

    def test_sleep_waits(self):
        self.assertGreater(self.ask("/sleep/100").json["slept"], 0)  # it counts from the tick's time on
        self.assertEqual(self.ask("/sleep/0").status, 200)
        self.assertEqual(self.ask("/sleep-pcall").text, "true inside")

    def test_sleepers_do_not_hold_up_others(self):
        with Client(self.server) as sleeper:
            sleeper.send("GET", "/sleep/3600000")
            for _ in range(20):
                self.assertEqual(self.ask("/sleep/1").status, 200)
            sleeper.reset()

    def test_many_sleepers_at_once(self):
        clients = [Client(self.server) for _ in range(300)]
        started = time.monotonic()
        for client in clients:
            client.send("GET", "/sleep/200")
        for client in clients:
            self.assertGreaterEqual(client.read().json["slept"], 0.1)
            client.close()
        self.assertLess(time.monotonic() - started, 30)  # one after the other they take a minute

    def test_sleeper_whose_client_has_gone_is_unwound(self):
        before = self.state()["unwound"]
        clients = [Client(self.server) for _ in range(20)]
        for client in clients:
            client.send("GET", "/forever")
        self.state()
        for client in clients:
            client.reset()
        self.wait_for_state("unwound", before + 20)
        self.assertEqual(self.state()["err"], "the client has gone")
        self.assertEqual(self.log_count("the client has gone"), 0)

    def test_sleeper_that_goes_on_regardless_is_dropped(self):
        before = self.state()["stubborn"]
        client = Client(self.server)
        client.send("GET", "/forever-stubborn")
        self.state()
        client.reset()
        self.wait_for_state("stubborn", before + 1)
        self.state()
        self.assertEqual(self.state()["stubborn"], before + 1)

    def test_sleepers_leave_no_memory_behind(self):
        def round_of_sleepers():
            before = self.state()["unwound"]
            clients = [Client(self.server) for _ in range(100)]
            for client in clients:
                client.send("GET", "/forever")
            self.state()
            for client in clients:
                client.reset()
            self.wait_for_state("unwound", before + 100)
            return self.ask("/memory").json["kib"]
        round_of_sleepers()
        first = round_of_sleepers()
        for _ in range(5):
            last = round_of_sleepers()
        self.assertLess(last - first, 32)

    def test_timers(self):
        self.wait_for_state("ticks", 20)
        self.wait_for_state("failing", 3)
        self.wait_for_log(r"error timer: site\.lua:\d+: timer failed")
        self.assertEqual(self.state()["slow"], 1, "a run that sleeps lets the next ones pass")
        self.assertEqual(self.state()["self"], 1, "cancelled in its own run")
        self.assertTrue(self.state()["started"])

    def test_after_runs_once_and_outlives_its_request(self):
        before = self.state()["after"]
        self.assertEqual(self.ask("/after").status, 202)
        self.wait_for_state("after", before + 1)

    def test_cancelled_timer_does_not_run(self):
        self.assertEqual(self.ask("/cancel").json, [True, False])
        self.assertEqual(self.state()["cancelled"], 0)


class Memory(SiteCase):
    """Whatever a handler returns, ten thousand of it leave nothing behind."""

    SCRIPT = r"""
    app.static("/", "files")
    app.get("/text", function(req) return "text " .. req.id end)
    app.get("/long", function() return ("x"):rep(20000) .. tostring(math.random()) end)
    app.get("/table", function(req) return { req.id, req.headers, req.query, req.params } end)
    app.get("/status", function() return 404 end)
    app.get("/nothing", function() end)
    app.get("/stream", function(req) return function(out) out:write(req.id) out:write("x") end end)
    app.get("/html", function() return app.html("<p>") end)
    app.get("/pass.txt", function() return app.pass end)
    app.get("/error", function() error("once more") end)
    app.get("/sleep", function(req) app.sleep(0) return req.id end)
    app.get("/after", function() app.after(0, function() end) return 202 end)
    app.post("/body", function(req) return req.body end)
    app.get("/memory", function() collectgarbage() collectgarbage() return { collectgarbage("count"), app.stats().lua_memory } end)
    """
    FILES = (("files/pass.txt", "file\n"),)
    FORMS = ("/text", "/long", "/table?a=1&b=2", "/status", "/nothing", "/stream", "/html", "/pass.txt", "/error",
             "/sleep", "/after")

    def rounds(self, client, count):
        for _ in range(count):
            for target in self.FORMS:
                client.ask("GET", target)
            client.ask("POST", "/body", body=bytes(10000))
        return client.ask("GET", "/memory").json

    def test_ten_thousand_requests_leave_memory_flat(self):
        with Client(self.server) as client:
            self.rounds(client, 20)
            first = self.rounds(client, 20)
            last = self.rounds(client, 10000 // (len(self.FORMS) + 1))
        self.assertLess(last[0] - first[0], 16, "KiB that the collector knows")
        self.assertLess(last[1] - first[1], 32768, "bytes that the allocator knows")
        self.assertLess(abs(last[1] / 1024 - last[0]), 64, "both count the same")


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
                                      "bytes_received", "timeouts", "lost", "lua_memory", "uptime"})
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
        self.wait_for_log(r" info printed 5$")
        self.assertEqual(self.log_count("quiet"), 0)

    def test_readme_names_every_function(self):
        with open(os.path.join(ROOT, "lua", "README.md"), encoding="utf-8") as readme:
            text = readme.read()
        missing = [name for name in self.ask("/functions").json if name not in text]
        self.assertEqual(missing, [])


class StartAndStop(unittest.TestCase):
    def test_stop_functions_run_and_sleepers_do_not_hold_up_the_end(self):
        with script('app.on("stop", function() app.log("info", "stopping") end)\n'
                    'app.every("1ms", function() app.sleep "1h" end)\n'
                    'app.after("1h", function() end)\n'
                    'app.get("/", function() return "x" end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/").text, "x")
            self.assertEqual(server.stop(), 0)
            self.assertTrue(server.lines[-1].endswith(" info stopping"), server.lines)

    def test_request_that_sleeps_is_finished_before_the_end(self):
        with script('app.get("/", function() app.sleep "300ms" return "done" end)\n'
                    'app.get("/ok", function() return "ok" end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            with Client(server) as client, Client(server) as other:
                client.send("GET", "/")
                other.ask("GET", "/ok")
                stopper = threading.Thread(target=server.stop)
                stopper.start()
                self.assertEqual(client.read().text, "done")
                stopper.join()
            self.assertEqual(server.process.returncode, 0)

    def test_failing_stop_function_is_logged(self):
        with script('app.on("stop", function() error("no end") end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(server.stop(), 0)
            self.assertTrue(any(f"{path}:2: no end" in line for line in server.lines), server.lines)

    def test_each_stop_function_runs_whatever_becomes_of_the_others(self):
        with script('app.on("stop", function() error({}) end)\n'
                    'app.on("stop", function() while true do end end)\n'
                    'app.on("stop", function() app.log("info", "the last") end)') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(server.stop(), 0)
            log = "\n".join(server.lines)
            self.assertRegex(log, r"(?s):2: the error is a table.*:3: stopped: .* info the last$")

    def test_failing_start_function_stops_the_start(self):
        with script('app.on("start", function() error("not today") end)') as path:
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", path)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr.splitlines()[-1], f"{path}:2: not today")

    def test_several_listens(self):
        with script('app.listen "127.0.0.1:0"\napp.listen "127.0.0.1:0"\napp.get("/", function() return "x" end)') as path:
            with evtest.Program(EVSERVE, path) as server:
                evtest.wait_until(lambda: len(server.lines) >= 2, "two addresses")
                for line in server.lines[:2]:
                    server.address = evtest.parse_address(line.split()[2])
                    with Client(server) as client:
                        self.assertEqual(client.ask("GET", "/").text, "x")

    def test_settings_take_effect(self):
        with script('app.set { idle_timeout = "50ms", max_body = 10, header_timeout = 1000 }\n'
                    'app.post("/", function() return "x" end)') as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                with Client(server) as client:
                    self.assertEqual(client.ask("POST", "/", body=b"0123456789").status, 200)
                    self.assertEqual(client.file.read(), b"")  # closed when idle for too long
                with Client(server) as client:
                    self.assertEqual(client.ask("POST", "/", body=b"0123456789a").status, 413)


class ScriptMistakes(unittest.TestCase):
    """What is wrong with a script is one line on standard error, with file and line, and exit status 1."""

    # Each script runs behind HEAD, so its first line is line 2.
    CASES = (
        ('app.set { idle_timout = "30s" }',
         'SITE:2: app.set: unknown setting "idle_timout" (did you mean "idle_timeout"?)'),
        ('\n\napp.set {\n  idle_timeout = "30x" }',
         'SITE:4: app.set: idle_timeout: "30x" is not a whole number with ms, s, m or h, such as "30s"'),
        ('app.set { idle_timeout = "30" }',
         'SITE:2: app.set: idle_timeout: "30" is not a whole number with ms, s, m or h, such as "30s"'),
        ('app.cookie("a", "b", { max_age = "86400000" })',
         'SITE:2: app.cookie: max_age: "86400000" is not a whole number with ms, s, m or h, such as "30s"'),
        ('app.set { max_body = "1T" }',
         'SITE:2: app.set: max_body: "1T" is not a whole number of bytes or with K, M or G, such as "64K"'),
        ('app.set { idle_timeout = 0 }', 'SITE:2: app.set: idle_timeout: 0 is out of range (1 to 86400000 ms)'),
        ('app.set { idle_timeout = 1.5 }', 'SITE:2: app.set: idle_timeout: 1.5 is not a whole number'),
        ('app.set { idle_timeout = -1 }', 'SITE:2: app.set: idle_timeout: -1 is not a whole number'),
        ('app.set { idle_timeout = true }',
         'SITE:2: app.set: idle_timeout: a number or a text such as "30s" expected, not boolean'),
        ('app.set { write_high_mark = "1M" }',
         'SITE:2: app.set: write_high_mark (1048576 bytes) is above write_cap (262144 bytes)'),
        ('app.set { handler_cpus = "30s" }',
         'SITE:2: app.set: unknown setting "handler_cpus" (did you mean "handler_cpu"?)'),
        ('app.set { handler_cpu = 0 }', 'SITE:2: app.set: handler_cpu: 0 is out of range (1 to 3600000 ms)'),
        ('app.set { handler_cpu = true }',
         'SITE:2: app.set: handler_cpu: a number or a text such as "30s" expected, not boolean'),
        ('app.set { lua_memory = 1048575 }',
         'SITE:2: app.set: lua_memory: 1048575 is out of range (1048576 to 1099511627776 bytes)'),
        ('app.set { debug = 1 }', 'SITE:2: app.set: debug: true or false expected, not number'),
        ('app.set { debug = "true" }', 'SITE:2: app.set: debug: true or false expected, not string'),
        ('app.set { zzz = 1, bbb = 2 }', 'SITE:2: app.set: unknown setting "bbb"'),
        ('app.set { "x" }', 'SITE:2: app.set: unknown setting 1'),
        ('app.set "x"', 'SITE:2: app.set: a table of settings expected, not "x"'),
        ('app.set()', 'SITE:2: app.set: a table of settings expected, not nil'),
        ('app.listen(8080)', 'SITE:2: app.listen: an address such as "127.0.0.1:8080" expected, not number'),
        ('app.listen()', 'SITE:2: app.listen: an address such as "127.0.0.1:8080" expected, not nil'),
        ('app.listen "nowhere"',
         'SITE:2: app.listen: listen address "nowhere": expected HOST:PORT with a port from 0 to 65535, '
         'unix:PATH or fd:N'),
        ('app.static("/", "/tmp", { cash = "1h" })',
         'SITE:2: app.static: unknown option "cash" (did you mean "cache"?)'),
        ('app.static("/", "/tmp", { cache = 5 })',
         'SITE:2: app.static: cache: a time with a unit such as "1h" expected'),
        ('app.static("/", "/tmp", { cache = "1500ms" })',
         'SITE:2: app.static: cache: "1500ms" is not a whole number of seconds below 68 years'),
        ('app.static("/", "/tmp", "1h")', 'SITE:2: app.static: a table of options expected, not "1h"'),
        ('app.static()', 'SITE:2: app.static: a prefix such as "/" expected, not nil'),
        ('app.static("/")', 'SITE:2: app.static: a directory expected, not nil'),
        ('app.get("/x")', 'SITE:2: app.get: a function expected, not nil'),
        ('app.post("/x", 5)', 'SITE:2: app.post: a function expected, not 5'),
        ('app.put("/x", { max_bdy = "1M" }, function() end)',
         'SITE:2: app.put: unknown option "max_bdy" (did you mean "max_body"?)'),
        ('app.put("/x", 5, function() end)', 'SITE:2: app.put: a table of options expected before the function, not 5'),
        ('app.get(nil, function() end)', 'SITE:2: app.get: a path such as "/users/:id" expected, not nil'),
        ('app.get("x", function() end)', 'SITE:2: bad route pattern "x": it begins with \'/\''),
        ('app.get("/:a/:a", function() end)', 'SITE:2: bad route pattern "/:a/:a": two parameters are called "a"'),
        ('app.get("/x/:id", function() end)\n\napp.get("/x/:name", function() end)',
         'SITE:4: route GET /x/:name is already registered as /x/:id at SITE:2'),
        ('app.route("get", "/x", function() end)',
         'SITE:2: app.route: "get" is no method; there are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'),
        ('app.route({}, "/x", function() end)', 'SITE:2: app.route: at least one method expected'),
        ('app.route(5, "/x", function() end)', 'SITE:2: app.route: a method or a list of methods expected, not 5'),
        ('app.use "x"', 'SITE:2: app.use: a function expected, not "x"'),
        ('app.on("eror", print)', 'SITE:2: app.on: unknown event "eror" (did you mean "error"?)'),
        ('app.on("start")', 'SITE:2: app.on: a function expected, not nil'),
        ('app.on("error", print)\napp.on("error", print)',
         'SITE:3: app.on: there is an "error" function already, at SITE:2'),
        ('app.sleep "1s"',
         'SITE:2: app.sleep cannot wait while the script starts: call it in a handler, a stream or a timer'),
        ('app.every(0, print)', 'SITE:2: app.every: the interval must be at least a millisecond'),
        ('app.every("1s")', 'SITE:2: app.every: a function expected, not nil'),
        ('app.after("soon", print)',
         'SITE:2: app.after: "soon" is not a whole number with ms, s, m or h, such as "30s"'),
        ('app.after(0.5, print)',
         'SITE:2: app.after: 0.5 is not a whole number of milliseconds; write "500ms" or "2s"'),
        ('app.error(404, "not yet\\n")', 'SITE:2: 404: not yet'),
        ('error()', 'SITE:2: the error is a nil'),
        ('error(setmetatable({}, { __tostring = function() return "told" end }))', 'SITE:2: told'),
        ('error(setmetatable({}, { __tostring = error }))', 'SITE:2: the error is a table'),
        ('app.log("loud", "x")', 'SITE:2: app.log: the level must be "error", "warn", "info" or "debug"'),
        ('app.json.encode(print)', 'SITE:2: JSON: cannot encode a function'),
        ('app.json.decode()', 'SITE:2: app.json.decode: a string expected, not nil'),
        ('app.escape_html()', 'SITE:2: app.escape_html: a string expected, not nil'),
        ('app.no_such()', "SITE:2: attempt to call field 'no_such' (a nil value)"),
        ('os.exit(1)', 'SITE:2: os.exit would end the whole server; send it SIGTERM instead'),
        ('x = = 1', "SITE:2: unexpected symbol near '='"),
        ('if true then', "SITE:2: 'end' expected near '<eof>'"),
        ('local x\nx.y = 1', "SITE:3: attempt to index local 'x' (a nil value)"),
        ('error "my own"', 'SITE:2: my own'),
        ('error("bare", 0)', 'SITE:2: bare'),
        ('\nerror {}', 'SITE:3: the error is a table'),
        ('error("two\\nlines")', 'SITE:2: two lines'),
        ('require "no.such"', "SITE:2: module 'no.such' not found"),
        ('local function f() f() return 1 end f()', 'SITE:2: stack overflow'),
    )

    def check(self, path, expected, **options):
        for arguments in (["--check"], ["--listen", "127.0.0.1:0"]):
            done = evtest.run(EVSERVE, *arguments, path, **options)
            self.assertEqual(done.stderr, expected + "\n")
            self.assertEqual(done.returncode, 1)

    def test_each_is_one_line_that_names_the_place(self):
        for text, expected in self.CASES:
            with self.subTest(text), script(text) as path:
                self.check(path, expected.replace("SITE", path))

    def test_relative_path_is_told_as_given(self):
        with script("x = = 1") as path:
            folder, name = os.path.split(path)
            self.check(name, "site.lua:2: unexpected symbol near '='", cwd=folder)

    def test_long_path_is_told_in_full(self):
        with script("local x = nil + 1", name="a" * 100 + ".lua") as path:
            self.check(path, f"{path}:2: attempt to perform arithmetic on a nil value")
        with script("app.set()", name="a" * 100 + ".lua") as path:
            self.check(path, f"{path}:2: app.set: a table of settings expected, not nil")

    def test_mistake_in_a_module_names_the_module(self):
        with script('require "lib"', files=[("lib.lua", HEAD + "app.set { nope = 1 }")]) as path:
            folder = os.path.dirname(path)
            self.check(path, f'{folder}/lib.lua:2: app.set: unknown setting "nope"')

    def test_module_that_does_not_compile_is_told_with_its_place_and_that_of_require(self):
        with script('\nrequire "lib"', files=[("lib.lua", "\nx = = 1")]) as path:
            module = os.path.join(os.path.dirname(path), "lib.lua")
            self.check(path, f"{path}:3: error loading module 'lib' from file '{module}': {module}:2: "
                             "unexpected symbol near '='")

    def test_missing_file_and_directory(self):
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            self.check(folder + "/nope.lua", f"cannot open {folder}/nope.lua: No such file or directory")
            self.check(folder, f"cannot open {folder}: Is a directory")

    def test_static_directory_that_is_not_there(self):
        with script('app.static("/", "no/such/dir")') as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^{re.escape(path)}:2: app\.static: .*no/such/dir.*\n$")

    def test_bytecode_is_refused(self):
        with script("\x1bLJ", prelude=False) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("wrong mode", done.stderr)

    def test_empty_script_and_first_line_comment(self):
        for text in ("", "#!/usr/bin/env evserve\n-- nothing"):
            with self.subTest(text), script(text, prelude=False) as path:
                self.assertEqual(evtest.run(EVSERVE, "--check", path).returncode, 0)


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


def memory_kib(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


if __name__ == "__main__":
    unittest.main()
