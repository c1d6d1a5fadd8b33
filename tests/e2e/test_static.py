"""Mounted directories with every option, set from Lua and served by the real program from the real disk."""

import contextlib
import gzip
import os
import re
import socket
import tempfile
import threading
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
CSS = b"body { color: red }\n" * 200
BIG = evtest.pattern(8 << 20)

SITE = """local app = require "evserve"
app.listen "127.0.0.1:0"
app.static("/", "www")
app.static("/all", "www/", {
    cache = "1h", dotfiles = true, fallback = "app.html", not_found = "404.html", list = true,
    index = { "none.html", "main.htm" }, precompressed = false,
    headers = { ["X-Frame-Options"] = "DENY", ["X-Number"] = 5, Link = { "<a>", "<b>" } },
    types = { css = "text/x-own", [".BIN"] = "application/x-bin" },
})
app.static("/lost", "www", { not_found = "404.html", index = false })
app.static("/list", "www", { list = true, index = {} })
app.static("/zero", "www", { cache = 0, headers = {}, types = {}, list = false, dotfiles = false, precompressed = true })
app.post("/lost/form", function() return "posted" end)
app.get("/lost/passed", function() return app.pass end)
"""


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory() as path:
        os.mkdir(os.path.join(path, "www"))
        yield path


def put(path, content):
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)


class StaticTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        root = cls.stack.enter_context(directory())
        cls.www = os.path.join(root, "www")
        os.mkdir(os.path.join(cls.www, "sub"))
        os.mkfifo(os.path.join(cls.www, "fifo"))
        for name, content in {"index.html": b"index\n", "main.htm": b"main\n", "app.html": b"app\n",
                              "404.html": b"lost\n", "a.css": CSS, "x.bin": b"bin", ".dot": b"dot\n",
                              "big": BIG, "<i>&'\".txt": b"odd\n"}.items():
            put(os.path.join(cls.www, name), content)
        put(os.path.join(cls.www, "a.css.gz"), gzip.compress(CSS))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.join(cls.www, "socket"))
        put(os.path.join(root, "site.lua"), SITE.encode())
        cls.server = cls.stack.enter_context(evtest.Program(EVSERVE, "site.lua", cwd=root))

    def ask(self, target, *lines, method="GET"):
        """(status, list of field lines in lower-case names, body)."""
        with self.server.connect() as sock:
            request = [f"{method} {target} HTTP/1.1", "Host: test", "Connection: close", *lines, "", ""]
            sock.sendall("\r\n".join(request).encode())
            answer = evtest.receive_all(sock)
        head, _, body = answer.partition(b"\r\n\r\n")
        status_line, *fields = head.decode("latin-1").split("\r\n")
        fields = [name.lower() + ":" + value for name, _, value in (field.partition(":") for field in fields)]
        return int(status_line.split()[1]), fields, body

    def test_defaults(self):
        status, fields, body = self.ask("/")
        self.assertEqual((status, body), (200, b"index\n"))
        self.assertFalse(any(field.startswith("cache-control:") for field in fields))
        self.assertEqual(self.ask("/.dot")[0], 404)
        self.assertEqual(self.ask("/missing")[0], 404)
        self.assertEqual(self.ask("/sub/")[0], 404)
        self.assertEqual(self.ask("/zero/a.css")[2], CSS)

    def test_siblings_are_served_to_those_who_ask(self):
        status, fields, body = self.ask("/a.css", "Accept-Encoding: gzip, deflate")
        self.assertEqual((status, gzip.decompress(body)), (200, CSS))
        self.assertIn("content-encoding: gzip", fields)
        self.assertIn("vary: Accept-Encoding", fields)
        self.assertEqual(self.ask("/a.css", "Accept-Encoding: gzip;q=0")[2], CSS)
        status, fields, body = self.ask("/all/a.css", "Accept-Encoding: gzip")
        self.assertEqual((status, body), (200, CSS))
        self.assertNotIn("vary: Accept-Encoding", fields)

    def test_fields_and_types(self):
        status, fields, _ = self.ask("/all/a.css")
        self.assertEqual(status, 200)
        for line in ("content-type: text/x-own", "cache-control: max-age=3600", "x-frame-options: DENY",
                     "x-number: 5", "link: <a>", "link: <b>"):
            self.assertIn(line, fields)
        self.assertIn("content-type: application/x-bin", self.ask("/all/x.bin")[1])
        self.assertIn("content-type: text/css; charset=utf-8", self.ask("/a.css")[1])

    def test_index_dot_files_and_fallback(self):
        self.assertEqual(self.ask("/all/")[2], b"main\n")
        self.assertEqual(self.ask("/all/.dot")[2], b"dot\n")
        self.assertEqual(self.ask("/all/users/jane.doe")[::2], (200, b"app\n"))
        self.assertEqual(self.ask("/lost/users/1")[::2], (404, b"lost\n"))
        self.assertEqual(self.ask("/lost/")[::2], (404, b"lost\n"))
        self.assertEqual(self.ask("/lost/form")[0], 405)
        self.assertEqual(self.ask("/lost/passed")[::2], (404, b"lost\n"))

    def test_listing(self):
        for target in ("/list/", "/all/sub/"):
            status, fields, body = self.ask(target)
            self.assertEqual(status, 200)
            self.assertIn("content-type: text/html; charset=utf-8", fields)
            length = len(body)
            status, fields, body = self.ask(target, method="HEAD")
            self.assertEqual((status, body), (200, b""))
            self.assertIn(f"content-length: {length}", fields)
        names = re.findall(r"<bdi>(.*)</bdi></a>", self.ask("/list/")[2].decode())
        self.assertEqual(names[:2], ["sub/", "404.html"])
        self.assertIn("&lt;i&gt;&amp;&#39;&quot;.txt", names)
        self.assertFalse({".dot", "fifo", "socket"} & set(names))
        for link in re.findall(r'href="\./([^"]*)"', self.ask("/list/")[2].decode()):
            self.assertEqual(self.ask("/list/" + link, method="HEAD")[0], 200, link)

    def test_special_files_are_404_at_once(self):
        for name in ("fifo", "socket"):
            self.assertEqual(self.ask("/" + name)[0], 404)

    def test_replaced_file_is_seen_and_removed_file_is_404(self):
        path = os.path.join(self.www, "fresh.txt")
        put(path, b"one")
        self.assertEqual(self.ask("/fresh.txt")[2], b"one")
        put(path, b"two")
        evtest.wait_until(lambda: self.ask("/fresh.txt")[2] == b"two", "the new file")
        os.unlink(path)
        evtest.wait_until(lambda: self.ask("/fresh.txt")[0] == 404, "the file to be gone")

    def test_file_that_shrinks_while_it_is_sent_ends_the_connection(self):
        path = os.path.join(self.www, "shrinks")
        put(path, BIG)
        with self.server.connect(receive_buffer=4096) as sock:
            sock.sendall(b"GET /shrinks HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = evtest.receive(sock, 4096)
            os.truncate(path, 100000)
            answer += evtest.receive_all(sock)
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(f"\r\nContent-Length: {len(BIG)}".encode(), head)
        self.assertLess(len(body), len(BIG))  # not padded, nor followed by the next answer
        self.assertEqual(body[:100000], BIG[:100000])  # of what was cut off the kernel may have queued pages

    def test_file_that_grows_while_it_is_sent_is_sent_as_announced(self):
        path = os.path.join(self.www, "grows")
        put(path, BIG)
        with self.server.connect(receive_buffer=4096) as sock:
            sock.sendall(b"GET /grows HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = evtest.receive(sock, 4096)
            with open(path, "ab") as file:
                file.write(b"more" * 1000)
            answer += evtest.receive_all(sock)
        self.assertEqual(answer.partition(b"\r\n\r\n")[2], BIG)

    def test_ten_thousand_missing_paths_do_not_grow_memory(self):
        def miss(count, mount):
            with self.server.connect() as sock:
                for start in range(0, count, 100):
                    requests = [f"GET {mount}/missing-{start + i}.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n"
                                for i in range(100)]
                    with evtest.sending(sock, "".join(requests).encode()):
                        rest = b""
                        while rest.count(b"HTTP/1.1 ") < 100 or not rest.endswith(b"\n"):
                            part = sock.recv(65536)
                            self.assertNotEqual(part, b"")
                            rest += part
        for mount in ("", "/all", "/lost"):
            miss(1000, mount)
            before = self.server.memory_kib()
            miss(10000, mount)
            self.assertLess(self.server.memory_kib() - before, 4096, mount)

    def test_clients_that_read_slowly_do_not_mix_up_representations(self):
        results = {}

        def fetch(i):
            lines = ("Accept-Encoding: gzip",) if i % 2 else ()
            results[i] = self.ask("/a.css", *lines)[2]
        threads = [threading.Thread(target=fetch, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, body in results.items():
            self.assertEqual(gzip.decompress(body) if i % 2 else body, CSS)


class MistakesTest(unittest.TestCase):
    """Each mistake in the options ends the start with file, line and what is wrong."""

    def test_mistakes(self):
        text = "app.static: cannot serve \".\": "
        rows = [
            ('{ fallbck = "x" }', 'app.static: unknown option "fallbck" (did you mean "fallback"?)'),
            ('{ notfound = "x" }', 'app.static: unknown option "notfound" (did you mean "not_found"?)'),
            ('{ "cache" }', "app.static: unknown option 1"),
            ("{ cache = 5 }", 'app.static: cache: a time with a unit such as "1h" expected'),
            ("{ list = 1 }", "app.static: list: true or false expected, got number"),
            ('{ dotfiles = "yes" }', "app.static: dotfiles: true or false expected, got string"),
            ("{ precompressed = {} }", "app.static: precompressed: true or false expected, got table"),
            ("{ fallback = true }", "app.static: fallback: the path of a file expected, got boolean"),
            ("{ not_found = 404 }", "app.static: not_found: the path of a file expected, got number"),
            ('{ fallback = "../x" }', text + 'fallback: "../x" is not the path of a file below the directory'),
            ('{ not_found = "a//b" }', text + 'not_found: "a//b" is not the path of a file below the directory'),
            ('{ fallback = "a\\0b" }', "app.static: fallback: a text contains a NUL byte"),
            ("{ index = true }",
             'app.static: index: a name such as "index.html", a list of names, or false expected, got boolean'),
            ("{ index = { 5 } }",
             'app.static: index: a name such as "index.html", a list of names, or false expected, got number'),
            ('{ index = "a/b" }', text + 'index: "a/b" is not a file name'),
            ('{ index = { "1", "2", "3", "4", "5", "6", "7", "8", "9" } }', text + "index: more than 8 names"),
            ('{ headers = "x" }',
             'app.static: headers: a table such as { ["x-frame-options"] = "DENY" } expected, got string'),
            ('{ headers = { "x" } }', "app.static: headers: field names expected, got number"),
            ("{ headers = { a = true } }",
             "app.static: headers: text, a number or a list of these expected, got boolean"),
            ('{ headers = { ["a b"] = "x" } }', text + 'headers: "a b" is not a field name'),
            ('{ headers = { a = "x\\r\\ny" } }', text + "headers: the value of a has a control character"),
            ('{ headers = { ["content-type"] = "a/b" } }',
             text + 'headers: "content-type" is the server\'s own field; types changes it'),
            ('{ headers = { ["content-length"] = 5 } }', text + 'headers: "content-length" is the server\'s own field'),
            ('{ cache = "1h", headers = { ["cache-control"] = "no-store" } }',
             text + "headers: cache-control cannot be combined with the option cache"),
            ("(function() local t = {} for i = 1, 40 do t['x' .. i] = i end return { headers = t } end)()",
             text + "headers: more than 32"),
            ("(function() local t = {} for i = 1, 300 do t['x' .. i] = 'a/b' end return { types = t } end)()",
             text + "types: more than 256"),
            ('{ types = "x" }', 'app.static: types: a table such as { wasm = "application/wasm" } expected, got string'),
            ("{ types = { wasm = 5 } }",
             'app.static: types: a table such as { wasm = "application/wasm" } expected, got number'),
            ('{ types = { wasm = "wasm" } }', text + 'types: "wasm", for wasm, is not a media type'),
            ('{ types = { ["tar.gz"] = "a/b" } }', text + 'types: "tar.gz" is not an extension'),
        ]
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, "site.lua")
            for options, message in rows:
                with self.subTest(options=options):
                    put(path, f'local app = require "evserve"\n\napp.static("/", ".", {options})\n'.encode())
                    done = evtest.run(EVSERVE, path)
                    self.assertEqual(done.stderr, f"{path}:3: {message}\n")
                    self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    side_by_side.main()
