"""--supervise: a server that crashes is started again, and its listening sockets wait meanwhile."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # the sandbox takes away what LeakSanitizer needs


def get(address):
    with evtest.connect(address) as sock:
        sock.sendall(b"GET /file HTTP/1.0\r\n\r\n")
        return evtest.receive_all(sock).partition(b"\r\n\r\n")[2]


class Supervise(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(os.path.join(self.folder, "file"), "w", encoding="utf-8") as file:
            file.write("content")

    def start(self, *arguments, **options):
        server = evtest.Program(EVSERVE, "--supervise", "--root", ".", *arguments, cwd=self.folder, **options)
        self.addCleanup(server.kill)
        return server

    def child(self, server):
        with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii") as children:
            return int((children.read().split() or [0])[0])

    def crash(self, server, number):
        """Until it is over, a thread might accept a connection that then ends with the process."""
        child = self.child(server)
        os.kill(child, number)
        evtest.wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the end of the child")

    def wait_for(self, server, text, count=1):
        evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"{count} of {text!r}")

    def test_crash_is_told_and_the_server_starts_again_on_the_same_sockets(self):
        server = self.start("--listen", "127.0.0.1:0", "--listen", "unix:socket")
        addresses = [server.address, os.path.join(self.folder, "socket")]
        inode = os.stat(addresses[1]).st_ino
        for crashes, number in enumerate((signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL), 1):
            for address in addresses:
                self.assertEqual(get(address), b"content")
            self.crash(server, number)
            for address in addresses:  # they wait until somebody serves again, and are not refused
                self.assertEqual(get(address), b"content")
            self.wait_for(server, f"listening on 127.0.0.1:{addresses[0][1]}", crashes + 1)
        log = "\n".join(server.lines)
        self.assertRegex(log, r"error the server \(process \d+\) was ended by signal 11; it is started again in 100 ms")
        self.assertIn("started again in 400 ms", log)
        self.assertRegex(log, r"evserve: crashed by SIGSEGV(; backtrace:\n.*evserve)?")
        self.assertEqual(os.stat(addresses[1]).st_ino, inode)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(addresses[1]))

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_server_that_ends_with_a_failure_is_started_again(self):
        with open(os.path.join(self.folder, "site.lua"), "w", encoding="utf-8") as site:
            site.write("local app, ffi = require 'evserve', require 'ffi'\nffi.cdef 'void _exit(int status);'\n"
                       "app.get('/end', function() ffi.C._exit(3) end)\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        server = self.start("--listen", f"127.0.0.1:{address[1]}", "site.lua")
        with server.connect() as sock:
            sock.sendall(b"GET /end HTTP/1.0\r\n\r\n")
            evtest.receive_all(sock)
        self.wait_for(server, "listening on", 2)
        self.assertTrue(any(" ended with status 3; it is started again in 100 ms" in line for line in server.lines),
                        server.lines)
        self.assertEqual(get(server.address), b"content")

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_sockets_of_a_server_that_ends_with_a_failure_wait_for_the_next(self):
        self.write_site("app.set { lua_memory = '4M', lua_full_timeout = '200ms', lua_full_exit = true }", "local kept = {}",
                        "app.get('/full', function() while true do kept[#kept + 1] = ('x'):rep(4000) .. #kept end end)",
                        "app.get('/', function() return 'served' end)")
        server = self.start("--listen", "127.0.0.1:0", "--listen", "unix:socket", "site.lua")
        path = os.path.join(self.folder, "socket")
        inode = os.stat(path).st_ino

        def has_ended():  # and nobody is refused until then
            for target in b"/full", b"/":
                with evtest.connect(path) as sock:
                    with contextlib.suppress(OSError):
                        sock.sendall(b"GET " + target + b" HTTP/1.0\r\n\r\n")
                        evtest.receive_all(sock)
            return any("ended with status 1; it is started again" in line for line in server.lines)
        evtest.wait_until(has_ended, "the end of the child")
        for address in server.address, path:
            self.assertEqual(get(address), b"content")
        self.assertEqual(os.stat(path).st_ino, inode)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_crash_whose_last_words_nobody_reads_is_one_all_the_same(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with open(writer, "wb", buffering=0) as pipe:
            server = subprocess.Popen([EVSERVE, "--supervise", "--root", ".", "--listen", "unix:mute"],
                                      cwd=self.folder, stderr=pipe)
            self.addCleanup(server.wait)
            self.addCleanup(server.kill)
            path = os.path.join(self.folder, "mute")
            evtest.wait_until(lambda: evtest.listens(path), "the socket")
            self.assertEqual(get(path), b"content")
            evtest.wait_until(lambda: select.select([reader], [], [], 0)[0], "the first line")  # its parent has the socket
            os.set_blocking(writer, False)
            while pipe.write(b"x" * 512) or pipe.write(b"x"):
                pass
            os.set_blocking(writer, True)
            with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii") as children:
                os.kill(int(children.read()), signal.SIGSEGV)
            evtest.wait_until(lambda: get(path) == b"content", "the next server")
            server.terminate()
            self.assertEqual(server.wait(evtest.LIMIT), 0)

    def test_upgrade_makes_a_new_parent_too(self):
        server = self.start("--listen", "127.0.0.1:0", "--pid-file", "pid")
        path = os.path.join(self.folder, "pid")
        evtest.wait_until(lambda: self.child(server) == self.pid(), "the PID file")
        done = evtest.run(EVSERVE, "--upgrade", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        child = self.pid()
        parent = int(re.search(r"^PPid:\s+(\d+)", status(child), re.M)[1])
        self.addCleanup(os.kill, parent, signal.SIGTERM)
        self.assertEqual(server.process.wait(evtest.LIMIT), 0)
        os.kill(child, signal.SIGKILL)
        evtest.wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the end of the child")
        self.assertEqual(get(server.address), b"content")

    def test_signals_are_passed_on_and_a_stop_ends_both(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            server = self.start("--listen", "127.0.0.1:0")
            child = self.child(server)
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(server, "reloaded")
            self.assertEqual(server.stop(number), 0)
            self.assertFalse(os.path.exists(f"/proc/{child}"))

    def test_lines_of_the_parent_are_in_the_log(self):
        server = self.start("--listen", "127.0.0.1:0", "--log", "log", "--log-format", "json")
        self.assertEqual(get(server.address), b"content")  # its parent has the socket by now
        self.crash(server, signal.SIGKILL)

        def says_so():
            with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
                return any(line.startswith("{") and "was ended by signal 9" in line for line in log)
        evtest.wait_until(says_so, "the line in the log")
        self.assertEqual(get(server.address), b"content")

    def test_replaced_server_is_not_started_again(self):
        server = self.start("--listen", "127.0.0.1:0", "--pid-file", "pid")
        evtest.wait_until(lambda: self.child(server) == self.pid(), "the PID file")
        old = self.pid()
        with server.connect() as sock:
            sock.sendall(b"GET /file HTTP/1.1\r\n")  # it waits for the rest
            done = evtest.run(EVSERVE, "--upgrade", os.path.join(self.folder, "pid"))
            self.assertEqual(done.returncode, 0, done.stderr)
            child = self.pid()
            parent = int(re.search(r"^PPid:\s+(\d+)", status(child), re.M)[1])
            self.addCleanup(os.kill, parent, signal.SIGTERM)
            self.wait_for(server, "upgraded: process")
            os.kill(old, signal.SIGKILL)
            self.assertEqual(server.process.wait(evtest.LIMIT), 1)
        self.assertFalse(any("again" in line for line in server.lines), server.lines)
        self.assertEqual(get(server.address), b"content")

    def test_new_program_gives_up_if_the_old_one_crashes_and_is_started_again(self):
        program = os.path.join(self.folder, "program")
        os.symlink(EVSERVE, program)
        server = evtest.Program(program, "--supervise", "--root", ".", "--listen", "127.0.0.1:0", "--listen",
                                "unix:socket", "--pid-file", "pid", cwd=self.folder)
        self.addCleanup(server.kill)
        evtest.wait_until(lambda: self.child(server) == self.pid(), "the PID file")
        os.remove(program)
        with open(program, "w", encoding="ascii") as script:  # the new version takes its time
            script.write(f'#!/bin/sh\nuntil test -e go; do sleep 0.02; done\nexec {EVSERVE} "$@"\n')
        os.chmod(program, 0o700)
        server.process.send_signal(signal.SIGUSR2)
        self.wait_for(server, "upgrading: ")
        self.crash(server, signal.SIGKILL)
        self.wait_for(server, "listening on unix:socket", 2)
        with open(os.path.join(self.folder, "go"), "w", encoding="ascii"):
            pass
        self.wait_for(server, "has crashed, and is started again by its parent: this one stops")
        evtest.wait_until(lambda: any(" evserve has stopped" in line for line in server.raw), "its end")
        self.assertEqual(self.child(server), self.pid())
        for address in server.address, os.path.join(self.folder, "socket"):
            self.assertEqual(get(address), b"content")
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "socket")))

    def start_child_slowly(self, server):
        """A child that has not loaded its script yet."""
        self.crash(server, signal.SIGKILL)
        evtest.wait_until(lambda: self.child(server) != 0, "the next child")
        evtest.wait_until(lambda: re.search(r"^SigBlk:\s+0+$", status(self.child(server)), re.M), "its mask of signals")

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_signals_wait_for_a_child_that_starts_and_a_stop_does_not(self):
        self.write_site("local over = os.clock() + 0.3 while os.clock() < over do end")
        server = self.start("--listen", "127.0.0.1:0", "site.lua")
        self.start_child_slowly(server)
        server.process.send_signal(signal.SIGUSR1)
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(server, "reloaded site.lua")
        self.assertEqual(sum("was ended by signal" in line for line in server.lines), 1, server.lines)
        self.start_child_slowly(server)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(sum("was ended by signal" in line for line in server.lines), 2, server.lines)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_sockets_of_a_reload_are_kept_too(self):
        self.write_site("app.listen 'unix:a'")
        server = self.start("--pid-file", "pid", "site.lua")
        evtest.wait_until(lambda: self.child(server) == self.pid(), "the PID file")
        for names in (["b"], ["a", "b"]):
            self.write_site(*(f"app.listen 'unix:{name}'" for name in names))
            done = evtest.run(EVSERVE, "--reload", os.path.join(self.folder, "pid"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.crash(server, signal.SIGKILL)
            for name in names:
                self.assertEqual(get(os.path.join(self.folder, name)), b"content")
            evtest.wait_until(lambda: self.child(server) == self.pid(), "the PID file of the next child")
        self.assertFalse(any("status" in line for line in server.lines), server.lines)
        self.assertEqual(server.stop(), 0)

    def pid(self):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as file:
            return int(file.read() or 0)

    def write_site(self, *lines):
        with open(os.path.join(self.folder, "site.lua"), "w", encoding="utf-8") as site:
            site.write("\n".join(["local app = require 'evserve'", *lines, ""]))

    def test_server_stops_when_its_parent_dies(self):
        server = self.start("--listen", "127.0.0.1:0")
        child = self.child(server)
        server.process.kill()
        evtest.wait_until(lambda: not re.search(r"^State:\s+[^Z]", status(child), re.M), "the end of the child")

    def test_ignored_and_blocked_signals_of_whoever_starts_it_do_not_matter(self):
        def leave_behind():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM})

        server = self.start("--listen", "127.0.0.1:0", preexec_fn=leave_behind)
        self.crash(server, signal.SIGKILL)
        self.wait_for(server, "listening on", 2)
        self.assertEqual(get(server.address), b"content")
        self.assertEqual(server.stop(), 0)

    def test_what_cannot_start_is_not_tried_again(self):
        done = evtest.run(EVSERVE, "--supervise", "--root", "absent", "--listen", "127.0.0.1:99999", cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("again", done.stderr)
        done = evtest.run(EVSERVE, "--supervise", "--check", cwd=self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--supervise is for serving", done.stderr)

    def test_sandbox_threads_and_another_user(self):
        user = ["--user", "nobody"] if os.geteuid() == 0 else []
        os.chmod(self.folder, 0o755)
        server = self.start("--listen", "127.0.0.1:0", "--sandbox", "--reactors", "2", *user, env=ENVIRONMENT)
        for _ in range(2):
            self.assertEqual(get(server.address), b"content")
            self.crash(server, signal.SIGKILL)
            self.assertEqual(get(server.address), b"content")
        self.assertEqual(server.stop(), 0)


def status(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    side_by_side.main()
