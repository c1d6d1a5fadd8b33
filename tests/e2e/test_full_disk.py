"""A disk that is really full: a small tmpfs, mounted where only this test and what it starts see it. Under the access
log, the error log, and uploads to a Lua script and to a host in C. Files that may not grow are in test_access_log.py."""

import ctypes
import os
import re
import shutil
import tempfile
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
ROOT = os.environ["EVSERVE_ROOT"]
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
DISK_BYTES = 256 << 10
LOG_SITE = """
local app = require "evserve"
app.static("/", "public")
app.get("/told", function() app.log("error", "on purpose" .. ("."):rep(2000)); return "told\\n" end)
"""

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write_file(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def setUpModule():  # pylint: disable=invalid-name
    """Mounts of our own, as root or as root of a user namespace."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        call(libc.unshare, CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER)
        if uid != 0:
            write_file("/proc/self/setgroups", "deny")
            write_file("/proc/self/uid_map", f"0 {uid} 1")
            write_file("/proc/self/gid_map", f"0 {gid} 1")
        call(libc.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        raise unittest.SkipTest(f"this user may not mount: {error}") from error


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.top)
        self.disk = os.path.join(self.top, "disk")
        self.filler = os.path.join(self.disk, "filler")
        os.mkdir(self.disk)
        os.mkdir(os.path.join(self.top, "public"))
        write_file(os.path.join(self.top, "public", "page"), "page")
        write_file(os.path.join(self.top, "site.lua"), LOG_SITE)
        call(libc.mount, b"tmpfs", self.disk.encode(), b"tmpfs", 0, f"size={DISK_BYTES}".encode())
        self.addCleanup(call, libc.umount2, self.disk.encode(), 2)

    def path(self, name):
        return os.path.join(self.disk, name)

    def fill(self, leave=0):
        """Leave room for some bytes."""
        size = os.statvfs(self.disk).f_bavail * os.statvfs(self.disk).f_frsize - leave
        with open(self.filler, "ab") as file:
            file.write(bytes(size))

    def empty(self):
        os.unlink(self.filler)

    def serve(self, *arguments, **options):
        server = evtest.Program(EVSERVE, *arguments, cwd=self.top, env=dict(ENVIRONMENT, **options))
        self.addCleanup(server.kill)
        return server

    def ask(self, server, method="GET", target="/page", body=None):
        """(status, content)"""
        with server.connect() as sock:
            length = "" if body is None else f"Content-Length: {len(body)}\r\n"
            head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}\r\n"
            with evtest.sending(sock, head.encode() + (body or b"")):
                head, _, content = evtest.receive_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), content

    def wait_for_line(self, server, text):
        evtest.wait_until(lambda: any(text in line for line in server.lines), text)

    def read(self, name):
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def test_under_the_access_log(self):
        server = self.serve("--listen", "127.0.0.1:0", "--root", "public", "--access-log", self.path("log"),
                            "--access-log-format", "begin $uri?$args $status end")
        self.assertEqual(self.ask(server)[0], 200)
        evtest.wait_until(lambda: self.read("log") != "", "the first line")
        self.fill(8192)
        target = "/page?" + "x" * 500
        for _ in range(60):
            self.assertEqual(self.ask(server, target=target)[0], 200)
        self.wait_for_line(server, f"warn lines of the access log {self.path('log')} are lost: No space left on device")
        self.assertEqual(self.ask(server)[0], 200)
        self.empty()
        self.assertEqual(self.ask(server, target="/page?last")[0], 200)
        evtest.wait_until(lambda: "?last" in self.read("log"), "the last line")
        # Of the line at which the disk was full only the begin is there, on a line of its own.
        whole = re.compile(r"begin /page\?(-|x{500}|last) 200 end")
        cut = [line for line in self.read("log").splitlines() if not whole.fullmatch(line)]
        self.assertLessEqual(len(cut), 1)
        for line in cut:
            self.assertTrue(f"begin {target} 200 end".startswith(line), line)

    def test_under_the_error_log(self):
        server = self.serve("site.lua", "--listen", "127.0.0.1:0", "--log", self.path("log"))
        self.fill(8192)
        for _ in range(20):
            self.assertEqual(self.ask(server, target="/told"), (200, b"told\n"))
        self.assertEqual(self.ask(server), (200, b"page"))
        self.empty()
        evtest.wait_until(lambda: self.ask(server, target="/told")[0] == 200 and "were dropped" in self.read("log"),
                          "the number of lost lines")

    def test_under_an_upload_to_a_script(self):
        evtest.skip_without_lua(["upload.lua"])
        os.mkdir(self.path("files"))
        server = self.serve(os.path.join(ROOT, "scripts", "upload.lua"), "--listen", "127.0.0.1:0",
                            UPLOAD_DIR=self.path("files"))
        self.assertEqual(self.ask(server, "PUT", "/files/a", b"old")[0], 201)
        for leave in (100_000, 4096, 0):
            self.fill(leave)
            for size in (1, 200_000)[leave > 0:]:
                self.assertEqual(self.ask(server, "PUT", "/files/a", b"x" * size)[0], 507, (leave, size))
                self.assertEqual(os.listdir(self.path("files")), ["a"])
            self.assertEqual(self.ask(server, "GET", "/files/a"), (200, b"old"))
        self.empty()
        self.assertEqual(self.ask(server, "PUT", "/files/a", b"x" * 200_000)[0], 201)
        evtest.wait_until(lambda: self.ask(server, "GET", "/files/a") == (200, b"x" * 200_000), "the new file")

    def test_under_an_upload_to_a_host(self):
        os.mkdir(self.path("files"))
        program = os.path.join(os.environ["EVSERVE_PROGRAMS"], "upload")
        server = evtest.Program(program, self.path("files"))
        self.addCleanup(server.kill)
        self.fill(100_000)
        body = (b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + b"x" * 200_000 +
                b"\r\n--B--\r\n")
        with server.connect() as sock:
            head = (b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                    b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n" % len(body))
            with evtest.sending(sock, head + body):
                self.assertIn(b" 507 ", evtest.receive_all(sock).split(b"\r\n")[0])
        self.assertEqual(os.listdir(self.path("files")), [])


if __name__ == "__main__":
    side_by_side.main()
