"""A configuration of nginx and the script that does the same (tests/examples/nginx_site, and in README.md): both serve the
same files with the same upstream, and respond to a table of requests alike."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

import certificates
import evtest
import lua_site
import ws_client
from origin import Origin

FOLDER = os.path.join(lua_site.ROOT, "tests", "examples", "nginx_site")
PROGRAM = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 128; }}
http {{
    access_log off; types {{ text/html html; text/css css; image/png png; text/plain txt; }}
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    include {folder}/site.conf;
}}
"""
FILES = {
    "example/index.html": "<h1>welcome\n", "example/about.html": "<h1>about\n", "example/style.css": "b { color: red }\n",
    "example/images/a.png": "not really\n", "example/404.html": "<h1>lost\n", "example/sorry.html": "<h1>sorry\n",
    "example/staff/plan.txt": "secret\n", "example/status/now.txt": "up\n", "example/posts/1.html": "<h1>one\n",
    "files/a.txt": "a\n", "files/b/c.txt": "c\n",
}
BASIC = "Basic YW5uOnNlY3JldA=="  # ann, secret
CHOSEN = ("location", "x-frame-options", "strict-transport-security", "www-authenticate", "content-type", "max-age")

# method, host, target, fields, body; each is asked over TLS.
TABLE = [
    ("GET", "example.org", "/"), ("GET", "example.org", "/about.html"), ("HEAD", "example.org", "/about.html"),
    ("GET", "example.org", "/style.css"), ("GET", "example.org", "/images/a.png"), ("GET", "example.org", "/nothing"),
    ("GET", "example.org", "/posts"), ("GET", "example.org", "/posts/1.html"),
    ("GET", "EXAMPLE.org:443", "/about.html"), ("GET", "example.org", "/x/../about.html"),
    ("GET", "example.org", "/blog/1.html"), ("GET", "example.org", "/blog/1.html?page=2"), ("GET", "example.org", "/contact"),
    ("GET", "www.example.org", "/"), ("GET", "www.example.org", "/a/b?c=d"), ("GET", "unknown.example", "/"),
    ("GET", "example.org", "/api/echo"), ("GET", "example.org", "/api/echo?a=%20b"),
    ("POST", "example.org", "/api/echo", {}, b"body"),
    ("GET", "example.org", "/api/nothing"), ("GET", "example.org", "/api/dead"), ("GET", "example.org", "/api/large"),
    ("GET", "example.org", "/staff/plan.txt"), ("GET", "example.org", "/staff/plan.txt", {"Authorization": BASIC}),
    ("GET", "example.org", "/staff/plan.txt", {"Authorization": "Basic YW5uOndyb25n"}),
    ("GET", "example.org", "/status/now.txt"),
    ("GET", "files.example.org", "/a.txt"), ("GET", "files.example.org", "/b/c.txt"), ("GET", "files.example.org", "/b"),
    ("GET", "files.example.org", "/nothing"), ("GET", "files.example.org", "/about.html"),
    ("GET", "example.org", "/about.html", {"Range": "bytes=4-8"}),
]


def echo_in_capitals(connection, request):
    connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
    connection.send(connection.file.read(5).upper())
    return True


class NginxSite(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
        if shutil.which("nginx") is None:
            raise unittest.SkipTest("nginx is not installed (scripts/setup.sh --tests)")
        certificates.require_tls(lua_site.EVSERVE)
        cls.stack = contextlib.ExitStack()
        try:
            cls.begin()
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @classmethod
    def begin(cls):
        cls.folder = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
        os.chmod(cls.folder, 0o755)  # nginx changes its user
        for name, text in FILES.items():
            os.makedirs(os.path.dirname(os.path.join(cls.folder, name)), exist_ok=True)
            cls.write(name, text)
        authority = certificates.Authority(cls.folder)
        cls.cert, cls.key = authority.sign("example", "example.org", "www.example.org", "files.example.org")
        cls.context = authority.client(check_hostname=False)
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], capture_output=True, text=True, check=True).stdout
        cls.write("staff.htpasswd", "ann:" + hashed)
        cls.origin = cls.stack.enter_context(Origin({
            "/api/echo": Origin.echo, "/api/dead": lambda c, r: True, "/api/switch": echo_in_capitals,
            "/api/large": lambda c, r: c.respond(200, evtest.pattern(1000000))}))
        cls.ports = {}
        cls.start_nginx()
        cls.start_evserve()

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    @classmethod
    def adapted(cls, name, plain, secure):
        """The file with the paths and ports of this test in place of those of a machine that it is meant for."""
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            text = file.read()
        for found, put in (("/etc/ssl/example.pem", cls.cert), ("/etc/ssl/example-key.pem", cls.key), ("/var/www", cls.folder),
                           ("/etc/staff", cls.folder + "/staff"), ("127.0.0.1:3000", f"127.0.0.1:{cls.origin.port}"),
                           ("listen 80", f"listen 127.0.0.1:{plain}"), ("listen 443", f"listen 127.0.0.1:{secure}"),
                           (' ":80"', f'("127.0.0.1:{plain}", {{ port = 443 }})'),
                           (' ":443?tls"', f' "127.0.0.1:{secure}?tls"')):
            text = text.replace(found, put)
        return text

    @classmethod
    def start_nginx(cls):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        plain, secure = (sock.getsockname()[1] for sock in sockets)
        for sock in sockets:
            sock.close()
        cls.write("site.conf", cls.adapted("nginx.conf", plain, secure))
        cls.write("nginx.conf", PROGRAM.format(folder=cls.folder))
        process = subprocess.Popen(["nginx", "-p", cls.folder, "-c", os.path.join(cls.folder, "nginx.conf")],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=evtest.end_with_parent)
        cls.stack.callback(lambda: (process.terminate(), process.wait(evtest.LIMIT), process.stderr.close()))

        def is_up():
            if process.poll() is not None:
                raise RuntimeError(process.stderr.read().decode())
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", secure)):
                return True
            return False

        evtest.wait_until(is_up, "nginx")
        cls.ports["nginx"] = (plain, secure)

    @classmethod
    def start_evserve(cls):
        cls.write("site.lua", cls.adapted("site.lua", 0, 0))
        server = cls.stack.enter_context(evtest.Program(lua_site.EVSERVE, "site.lua", cwd=cls.folder))
        evtest.wait_until(lambda: sum(line.startswith("listening on ") for line in server.lines) == 2, "both addresses")
        ports = {("HTTPS" in line): int(re.search(r":(\d+)", line)[1]) for line in server.lines
                 if line.startswith("listening on ")}
        cls.ports["evserve"] = (ports[False], ports[True])
        cls.server = server

    def connect(self, which, host):
        sock = socket.create_connection(("127.0.0.1", self.ports[which][1]), evtest.LIMIT)
        return self.context.wrap_socket(sock, server_hostname=host.partition(":")[0])

    def ask(self, which, method, host, target, fields=None, body=None):
        """(status, chosen fields, content)"""
        with self.connect(which, host) as sock:
            fields = dict(fields or {}, **({"Content-Length": len(body)} if body else {}))
            lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"] + [f"{name}: {value}" for name, value in fields.items()]
            sock.sendall("\r\n".join(lines + ["Connection: close", "", ""]).encode() + (body or b""))
            return self.answer_of(method, sock)

    def answer_of(self, method, sock):
        reader = lua_site.Client.__new__(lua_site.Client)
        reader.sock, reader.file = sock, sock.makefile("rb")
        with reader.file:
            answer = reader.read(method)
        age = re.search(r"max-age=\d+", answer.headers.get("cache-control", ""))
        fields = {name: value for name, value in answer.headers.items() if name in CHOSEN}
        fields["max-age"] = age and age[0]
        return answer.status, fields, answer.body

    def like(self, answer, target):
        """What must be alike."""
        status, fields, body = answer
        kind = fields.pop("content-type", None)
        realm = re.search(r'realm="[^"]*"', fields.pop("www-authenticate", ""))
        fields["realm"] = realm and realm[0]
        if target.startswith("/api/") and status != 429:
            fields["content-type"] = (kind or "").partition(";")[0]
            if target.startswith("/api/echo"):
                body = re.sub(rb'"connection": \d+', b"", body)
                for name in (b"x-request-id", b"via", b"x-forwarded-host", b"connection"):
                    body = re.sub(rb'"%s": "[^"]*",? ?' % name, b"", body)
                body = body.replace(b", }", b"}")
        elif status in (200, 206) or "x-frame-options" in fields and status == 404:  # pages, the error page too
            fields["content-type"] = (kind or "").partition(";")[0]  # nginx says no charset
        else:
            body = b""  # a text of the server's own
        if "location" in fields:  # nginx makes those of directories absolute, with its port
            fields["location"] = re.sub(r"^https://files\.example\.org(:\d+)?/", "/", fields["location"])
            fields["location"] = re.sub(r"^https://example\.org(:\d+)?/(posts|about)", r"/\2", fields["location"])
        return status, fields, body

    def test_both_respond_alike(self):
        for request in TABLE:
            with self.subTest(request):
                ours, theirs = (self.like(self.ask(which, *request), request[2]) for which in ("evserve", "nginx"))
                self.assertEqual(ours[:2], theirs[:2])
                self.assertTrue(ours[2] == theirs[2], (ours[2][:300], theirs[2][:300]))

    def test_clear_text_is_redirected_by_both(self):
        for which in ("evserve", "nginx"):
            with socket.create_connection(("127.0.0.1", self.ports[which][0]), evtest.LIMIT) as sock:
                sock.sendall(b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
                status, fields, _ = self.answer_of("GET", sock)
            self.assertEqual((status, fields["location"]), (308, "https://example.org/a?b"), which)

    def test_directories_are_listed_by_both(self):
        for which in ("evserve", "nginx"):
            status, _, body = self.ask(which, "GET", "files.example.org", "/")
            self.assertEqual(status, 200)
            for name in (b"a.txt", b"b/"):
                self.assertIn(b'href="' + name + b'"', body.replace(b'href="./', b'href="'), which)

    def test_connections_go_over_to_other_protocols_through_both(self):
        for which in ("evserve", "nginx"):
            with self.connect(which, "example.org") as sock:
                sock.sendall(b"GET /api/switch HTTP/1.1\r\nHost: example.org\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
                head = b""
                while not head.endswith(b"\r\n\r\n") and (piece := sock.recv(1)):
                    head += piece
                self.assertTrue(head.startswith(b"HTTP/1.1 101 "), (which, head))
                sock.sendall(b"hello")
                self.assertEqual(evtest.receive(sock, 5), b"HELLO", which)

    def test_floods_are_refused_by_both(self):
        for which in ("evserve", "nginx"):
            with self.connect(which, "example.org") as sock:
                sock.sendall(b"GET /api/nothing HTTP/1.1\r\nHost: example.org\r\n\r\n" * 60 +
                             b"GET /api/nothing HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
                statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", evtest.receive_all(sock))]
            self.assertEqual(len(statuses), 61, which)
            self.assertIn(429, statuses, which)

    def test_readme_has_both(self):
        with open(os.path.join(lua_site.ROOT, "README.md"), encoding="utf-8") as file:
            text = file.read()
        for name in ("nginx.conf", "site.lua"):
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                expected = "".join("    " + line if line.strip() else line for line in file)
            self.assertIn(expected, text, name)


if __name__ == "__main__":
    unittest.main()
