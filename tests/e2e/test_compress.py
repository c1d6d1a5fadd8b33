#!/usr/bin/env python3
"""Responses compressed on the fly, read by the tools of gzip, brotli and zstd."""

import shutil
import subprocess
import unittest
import zlib

import evtest
from lua_site import EVSERVE, Client, SiteCase, script

TOOLS = {"gzip": ["gzip", "-dc"], "br": ["brotli", "-dc"], "zstd": ["zstd", "-dqc"]}


def decoded(answer):
    """The content of an answer, by the tool for its coding."""
    coding = answer.headers.get("content-encoding")
    if coding is None:
        return answer.body
    return subprocess.run(TOOLS[coding], input=answer.body, stdout=subprocess.PIPE, check=True).stdout


def site_has(codings):
    """Whether the program, and the machine, has these codings."""
    if any(shutil.which(TOOLS[coding][0]) is None for coding in codings):
        return False
    with script(f'app.set {{ compress = "{", ".join(codings)}" }} app.get("/", function() end)') as path:
        return evtest.run(EVSERVE, "--check", path).returncode == 0


class Compressed(SiteCase):
    SCRIPT = r"""
    app.set { compress = true, compress_min = 100 }
    local lines, goes_on = {}, false
    for i = 1, 20000 do lines[i] = "line " .. i .. " of a text\n" end
    local big = table.concat(lines)
    app.headers("/ruled", { vary = "cookie" })
    app.get("/short", function() return ("short "):rep(100) end)
    app.get("/ruled", function() return ("short "):rep(100) end)
    app.get("/tiny", function() return "tiny" end)
    app.get("/big", function() return big end)
    app.get("/json", function()
        local list = {}
        for i = 1, 300 do list[i] = { id = i } end
        return list
    end)
    app.get("/random", function() return app.random(20000), { ["content-type"] = "text/plain" } end)
    app.get("/random-stream", function()
        return function(stream) for _ = 1, 30 do stream:write(app.random(20000)) end end
    end)
    app.get("/png", function() return big, { ["content-type"] = "image/png" } end)
    app.get("/coded", function() return big, { ["content-encoding"] = "x-own" } end)
    app.get("/as-it-is", function() return big, { ["cache-control"] = "max-age=9, No-Transform" } end)
    app.get("/off", { compress = false }, function() return big end)
    app.get("/off2", function()
        local res = app.html(big)
        res.compress = false
        return res
    end)
    app.get("/known", function() return function(s) s:write(big) end, { ["content-length"] = #big } end)
    app.get("/stream", function()
        return function(stream)
            stream:write("first\n")
            while not goes_on do app.sleep("5ms") end
            stream:write(big)
            stream:write("last\n")
        end
    end)
    app.get("/go", function()
        goes_on = true
        return "gone on"
    end)
    app.get("/tagged", function(req)
        local headers = { etag = '"v1"', vary = "accept-encoding" }
        if req.headers["if-none-match"] == '"v1"' then return 304, nil, headers end
        return big, headers
    end)
    app.put("/tagged", function(req) return req.headers["if-match"] end)
    app.get("/fails", function(req) error("no") end)
    app.get("/cut", function()
        return function(stream) stream:write(big) error("in the middle", 0) end
    end)
    """
    BIG = b"".join(b"line %d of a text\n" % i for i in range(1, 20001))

    def get(self, target, codings="gzip", method="GET", **more):
        return self.ask(target, method, [("Accept-Encoding", codings)], **more)

    def check(self, target, content, codings=("gzip",)):
        for coding in codings:
            answer = self.get(target, coding)
            self.assertEqual((answer.status, answer.headers.get("content-encoding")), (200, coding), target)
            self.assertIn("accept-encoding", answer.headers["vary"].lower())
            self.assertEqual(decoded(answer), content)
            self.assertLess(len(answer.body), len(content))
            self.assertTrue(answer.whole)

    def test_what_is_known_whole(self):
        self.check("/short", b"short " * 100)
        self.check("/big", self.BIG)
        self.check("/known", self.BIG)
        answer = self.get("/json")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.assertTrue(decoded(answer).startswith(b'[{"id":1}'))
        self.assertNotIn("content-length", self.get("/known").headers)

    def test_streams_are_flushed(self):
        with Client(self.server) as client:
            client.send("GET", "/stream", [("Accept-Encoding", "gzip")])
            decoder, received = zlib.decompressobj(31), b""
            while client.file.readline() != b"\r\n":
                pass
            while received != b"first\n":
                size = int(client.file.readline(), 16)
                self.assertGreater(size, 0)
                received += decoder.decompress(client.file.read(size + 2)[:-2])
            self.assertEqual(self.ask("/go").text, "gone on")
            rest, is_whole = client.read_chunks()
            self.assertTrue(is_whole)
            self.assertEqual(decoder.decompress(rest), self.BIG + b"last\n")
        self.check("/stream", b"first\n" + self.BIG + b"last\n")

    def test_other_codings(self):
        for coding in ("br", "zstd"):
            if site_has([coding]):
                for target in "/short", "/big", "/known":
                    self.check(target, self.ask(target).body, (coding,))
                self.assertEqual(len(decoded(self.get("/random-stream", coding))), 600000)
        if site_has(["br", "zstd"]):
            self.assertEqual(self.get("/big", "gzip, br, zstd").headers["content-encoding"], "br")
            self.assertEqual(self.get("/big", "br;q=0.5, gzip, zstd;q=0.9").headers["content-encoding"], "gzip")

    def test_what_stays_as_it_is(self):
        for target in "/png", "/coded", "/as-it-is", "/off", "/off2":
            answer = self.get(target)
            self.assertNotIn(answer.headers.get("content-encoding"), TOOLS, target)
            self.assertNotIn("vary", answer.headers)
            self.assertEqual(answer.body, self.BIG)
        self.assertNotIn("content-encoding", self.get("/tiny").headers)
        for codings in "identity", "gzip;q=0", "deflate", "gzip;q=0.1, identity":
            answer = self.get("/big", codings)
            self.assertNotIn("content-encoding", answer.headers)
            self.assertEqual(answer.headers["vary"], "Accept-Encoding")
        self.assertEqual(self.get("/ruled").headers["vary"].lower(), "accept-encoding")

    def test_content_that_gets_no_shorter(self):
        answer = self.get("/random")
        self.assertEqual((answer.headers.get("content-encoding"), len(answer.body)), (None, 20000))
        self.assertEqual(len(decoded(self.get("/random-stream"))), 600000)

    def test_tags_differ_by_coding(self):
        answer = self.get("/tagged")
        self.assertEqual(answer.headers["etag"], '"v1-gzip"')
        self.assertEqual(answer.headers["vary"], "accept-encoding")
        self.assertEqual(self.ask("/tagged").headers["etag"], '"v1"')
        for tag in '"v1-gzip"', '"v1"', '"v1-br"':
            answer = self.ask("/tagged", headers=[("Accept-Encoding", "gzip"), ("If-None-Match", tag)])
            self.assertEqual((answer.status, answer.headers["etag"]), (304, tag))
        answer = self.ask("/tagged", "PUT", [("If-Match", 'W/"a-gzip", "b-zstd","c"')], b"")
        self.assertEqual(answer.text, 'W/"a-gzip", "b","c"')

    def test_head_and_old_clients(self):
        with Client(self.server) as client:
            answer = client.ask("HEAD", "/tagged", [("Accept-Encoding", "gzip")])
            self.assertEqual((answer.headers["content-encoding"], answer.headers["etag"]), ("gzip", '"v1-gzip"'))
            self.assertNotIn("content-length", answer.headers)
            self.assertEqual(client.ask("GET", "/tiny").text, "tiny")
        self.assertEqual(decoded(self.get("/big", version="1.0")), self.BIG)

    def test_one_connection_takes_turns(self):
        with Client(self.server) as client:
            for target in ["/big", "/short", "/off", "/known", "/tiny"] * 2:
                client.send("GET", target, [("Accept-Encoding", "gzip")])
            sizes = [len(decoded(client.read())) for _ in range(10)]
        self.assertEqual(sizes, [len(self.BIG), 600, len(self.BIG), len(self.BIG), 4] * 2)

    def test_failures(self):
        answer = self.get("/cut")
        self.assertFalse(answer.whole)
        self.assertEqual(self.get("/fails").status, 500)
        for _ in range(3):
            client = Client(self.server)
            client.send("GET", "/big", [("Accept-Encoding", "gzip")])
            client.reset()
        self.check("/big", self.BIG)


class Hosts(SiteCase):
    SCRIPT = r"""
    app.set { compress = "gzip", compress_level = 9, compress_types = { "text/html" } }
    local off = app.host("off.test")
    off.set { compress = false }
    local own = app.host("own.test")
    own.set { compress = "gzip", compress_min = 0, compress_types = "text/*" }
    for _, site in ipairs { app, off, own, app.host("other.test") } do
        site.get("/", function() return app.html(("x"):rep(2000)) end)
        site.get("/text", function() return ("x"):rep(200) end)
    end
    """

    def test_each_host_has_its_own(self):
        for host, codings in [("a", "gzip None"), ("off.test", "None None"), ("own.test", "gzip gzip"),
                              ("other.test", "gzip None")]:
            answers = [self.ask(path, headers=[("Host", host), ("Accept-Encoding", "gzip")]) for path in ("/", "/text")]
            self.assertEqual(" ".join(str(answer.headers.get("content-encoding")) for answer in answers), codings, host)


class Mistakes(unittest.TestCase):
    def test_they_are_named(self):
        cases = [
            ('compress = "deflate"', 'compress: "br", "zstd" or "gzip" expected, got "deflate"'),
            ("compress = 7", 'compress: true, false or a list such as "br, zstd, gzip" expected, got 7'),
            ('compress = { "gzip", 7 }', "compress: item 2 of the list: a text expected, got 7"),
            ("compress_min = 7", 'compress_min has no effect without compress'),
            ('compress = "gzip", compress_level = 10', "compress_level"),
            ('compress = "gzip", compress_min = "2G"', "compress_min"),
            ('compress = "gzip", compress_types = "html"', 'compress_types: a media type such as'),
        ]
        for setting, text in cases:
            with script(f"app.set {{ {setting} }}") as path:
                run = evtest.run(EVSERVE, "--check", path)
                self.assertNotEqual(run.returncode, 0)
                self.assertIn("site.lua:2: app.set: " + text, str(run.stderr))


if __name__ == "__main__":
    unittest.main()
