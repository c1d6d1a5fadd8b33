"""The smallest host program, tests/embed/minimal.c: that it stays small, serves, stops, and says what is wrong."""

import os
import signal
import tempfile
import unittest

import evtest

MINIMAL = evtest.binary("EVSERVE_MINIMAL")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "embed", "minimal.c")
LINES_MAX = 40


class Minimal(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        with open(os.path.join(self.root, "index.html"), "w", encoding="ascii") as file:
            file.write("index\n")

    def ask(self, server, request):
        with server.connect() as sock:
            sock.sendall(request)
            return evtest.receive_all(sock)

    def test_source_has_under_40_lines(self):
        with open(SOURCE, encoding="utf-8") as file:
            self.assertLess(len(file.readlines()), LINES_MAX)

    def test_serves_its_directory(self):
        with evtest.Program(MINIMAL, self.root) as server:
            answer = self.ask(server, b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\nindex\n"), answer)
            self.assertTrue(self.ask(server, b"GET /x HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404 "))

    def test_serves_public_without_a_word(self):
        os.mkdir(os.path.join(self.root, "public"))
        with evtest.Program(MINIMAL, cwd=self.root) as server:
            self.assertTrue(self.ask(server, b"GET /x HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404 "))

    def test_both_signals_stop_it(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            server = evtest.Program(MINIMAL, self.root)
            self.addCleanup(server.kill)
            with server.connect() as idle:
                idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(idle.recv(1))
                self.assertEqual(server.stop(number), 0)
            self.assertEqual(len(server.lines), 1, server.lines)

    def test_bad_root_is_one_line_that_names_it(self):
        for root in (os.path.join(self.root, "missing"), os.path.join(self.root, "index.html")):
            done = evtest.run(MINIMAL, root)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(root, done.stderr)


if __name__ == "__main__":
    unittest.main()
