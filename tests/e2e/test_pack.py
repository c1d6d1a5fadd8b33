"""evserve --pack: one program with the script, its modules, templates and files inside."""

import os
import shutil
import tempfile
import unittest
import zipfile

import evtest
from lua_site import EVSERVE, Client

FILES = {
    "site.lua": """
        local app = require "evserve"
        local hello = require "lib.hello"
        local page = app.template "pages/page.html"
        local work = app.worker "work.lua"
        app.static("/", "public", { cache = "1h", not_found = "404.html" })
        app.get("/hello", function() return hello() end)
        app.get("/late", function() return require "lib.late" end)
        app.get("/page", function() return page { name = "<x>" } end)
        app.get("/work", function() return tostring(work.double(21)) end)
        app.get("/dofile", function() return dofile "lib/late.lua" end)
    """,
    "lib/hello.lua": 'return function() return "hello" end',
    "lib/late.lua": 'return "late"',
    "pages/page.html": '{% layout("frame.html") %}<p>{{ name }}</p>',
    "pages/frame.html": "<body>{{ content }}</body>",
    "work.lua": "return { double = function(n) return 2 * n end }",
    "public/index.html": "index",
    "public/404.html": "lost",
    "public/a.css": "body {}",
    "public/a.css.gz": "gzip",
    "public/.hidden": "hidden",
    "public/.well-known/x": "known",
}
PATHS = ("lib", "pages/", "./public", "work.lua")


class Pack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="evserve-pack-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.site = os.path.join(cls.folder, "site")
        cls.elsewhere = os.path.join(cls.folder, "elsewhere")
        os.mkdir(cls.elsewhere)
        for path, text in FILES.items():
            path = os.path.join(cls.site, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        cls.board = os.path.join(cls.folder, "board")
        cls.packed = cls.pack(*PATHS)

    @classmethod
    def pack(cls, *paths, output=None, script="./site.lua"):
        return evtest.run(EVSERVE, "--pack", script, *paths, "-o", output or cls.board, cwd=cls.site)

    def test_it_says_what_it_has_written_and_other_tools_read_it(self):
        size = sum(len(text) for path, text in FILES.items() if path != "public/.hidden")
        self.assertEqual((self.packed.returncode, self.packed.stderr), (0, ""))
        self.assertEqual(self.packed.stdout, f"{self.board}: {len(FILES) - 1} files, {size} bytes\n")
        with zipfile.ZipFile(self.board) as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual(set(archive.namelist()) - {"evserve.pack"}, set(FILES) - {"public/.hidden"})
            self.assertEqual(archive.read("site.lua").decode(), FILES["site.lua"])

    def test_it_serves_all_of_it_from_a_folder_that_has_none_of_it(self):
        with evtest.Program(self.board, "--listen", "127.0.0.1:0", "--reactors", "2", cwd=self.elsewhere) as server:
            client = Client(server)
            self.addCleanup(client.sock.close)
            self.addCleanup(client.file.close)
            for target, text in (("/hello", "hello"), ("/late", "late"), ("/work", "42"), ("/dofile", "late"),
                                 ("/page", "<body><p>&lt;x&gt;</p></body>"), ("/", "index"), ("/a.css", "body {}"),
                                 ("/.well-known/x", "known"), ("/.hidden", "lost"), ("/none", "lost")):
                with self.subTest(target=target):
                    client.send("GET", target)
                    self.assertEqual(client.read().text, text)
            client.send("GET", "/a.css", headers=(("Accept-Encoding", "gzip"),))
            packed = client.read()
            self.assertEqual((packed.text, packed.headers["cache-control"]), ("gzip", "max-age=3600"))
            client.send("GET", "/a.css", headers=(("Range", "bytes=0-3"),))
            self.assertEqual(client.read().text, "body")

    def test_it_takes_the_usual_options_but_no_script(self):
        checked = evtest.run(self.board, "--check", cwd=self.elsewhere)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        self.assertIn("site.lua:7", checked.stdout)
        other = evtest.run(self.board, "other.lua", cwd=self.elsewhere)
        self.assertEqual((other.returncode, other.stderr),
                         (2, 'evserve: this program has its script inside, site.lua, so it takes no other, but '
                             '"other.lua" is there; try \'evserve --help\'\n'))

    def test_a_damaged_program_says_so(self):
        broken = os.path.join(self.folder, "broken")
        shutil.copy(self.board, broken)
        os.truncate(broken, os.path.getsize(broken) - 1)
        done = evtest.run(broken, "--check", cwd=self.elsewhere)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "evserve: the files inside this program are damaged or cut off: copy the program again, or "
                             "make it anew with --pack\n"))

    def test_a_packed_program_packs_another_one_without_its_own_files(self):
        other = os.path.join(self.folder, "other")
        with open(os.path.join(self.elsewhere, "b.lua"), "w", encoding="utf-8") as file:
            file.write('require("evserve").get("/", function() return "other" end)')
        done = evtest.run(self.board, "--pack", "b.lua", "-o", other, cwd=self.elsewhere)
        self.assertEqual((done.returncode, done.stdout), (0, f"{other}: 1 file, 58 bytes\n"))
        os.remove(os.path.join(self.elsewhere, "b.lua"))
        self.assertTrue(evtest.run(other, "--request", "GET /", cwd=self.elsewhere).stdout.endswith("\n\nother"))

    def test_what_is_missing_is_a_warning(self):
        done = self.pack("lib", "pages", "work.lua", output=os.path.join(self.folder, "partial"))
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, "evserve: warning: something that the script needs is not inside, so the program "
                                      'needs it beside itself: site.lua:6: app.static: cannot serve "public": no such '
                                      "directory\n")

    def test_mistakes_are_named_and_leave_what_was_there(self):
        output = os.path.join(self.folder, "kept")
        with open(output, "w", encoding="utf-8") as file:
            file.write("kept")
        with open(os.path.join(self.site, "wrong.lua"), "w", encoding="utf-8") as file:
            file.write("nonsense")
        for script, paths, text in (
                ("site.lua", ("none",), "--pack: none: No such file or directory"),
                ("site.lua", (self.site,), f"--pack: {self.site}: a path relative to the working directory expected: the "
                                           "program finds the file by the same path"),
                ("site.lua", ("../site/lib",), '"../site/lib/hello.lua" is not a relative path'),
                ("wrong.lua", (), "wrong.lua:1: '=' expected near '<eof>'")):
            with self.subTest(text):
                done = self.pack(*paths, output=output, script=script)
                self.assertEqual(done.returncode, 1)
                self.assertIn(text, done.stderr)
        with open(output, encoding="utf-8") as file:
            self.assertEqual(file.read(), "kept")
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("kept.")], [])


if __name__ == "__main__":
    unittest.main()
