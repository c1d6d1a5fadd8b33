"""Modules that handlers require: one that fails is tried again, the cause is named, and a folder may have any name."""

import os
import shutil
import subprocess
import tempfile
import unittest

import evtest
from lua_site import EVSERVE, HEAD, Client, SiteCase, script
from test_sandbox import ENVIRONMENT, landlock_version


class Retry(SiteCase):
    SCRIPT = """
        app.set { handler_cpu = "30ms" }
        app.get("/missing", function() return require("outer").text end)
        app.get("/slow", function() return require("slow").text end)
        app.get("/slow_inner", function() return require("slow_outer").text end)
        app.get("/slow/off", function() slow_is_off = true return "off" end)
        app.get("/half", function() return require("half").text end)
        app.get("/loop", function() return require("a").text end)
        app.get("/partial", function() return require("c").text end)
        app.get("/object", function() local ok, err = pcall(require, "object") return err.reason end)
        app.get("/caught", function() local ok, err = pcall(require, "level0") return err end)
        app.get("/number", function() return require(7).text end)
        slow_is_off = false
        local ok, err = pcall(require, "later")
        first_error = err
        app.get("/later", function() return first_error .. "|" .. require("later").text end)
    """
    FILES = (("outer.lua", 'local inner = require "inner" return { text = inner.text }'),
             ("slow.lua", 'while not slow_is_off do end return { text = "slow" }'),
             ("slow_outer.lua", 'require "slow_inner" return { text = "outer" }'),
             ("slow_inner.lua", 'while not slow_is_off do end return true'),
             ("half.lua", 'module("half", package.seeall) if not half_is_there then half_is_there = true error "half" end'
              ' text = "whole"'),
             ("a.lua", 'require "b"'), ("b.lua", 'require "a"'),
             ("c.lua", 'local c = { text = "partial" } package.loaded.c = c require "d" return c'),
             ("d.lua", 'assert(require("c").text == "partial")'),
             ("object.lua", 'error { reason = "an object" }'),
             ("level0.lua", 'error("no place", 0)'))

    def write(self, name, text):
        path = os.path.join(os.path.dirname(self.path), name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def test_module_whose_module_is_missing_for_a_moment_is_tried_again(self):
        for _ in range(2):
            self.assertEqual(self.ask("/missing").status, 500)
        self.wait_for_log(r"outer\.lua:1: module 'inner' not found")
        self.write("inner.lua", "return { text = 'there' }")
        self.assertEqual(self.ask("/missing").text, "there")
        self.assertEqual(self.log_count("loop or previous error"), 0)

    def test_module_that_was_stopped_by_the_deadline_is_tried_again(self):
        for target in ("/slow", "/slow_inner"):
            for _ in range(2):
                self.assertEqual(self.ask(target).status, 503)
        self.wait_for_log(r"slow\.lua:1")
        self.assertEqual(self.ask("/slow/off").text, "off")
        self.assertEqual(self.ask("/slow").text, "slow")
        self.assertEqual(self.ask("/slow_inner").text, "outer")

    def test_half_of_a_module_is_not_kept(self):
        self.assertEqual(self.ask("/half").status, 500)
        self.assertEqual(self.ask("/half").text, "whole")

    def test_module_that_requires_itself_is_told_with_its_way(self):
        for _ in range(2):
            self.assertEqual(self.ask("/loop").status, 500)
        self.wait_for_log(r"b\.lua:1: module 'a' requires itself: a > b > a")
        self.assertEqual(self.ask("/partial").text, "partial")

    def test_errors_come_as_they_were_raised(self):
        self.assertEqual(self.ask("/object").text, "an object")
        self.assertRegex(self.ask("/caught").text, r"level0\.lua:1: no place$")

    def test_name_must_be_a_text(self):
        self.assertEqual(self.ask("/number").status, 500)
        self.wait_for_log(r"site\.lua:\d+: require: the name of a module expected, got 7")

    def test_module_that_failed_at_start_up_can_be_required_later(self):
        self.write("later.lua", "return { text = 'later' }")
        first, _, text = self.ask("/later").text.partition("|")
        self.assertIn("module 'later' not found", first)
        self.assertEqual(text, "later")


class Folders(unittest.TestCase):
    def test_folder_of_the_script_may_have_any_name(self):
        for name in ("a;b", "a?b", "a b", "[x]", "%d", "-", "ü"):
            with self.subTest(name):
                files = [(f"{name}/lib.lua", "return 'lib'"), (f"{name}/sub/init.lua", "return 'sub'"),
                         (f"{name}/sub/part.lua", "return 'part'"), (f"{name}/site.lua", HEAD + "app.get('/', function()"
                          "return table.concat({ require 'lib', require 'sub', require 'sub.part' }, ' ') end)")]
                with script("", files=files) as path:
                    folder = os.path.dirname(path)
                    with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", os.path.join(folder, name, "site.lua")) \
                            as server, Client(server) as client:
                        self.assertEqual(client.ask("GET", "/").text, "lib sub part")

    def test_module_that_takes_too_much_memory_is_told_with_the_figures(self):
        with script('app.set { lua_memory = "2M" } require "big"',
                    files=[("big.lua", "local t = {} for i = 1, 1e7 do t[i] = { i } end")]) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertRegex(done.stderr, r"not enough memory: \d+ bytes are held .* and lua_memory is 2097152")

    def test_module_that_cannot_be_read_is_told(self):
        with script('require "lib"', files=[("x", "")]) as path:
            os.symlink("lib.lua", os.path.join(os.path.dirname(path), "lib.lua"))  # to itself
            done = evtest.run(EVSERVE, "--check", path)
            self.assertIn("site.lua:2: module 'lib' not found: ", done.stderr.replace(path, "site.lua"))
            self.assertIn("lib.lua exists but cannot be read: Too many levels of symbolic links", done.stderr)


@unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
@unittest.skipUnless(landlock_version() > 0, "this kernel has no landlock")
class Sandbox(unittest.TestCase):
    """Modules that are first required inside the sandbox."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.top)
        for name in ("site", "site/sub", "shared", "outside"):
            os.mkdir(os.path.join(self.top, name))
        for name in ("shared/linked", "shared/deep", "outside/secret"):
            self.write(name + ".lua", f"return '{name}'")
        os.symlink("../shared/linked.lua", os.path.join(self.top, "site/linked.lua"))
        os.symlink("../../shared/deep.lua", os.path.join(self.top, "site/sub/deep.lua"))

    def write(self, name, text):
        with open(os.path.join(self.top, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, text, *arguments):
        self.write("site/site.lua", HEAD + text)
        server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--sandbox", *arguments, "site/site.lua", cwd=self.top,
                                env=ENVIRONMENT)
        self.addCleanup(server.kill)
        return server

    def ask(self, server, target):
        with Client(server) as client:
            return client.ask("GET", target)

    def test_links_of_modules_are_followed(self):
        server = self.start("app.get('/', function() return require 'linked' .. ' ' .. require 'sub.deep' end)\n"
                            "app.get('/other', function() return tostring(io.open('outside/secret.lua')) end)")
        self.assertEqual(self.ask(server, "/").text, "shared/linked shared/deep")
        self.assertEqual(self.ask(server, "/other").text, "nil")
        self.assertEqual(server.stop(), 0)

    def test_link_that_leads_nowhere_does_not_keep_the_server_from_starting(self):
        os.symlink("itself.lua", os.path.join(self.top, "site/itself.lua"))
        os.symlink("absent", os.path.join(self.top, "site/broken.lua"))
        server = self.start("app.get('/', function() return require 'linked' end)")
        self.assertEqual(self.ask(server, "/").text, "shared/linked")
        self.assertEqual(server.stop(), 0)

    def test_c_module_of_debian_is_found(self):
        module = "/usr/lib/x86_64-linux-gnu/lua/5.1/cjson.so"
        if not os.path.islink(module):
            self.skipTest("lua-cjson is not installed")
        server = self.start("app.get('/', function() return require('cjson').encode { 1, 2 } end)")
        self.assertEqual(self.ask(server, "/").text, "[1,2]")
        self.assertEqual(server.stop(), 0)

    def test_denied_module_is_told_to_be_denied(self):
        server = self.start("package.path = package.path .. ';outside/?.lua'\n"
                            "app.get('/', function() return require('secret') end)\n"
                            "app.get('/file', function() return select(2, loadfile 'outside/secret.lua') end)")
        self.assertEqual(self.ask(server, "/").status, 500)
        evtest.wait_until(lambda: any("module 'secret' not found: outside/secret.lua exists but cannot be read: "
                                      "Permission denied (by the sandbox, see --allow-read" in line
                                      for line in server.lines), "the reason")
        self.assertIn("by the sandbox", self.ask(server, "/file").text)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
