"""A Redis server of a test's own: on a free port of loopback and a unix socket, in a folder that is removed, and gone at the
end. Tests skip where redis-server is not installed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest


class Redis:
    def __init__(self, folder, port, password=None, tls=None):
        self.folder = folder
        self.port = port
        self.path = os.path.join(folder, "redis.sock")
        self.password = password
        self.tls = tls  # paths of a certificate, its key and the authority of clients
        self.tls_port = free_port() if tls else None
        self.process = None

    def start(self):
        args = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.path, "--save", "",
                "--appendonly", "no", "--dir", self.folder, "--loglevel", "warning", "--daemonize", "no"]
        if self.tls:
            cert, key, authority = self.tls
            args += ["--tls-port", str(self.tls_port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file",
                     authority, "--tls-auth-clients", "optional"]
        if self.password:
            args += ["--requirepass", self.password]
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                self.command("PING")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def pause(self):
        """It answers nobody, until it goes on."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words):
        """What Redis replies to one command, as it comes, without the line's end."""
        def encode(words):
            parts = [f"*{len(words)}\r\n".encode()]
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
            return b"".join(parts)

        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock, sock.makefile("rb") as file:
            if self.password:
                sock.sendall(encode(("AUTH", self.password)))
                file.readline()
            sock.sendall(encode(words))
            return self.read(file)

    def read(self, file):
        line = file.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read(file) for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def running(**options):
    if not shutil.which("redis-server"):
        raise unittest.SkipTest("redis-server is not installed (scripts/setup.sh --tests)")
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        server = Redis(folder, free_port(), **options)
        try:
            try:
                server.start()
            except OSError:  # somebody has taken the port meanwhile
                server.stop()
                server = Redis(folder, free_port(), **options)
                server.start()
            yield server
        finally:
            server.stop()
