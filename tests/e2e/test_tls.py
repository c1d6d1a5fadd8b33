"""HTTPS with real clients: Python's ssl (OpenSSL) and curl. Handshakes, server names, client certificates, bodies and
streams, certificates that are replaced while the server runs, and what is wrong at the start."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import time
import unittest
import warnings

import certificates
import evtest
import side_by_side
from lua_site import EVSERVE, HEAD

# A sandbox rightly forbids the search for leaks, which traces the program.
IN_SANDBOX = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
PROGRAMS = os.environ["EVSERVE_PROGRAMS"]

SITE = HEAD + """
app.get("/", function(req) return req.scheme .. "\\n" end)
app.get("/tls", function(req) return req.tls or { none = true } end)
app.get("/host", function(req) return req.headers.host .. "\\n" end)
app.get("/stream", function()
    return 200, function(out) for i = 1, 2000 do out:write(("%04d"):format(i):rep(250)) end end
end)
app.get("/slow", function()
    return 200, function(out) for i = 1, 5 do out:write(i .. "\\n") app.sleep "10ms" end end
end)
app.post("/length", { max_body = "64M" }, function(req)
    local sum = 0
    for chunk in req:chunks() do sum = sum + #chunk end
    return sum .. "\\n"
end)
local left = 0
app.get("/left", function() return { left } end)
local function wait()
    local ok, err = pcall(app.sleep, "1h")
    left = left + 1
    error(err, 0)
end
app.limit("/wait", { concurrency = 1 })
app.get("/wait", wait)
app.get("/events", function() return 200, function(out) out:write("begun") wait() end end)
app.post("/paused", function(req) for _ in req:chunks() do wait() end end)
app.websocket("/ws", function(ws) for _ in ws:messages() do end left = left + 1 end)
app.post("/echo", { max_body = "64M" }, function(req) return req.body end)
"""

WEBSOCKET = ("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")


def setUpModule():
    certificates.require_tls(EVSERVE)


class Connection:
    """A TLS connection that sends requests and reads responses."""

    def __init__(self, address, context, name="localhost", session=None):
        self.raw = evtest.connect(address)
        try:
            self.sock = context.wrap_socket(self.raw, server_hostname=name, suppress_ragged_eofs=False, session=session)
        except BaseException:
            self.raw.close()
            raise
        self.file = self.sock.makefile("rb")

    def ask(self, target="/", method="GET", body=None, fields=""):
        self.send(target, method, body, fields)
        return self.read()

    def send(self, target="/", method="GET", body=None, fields=""):
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        self.sock.sendall(head.encode() + b"\r\n" + (body or b""))

    def read(self):
        status = int(self.file.readline().split()[1])
        fields = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        self.fields = fields
        if "content-length" in fields:
            return status, self.file.read(int(fields["content-length"]))
        body = b""
        while (size := int(self.file.readline(), 16)) > 0:
            body += self.file.read(size)
            self.file.readline()
        self.file.readline()
        return status, body

    def serial(self):
        return self.sock.getpeercert()["serialNumber"]

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Case(unittest.TestCase):
    """A folder with an authority, and servers that run in it."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.folder = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.pair = cls.authority.sign("first", "localhost", "127.0.0.1")
        cls.make()

    @classmethod
    def make(cls):
        """More for the whole class."""

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    @classmethod
    def serve(cls, script=SITE, *options, listen="127.0.0.1:0?tls", pair=None, name="site.lua", **popen):
        """Start a server; pair None: the command line names the first one; False: the script does."""
        cls.write(name, script)
        files = cls.pair if pair is None else pair
        arguments = ["--tls-cert", files[0], "--tls-key", files[1]] if files else []
        return evtest.Program(EVSERVE, "--listen", listen, *arguments, *options, name, cwd=cls.folder, **popen)

    def connect(self, server, name="localhost", context=None, session=None):
        connection = Connection(server.address, context or self.authority.client(), name, session)
        self.addCleanup(connection.close)
        return connection


class Requests(Case):
    @classmethod
    def make(cls):
        os.mkdir(os.path.join(cls.folder, "files"))
        cls.big = os.urandom(5_000_000)
        with open(os.path.join(cls.folder, "files", "big.bin"), "wb") as file:
            file.write(cls.big)
        with open(os.path.join(cls.folder, "files", "small.txt"), "wb") as file:
            file.write(b"small\n")
        cls.server = cls.stack.enter_context(cls.serve(SITE, "--root", "files"))

    def test_request_knows_that_it_is_secured(self):
        connection = self.connect(self.server)
        self.assertEqual(connection.ask("/host"), (200, b"localhost\n"))
        self.assertEqual(connection.ask(), (200, b"https\n"))
        facts = json.loads(connection.ask("/tls")[1])
        self.assertEqual(facts, {"version": "TLSv1.3", "cipher": connection.sock.cipher()[0], "sni": "localhost",
                                 "alpn": "http/1.1", "resumed": False})

    def test_tls_1_2_is_served_too(self):
        context = self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2)
        facts = json.loads(self.connect(self.server, context=context).ask("/tls")[1])
        self.assertEqual(facts["version"], "TLSv1.2")
        self.assertRegex(facts["cipher"], r"^ECDHE-")

    def test_older_versions_are_refused(self):
        context = ssl.create_default_context(cafile=self.authority.path("ca.pem"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with warnings.catch_warnings(action="ignore"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            Connection(self.server.address, context)

    def test_client_without_sni_and_alpn(self):
        context = ssl.create_default_context(cafile=self.authority.path("ca.pem"))
        context.check_hostname = False
        facts = json.loads(self.connect(self.server, None, context).ask("/tls")[1])
        self.assertNotIn("sni", facts)
        self.assertNotIn("alpn", facts)

    def test_files(self):
        connection = self.connect(self.server)
        self.assertEqual(connection.ask("/small.txt"), (200, b"small\n"))
        self.assertEqual(connection.ask("/big.bin"), (200, self.big))
        self.assertEqual(connection.ask("/big.bin", fields="Range: bytes=1000000-1999999\r\n"),
                         (206, self.big[1000000:2000000]))
        self.assertEqual(connection.ask("/none")[0], 404)

    def test_uploads(self):
        connection = self.connect(self.server)
        self.assertEqual(connection.ask("/length", "POST", self.big), (200, b"%d\n" % len(self.big)))
        status, body = connection.ask("/echo", "POST", self.big)
        self.assertEqual((status, hashlib.sha256(body).digest()), (200, hashlib.sha256(self.big).digest()))
        self.assertEqual(connection.ask("/echo", "POST", b""), (200, b""))

    def test_streams(self):
        connection = self.connect(self.server)
        status, body = connection.ask("/stream")
        self.assertEqual((status, body), (200, b"".join(b"%04d" % i * 250 for i in range(1, 2001))))
        self.assertEqual(connection.ask("/slow"), (200, b"1\n2\n3\n4\n5\n"))

    def test_pipelined_requests_in_one_record(self):
        """All but the first lie in OpenSSL's buffer, where no event of the socket tells of them."""
        connection = self.connect(self.server)
        connection.sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
        for _ in range(300):
            self.assertEqual(connection.read(), (200, b"https\n"))

    def test_request_byte_by_byte(self):
        connection = self.connect(self.server)
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":
            connection.sock.sendall(bytes([byte]))
        self.assertEqual(connection.read(), (200, b"https\n"))

    def test_end_is_orderly(self):
        connection = self.connect(self.server)
        self.assertEqual(connection.ask(fields="Connection: close\r\n"), (200, b"https\n"))
        self.assertEqual(connection.sock.recv(1), b"")  # close_notify: a ragged end would raise

    def test_client_that_says_its_end_and_keeps_tcp_open_has_left(self):
        ends = 0
        for method, target, fields in (("GET", "/wait", ""), ("GET", "/wait", ""), ("GET", "/events", ""),
                                       ("POST", "/paused", "Content-Length: 30000\r\n\r\nx"),
                                       ("GET", "/ws", WEBSOCKET)):
            with self.subTest(target=target):
                connection = self.connect(self.server)
                connection.send(target, method, None, fields)
                if target in ("/events", "/ws"):
                    connection.sock.recv(4000)
                else:
                    evtest.wait_until_read(connection.sock)
                with contextlib.suppress(OSError):
                    connection.sock.settimeout(0.01)
                    connection.sock.unwrap()
                ends += 1
                evtest.wait_until(lambda: json.loads(self.connect(self.server).ask("/left")[1]) == [ends], "its end")

    def test_body_that_was_cut_is_not_served(self):
        connection = self.connect(self.server)
        connection.sock.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        with socket.socket(fileno=os.dup(connection.sock.fileno())) as raw:
            raw.shutdown(socket.SHUT_WR)  # without close_notify
        with self.assertRaises((EOFError, IndexError, OSError)):
            status, _ = connection.read()
            self.assertNotEqual(status, 200)
            raise EOFError

    def test_target_with_a_scheme(self):
        connection = self.connect(self.server)
        self.assertEqual(connection.ask("https://other/host"), (200, b"other\n"))
        self.assertEqual(connection.ask("http://other/host")[0], 421)

    def test_plain_http_gets_a_400_that_says_so(self):
        with self.server.connect() as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = evtest.receive_all(plain)
        self.assertRegex(answer, rb"\AHTTP/1\.1 400 ")
        self.assertRegex(answer, rb"(?i)https|tls")
        self.assertEqual(self.connect(self.server).ask(), (200, b"https\n"))

    def test_garbage_and_silence_disturb_nobody(self):
        for garbage in b"", b"\x16", b"\x16\x03\x01\x00\x05hello", bytes(range(256)) * 20:
            with self.server.connect() as client:
                client.sendall(garbage)
        self.assertEqual(self.connect(self.server).ask(), (200, b"https\n"))

    def test_session_is_resumed(self):
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            with self.subTest(version=version):
                context = self.authority.client(maximum_version=version)
                first = self.connect(self.server, context=context)
                self.assertIs(json.loads(first.ask("/tls")[1])["resumed"], False)
                again = self.connect(self.server, context=context, session=first.sock.session)
                self.assertTrue(again.sock.session_reused)
                self.assertIs(json.loads(again.ask("/tls")[1])["resumed"], True)

    def test_curl(self):
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        url = "https://localhost:%d" % self.server.address[1]
        done = subprocess.run(["curl", "-sS", "--cacert", self.authority.path("ca.pem"), url + "/tls", url + "/big.bin",
                               "-o", os.path.join(self.folder, "one"), "-o", os.path.join(self.folder, "two")],
                              capture_output=True, text=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "two"), "rb") as file:
            self.assertEqual(file.read(), self.big)
        with open(os.path.join(self.folder, "one"), encoding="ascii") as file:
            self.assertEqual(json.load(file)["sni"], "localhost")


class Names(Case):
    SCRIPT = """
    app.tls { cert = "first.pem", key = "first-key.pem" }
    app.tls { cert = "shop.pem", key = "shop-key.pem" }
    app.tls { cert = "rsa.pem", key = "rsa-key.pem" }
    app.tls { cert = "wild.pem", key = "wild-key.pem" }
    """

    @classmethod
    def make(cls):
        for name, hosts, rsa in (("shop", ["shop.test"], False), ("rsa", ["shop.test"], True),
                                 ("wild", ["*.wild.test"], False)):
            cls.authority.sign(name, *hosts, rsa=rsa)
        cls.server = cls.stack.enter_context(cls.serve(SITE + cls.SCRIPT, pair=False))

    def names(self, name, **settings):
        connection = self.connect(self.server, name, self.authority.client(**settings))
        return [value for kind, value in connection.sock.getpeercert()["subjectAltName"] if kind == "DNS"]

    def test_certificate_is_chosen_by_name(self):
        self.assertEqual(self.names("localhost"), ["localhost"])
        self.assertEqual(self.names("shop.test"), ["shop.test"])
        self.assertEqual(self.names("other.wild.test"), ["*.wild.test"])

    def test_unknown_name_gets_the_default(self):
        self.assertEqual(self.names("unknown.test", check_hostname=False), ["localhost"])
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.names("unknown.test")

    def test_rsa_and_ecdsa_side_by_side(self):
        for ciphers, kind in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"), ("ECDHE-RSA-AES128-GCM-SHA256", "RSA"):
            context = self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(ciphers)
            self.assertIn(kind, self.connect(self.server, "shop.test", context).sock.cipher()[0])


class Clients(Case):
    @classmethod
    def make(cls):
        cls.alice = cls.authority.sign("alice", subject="/O=Example/CN=alice")
        stranger = certificates.Authority(cls.folder, "stranger")
        cls.mallory = stranger.sign("mallory")

    def ask(self, server, cert):
        with Connection(server.address, self.authority.client(cert)) as connection:
            return json.loads(connection.ask("/tls")[1])

    def check_identity(self, server):
        client = self.ask(server, self.alice)["client"]
        self.assertEqual(client["fingerprint"], certificates.fingerprint(self.alice[0]))
        self.assertIn("CN=alice", client["subject"])

    def test_required(self):
        tls = 'app.tls { cert = "first.pem", key = "first-key.pem", client_ca = "ca.pem", client = "required" }'
        with self.serve(SITE + tls, pair=False) as server:
            self.check_identity(server)
            for cert in None, self.mallory:
                with self.assertRaises((ssl.SSLError, OSError, IndexError)):
                    self.ask(server, cert)
            self.check_identity(server)

    def test_required_unless_the_script_says_optional(self):
        tls = 'app.tls { cert = "first.pem", key = "first-key.pem", client_ca = "ca.pem" }'
        with self.serve(SITE + tls, pair=False) as server:
            with self.assertRaises((ssl.SSLError, OSError, IndexError)):
                self.ask(server, None)

    def test_optional(self):
        tls = 'app.tls { cert = "first.pem", key = "first-key.pem", client_ca = "ca.pem", client = "optional" }'
        with self.serve(SITE + tls, pair=False) as server:
            self.check_identity(server)
            self.assertNotIn("client", self.ask(server, None))


class Listeners(Case):
    def test_tls_and_plain_side_by_side(self):
        script = SITE + 'app.listen "127.0.0.1:0?tls"\napp.listen "127.0.0.1:0"\n'
        self.write("both.lua", script)
        with evtest.Program(EVSERVE, "--tls-cert", self.pair[0], "--tls-key", self.pair[1], "both.lua",
                            cwd=self.folder) as server:
            evtest.wait_until(lambda: len(server.lines) >= 2, "both addresses")
            plain = evtest.parse_address(server.lines[1].removeprefix("listening on "))
            self.assertEqual(self.connect(server).ask(), (200, b"https\n"))
            with evtest.connect(plain) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(evtest.receive_all(sock).endswith(b"\r\n\r\nhttp\n"))

    def test_unix_socket(self):
        with self.serve(listen="unix:s.sock?tls&mode=600") as server:
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.folder, "s.sock")).st_mode), 0o600)
            server.address = os.path.join(self.folder, "s.sock")
            self.assertEqual(self.connect(server).ask(), (200, b"https\n"))

    def test_several_reactors_share_their_tickets(self):
        with self.serve(SITE, "--reactors", "3") as server:
            context = self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2)
            session = self.connect(server, context=context).sock.session
            for _ in range(20):
                self.assertTrue(self.connect(server, context=context, session=session).sock.session_reused)

    def test_minimum_version(self):
        with self.serve(SITE + 'app.tls { min_version = "1.3" }') as server:
            self.assertEqual(self.connect(server).sock.version(), "TLSv1.3")
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                Connection(server.address, self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2))

    def test_minimum_version_of_openssl_cnf(self):
        """It holds, unless the script has one of its own."""
        self.write("openssl.cnf", "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = system\n"
                   "[system]\nMinProtocol = TLSv1.3\n")
        old = self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2)
        environment = dict(os.environ, OPENSSL_CONF=os.path.join(self.folder, "openssl.cnf"))
        with self.serve(env=environment) as server, self.assertRaises((ssl.SSLError, ConnectionError)):
            Connection(server.address, old)
        script = SITE + 'app.tls { min_version = "1.2" }\n'
        with self.serve(script, name="own.lua", env=environment) as server, \
                Connection(server.address, old) as client:
            self.assertEqual(client.sock.version(), "TLSv1.2")

    def test_key_in_the_file_of_the_certificate(self):
        with open(self.authority.path("both.pem"), "w", encoding="ascii") as both:
            for path in self.pair:
                with open(path, encoding="ascii") as file:
                    both.write(file.read())
        os.chmod(self.authority.path("both.pem"), 0o600)
        self.write("site.lua", SITE)
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0?tls", "--tls-cert", "both.pem", "site.lua",
                            cwd=self.folder) as server:
            self.assertEqual(self.connect(server).ask(), (200, b"https\n"))

    def test_stop_drains(self):
        with self.serve() as server:
            connection = self.connect(server)
            connection.ask()
            connection.send("/slow")
            self.assertEqual(connection.file.read(1), b"H")
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(connection.file.read().endswith(b"0\r\n\r\n"))

    def test_host_that_polls_one_fd(self):
        """A record holds many requests; a host learns of them by the server's fd alone."""
        with evtest.Program(os.path.join(PROGRAMS, "polled_https"), *self.pair) as server:
            connection = self.connect(server)
            requests = b"".join(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d" % i for i in range(900))
            for size in 64, 5000, 16384:
                for at in range(0, len(requests), size):
                    connection.sock.sendall(requests[at:at + size])
                for i in range(900):
                    self.assertEqual(connection.read(), (200, b"%04d" % i))
            body = os.urandom(900_000)
            self.assertEqual(connection.ask("/", "POST", body), (200, body))

    def test_example_host_with_a_certificate_in_memory(self):
        alice = self.authority.sign("alice")
        host = os.path.join(PROGRAMS, "https")
        with evtest.Program(host, *self.pair, self.authority.path("ca.pem")) as server:
            status, body = self.connect(server).ask()
            self.assertEqual((status, body.splitlines()[:2]), (200, [b"https", b"TLSv1.3"]))
            self.assertEqual(self.connect(server).ask("/account")[0], 403)
            status, body = self.connect(server, context=self.authority.client(alice)).ask("/account")
            self.assertEqual((status, body.decode().splitlines()[1]), (200, certificates.fingerprint(alice[0])))


class Starts(Case):
    """What is wrong is said before anything is served."""

    def run_program(self, *arguments, script=SITE):
        self.write("site.lua", script)
        return evtest.run(EVSERVE, *arguments, "site.lua", cwd=self.folder)

    def refused(self, *arguments, script=SITE):
        for check in [], ["--check"]:
            done = self.run_program(*check, *arguments, script=script)
            self.assertEqual(done.returncode, 1)
        return done.stderr

    def test_no_certificate(self):
        error = self.refused("--listen", "127.0.0.1:0?tls")
        self.assertIn('listen address "127.0.0.1:0?tls": there is no certificate', error)
        for way in "app.tls", "--tls-cert", "evserve_config.certificates":
            self.assertIn(way, error)
        error = self.refused(script=SITE + 'app.listen "127.0.0.1:0?tls"')
        self.assertRegex(error, r'^site\.lua:\d+: listen address "127')

    def test_no_listener(self):
        done = self.run_program("--check", "--listen", "127.0.0.1:0", "--tls-cert", self.pair[0])
        self.assertEqual(done.returncode, 0)
        self.assertIn("there is a TLS certificate, but no listener for it", done.stderr)
        done = self.run_program("--listen", "127.0.0.1:99999", "--tls-cert", self.pair[0])
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("127.0.0.1:99999", done.stderr)
        script = SITE + 'app.tls { cert = "first.pem" }'
        self.assertIn("site.lua:", self.run_program("--check", script=script).stderr)
        done = self.run_program("--request", "GET /", script=script)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_files_that_cannot_be_used(self):
        other = self.authority.sign("other", "other")
        self.write("text.pem", "no PEM\n")
        tls = ("--listen", "127.0.0.1:0?tls")
        self.assertIn("none.pem: ", self.refused(*tls, "--tls-cert", "none.pem"))
        self.assertIn("none-key.pem: ", self.refused(*tls, "--tls-cert", "first.pem", "--tls-key", "none-key.pem"))
        self.assertIn("text.pem: ", self.refused(*tls, "--tls-cert", "text.pem", "--tls-key", "first-key.pem"))
        self.assertIn("other-key.pem", self.refused(*tls, "--tls-cert", "first.pem", "--tls-key", other[1]))
        error = self.refused(script=SITE + 'app.listen "127.0.0.1:0?tls"\napp.tls { cert = "none.pem" }')
        self.assertRegex(error, r"^site\.lua:\d+: .*none\.pem: ")

    def test_settings_that_cannot_be_used(self):
        tls = SITE + 'app.listen "127.0.0.1:0?tls"\napp.tls { cert = "first.pem", key = "first-key.pem", WRONG }'
        for wrong in 'ciphers = "nonsense"', 'groups = "nonsense"', 'min_version = "1.1"', 'client = "required"', \
                     'client = "maybe", client_ca = "ca.pem"', 'cret = "x"', 'name = 7':
            with self.subTest(wrong):
                error = self.refused(script=tls.replace("WRONG", wrong))
                self.assertIn(wrong.split(" ")[0].replace("cret", 'unknown option "cret"'), error)

    def test_warnings(self):
        os.chmod(self.pair[1], 0o644)
        try:
            done = self.run_program("--check", "--listen", "127.0.0.1:0?tls", "--tls-cert", self.pair[0], "--tls-key",
                                    self.pair[1])
        finally:
            os.chmod(self.pair[1], 0o600)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r" warn .*first-key\.pem")
        soon = self.authority.sign("soon", "localhost", days=3)
        done = self.run_program("--check", "--listen", "127.0.0.1:0?tls", "--tls-cert", soon[0], "--tls-key", soon[1])
        self.assertRegex(done.stderr, r" warn .*soon\.pem")


class Replacements(Case):
    """Certificates that change while the server runs."""

    def links(self, name):
        """The pair that NAME.pem and NAME-key.pem lead to, as certbot has it. Gives a function that changes it."""
        def lead_to(target):
            for suffix in ".pem", "-key.pem":
                link = self.authority.path(f"live-{name}{suffix}")
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
                os.symlink(target + suffix, link)
        lead_to("first")
        return (self.authority.path(f"live-{name}.pem"), self.authority.path(f"live-{name}-key.pem")), lead_to

    def setUp(self):
        self.authority.sign("second", "localhost", "127.0.0.1")
        self.authority.sign("third", "localhost", "127.0.0.1")
        self.serials = {}
        for name in "first", "second", "third":
            text = certificates.openssl(self.folder, "x509", "-in", name + ".pem", "-noout", "-serial")
            self.serials[name] = text.strip().split("=")[1]

    def serial(self, server):
        with Connection(server.address, self.authority.client()) as connection:
            self.assertEqual(connection.ask(), (200, b"https\n"))
            return connection.serial()

    def reload(self, server, wanted):
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: any(wanted in line for line in server.lines), wanted)

    def test_reload_reads_them_again(self):
        pair, lead_to = self.links("reload")
        with self.serve(pair=pair, name="reload.lua") as server:
            self.assertEqual(self.serial(server), self.serials["first"])
            context = self.authority.client(maximum_version=ssl.TLSVersion.TLSv1_2)
            kept = self.connect(server, context=context)
            kept.ask()
            lead_to("second")
            self.reload(server, "reloaded")
            self.assertEqual(self.serial(server), self.serials["second"])
            self.assertEqual(kept.ask(), (200, b"https\n"))
            self.assertTrue(self.connect(server, context=context, session=kept.sock.session).sock.session_reused)

    def test_reload_reads_them_again_with_threads_and_in_the_sandbox(self):
        for name, options in ("threads", ["--reactors", "2"]), ("box", ["--sandbox"]):
            pair, lead_to = self.links(name)
            with self.serve(SITE, *options, pair=pair, name=name + ".lua", env=IN_SANDBOX) as server:
                self.assertEqual(self.serial(server), self.serials["first"])
                lead_to("second")
                self.reload(server, "reloaded")
                self.assertEqual({self.serial(server) for _ in range(8)}, {self.serials["second"]})

    def test_broken_pair_keeps_the_old_one(self):
        pair, lead_to = self.links("broken")
        with self.serve(pair=pair, name="broken.lua") as server:
            lead_to("second")
            os.unlink(pair[1])
            os.symlink("third-key.pem", pair[1])
            self.reload(server, "reloaded")
            kept = [line for line in server.lines if "certificate in use is kept" in line]
            self.assertEqual(len(kept), 1)
            self.assertIn("live-broken", kept[0])
            self.assertEqual(self.serial(server), self.serials["first"])
            lead_to("second")
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: self.serial(server) == self.serials["second"], "the mended pair")

    def test_script_that_names_none_any_more_keeps_them(self):
        tls = 'app.tls { cert = "first.pem", key = "first-key.pem" }\n'
        with self.serve(SITE + tls, pair=False, name="names.lua") as server:
            self.write("names.lua", SITE + tls.replace("first", "second"))
            self.reload(server, "reloaded")
            self.assertEqual(self.serial(server), self.serials["second"])
            self.write("names.lua", SITE)
            self.reload(server, "the script names none any more")
            self.assertEqual(self.serial(server), self.serials["second"])

    @unittest.skipUnless("EVSERVE_MINUTE" in os.environ, "takes a minute: scripts/churn.sh runs it")
    def test_changes_are_noticed_within_a_minute(self):
        """On a real clock; test_worker.c has the same on a fake one. One wait for all: plain, with threads, sandbox."""
        servers = []
        for name, options in (("plain", []), ("threads", ["--reactors", "2"]), ("box", ["--sandbox"])):
            pair, lead_to = self.links(name)
            servers.append((self.serve(SITE, *options, pair=pair, name=name + ".lua", env=IN_SANDBOX), lead_to))
        with contextlib.ExitStack() as stack:
            for server, _ in servers:
                stack.enter_context(server)
            for server, lead_to in servers:
                self.assertEqual(self.serial(server), self.serials["first"])
                lead_to("second")
            deadline = time.monotonic() + 75
            for server, _ in servers:
                while {self.serial(server) for _ in range(8)} != {self.serials["second"]}:
                    self.assertLess(time.monotonic(), deadline, server.lines)
                    time.sleep(0.5)
                self.assertTrue(any(" renewed: localhost" in line for line in server.lines))

    def test_connections_go_on_during_replacements(self):
        pair, lead_to = self.links("load")
        with self.serve(SITE, "--reactors", "2", pair=pair, name="load.lua") as server:
            kept = [self.connect(server) for _ in range(5)]
            for name in ("second", "third") * 5:
                lead_to(name)
                before = len(server.lines)
                server.process.send_signal(signal.SIGHUP)
                for connection in kept:
                    self.assertEqual(connection.ask(), (200, b"https\n"))
                evtest.wait_until(lambda: any("reloaded" in line for line in server.lines[before:]), "the reload")
                self.assertEqual(self.serial(server), self.serials[name])


if __name__ == "__main__":
    side_by_side.main()
