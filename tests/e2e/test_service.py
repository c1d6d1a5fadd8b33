"""The program as a service: reloads by SIGHUP and --watch, and what it tells and takes from systemd."""

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = "local app = require 'evserve'\n"


def get(server, path="/"):
    with server.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return evtest.receive_all(sock).partition(b"\r\n\r\n")[2]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        """Replace a file as editors do, by renaming."""
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def start(self, *arguments, **options):
        server = evtest.Program(EVSERVE, *arguments, cwd=self.folder, **options)
        self.addCleanup(server.kill)
        return server

    def wait_for_log(self, server, text, count=1):
        evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"log line {text!r}")


@unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
class Reload(Case):
    def site(self, word, more=""):
        self.write("site.lua", HEAD + f"app.get('/', function() return '{word}' end)\n" + more)

    def test_sighup_loads_the_script_anew(self):
        self.site("one")
        for reactors in ([], ["--reactors", "2"]):
            self.site("one")
            server = self.start("--listen", "127.0.0.1:0", *reactors, "site.lua")
            self.assertEqual(get(server), b"one")
            self.site("two")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for_log(server, "reloaded site.lua")
            self.assertEqual(get(server), b"two")
            self.assertEqual(server.stop(), 0)

    def test_broken_script_is_reported_and_the_old_one_serves(self):
        self.site("one")
        server = self.start("--listen", "127.0.0.1:0", "site.lua")
        self.site("two", "app.get('/', 7)\n")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "error not reloaded: site.lua:3: ")
        self.assertEqual(get(server), b"one")
        self.assertEqual(server.stop(), 0)

    def test_others_are_served_while_the_script_loads(self):
        for reactors in ([], ["--reactors", "2"]):
            self.site("one")
            server = self.start("--listen", "127.0.0.1:0", "--reload-timeout", "1s", *reactors, "site.lua")
            self.site("two", "while true do pcall(function() while true do end end) end\n")
            server.process.send_signal(signal.SIGHUP)
            begin = time.monotonic()
            asked = 0
            while time.monotonic() - begin < 0.2:
                before = time.monotonic()
                self.assertEqual(get(server), b"one")
                self.assertLess(time.monotonic() - before, 0.5)  # usually half a millisecond
                asked += 1
            self.assertGreater(asked, 2)
            self.wait_for_log(server, "not reloaded: site.lua:3: stopped: loading took more than 1000 ms (reload_timeout)")
            self.site("three", "app.after(1, function() app.log('info', 'timer runs') end)\n"
                               "app.on('start', function() app.log('info', 'start runs') end)\n")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for_log(server, "reloaded site.lua")
            self.wait_for_log(server, "start runs")
            self.wait_for_log(server, "timer runs")
            self.assertEqual(get(server), b"three")
            self.assertEqual(server.stop(), 0)

    def test_script_that_is_stuck_in_c_keeps_nobody(self):
        os.mkfifo(os.path.join(self.folder, "fifo"))
        self.site("one")
        server = self.start("--listen", "127.0.0.1:0", "--reload-timeout", "200ms", "site.lua")
        self.site("two", "io.open('fifo', 'r'):read()\n")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "not reloaded: site.lua: it has not loaded within 200 ms (reload_timeout), and cannot be "
                                  "stopped: it is in a C function that does not return")
        self.assertEqual(get(server), b"one")
        self.site("three")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "reloaded site.lua")
        self.assertEqual(get(server), b"three")
        self.site("four", "io.open('fifo', 'r'):read()\n")
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: len(os.listdir(f"/proc/{server.pid}/task")) == 3, "a thread that loads")
        begin = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5)

    def test_sighup_that_comes_while_a_script_loads_is_heeded_after_it(self):
        self.site("one")
        server = self.start("--listen", "127.0.0.1:0", "site.lua")
        self.site("two", "local begun = app.now() app.log('info', 'begun') while app.now() < begun + 0.2 do end\n")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "begun")
        self.site("three")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "reloaded site.lua", 2)
        self.assertEqual(get(server), b"three")

    def test_watch_reloads_when_the_script_or_a_module_changes(self):
        self.write("words.lua", "return { 'one' }\n")
        self.write("site.lua", HEAD + "local words = require 'words'\napp.get('/', function() return words[1] end)\n")
        server = self.start("--listen", "127.0.0.1:0", "--watch", "site.lua")
        self.assertEqual(get(server), b"one")
        self.write("words.lua", "return { 'two' }\n")
        self.wait_for_log(server, "reloaded site.lua")
        self.assertEqual(get(server), b"two")
        self.write("site.lua", "broken(\n")
        self.wait_for_log(server, "not reloaded: site.lua:")
        self.assertEqual(get(server), b"two")
        self.site("three")
        self.wait_for_log(server, "reloaded site.lua", 2)
        self.assertEqual(get(server), b"three")
        self.assertEqual(server.stop(), 0)

    def test_requests_in_flight_survive_a_reload(self):
        self.site("one", "app.get('/slow', function() app.log('info', 'at work'); app.sleep '300ms'; return 'old' end)\n")
        server = self.start("--listen", "127.0.0.1:0", "site.lua")
        with server.connect() as slow:
            slow.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
            self.wait_for_log(server, "at work")
            self.site("two")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for_log(server, "reloaded site.lua")
            self.assertEqual(get(server), b"two")
            self.assertTrue(evtest.receive_all(slow).endswith(b"\r\n\r\nold"))
        self.assertEqual(server.stop(), 0)


class Systemd(Case):
    def setUp(self):
        super().setUp()
        self.write("file", "content")
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.news.close)
        self.news.settimeout(evtest.LIMIT)
        self.path = os.path.join(self.folder, "notify")
        self.news.bind(self.path)

    def environment(self, **more):
        return {**os.environ, "NOTIFY_SOCKET": self.path, **more}

    def listen(self):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        self.addCleanup(sock.close)
        return sock

    def start_with_sockets(self, socks, *arguments, pid=None):
        """As systemd does: sockets from fd 3 on, and variables that name the process itself."""
        fds = [sock.fileno() for sock in socks]

        def pass_sockets():
            spare = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
            for i, fd in enumerate(spare):
                os.dup2(fd, 3 + i)
                os.close(fd)

        # The pid is known only to the new process: a shell in between puts it there, and becomes the program.
        setting = f'LISTEN_PID={pid or "$$"} LISTEN_FDS={len(fds)} exec "$0" "$@"'
        server = evtest.Program("/bin/sh", "-c", f"export {setting.replace(' exec', '; exec')}", EVSERVE, *arguments,
                                cwd=self.folder, env=self.environment(), preexec_fn=pass_sockets, close_fds=False)
        self.addCleanup(server.kill)
        return server

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_status_says_why_a_reload_failed(self):
        self.write("site.lua", "")
        server = self.start("--listen", "127.0.0.1:0", "site.lua", env=self.environment())
        status = "READY=1\nSTATUS=" + f"listening on {server.address[0]}:{server.address[1]}"
        self.assertEqual(self.news.recv(1000).decode(), status)
        for text, expected in (("error 'no'", "; not reloaded: site.lua:1: no"), ("", "")):
            self.write("site.lua", text)
            server.process.send_signal(signal.SIGHUP)
            self.assertTrue(self.news.recv(1000).startswith(b"RELOADING=1\n"))
            self.assertEqual(self.news.recv(2000).decode(), status + expected)
        self.assertEqual(server.stop(), 0)

    def test_news_of_a_life(self):
        server = self.start("--root", ".", "--listen", "127.0.0.1:0", env=self.environment())
        ready = self.news.recv(1000).decode()
        self.assertEqual(ready, f"READY=1\nSTATUS=listening on 127.0.0.1:{server.address[1]}")
        for _ in range(20):  # systemd ignores a notice that is older than its SIGHUP, by whole microseconds
            before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            server.process.send_signal(signal.SIGHUP)
            news = self.news.recv(1000).decode()
            self.assertRegex(news, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertGreaterEqual(int(news.rpartition("=")[2]), before_us)
            self.assertEqual(self.news.recv(1000).decode(), ready)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.news.recv(1000), b"STOPPING=1")

    def test_abstract_socket_is_told_too(self):
        name = f"evserve-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
            news.settimeout(evtest.LIMIT)
            news.bind("\0" + name)
            server = self.start("--root", ".", "--listen", "127.0.0.1:0",
                                env={**os.environ, "NOTIFY_SOCKET": "@" + name})
            self.assertTrue(news.recv(1000).startswith(b"READY=1\n"))
            self.assertEqual(server.stop(), 0)

    def test_watchdog_gets_signs_of_life_from_every_thread(self):
        for reactors in ([], ["--reactors", "3"]):
            server = self.start("--root", ".", "--listen", "127.0.0.1:0", *reactors,
                                env=self.environment(WATCHDOG_USEC="100000"))
            signs = 0
            while signs < 3:
                signs += self.news.recv(1000) == b"WATCHDOG=1"
            self.assertEqual(server.stop(), 0)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_watchdog_gets_none_while_the_loop_hangs(self):
        self.write("site.lua", HEAD + "app.set { handler_cpu = '1h' }\n"
                   "app.get('/', function() while not io.open('go') do end return 'on' end)\n")
        server = self.start("--listen", "127.0.0.1:0", "site.lua", env=self.environment(WATCHDOG_USEC="20000"))
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while select.select([self.news], [], [], 1)[0]:  # the last signs, then a second without any
                self.news.recv(1000)
            self.write("go", "")
            self.assertTrue(evtest.receive_all(client).endswith(b"on"))
        self.assertEqual(self.news.recv(1000), b"WATCHDOG=1")
        self.assertEqual(server.stop(), 0)

    def test_sockets_that_are_passed_are_served(self):
        first, second = self.listen(), self.listen()
        server = self.start_with_sockets([first, second], "--root", ".")
        self.assertEqual(server.address, first.getsockname())
        self.assertEqual(get(server, "/file"), b"content")
        server.address = second.getsockname()
        self.assertEqual(get(server, "/file"), b"content")
        self.assertEqual(server.stop(), 0)

    def test_sockets_of_another_process_or_beside_listen_are_left_alone(self):
        sock = self.listen()
        server = self.start_with_sockets([sock], "--root", ".", "--listen", "127.0.0.1:0")
        self.assertNotEqual(server.address, sock.getsockname())
        self.assertEqual(server.stop(), 0)
        server = self.start_with_sockets([sock], "--root", ".", "--listen", "127.0.0.1:0", pid=1)
        self.assertNotEqual(server.address, sock.getsockname())
        self.assertEqual(server.stop(), 0)

    def test_without_systemd_nothing_is_said(self):
        server = self.start("--root", ".", "--listen", "127.0.0.1:0")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(select.select([self.news], [], [], 0)[0], [])


class Root(Case):
    def test_serving_as_root_is_warned_of(self):
        for arguments in ([], ["--user", "nobody"]):
            if os.geteuid() != 0 and arguments:
                continue
            server = subprocess.Popen([EVSERVE, "--root", ".", "--listen", "127.0.0.1:0", *arguments], cwd=self.folder,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0)
            self.addCleanup(server.kill)
            self.assertTrue(server.stderr.readline().startswith(b"listening on "))
            server.terminate()
            lines = server.communicate(timeout=evtest.LIMIT)[1]
            self.assertEqual(server.returncode, 0)
            self.assertEqual(evtest.ROOT_WARNING + b"--user NAME" in lines, os.geteuid() == 0 and not arguments, lines)


class UnixSocket(Case):
    def test_mode_of_the_file(self):
        self.write("file", "content")
        server = self.start("--root", ".", "--listen", "unix:socket?mode=600")
        self.assertEqual(os.stat(os.path.join(self.folder, "socket")).st_mode & 0o777, 0o600)
        server.address = os.path.join(self.folder, "socket")
        self.assertEqual(get(server, "/file"), b"content")
        self.assertEqual(server.stop(), 0)

    def test_mode_that_the_umask_would_not_leave(self):
        server = self.start("--root", ".", "--listen", "unix:socket?mode=666", umask=0o077)
        self.assertEqual(os.stat(os.path.join(self.folder, "socket")).st_mode & 0o777, 0o666)
        self.assertEqual(server.stop(), 0)

    def successor(self, name):
        """A server on another path in the same folder."""
        server = self.start("--root", ".", "--listen", "unix:" + name)
        server.address = os.path.join(self.folder, "socket")
        return server

    def test_path_that_a_successor_has_taken_over_stays(self):
        self.write("file", "content")
        first = self.start("--root", ".", "--listen", "unix:socket")
        second = self.successor("next")
        os.rename(os.path.join(self.folder, "next"), os.path.join(self.folder, "socket"))
        self.assertEqual(first.stop(), 0)
        self.assertEqual(get(second, "/file"), b"content")
        os.unlink(os.path.join(self.folder, "socket"))
        third = self.successor("socket")
        self.assertEqual(second.stop(), 0)
        self.assertEqual(get(third, "/file"), b"content")
        self.assertEqual(third.stop(), 0)
        self.assertNotIn("socket", os.listdir(self.folder))

    def test_of_several_that_begin_on_a_dead_path_one_serves(self):
        self.write("file", "content")
        path = os.path.join(self.folder, "socket")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        servers = [subprocess.Popen([EVSERVE, "--root", ".", "--listen", "unix:socket"], cwd=self.folder,
                                    stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(6)]
        for server in servers:
            self.addCleanup(server.stderr.close)
            self.addCleanup(server.wait, evtest.LIMIT)
            self.addCleanup(server.kill)
        evtest.wait_until(lambda: sum(server.poll() is None for server in servers) == 1, "all others to end")
        for server in servers:
            if server.poll() is not None:
                self.assertIn(b"address already in use", server.stderr.read())
        with evtest.connect(path) as sock:
            sock.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"content"))


if __name__ == "__main__":
    side_by_side.main()
