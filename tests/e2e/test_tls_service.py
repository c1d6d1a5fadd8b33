"""HTTPS as a service: sockets that systemd passes, a user who may not read the keys, the sandbox, and what the log says of
renewals."""

import os
import signal
import socket
import subprocess
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE, HEAD

TLS = 'app.tls { cert = "one.pem", key = "one-key.pem" }\n'
SITE = HEAD + 'app.get("/", function(req) return req.scheme end)\n'


def setUpModule():
    certificates.require_tls(EVSERVE)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.authority.sign("one", "one.test")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *arguments, **options):
        return self.enterContext(evtest.Program(EVSERVE, *arguments, cwd=self.folder, **options))

    def run_program(self, *arguments):
        return evtest.run(EVSERVE, *arguments, cwd=self.folder)

    def refused(self, *arguments):
        """What the start says; --check says the same."""
        said = {(done.returncode, done.stderr) for done in
                (self.run_program(*check, *arguments) for check in ([], ["--check"]))}
        self.assertEqual(len(said), 1, said)
        status, error = said.pop()
        self.assertEqual(status, 1, error)
        return error

    def lines(self, server, text, count=1):
        """Wait for this many lines with the text."""
        evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"log line {text!r}")
        return [line for line in server.lines if text in line]

    def reload(self, server):
        before = sum("reloaded" in line for line in server.lines)
        server.process.send_signal(signal.SIGHUP)
        self.lines(server, "reloaded", before + 1)


class Sockets(Case):
    """What systemd passes must not turn a site's HTTPS into plain HTTP."""

    def run_with_socket(self, *arguments):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()

            def pass_socket():
                os.dup2(sock.fileno(), 3)
                os.set_inheritable(3, True)

            return subprocess.run(["/bin/sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" --check "$@"', EVSERVE,
                                   *arguments], cwd=self.folder, capture_output=True, text=True, timeout=evtest.LIMIT,
                                  preexec_fn=pass_socket, close_fds=False, check=False)

    def test_socket_in_place_of_https_is_refused(self):
        self.write("https.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n' + TLS)
        done = self.run_with_socket("https.lua")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'\Ahttps\.lua:\d+: listen address "127\.0\.0\.1:0\?tls": the server was given '
                         r"sockets instead, and none of them is for HTTPS: .*--listen 'fd:3\?tls'")
        done = self.run_with_socket("--listen", "fd:3?tls", "https.lua")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("?tls", done.stdout)

    def test_other_addresses_are_a_decision(self):
        self.write("https.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n' + TLS)
        done = self.run_with_socket("--listen", "127.0.0.1:0", "https.lua")
        self.assertEqual(done.returncode, 0)
        self.assertIn(" warn https.lua:", done.stderr)
        self.write("plain.lua", SITE + 'app.listen "127.0.0.1:0"\n')
        self.assertEqual(self.run_with_socket("plain.lua").returncode, 0)

    def test_reload_without_a_script(self):
        server = self.start("--root", ".", "--listen", "127.0.0.1:0")
        self.reload(server)
        self.assertTrue(server.lines[-1].endswith("reloaded"), server.lines)


if __name__ == "__main__":
    unittest.main()
