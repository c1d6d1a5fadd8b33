"""tests/examples/polls.c: a daemon on poll(2), its REST API, and a user interface that is in the program."""

import http.client
import json
import os
import signal
import tempfile
import unittest
from urllib.parse import urlencode

import evtest

PROGRAM = os.path.join(os.environ["EVSERVE_PROGRAMS"], "polls")
FOLDER = os.path.join(os.environ["EVSERVE_ROOT"], "tests", "examples", "polls")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Polls(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.server = evtest.Program(PROGRAM, cwd=folder.name)
        self.addCleanup(self.server.kill)

    def ask(self, method, path, fields=None):
        connection = http.client.HTTPConnection(*self.server.address, timeout=evtest.LIMIT)
        try:
            connection.request(method, path, None if fields is None else urlencode(fields), FORM if fields else {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def add(self, question, *options):
        return self.ask("POST", "/api/polls", [("question", question), *(("option", option) for option in options)])

    def test_life_of_a_poll(self):
        self.assertEqual(json.loads(self.ask("GET", "/api/polls")[2]), [])
        status, headers, body = self.add('Which "loop"?\n', "épollard", "poll\\")
        poll = {"id": 1, "question": 'Which "loop"?\n',
                "options": [{"text": "épollard", "votes": 0}, {"text": "poll\\", "votes": 0}]}
        self.assertEqual((status, headers["Location"], headers["Content-Type"], json.loads(body)),
                         (201, "/api/polls/1", "application/json", poll))
        for _ in range(3):
            status, _, body = self.ask("POST", "/api/polls/1/votes", {"option": 1})
            poll["options"][1]["votes"] += 1
            self.assertEqual((status, json.loads(body)), (200, poll))
        self.add("second", "a", "b")
        self.assertEqual(json.loads(self.ask("GET", "/api/polls/1")[2]), poll)
        self.assertEqual([p["id"] for p in json.loads(self.ask("GET", "/api/polls")[2])], [1, 2])
        self.assertEqual(self.ask("DELETE", "/api/polls/1")[0], 204)
        self.assertEqual(self.ask("GET", "/api/polls/1")[0], 404)
        self.assertEqual([p["id"] for p in json.loads(self.ask("GET", "/api/polls")[2])], [2])

    def test_mistakes_are_named(self):
        self.assertEqual(self.add("one option", "a")[::2],
                         (400, b"a poll has a question and 2 to 8 options, each of 1 to 200 bytes"))
        self.assertEqual(self.add("", "a", "b")[0], 400)
        self.assertEqual(self.add("empty option", "a", "")[0], 400)
        self.assertEqual(self.add("q" * 201, "a", "b")[0], 400)
        self.assertEqual(self.add("q", *"abcdefghi")[0], 400)
        self.assertEqual(self.ask("POST", "/api/polls")[0], 415)
        self.assertEqual(self.add("q" * 200, *(c * 200 for c in "abcdefgh"))[0], 201)
        for option in "8", "9", "-1", "", "x", "0 ", "10":
            self.assertEqual(self.ask("POST", "/api/polls/1/votes", {"option": option})[0], 400, option)
        self.assertEqual(self.ask("POST", "/api/polls/1/votes", {"option": 7})[0], 200)
        self.assertEqual(self.ask("POST", "/api/polls/2/votes", {"option": 1})[0], 404)
        self.assertEqual(self.ask("GET", "/api/polls/x")[0], 404)

    def test_polls_are_bounded(self):
        for i in range(100):
            self.assertEqual(self.add(f"question {i}", "a", "b")[0], 201)
        self.assertEqual(self.add("one more", "a", "b")[::2], (507, b"there are 100 polls already"))
        self.assertEqual(self.ask("DELETE", "/api/polls/50")[0], 204)
        self.assertEqual(self.add("one more", "a", "b")[1]["Location"], "/api/polls/101")

    def test_user_interface_is_in_the_program(self):
        for path, name in ("/", "index.html"), ("/polls.js", "polls.js"), ("/polls.css", "polls.css"):
            status, headers, body = self.ask("GET", path)
            with open(os.path.join(FOLDER, name), "rb") as file:
                self.assertEqual((status, body), (200, file.read()))
            self.assertEqual(headers["Content-Security-Policy"], "default-src 'self'")
            self.assertIn("ETag", headers)

    def test_signals_end_the_loop_and_it_sleeps_before(self):
        before = self.server.cpu_seconds()
        with self.server.connect() as client:
            client.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                client.recv(1)
        self.assertLess(self.server.cpu_seconds() - before, 0.2)
        self.assertEqual(self.server.stop(signal.SIGINT), 0)


if __name__ == "__main__":
    unittest.main()
