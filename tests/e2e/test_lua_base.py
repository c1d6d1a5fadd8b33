"""app.set { base = "script" }: relative paths begin in the script's folder, wherever the server was started."""

import base64
import os
import unittest

import certificates
import evtest
from lua_site import EVSERVE, Client, script

USER = "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"  # secret
ADA = [("Authorization", "Basic " + base64.b64encode(b"ada:secret").decode())]

FILES = [("sites/shop/public/hello.txt", "a file\n"), ("sites/shop/views/page.html", "<p>{{ name }}</p>{% include 'foot.html' %}"),
         ("sites/shop/views/foot.html", "<i>foot</i>"), ("sites/shop/404.html", "no page\n"), ("sites/shop/users", USER),
         ("sites/shop/acme/token", "key\n"), ("sites/shop/lib.lua", "return { word = 'module' }"),
         ("public/hello.txt", "another file\n")]

SITE = """
app.set { max_body = "1K", base = "script" }
app.static("/files", "public")
app.error_page(404, "404.html")
app.basic_auth("/secret", "users")
app.get("/secret", function(req) return req.user end)
app.acme "acme"
local page = app.template "views/page.html"
app.get("/page", function() return page { name = "<x>" } end)
app.get("/one", function() return app.file("hello.txt", { root = "public" }) end)
app.get("/bare", function() return app.file "public/hello.txt" end)
app.get("/module", function() return require("lib").word end)
local other = app.host "other.example"
other.static("/", "public")
"""


ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")  # in the sandbox


def run(path, *options, cwd=None, **popen):
    return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *options, path, cwd=cwd, **popen)


class Base(unittest.TestCase):
    def check(self, server):
        with Client(server) as client:
            self.assertEqual(client.ask("GET", "/files/hello.txt").text, "a file\n")
            self.assertEqual(client.ask("GET", "/hello.txt", [("Host", "other.example")]).text, "a file\n")
            self.assertEqual(client.ask("GET", "/one").text, "a file\n")
            self.assertEqual(client.ask("GET", "/bare").text, "a file\n")
            self.assertEqual(client.ask("GET", "/nothing").text, "no page\n")
            self.assertEqual(client.ask("GET", "/secret").status, 401)
            self.assertEqual(client.ask("GET", "/secret", ADA).text, "ada")
            self.assertEqual(client.ask("GET", "/page").text, "<p>&lt;x&gt;</p><i>foot</i>")
            self.assertEqual(client.ask("GET", "/module").text, "module")
            self.assertEqual(client.ask("GET", "/.well-known/acme-challenge/token").text, "key\n")

    def test_every_kind_of_path_from_each_folder(self):
        with script(SITE, "sites/shop/site.lua", FILES) as path:
            folder = os.path.dirname(path)
            root = os.path.dirname(os.path.dirname(folder))
            for given, cwd in (("sites/shop/site.lua", root), (path, "/"), ("site.lua", folder), ("./shop/../shop/site.lua",
                                                                                               root + "/sites")):
                with self.subTest(given), run(given, cwd=cwd) as server:
                    self.check(server)

    def test_the_sandbox_grants_the_same_paths(self):
        with script(SITE, "sites/shop/site.lua", FILES) as path:
            root = os.path.dirname(os.path.dirname(os.path.dirname(path)))
            with run("sites/shop/site.lua", "--sandbox", cwd=root, env=ENVIRONMENT) as server:
                self.check(server)

    def test_without_it_paths_begin_where_the_server_was_started(self):
        for text in ("", 'app.set { base = "start" }\n'):
            with script(text + 'app.static("/", "public")', "sites/shop/site.lua", FILES) as path:
                root = os.path.dirname(os.path.dirname(os.path.dirname(path)))
                with run("sites/shop/site.lua", cwd=root) as server, Client(server) as client:
                    self.assertEqual(client.ask("GET", "/hello.txt").text, "another file\n")

    def test_certificates(self):
        certificates.require_tls(EVSERVE)
        text = ('app.set { base = "script" } app.tls { cert = "ca.pem", key = "ca-key.pem", client_ca = "ca.pem" }\n'
                'app.host("a.example").tls { cert = "ca.pem", key = "ca-key.pem" }')
        with script(text, "sites/site.lua", [("sites/x.txt", "")]) as path:
            certificates.Authority(os.path.dirname(path))
            done = evtest.run(EVSERVE, "--check", "--listen", "127.0.0.1:0?tls", path, cwd="/")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_errors_name_the_folder(self):
        base = 'app.set { base = "script" }\n'
        for text, want in (
                (base + 'app.static("/", "nowhere")', 'FOLDER/nowhere'),
                (base + 'app.template "nowhere.html"', 'FOLDER/nowhere.html'),
                (base + 'app.error_page(404, "nowhere.html")', 'FOLDER/nowhere.html'),
                (base + 'app.basic_auth("/", "nowhere")', 'FOLDER/nowhere'),
                (base + 'app.proxy("/", "https://127.0.0.1:1", { ca = "nowhere.pem" })', 'FOLDER/nowhere.pem'),
                (base + 'app.proxy("/", "https://127.0.0.1:1", { client_cert = { cert = "none.pem" } })', 'FOLDER/none.pem'),
                ('app.set { base = "here" }', 'SITE:2: app.set: base: "script" or "start" expected, got "here"'),
                ('app.set { base = "start" }\n' + base, 'SITE:3: app.set: base: it is "start" already'),
                ('app.static("/", "/tmp")\napp.error_page(404, "x.html")\n' + base,
                 "SITE:4: app.set: base: it must come before the first path, which is at SITE:3"),
                ('app.acme "acme"\n' + base,
                 'SITE:3: app.set: base: it must come before the first path, which is at SITE:2'),
                ('app.host("a").set { base = "script" }', "applies to the whole server: set it with app.set")):
            with self.subTest(text), script(text, "shop/site.lua", [("shop/x.txt", "")]) as path:
                done = evtest.run(EVSERVE, "--check", path, cwd="/")
                want = want.replace("SITE", path).replace("FOLDER", os.path.dirname(path))
                self.assertIn(want, done.stderr)
        evtest.skip_without_lua(["piped.lua"])
        done = evtest.run("sh", "-c", """echo 'require "evserve".set { base = "script" }' | "$0" --check -""", EVSERVE)
        self.assertIn('app.set: base = "script": the script comes from a pipe, so it has no folder', done.stderr)


if __name__ == "__main__":
    unittest.main()
