"""The program replaces itself: SIGUSR2 and --upgrade, under load, with and without success."""

import fcntl
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import certificates
import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")

# Ends a group of processes when its standard input ends.
GUARD = """
import contextlib, os, signal, sys
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.killpg(int(sys.argv[1]), signal.SIGKILL)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Load(threading.Thread):
    """A client that asks as fast as it can until stop(), and counts what goes wrong."""

    def __init__(self, address, keeps):
        super().__init__(daemon=True)
        self.address, self.keeps = address, keeps
        self.done = threading.Event()
        self.count, self.failures = 0, []
        self.start()

    def run(self):
        sock = None
        while not self.done.is_set():
            try:
                sock = evtest.connect(self.address) if sock is None else sock
                sock.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n" +
                             (b"" if self.keeps else b"Connection: close\r\n") + b"\r\n")
                text = b""
                while b"hello" not in text:
                    part = sock.recv(4096)
                    if not part:
                        raise OSError(f"closed after {text!r}")
                    text += part
                self.count += 1
                if b"Connection: close" in text:
                    sock.close()
                    sock = None
            except OSError as error:
                self.failures.append(str(error))
                sock = None
        if sock is not None:
            sock.close()

    def stop(self):
        self.done.set()
        self.join()
        return self.failures


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.chmod(self.folder, 0o755)
        with open(os.path.join(self.folder, "a.txt"), "w", encoding="ascii") as file:
            file.write("hello")

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, *arguments, program=EVSERVE, **options):
        """The first program. All later ones are in its group, which ends with this test, whatever ends that."""
        server = evtest.Program(program, *arguments, cwd=self.folder, start_new_session=True, **options)
        guard = subprocess.Popen([sys.executable, "-c", GUARD, str(server.pid)], stdin=subprocess.PIPE,
                                 start_new_session=True)
        self.addCleanup(server.process.stderr.close)
        self.addCleanup(server._reader.join)
        self.addCleanup(server.process.wait)
        self.addCleanup(guard.communicate)
        self.server = server
        return server

    def wait_for_line(self, pattern, count=1):
        def matches():
            return [match for match in map(re.compile(pattern).search, list(self.server.lines)) if match]
        evtest.wait_until(lambda: len(matches()) >= count, f"{count} lines {pattern!r} in {self.server.lines}")
        return matches()[count - 1]

    def upgrade(self, pid, count=1):
        """Upgrade the process, wait until the old one has ended, and return the new one."""
        os.kill(pid, signal.SIGUSR2)
        successor = int(self.wait_for_line(r"upgraded: process (\d+) serves", count).group(1))
        self.assertTrue(alive(successor))
        return successor

    def end(self, pid):
        os.kill(pid, signal.SIGTERM)
        evtest.wait_until(lambda: not alive(pid), f"end of {pid}")

    def hurry(self):
        """The first program has given way: end it without drain_grace."""
        for _ in range(2):
            self.server.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        self.assertEqual(self.server.process.wait(evtest.LIMIT), 0)

    def request(self, *arguments):
        return subprocess.run([EVSERVE, *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=evtest.LIMIT, check=False)


class Upgrade(Case):
    def test_no_request_fails_in_a_row_of_upgrades(self):
        for reactors in ([], ["--reactors", "2"]):
            server = self.start("--listen", "127.0.0.1:0", "--listen", "unix:s", "--root", ".", *reactors)
            load = [Load(server.address, True), Load(server.address, False), Load(self.path("s"), True),
                    Load(self.path("s"), False)]
            pid = server.pid
            for count in range(1, 3):
                pid = self.upgrade(pid, count)
            time.sleep(0.1)
            failures = [one.stop() for one in load]
            self.assertEqual(failures, [[]] * len(load))
            self.assertTrue(all(one.count > 10 for one in load))
            self.assertEqual(server.process.wait(evtest.LIMIT), 0)
            self.end(pid)
            self.assertFalse(os.path.exists(self.path("s")))

    def test_socket_with_the_number_of_the_pipe_and_files_of_the_script(self):
        with open(self.path("site.lua"), "w", encoding="ascii") as file:
            file.write('app = require "evserve"\nlog = io.open("log", "a")\napp.static("/", ".")\n')
        with socket.create_server(("127.0.0.1", 0)) as given:
            def number_fd():
                os.dup2(given.fileno(), 4)  # where the pipe of an upgrade with one socket is
                os.set_inheritable(4, True)
            server = self.start("--listen", "fd:4", "site.lua", preexec_fn=number_fd, close_fds=False)
            pid = server.pid
            for count in 1, 2:
                pid = self.upgrade(pid, count)
                links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
                self.assertEqual(links.count(self.path("log")), 1)  # its own, not those of its predecessors
            self.hurry()
            with evtest.connect(given.getsockname()[:2]) as sock:
                sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
                self.assertIn(b"hello", evtest.receive_all(sock))
            self.end(pid)

    def test_requests_in_flight_are_finished_by_the_old_program(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", ".")
        with server.connect() as sock:
            sock.sendall(b"GET /a.txt HTTP/1.1\r\nHost: ")
            evtest.wait_until(lambda: server.fd_count() > 0, "the connection")
            time.sleep(0.05)
            successor = self.upgrade(server.pid)
            sock.sendall(b"a\r\n\r\n")
            text = evtest.receive_all(sock)
        self.assertIn(b"200 OK", text)
        self.assertIn(b"Connection: close", text)
        self.assertEqual(server.process.wait(evtest.LIMIT), 0)
        self.end(successor)

    def test_upgrade_by_pid_file_waits_for_the_result(self):
        program = self.path("program")
        os.symlink(EVSERVE, program)
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", "--pid-file", "pid", program=program)
        pid_file = self.path("pid")

        def pid():
            with open(pid_file, encoding="ascii") as file:
                return int(file.read())
        evtest.wait_until(lambda: os.stat(pid_file).st_size > 0, "the PID file")
        self.assertEqual(pid(), server.pid)
        result = self.request("--upgrade", pid_file)
        self.assertEqual(result.returncode, 0, result.stderr)
        successor = pid()
        self.assertEqual(result.stdout, f"evserve: process {successor} has taken over from process {server.pid}\n")
        self.hurry()
        self.assertEqual(pid(), successor)  # the old one has not removed it

        os.remove(program)  # the next version does not start: three ways
        for text, reason in ((None, r"cannot run \S+program: No such file or directory"),
                             ("#!/bin/sh\nexit 3\n", r"process \d+ ended with status 3 before it served"),
                             ("#!/bin/sh\nkill -9 $$\n", r"process \d+ was ended by signal 9 before it served")):
            if text is not None:
                with open(program, "w", encoding="ascii") as file:
                    file.write(text)
                os.chmod(program, stat.S_IRWXU)
            result = self.request("--upgrade", pid_file)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"not upgraded: process {successor} goes on serving", result.stderr)
            self.wait_for_line("not upgraded: " + reason)
            with server.connect() as sock:
                sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
                self.assertIn(b"hello", evtest.receive_all(sock))
        self.end(successor)
        self.assertFalse(os.path.exists(pid_file))

    def test_pid_file_has_a_number_at_every_moment(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", "--pid-file", "pid")
        evtest.wait_until(lambda: os.stat(self.path("pid")).st_size > 0, "the PID file")
        seen, end = set(), time.monotonic() + 0.5
        while time.monotonic() < end or len(seen) < 3:
            os.kill(server.pid, signal.SIGHUP)  # the reloads are counted in the file
            for _ in range(50):
                with open(self.path("pid"), encoding="ascii") as file:
                    text = file.read()
                self.assertEqual(text.strip(), str(server.pid))
                seen.add(len(text))

    def test_pid_file_of_another_server_is_warned_of(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", "--pid-file", "pid")
        evtest.wait_until(lambda: os.stat(self.path("pid")).st_size > 0, "the PID file")
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--root", self.folder, "--pid-file",
                            self.path("pid")) as other:
            evtest.wait_until(lambda: any(f"--pid-file {self.path('pid')} is the file of process {server.pid}, which still "
                                          "runs" in line for line in other.lines), "the warning")

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_reload_by_pid_file_waits_for_the_result(self):
        for more in ([], ["--reactors", "2"]):
            with open(self.path("again.lua"), "w", encoding="ascii") as file:
                file.write("")
            server = self.start("--listen", "127.0.0.1:0", "--pid-file", "pid", *more, "again.lua")
            pid_file = self.path("pid")
            evtest.wait_until(lambda: os.stat(pid_file).st_size > 0, "the PID file")
            for text, status in (("", 0), ("error 'no'", 1), ("error 'no'", 1), ("", 0)):
                with open(self.path("again.lua"), "w", encoding="ascii") as file:
                    file.write(text)
                result = self.request("--reload", pid_file)
                self.assertEqual(result.returncode, status, result.stderr)
                with open(pid_file, encoding="ascii") as file:
                    self.assertEqual(int(file.read()), server.pid)
            self.end(server.pid)
            self.assertEqual(self.request("--reload", pid_file).returncode, 1)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_a_reload_during_an_upgrade_is_not_its_result(self):
        program, site, pid_file = self.path("program"), self.path("site.lua"), self.path("pid")
        os.symlink(EVSERVE, program)
        with open(site, "w", encoding="ascii") as file:
            file.write("require('evserve').get('/', function() return 'hello' end)\n")
        server = self.start("--listen", "127.0.0.1:0", "--pid-file", "pid", "site.lua", program=program)
        evtest.wait_until(lambda: os.stat(pid_file).st_size > 0, "the PID file")
        os.remove(program)
        with open(program, "w", encoding="ascii") as file:  # a version that takes its time
            file.write(f"#!/bin/sh\nuntil [ -e go ]; do sleep 0.05; done\nexec '{EVSERVE}' \"$@\"\n")
        os.chmod(program, stat.S_IRWXU)
        with server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: ")  # so that the old program drains
            upgrade = subprocess.Popen([EVSERVE, "--upgrade", pid_file], stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
            self.addCleanup(upgrade.stdout.close)
            self.wait_for_line("upgrading: ")
            for _ in range(2):
                self.assertEqual(self.request("--reload", pid_file).returncode, 0)
            os.kill(server.pid, signal.SIGUSR2)
            self.wait_for_line("is starting already")
            time.sleep(0.2)
            self.assertIsNone(upgrade.poll())
            with open(self.path("go"), "w", encoding="ascii"):
                pass
            self.assertEqual(upgrade.wait(evtest.LIMIT), 0)
            with open(pid_file, encoding="ascii") as file:
                successor = int(file.read())
            self.assertEqual(upgrade.stdout.read(),
                             f"evserve: process {successor} has taken over from process {server.pid}\n")
            self.wait_for_line("upgraded: process")
            os.kill(server.pid, signal.SIGUSR2)  # the old program must not claim the file again
            self.wait_for_line("not upgraded: this process is stopping")
            sock.sendall(b"a\r\n\r\n")
            self.assertIn(b"hello", evtest.receive_all(sock))
        self.hurry()
        with open(pid_file, encoding="ascii") as file:
            self.assertEqual(int(file.read()), successor)
        self.end(successor)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_reload_by_pid_file_waits_for_its_own_result(self):
        program, site, pid_file = self.path("program"), self.path("site.lua"), self.path("pid")
        os.symlink(EVSERVE, program)

        def write(more):
            with open(site, "w", encoding="ascii") as file:
                file.write("while true do local wait = io.open('wait') if not wait then break end wait:close() end\n" + more)

        def reload():
            process = subprocess.Popen([EVSERVE, "--reload", pid_file], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            time.sleep(0.2)
            self.assertIsNone(process.poll())
            return process
        write("")
        server = self.start("--listen", "127.0.0.1:0", "--pid-file", "pid", "site.lua", program=program)
        evtest.wait_until(lambda: os.stat(pid_file).st_size > 0, "the PID file")
        os.remove(program)
        with open(self.path("wait"), "w", encoding="ascii"):
            pass
        first = reload()
        os.kill(server.pid, signal.SIGUSR2)  # cannot be done, and says so in the file
        self.wait_for_line("not upgraded")
        write("error 'no'\n")
        second = reload()  # while the first one goes on
        self.assertIsNone(first.poll())
        os.remove(self.path("wait"))
        self.assertEqual(second.wait(evtest.LIMIT), 1)
        self.assertEqual(first.wait(evtest.LIMIT), 1)  # which has waited for the last one
        self.end(server.pid)

    def test_pid_file_of_nobody_is_an_error(self):
        with open(self.path("pid"), "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")  # whom a signal would end
        for name, text in (("none", "No such file or directory"), ("pid", "is not the PID file of a running evserve")):
            result = self.request("--upgrade", self.path(name))
            self.assertEqual(result.returncode, 1)
            self.assertIn(text, result.stderr)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_a_script_that_does_not_load_leaves_the_old_program(self):
        site = self.path("site.lua")

        def write(text):
            with open(site + ".new", "w", encoding="ascii") as file:
                file.write("local app = require 'evserve'\napp.listen('unix:s')\n" + text)
            os.rename(site + ".new", site)

        def ask():
            with evtest.connect(self.path("s")) as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return evtest.receive_all(sock).partition(b"\r\n\r\n")[2]
        write("app.get('/', function() return 'one' end)\n")
        server = self.start("site.lua")
        write("nonsense(\n")
        os.kill(server.pid, signal.SIGUSR2)
        self.wait_for_line(r"not upgraded: process \d+ could not start: site.lua:4:")
        self.assertEqual(ask(), b"one")
        # one that fails when the socket is its own already
        write("app.listen('127.0.0.1:1?mode=1')\n")
        os.kill(server.pid, signal.SIGUSR2)
        self.wait_for_line(r"not upgraded: process \d+ could not start: site.lua:3: .*mode", 1)
        self.assertEqual(ask(), b"one")
        write("app.get('/', function() return 'two' end)\n")
        successor = self.upgrade(server.pid)
        evtest.wait_until(lambda: ask() == b"two", "the end of the old program's accepting")  # for a moment both do
        self.end(successor)
        self.assertFalse(os.path.exists(self.path("s")))

    def test_what_is_stopped_meanwhile_starts_no_other(self):
        program = self.path("program")
        os.symlink(EVSERVE, program)
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", program=program)
        os.remove(program)
        with open(program, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexec sleep 60\n")
        os.chmod(program, stat.S_IRWXU)
        os.kill(server.pid, signal.SIGUSR2)
        child = int(self.wait_for_line(r"starts as process (\d+)").group(1))
        os.kill(server.pid, signal.SIGUSR2)
        self.wait_for_line(f"not upgraded: process {child} is starting already")
        os.kill(server.pid, signal.SIGTERM)
        self.assertEqual(server.process.wait(evtest.LIMIT), 0)
        self.assertFalse(alive(child))

    def test_tls_sessions_are_resumed_after_an_upgrade(self):
        certificates.require_tls(EVSERVE)
        authority = certificates.Authority(self.folder)
        pair = authority.sign("server", "localhost")
        for more in ([], ["--supervise", "--reactors", "2"]):
            server = self.start("--listen", "127.0.0.1:0?tls", "--tls-cert", pair[0], "--tls-key", pair[1], "--root", ".",
                                "--pid-file", "pid", *more)
            evtest.wait_until(lambda: os.stat(self.path("pid")).st_size > 0, "the PID file")
            clients = [(authority.client(maximum_version=version), []) for version in (ssl.TLSVersion.TLSv1_2,
                                                                                       ssl.TLSVersion.TLSv1_3)]
            for count in range(3):
                for context, sessions in clients:
                    with evtest.connect(server.address) as raw, context.wrap_socket(
                            raw, server_hostname="localhost", session=sessions[-1] if sessions else None) as sock:
                        sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
                        self.assertIn(b"hello", evtest.receive_all(sock))
                        self.assertIs(sock.session_reused, count > 0)
                        sessions.append(sock.session)
                if count < 2:
                    result = self.request("--upgrade", "pid")
                    self.assertEqual(result.returncode, 0, result.stderr)
                    if count == 0:
                        self.hurry()
            with open(self.path("pid"), encoding="ascii") as file:
                self.end(int(file.read()))

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_child_of_a_supervisor_that_crashes_before_it_serves_is_noticed(self):
        def write(text):
            with open(self.path("site.lua"), "w", encoding="ascii") as file:
                file.write("app = require 'evserve'\napp.static('/', '.')\n" + text)
        write("")
        server = self.start("--listen", "unix:s", "--pid-file", "pid", "--supervise", "site.lua")
        evtest.wait_until(lambda: os.stat(self.path("pid")).st_size > 0, "the PID file")
        write("ffi = require 'ffi'\nffi.cdef 'int raise(int number);'\nffi.C.raise(9)\n")
        begin = time.monotonic()
        result = self.request("--upgrade", "pid")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertLess(time.monotonic() - begin, 10)  # not the minute that a new program may take
        self.wait_for_line(r"not upgraded: process \d+ ended with status 1 before it served")
        self.wait_for_line(r"was ended by signal 9")
        with evtest.connect(self.path("s")) as sock:  # which nobody has bound anew
            sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
            self.assertIn(b"hello", evtest.receive_all(sock))
        self.assertEqual(len([line for line in server.lines if "started again" in line]), 0)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(evtest.LIMIT), 0)

    def test_sandboxes_and_pipes_say_why_not(self):
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", "--sandbox")
        os.kill(server.pid, signal.SIGUSR2)
        self.wait_for_line("not upgraded: in the sandbox no program can be started")
        self.end(server.pid)

    def children(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]

    def start_as_process_1(self, *arguments):
        """Returns the process ids, seen from here, of process 1 of a namespace and of its child, which serves."""
        unshare = ["unshare", "--pid", "--fork", "--kill-child"]
        try:
            can_unshare = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            can_unshare = False
        if not can_unshare:
            self.skipTest("needs a PID namespace")
        server = self.start(*unshare[1:], EVSERVE, *arguments, program=unshare[0])
        [first] = self.children(server.pid)
        [second] = self.children(first)
        return first, second

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_process_1_of_a_container_stays(self):
        for options in [], ["--supervise"]:
            _, pid = self.start_as_process_1("--listen", "127.0.0.1:0", "--root", ".", *options)
            os.kill(pid, signal.SIGUSR2)
            self.wait_for_line("not upgraded: a container ends with its process 1")
            self.end(pid)
            self.assertEqual(self.server.process.wait(evtest.LIMIT), 0)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_process_1_passes_signals_on_and_ends_as_its_child_does(self):
        for options in [], ["--reactors", "2"]:
            first, _ = self.start_as_process_1("--listen", "127.0.0.1:0", "--root", ".", *options)
            os.kill(first, signal.SIGHUP)
            self.wait_for_line("reloaded")
            os.kill(first, signal.SIGTERM)
            self.assertEqual(self.server.process.wait(evtest.LIMIT), 0)
        _, second = self.start_as_process_1("--listen", "127.0.0.1:0", "--root", ".")
        os.kill(second, signal.SIGKILL)  # nothing is started again
        self.assertEqual(self.server.process.wait(evtest.LIMIT), 128 + signal.SIGKILL)
        self.wait_for_line("was ended by signal 9")
        done = subprocess.run(["unshare", "--pid", "--fork", EVSERVE, "--root", "absent"], cwd=self.folder,
                              capture_output=True, text=True, timeout=evtest.LIMIT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent", done.stderr)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_process_1_reaps_orphans(self):
        with open(self.path("site.lua"), "w", encoding="ascii") as file:
            file.write("app = require 'evserve'\n"
                       "app.get('/', function()\n"
                       "  os.execute('sleep 0.5 & sleep 0.5 &')\n"  # the shell ends, and leaves two orphans
                       "  local pipe = io.popen('exit 3')\n"        # a child of the server's own
                       "  return tostring(pipe:read('*a') == '' and pipe:close())\n"
                       "end)\n")
        for options in [], ["--supervise"]:
            first, second = self.start_as_process_1("--listen", "127.0.0.1:0", *options, "site.lua")
            with self.server.connect() as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"200 OK", evtest.receive_all(sock))
            self.assertEqual(len(self.children(first)), 3)
            evtest.wait_until(lambda: self.children(first) == [second], "only the server")
            os.kill(first, signal.SIGTERM)
            self.assertEqual(self.server.process.wait(evtest.LIMIT), 0)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_the_user_of_root_upgrades_too(self):
        os.mkdir(self.path("run"))
        os.chown(self.path("run"), 65534, 65534)
        server = self.start("--listen", "127.0.0.1:0", "--root", ".", "--user", "nobody", "--pid-file", "run/pid")
        successor = self.upgrade(server.pid)
        self.assertEqual(os.stat(f"/proc/{successor}").st_uid, 65534)
        self.hurry()
        self.end(successor)
        self.assertFalse(os.path.exists(self.path("run/pid")))

class Systemd(Case):
    """What systemd passes, is told, and keeps."""

    def setUp(self):
        super().setUp()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(self.path("notify"))
        self.socket.settimeout(evtest.LIMIT)

    def start_service(self, *arguments, passed=(), **variables):
        """As systemd does: sockets from fd 3 on, and variables that name the process itself. passed: pairs of name and
        fd."""
        fds = [os.dup(fd) for _, fd in passed]

        def number_fds():
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
            for place, fd in enumerate(high):
                os.dup2(fd, 3 + place)
        shell = 'test -z "$LISTEN_FDS" || export LISTEN_PID=$$; exec "$0" "$@"'
        variables = {**os.environ, "NOTIFY_SOCKET": self.path("notify"), **variables}
        if passed:
            variables.update(LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=":".join(name for name, _ in passed))
        server = self.start("-c", shell, EVSERVE, *arguments, program="sh", env=variables, preexec_fn=number_fds,
                            pass_fds=range(3, 3 + len(fds)))
        for fd in fds:
            os.close(fd)
        return server

    def news_until(self, last):
        """All news until one that contains last, and pairs of name and fd for what is to be stored."""
        texts, stored = [], []
        while not texts or last not in texts[-1]:
            text, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
            texts.append(text.decode())
            for fd in fds:
                self.addCleanup(os.close, fd)
                stored.append((texts[-1].partition("FDNAME=")[2], fd))
        return texts, stored

    def ask(self, address):
        with evtest.connect(address) as sock:
            sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
            return evtest.receive_all(sock)

    def test_sockets_keep_their_numbers_and_the_main_process_is_announced(self):
        with socket.create_server(("127.0.0.1", 0)) as passed:
            server = self.start_service("--root", ".", passed=[("unknown", passed.fileno())])
            address = passed.getsockname()[:2]
            self.news_until("READY=1")
            successor = self.upgrade(server.pid)
            texts, _ = self.news_until("MAINPID=")
            self.assertIn(f"MAINPID={successor}\n", texts[-1])
            self.hurry()
            successor = self.upgrade(successor, 2)
            self.assertIn(b"hello", self.ask(address))
            texts, _ = self.news_until(f"MAINPID={successor}")
            self.assertNotIn("STOPPING=1", texts)  # the service goes on
            self.end(successor)

    @unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")
    def test_status_names_an_address_that_is_served(self):
        def write(name):
            with open(self.path("site.lua"), "w", encoding="ascii") as file:
                file.write(f"require('evserve').listen('unix:{name}')\n")
        write("a")
        server = self.start_service("site.lua")
        texts, _ = self.news_until("READY=1")
        self.assertIn("STATUS=listening on unix:a", texts[-1])
        write("b")
        os.kill(server.pid, signal.SIGHUP)
        self.news_until("RELOADING=1")
        texts, _ = self.news_until("READY=1")
        self.assertIn("STATUS=listening on unix:b", texts[-1])
        self.end(server.pid)

    def test_sockets_in_the_store_survive_a_restart(self):
        unix = "unix:" + self.path("s")
        arguments = ["--listen", "127.0.0.1:0", "--listen", unix, "--root", "."]
        server = self.start_service(*arguments, "--reactors", "2", FDSTORE="8")
        _, stored = self.news_until("READY=1")
        names = ["listen=127.0.0.1%3A0", "listen=" + unix.replace(":", "%3A")]
        self.assertEqual([name for name, _ in stored], [*names, names[0]])  # each thread has a socket of the port
        self.assertEqual(server.stop(), 0)
        self.assertTrue(os.path.exists(self.path("s")))
        waiting = evtest.connect(self.path("s"))  # nobody serves it, and it is not refused
        also_waiting = [evtest.connect(server.address) for _ in range(8)]
        for sock in waiting, *also_waiting:
            sock.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")

        again = self.start_service(*arguments, "--sandbox", "--reactors", "2", passed=stored, FDSTORE="8",
                                   ASAN_OPTIONS="detect_leaks=0")  # which a sandbox does not allow
        self.assertEqual(again.address, server.address)
        for sock in waiting, *also_waiting:
            with sock:
                self.assertIn(b"hello", evtest.receive_all(sock))
        texts, stored = self.news_until("READY=1")
        removed = [text for text in texts if text.startswith("FDSTOREREMOVE=1")]
        self.assertEqual({text.partition("FDNAME=")[2] for text in removed}, set(names))
        self.assertEqual(len(stored), 3)
        self.assertEqual(again.stop(), 0)

    def test_without_a_store_sockets_end_with_the_program(self):
        server = self.start_service("--listen", "127.0.0.1:0", "--listen", "unix:s", "--root", ".")
        _, stored = self.news_until("READY=1")
        self.assertEqual(stored, [])
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(self.path("s")))


if __name__ == "__main__":
    side_by_side.main()
