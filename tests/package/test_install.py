"""What `cmake --install` gives, as strangers use it: with find_package, with pkg-config, and with the sources inside
their own project. Everything happens in a scratch folder; only the hosts are compiled, but for the last way."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import evtest  # pylint: disable=wrong-import-position

BUILD = os.environ["EVSERVE_BUILD"]
CMAKE = os.environ["EVSERVE_CMAKE"]
CC = os.environ["EVSERVE_CC"]
HAS_LUA = os.environ["EVSERVE_LUA"] != "0"
OUTSIDE = os.path.join(ROOT, "tests", "package", "outside")
HEADERS = ["log.h", "mem.h", "net.h", "net_address.h", "reactor.h", "reactor_task.h", "sys.h", "write_buffer.h"]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run(*argv, **options):
    """Run a command that must succeed. Returns what it wrote."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=240, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def configure(build, generator, *options):
    """The project outside/, which embeds the folder web beside its build folder."""
    web = os.path.join(os.path.dirname(build), "web of " + os.path.basename(build))
    os.makedirs(os.path.join(web, "sub"))
    for name, text in ("index.html", "index\n"), ("sub/app.js", "let x = 1;\n" * 1000), (".secret", "secret\n"):
        write(os.path.join(web, name), text)
    return run(CMAKE, "-S", OUTSIDE, "-B", build, "-G", generator, f"-DCMAKE_C_COMPILER={CC}",
               "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", f"-Dweb={web}", *options)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def ask(host, path, *lines):
    """The response of a host that is run from an empty folder, so that no file of it can be on disk."""
    with tempfile.TemporaryDirectory() as empty, evtest.Program(host, cwd=empty) as server, server.connect() as sock:
        sock.sendall("\r\n".join((f"GET {path} HTTP/1.0", *lines, "", "")).encode())
        head, content = evtest.receive_all(sock).split(b"\r\n\r\n", 1)
        return head.decode(), content


class Embedding:
    """What evserve_embed() makes, in whatever way evserve came into the project."""

    def check_embedded(self, build):
        host = os.path.join(build, "embedded")
        web = os.path.join(os.path.dirname(build), "web of " + os.path.basename(build))
        head, content = ask(host, "/")
        self.assertEqual(content, b"index\n")
        self.assertRegex(head, r'\r\nETag: "[0-9a-f]{16}"')
        self.assertIn("404", ask(host, "/.secret")[0])
        script = b"let x = 1;\n" * 1000
        self.assertEqual(ask(host, "/sub/app.js")[1], script)
        if shutil.which("gzip"):
            head, content = ask(host, "/sub/app.js", "Accept-Encoding: gzip")
            self.assertIn("\r\nContent-Encoding: gzip", head)
            self.assertEqual(gzip.decompress(content), script)

        # Files that change, come and go.
        write(os.path.join(web, "index.html"), "another\n")
        write(os.path.join(web, "new.txt"), "new\n")
        os.unlink(os.path.join(web, "sub", "app.js"))
        run(CMAKE, "--build", build, "--target", "embedded")
        self.assertEqual(ask(host, "/")[1], b"another\n")
        self.assertEqual(ask(host, "/new.txt")[1], b"new\n")
        self.assertIn("404", ask(host, "/sub/app.js")[0])


class Installed(unittest.TestCase, Embedding):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        first = os.path.join(folder.name, "first")
        run(CMAKE, "--install", BUILD, "--prefix", first)
        cls.prefix = os.path.join(folder.name, "moved here")  # nothing in it may remember where it was installed
        os.rename(first, cls.prefix)
        cls.site = os.path.join(folder.name, "site")
        os.mkdir(cls.site)
        with open(os.path.join(cls.site, "index.html"), "w", encoding="ascii") as file:
            file.write("index\n")

    def installed(self, *path):
        return os.path.join(self.prefix, *path)

    def serves(self, *argv, env=None):
        """The program comes up, answers, and stops."""
        with evtest.Program(*argv, env=env) as server, server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\nindex\n"))

    def with_library_path(self):
        return {**os.environ, "LD_LIBRARY_PATH": self.installed("lib")}

    def test_every_file_that_is_promised_is_there_and_no_other_header(self):
        version = run(self.installed("bin", "evserve"), "--version").split()[1]
        for path in ("bin/evserve", "include/evserve.h", "lib/libevserve.a", "lib/libevserve_reactor.a",
                     "lib/libevserve.so", "lib/libevserve.so.0", f"lib/libevserve.so.{version}",
                     "lib/pkgconfig/evserve.pc", "lib/cmake/evserve/evserveConfig.cmake",
                     "share/man/man1/evserve.1", "share/man/man3/evserve.3", "share/doc/evserve/copyright"):
            self.assertTrue(os.path.exists(self.installed(path)), path)
        self.assertEqual(os.path.exists(self.installed("share/evserve/meta/evserve.lua")), HAS_LUA)
        self.assertEqual(sorted(os.listdir(self.installed("include"))), ["evserve", "evserve.h", "evserve.hpp"])
        self.assertEqual(os.listdir(self.installed("include", "evserve")), ["core"])
        self.assertEqual(sorted(os.listdir(self.installed("include", "evserve", "core"))), HEADERS)

    def test_program_serves(self):
        self.serves(self.installed("bin", "evserve"), "--root", self.site, "--listen", "127.0.0.1:0")

    def test_find_package_gives_libraries_to_link(self):
        build = os.path.join(self.folder, "package")
        configure(build, "Ninja", "-Dway=package", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run(CMAKE, "--build", build, "-j2")
        self.serves(os.path.join(build, "host_shared"), self.site)
        self.serves(os.path.join(build, "host_static"), self.site)
        self.assertEqual(run(os.path.join(build, "loop")), "looped\n")
        self.assertEqual(run(os.path.join(build, "both"), cwd=self.site), "both\n")
        self.assertIn("libevserve.so.0", run("readelf", "-d", os.path.join(build, "host_shared")))
        self.assertNotIn("libevserve", run("readelf", "-d", os.path.join(build, "host_static")))
        self.check_embedded(build)

    def test_build_shared_libs_says_which_library_evserve_is(self):
        for wanted in ("OFF", "ON"):
            build = os.path.join(self.folder, "kind" + wanted)
            configure(build, "Ninja", "-Dway=package", f"-DCMAKE_PREFIX_PATH={self.prefix}",
                      f"-DBUILD_SHARED_LIBS={wanted}")
            run(CMAKE, "--build", build, "--target", "host")
            needed = run("readelf", "-d", os.path.join(build, "host"))
            self.assertEqual("libevserve.so.0" in needed, wanted == "ON", wanted)

    def test_plugin_that_links_the_archive_shows_nothing_of_it(self):
        build = os.path.join(self.folder, "plugin")
        configure(build, "Ninja", "-Dway=package", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run(CMAKE, "--build", build, "--target", "plugin")
        shown = run("nm", "-D", "--defined-only", os.path.join(build, "libplugin.so"))
        self.assertEqual([line.split()[2] for line in shown.splitlines()], ["plugin_run"])

    def test_find_package_of_another_version_is_refused(self):
        with self.assertRaisesRegex(AssertionError, "compatible"):
            self.find_version("99")

    def find_version(self, version):
        source = os.path.join(self.folder, "version")
        os.makedirs(source, exist_ok=True)
        with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="ascii") as file:
            file.write("cmake_minimum_required(VERSION 3.18)\nproject(version LANGUAGES C)\n"
                       f"find_package(evserve {version} REQUIRED)\n")
        return run(CMAKE, "-S", source, "-B", os.path.join(source, "build"), "-G", "Ninja",
                   f"-DCMAKE_PREFIX_PATH={self.prefix}")

    def pkg_config(self, *arguments):
        # pkg-config quotes what a shell would have to be told; here are no shells.
        text = run("pkg-config", *arguments, "evserve",
                   env={**os.environ, "PKG_CONFIG_PATH": self.installed("lib", "pkgconfig")})
        return [word.replace("\\ ", " ") for word in re.findall(r"(?:\\ |\S)+", text)]

    def test_pkg_config_links_the_shared_library(self):
        host = os.path.join(self.folder, "host_pc")
        run(CC, "-std=c99", *STRICT, f"-I{OUTSIDE}", os.path.join(OUTSIDE, "host.c"), "-o", host,
            *self.pkg_config("--cflags", "--libs"))
        self.assertIn("libevserve.so.0", run("readelf", "-d", host))
        self.serves(host, self.site, env=self.with_library_path())

    def test_pkg_config_static_links_everything_that_is_needed(self):
        host = os.path.join(self.folder, "host_pc_static")
        run(CC, "-static", "-std=c99", f"-I{OUTSIDE}", os.path.join(OUTSIDE, "host.c"), "-o", host,
            *self.pkg_config("--static", "--cflags", "--libs"))
        self.assertNotIn("NEEDED", run("readelf", "-d", host))
        self.serves(host, self.site)

    def test_script_embeds_a_folder_without_cmake(self):
        made = os.path.join(self.folder, "made by hand")
        text = run("pkg-config", "--variable=embed", "evserve",
                   env={**os.environ, "PKG_CONFIG_PATH": self.installed("lib", "pkgconfig")})
        run("sh", text.strip().replace("\\ ", " "), self.site, "ui", made)
        host = os.path.join(self.folder, "host_by_hand")
        run(CC, "-std=c99", *STRICT, f"-I{made}", os.path.join(OUTSIDE, "embedded.c"), os.path.join(made, "ui_assets.c"),
            "-o", host, *self.pkg_config("--static", "--cflags", "--libs"), "-static")
        self.assertEqual(ask(host, "/")[1], b"index\n")

    @unittest.skipUnless(HAS_LUA, "built without Lua")
    def test_host_of_the_installed_library_runs_scripts(self):
        host = os.path.join(self.folder, "host_lua")
        script = os.path.join(self.site, "site.lua")
        with open(script, "w", encoding="ascii") as file:
            file.write('require("evserve").get("/lua", function() return "lua\\n" end)\n')
        run(CC, "-std=c99", f"-I{OUTSIDE}", os.path.join(OUTSIDE, "host.c"), "-o", host,
            *self.pkg_config("--cflags", "--libs"))
        with evtest.Program(host, self.site, script, env=self.with_library_path()) as server, \
                server.connect() as sock:
            sock.sendall(b"GET /lua HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\nlua\n"))


@unittest.skipUnless(HAS_LUA, "the same sources, whatever this build is: once is enough")
class Subproject(unittest.TestCase, Embedding):
    """The sources inside another project, without Lua and with nothing to find LuaJIT by."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        cls.addClassCleanup(folder.cleanup)
        cls.build = os.path.join(folder.name, "build")
        cls.site = folder.name
        with open(os.path.join(cls.site, "index.html"), "w", encoding="ascii") as file:
            file.write("index\n")
        # What CMake takes by itself, where it is installed; our own builds are all made by ninja.
        generator = "Unix Makefiles" if shutil.which("make") else "Ninja"
        configure(cls.build, generator, "-Dway=source", f"-Devserve_source={ROOT}", "-DEVSERVE_LUA=OFF",
                  "-DPKG_CONFIG_EXECUTABLE=/nonexistent")
        run(CMAKE, "--build", cls.build, "-j2")

    def test_host_serves(self):
        with evtest.Program(os.path.join(self.build, "host"), self.site) as server, server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\nindex\n"))

    def test_folder_is_embedded(self):
        self.check_embedded(self.build)

    def test_loop_runs_alone_and_beside_a_server(self):
        self.assertEqual(run(os.path.join(self.build, "loop")), "looped\n")
        self.assertEqual(run(os.path.join(self.build, "both"), cwd=self.site), "both\n")

    def test_host_that_gives_a_script_is_told_why_not(self):
        done = subprocess.run([os.path.join(self.build, "host"), self.site, "x.lua"], capture_output=True, text=True,
                              timeout=evtest.LIMIT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Ax\.lua: .*without Lua.*EVSERVE_LUA=OFF.*\n\Z")

    def test_neither_tests_nor_the_program_are_built(self):
        listed = run(os.path.join(os.path.dirname(CMAKE), "ctest"), "-N", "--test-dir", self.build)
        self.assertIn("Total Tests: 0", listed)
        targets = run(CMAKE, "--build", self.build, "--target", "help")
        self.assertIn("evserve_core", targets)
        for target in ("evserve_program", "evserve_shared", "wire_runner", "bench"):
            self.assertNotIn(target, targets)

    def test_no_flag_or_folder_of_ours_reaches_the_host(self):
        with open(os.path.join(self.build, "compile_commands.json"), encoding="utf-8") as file:
            commands = {os.path.relpath(entry["file"], OUTSIDE): entry["command"] for entry in json.load(file)}
        for flag in ("-Wconversion", "_FORTIFY_SOURCE", "-fvisibility", "_GNU_SOURCE", "-fstack-protector",
                     f"-I{ROOT} "):
            self.assertNotIn(flag, commands["host.c"])
        self.assertIn("-std=c99", commands["host.c"])

    def test_nothing_of_ours_can_be_installed_with_the_host(self):
        said = run(CMAKE, "--install", self.build, "--prefix", os.path.join(self.site, "prefix"))
        self.assertNotIn("evserve", said.replace(self.site, ""))


if __name__ == "__main__":
    unittest.main()
