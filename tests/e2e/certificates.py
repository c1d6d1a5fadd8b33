"""Certificates for tests, made by openssl(1) in a folder of the test's own, and whether the program has TLS at all."""

import os
import shutil
import ssl
import subprocess
import unittest

import evtest


def require_tls(program):
    """Skip a test of a build without TLS, or on a machine without openssl(1)."""
    if shutil.which("openssl") is None:
        raise unittest.SkipTest("openssl is not installed")
    done = evtest.run(program, "--check", "--listen", "127.0.0.1:0?tls")
    if "built without TLS" in done.stderr:
        raise unittest.SkipTest("built without TLS")


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=evtest.LIMIT, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


class Authority:
    """A certificate authority with files NAME.pem and NAME-key.pem in folder."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "100",
                "-subj", "/CN=" + name, "-keyout", name + "-key.pem", "-out", name + ".pem",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, name, *hosts, rsa=False, days=50, subject=None):
        """Make name.pem and name-key.pem for these host names. Returns their paths."""
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        extensions = self.path(name + ".ext")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("basicConstraints=CA:FALSE\n")
            if hosts:
                kinds = ("IP:" if host.replace(".", "").isdigit() else "DNS:" for host in hosts)
                file.write("subjectAltName=" + ",".join(k + host for k, host in zip(kinds, hosts)) + "\n")
        openssl(self.folder, "req", "-newkey", *kind, "-nodes", "-subj", subject or "/CN=" + name,
                "-keyout", name + "-key.pem", "-out", name + ".csr")
        openssl(self.folder, "x509", "-req", "-in", name + ".csr", "-CA", self.name + ".pem",
                "-CAkey", self.name + "-key.pem", "-CAcreateserial", "-days", str(days), "-extfile", extensions,
                "-out", name + ".pem")
        os.chmod(self.path(name + "-key.pem"), 0o600)
        return self.path(name + ".pem"), self.path(name + "-key.pem")

    def client(self, cert=None, **settings):
        """A context for clients that trust this authority; cert: a pair of paths for a client certificate."""
        context = ssl.create_default_context(cafile=self.path(self.name + ".pem"))
        context.set_alpn_protocols(["http/1.1"])
        if cert:
            context.load_cert_chain(*cert)
        for name, value in settings.items():
            setattr(context, name, value)
        return context


def fingerprint(path):
    """SHA-256 of a certificate in hexadecimal, as req.tls.client.fingerprint."""
    import hashlib
    with open(path, encoding="ascii") as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()
