"""tests/examples/jobs.c: uploads to disk, work on threads, and what is cancelled when its client leaves. The tsan preset
runs this file, too."""

import os
import tempfile
import threading
import unittest

import evtest
import side_by_side

PROGRAM = os.path.join(os.environ["EVSERVE_PROGRAMS"], "jobs")
LONG = 10**15  # rounds that take days
WORKERS, WAITING_MAX = 2, 16  # of the program


def digest(content, rounds=1):
    value = 0xcbf29ce484222325
    for _ in range(rounds):
        for byte in content:
            value = (value ^ byte) * 0x100000001b3 % 2**64
    return f"{value:016x}"


class Jobs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = evtest.Program(PROGRAM, self.folder)
        self.addCleanup(self.server.kill)

    def begin(self, content, rounds=1, left_out=0):
        """A client that has sent its form, except for the last bytes."""
        body = (b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content + b"\r\n--B--\r\n")
        client = self.server.connect()
        self.addCleanup(client.close)
        client.sendall(b"POST /jobs?rounds=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n"
                       b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" % (rounds, len(body)))
        client.sendall(body[:len(body) - left_out])
        return client

    @staticmethod
    def end(client):
        head, _, content = evtest.receive_all(client).partition(b"\r\n\r\n")
        client.close()
        return int(head.split()[1]), content.decode()

    def counts(self):
        with self.server.connect() as client:
            client.sendall(b"GET /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return evtest.receive_all(client).partition(b"\r\n\r\n")[2].decode().strip()

    def wait_for(self, waiting, running, done, cancelled):
        expected, seen = f"waiting {waiting}, running {running}, done {done}, cancelled {cancelled}", set()

        def is_so():
            seen.add(self.counts())
            return expected in seen
        try:
            evtest.wait_until(is_so, expected)
        except AssertionError:
            self.fail(f"{expected}: never among {seen}")

    def wait_for_files(self, count):
        evtest.wait_until(lambda: len(os.listdir(self.folder)) == count, f"{count} files")

    def test_file_is_kept_and_its_digest_is_the_response(self):
        content = evtest.pattern(200000)
        status, text = self.end(self.begin(content))
        value, path = text.split()
        self.assertEqual((status, value, os.path.dirname(path)), (201, digest(content), self.folder))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)
        status, text = self.end(self.begin(b"abc", 3))
        self.assertEqual((status, text.split()[0]), (201, digest(b"abc", 3)))
        self.assertEqual(self.end(self.begin(b""))[0], 201)
        self.assertEqual(len(os.listdir(self.folder)), 3)
        self.wait_for(0, 0, 3, 0)  # a job counts as done once its response is on its way
        self.assertEqual(self.server.stop(), 0)

    def test_broken_upload_leaves_no_file(self):
        with self.server.connect() as client:
            client.sendall(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n"
                           b"Content-Type: text/plain\r\n\r\nabc")
            self.assertTrue(evtest.receive_all(client).startswith(b"HTTP/1.1 415 "))
        self.assertEqual(os.listdir(self.folder), [])

    def test_upload_of_a_client_that_leaves_is_cancelled(self):
        client = self.begin(b"x" * 100000, left_out=10)
        self.wait_for_files(1)
        client.close()
        self.wait_for_files(0)
        client = self.begin(b"x" * 100000, left_out=10)
        self.wait_for_files(1)
        self.assertEqual(self.server.stop(), 0)  # cuts it
        self.assertEqual(os.listdir(self.folder), [])

    def test_jobs_of_clients_that_leave_are_cancelled(self):
        clients = []
        for content, waiting, running in ((b"", 0, 1), (b"abc", 0, 2), (b"x" * 100000, 1, 2)):
            clients.append(self.begin(content, LONG))
            self.wait_for(waiting, running, 0, 0)  # two loops may take them in another order
        clients[0].close()
        self.wait_for(0, 2, 0, 1)
        evtest.reset(clients[1])
        self.wait_for(0, 1, 0, 2)
        self.assertEqual(self.end(self.begin(b"abc"))[0], 201)  # the other worker is free
        clients[2].close()
        self.wait_for(0, 0, 1, 3)
        self.wait_for_files(1)

    def test_queue_is_bounded_and_a_stop_cancels_what_is_in_it(self):
        for _ in range(WORKERS):
            self.begin(b"abc", LONG)
        self.wait_for(0, WORKERS, 0, 0)
        for _ in range(WAITING_MAX):
            self.begin(b"abc", LONG)
        self.wait_for(WAITING_MAX, WORKERS, 0, 0)
        self.assertEqual(self.end(self.begin(b"abc"))[0], 503)
        self.wait_for_files(WORKERS + WAITING_MAX)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(os.listdir(self.folder), [])

    def test_many_clients_come_and_leave_at_once(self):
        statuses = []

        def work(number):
            for i in range(10):
                client = self.begin(b"x" * 1000 * (number + i), 1 if i % 2 == 0 else LONG)
                if i % 2 == 0:
                    statuses.append(self.end(client)[0])
                else:
                    client.close()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(evtest.LIMIT)
        self.assertEqual(len(statuses), 8 * 5)
        self.assertLessEqual(set(statuses), {201, 503})
        self.wait_for_files(statuses.count(201))
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
