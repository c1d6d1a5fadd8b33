"""The access log of the program: what logrotate does to it, the sandbox, another user, reloads, several threads, a pipe
that nobody reads, and a disk that is full."""

import contextlib
import json
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0", TZ="UTC")
LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin")


def ask(address, path, more=""):
    with evtest.connect(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n{more}\r\n".encode())
        return evtest.receive_all(sock)


class Case(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.top, ignore_errors=True)
        os.chmod(self.top, 0o755)
        for name in ("public", "log"):
            os.mkdir(self.path(name))
        with open(self.path("public/index.html"), "w", encoding="ascii") as file:
            file.write("page")
        self.log = self.path("log/access.log")

    def path(self, name):
        return os.path.join(self.top, name)

    def text(self, name="log/access.log"):
        with contextlib.suppress(FileNotFoundError), open(self.path(name), encoding="ascii") as file:
            return file.read()
        return ""

    def serve(self, *argv, **popen):
        popen.setdefault("env", ENVIRONMENT)
        return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--root", self.path("public"), *argv, **popen)

    def wait_for(self, text, name="log/access.log"):
        evtest.wait_until(lambda: text in self.text(name), f"{text} in {name}")


class Lines(Case):
    def test_combined(self):
        with self.serve("--access-log", self.log) as server:
            ask(server.address, "/", 'User-Agent: "x"\x1b[0m\r\nReferer: http://a/\r\n')
            ask(server.address, "/none?a=\"")
            self.wait_for("/none")  # within a second, without a stop
        lines = self.text().splitlines()
        when = r"\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\]"
        self.assertRegex(lines[0], rf'^127\.0\.0\.1 - - {when} "GET / HTTP/1\.0" 400 \d+ "-" "-"$')  # a control character
        self.assertRegex(lines[1], rf'^127\.0\.0\.1 - - {when} "GET /none\?a=\\x22 HTTP/1\.0" 404 14 "-" "-"$')
        self.assertEqual(os.stat(self.log).st_mode & 0o137, 0)

    def test_standard_output_in_json(self):
        with self.serve("--access-log", "stdout", "--access-log-format", "json", stdout=subprocess.PIPE) as server:
            ask(server.address, "/?\xe9", "Host: A:80\r\nUser-Agent: caf\xe9\\\r\n")
            line = json.loads(server.process.stdout.readline())
            server.process.stdout.close()
        self.assertEqual((line["status"], line["host"], line["user_agent"], line["completion"]),
                         (400, "", "", "OK"))  # the target has a byte that no target may have

    def test_plain_http_to_a_port_for_https(self):
        form = "$remote_addr $request $status $bytes_sent"
        with self.serve("--tls-dev", "--access-log", self.log, "--access-log-format", form) as server:
            response = ask(server.address, "/")
        self.assertTrue(response.startswith(b"HTTP/1.1 400 "), response)
        self.assertEqual(self.text(), f"127.0.0.1 - 400 {len(response)}\n")

    def test_mistakes_end_the_start(self):
        for option, value, status, text in (
                ("--access-log", self.path("nowhere/a.log"), 1,
                 "cannot open the access log .*: its directory does not exist"),
                ("--access-log", "", 2, "--access-log expects a file"),
                ("--access-log-format", "$statu", 2,
                 r"--access-log-format: unknown variable \$statu at character 1 \(did you mean \$status\?\)")):
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "--root", self.path("public"), option, value)
            self.assertEqual(done.returncode, status)
            self.assertRegex(done.stderr, text)

    def test_check_looks_where_the_log_will_be(self):
        os.mkdir(self.path("folder"))
        os.symlink(self.path("nowhere/a.log"), self.path("broken"))
        for target, text in (
                (self.log, None), ("stdout", None), ("off", None), ("/dev/null", None),
                (self.path("nowhere/a.log"), "its directory does not exist"), (self.path("folder"), "it is a directory"),
                (self.path("broken"), "it is a symbolic link that leads nowhere"),
                ("syslog:server=unix:" + self.path("nowhere"), "no syslog daemon at ")):
            done = evtest.run(EVSERVE, "--check", "--access-log", target, "--root", self.path("public"))
            self.assertEqual(done.returncode, 0 if text is None else 1, done.stderr)
            self.assertIn("" if text is None else f"cannot open the access log {target}: {text}", done.stderr)
        self.assertFalse(os.path.exists(self.log))

    @unittest.skipUnless(os.geteuid() == 0, "root may write everywhere, others are tried as nobody")
    def test_check_asks_whether_the_log_may_be_written(self):
        with open(self.log, "w", encoding="ascii"):
            pass
        for target in self.log, self.path("log/other.log"):
            done = evtest.run(EVSERVE, "--check", "--access-log", target, "--root", self.path("public"), user="nobody")
            self.assertEqual((done.returncode, done.stderr),
                             (1, f"cannot open the access log {target}: Permission denied\n"))

    def test_a_trial_request_is_not_logged(self):
        done = evtest.run(EVSERVE, "--access-log", self.log, "--root", self.path("public"), "--request", "GET /")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.text(), "")


class Rotation(Case):
    def rotate(self, *argv):
        """Rename the file, have it reopened, and see that no line is lost."""
        with self.serve("--access-log", self.log, "--access-log-format", "$uri", *argv) as server:
            ask(server.address, "/one")
            self.wait_for("/one")
            os.rename(self.log, self.log + ".1")
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: os.path.exists(self.log), "a new file")
            ask(server.address, "/two")
            self.wait_for("/two")
            self.assertEqual(server.lines[1:], [])
        self.assertEqual(self.text("log/access.log.1"), "/one\n")
        self.assertEqual(self.text(), "/two\n")

    def test_plain(self):
        self.rotate()

    def test_threads(self):
        self.rotate("--reactors", "3")

    def test_sandbox(self):
        self.rotate("--sandbox")

    @unittest.skipIf(os.geteuid() != 0, "only root may become another user")
    def test_another_user(self):
        nobody = pwd.getpwnam("nobody")
        os.chown(self.path("log"), nobody.pw_uid, nobody.pw_gid)
        self.rotate("--user", "nobody")
        self.assertEqual(os.stat(self.log + ".1").st_uid, nobody.pw_uid)
        os.unlink(self.log)
        os.unlink(self.log + ".1")
        self.rotate("--user", "nobody", "--sandbox")

    @unittest.skipIf(os.geteuid() != 0, "only root may become another user")
    def test_a_log_that_cannot_be_reopened_goes_on(self):
        with self.serve("--access-log", self.log, "--access-log-format", "$uri", "--user", "nobody") as server:
            os.rename(self.log, self.log + ".1")
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: len(server.lines) > 2, "a line of the log")
            self.assertRegex(server.lines[1], "warn the user of the server .* cannot open the access log "
                                              f"{re.escape(self.log)}: Permission denied: it cannot be opened again")
            self.assertRegex(server.lines[2], "error cannot open the access log .*: Permission denied; lines go on to")
            ask(server.address, "/on")
            self.wait_for("/on", "log/access.log.1")

    def test_copytruncate(self):
        with self.serve("--access-log", self.log, "--access-log-format", "$uri") as server:
            ask(server.address, "/one")
            self.wait_for("/one")
            os.truncate(self.log, 0)
            ask(server.address, "/two")
            self.wait_for("/two")
        self.assertEqual(self.text(), "/two\n")

    @unittest.skipIf(LOGROTATE is None, "logrotate is not installed")
    def test_logrotate(self):
        with self.serve("--access-log", self.log, "--access-log-format", "$uri") as server:
            config = self.path("logrotate.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write(f"{self.log} {{\n  su root root\n  rotate 3\n  create 640\n  postrotate\n    kill -USR1 {server.pid}\n"
                           "  endscript\n}\n" if os.geteuid() == 0 else
                           f"{self.log} {{\n  rotate 3\n  create 640\n  postrotate\n    kill -USR1 {server.pid}\n"
                           "  endscript\n}\n")
            os.chmod(config, 0o644)
            for n in range(3):
                ask(server.address, f"/{n}")
                self.wait_for(f"/{n}\n")
                done = subprocess.run([LOGROTATE, "--force", "--state", self.path("state"), config],
                                      capture_output=True, text=True, check=False, timeout=evtest.LIMIT)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                before = len(os.listdir(self.path("log")))
                self.assertEqual(before, n + 2)
                time.sleep(0.1)  # the signal is on its way
            ask(server.address, "/last")
            self.wait_for("/last")
        self.assertEqual([self.text(f"log/access.log.{n}") for n in (3, 2, 1)], ["/0\n", "/1\n", "/2\n"])


class Reloads(Case):
    def test_another_file_and_format(self):
        site = self.path("site.lua")

        def write(log, form):
            with open(site, "w", encoding="ascii") as file:
                file.write(f"local app = require 'evserve'\napp.set {{ access_log = {log}, access_log_format = '{form}' }}\n"
                           "app.get('/quiet', { access_log = false }, function() return 'q' end)\n"
                           "app.get('/:id', function() return 'x' end)\n")

        def reload(server, count):
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: len(server.lines) > count, "a reload")
            return server.lines[-1]

        write(f"'{self.log}'", "$uri $route")
        with self.serve(site) as server:
            ask(server.address, "/quiet")
            ask(server.address, "/one")
            write(f"'{self.log}.2'", "second $uri")
            self.assertIn("reloaded", reload(server, 1))
            ask(server.address, "/two")
            write(f"'{self.log}.2'", "$nothing")
            self.assertIn("site.lua:2: app.set: access_log_format: unknown variable $nothing", reload(server, 2))
            write(f"'{self.path('nowhere/x')}'", "$uri")
            self.assertIn("its directory does not exist", reload(server, 3))
            ask(server.address, "/three")
            write("false", "$uri")
            reload(server, 4)
            ask(server.address, "/four")
            write(f"'{self.log}'", "again $uri")
            reload(server, 5)
            ask(server.address, "/five")
        self.assertEqual(self.text(), "/one /:id\nagain /five\n")
        self.assertEqual(self.text("log/access.log.2"), "second /two\nsecond /three\n")


class Load(Case):
    def pipeline(self, server, rounds, size=100):
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * size
        with evtest.connect(server.address) as sock:
            for _ in range(rounds):
                sock.sendall(request)
                got = 0
                while got < size:
                    got += sock.recv(1 << 20).count(b"HTTP/1.1 200")

    def test_lines_of_many_threads_are_whole(self):
        with self.serve("--access-log", self.log, "--access-log-format", "json", "--reactors", "4") as server:
            threads = [threading.Thread(target=self.pipeline, args=(server, 20)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        lines = [json.loads(line) for line in self.text().splitlines()]
        self.assertEqual(len(lines), 8 * 20 * 100)
        self.assertEqual({(line["status"], line["body_bytes_sent"]) for line in lines}, {(200, 4)})

    def test_a_pipe_that_nobody_reads_delays_nobody(self):
        reader, writer = os.pipe()
        try:
            with self.serve("--access-log", "stdout", stdout=writer) as server:
                self.pipeline(server, 5)
                ends = time.monotonic() + 1.5
                waits = []

                def flood():
                    while time.monotonic() < ends:
                        self.pipeline(server, 10)

                thread = threading.Thread(target=flood)
                thread.start()
                while time.monotonic() < ends:
                    begun = time.monotonic()
                    ask(server.address, "/")
                    waits.append(time.monotonic() - begun)
                thread.join()
                waits.sort()
                self.assertLess(waits[len(waits) * 99 // 100], 0.5)
                evtest.wait_until(lambda: len(server.lines) > 1, "a line of the log")
                self.assertRegex(server.lines[1], "warn lines of the access log stdout are lost: its reader does not keep up")
                self.assertEqual(len(server.lines), 2)
                os.set_blocking(reader, False)
                text = os.read(reader, 1 << 20)
            with contextlib.suppress(BlockingIOError):
                text += os.read(reader, 1 << 20)
            self.assertTrue(text.endswith(b"\n"))
            for line in text.decode("ascii").splitlines():
                self.assertRegex(line, r'^127\.0\.0\.1 - - \[[^]]+\] "GET / HTTP/1\.[01]" 200 4 "-" "-"$')
        finally:
            os.close(reader)
            os.close(writer)

    def test_a_full_disk(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        with self.serve("--access-log", self.log, preexec_fn=limit) as server:
            for _ in range(2):
                self.pipeline(server, 1)
                time.sleep(1.1)
            evtest.wait_until(lambda: len(server.lines) > 1, "a line of the log")
            self.assertRegex(server.lines[1], "warn lines of the access log .* are lost: ")
            self.assertIn(b" 200 OK", ask(server.address, "/"))
        self.assertEqual(os.path.getsize(self.log), 1000)


if __name__ == "__main__":
    side_by_side.main()
