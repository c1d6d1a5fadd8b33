"""Clients that take their responses slowly, on real sockets: one that reads a little all the time is served for longer than
write_timeout, though the server's socket has no room in all that time. One that reads nothing is in test_hostile.py."""

import os
import socket
import tempfile
import time
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
LARGE = 40 << 20  # more than sockets hold
TIMEOUT = 1.5     # write_timeout, seconds
STEADY = 3 * TIMEOUT

SITE = """local app = require "evserve"
app.set {{ write_timeout = "1500ms" }}
app.static("/", "{folder}")
"""


def connect(program):
    sock = socket.socket(socket.AF_UNIX if isinstance(program.address, str) else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(evtest.LIMIT)
    sock.connect(program.address)
    return sock


class SlowReaders(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        with open(os.path.join(self.folder.name, "large"), "wb") as file:
            file.truncate(LARGE)
        self.script = os.path.join(self.folder.name, "site.lua")
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(SITE.format(folder=self.folder.name))

    def steady(self, listen):
        with evtest.Program(EVSERVE, self.script, "--listen", listen) as program, connect(program) as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            end = time.monotonic() + STEADY
            taken = 0
            while time.monotonic() < end:
                taken += len(sock.recv(2000))
                time.sleep(0.02)
            self.assertLess(taken, 1 << 20, "too fast: the socket had room again")
            sock.settimeout(evtest.LIMIT)
            while taken < LARGE:  # to the end, with whatever head there is
                got = sock.recv(1 << 20)
                self.assertTrue(got)
                taken += len(got)

    def test_a_steady_slow_reader_is_served_longer_than_write_timeout(self):
        self.steady("127.0.0.1:0")

    def test_a_steady_slow_reader_of_a_unix_socket_is_served_longer_than_write_timeout(self):
        self.steady("unix:" + os.path.join(self.folder.name, "slow.sock"))


if __name__ == "__main__":
    side_by_side.main()
