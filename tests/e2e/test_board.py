#!/usr/bin/env python3
"""scripts/board/: a site of some size, as a user meets it: in Chromium with two tabs, and through its API."""

import contextlib
import csv
import hashlib
import hmac
import io
import json
import os
import re
import sqlite3
import struct
import tempfile
import unittest
import urllib.parse
import zlib

import browser
import databases
import evtest
import redis_server
import side_by_side
from lua_site import EVSERVE, ROOT, Client

BOARD = os.path.join(ROOT, "scripts", "board")
SECRET = "0123456789abcdef0123456789abcdef"
HOOK = "the secret of the hook"


def picture():
    """A PNG of one red pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
            + chunk(b"IEND", b""))


class Board(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        databases.require_module("luasql.sqlite3")
        cls.stack = contextlib.ExitStack()
        cls.data = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
        cls.server = cls.stack.enter_context(cls.start())

    @classmethod
    def start(cls, **more):
        environment = {"BOARD_DATA": cls.data, "BOARD_SECRET": SECRET, "BOARD_HOOK": HOOK,
                       "BOARD_LISTEN": "127.0.0.1:0", "BOARD_ORIGINS": "https://board.example", **more}
        return evtest.Program(EVSERVE, "--reactors", "2", os.path.join(BOARD, "site.lua"),
                              env={**os.environ, **environment})

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def ask(self, target, method="GET", headers=(), body=None):
        with Client(self.server) as client:
            return client.ask(method, target, headers, body)

    def field(self, cookies, target="/"):
        """The CSRF token of a page for somebody with these cookies, which are kept."""
        answer = self.ask(target, headers=[("Cookie", cookies.get("board", ""))])
        self.keep(cookies, answer)
        return re.search(r'name="csrf" value="([^"]+)"', answer.text).group(1)

    def keep(self, cookies, answer):
        for name, value in answer.lines:
            if name.lower() == "set-cookie":
                cookies["board"] = value.split(";")[0]

    def post_form(self, cookies, target, page="/", **fields):
        form = urllib.parse.urlencode({"csrf": self.field(cookies, page), **fields}).encode()
        answer = self.ask(target, "POST", [("Cookie", cookies.get("board", "")),
                                           ("Content-Type", "application/x-www-form-urlencoded")], form)
        self.keep(cookies, answer)
        return answer

    def sign_up(self, name):
        cookies = {}
        answer = self.post_form(cookies, "/signup", "/signup", name=name, password="correct horse")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/"), answer.text)
        return cookies

    def test_members_and_strangers(self):
        answer = self.ask("/posts", "POST", [("Content-Type", "application/x-www-form-urlencoded")], b"text=x")
        self.assertIn(answer.status, (303, 403))
        cookies = self.sign_up("ann")
        self.assertEqual(self.post_form(cookies, "/posts", text="<b>bold</b>", state="busy").status, 303)
        page = self.ask("/", headers=[("Cookie", cookies["board"])]).text
        self.assertIn("&lt;b&gt;bold&lt;/b&gt;", page)
        self.assertIn('<p class="flash" role="status">', page)
        other = {}
        answer = self.post_form(other, "/signup", "/signup", name="ann", password="correct horse")
        self.assertEqual((answer.status, "This name is taken." in answer.text), (422, True))
        answer = self.post_form(other, "/signin", "/signin", name="ann", password="wrong horse")
        self.assertEqual(answer.status, 401)
        self.assertEqual(self.post_form(other, "/signin", "/signin", name="ann", password="correct horse").status, 303)
        without = urllib.parse.urlencode({"text": "forged"}).encode()
        answer = self.ask("/posts", "POST", [("Cookie", other["board"]),
                                             ("Content-Type", "application/x-www-form-urlencoded")], without)
        self.assertEqual(answer.status, 403)

    def test_the_api(self):
        cookies = self.sign_up("robin")
        token = self.ask("/token", headers=[("Cookie", cookies["board"])]).text.strip()
        fields = [("Authorization", "Bearer " + token), ("Content-Type", "application/json"),
                  ("Origin", "https://board.example")]
        answer = self.ask("/api/posts", "POST", fields, json.dumps({"text": "from a program"}).encode())
        self.assertEqual((answer.status, answer.json["name"]), (201, "robin"))
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://board.example")
        for body, status in ((b'{"text":""}', 422), (b'{"text":"x","state":"odd"}', 422), (b"{", 400)):
            self.assertEqual(self.ask("/api/posts", "POST", fields, body).status, status)
        forged = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
        answer = self.ask("/api/posts", "POST", [("Authorization", "Bearer " + forged), fields[1]], b"{}")
        self.assertEqual(answer.status, 401)
        answer = self.ask("/api/posts?limit=1")
        self.assertEqual(len(answer.json["posts"]), 1)
        self.assertRegex(answer.json["next"], r"^/api/posts\?limit=1&before=\d+$")
        self.assertEqual(self.ask("/api/posts?limit=0").status, 422)
        self.assertEqual(self.ask("/api/nothing", headers=[("Origin", "https://board.example")]).headers[
            "access-control-allow-origin"], "https://board.example")
        text = b"deployed"
        sign = hmac.new(HOOK.encode(), text, hashlib.sha256).hexdigest()
        self.assertEqual(self.ask("/api/hook", "POST", [("X-Signature", sign)], text).status, 201)
        self.assertEqual(self.ask("/api/hook", "POST", [("X-Signature", sign)], b"forged").status, 403)

    def test_pages_for_errors_and_what_is_around(self):
        answer = self.ask("/nothing")
        self.assertEqual((answer.status, "Nothing is here" in answer.text), (404, True))
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(self.ask("/healthz").text, "ok\n")
        self.assertIn("board_users_total", self.ask("/metrics").text)
        self.assertEqual(self.ask("/static/board.css").headers["cache-control"], "max-age=3600")

    def test_all_posts_as_csv(self):
        with tempfile.TemporaryDirectory(prefix="ev") as data:
            with self.start(BOARD_DATA=data):
                pass
            rows = (("2099-01-01T00:00:00Z", "ann", "here", f'post "{i}", and more') for i in range(100000))
            with sqlite3.connect(os.path.join(data, "board.db")) as base:
                base.executemany("INSERT INTO posts (time, name, state, text) VALUES (?, ?, ?, ?)", rows)
            base.close()
            with self.start(BOARD_DATA=data) as server, Client(server) as client:
                answer = client.ask("GET", "/export.csv")
                lines = list(csv.reader(io.StringIO(answer.text)))
                self.assertEqual((len(lines), lines[-1][4]), (100001, 'post "99999", and more'))

    def test_in_chromium(self):
        with browser.running() as chromium:
            url = f"http://127.0.0.1:{self.server.address[1]}"
            tab, other = chromium.open(url + "/signup"), chromium.open(url + "/")
            tab.run("""(() => {
                document.querySelector("main [name=name]").value = "carol";
                document.querySelector("main [name=password]").value = "correct horse";
                document.querySelector("main form button").click(); })()""")
            tab.wait_for("location.pathname === '/' && document.querySelector('.flash')?.textContent.includes('carol')")
            tab.run("""(() => {
                document.querySelector("main [name=text]").value = "hello from a browser";
                document.querySelector("main form button").click(); })()""")
            shown = "[...document.querySelectorAll('#posts p')].some(p => p.textContent === 'hello from a browser')"
            other.wait_for(shown)  # without having been loaded again
            tab.wait_for(shown)
            content = list(picture())
            tab.run(f"""(() => {{
                const files = new DataTransfer();
                files.items.add(new File([new Uint8Array({content})], "red.png", {{ type: "image/png" }}));
                document.querySelector("#upload input").files = files.files;
                document.querySelector("#upload button").click(); }})()""")
            tab.wait_for("document.querySelector('#upload output').textContent === 'Sent.'")
            other.wait_for("document.querySelector('#posts img')?.complete && "
                           "document.querySelector('#posts img').naturalWidth === 1")
            image = other.run("document.querySelector('#posts img').getAttribute('src')")
            self.assertEqual(self.ask(image, headers=[("Range", "bytes=0-3")]).body, b"\x89PNG")
            if os.environ.get("BOARD_SCREENSHOT"):
                tab.screenshot(os.environ["BOARD_SCREENSHOT"], 700, 900)
            self.assertEqual(chromium.errors, [])
            lost = chromium.open(url + "/nothing")
            self.assertEqual(lost.run("document.querySelector('h1').textContent"), "Nothing is here")

    def test_its_own_tests(self):
        with tempfile.TemporaryDirectory(prefix="ev") as data:
            done = evtest.run(EVSERVE, "--test", os.path.join(BOARD, "board_test.lua"), os.path.join(BOARD, "site.lua"),
                              env={**os.environ, "BOARD_DATA": data, "BOARD_SECRET": SECRET})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_two_processes_with_redis(self):
        with redis_server.running() as redis, self.start(BOARD_REDIS=f"redis://127.0.0.1:{redis.port}/0") as first, \
                self.start(BOARD_REDIS=f"redis://127.0.0.1:{redis.port}/0") as second, Client(first) as listener:
            listener.send("GET", "/live")
            self.assertIn(b"200", listener.file.readline())
            text = b"through Redis"
            sign = hmac.new(HOOK.encode(), text, hashlib.sha256).hexdigest()
            with Client(second) as client:
                self.assertEqual(client.ask("POST", "/api/hook", [("X-Signature", sign)], text).status, 201)
            evtest.wait_until(lambda: b"through Redis" in listener.file.readline(), "the post")


if __name__ == "__main__":
    side_by_side.main()
