"""Hosts in C++, on evserve.hpp: tests/examples/board.cpp and host_glib.cpp."""

import http.client
import os
import threading
import unittest

import evtest

PROGRAMS = os.environ["EVSERVE_PROGRAMS"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(*server.address, timeout=evtest.LIMIT)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class CppHost(unittest.TestCase):
    name = ""

    def setUp(self):
        program = os.path.join(PROGRAMS, self.name)
        if not self.name or not os.path.exists(program):
            self.skipTest(f"{self.name} was not built: no C++ compiler that goes with the C compiler, or no GLib")
        self.server = self.enterContext(evtest.Program(program))

    def wait_for_log(self, text):
        evtest.wait_until(lambda: any(text in line for line in self.server.lines), text)


class Board(CppHost):
    name = "board"

    def test_notes_are_put_up_and_taken_down(self):
        self.assertEqual(ask(self.server, "POST", "/notes", "text=one+%26+only", FORM)[0], 201)
        self.assertEqual(ask(self.server, "GET", "/notes"), (200, b"1 one & only\n"))
        self.assertEqual(ask(self.server, "DELETE", "/notes/1")[0], 204)
        self.assertEqual(ask(self.server, "DELETE", "/notes/1")[0], 404)
        self.assertEqual(ask(self.server, "GET", "/notes"), (200, b""))

    def test_mistake_of_a_client_is_what_the_handler_makes_of_it(self):
        self.assertEqual(ask(self.server, "POST", "/notes", "text=", FORM), (400, b"a note needs a text\n"))
        self.assertEqual(ask(self.server, "POST", "/notes", "x", FORM), (400, b"a note needs a text\n"))

    def test_exception_is_a_500_and_a_line_in_the_log(self):
        self.assertEqual(ask(self.server, "GET", "/fail")[0], 500)
        self.wait_for_log("/fail: a handler threw: the board fell down")
        self.assertEqual(ask(self.server, "DELETE", "/notes/99999999999")[0], 500)  # std::out_of_range of std::stoi
        self.wait_for_log("/notes/99999999999: a handler threw: stoi")
        self.assertEqual(ask(self.server, "GET", "/health")[0], 204)

    def test_reader_waits_for_the_next_note_and_one_that_leaves_is_forgotten(self):
        with self.server.connect() as left:
            left.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            evtest.wait_until_read(left)
        answers = []
        reader = threading.Thread(target=lambda: answers.append(ask(self.server, "GET", "/next")))
        reader.start()
        while not answers:
            self.assertEqual(ask(self.server, "POST", "/notes", "text=news", FORM)[0], 201)
            reader.join(0.02)
        self.assertEqual(answers, [(200, b"news")])

    def test_reader_who_waits_at_the_stop_is_let_go(self):
        with self.server.connect() as waiting:
            waiting.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            evtest.wait_until_read(waiting)
            self.assertEqual(self.server.stop(), 0)
            self.assertNotIn(b"200 OK", evtest.receive_all(waiting))


class Glib(CppHost):
    name = "host_glib"

    def test_a_job_of_the_host_answers_later(self):
        self.assertEqual(ask(self.server, "GET", "/wait?ms=20"), (200, b"you have waited\n"))
        with self.server.connect() as left:
            left.sendall(b"GET /wait?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n")
            evtest.wait_until_read(left)
        self.assertEqual(ask(self.server, "GET", "/wait?ms=400")[0], 200)  # the client that left harmed nobody

    def test_every_stream_hears_of_a_change_and_ends_with_the_server(self):
        streams = [self.server.connect() for _ in range(20)]
        for stream in streams:
            self.addCleanup(stream.close)
            stream.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"data: 0\n\n", self.read_until(stream, b"data: 0\n\n"))
        streams[0].close()
        self.assertEqual(ask(self.server, "POST", "/count?by=41")[0], 204)
        for stream in streams[1:]:
            self.read_until(stream, b"data: 41\n\n")
        self.assertEqual(ask(self.server, "POST", "/count?by=many")[0], 500)
        self.assertEqual(ask(self.server, "GET", "/count"), (200, b"41\n"))
        self.assertEqual(self.server.stop(), 0)
        for stream in streams[1:]:
            evtest.receive_all(stream)

    def read_until(self, sock, end):
        data = b""
        while not data.endswith(end) and not data.endswith(end + b"\r\n"):
            part = sock.recv(4096)
            self.assertNotEqual(part, b"", data)
            data += part
        return data


if __name__ == "__main__":
    unittest.main()
