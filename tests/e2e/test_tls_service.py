"""HTTPS as a service: sockets that systemd passes, a user who may not read the keys, the sandbox, and what the log says of
renewals."""

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE, HEAD

TLS = 'app.tls { cert = "one.pem", key = "one-key.pem" }\n'
IN_SANDBOX = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
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

    def setUp(self):
        evtest.skip_without_lua(["https.lua"])

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


class Renewals(Case):
    def test_reload_says_what_was_renewed(self):
        self.authority.sign("two", "two.test", "www.two.test")
        self.write("two.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n' + TLS + TLS.replace("one", "two"))
        server = self.start("two.lua")
        self.reload(server)
        self.assertFalse(any("renewed" in line for line in server.lines))
        self.authority.sign("two", "two.test", "www.two.test")
        self.reload(server)
        self.assertEqual(len(self.lines(server, "renewed")), 1)
        self.assertRegex(self.lines(server, "renewed")[0],
                         r" info two\.pem renewed: two\.test, www\.two\.test, until \d{4}-\d\d-\d\d \d\d:\d\d UTC$")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_user_that_may_not_read_them_is_warned_of(self):
        """certbot's folders are root's alone; the recipe of README.md opens them to a group."""
        self.write("user.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n'
                   'app.tls { cert = "live/one.pem", key = "live/one-key.pem" }\n')
        os.mkdir(self.path("live"))
        for name in "one.pem", "one-key.pem":
            os.link(self.path(name), self.path("live", name))
        os.chmod(self.folder, 0o755)
        nobody = pwd.getpwnam("nobody")
        for mode, key_mode, unreadable in ((0o700, 0o600, "live/one.pem"), (0o750, 0o600, "live/one-key.pem"),
                                           (0o750, 0o640, None)):
            os.chown(self.path("live"), 0, nobody.pw_gid)
            os.chown(self.path("live", "one-key.pem"), 0, nobody.pw_gid)
            os.chmod(self.path("live"), mode)
            os.chmod(self.path("live", "one-key.pem"), key_mode)
            for options in [], ["--sandbox"]:
                with evtest.Program(EVSERVE, "--user", "nobody", *options, "user.lua", cwd=self.folder,
                                    env=IN_SANDBOX) as server:
                    self.assertEqual(server.stop(), 0)
                    warned = [line for line in server.lines if "cannot read" in line]
                    self.assertEqual(len(warned), 0 if unreadable is None else 1, server.lines)
                    if unreadable is not None:
                        self.assertIn(f" warn the user of the server (uid {nobody.pw_uid}) cannot read {unreadable} "
                                      "(Permission denied): a renewed certificate is not found until a restart",
                                      warned[0])

    def test_folder_that_a_link_leads_to(self):
        """In the sandbox, another folder behind the same link is outside."""
        for folder in "a", "b":
            os.mkdir(self.path(folder))
            for name in "one.pem", "one-key.pem":
                os.link(self.path(name), self.path(folder, name))
        os.symlink("a", self.path("current"))
        self.write("linked.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n'
                   'app.tls { cert = "current/one.pem", key = "current/one-key.pem" }\n')
        os.mkdir(self.path("apart"))
        os.rename(self.path("linked.lua"), self.path("apart", "linked.lua"))
        server = self.start("--sandbox", "apart/linked.lua", env=IN_SANDBOX)
        os.unlink(self.path("current"))
        os.symlink("b", self.path("current"))
        self.reload(server)
        if any("sandbox" in line and "--allow-read" not in line for line in server.lines):
            self.skipTest("this kernel has not all of the sandbox")
        self.assertIn("cannot read the certificate current/one.pem: Permission denied (outside the sandbox? "
                      "--allow-read)", self.lines(server, "is kept: ")[0])


class Mistakes(Case):
    def test_settings_name_their_line(self):
        self.write("ciphers.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n' + TLS + 'app.tls { ciphers = "FOO" }\n')
        self.assertIn('ciphers.lua:5: TLS ciphers "FOO": no cipher match; "openssl ciphers -v" lists the names',
                      self.refused("ciphers.lua"))
        self.write("groups.lua", SITE + 'app.listen "127.0.0.1:0?tls"\n' + TLS + 'app.tls { groups = "FOO" }\n')
        self.assertIn('groups.lua:5: TLS groups "FOO": ', self.refused("groups.lua"))

    def test_pem_in_the_script(self):
        with open(self.path("one.pem"), encoding="ascii") as file:
            lines = file.read().splitlines()
        for text in "\n".join(lines[:4]), "\n".join(lines[:4] + lines[-1:]):
            self.write("pem.lua", SITE + f'app.listen "127.0.0.1:0?tls"\napp.tls {{ cert = [[{text}]] }}\n')
            self.assertRegex(self.refused("pem.lua"), r"\Apem\.lua:\d+: the certificate in the PEM text is damaged or cut off "
                             r"\(OpenSSL: .+\)$")


if __name__ == "__main__":
    unittest.main()
