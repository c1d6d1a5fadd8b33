"""app.host: what is served under which name, over HTTP and HTTPS, with several threads and after a reload."""

import os
import signal
import ssl
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE, Client, SiteCase, script


def ask(server, host, target="/", headers=(), method="GET", body=None, version="1.1"):
    """A request with this Host, or without one."""
    with Client(server) as client:
        if host is None:
            client.sock.sendall(f"{method} {target} HTTP/1.0\r\n\r\n".encode())
            return client.read(method)
        return client.ask(method, target, [("Host", host), *headers], body, version)


class Names(SiteCase):
    SCRIPT = """
    app.set { trusted_proxies = "127.0.0.1", max_body = "1K" }
    app.use(function(req, nxt) req.seen = "app" return nxt() end)
    app.get("/", function(req) return "default " .. req.seen .. "\\n" end)
    app.post("/up", function(req) return #req.body .. "\\n" end)
    app.static("/files", "public")
    local one = app.host("one.example", "192.0.2.1", "::1")
    one.use(function(req, nxt) req.seen = "one" return nxt() end)
    one.get("/", function(req) return "one " .. req.seen .. "\\n" end)
    one.set { max_body = 4, trailing_slash = "redirect" }
    one.post("/up", function(req) return #req.body .. "\\n" end)
    one.post("/large", { max_body = 8 }, function(req) return #req.body .. "\\n" end)
    one.group("/api").get("/x", { name = "x" }, function(req) return (req.seen or "nobody") .. app.url("x") .. "\\n" end)
    one.websocket("/ws", function(ws) ws:send("one") end)
    one.deny("/private", "all")
    app.host("*.example").get("/*rest", function(req) return "wild " .. req.params.rest .. "\\n" end)
    app.host("*.one.example").any("/", function() return "below\\n" end)
    """
    FILES = (("public/a.txt", "file\n"), ("other/a.txt", "other\n"))

    def test_each_form_of_a_name(self):
        for host, text in (("one.example", "one one\n"), ("ONE.Example.:80", "one one\n"), ("192.0.2.1:1", "one one\n"),
                           ("[0:0::1]", "one one\n"), ("a.one.example", "below\n"), ("a.b.one.example", "below\n"),
                           ("two.example", "wild \n"), ("example", "default app\n"), ("", "default app\n"),
                           ("x.org", "default app\n"), (None, "default app\n"), ("a" * 300 + ".org", "default app\n"),
                           ("one.example..", "default app\n")):
            with self.subTest(host):
                self.assertEqual(ask(self.server, host).text, text)
        self.assertEqual(ask(self.server, "x.org", "http://one.example/").text, "one one\n")

    def test_hosts_share_nothing(self):
        for host, target, status in (("one.example", "/files/a.txt", 404), ("x.org", "/files/a.txt", 200),
                                     ("x.org", "/api/x", 404), ("one.example", "/api/x/", 301), ("x.org", "/private", 404),
                                     ("one.example", "/private/a", 403)):
            with self.subTest(host + target):
                self.assertEqual(ask(self.server, host, target).status, status)
        self.assertEqual(ask(self.server, "one.example", "/api/x").text, "one/api/x\n")

    def test_limits(self):
        for host, target, length, status in (("one.example", "/up", 4, 200), ("one.example", "/up", 5, 413),
                                             ("one.example", "/large", 8, 200), ("one.example", "/large", 9, 413),
                                             ("x.org", "/up", 5, 200)):
            with self.subTest(host + target, length=length):
                self.assertEqual(ask(self.server, host, target, method="POST", body=b"x" * length).status, status)

    def test_a_connection_may_ask_for_several_names(self):
        with Client(self.server) as client:
            for host in ("one.example", "x.org", "two.example", "one.example"):
                client.send("GET", "/", [("Host", host)])
            self.assertEqual([client.read().text for _ in range(4)],
                             ["one one\n", "default app\n", "wild \n", "one one\n"])

    def test_a_trusted_proxy_says_the_name(self):
        self.assertEqual(ask(self.server, "x.org", headers=[("X-Forwarded-Host", "one.example")]).text, "one one\n")
        self.assertEqual(ask(self.server, "one.example", headers=[("X-Forwarded-Host", "x.org")]).text, "default app\n")


class Unknown(unittest.TestCase):
    def test_unknown_names_are_refused(self):
        for status in 404, 421:
            text = f"""
            app.set {{ unknown_host = {status} }}
            app.get("/", function() return "default" end)
            app.host("one.example").get("/", function() return "one" end)
            """
            with self.subTest(status), script(text) as path:
                with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                    self.assertEqual(ask(server, "one.example").status, 200)
                    for host in "x.org", "", "127.0.0.1", None:
                        self.assertEqual(ask(server, host).status, status)
                    self.assertEqual(ask(server, "x.org", "*", method="OPTIONS").status, status)

    def test_mistakes_name_the_place(self):
        for text, said in (
                ("app.host()", 'app.host: a name such as "example.org" or "*.example.org" expected'),
                ("app.host {}", 'app.host: a name such as "example.org" or "*.example.org" expected'),
                ("app.host(7)", "app.host: names expected, got 7"),
                ("app.host('a', nil, 'b')", "app.host: names expected, got nil"),
                ("app.host 'a:80'", 'app.host: "a:80" is no name of a host: a name without a port'),
                ("app.host 'https://a'", 'app.host: "https://a" is no name of a host: a name alone'),
                ("app.host '*'", 'app.host: "*" is no name of a host: names that no host has'),
                ("app.host 'a' app.host('b', 'A.')", 'app.host: the name "a" is taken by the host at '),
                ("app:host 'a'", "app.host: call it with a dot, not with a colon"),
                ("app.set { unknown_host = 500 }", 'app.set: unknown_host: "default", 404 or 421 expected, got 500'),
                ("app.host('a').set { idle_timeout = '1s' }", "applies to the whole server: set it with app.set"),
                ("app.host('a').set { max_boddy = 1 }", "did you mean \"max_body\"?"),
                ("app.host('a').set { access_log = 7 }", "host.set: access_log: a file, \"stdout\", \"syslog:\", true or false"),
                ("app.host('a').set { access_log = '' }", "true or false expected, got an empty text"),
                ("app.host('a').set { access_log_format = false }", "host.set: access_log_format: \"combined\", \"json\" or"),
                ("app.host('a').set { access_log_format = '$statu' }", "(did you mean $status?)"),
                ("app.host('a').set { trailing_slash = 'x' }", "host.set: trailing_slash: \"strict\""),
                ("app.host('a').set { write_high_mark = '1M', write_cap = '1K' }", "host.set: write_cap"),
                ("app.host('a').set { write_high_mark = '1M', write_cap = '8K' }", "limits of the host a: "),
                ("app.host('a').tls { name = 'a', cert = 'x' }", "the certificate is for the names of the host"),
                ("app.host('a').tls { min_version = '1.3' }", "applies to all certificates: set it with app.tls"),
                ("app.host('::1').tls { cert = 'x' }", "this host has no name that a certificate can be for"),
                ("app.host('a').tls { key = 'x' }", "host.tls: cert is missing: the file of a certificate in PEM"),
                ("app.host('a').static('/', '/tmp', { cache = 5 })", "host.static: cache: a time with a unit such as"),
                ("app.host('a').static('/', '/tmp', { lst = true })", 'host.static: unknown option "lst"'),
                ("app.host('a').static('/')", "host.static: a directory, or a table of files, expected, got nil"),
                ("app.host('a').get('x', print)", "host.get: "),
                ("local h = app.host('a') h.get('/', print) h.get('/', print)", "is already registered at "),
        ):
            with self.subTest(text), script(text) as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)
                self.assertIn("site.lua:2: ", done.stderr)

    def test_functions_of_hosts_are_for_the_start_alone(self):
        text = """
        local host = app.host("one.example")
        app.get("/", function(req) return select(2, pcall(req.query.f == "host" and app.host or host.get, "/", print)) end)
        """
        with script(text) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            self.assertIn("app.host", ask(server, "x", "/?f=host").text)
            self.assertIn("host.get", ask(server, "x", "/?f=get").text)

    def test_routes_are_listed_by_host(self):
        text = """
        app.set { unknown_host = 421 }
        app.get("/", print)
        local host = app.host("one.example", "*.one.example")
        host.get("/own", print)
        host.static("/files", "public")
        host.set { max_body = "4K", log_slow = "2s" }
        """
        with script(text, files=(("public/a", ""),)) as path:
            done = evtest.run(EVSERVE, "--routes", "site.lua", cwd=os.path.dirname(path))
            self.assertEqual(done.stdout, "GET  /  -  site.lua:4\n"
                             "host  one.example *.one.example\n"
                             "static  /files  -  public\n"
                             "GET     /own    -  site.lua:6\n")
            done = evtest.run(EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
            self.assertIn("set     unknown_host = 421\n", done.stdout)
            self.assertIn("set     one.example: max_body = 4096\n", done.stdout)
            self.assertIn("set     one.example: log_slow = 2000 ms\n", done.stdout)

    def test_the_access_log_leaves_a_host_out(self):
        text = """
        app.get("/", function() return "default" end)
        local host = app.host("one.example")
        host.set { access_log = false }
        host.get("/", function() return "one" end)
        """
        with script(text) as path:
            log = os.path.join(os.path.dirname(path), "access.log")
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--access-log", log, "--access-log-format",
                                "$host $status", path) as server:
                for host in "one.example", "x.org", "one.example":
                    self.assertEqual(ask(server, host).status, 200)
                self.assertEqual(ask(server, "one.example", "/none").status, 404)
            with open(log, encoding="ascii") as file:
                self.assertEqual(file.read(), "x.org 200\n")


class Logs(unittest.TestCase):
    """Hosts with an access log of their own."""

    SCRIPT = """
    app.set { access_log = "all.log", access_log_format = "$host $status" }
    app.get("/", function() return "default" end)
    local one = app.host("one.example")
    one.set { access_log = "one.log" }
    one.get("/", function() return "one" end)
    one.get("/health", { access_log = false }, function() return "well" end)
    one.get("/late", function() app.sleep("20ms") return "late" end)
    local two = app.host("two.example")
    two.set { access_log = "one.log", access_log_format = "two $uri $status" }
    two.get("/", function() return "two" end)
    local same = app.host("same.example")
    same.set { access_log_format = "same $status" }
    same.get("/", function() return "same" end)
    app.host("none.example").set { access_log = false }
    app.host("back.example").set { access_log = "all.log" }
    """

    def setUp(self):
        self.path = self.enterContext(script(self.SCRIPT))
        evtest.skip_without_lua([self.path])  # a subtest that is skipped does not end its test
        self.folder = os.path.dirname(self.path)

    def lines(self, name):
        with open(os.path.join(self.folder, name), encoding="ascii") as file:
            return sorted(file.read().splitlines())

    def serve(self, *argv):
        options = os.environ.get("ASAN_OPTIONS", "") + (":detect_leaks=0" if "--sandbox" in argv else "")
        return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *argv, self.path, cwd=self.folder,
                              env=dict(os.environ, ASAN_OPTIONS=options))

    def ask_all(self, server):
        for host, target, status in (("one.example", "/", 200), ("one.example", "/late", 200), ("one.example", "/none", 404),
                                     ("one.example", "/health", 200), ("two.example", "/", 200),
                                     ("same.example", "/", 200), ("none.example", "/", 404), ("x.org", "/", 200),
                                     ("back.example", "/", 404)):
            self.assertEqual(ask(server, host, target).status, status)

    def test_lines_go_to_the_log_of_the_host(self):
        for argv in (), ("--reactors", "2", "--sandbox"):
            with self.subTest(argv), self.serve(*argv) as server:
                self.ask_all(server)
                with Client(server) as client:  # one connection, several hosts, pipelined
                    for host in ("two.example", "one.example", "x.org", "two.example"):
                        client.send("GET", "/", [("Host", host)])
                    self.assertEqual([client.read().text for _ in range(4)], ["two", "one", "default", "two"])
                    client.sock.sendall(b"GET / HTTP/9\r\n\r\n")  # before a host is known
                    client.read()
            self.assertEqual(self.lines("one.log"), ["one.example 200"] * 3 + ["one.example 404"] + ["two / 200"] * 3)
            self.assertEqual(self.lines("all.log"), ["- 400", "back.example 404", "same 200", "x.org 200", "x.org 200"])
            os.remove(os.path.join(self.folder, "one.log"))
            os.remove(os.path.join(self.folder, "all.log"))

    def test_a_log_of_the_command_line_leaves_those_of_hosts_and_off_none(self):
        with self.serve("--access-log", "mine.log") as server:
            self.ask_all(server)
        self.assertEqual(self.lines("mine.log"), ["same 200", "x.org 200"])
        self.assertEqual(self.lines("all.log"), ["back.example 404"])
        os.remove(os.path.join(self.folder, "all.log"))
        os.remove(os.path.join(self.folder, "one.log"))
        with self.serve("--access-log", "off") as server:
            self.ask_all(server)
        done = evtest.run(EVSERVE, "--request", "/", self.path, cwd=self.folder)
        self.assertTrue(done.stdout.endswith("\ndefault"))
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".log")], ["mine.log"])

    def test_all_are_opened_again_and_a_reload_changes_them(self):
        with self.serve("--reactors", "2", "--sandbox") as server:
            self.ask_all(server)
            for name in ("one.log", "all.log"):
                os.rename(os.path.join(self.folder, name), os.path.join(self.folder, "old-" + name))
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: os.path.exists(os.path.join(self.folder, "one.log")), "one.log")
            self.assertEqual(ask(server, "one.example").status, 200)
            with open(self.path, "a", encoding="ascii") as file:
                file.write('\none.set { access_log = "new.log" }\ntwo.set { access_log = true }\n'
                           'app.get("/new", function() return "new" end)\n')
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: {ask(server, "x.org", "/new").status for _ in range(8)} == {200}, "the reload")
            self.ask_all(server)
        self.assertIn("one.example 200", self.lines("one.log"))
        self.assertEqual(sorted(self.lines("old-one.log") + self.lines("one.log")),  # lines may have waited for a second
                         ["one.example 200"] * 3 + ["one.example 404", "two / 200"])
        self.assertEqual(self.lines("new.log"), ["one.example 200"] * 2 + ["one.example 404"])
        self.assertEqual([line for line in self.lines("all.log") if line.startswith("two")], ["two / 200"])

    def test_one_that_cannot_be_opened_stops_the_start_and_a_reload(self):
        bad = "app.host('bad.example').set { access_log = 'nowhere/a.log' }"
        why = "the host bad.example: cannot open the access log nowhere/a.log: its directory does not exist"
        with script(bad) as path:
            for argv in ("--check",), ("--listen", "127.0.0.1:0"):
                done = evtest.run(EVSERVE, *argv, path)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"site\.lua:2: {why}")
        with self.serve() as server:
            with open(self.path, "a", encoding="ascii") as file:
                file.write("\n" + bad + "\n")
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any(why in line for line in server.lines), "the failure of the reload")
            self.ask_all(server)
        self.assertEqual(self.lines("one.log")[-1], "two / 200")

    def test_check_shows_them_and_a_format_needs_a_log(self):
        done = evtest.run(EVSERVE, "--check", self.path)
        self.assertIn("set     one.example: access_log = one.log\n", done.stdout)
        self.assertIn("set     two.example: access_log_format = two $uri $status\n", done.stdout)
        self.assertIn("set     none.example: access_log = off\n", done.stdout)
        with script("app.host('a').set { access_log_format = 'json' }") as path:
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "--request", "/", path)
            self.assertNotIn("access_log_format", done.stderr)
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                self.assertEqual(server.stop(), 0)
                said = "".join(server.lines)
        self.assertIn("site.lua:2: the host a: access_log_format is set, but no access_log", said)

    def test_a_full_table_and_one_more(self):
        text = "for i = 1, %d do app.host('h' .. i).set { access_log = 'h.log', access_log_format = i .. ' $status' } end"
        with script(text % 64) as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path, cwd=os.path.dirname(path)) as server:
                self.assertEqual([ask(server, f"h{i}").status for i in (1, 64)], [404, 404])
            with open(os.path.join(os.path.dirname(path), "h.log"), encoding="ascii") as file:
                self.assertEqual(sorted(file), ["1 404\n", "64 404\n"])
        with script(text % 65) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("the host h65: its access log h.log is one too many: hosts have at most 64", done.stderr)


class Reload(unittest.TestCase):
    def test_hosts_come_and_go_on_each_thread(self):
        with script("app.host('one.example').get('/', function() return 'one' end)") as path:
            with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path) as server:
                self.assertEqual({ask(server, "one.example").text for _ in range(8)}, {"one"})
                with open(path, "a", encoding="ascii") as file:
                    file.write("\napp.host('two.example').get('/', function() return 'two' end)\n")
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: {ask(server, "two.example").status for _ in range(8)} == {200}, "the reload")
                self.assertEqual({ask(server, "two.example").text for _ in range(8)}, {"two"})
                self.assertEqual({ask(server, "one.example").text for _ in range(8)}, {"one"})


class Secured(unittest.TestCase):
    SCRIPT = """
    local app = require "evserve"
    local www = app.host("www.test", "*.www.test", "127.0.0.1")
    www.tls { cert = "www.pem", key = "www-key.pem" }
    www.get("/", function(req) return "www " .. tostring(req.tls.sni) end)
    local admin = app.host("admin.test", "*.admin.test")
    admin.tls { cert = "admin.pem", key = "admin-key.pem", client_ca = "ca.pem" }
    admin.get("/", function(req) return "admin " .. req.tls.client.subject end)
    app.get("/", function() return "default" end)
    """

    @classmethod
    def setUpClass(cls):
        certificates.require_tls(EVSERVE)
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.authority.sign("www", "www.test", "*.www.test")
        cls.authority.sign("admin", "admin.test", "*.admin.test")
        cls.pair = cls.authority.sign("ann")
        with open(os.path.join(cls.folder, "site.lua"), "w", encoding="utf-8") as file:
            file.write(cls.SCRIPT)
        cls.server = cls.enterClassContext(
            evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", "site.lua", cwd=cls.folder))

    def ask(self, sni, host, cert=None):
        """(status, body, the common name of the certificate) of a request for host over a handshake for sni."""
        context = self.authority.client(cert)
        context.check_hostname = False
        with context.wrap_socket(self.server.connect(), server_hostname=sni) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = evtest.receive_all(sock).decode()
            name = dict(pair[0] for pair in sock.getpeercert()["subject"])["commonName"]
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2], name

    def test_certificates_are_those_of_the_names(self):
        self.assertEqual(self.ask("www.test", "www.test"), (200, "www www.test", "www"))
        self.assertEqual(self.ask("a.www.test", "a.b.www.test"), (200, "www a.www.test", "www"))
        self.assertEqual(self.ask("admin.test", "admin.test", self.pair), (200, "admin CN=ann", "admin"))
        self.assertEqual(self.ask("other.test", "other.test"), (200, "default", "www"))

    def test_the_handshake_may_be_for_another_name(self):
        self.assertEqual(self.ask("www.test", "other.test")[:2], (200, "default"))
        self.assertEqual(self.ask("other.test", "www.test")[:2], (200, "www other.test"))
        self.assertEqual(self.ask("admin.test", "www.test", self.pair)[:2], (200, "www admin.test"))
        self.assertEqual(self.ask("admin.test", "a.b.admin.test", self.pair)[:2], (200, "admin CN=ann"))

    def test_hosts_that_ask_for_certificates_are_not_reached_without_one(self):
        for host in "admin.test", "ADMIN.test.:443", "a.admin.test", "a.b.admin.test", "a.b.c.admin.test.":
            with self.subTest(host):
                self.assertEqual(self.ask("www.test", host)[0], 421)
                self.assertEqual(self.ask("a.b.admin.test", host)[0], 421)  # a name that no certificate is for
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.ask("admin.test", "admin.test")


if __name__ == "__main__":
    unittest.main()
