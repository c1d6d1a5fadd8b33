"""Request bodies in Lua: whole, in chunks, as JSON, as forms, part by part; slow ones, large ones, broken ones; cookies."""

import gzip
import os
import select
import socket
import time
import unittest

import evtest
from lua_site import Client, SiteCase

FORM = "application/x-www-form-urlencoded"


def multipart(*parts, boundary="XYZ"):
    """The content of a multipart form: (fields of the head, content) each."""
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
                    for head, content in parts)
    return body + b"--" + boundary.encode() + b"--\r\n"


def field(name, content):
    return f'Content-Disposition: form-data; name="{name}"', content


def file(name, filename, content, content_type="application/octet-stream"):
    return (f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}',
            content)


MULTIPART = ("Content-Type", "multipart/form-data; boundary=XYZ")


class Bodies(SiteCase):
    SCRIPT = r"""
    app.set { max_body = "100K" }
    local large = { max_body = "1G" }
    app.route({ "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }, "/length", function(req)
        return #req.body .. " " .. type(req.body)
    end)
    app.post("/echo", large, function(req) return req.body end)
    app.post("/unread", function(req) return "not needed\n" end)
    app.post("/caught", function(req)
        local ok, err = pcall(function() return req.body end)
        if ok then return "fine\n" end
        return 200, { status = err.status, text = tostring(err) }
    end)
    app.post("/chunks", large, function(req)
        local count, total, longest = 0, 0, 0
        for chunk in req:chunks() do
            count, total, longest = count + 1, total + #chunk, math.max(longest, #chunk)
        end
        return { count = count, total = total, longest = longest, after = tostring(req:chunks()(req)) }
    end)
    app.post("/join", function(req)
        local all = {}
        for chunk in req:chunks() do all[#all + 1] = chunk end
        return table.concat(all)
    end)
    app.post("/slow-reader", large, function(req)
        local total, next_chunk, state = 0, req:chunks()
        total = #next_chunk(state)
        app.log("info", "took the first")
        app.sleep "300ms"
        for chunk in next_chunk, state do total = total + #chunk end
        return tostring(total)
    end)
    app.post("/first-chunk", function(req)
        for chunk in req:chunks() do return chunk end
        return "none"
    end)
    app.post("/body-then-chunks", large, function(req)
        local length, pieces = #req.body, {}
        for chunk in req:chunks() do pieces[#pieces + 1] = #chunk end
        return { length = length, pieces = pieces }
    end)
    app.post("/chunks-then-body", function(req) req:chunks() return req.body end)
    app.post("/parts-then-chunks", function(req) req:parts() req:chunks() end)
    app.post("/chunks-then-parts", function(req) req:chunks() req:parts() end)
    app.post("/parts-twice", function(req) req:parts() req:parts() end)
    app.post("/dot", function(req) return req.chunks() end)
    local function middle(req) return req.body end
    app.post("/own-coroutine", function(req) return coroutine.wrap(middle)(req) end)
    local kept
    app.post("/keep", function(req) kept = req return "kept" end)
    app.get("/kept", function() return kept.body end)
    local stolen
    app.post("/hold", function(req) stolen = req app.sleep "50ms" return #req.body .. "" end)
    app.get("/steal", function() return stolen.body end)
    app.post("/duplex", large, function(req)
        return 200, function(out)
            for chunk in req:chunks() do out:write(chunk) end
        end
    end)
    app.post("/json", function(req) return { got = req:json() } end)
    app.post("/as-sent", { decode = false }, function(req) return #req.body .. " " .. req.headers["content-encoding"] end)
    app.post("/form", function(req) return req:form().a .. tostring(req.headers["content-encoding"]) end)
    app.post("/part", function(req) for part in req:parts() do return part:text() end end)
    app.post("/late", large, function(req) app.sleep "1ms" return #req.body .. "" end)
    app.post("/json-caught", function(req)
        local ok, err = pcall(req.json, req)
        return { status = ok or err.status, body = ok or err.body }
    end)
    """

    def send_chunked(self, client, target, *chunks, end=True):
        client.sock.sendall(f"POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for chunk in chunks:
            client.sock.sendall(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
        if end:
            client.sock.sendall(b"0\r\n\r\n")

    # Whole bodies.

    def test_body_is_there_for_every_method(self):
        with Client(self.server) as client:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                self.assertEqual(client.ask(method, "/length", body=b"12345").text, "5 string")
                self.assertEqual(client.ask(method, "/length").text, "0 string")
            self.assertEqual(client.ask("HEAD", "/length", body=b"12345").headers["content-length"], "8")

    def test_body_that_comes_slowly_is_waited_for(self):
        with Client(self.server) as client, Client(self.server) as other:
            client.sock.sendall(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nab")
            self.assertEqual(other.ask("POST", "/echo", body=b"quick").text, "quick")
            client.sock.sendall(b"cd")
            self.assertEqual(other.ask("POST", "/echo", body=b"quick").text, "quick")
            client.sock.sendall(b"ef")
            self.assertEqual(client.read().text, "abcdef")
            self.assertEqual(client.ask("POST", "/echo", body=b"again").text, "again")

    def test_large_bodies_arrive_whole(self):
        body = evtest.pattern(3 << 20)
        with Client(self.server) as client:
            for _ in range(2):
                with evtest.sending(client.sock, b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
                                    % len(body) + body):
                    self.assertEqual(client.read().body, body)

    def test_chunked_bodies(self):
        with Client(self.server) as client:
            self.send_chunked(client, "/echo", b"abc", b"defg", b"h" * 5000)
            self.assertEqual(client.read().text, "abcdefg" + "h" * 5000)
            self.send_chunked(client, "/echo")
            self.assertEqual(client.read().text, "")
            self.send_chunked(client, "/echo", b"abc", end=False)
            client.sock.sendall(b"0\r\nX: y\r\n\r\n")
            self.assertEqual(client.read().text, "abc")

    def test_pipelined_requests_behind_bodies(self):
        with Client(self.server) as client:
            one = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\none"
            two = b"POST /chunks HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
            client.sock.sendall((one + two) * 100)
            for _ in range(100):
                self.assertEqual(client.read().text, "one")
                self.assertEqual(client.read().json["total"], 3)

    def test_http_1_0(self):
        self.assertEqual(self.ask("/echo", "POST", body=b"abc", version="1.0").text, "abc")

    def test_unread_body_does_not_stand_in_the_way(self):
        with Client(self.server) as client:
            for _ in range(3):
                self.assertEqual(client.ask("POST", "/unread", body=bytes(100 * 1024)).status, 200)

    # Limits and faults.

    def test_too_large_is_413(self):
        self.assertEqual(self.ask("/length", "POST", body=bytes(100 * 1024)).text, "102400 string")
        self.assertEqual(self.ask("/length", "POST", body=bytes(100 * 1024 + 1)).status, 413)
        for target in ("/length", "/join"):
            with Client(self.server) as client:
                with evtest.sending(client.sock, f"POST {target} HTTP/1.1\r\nHost: test\r\n".encode() +
                                    b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + bytes(4096) + b"\r\n") * 26):
                    answer = client.read()
            self.assertEqual((answer.status, answer.text),
                             (413, "the request body is longer than 102400 bytes\n"))
            self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(self.log_count("longer than"), 0)

    def test_it_can_be_caught(self):
        with Client(self.server) as client:
            with evtest.sending(client.sock, b"POST /caught HTTP/1.1\r\nHost: test\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + bytes(4096) + b"\r\n") * 26):
                self.assertEqual(client.read().json,
                                 {"status": 413, "text": "413: the request body is longer than 102400 bytes"})

    def test_broken_chunks_are_400(self):
        for target in ("/echo", "/chunks"):
            with Client(self.server) as client:
                client.sock.sendall(f"POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                                    + b"3\r\nabc\r\nzz\r\n")
                answer = client.read()
                self.assertEqual((answer.status, answer.text), (400, "request body: chunk without a size\n"))
                self.assertRaises(EOFError, client.read)

    # Bodies with a Content-Encoding.

    def ask_coded(self, target, body, coding="gzip", *headers):
        return self.ask(target, "POST", [("Content-Encoding", coding), *headers], body)

    def can_decode(self, coding):
        return coding in self.ask_coded("/echo", b"", "none").headers.get("accept-encoding", "")

    def test_compressed_bodies_are_decoded_however_they_are_read(self):
        if not self.can_decode("gzip"):
            self.skipTest("zlib is not installed (Debian: zlib1g)")
        hello = gzip.compress(b"hello" * 1000)
        for target in ("/echo", "/join", "/duplex"):
            self.assertEqual(self.ask_coded(target, hello).body, b"hello" * 1000)
        self.assertEqual(self.ask_coded("/json", gzip.compress(b'{"a":1}'), "gzip",
                                        ("Content-Type", "application/json")).json, {"got": {"a": 1}})
        self.assertEqual(self.ask_coded("/form", gzip.compress(b"a=b"), "gzip", ("Content-Type", FORM)).text, "bnil")
        form = multipart(file("f", "a.bin", bytes(range(256))))
        self.assertEqual(self.ask_coded("/part", gzip.compress(form), "gzip", MULTIPART).body, bytes(range(256)))
        self.assertEqual(self.ask_coded("/as-sent", hello).text, f"{len(hello)} gzip")
        self.assertEqual(self.ask_coded("/as-sent", hello, "what").text, f"{len(hello)} what")
        with Client(self.server) as client:
            for _ in range(2):
                client.sock.sendall(b"POST /chunks HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n"
                                    b"Content-Length: %d\r\n\r\n" % len(hello) + hello)
                self.assertEqual(client.read().json["total"], 5000)
        long = gzip.compress(bytes(20 << 20), 1)
        self.assertEqual(self.ask_coded("/late", long).text, str(20 << 20))
        self.assertEqual(self.ask_coded("/chunks", long).json["longest"], 16384)

    def test_codings_of_other_libraries(self):
        hello = {"br": b"\x8f\x09\x80hello, hello, hello\n\x03",
                 "zstd": bytes.fromhex("28b52ffd04587500004068656c6c6f2c200a0100e28a1121699d87")}
        for coding, body in hello.items():
            with self.subTest(coding):
                if not self.can_decode(coding):
                    self.skipTest(f"no library for {coding} is installed")
                self.assertEqual(self.ask_coded("/echo", body, coding).text, "hello, hello, hello\n")
                self.assertEqual(self.ask_coded("/join", body[:-1], coding).status, 400)

    def test_compressed_bodies_that_are_refused(self):
        if not self.can_decode("gzip"):
            self.skipTest("zlib is not installed (Debian: zlib1g)")
        for target in ("/length", "/join"):
            self.assertEqual(self.ask_coded(target, gzip.compress(bytes(100 * 1024))).status, 200)
            self.assertEqual(self.ask_coded(target, gzip.compress(bytes(100 * 1024 + 1))).status, 413)
            broken = self.ask_coded(target, b"hello")
            self.assertEqual((broken.status, broken.headers["connection"]), (400, "close"))
            other = self.ask_coded(target, b"hello", "compress")
            self.assertEqual((other.status, other.headers["accept-encoding"].split(", ")[0]), (415, "gzip"))

    def test_100_continue_comes_when_the_body_is_asked_for(self):
        head = b" HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        with Client(self.server) as client:
            client.sock.sendall(b"POST /echo" + head)
            self.assertEqual(client.read("HEAD").status, 100)
            client.sock.sendall(b"abc")
            self.assertEqual(client.read().text, "abc")
            client.sock.sendall(b"POST /unread" + head)
            answer = client.read()
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
        with Client(self.server) as client:
            client.sock.sendall(b"POST /length HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n"
                                b"Content-Length: 200000\r\n\r\n")
            self.assertEqual(client.read().status, 413)

    # Who may wait.

    def test_body_that_is_there_may_be_taken_anywhere(self):
        self.assertEqual(self.ask("/own-coroutine", "POST", body=b"abc").text, "abc")

    def test_body_that_is_not_there_is_waited_for_by_its_handler_alone(self):
        with Client(self.server) as client:
            client.sock.sendall(b"POST /own-coroutine HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\na")
            self.ask("/own-coroutine", "POST", body=b"abc")
            client.sock.sendall(b"bc")
            self.assertEqual(client.read().text, "abc")
        with Client(self.server) as client, Client(self.server) as thief:
            client.sock.sendall(b"POST /hold HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\na")
            self.assertEqual(thief.ask("GET", "/steal").status, 500)
            client.sock.sendall(b"bc")
            self.assertEqual(client.read().text, "3")
        self.wait_for_log(r"req\.body: only the handler of the request can wait for its body")

    def test_request_that_is_over_has_no_body_to_take(self):
        self.ask("/keep", "POST", body=b"abc")
        self.assertEqual(self.ask("/kept").status, 500)
        self.wait_for_log(r"req\.body: the request is over")

    # Chunks.

    def test_chunks(self):
        body = evtest.pattern(1 << 20)
        with Client(self.server) as client:
            with evtest.sending(client.sock, b"POST /chunks HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
                                % len(body) + body):
                got = client.read().json
            self.assertEqual((got["total"], got["after"]), (len(body), "nil"))
            self.assertLessEqual(got["longest"], 65536)
            self.assertGreaterEqual(got["count"], 16)
            self.assertEqual(client.ask("POST", "/chunks", body=b"").json["count"], 0)
            self.assertEqual(client.ask("POST", "/join", body=body[:100000]).body, body[:100000])
            self.send_chunked(client, "/join", *(body[i:i + 7] for i in range(0, 7000, 7)))
            self.assertEqual(client.read().body, body[:7000])

    def test_chunks_of_a_body_that_was_taken(self):
        got = self.ask("/body-then-chunks", "POST", body=bytes(150000)).json
        self.assertEqual(got, {"length": 150000, "pieces": [65536, 65536, 18928]})
        self.assertEqual(self.ask("/body-then-chunks", "POST", body=b"").json, {"length": 0, "pieces": {}})

    def test_one_way_of_taking_it_excludes_the_others(self):
        for target, text in (("/chunks-then-body", r"req\.body: req:chunks\(\) has already begun to read the body"),
                             ("/parts-then-chunks", r"req:chunks: req:parts\(\) has already begun to read the body"),
                             ("/chunks-then-parts", r"req:parts: req:chunks\(\) has already begun to read the body"),
                             ("/parts-twice", r"req:parts: req:parts\(\) has already begun to read the body"),
                             ("/dot", r"req:chunks: call it as a method, with a colon")):
            self.assertEqual(self.ask(target, "POST", headers=[MULTIPART], body=multipart()).status, 500)
            self.wait_for_log(text)

    def test_answer_before_the_last_chunk(self):
        with Client(self.server) as client:
            client.sock.sendall(b"POST /first-chunk HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
            self.assertEqual(client.read().text, "abc")
            client.sock.sendall(b"def")
            self.assertEqual(client.ask("POST", "/echo", body=b"next").text, "next")

    def test_client_that_sends_faster_than_the_handler_takes_is_held_up(self):
        length = 256 << 20
        with Client(self.server, send_buffer=65536) as client:
            sock = client.sock
            sock.sendall(b"POST /slow-reader HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % length)
            sock.setblocking(False)
            block, sent, stalls = bytes(1 << 20), 0, 0
            deadline = time.monotonic() + evtest.LIMIT
            while sent < length:
                self.assertLess(time.monotonic(), deadline)
                if not select.select([], [sock], [], 0.1)[1]:
                    stalls += 1
                    if stalls == 1:  # the handler sleeps: what it has not asked for stays outside of the server
                        self.assertLess(sent, length // 4)
                    continue
                sent += sock.send(block[:length - sent])
            sock.settimeout(evtest.LIMIT)
            self.assertEqual(client.read().text, str(length))
            self.assertGreaterEqual(stalls, 1)

    def test_duplex_stream(self):
        body = evtest.pattern(2 << 20)
        with Client(self.server) as client:
            with evtest.sending(client.sock, b"POST /duplex HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
                                % len(body) + body):
                answer = client.read()
            self.assertTrue(answer.whole)
            self.assertEqual(answer.body, body)
            self.assertEqual(client.ask("POST", "/echo", body=b"next").text, "next")

    # JSON.

    def test_json(self):
        types = ("application/json", "application/json; charset=utf-8", "Application/Problem+JSON")
        for content_type in types:
            answer = self.ask("/json", "POST", headers=[("Content-Type", content_type)], body=b'{"a":[1,null]}')
            self.assertEqual(answer.json, {"got": {"a": [1, None]}})
        answer = self.ask("/json", "POST", headers=[("Content-Type", types[0])], body=b"null")
        self.assertEqual(answer.text, '{"got":null}')

    def test_what_is_no_json_is_400_with_the_place(self):
        head = [("Content-Type", "application/json")]
        answer = self.ask("/json", "POST", headers=head, body=b'{"a":1,}')
        self.assertEqual(answer.status, 400)
        self.assertRegex(answer.text, r"^the request body is not valid JSON: [^:]* \(byte 8\)\n$")
        self.assertEqual(self.ask("/json", "POST", headers=head, body=b"").status, 400)
        self.assertEqual(self.ask("/json-caught", "POST", headers=head, body=b"x").json["status"], 400)
        self.assertEqual(self.log_count("no JSON"), 0)

    def test_other_types_are_415(self):
        for head in ([], [("Content-Type", "text/plain")], [("Content-Type", "application/jsonx")]):
            answer = self.ask("/json", "POST", headers=head, body=b"{}")
            self.assertEqual((answer.status, answer.text), (415, "the request body must be application/json\n"))
        self.assertEqual(self.ask("/json-caught", "POST", body=b"{}").json["status"], 415)


class Forms(SiteCase):
    SCRIPT = r"""
    app.post("/form", { max_body = "100M" }, function(req)
        return { form = req:form(), all = req:form_all("a"), none = req:form_all("nobody") }
    end)
    app.post("/nested", function(req) return req:form_nested() end)
    app.get("/nested", function(req) return req:query_nested() end)
    app.post("/after-body", function(req) return { length = #req.body, form = req:form() } end)
    local function describe(part, content)
        return { name = part.name, filename = part.filename, type = part.type, content = content,
                 header = part.headers["X-Extra"] }
    end
    app.post("/parts", function(req)
        local list = app.json.array()
        for part in req:parts() do list[#list + 1] = describe(part, part:text()) end
        return list
    end)
    app.post("/names", function(req)
        local names = app.json.array()
        for part in req:parts() do names[#names + 1] = part.name end
        return names
    end)
    app.post("/passed-over", function(req)
        local first
        for part in req:parts() do
            if first then return first:text() end
            first = part
        end
    end)
    app.post("/text-twice", function(req)
        local list = app.json.array()
        for part in req:parts() do
            local text, count = part:text(), 0
            for _ in part:chunks() do count = count + 1 end
            list[#list + 1] = { text, part:text(), count }
        end
        return list
    end)
    app.post("/upload", { max_body = "1G" }, function(req)
        local total, longest, peak, sum = 0, 0, 0, 0
        for part in req:parts() do
            for chunk in part:chunks() do
                total, longest = total + #chunk, math.max(longest, #chunk)
                sum = (sum + chunk:byte(1) + chunk:byte(-1)) % 1000003
                peak = math.max(peak, app.stats().lua_memory)
            end
        end
        return { total = total, longest = longest, peak = peak }
    end)
    """

    def post(self, target, body, content_type=MULTIPART[1]):
        return self.ask(target, "POST", headers=[("Content-Type", content_type)], body=body)

    def test_urlencoded(self):
        got = self.post("/form", b"a=1&b=x+y%26z&a=2&empty=&lonely&%41=%c3%a9", FORM).json
        self.assertEqual(got["form"], {"a": "1", "b": "x y&z", "empty": "", "lonely": "", "A": "é"})
        self.assertEqual((got["all"], got["none"]), (["1", "2"], []))
        self.assertEqual(self.post("/form", b"", FORM + "; charset=utf-8").json["all"], [])

    def test_multipart(self):
        body = multipart(field("a", b"1"), field("b", b"x y&z"), field("a", b"2"),
                         file("photo", "p.png", bytes(range(1, 100)), "image/png"))
        got = self.post("/form", body).json
        self.assertEqual(got["form"]["photo"], bytes(range(1, 100)).decode())
        self.assertEqual((got["form"]["a"], got["form"]["b"], got["all"]), ("1", "x y&z", ["1", "2"]))

    def test_nested_names(self):
        for text, want in (
                ("", {}), ("a=1&b=2&a=3", {"a": "1", "b": "2"}), ("a[b]=1&a[c][d]=2&a[b]=3", {"a": {"b": "1", "c": {"d": "2"}}}),
                ("a[]=1&a[]=2&b[c][]=3", {"a": ["1", "2"], "b": {"c": ["3"]}}),
                ("a%5Bb%5D=1+2", {"a": {"b": "1 2"}}), ("a[0]=x&a[1]=y", {"a": {"0": "x", "1": "y"}}),
                ("l[][id]=7&l[][n]=2&l[][id]=8", {"l": [{"id": "7", "n": "2"}, {"id": "8"}]}),
                ("l[][a][x]=1&l[][a][y]=2&l[][a][x]=3", {"l": [{"a": {"x": "1", "y": "2"}}, {"a": {"x": "3"}}]}),
                ("l[][t][]=1&l[][t][]=2", {"l": [{"t": ["1", "2"]}]}), ("a[][]=1&a[][]=2", {"a": [["1"], ["2"]]}),
                ("[]=1&[a]=2&a]=3&a[=4&a[b]c=5&a[[b]]=6&=7",
                 {"[]": "1", "[a]": "2", "a]": "3", "a[": "4", "a[b]c": "5", "a[[b]]": "6", "": "7"}),
                ("a" + "[x]" * 16 + "=1", None)):
            with self.subTest(text):
                got = self.post("/nested", text.encode(), FORM)
                self.assertEqual(got.status, 200, got.text)
                self.assertEqual(got.text, self.ask("/nested?" + text).text)
                if want is not None:
                    self.assertEqual(got.json, want)
        self.assertEqual(self.post("/nested", multipart(field("a[b]", b"1"), field("a[c][]", b"2"))).json,
                         {"a": {"b": "1", "c": ["2"]}})
        for text, reason in (
                ("a=1&a[b]=2", 'has "a[b]", which does not fit a name before it'),
                ("a[b]=1&a=2", 'has "a", which does not fit a name before it'),
                ("a[]=1&a[b]=2", 'has "a[b]", which does not fit a name before it'),
                ("a[b]=1&a[]=2", 'has "a[]", which does not fit a name before it'),
                ("a[b][c]=1&a[b]=2", 'has "a[b]", which does not fit a name before it'),
                ("a" + "[x]" * 17 + "=1", "has a name of more than 16 levels")):
            with self.subTest(text):
                for kind, got in (("form", self.post("/nested", text.encode(), FORM)), ("query", self.ask("/nested?" + text))):
                    self.assertEqual((got.status, got.text), (400, f"the {kind} {reason}\n"))
        text = "&".join(f"a[]={i}" for i in range(1001))
        self.assertEqual(self.post("/nested", text.encode(), FORM).status, 413)
        answer = self.ask("/nested?" + text)
        self.assertEqual((answer.status, answer.text), (400, "the query has more than 1000 names\n"))
        self.assertEqual(len(self.ask("/nested?" + text.rpartition("&")[0]).json["a"]), 1000)

    def test_form_of_a_body_that_was_taken(self):
        body = multipart(field("a", b"1"), field("b", b"2"))
        for _ in range(2):
            self.assertEqual(self.post("/after-body", body).json, {"length": len(body), "form": {"a": "1", "b": "2"}})
        self.assertEqual(self.post("/after-body", b"a=1", FORM).json, {"length": 3, "form": {"a": "1"}})

    def test_parts(self):
        body = multipart(field("a", b"one"), file("f", "a b.txt", b"\r\n--XY two", "text/plain"),
                         ('content-disposition: form-data; name="x"\r\nx-extra: more', b""))
        self.assertEqual(self.post("/parts", body).json, [
            {"name": "a", "content": "one"},
            {"name": "f", "filename": "a b.txt", "type": "text/plain", "content": "\r\n--XY two"},
            {"name": "x", "content": "", "header": "more"}])
        self.assertEqual(self.post("/parts", multipart()).json, [])

    def test_a_part_with_an_extended_file_name_is_a_file(self):
        part = ("Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''caf%C3%A9%20%E2%82%AC.txt", b"x")
        self.assertEqual(self.post("/parts", multipart(part)).json,
                         [{"name": "f", "filename": "caf\u00e9 \u20ac.txt", "content": "x"}])
        part = ("Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''%zz", b"x")
        answer = self.post("/parts", multipart(part))
        self.assertEqual((answer.status, answer.text), (400, "multipart body: malformed filename* of a part\n"))

    def test_boundaries_of_unusual_characters(self):
        for boundary in ("a$b", '"a;b"', '"a\\"; boundary=b"'):
            text = boundary.strip('"').replace("\\", "").encode()
            body = b"--" + text + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--' + text + b"--\r\n"
            with self.subTest(boundary):
                answer = self.ask("/parts", "POST", [("Content-Type", "multipart/form-data; boundary=" + boundary)], body)
                self.assertEqual(answer.json, [{"name": "a", "content": "x"}])

    def test_parts_in_every_split(self):
        body = multipart(field("a", b"one\r\n--X\r\ntwo"), file("f", "x", b"\r\n\r"))
        head = b"POST /parts HTTP/1.1\r\nHost: test\r\nContent-Type: " + MULTIPART[1].encode()
        with Client(self.server) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for cut in range(1, len(body)):
                client.sock.sendall(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % cut + body[:cut])
                client.sock.sendall(b"\r\n%x\r\n" % (len(body) - cut) + body[cut:] + b"\r\n0\r\n\r\n")
                self.assertEqual([part["content"] for part in client.read().json], ["one\r\n--X\r\ntwo", "\r\n\r"])

    def test_what_is_not_read_of_a_part_is_passed_over(self):
        body = multipart(file("a", "a", bytes(300000)), field("b", b"2"), file("c", "c", b"x"))
        self.assertEqual(self.post("/names", body).json, ["a", "b", "c"])
        self.assertEqual(self.post("/passed-over", body).status, 500)
        self.wait_for_log(r"part:chunks: the part has been skipped")
        self.assertEqual(self.post("/text-twice", multipart(field("a", b"x"))).json, [["x", "x", 0]])

    def test_mistakes_of_the_client(self):
        good = multipart(field("a", b"1"))
        for body, content_type, status, text in (
                (good, "text/plain", 415, "the request body must be application/x-www-form-urlencoded or "
                                          "multipart/form-data\n"),
                (good, "multipart/form-data", 400, "the Content-Type has no boundary, or an invalid one\n"),
                (good[:-4], MULTIPART[1], 400, "multipart body: the body ends before its last boundary\n"),
                (b"", MULTIPART[1], 400, "multipart body: the body ends before its last boundary\n"),
                (b"--XYZ\r\n\r\nx\r\n--XYZ--", MULTIPART[1], 400, "multipart body: a part without a name\n"),
                (multipart(("X: " + "x" * 5000, b"")), MULTIPART[1], 413,
                 "multipart body: header fields of a part too long\n"),
                (b"a&" * 1001, FORM, 413, "the form has more than 1000 fields\n"),
                (multipart(*[field("a", b"")] * 1001), MULTIPART[1], 413, "multipart body: too many parts\n")):
            answer = self.post("/form", body, content_type)
            self.assertEqual((answer.status, answer.text), (status, text))
        self.assertEqual(self.post("/parts", b"a=b", FORM).text, "the request body must be multipart/form-data\n")
        self.assertEqual(self.log_count("multipart|boundary"), 0)
        self.assertEqual(len(self.post("/form", b"a&" * 1000, FORM).json["all"]), 1000)

    def test_file_of_20_megabytes_streams_through_without_staying(self):
        content = os.urandom(1 << 20) * 20
        body = multipart(field("title", b"large"), file("file", "large.bin", content))
        head = (f"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Type: {MULTIPART[1]}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        with Client(self.server) as client:
            with evtest.sending(client.sock, head + body):
                got = client.read().json
        self.assertEqual(got["total"], len(content) + 5)
        self.assertLessEqual(got["longest"], 65536)
        self.assertLess(got["peak"], 4 << 20)


class Gone(SiteCase):
    SCRIPT = r"""
    local ended, stubborn = 0, 0
    local function take(way)
        return function(req)
            local ok, err = pcall(way, req)
            if not ok then ended = ended + 1 error(err, 0) end
            return "all of it"
        end
    end
    app.post("/body", take(function(req) return req.body end))
    app.post("/chunks", take(function(req) for _ in req:chunks() do end end))
    app.post("/form", take(function(req) return req:form() end))
    app.post("/stubborn", function(req)
        for i = 1, 1000 do pcall(function() return req.body end) stubborn = stubborn + 1 end
    end)
    app.get("/ended", function() return tostring(ended) end)
    app.get("/stubborn", function() return tostring(stubborn) end)
    app.get("/memory", function() collectgarbage() collectgarbage() return tostring(app.stats().lua_memory) end)
    """

    def leave(self, target, how):
        client = Client(self.server)
        client.sock.sendall(f"POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: {MULTIPART[1]}\r\n"
                            "Content-Length: 100\r\n\r\n--XYZ\r\n".encode())
        if how == "reset":
            client.reset()
        else:
            client.close()

    def test_waiting_for_the_body_ends_with_the_client(self):
        count = int(self.ask("/ended").text)
        for target in ("/body", "/chunks", "/form"):
            for how in ("close", "reset"):
                self.leave(target, how)
                count += 1
        evtest.wait_until(lambda: int(self.ask("/ended").text) == count, "handlers to be unwound")
        self.assertEqual(self.log_count("gone|POST"), 0)

    def test_who_goes_on_regardless_is_not_resumed(self):
        self.leave("/stubborn", "close")
        evtest.wait_until(lambda: self.ask("/stubborn").text == "1", "the first of 1000 tries")
        self.assertEqual(self.ask("/stubborn").text, "1")

    def test_they_leave_nothing_behind(self):
        def leave_many():
            for i in range(300):
                self.leave(("/body", "/chunks", "/form")[i % 3], "close")
            evtest.wait_until(lambda: (int(self.ask("/ended").text) - start) % 300 == 0, "all to end")
            return int(self.ask("/memory").text)
        start = int(self.ask("/ended").text)
        first = leave_many()
        self.assertLess(leave_many(), first + 100000)


class Cookies(SiteCase):
    SCRIPT = r"""
    app.get("/cookies", function(req) return req.cookies end)
    app.get("/one", function(req) return tostring(req.cookies.id) end)
    """

    def test_cookies(self):
        self.assertEqual(self.ask("/cookies").json, {})
        headers = [("Cookie", 'id=7; theme="dark blue"; id=8'), ("X-Other", "id=9"), ("cookie", "last=x%20y; =; odd")]
        self.assertEqual(self.ask("/cookies", headers=headers).json,
                         {"id": "7", "theme": '"dark blue"', "last": "x%20y"})
        self.assertEqual(self.ask("/one", headers=headers).text, "7")
        self.assertEqual(self.ask("/one").text, "nil")


if __name__ == "__main__":
    unittest.main()
