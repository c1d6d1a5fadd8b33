"""From HTTP to HTTPS: listeners that redirect, ACME challenges, and Strict-Transport-Security. With real clients."""

import os
import shutil
import signal
import socket
import subprocess

import certificates
import evtest
import side_by_side
from lua_site import EVSERVE
from test_tls import IN_SANDBOX, PROGRAMS, SITE, Case, Connection

ADDRESSES = "127.0.0.1:0?redirect_https,127.0.0.1:0?tls"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"
AUTHORIZATION = TOKEN + ".nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"


def setUpModule():
    certificates.require_tls(EVSERVE)


def listening(server, count=2):
    """The addresses that a server says it listens on, in their order."""
    evtest.wait_until(lambda: len([line for line in server.lines if line.startswith("listening on ")]) >= count,
                      "addresses")
    return [evtest.parse_address(line.split()[2]) for line in server.lines if line.startswith("listening on ")]


def exchange(address, request):
    """Everything that comes for these bytes until the server closes."""
    with evtest.connect(address) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def get(address, target="/", host="localhost", method="GET"):
    """Status, fields and content of one request over plain HTTP."""
    field = "" if host is None else f"Host: {host}\r\n"
    version = "1.0" if host is None else "1.1"
    raw = exchange(address, f"{method} {target} HTTP/{version}\r\n{field}Connection: close\r\n\r\n".encode())
    head, _, content = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), fields, content


class Redirects(Case):
    @classmethod
    def make(cls):
        cls.pair = cls.authority.sign("names", "localhost", "example.org", "*.example.net", "127.0.0.1")
        cls.server = cls.stack.enter_context(cls.serve(listen=ADDRESSES))
        cls.plain, cls.secured = listening(cls.server)
        cls.origin = f":{cls.secured[1]}"

    def location(self, *request, **options):
        status, fields, _ = get(self.plain, *request, **options)
        self.assertEqual(status, 308)
        return fields["location"]

    def refused(self, status, *request, **options):
        got, fields, content = get(self.plain, *request, **options)
        self.assertEqual(got, status)
        self.assertNotIn("location", fields)
        return content.decode()

    def test_target_is_kept_byte_for_byte(self):
        for target in "/", "/a?b=c", "/a/../b//c/./d", "/%7Efoo/%2e%2E/x?%20&&=/?", "//evil.example/", "/?", "/a'\"<>|":
            with self.subTest(target):
                self.assertEqual(self.location(target), f"https://localhost{self.origin}{target}")

    def test_every_method(self):
        for method in "GET", "PUT", "DELETE", "OPTIONS", "PROPFIND":
            with self.subTest(method):
                self.assertEqual(self.location("/x", method=method), f"https://localhost{self.origin}/x")
        status, fields, content = get(self.plain, "/x", method="HEAD")
        self.assertEqual((status, content), (308, b""))
        self.assertEqual(fields["location"], f"https://localhost{self.origin}/x")
        self.assertEqual(self.location("*", method="OPTIONS"), f"https://localhost{self.origin}")

    def test_host_is_one_of_the_certificates(self):
        for host, expected in (("EXAMPLE.org", "EXAMPLE.org"), ("example.org:80", "example.org"),
                               ("example.org.", "example.org"), ("example.org.:8080", "example.org"),
                               ("a.example.net", "a.example.net"), ("127.0.0.1:80", "127.0.0.1")):
            with self.subTest(host):
                self.assertEqual(self.location(host=host), f"https://{expected}{self.origin}/")

    def test_foreign_hosts_are_misdirected(self):
        for host in "evil.example", "a.b.example.net", "example.net", "127.0.0.2", "[::1]", "*.example.net", \
                    "a%2fb.example.net", "a$b.example.net", "localhost..", ".":
            with self.subTest(host):
                self.assertIn("no certificate is for the host", self.refused(421, host=host))

    def test_no_host(self):
        self.assertIn("names no host", self.refused(400, host=None))
        self.assertIn("names no host", self.refused(400, host=""))
        self.refused(400, host="a b")
        self.refused(400, host="user@example.org")

    def test_absolute_form(self):
        """Its authority counts, not that of Host."""
        self.assertEqual(self.location("http://example.org:80/a?b", host="evil.example"),
                         f"https://example.org{self.origin}/a?b")
        self.assertEqual(self.location("http://example.org", host="x"), f"https://example.org{self.origin}/")
        self.assertEqual(self.location("http://example.org?q", host="x"), f"https://example.org{self.origin}/?q")
        self.assertEqual(self.location("http://example.org", host="x", method="OPTIONS"),
                         f"https://example.org{self.origin}")
        self.refused(421, "http://evil.example/", host="example.org")

    def test_bodies_and_pipelining(self):
        post = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        raw = exchange(self.plain, post + b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n" + post)
        self.assertEqual(raw.count(b"HTTP/1.1 308 "), 3)
        self.assertEqual(raw.count(b"/a\r\n"), 2)
        raw = exchange(self.plain, b"POST /a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                                   b"Content-Length: 5\r\n\r\n")
        self.assertTrue(raw.startswith(b"HTTP/1.1 308 "), raw)
        self.assertIn(b"Connection: close\r\n", raw)

    def test_long_targets(self):
        self.assertEqual(len(self.location("/" + "x" * 8000)), len(f"https://localhost{self.origin}/") + 8000)
        self.refused(414, "/" + "x" * 9000)

    def test_curl_follows(self):
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        url = f"http://example.org:{self.plain[1]}/host?a=b"
        done = subprocess.run(
            ["curl", "-sS", "-L", "--cacert", self.authority.path("ca.pem"),
             "--resolve", f"example.org:{self.plain[1]}:127.0.0.1",
             "--resolve", f"example.org:{self.secured[1]}:127.0.0.1", "-w", "%{http_code} %{num_redirects}", url],
            capture_output=True, text=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual((done.stdout, done.stderr), (f"example.org:{self.secured[1]}\n200 1", ""))

    def test_nothing_else_is_served_there(self):
        self.assertEqual(self.location("/tls"), f"https://localhost{self.origin}/tls")
        with Connection(self.secured, self.authority.client()) as connection:
            self.assertEqual(connection.ask("/")[0], 200)


class Variants(Case):
    def test_port_of_its_own(self):
        for option, origin in ("=443", ""), ("=8443", ":8443"):
            with self.serve(listen=f"127.0.0.1:0?redirect_https{option},127.0.0.1:0?tls") as server:
                self.assertEqual(get(listening(server)[0])[1]["location"], f"https://localhost{origin}/")

    def test_script(self):
        script = SITE + """
app.redirect_https("127.0.0.1:0")
app.redirect_https("unix:plain.sock?mode=600", { port = 444 })
app.listen "127.0.0.1:0?tls"
app.tls { cert = "first.pem", key = "first-key.pem" }
app.get("/redirected", function() return "never\\n" end)
"""
        self.write("site.lua", script)
        for options in [], ["--reactors", "3"]:
            with evtest.Program(EVSERVE, *options, "site.lua", cwd=self.folder) as server:
                plain, _, secured = listening(server, 3)
                for _ in range(10): # some for each thread
                    self.assertEqual(get(plain, "/redirected")[1]["location"],
                                     f"https://localhost:{secured[1]}/redirected")
                path = os.path.join(self.folder, "plain.sock")
                self.assertEqual(get(path)[1]["location"], "https://localhost:444/")

    def test_reload_keeps_an_address_to_redirect_to(self):
        secured = 'app.listen "127.0.0.1:0?tls"\n'
        script = SITE + 'app.redirect_https "127.0.0.1:0"\napp.tls { cert = "first.pem", key = "first-key.pem" }\n'
        self.write("site.lua", script + secured)
        with evtest.Program(EVSERVE, "site.lua", cwd=self.folder) as server:
            plain, tls = listening(server)
            self.write("site.lua", script)
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("not reloaded" in line for line in server.lines), "the reload")
            self.assertRegex("\n".join(server.lines), r"not reloaded: site\.lua:\d+: listen address .* no HTTPS to redirect")
            self.assertEqual(get(plain)[1]["location"], f"https://localhost:{tls[1]}/")

    def test_names_of_new_certificates_hold(self):
        pair = [self.authority.path("live.pem"), self.authority.path("live-key.pem")]
        for options in [], ["--reactors", "2"]:
            for source, target in zip(self.authority.sign("old", "old.example"), pair):
                shutil.copy(source, target)
            with self.serve(SITE, *options, listen=ADDRESSES, pair=pair) as server:
                plain, _ = listening(server)
                self.assertEqual([get(plain, host=host)[0] for host in ("old.example", "new.example")], [308, 421])
                for source, target in zip(self.authority.sign("new", "new.example"), pair):
                    shutil.copy(source, target)
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
                for _ in range(8):
                    self.assertEqual([get(plain, host=host)[0] for host in ("old.example", "new.example")], [421, 308])

    def test_what_is_wrong_at_the_start(self):
        def refused(*arguments, script=SITE):
            self.write("wrong.lua", script)
            for check in [], ["--check"]:
                done = evtest.run(EVSERVE, *check, *arguments, "wrong.lua", cwd=self.folder)
                self.assertEqual(done.returncode, 1)
            return done.stderr

        self.assertIn('listen address "127.0.0.1:0?redirect_https": there is no HTTPS to redirect to',
                      refused("--listen", "127.0.0.1:0?redirect_https"))
        self.assertIn("there is no HTTPS to redirect to",
                      refused("--listen", "127.0.0.1:0?redirect_https", "--tls-cert", self.pair[0], "--tls-key",
                              self.pair[1]))
        self.assertRegex(refused(script=SITE + 'app.redirect_https "127.0.0.1:0"'), r"^wrong\.lua:\d+: listen address")
        self.assertIn("contradict", refused("--listen", "127.0.0.1:0?tls&redirect_https"))
        self.assertIn("1 to 65535", refused("--listen", "127.0.0.1:0?redirect_https=0"))
        for wrong in "redirect_https(80)", 'redirect_https("x")', 'redirect_https(":80", { port = 0 })', \
                     'redirect_https(":80", { prot = 1 })', 'redirect_https(":80?tls")', "acme()", 'acme("")', \
                     'acme("a") app.acme("b")', 'set { hsts = "1y" }', "set { hsts = 5 }":
            with self.subTest(wrong):
                self.assertRegex(refused(script=SITE + "app." + wrong), r"^wrong\.lua:\d+: app\.\w+: ")
        self.assertIn('app.tls: unknown option "certificate": there are cert, key, name, client_ca, client, ',
                      refused(script=SITE + 'app.tls { certificate = "x" }'))
        done = evtest.run(EVSERVE, "--hsts", "30")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r'^evserve: --hsts: "30": a time such as "365d" expected')


class Challenges(Case):
    def setUp(self):
        self.challenges = os.path.join(self.folder, "challenges")
        os.makedirs(self.challenges, exist_ok=True)
        self.addCleanup(shutil.rmtree, self.challenges, ignore_errors=True)
        self.put(TOKEN, AUTHORIZATION)

    def put(self, name, text, folder=None):
        with open(os.path.join(folder or self.challenges, name), "w", encoding="ascii") as file:
            file.write(text)

    def ask(self, address, token=TOKEN, **options):
        return get(address, "/.well-known/acme-challenge/" + token, **options)

    def test_on_every_listener(self):
        with self.serve(SITE, "--acme", "challenges", listen=ADDRESSES + ",127.0.0.1:0") as server:
            redirecting, secured, plain = listening(server, 3)
            for address in redirecting, plain:
                for host in "localhost", "not.of.a.certificate", None:
                    status, fields, content = self.ask(address, host=host)
                    self.assertEqual((status, content.decode()), (200, AUTHORIZATION))
                    self.assertEqual(fields["content-type"], "application/octet-stream")
                status, fields, content = self.ask(address, method="HEAD")
                self.assertEqual((status, fields["content-length"], content), (200, str(len(AUTHORIZATION)), b""))
                status, fields, _ = self.ask(address, method="POST")
                self.assertEqual((status, fields["allow"]), (405, "GET, HEAD, OPTIONS"))
                self.assertEqual(self.ask(address, method="OPTIONS")[0], 204)
            with Connection(secured, self.authority.client()) as connection:
                self.assertEqual(connection.ask("/.well-known/acme-challenge/" + TOKEN),
                                 (200, AUTHORIZATION.encode()))
            self.assertEqual(get(redirecting, "/.well-known/other")[0], 308)

    def test_only_plain_files_directly_in_the_directory(self):
        os.mkdir(os.path.join(self.challenges, "folder"))
        self.put("inside", "x", os.path.join(self.challenges, "folder"))
        os.symlink(self.pair[1], os.path.join(self.challenges, "link"))
        os.mkfifo(os.path.join(self.challenges, "pipe"))
        self.put(".hidden", "x")
        self.put("a.txt", "x")
        self.put("large", "x" * 4097)
        self.put("full", "x" * 4096)
        self.put("x" * 255, "long")
        with self.serve(SITE, "--acme", "challenges", listen=ADDRESSES) as server:
            plain = listening(server)[0]
            for token in "", "none", "folder", "folder/", "folder/inside", "link", "pipe", ".hidden", "a.txt", ".", \
                         "%2e%2e%2ffirst.pem", "a%00b", "..%2f", "x" * 256, "%20":
                with self.subTest(token):
                    self.assertIn(self.ask(plain, token)[0], (400, 404))
            self.assertEqual(get(plain, "/.well-known/acme-challenge/../../first-key.pem")[0], 308)
            self.assertEqual(self.ask(plain, "full")[2], b"x" * 4096)
            self.assertEqual(self.ask(plain, "x" * 255)[2], b"long")
            self.assertEqual(self.ask(plain, "large")[0], 500)
            evtest.wait_until(lambda: any("challenges/large" in line for line in server.lines), "a line in the log")

    def test_directory_comes_goes_and_is_replaced(self):
        shutil.rmtree(self.challenges)
        with self.serve(SITE + 'app.acme "challenges/"', "--reactors", "2", listen=ADDRESSES) as server:
            plain = listening(server)[0]
            evtest.wait_until(lambda: any("cannot be used yet" in line for line in server.lines), "a warning")
            for text in "first", "second":
                self.assertEqual(self.ask(plain)[0], 404)
                os.mkdir(self.challenges)
                self.put(TOKEN, text)
                self.assertEqual(self.ask(plain)[2].decode(), text)
                shutil.rmtree(self.challenges)
            os.mkdir(os.path.join(self.folder, "elsewhere"))
            self.put(TOKEN, "third", os.path.join(self.folder, "elsewhere"))
            self.write("site.lua", SITE + 'app.acme "elsewhere"')
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
            for _ in range(8):
                self.assertEqual(self.ask(plain)[2], b"third")

    def test_sandbox(self):
        """What is there at the start, what comes later, and certbot's folders below a site's root."""
        os.makedirs(os.path.join(self.folder, "webroot"))
        below = os.path.join("webroot", ".well-known", "acme-challenge")
        for directory, is_there in ("challenges", True), (os.path.join("challenges", "later"), False), (below, False):
            with self.serve(SITE, "--sandbox", "--acme", directory, listen=ADDRESSES, env=IN_SANDBOX) as server:
                plain = listening(server)[0]
                folder = os.path.join(self.folder, directory)
                os.makedirs(folder, exist_ok=is_there)
                self.put("tok", directory, folder)
                self.assertEqual(self.ask(plain, "tok")[2].decode(), directory)
                self.assertEqual(get(plain)[0], 308)
        shutil.rmtree(os.path.join(self.folder, "webroot"))
        done = evtest.run(EVSERVE, "--sandbox", "--listen", "127.0.0.1:0", "--acme", "/none/of/these", "--root", ".", cwd=self.folder,
                          env=IN_SANDBOX)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot allow /none/of/these, the directory of ACME challenges", done.stderr)

    def test_script_that_names_another_directory(self):
        """The host's wins."""
        self.write("other.lua", SITE + 'app.acme "none"')
        done = evtest.run(EVSERVE, "--check", "--acme", "challenges", "other.lua", cwd=self.folder)
        self.assertIn("set     acme = challenges\n", done.stdout)
        self.assertNotIn("none", done.stdout)


class TransportSecurity(Case):
    @classmethod
    def make(cls):
        os.mkdir(os.path.join(cls.folder, "files"))
        for name, size in ("small", 10), ("large", 100_000):
            with open(os.path.join(cls.folder, "files", name), "wb") as file:
                file.write(b"x" * size)

    def fields(self, connection, target, method="GET", fields=""):
        status, _ = connection.ask(target, method, fields=fields)
        return status, connection.fields.get("strict-transport-security"), connection.fields

    def test_every_response_over_tls(self):
        script = SITE + """
app.set { hsts = "365d; includeSubDomains" }
app.static("/", "files")
app.static("/own", "files", { headers = { ["Strict-Transport-Security"] = "max-age=1" } })
app.get("/mine", function() return 200, "x", { ["strict-transport-security"] = "max-age=2" } end)
app.get("/fail", function() error("x") end)
"""
        line = "max-age=31536000; includeSubDomains"
        with self.serve(script, listen="127.0.0.1:0,127.0.0.1:0?tls") as server:
            plain, secured = listening(server)
            connection = Connection(secured, self.authority.client())
            self.addCleanup(connection.close)
            for target, status in ("/", 200), ("/small", 200), ("/large", 200), ("/none", 404), ("/stream", 200), \
                                  ("/fail", 500), ("/host", 200):
                self.assertEqual(self.fields(connection, target)[:2], (status, line), target)
            tag = self.fields(connection, "/small")[2]["etag"]
            with Connection(secured, self.authority.client()) as other:
                other.send("/small", fields=f"If-None-Match: {tag}\r\nConnection: close\r\n")
                raw = other.file.read()
                self.assertTrue(raw.startswith(b"HTTP/1.1 304 "), raw)
                self.assertIn(line.encode(), raw)
            self.assertEqual(self.fields(connection, "/large", fields="Range: bytes=1-9\r\n")[:2], (206, line))
            self.assertEqual(self.fields(connection, "/tls", "DELETE")[:2], (405, line))
            self.assertEqual(self.fields(connection, "/own/small")[1], "max-age=1")
            self.assertEqual(self.fields(connection, "/own/large")[1], "max-age=1")
            self.assertEqual(self.fields(connection, "/own/none")[1], "max-age=1")
            self.assertEqual(self.fields(connection, "/mine")[1], "max-age=2")
            for target in "/", "/small", "/none":
                self.assertNotIn("strict-transport-security", get(plain, target)[1])
            connection.send("/ bad")
            raw = connection.file.read()
            self.assertEqual(raw.count(b"Strict-Transport-Security: " + line.encode() + b"\r\n"), 1)

    def test_command_line_wins_and_can_turn_it_off(self):
        script = SITE + 'app.set { hsts = "1d" }'
        for option, line in ("off", None), ("2h", "max-age=7200"), ("0s", "max-age=0"):
            with self.serve(script, "--hsts", option) as server:
                self.assertEqual(self.fields(self.connect(server), "/")[1], line)

    def test_reload_changes_it(self):
        with self.serve(SITE + 'app.set { hsts = "1d" }') as server:
            connection = self.connect(server)
            self.assertEqual(self.fields(connection, "/")[1], "max-age=86400")
            self.write("site.lua", SITE)
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "the reload")
            self.assertEqual(self.fields(connection, "/")[1], None)

    def test_example_host(self):
        with evtest.Program(os.path.join(PROGRAMS, "https"), *self.pair) as server:
            secured, plain = listening(server)
            self.assertEqual(get(plain, "/account")[1]["location"], f"https://localhost:{secured[1]}/account")
            self.assertEqual(self.fields(self.connect(server), "/")[1], "max-age=3600")

    def test_warning_without_tls(self):
        done = evtest.run(EVSERVE, "--check", "--listen", "127.0.0.1:0", "--hsts", "1d", "--root", ".", cwd=self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertIn("hsts is set, but no address speaks TLS", done.stderr)


if __name__ == "__main__":
    side_by_side.main()
