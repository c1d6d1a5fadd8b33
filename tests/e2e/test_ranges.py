"""Parts of files from the real program, through the kernel's sendfile and as other people's code reads them."""

import email
import http.client
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_BIN")
SIZE = 10 * 1024 * 1024


class Ranges(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.files = {"small.txt": b"abcdefghijklmnopqrstuvwxyz", "large.bin": random.Random(9110).randbytes(SIZE)}
        for name, content in self.files.items():
            with open(os.path.join(folder.name, name), "wb") as file:
                file.write(content)
            os.utime(os.path.join(folder.name, name), (784111777, 784111777))
        program = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--root", folder.name)
        self.enterContext(program)
        self.address = program.address
        self.client = http.client.HTTPConnection(*program.address, timeout=evtest.LIMIT)
        self.addCleanup(self.client.close)

    def get(self, name, **fields):
        """The answer and its content, on one connection for all of a test."""
        self.client.request("GET", "/" + name, headers={key.replace("_", "-"): text for key, text in fields.items()})
        answer = self.client.getresponse()
        return answer, answer.read()

    def test_each_form_is_its_bytes(self):
        for name, content in self.files.items():
            size = len(content)
            for text, first, last in (("0-9", 0, 9), ("10-", 10, size - 1), ("-7", size - 7, size - 1),
                                      ("0-", 0, size - 1), ("5-5", 5, 5)):
                answer, body = self.get(name, Range="bytes=" + text)
                self.assertEqual(answer.status, 206)
                self.assertEqual(answer.headers["Content-Range"], f"bytes {first}-{last}/{size}")
                self.assertEqual(body, content[first:last + 1])

    def test_parts_are_read_by_a_mime_parser(self):
        for name, content in self.files.items():
            size = len(content)
            answer, body = self.get(name, Range=f"bytes=0-3,{size // 2}-{size - 4},-2")
            self.assertEqual(answer.status, 206)
            self.assertIsNone(answer.headers["Content-Range"])
            kind = answer.headers["Content-Type"].encode()
            parts = email.message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body).get_payload()
            wanted = [(0, 3), (size // 2, size - 4), (size - 2, size - 1)]
            self.assertEqual([part["Content-Range"] for part in parts], [f"bytes {a}-{b}/{size}" for a, b in wanted])
            delimiter = b"--" + kind.split(b"boundary=")[1]
            pieces = body.split(delimiter)  # the parser changes line ends: content is compared as it came
            self.assertEqual(len(pieces), 5)
            self.assertEqual(pieces[0], b"\r\n")
            self.assertEqual(pieces[4], b"--\r\n")
            for piece, (first, last) in zip(pieces[1:4], wanted):
                self.assertEqual(piece.split(b"\r\n\r\n", 1)[1], content[first:last + 1] + b"\r\n")

    def test_boundaries_differ(self):
        kinds = {self.get("small.txt", Range="bytes=0-0,2-2")[0].headers["Content-Type"] for _ in range(10)}
        self.assertEqual(len(kinds), 10)

    def test_a_download_is_resumed_as_long_as_the_file_is_the_same(self):
        content = self.files["large.bin"]
        answer, _ = self.get("large.bin", Range="bytes=0-0")
        for version in (answer.headers["ETag"], answer.headers["Last-Modified"]):
            answer, body = self.get("large.bin", Range="bytes=4321000-", If_Range=version)
            self.assertEqual(answer.status, 206)
            self.assertEqual(body, content[4321000:])
        answer, body = self.get("large.bin", Range="bytes=4321000-", If_Range='"other"')
        self.assertEqual(answer.status, 200)
        self.assertEqual(body, content)

    def test_what_is_behind_the_end_is_416(self):
        answer, _ = self.get("large.bin", Range=f"bytes={SIZE}-")
        self.assertEqual(answer.status, 416)
        self.assertEqual(answer.headers["Content-Range"], f"bytes */{SIZE}")

    @unittest.skipUnless(shutil.which("zsync"), "zsync is not installed")
    def test_zsync_fetches_what_has_changed(self):
        """zsync asks for up to 20 ranges at once, and waits for the CRLF before the first delimiter."""
        old = self.files["large.bin"]
        new = bytearray(old)
        changed = random.Random(2046).sample(range(0, SIZE, 1 << 14), 100)
        for start in changed:
            new[start:start + 3000] = random.Random(start).randbytes(3000)
        with open(os.path.join(self.folder, "new.bin"), "wb") as file:
            file.write(new)
        subprocess.run(["zsyncmake", "-C", "-u", "new.bin", "-o", "new.bin.zsync", "new.bin"], cwd=self.folder, check=True,
                       timeout=evtest.LIMIT, capture_output=True)
        with tempfile.TemporaryDirectory() as home:
            with open(os.path.join(home, "old.bin"), "wb") as file:
                file.write(old)
            host, port = self.address
            direct = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
            done = evtest.run("zsync", "-i", "old.bin", f"http://{host}:{port}/new.bin.zsync", cwd=home, env=direct)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(os.path.join(home, "new.bin"), "rb") as file:
                self.assertEqual(file.read(), bytes(new))
            fetched = int(done.stdout.split("fetched ")[1].split()[0])
            self.assertLess(fetched, SIZE // 4, done.stdout)


if __name__ == "__main__":
    unittest.main()
