"""Listings of large directories from the real program: complete, in order, made once, and in nobody's way."""

import http.client
import os
import re
import tempfile
import time
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_BIN")
ENTRIES = 3000

SITE = """local app = require "evserve"
app.listen "127.0.0.1:0"
%s
app.static("/", "www", { list = true })
app.get("/hello", function() return "hello" end)
"""


class ListingsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        os.makedirs(os.path.join(cls.folder, "www", "large"))
        for i in range(ENTRIES):
            os.close(os.open(cls.path(f"f{i * 7919 % ENTRIES:05}"), os.O_CREAT | os.O_WRONLY))

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, "www", "large", name)

    def serve(self, settings=""):
        site = os.path.join(self.folder, "site.lua")
        with open(site, "w", encoding="ascii") as file:
            file.write(SITE % settings)
        program = evtest.Program(EVSERVE, site, cwd=self.folder)
        self.enterContext(program)
        return program

    @staticmethod
    def ask(program, method="GET"):
        client = http.client.HTTPConnection(*program.address, timeout=evtest.LIMIT)
        client.request(method, "/large/")
        answer = client.getresponse()
        body = answer.read().decode()
        client.close()
        return answer, body, re.findall(r"<bdi>(f\d+|new)</bdi></a>", body)

    def test_listing_is_complete_and_in_order_and_changes_with_the_directory(self):
        program = self.serve()
        answer, body, names = self.ask(program)
        self.assertEqual(answer.status, 200)
        self.assertEqual(names, [f"f{i:05}" for i in range(ENTRIES)])
        self.assertIn(f"<p>{ENTRIES} entries</p>", body)
        self.assertIsNone(answer.headers["Listing-Cut"])
        head, _, _ = self.ask(program, "HEAD")
        self.assertEqual(head.headers["Content-Length"], answer.headers["Content-Length"])
        os.close(os.open(self.path("new"), os.O_CREAT | os.O_WRONLY))
        self.assertEqual(self.ask(program)[2][-1], "new")
        os.rename(self.path("new"), self.path("f99999"))
        self.assertEqual(self.ask(program)[2][-1], "f99999")
        os.unlink(self.path("f99999"))
        self.assertEqual(self.ask(program)[2][-1], f"f{ENTRIES - 1:05}")

    def test_listing_that_is_cut_says_so_to_machines(self):
        program = self.serve("app.set { list_max = 10 }")
        answer, body, names = self.ask(program)
        self.assertEqual(names, [f"f{i:05}" for i in range(10)])
        self.assertEqual(answer.headers["Listing-Cut"], "10")
        self.assertIn('<meta name="listing-cut" content="10">', body)

    def test_flood_of_listings_costs_little_and_leaves_others_their_turns(self):
        program = self.serve()
        time.sleep(3)  # the directory has settled: its page is kept for as long as it stands
        self.ask(program)
        before = program.cpu_seconds()
        with program.connect() as flood, program.connect() as other:
            with evtest.sending(flood, b"HEAD /large/ HTTP/1.1\r\nHost: a\r\n\r\n" * 200):
                other.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertIn(b"hello", evtest.receive_all(other))
                answers = b""
                while answers.count(b"\r\n\r\n") < 200:
                    part = flood.recv(65536)
                    self.assertNotEqual(part, b"")
                    answers += part
        # Each made anew would take 10 ms or more, 2 s in all, and much more in this build with its sanitizers.
        self.assertLess(program.cpu_seconds() - before, 1.5)

    def test_clients_that_leave_while_a_page_is_made_are_forgotten(self):
        program = self.serve()
        for i in range(20):
            os.utime(self.path(""), (784111777 + i, 784111777))  # no page stands
            socks = [program.connect() for _ in range(5)]
            for sock in socks:
                sock.sendall(b"GET /large/ HTTP/1.1\r\nHost: a\r\n\r\n")
            for sock in socks[:4]:
                evtest.reset(sock)
            self.assertIn(b" 200 OK", evtest.receive(socks[4], 20))
            socks[4].close()
        self.assertEqual(len(self.ask(program)[2]), ENTRIES)


if __name__ == "__main__":
    unittest.main()
