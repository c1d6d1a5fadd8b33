"""app.proxy in front of nginx, Node, Python's http.server and evserve: each response is the one that they give directly."""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import unittest

import evtest
import lua_site
from lua_site import Client

sys.path.insert(0, os.path.join(lua_site.ROOT, "tests"))
import fetch_peers  # pylint: disable=wrong-import-position

ECHO = """
app.set { max_body = "64M" }
app.static("/", "public")
app.post("/echo", function(req) return 200, function(out) for piece in req:chunks() do out:write(piece) end end end)
"""
FRONT = """
app.set { max_body = "64M" }
app.proxy("/", os.getenv "UPSTREAM")
"""
LARGE = evtest.pattern(3000000)
# What differs from one response to the next, or belongs to the connection.
OWN = {"date", "connection", "keep-alive", "transfer-encoding", "content-length", "server"}
THREADS, TURNS = 4, 30  # of requests over connections that the peers close after a few


class Direct:
    """The peer itself, as Client wants it."""

    def __init__(self, port):
        self.port = port

    def connect(self, **options):
        return evtest.connect(("127.0.0.1", self.port), **options)


class Peers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"

    @contextlib.contextmanager
    def peer(self, name):
        """A running peer with files, and evserve in front of it: both as what Client wants."""
        with tempfile.TemporaryDirectory(prefix="ev") as folder, contextlib.ExitStack() as stack:
            os.chmod(folder, 0o755)
            os.makedirs(os.path.join(folder, "public", "dir"))
            for file, content in (("small.txt", b"small\n"), ("large.bin", LARGE), ("empty.txt", b""),
                                  ("dir/index.html", b"index\n")):
                with open(os.path.join(folder, "public", file), "wb") as out:
                    out.write(content)
            for file, text in (("echo.lua", ECHO), ("front.lua", FRONT)):
                with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
                    out.write(lua_site.HEAD + text)
            echo = stack.enter_context(evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "echo.lua", cwd=folder))
            port = echo.address[1]
            if name != "evserve":
                port = fetch_peers.free_port()
                stack.enter_context(fetch_peers.running(name, folder, port, echo.address[1]))
            front = stack.enter_context(evtest.Program(
                lua_site.EVSERVE, "--listen", "127.0.0.1:0", "front.lua", cwd=folder,
                env={**os.environ, "UPSTREAM": f"http://127.0.0.1:{port}"}))
            yield Direct(port), front

    @staticmethod
    def ask(server, *request):
        with Client(server) as client:
            answer = client.ask(*request)
        fields = sorted((name.lower(), value) for name, value in answer.lines if name.lower() not in OWN)
        return answer.status, fields, answer.body, answer.whole

    def check(self, name):
        with self.peer(name) as (direct, front):
            tag = dict(self.ask(direct, "GET", "/small.txt")[1]).get("etag")
            requests = [("GET", "/small.txt"), ("GET", "/large.bin"), ("GET", "/empty.txt"), ("GET", "/missing"),
                        ("GET", "/dir"), ("GET", "/dir/"), ("HEAD", "/large.bin"), ("HEAD", "/missing"), ("GET", "/small.txt?a=b&c=%20"),
                        ("GET", "/large.bin", [("Range", "bytes=100-1099")]), ("POST", "/small.txt", [], b"x"),
                        ("POST", "/echo", [], b""), ("POST", "/echo", [], b"x" * 1000), ("POST", "/echo", [], LARGE)]
            if tag:
                requests.append(("GET", "/small.txt", [("If-None-Match", tag)]))
            for request in requests:
                with self.subTest(name, request=request[:3]):
                    ours, theirs = self.ask(front, *request), self.ask(direct, *request)
                    ours = (ours[0], [field for field in ours[1] if field[0] != "via"], *ours[2:])
                    self.assertEqual(ours[:2], theirs[:2])
                    self.assertTrue(ours[2:] == theirs[2:], (len(ours[2]), len(theirs[2])))
            self.race(front)

    def race(self, front):
        """Peers close connections after a few requests, often just when the next one is sent."""
        failures = []

        def run():
            with Client(front) as client:
                for i in range(TURNS):
                    answer = client.ask("POST", "/echo", body=b"body") if i % 3 == 0 else client.ask("GET", "/small.txt")
                    if (answer.status, answer.text) != ((200, "body") if i % 3 == 0 else (200, "small\n")):
                        failures.append((i, answer.status))

        threads = [threading.Thread(target=run, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(evtest.LIMIT)
        self.assertEqual(failures, [])

    def test_nginx(self):
        self.check_installed("nginx")

    def test_node(self):
        self.check_installed("node")

    def test_python(self):
        self.check("python")

    def test_evserve(self):
        self.check("evserve")

    def check_installed(self, name):
        if shutil.which(name) is None:
            self.skipTest(f"{name} is not installed (scripts/setup.sh --tests or --proxies)")
        self.check(name)


if __name__ == "__main__":
    unittest.main()
