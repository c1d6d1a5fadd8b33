"""What the tests of Lua sites share: a site of one script, run by the real program, and a client that takes its answers
apart."""

import contextlib
import json
import os
import re
import socket
import tempfile
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_BIN")
ROOT = os.environ.get("EVSERVE_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HEAD = 'local app = require "evserve"\n'


class Answer:
    """One parsed answer. headers maps lower-case names to values, lines keeps all field lines as they came."""

    def __init__(self, status, lines, body, whole):
        self.status = status
        self.lines = lines
        self.headers = {name.lower(): value for name, value in lines}
        self.body = body
        self.whole = whole  # the body came to its proper end

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """A connection that reads answers one after the other."""

    def __init__(self, server, **options):
        self.sock = server.connect(**options)
        self.file = self.sock.makefile("rb")

    def send(self, method, target, headers=(), body=None, version="1.1"):
        has_host = any(name.lower() == "host" for name, _ in headers)
        lines = [f"{method} {target} HTTP/{version}"] + ([] if has_host else ["Host: test"])
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def read(self, method="GET"):
        status_line = self.file.readline()
        if not status_line:
            raise EOFError("the connection ended before an answer")
        status = int(status_line.split()[1])
        lines = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            lines.append((name, value.strip()))
        headers = {name.lower(): value for name, value in lines}
        if method == "HEAD" or status in (204, 304) or status < 200:
            return Answer(status, lines, b"", True)
        if "content-length" in headers:
            length = int(headers["content-length"])
            body = self.file.read(length)
            return Answer(status, lines, body, len(body) == length)
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, lines, *self.read_chunks())
        return Answer(status, lines, self.file.read(), True)

    def read_chunks(self):
        body = bytearray()
        with contextlib.suppress(ConnectionError):
            while (size := self.file.readline()).endswith(b"\r\n"):
                data = self.file.read(int(size, 16) + 2)
                if not data.endswith(b"\r\n"):
                    break
                if len(data) == 2:
                    return bytes(body), True
                body += data[:-2]
        return bytes(body), False

    def ask(self, method, target, headers=(), body=None, version="1.1"):
        self.send(method, target, headers, body, version)
        return self.read(method)

    def close(self):
        self.file.close()
        self.sock.close()

    def reset(self):
        """Leave with a reset, which the server notices even while it has nothing to send, once it has read the request."""
        evtest.wait_until_read(self.sock)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def script(text, name="site.lua", files=(), prelude=True):
    """A script file in a folder of its own; gives its path. files: more files for the folder, (name, text)."""
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        for extra, content in files:
            os.makedirs(os.path.dirname(os.path.join(folder, extra)), exist_ok=True)
            with open(os.path.join(folder, extra), "w", encoding="utf-8") as file:
                file.write(content)
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write((HEAD if prelude else "") + text)
        yield path


class SiteCase(unittest.TestCase):
    """Cases on one running site, whose script is SCRIPT."""

    SCRIPT = ""
    FILES = ()
    OPTIONS = {}  # of evtest.Program

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        try:
            cls.path = cls.stack.enter_context(script(cls.SCRIPT, files=cls.FILES))
            cls.server = cls.stack.enter_context(
                evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(cls.path),
                               **cls.OPTIONS))
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def ask(self, target, method="GET", headers=(), body=None, version="1.1"):
        with Client(self.server) as client:
            return client.ask(method, target, headers, body, version)

    def check_cut(self, target):
        """The answer does not come to a proper end, or does not even begin."""
        with contextlib.suppress(EOFError):
            self.assertFalse(self.ask(target).whole)

    def wait_for_log(self, pattern):
        evtest.wait_until(lambda: any(re.search(pattern, line) for line in self.server.lines), f"log line {pattern!r}")

    def log_count(self, pattern):
        return sum(1 for line in self.server.lines if re.search(pattern, line))
