"""What the program starts with: standard fds that are closed, and what is written to a stream that nobody reads."""

import os
import resource
import signal
import socket
import subprocess
import tempfile
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_BIN")
# LeakSanitizer stops the other threads with ptrace(2), which a sandbox denies; leaks are for other tests.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
SITE = """
local app = require "evserve"
app.get("/ok", function() return "fine\\n" end)
app.get("/fail", function() error("on purpose") end)
-- Lines of scripts are written, however many there are; those of failures, ten a second.
app.get("/told", function() app.log("error", "on purpose" .. (" "):rep(150)); return "told\\n" end)
app.get("/long", function() app.log("info", ("."):rep(4000)); return "logged\\n" end)
app.get("/wait", function() app.sleep("1h") end)
app.get("/popen", function()
    local pipe = assert(io.popen("true", "w"))
    local done, why
    for i = 1, 1000 do -- until it has ended
        done, why = pipe:write(("x"):rep(70000))
        if not done then break end
    end
    pcall(pipe.close, pipe)
    return tostring(done) .. " " .. tostring(why)
end)
app.get("/signals", function()
    local pipe = assert(io.popen("grep -E 'Sig(Ign|Blk)' /proc/self/status"))
    local text = pipe:read "*a"
    pipe:close()
    return text
end)
app.get("/grow", function()
    local file = assert(io.open("grown", "w"))
    local done, why = file:write(("x"):rep(100000))
    file:close()
    return tostring(done) .. " " .. tostring(why)
end)
app.get("/endless", function()
    return 200, function(out) while true do out:write(("line\\n"):rep(1000)) end end
end)
"""


def request(target):
    return f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()


class Case(unittest.TestCase):
    def setUp(self):
        evtest.skip_without_lua(["site.lua"])
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.address = os.path.join(self.folder, "socket")
        with open(os.path.join(self.folder, "site.lua"), "w", encoding="utf-8") as file:
            file.write(SITE)

    def argv(self, *options):
        return [EVSERVE, "--listen", "unix:" + self.address, *options, "site.lua"]

    def spawn(self, argv, **options):
        """A process that is killed when the test ends."""
        process = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL, **options)
        self.addCleanup(process.wait, evtest.LIMIT)
        self.addCleanup(process.kill)
        return process

    def wait_until_served(self):
        def answers():
            try:
                return self.get("/ok")[0] == 200
            except (ConnectionRefusedError, FileNotFoundError):
                return False
        evtest.wait_until(answers, "the server")

    def get(self, target):
        """(status, content)"""
        with evtest.connect(self.address) as sock:
            sock.sendall(request(target))
            head, _, content = evtest.receive_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), content.decode()

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        return process.wait(evtest.LIMIT)


class StalledReader(Case):
    """Nobody reads standard error: the server goes on."""

    def check(self, make_ends, *options):
        theirs, ours = make_ends()
        process = self.spawn(self.argv(*options), stderr=theirs, env=ENVIRONMENT)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        self.wait_until_served()
        for _ in range(500): # more than 64 KiB of lines, which is what a pipe holds
            self.assertEqual(self.get("/told")[0], 200)
        for _ in range(300): # more than the queue holds in all
            self.assertEqual(self.get("/long")[0], 200)
        text = b""
        while b"lines of the log were dropped" not in text:
            text += os.read(ours, 1 << 16)
        self.assertEqual(self.get("/told")[0], 200)
        self.assertEqual(self.stop(process), 0)
        while part := os.read(ours, 1 << 16):
            text += part
        lines = [line for line in text.decode().splitlines() if not line.startswith("profiling:")]  # gcov, shut in
        failures = sum("on purpose" in line for line in lines)
        longs = sum("....." in line for line in lines)
        dropped = sum(int(line.split()[2]) for line in lines if "of the log were dropped" in line)
        self.assertTrue(lines[0].startswith("listening on unix:"), lines[0])
        self.assertEqual(failures + longs + dropped, 801)
        self.assertGreater(dropped, 0)
        self.assertIn("because standard error was not read", text.decode())
        self.assertIn("on purpose", "\n".join(lines[-4:]))  # the signal and the end come behind it

    @staticmethod
    def make_pipe():
        reading, writing = os.pipe()
        return writing, reading

    @staticmethod
    def make_sockets():
        one, other = socket.socketpair()
        return one.detach(), other.detach()

    @staticmethod
    def make_terminal():
        ours, theirs = os.openpty()
        return theirs, ours

    def test_of_a_pipe(self):
        self.check(self.make_pipe)

    def test_of_a_socket(self):
        self.check(self.make_sockets)

    def test_with_several_threads(self):
        self.check(self.make_pipe, "--reactors", "3")

    def test_inside_the_sandbox(self):
        self.check(self.make_pipe, "--sandbox")

    def test_of_a_terminal(self):
        theirs, ours = self.make_terminal()
        self.spawn(self.argv(), stderr=theirs)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        self.wait_until_served()
        for _ in range(200):
            self.assertEqual(self.get("/told")[0], 200)
        text = b""
        while text.count(b"on purpose") < 200:
            text += os.read(ours, 1 << 16)

    def test_that_shares_its_pipe_with_us_keeps_its_flags(self):
        theirs, ours = self.make_pipe()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        self.spawn(self.argv(), stderr=theirs)
        self.wait_until_served()
        self.get("/fail")
        self.assertTrue(os.get_blocking(theirs))

    def test_does_not_keep_it_from_ending(self):
        theirs, ours = self.make_pipe()
        process = self.spawn(self.argv(), stderr=theirs)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        self.wait_until_served()
        for _ in range(100):
            self.get("/long")
        self.assertEqual(self.stop(process), 0)


class ReaderThatLeaves(Case):
    """A write to a pipe without a reader is an error for the writer, and no signal."""

    @staticmethod
    def has_child(pid, name):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            for child in children.read().split():
                with open(f"/proc/{child}/stat", encoding="ascii", errors="replace") as stat:
                    if f"({name}) Z" not in (text := stat.read()) and f"({name})" in text:
                        return True
        return False

    def test_of_standard_error(self):
        shell = self.spawn(["sh", "-c", '"$@" 2>&1 | head -n 1', "sh", *self.argv()], stdout=subprocess.PIPE,
                           start_new_session=True)
        self.addCleanup(shell.stdout.close)
        self.addCleanup(lambda: os.killpg(shell.pid, signal.SIGKILL))
        self.assertIn(b"listening on", shell.stdout.readline())
        evtest.wait_until(lambda: not self.has_child(shell.pid, "head"), "head to end")
        for _ in range(3):
            self.assertEqual(self.get("/fail")[0], 500)
        self.assertEqual(self.get("/ok"), (200, "fine\n"))

    def test_of_a_program_that_a_handler_runs(self):
        for options in ([], ["--reactors", "2"]):
            with self.subTest(options=options):
                process = self.spawn(self.argv(*options), stderr=subprocess.DEVNULL)
                self.wait_until_served()
                self.assertEqual(self.get("/popen"), (200, "nil Broken pipe"))
                self.assertEqual(self.stop(process), 0)

    def test_of_the_answer_to_a_request_of_the_command_line(self):
        command = '"$@" | head -n 2'
        done = evtest.run("sh", "-c", command, "sh", EVSERVE, "--request", "GET /endless", "site.lua", cwd=self.folder)
        self.assertEqual(done.stderr, "evserve: cannot write to standard output\n")
        self.assertEqual(len(done.stdout.splitlines()), 2)

    def test_programs_that_handlers_run_start_with_the_default_signals(self):
        for options in ([], ["--reactors", "2"]):
            with self.subTest(options=options):
                process = self.spawn(self.argv(*options), stderr=subprocess.DEVNULL)
                self.wait_until_served()
                status, text = self.get("/signals")
                self.assertEqual(status, 200)
                masks = dict(line.split() for line in text.splitlines())
                for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    for mask in masks.values():
                        self.assertFalse(int(mask, 16) >> (number - 1) & 1, (number, text))
                self.assertEqual(self.stop(process), 0)


class FileThatMayNotGrow(Case):
    def test_of_a_handler_and_of_the_log(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with open(os.path.join(self.folder, "log"), "wb") as log:
            process = self.spawn(self.argv(), stderr=log, preexec_fn=limit)
        self.wait_until_served()
        self.assertEqual(self.get("/grow"), (200, "nil File too large"))
        for _ in range(30):
            self.assertEqual(self.get("/fail")[0], 500)
        self.assertEqual(self.stop(process), 0)


class ClosedFds(Case):
    """Numbers 0 to 2 are never those of a connection, a listener or a file."""

    def check(self, redirections):
        shell = self.spawn(["sh", "-c", f'exec "$@" {redirections}', "sh", *self.argv()], stderr=subprocess.DEVNULL)
        self.wait_until_served()
        for number in range(3):
            link = os.readlink(f"/proc/{shell.pid}/fd/{number}")
            self.assertNotIn("socket:", link)
            self.assertNotIn("anon_inode", link)
        with evtest.connect(self.address) as others: # a client that waits while lines are logged
            others.sendall(request("/wait"))
            for _ in range(3):
                self.assertEqual(self.get("/fail")[0], 500)
            others.setblocking(False)
            with self.assertRaises(BlockingIOError):
                others.recv(1)
        shell.send_signal(signal.SIGTERM)
        shell.send_signal(signal.SIGTERM)
        self.assertEqual(shell.wait(evtest.LIMIT), 0)

    def test_standard_error(self):
        self.check("2>&-")

    def test_all(self):
        self.check("<&- >&- 2>&-")

    def test_standard_input_and_output(self):
        self.check("<&- >&-")


if __name__ == "__main__":
    unittest.main()
