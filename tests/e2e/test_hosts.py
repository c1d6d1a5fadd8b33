"""Hosts with an event loop of their own, tests/examples/host_*.c: each serves, keeps the server's deadlines, and stops."""

import os
import tempfile
import unittest

import evtest
import side_by_side

PROGRAMS = os.environ["EVSERVE_PROGRAMS"]
GET = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n"
SIZE = 3_000_000  # more than sockets hold: the loop must be asked for room


class HostLoop:
    name = ""

    def setUp(self):
        self.program = os.path.join(PROGRAMS, self.name)
        if not os.path.exists(self.program):
            self.skipTest(f"{self.name} was not built: its event loop is not installed (scripts/setup.sh --tests)")
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        with open(os.path.join(self.root, "file"), "wb") as file:
            file.write(b"x" * SIZE)

    def test_serves_many_at_once_and_ends_with_status_0(self):
        with evtest.Program(self.program, self.root) as server:
            clients = [server.connect() for _ in range(20)]
            for client in clients:
                client.sendall(GET.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
            for client in clients:
                with client:
                    answer = evtest.receive_all(client)
                    self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer[:100])
                    self.assertEqual(len(answer) - answer.index(b"\r\n\r\n") - 4, SIZE)

    def test_deadlines_of_the_server_are_kept_while_nothing_else_happens(self):
        with evtest.Program(self.program, self.root) as server:
            with server.connect() as idle:
                self.assertEqual(idle.recv(1), b"")  # idle_timeout

    def test_idle_host_sleeps(self):
        with evtest.Program(self.program, self.root) as server:
            with server.connect() as client:
                client.sendall(b"GET /none HTTP/1.0\r\n\r\n")
                evtest.receive_all(client)
            before = server.cpu_seconds()
            with server.connect() as idle:
                self.assertEqual(idle.recv(1), b"")  # passes 300 ms
            self.assertLess(server.cpu_seconds() - before, 0.2)


class Poll(HostLoop, unittest.TestCase):
    name = "host_poll"


class Glib(HostLoop, unittest.TestCase):
    name = "host_glib"


class Libuv(HostLoop, unittest.TestCase):
    name = "host_uv"


class Libevent(HostLoop, unittest.TestCase):
    name = "host_event"


if __name__ == "__main__":
    side_by_side.main()
