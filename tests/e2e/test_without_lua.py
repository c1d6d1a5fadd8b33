"""The program of a build with EVSERVE_LUA=OFF: what it says to a script, and that it serves all the same."""

import os
import subprocess
import tempfile
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_WITHOUT_LUA")


class WithoutLua(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(os.path.join(self.folder, "index.html"), "w", encoding="ascii") as file:
            file.write("index\n")

    def test_script_is_one_line_that_says_why_not(self):
        for arguments in (["site.lua"], ["--check", "site.lua"], ["--root", ".", "site.lua"]):
            with self.subTest(arguments=arguments):
                done = subprocess.run([EVSERVE, *arguments], cwd=self.folder, capture_output=True, text=True,
                                      timeout=evtest.LIMIT, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"\Asite\.lua: .*without Lua.*EVSERVE_LUA=OFF.*\n\Z")

    def test_files_are_served(self):
        with evtest.Program(EVSERVE, "--root", self.folder, "--listen", "127.0.0.1:0") as server, \
                server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\nindex\n"))

    def test_no_library_of_lua_is_loaded(self):
        with evtest.Program(EVSERVE, "--root", self.folder, "--listen", "127.0.0.1:0") as server:
            with open(f"/proc/{server.pid}/maps", encoding="utf-8") as maps:
                self.assertNotIn("lua", maps.read().replace(os.path.realpath(EVSERVE), ""))


if __name__ == "__main__":
    unittest.main()
