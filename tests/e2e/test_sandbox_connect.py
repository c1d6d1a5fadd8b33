"""--sandbox --allow-connect: which servers a handler reaches, by name, by address and by path; what native code reaches
beside evserve; and that names are resolved inside, through a DNS server of the test's own, over UDP and TCP."""

import ctypes
import fcntl
import http.server
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
LANDLOCK_CREATE, ASK_VERSION, PORTS_VERSION = 444, 1, 4
SITE = """
local app = require "evserve"
app.get("/fetch", function(req)
    local res, why, kind = app.fetch(req.query.url, { timeout = "5s" })
    if not res then return { why = why, kind = kind } end
    return { body = res.body }
end)
local found, ffi = pcall(require, "ffi")
if found then
    ffi.cdef [[
        struct plain_address { unsigned short family; unsigned char port[2], ip[4], zero[8]; };
        int socket(int family, int kind, int protocol);
        int connect(int fd, const struct plain_address *address, unsigned len);
        int close(int fd);
    ]]
end
app.get("/udp/:host/:port", function(req)
    local socket = app.udp()
    socket:settimeout "5s"
    local ok, why = socket:setpeername(req.params.host, tonumber(req.params.port))
    if not ok then return { why = why } end
    socket:send "echo"
    return { body = socket:receive() }
end)
local early = app.udp()
assert(early:setpeername("127.0.0.1", 9))
app.get("/early", function() return { select(2, early:send "x"), select(2, early:send "x"), select(2, early:receive()) } end)
app.get("/native/:port", function(req)
    if not found then return { errno = -1 } end
    local fd = ffi.C.socket(2, 1, 0)
    if fd < 0 then return { errno = ffi.errno(), call = "socket" } end
    local port = tonumber(req.params.port)
    local address = ffi.new("struct plain_address", 2, { math.floor(port / 256), port % 256 }, { 127, 0, 0, 1 })
    local rv, errno = ffi.C.connect(fd, address, 16), ffi.errno()
    ffi.C.close(fd)
    return { errno = rv < 0 and errno or 0, call = "connect" }
end)
"""


def landlock_version():
    return ctypes.CDLL(None).syscall(LANDLOCK_CREATE, None, 0, ASK_VERSION)


def has_seccomp():
    return "libseccomp" in subprocess.run(["ldd", EVSERVE], capture_output=True, text=True, check=False).stdout


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "client"


def serve_hello(address=("127.0.0.1", 0)):
    server = http.server.ThreadingHTTPServer(address, Hello, bind_and_activate=False)
    server.server_bind = lambda: server.socket.bind(address)  # without a look-up of its own name
    server.server_bind()
    server.server_address = server.socket.getsockname()
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def serve_hello_at(path):
    """One after the other, at a unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def run():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    threading.Thread(target=run, daemon=True).start()
    return listener


class Site:
    """evserve with the handlers above."""

    def __init__(self, folder, *arguments):
        path = os.path.join(folder, "site.lua")
        with open(path, "w", encoding="utf-8") as file:
            file.write(SITE)
        self.program = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *arguments, path, cwd=folder, env=ENVIRONMENT)

    def get(self, target):
        with evtest.connect(self.program.address) as sock:
            sock.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            return json.loads(evtest.receive_all(sock).partition(b"\r\n\r\n")[2])

    def fetch(self, url):
        return self.get("/fetch?url=" + urllib.parse.quote(url, safe=""))


def lua_case(case):
    return unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")(case)


@lua_case
class Connections(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = serve_hello()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.port = self.server.server_address[1]

    def start(self, *arguments):
        site = Site(self.folder, "--sandbox", *arguments)
        self.addCleanup(site.program.kill)
        return site

    def test_without_it_nothing_is_connected_with(self):
        site = self.start()
        self.assertEqual(site.fetch(f"http://127.0.0.1:{self.port}/"), {
            "kind": "denied", "why": f"the sandbox allows no connection to 127.0.0.1:{self.port}: "
                                     f"--allow-connect 127.0.0.1:{self.port}"})
        self.assertEqual(site.fetch(f"http://localhost:{self.port}/")["kind"], "denied")
        if has_seccomp():
            self.assertIn(site.get(f"/native/{self.port}"), [{"errno": 1, "call": "socket"}, {"errno": -1}])
        self.assertEqual(site.program.stop(), 0)

    def test_what_is_named_is_connected_with(self):
        path = os.path.join(self.folder, "x.sock")
        self.addCleanup(serve_hello_at(path).close)
        site = self.start("--allow-connect", f"localhost:{self.port}", "--allow-connect", f"unix:{path}",
                          "--reactors", "2")
        for _ in range(4):
            self.assertEqual(site.fetch(f"http://127.0.0.1:{self.port}/"), {"body": "hello"})
        self.assertEqual(site.fetch(f"http://localhost:{self.port}/"), {"body": "hello"})
        self.assertEqual(site.fetch(f"http+unix:{path}:/"), {"body": "hello"})
        self.assertTrue(any(line.endswith(f" info the sandbox allows connections to localhost:{self.port},unix:{path}, and "
                                          "no others") for line in site.program.lines))
        self.assertEqual(site.fetch("http://127.0.0.1:1/")["kind"], "denied")
        self.assertEqual(site.fetch(f"http+unix:{path}2:/")["kind"], "denied")
        self.assertEqual(site.fetch(f"http://example.org:{self.port}/")["kind"], "denied")
        self.assertEqual(site.program.stop(), 0)

    def test_udp_needs_a_name(self):
        if not has_seccomp():
            self.skipTest("without seccomp, there is UDP")
        site = self.start("--allow-connect", "127.0.0.1:9", "--allow-connect", "localhost:9")
        why = ("the sandbox has no UDP unless an --allow-connect names a host other than localhost, such as "
               "stats.example.org:8125")
        self.assertEqual(site.get("/udp/127.0.0.1/9"), {"why": why})
        self.assertEqual(site.get("/early"), [why, why, why])
        self.assertEqual(site.program.stop(), 0)

    @unittest.skipUnless(landlock_version() >= PORTS_VERSION, "this kernel's landlock knows no ports")
    def test_native_code_reaches_the_ports_and_no_others(self):
        site = self.start("--allow-connect", f"127.0.0.1:{self.port}")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            self.assertIn(site.get(f"/native/{other.getsockname()[1]}"),
                          [{"errno": 13, "call": "connect"}, {"errno": -1}])
        self.assertIn(site.get(f"/native/{self.port}"), [{"errno": 0, "call": "connect"}, {"errno": -1}])
        self.assertEqual(site.program.stop(), 0)

    def test_wrong_options(self):
        for arguments, text in ((["--allow-connect", "a:1"], "--allow-read, --allow-write and --allow-connect require"),
                                (["--sandbox", "--allow-connect", "a"], 'expected HOST:PORT, [ADDRESS]:PORT for IPv6'),
                                (["--sandbox", "--allow-connect", ""], "--allow-connect: it is empty")):
            with self.subTest(arguments=arguments):
                done = evtest.run(EVSERVE, *arguments, cwd=self.folder)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr)

    def test_names_are_resolved_inside(self):
        command = ["unshare", "--map-root-user", "--mount", "--net"]
        try:
            can_unshare = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            can_unshare = False
        if not can_unshare:
            self.skipTest("no namespaces can be made here (unshare --map-root-user --mount --net)")
        done = subprocess.run([*command, sys.executable, os.path.abspath(__file__), "inside", self.folder],
                              capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ, PYTHONPATH=os.path.dirname(evtest.__file__)))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout), [
            {"body": "hello"}, {"body": "hello"}, {"body": "hello"},
            {"kind": "resolve", "why": "none.test could not be resolved (3: Host not found)"}, "denied",
            {"body": "echo"}, {"why": "none.test could not be resolved (3: Host not found)"},
            "the sandbox allows no connection to example.org:5: --allow-connect example.org:5", "udp tcp"])


# What follows runs in a network of its own, where the DNS server is ours.

def answer(query, is_stream, seen):
    """one.test is 127.0.0.1; so is big.test, but that is told over TCP alone; none.test is not there."""
    end = query.index(b"\0", 12)
    name, kind = query[12:end], struct.unpack(">H", query[end + 1:end + 3])[0]
    is_there = name.endswith(b"\4test") and b"none" not in name
    is_cut = b"big" in name and not is_stream
    seen.add("tcp" if is_stream else "udp")
    records = b"" if kind != 1 or not is_there or is_cut else b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    flags = 0x8180 | (0x200 if is_cut else 0) | (0 if is_there else 3)
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if records else 0, 0, 0) + query[12:end + 5] + records


def serve_dns(seen):
    datagrams, listener = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    datagrams.bind(("127.0.0.1", 53))
    listener.bind(("127.0.0.1", 53))
    listener.listen()

    def over_udp():
        while True:
            query, peer = datagrams.recvfrom(4096)
            datagrams.sendto(answer(query, False, seen), peer)

    def over_tcp():
        while True:
            sock, _ = listener.accept()
            with sock:
                while head := sock.recv(2, socket.MSG_WAITALL):
                    reply = answer(sock.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL), True, seen)
                    sock.sendall(struct.pack(">H", len(reply)) + reply)
    for run in over_udp, over_tcp:
        threading.Thread(target=run, daemon=True).start()


def inside(folder):
    up, set_flags = 1, 0x8914  # IFF_UP, SIOCSIFFLAGS
    with socket.socket() as sock:
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", up))
    for name, text in ("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n"):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        subprocess.run(["mount", "--bind", path, os.path.realpath("/etc/" + name)], check=True)
    seen = set()
    serve_dns(seen)
    port = serve_hello().server_address[1]
    site = Site(folder, "--sandbox", "--allow-connect", f"*.test:{port}")
    results = [site.fetch(f"http://{name}:{port}/") for name in ("one.test", "big.test", "two.one.test", "none.test")]
    results.append(site.fetch(f"http://example.org:{port}/")["kind"])
    with socket.socket(type=socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", port))
        threading.Thread(target=lambda: echo.sendto(*echo.recvfrom(100)), daemon=True).start()
        results.append(site.get(f"/udp/u.one.test/{port}"))
    results.append(site.get(f"/udp/none.test/{port}"))
    results.append(site.get("/udp/example.org/5")["why"])
    results.append(" ".join(sorted(seen, reverse=True)))
    site.program.stop()
    print(json.dumps(results))


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(sys.argv[2])
    else:
        side_by_side.main()
