"""Files of certificates and keys of every kind that users have: those that work are served, and each of the others is
refused, by --check as by the start, with its name and the way out."""

import os
import shutil
import tempfile
import unittest

import certificates
import evtest
from lua_site import EVSERVE

PEM_BYTES_MAX = 4 << 20  # of core/tls_pem.c
LISTEN = "127.0.0.1:0?tls"


def setUpModule():
    certificates.require_tls(EVSERVE)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ev"))
        cls.authority = certificates.Authority(cls.folder)
        cls.authority.sign("good", "localhost")
        cls.cert, cls.key = cls.read("good.pem"), cls.read("good-key.pem")

    @classmethod
    def read(cls, name):
        with open(os.path.join(cls.folder, name), "rb") as file:
            return file.read()

    @classmethod
    def openssl(cls, *arguments):
        return certificates.openssl(cls.folder, *arguments)

    @classmethod
    def self_signed(cls, name, *newkey, days="30", extensions=("subjectAltName=DNS:localhost",)):
        more = [part for extension in extensions for part in ("-addext", extension)]
        cls.openssl("req", "-x509", "-nodes", "-subj", "/CN=localhost", "-days", days, "-newkey", *newkey, *more,
                    "-keyout", name + "-key.pem", "-out", name + ".pem")
        os.chmod(os.path.join(cls.folder, name + "-key.pem"), 0o600)

    def write(self, name, cert, key):
        """NAME.pem and NAME-key.pem."""
        for suffix, data in (".pem", cert), ("-key.pem", key):
            with open(os.path.join(self.folder, name + suffix), "wb") as file:
                file.write(data)
            os.chmod(os.path.join(self.folder, name + suffix), 0o600)

    def options(self, name):
        return "--root", ".", "--listen", LISTEN, "--tls-cert", name + ".pem", "--tls-key", name + "-key.pem"

    def is_served(self, name):
        done = evtest.run(EVSERVE, "--check", *self.options(name), cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        with evtest.Program(EVSERVE, *self.options(name), cwd=self.folder) as server:
            said = self.openssl("s_client", "-connect", "127.0.0.1:%d" % server.address[1], "-servername", "localhost")
            self.assertIn("BEGIN CERTIFICATE", said)
        return done.stderr

    def is_refused(self, name, *texts):
        said = set()
        for check in [], ["--check"]:
            done = evtest.run(EVSERVE, *check, *self.options(name), cwd=self.folder)
            self.assertEqual(done.returncode, 1, done.stderr)
            said.add(done.stderr)
        self.assertEqual(len(said), 1, said)
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_kinds_of_keys(self):
        for name, newkey in (("ed25519", ["ed25519"]), ("p521", ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
                             ("pss", ["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"])):
            with self.subTest(name):
                self.self_signed(name, *newkey)
                self.assertEqual(self.is_served(name), "")

    def test_what_clients_refuse(self):
        key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.self_signed("unnamed", *key, extensions=())
        self.assertRegex(self.is_served("unnamed"), r" warn the certificate unnamed\.pem has no subjectAltName: browsers "
                         r"refuse it, since they do not look at its common name\n$")
        self.self_signed("client", *key, extensions=("subjectAltName=DNS:localhost", "extendedKeyUsage=clientAuth"))
        self.assertRegex(self.is_served("client"), r" warn the certificate client\.pem is not for servers \(its key usage "
                         r"says what it is for\): clients will refuse it\n$")

    def test_short_key(self):
        self.self_signed("short", "rsa:1024")
        self.is_refused("short", "the certificate short.pem cannot be used: its key is too short for the security level of "
                        "OpenSSL here: RSA needs 2048 bits by default")

    def test_names(self):
        self.authority.sign("many", *("host%d.test" % i for i in range(200)))
        self.assertEqual(self.is_served("many"), "")
        done = evtest.run(EVSERVE, "--check", *self.options("many"), cwd=self.folder)
        self.assertRegex(done.stdout, r"(?m)^listen  127\.0\.0\.1:0\?tls\n"
                         r"tls     many\.pem: host0\.test, host1\.test, host10\.test and 197 more, until \d{4}-\d\d-\d\d "
                         r"\d\d:\d\d UTC$")

    def test_what_editors_add(self):
        self.write("crlf", self.cert.replace(b"\n", b"\r\n"), self.key.replace(b"\n", b"\r\n"))
        self.assertEqual(self.is_served("crlf"), "")
        self.write("mark", b"\xef\xbb\xbf" + self.cert, b"\xef\xbb\xbf" + self.key)
        self.assertEqual(self.is_served("mark"), "")

    def test_chains(self):
        authority = self.read("ca.pem")
        self.write("chain", self.cert + authority * 200, self.key)
        self.assertEqual(self.is_served("chain"), "")
        self.write("order", authority + self.cert, self.key)
        self.is_refused("order", "order-key.pem", "order.pem", "the server's own must come first")

    def test_key_of_another_certificate(self):
        self.write("other", self.cert, self.read("ca-key.pem"))
        self.is_refused("other", "the private key (other-key.pem) does not belong to the certificate (other.pem)\n")

    def test_other_forms(self):
        for option, name in ("x509", "der"), ("pkey", "derkey"):
            self.openssl(option, "-in", "good%s.pem" % ("-key" if option == "pkey" else ""), "-outform", "DER",
                         "-out", name)
        self.write("der", self.read("der"), self.key)
        self.is_refused("der", "no certificate in der.pem: PEM text", "not DER or PKCS #12 (openssl x509")
        self.write("derkey", self.cert, self.read("derkey"))
        self.is_refused("derkey", "no private key in derkey-key.pem: PEM text", "openssl x509, pkey")
        self.openssl("pkcs12", "-export", "-in", "good.pem", "-inkey", "good-key.pem", "-passout", "pass:",
                     "-out", "p12")
        self.write("p12", self.read("p12"), self.key)
        self.is_refused("p12", "no certificate in p12.pem: PEM text", "PKCS #12")

    def test_key_with_a_passphrase(self):
        self.openssl("pkey", "-in", "good-key.pem", "-aes128", "-passout", "pass:x", "-out", "enc")
        self.write("enc", self.cert, self.read("enc"))
        self.is_refused("enc", "the private key in enc-key.pem has a passphrase", "openssl pkey removes it")

    def test_files_that_hold_something_else(self):
        self.write("empty", b"", self.key)
        self.is_refused("empty", 'no certificate in empty.pem: PEM text with "-----BEGIN CERTIFICATE-----" is expected')
        self.write("swapped", self.key, self.cert)
        self.is_refused("swapped", "no certificate in swapped.pem: ")
        self.write("request", self.read("good.csr"), self.key)
        self.is_refused("request", "no certificate in request.pem: ")
        self.openssl("pkey", "-in", "good-key.pem", "-pubout", "-out", "public")
        self.write("public", self.cert, self.read("public"))
        self.is_refused("public", "no private key in public-key.pem: ")
        self.write("cut", self.cert[:300], self.key)
        self.is_refused("cut", "the certificate in cut.pem is damaged or cut off (OpenSSL: ")

    def test_folder_and_pipe(self):
        """A pipe without a writer would block the start, and a server that is running at a reload."""
        os.mkdir(os.path.join(self.folder, "folder.pem"))
        os.mkfifo(os.path.join(self.folder, "pipe.pem"))
        for name in "folder", "pipe":
            shutil.copy(os.path.join(self.folder, "good-key.pem"), os.path.join(self.folder, name + "-key.pem"))
        self.is_refused("folder", "cannot read the certificate folder.pem: Is a directory")
        self.is_refused("pipe", "the certificate pipe.pem is not a regular file", "copy it to a file")
        shutil.copy(os.path.join(self.folder, "good.pem"), os.path.join(self.folder, "tube.pem"))
        os.mkfifo(os.path.join(self.folder, "tube-key.pem"))
        self.is_refused("tube", "the private key tube-key.pem is not a regular file")

    def test_largest_file_and_one_byte_more(self):
        self.write("largest", self.cert + b"#" * (PEM_BYTES_MAX - len(self.cert)), self.key)
        self.assertEqual(self.is_served("largest"), "")
        self.write("larger", self.cert + b"#" * (PEM_BYTES_MAX - len(self.cert) + 1), self.key)
        self.is_refused("larger", "cannot read the certificate larger.pem: File too large")


if __name__ == "__main__":
    unittest.main()
