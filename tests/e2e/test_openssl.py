"""OpenSSL, which the program loads when it serves HTTPS: it is not touched without, and when it is missing or too old, the
program says what to do."""

import os
import ssl
import subprocess
import tempfile
import unittest

import certificates
import evtest

PROGRAM = os.environ["EVSERVE_BIN"]
CC = os.environ["EVSERVE_CC"]
LIBRARY = f"libssl.so.{ssl.OPENSSL_VERSION_INFO[0]}"


def setUpModule():
    certificates.require_tls(PROGRAM)
    if "libssl" in subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=False).stdout:
        raise unittest.SkipTest("OpenSSL is linked")


class Loading(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.hides = dict(os.environ, LD_LIBRARY_PATH=self.folder)

    def maps(self, server):
        with open(f"/proc/{server.pid}/maps", encoding="ascii") as file:
            return file.read()

    def check(self, *argv):
        return evtest.run(PROGRAM, "--check", *argv, env=self.hides)

    def test_plain_http_neither_loads_nor_needs_it(self):
        with open(os.path.join(self.folder, LIBRARY), "w", encoding="ascii") as file:
            file.write("no library\n")
        with evtest.Program(PROGRAM, "--listen", "127.0.0.1:0", "--root", self.folder, env=self.hides) as server, \
                server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertIn(b"404", evtest.receive_all(sock))
            self.assertNotRegex(self.maps(server), "libssl|libcrypto")

    def test_https_loads_it(self):
        certificate = certificates.Authority(self.folder)
        with evtest.Program(PROGRAM, "--listen", "127.0.0.1:0?tls", "--tls-cert", certificate.path("ca.pem"),
                            "--tls-key", certificate.path("ca-key.pem"), "--root", self.folder) as server:
            self.assertRegex(self.maps(server), rf"/{LIBRARY}\n")

    def test_missing_library_is_named_with_its_package(self):
        with open(os.path.join(self.folder, LIBRARY), "w", encoding="ascii") as file:
            file.write("no library\n")
        done = self.check("--listen", "127.0.0.1:0?tls", "--root", self.folder)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r'listen address "127.0.0.1:0\?tls": HTTPS needs OpenSSL \d \(Debian: apt install '
                                      rf"libssl\d\): \S*{LIBRARY}: ")

    def test_library_without_a_function_is_called_too_old(self):
        source = os.path.join(self.folder, "old.c")
        with open(source, "w", encoding="ascii") as file:
            file.write("int OPENSSL_version_major(void); int OPENSSL_version_major(void) { return 2; }\n")
        subprocess.run([CC, "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", source, "-o",
                        os.path.join(self.folder, LIBRARY)], check=True, timeout=evtest.LIMIT)
        done = self.check("--listen", "127.0.0.1:0?tls", "--root", self.folder)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"OpenSSL is too old for HTTPS: evserve was compiled with OpenSSL \d.*, but in "
                                      rf"{LIBRARY} there is no \w+")


if __name__ == "__main__":
    unittest.main()
