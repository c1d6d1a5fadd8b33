"""Hosts that have another Lua beside our LuaJIT: in whatever order they are linked, a script is refused with a sentence and
nothing crashes. With EVSERVE_LUAJIT_PRIVATE both work."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import evtest  # pylint: disable=wrong-import-position

CC = os.environ["EVSERVE_CC"]
CMAKE = os.environ["EVSERVE_CMAKE"]
LIBRARIES = os.environ["EVSERVE_LIBRARIES"]
HOST = os.path.join(ROOT, "tests", "package", "outside", "two_luas.c")


def ask_pkg_config(*arguments):
    done = subprocess.run(["pkg-config", *arguments], capture_output=True, text=True, check=False)
    return shlex.split(done.stdout) if done.returncode == 0 else None


LUA = ask_pkg_config("--cflags", "lua5.4")
LUA_LIBS = ask_pkg_config("--libs", "lua5.4")
LUA_ARCHIVE = ask_pkg_config("--variable=libdir", "lua5.4")
LUAJIT = ask_pkg_config("--libs", "luajit") or []
NEEDED = [*(ask_pkg_config("--libs", "libseccomp") or []), "-ldl"]
SHARED = ["-levserve"]
STATIC = ["-l:libevserve.a"]


@unittest.skipIf(LUA is None, "no other Lua is installed (liblua5.4-dev)")
class TwoLuas(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.script = os.path.join(folder.name, "site.lua")
        with open(self.script, "w", encoding="ascii") as file:
            file.write('require("evserve").get("/", function() return "x" end)\n')

    def link(self, folder, *libraries):
        host = os.path.join(self.folder, "host")
        subprocess.run([CC, *LUA, f"-I{ROOT}", HOST, "-o", host, f"-L{folder}", f"-Wl,-rpath,{folder}", *libraries],
                       check=True, timeout=evtest.LIMIT)
        return host

    def start(self, host, *arguments):
        return subprocess.run([host, *arguments], capture_output=True, text=True, check=False, timeout=evtest.LIMIT)

    def refuses(self, expected, *libraries):
        done = self.start(self.link(LIBRARIES, *libraries), self.script)
        self.assertEqual(done.returncode, 3, done)
        self.assertRegex(done.stderr, expected)
        self.assertRegex(done.stderr, r"\A\S*site\.lua: two Luas in one program: .*LuaJIT in \S*libluajit.*EVSERVE_LUAJIT_PRIVATE")

    def test_shared_libraries_in_either_order(self):
        for libraries in ([*SHARED, *LUA_LIBS], [*LUA_LIBS, *SHARED]):
            with self.subTest(libraries):
                self.refuses(r"calls meant for LuaJIT reach another one \(\S*liblua5\.4", *libraries)

    def test_our_archive_behind_the_other_lua(self):
        self.refuses(r"calls meant for LuaJIT reach another one \(\S*liblua5\.4", *STATIC, *LUA_LIBS, *LUAJIT, *NEEDED)

    def test_luajit_before_the_other_lua(self):
        self.refuses(r"calls meant for another one reach LuaJIT \(\S*liblua5\.4", *SHARED, *LUAJIT, *LUA_LIBS)

    def test_another_lua_inside_of_the_host(self):
        archive = os.path.join(LUA_ARCHIVE[0], "liblua5.4.a")
        for option in ("-pie", "-no-pie"):
            with self.subTest(option):
                self.refuses(r"calls meant for LuaJIT reach another one \(\S*host,", option, *SHARED, archive, "-lm")

    def test_host_without_a_script_may_have_what_it_likes(self):
        done = self.start(self.link(LIBRARIES, *SHARED, *LUA_LIBS))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_private_luajit_and_another_one_work_side_by_side(self):
        if shutil.which("pkg-config") is None or not os.path.exists(os.path.join(
                (ask_pkg_config("--variable=libdir", "luajit") or ["/"])[0], "libluajit-5.1.a")):
            self.skipTest("LuaJIT has no archive here")
        build = os.path.join(self.folder, "build")
        for command in (
                [CMAKE, "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_C_COMPILER={CC}", "-DEVSERVE_SHARED=OFF",
                 "-DEVSERVE_TESTS=OFF", "-DEVSERVE_BENCH=OFF", "-DEVSERVE_PROGRAM=OFF", "-DEVSERVE_INSTALL=OFF",
                 "-DEVSERVE_LUAJIT_PRIVATE=ON", "-DCMAKE_BUILD_TYPE=Debug"],
                [CMAKE, "--build", build, "-j2", "--target", "evserve"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=280)
        for libraries in ([*STATIC, *LUA_LIBS], [*LUA_LIBS, *STATIC]):
            with self.subTest(libraries):
                done = self.start(self.link(build, *libraries, *NEEDED, "-lm"), self.script)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
