"""The program's own log: where it goes, how its lines look, what they say of requests, signals and floods."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import evtest
import side_by_side
from lua_site import EVSERVE

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
SITE = """
local app = require "evserve"
app.set { trusted_proxies = "127.0.0.1" }
app.get("/fail", function() error "broken" end)
app.get("/say", function(req) app.log("warn", "said") return req.id end)
app.get("/quiet", function() app.log("debug", "whispered") return "" end)
"""


class LogCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.site = os.path.join(self.folder, "site.lua")
        self.log = os.path.join(self.folder, "error.log")
        with open(self.site, "w", encoding="utf-8") as file:
            file.write(SITE)

    def serve(self, *options, **popen):
        return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *options, self.site, **popen)

    def ask(self, server, path, *fields):
        """Returns head and content of the response."""
        with server.connect() as sock:
            lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
            sock.sendall("\r\n".join(lines).encode())
            return evtest.receive_all(sock).decode().split("\r\n\r\n", 1)

    def read(self, path=None):
        with open(path or self.log, encoding="utf-8") as file:
            return file.read()


class Lines(LogCase):
    def test_text_on_standard_error(self):
        with self.serve() as server:
            head, identity = self.ask(server, "/say")
            self.ask(server, "/fail", "X-Request-Id: proxy-1")
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.raw), "the reload")
        lines = [line for line in server.raw[1:] if " warn serving as root" not in line]
        me = f"from process {os.getpid()}"
        for line, expected in zip(lines, (
                rf"info evserve \S+ has started, process {server.pid}",
                rf"warn said \[client 127\.0\.0\.1:\d+, id {identity}\]",
                rf"error GET /fail \(route at {self.site}:4\): {self.site}:4: broken "
                r"\[client 127\.0\.0\.1:\d+, id proxy-1\]")):
            self.assertRegex(line, f"^{TIME} {expected}$")
        for line, expected in zip(lines[-4:], (f"info SIGHUP {me}: reloading", f"info reloaded {self.site}",
                                               f"info SIGTERM {me}: stopping", f"info evserve has stopped, process {server.pid}")):
            self.assertRegex(line, f"^{TIME} {expected}$")
        self.assertRegex(identity, "^[0-9a-f]{32}$")
        self.assertNotIn("request-id", head.lower())

    def test_json_in_a_file_that_is_opened_again(self):
        with self.serve("--log", self.log, "--log-format", "json") as server:
            head, _ = self.ask(server, "/fail", "X-Request-Id: proxy-2")
            self.assertIn("\r\nX-Request-Id: proxy-2", head)
            os.rename(self.log, self.log + ".1")
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: os.path.exists(self.log) and "SIGUSR1" in self.read(), "the new file")
        self.assertEqual(len(server.raw), 1, server.raw)  # "listening on"
        lines = [json.loads(line) for line in (self.read(self.log + ".1") + self.read()).splitlines()]
        for line in lines:
            self.assertRegex(line["time"], f"^{TIME}$")
        failed = next(line for line in lines if line["level"] == "error")
        self.assertEqual(failed["request_id"], "proxy-2")
        self.assertRegex(failed["client"], r"^127\.0\.0\.1:\d+$")
        self.assertRegex(failed["message"], r"^GET /fail .*: broken\nstack traceback:\n")
        self.assertRegex(lines[0]["message"], "^listening on 127")
        self.assertRegex(lines[-1]["message"], r"^evserve has stopped, process \d+$")
        self.assertEqual(os.stat(self.log).st_mode & 0o777, 0o640 & ~self.umask())

    @staticmethod
    def umask():
        mask = os.umask(0)
        os.umask(mask)
        return mask

    def test_journald_gets_priorities_and_a_line_for_a_traceback(self):
        evtest.skip_without_lua([self.site])
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        stream = os.fstat(writer)
        environment = dict(os.environ, JOURNAL_STREAM=f"{stream.st_dev}:{stream.st_ino}")
        done = subprocess.Popen(
            [EVSERVE, "--listen", "127.0.0.1:0", self.site], stderr=writer, env=environment)
        os.close(writer)
        with os.fdopen(os.dup(reader), encoding="utf-8") as lines:
            address = evtest.parse_address(lines.readline().split()[-1])
            with evtest.connect(address) as sock:
                sock.sendall(b"GET /fail HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                evtest.receive_all(sock)
            done.terminate()
            self.assertEqual(done.wait(evtest.LIMIT), 0)
            text = lines.read()
        self.assertRegex(text, r"(?m)^<6>evserve \S+ has started")
        self.assertRegex(text, r"(?m)^<3>GET /fail .*: broken \[client \S+, id \S+\] \| stack traceback: \| ")
        self.assertRegex(text, r"(?m)^<6>evserve has stopped, process \d+$")
        for line in text.splitlines():
            self.assertRegex(line, "^<[3-7]>")

    def test_json_on_standard_error_is_json_from_its_first_line_on(self):
        with self.serve("--log-format", "json", "--tls-dev") as server:
            pass
        lines = [json.loads(line) for line in server.raw]
        self.assertEqual(lines[0]["message"], f"listening on 127.0.0.1:{server.address[1]} (HTTPS)")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_file_made_as_root_is_the_users(self):
        os.chmod(self.folder, 0o755)
        with self.serve("--log", self.log, "--user", "nobody") as server:
            self.assertEqual(os.stat(self.log).st_uid, os.stat(f"/proc/{server.pid}").st_uid)
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: "SIGUSR1" in self.read(), "the file opened again")
        self.assertNotIn("cannot open the log", self.read())

    def test_a_stop_during_a_reload_is_no_error(self):
        with self.serve() as server:
            with open(self.site, "a", encoding="utf-8") as file:
                file.write("while true do end\n")
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("SIGHUP" in line for line in server.raw), "the reload")
        self.assertTrue(any(re.search(r" info not reloaded: .*has stopped$", line) for line in server.raw), server.raw)
        self.assertFalse(any(" error " in line for line in server.raw), server.raw)

    def test_level(self):
        with self.serve("--log-level", "error", "--log", self.log) as server:
            self.ask(server, "/say")
            self.ask(server, "/fail")
        self.assertEqual({line.split()[1] for line in self.read().splitlines() if re.match(TIME, line)}, {"error"})
        with self.serve("--log-level", "debug") as server:
            self.ask(server, "/quiet")
        self.assertTrue(any(re.search(r" debug whispered \[client", line) for line in server.raw), server.raw)


class Floods(LogCase):
    def test_ten_lines_a_second_from_one_place(self):
        with self.serve() as server:
            with server.connect() as sock:
                sock.sendall(b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
                began = time.monotonic()
                evtest.wait_until(lambda: any("more line" in line for line in server.raw), "the number of the others")
                self.assertLess(time.monotonic() - began, 10)
        written = sum("error GET /fail" in line for line in server.raw)
        others = [int(count) for line in server.raw
                  for count in re.findall(r" error (\d+) more lines? like this within a second: GET /fail ", line)]
        self.assertEqual(written + sum(others), 200)
        self.assertLessEqual(written, 10 * (1 + len(others)))

    def test_lines_of_the_application_are_all_written(self):
        with self.serve() as server:
            with server.connect() as sock:
                sock.sendall(b"GET /say HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
                evtest.wait_until(lambda: sum(" warn said" in line for line in server.raw) == 50, "50 lines")


class Mistakes(LogCase):
    def refuse(self, *options):
        done = evtest.run(EVSERVE, *options, self.site)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_each_names_the_option(self):
        self.assertRegex(self.refuse("--log-level", "loud"),
                         '--log-level expects error, warn, info or debug, not "loud"')
        self.assertRegex(self.refuse("--log-format", "xml"), '--log-format expects text, json or journal, not "xml"')
        self.assertRegex(self.refuse("--log", ""), "--log expects a file")
        missing = os.path.join(self.folder, "none", "error.log")
        self.assertEqual(self.refuse("--log", missing), f"cannot open the log {missing}: No such file or directory\n")

    def test_check_asks_whether_the_file_could_be_opened(self):
        good = evtest.run(EVSERVE, "--check", "--log", self.log, self.site)
        self.assertEqual((good.returncode, good.stderr), (0, ""))
        self.assertFalse(os.path.exists(self.log))
        missing = os.path.join(self.folder, "none", "error.log")
        for path, why in (missing, "No such file or directory"), (self.folder, "Is a directory"):
            self.assertEqual(self.refuse("--check", "--log", path), f"cannot open the log {path}: {why}\n")

    def test_a_file_that_cannot_be_opened_again_is_kept(self):
        with self.serve("--log", self.log) as server:
            os.rename(self.log, self.log + ".1")
            os.mkdir(self.log)
            server.process.send_signal(signal.SIGUSR1)
            evtest.wait_until(lambda: "lines go on to where they went" in self.read(self.log + ".1"), "the error")
        self.assertRegex(self.read(self.log + ".1"), r"info evserve has stopped, process \d+\n$")

    def test_an_error_of_the_start_is_on_both(self):
        with open(self.site, "w", encoding="utf-8") as file:
            file.write("error 'no'")
        self.assertRegex(self.refuse("--log", self.log), "no")
        self.assertRegex(self.read(), f"^{TIME} error .*no")


if __name__ == "__main__":
    side_by_side.main()
