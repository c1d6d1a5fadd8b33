"""Metrics of the program: both formats, and promtool's opinion of them where it is installed (Debian: prometheus)."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import evtest

EVSERVE = evtest.binary("EVSERVE_BIN")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
HEAD = "local app = require 'evserve'\n"


def ask(address, path, more=""):
    """Head and content of a response, as text."""
    with evtest.connect(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n{more}\r\n".encode())
        head, _, content = evtest.receive_all(sock).decode().partition("\r\n\r\n")
        return head, content


def samples(text):
    """The samples of a response by name and labels."""
    return dict((name, float(value)) for name, value in re.findall(r"^([a-z].*) (\S+)$", text, re.M))


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, script, *arguments):
        self.write("site.lua", HEAD + script)
        server = evtest.Program(EVSERVE, *arguments, "--listen", "127.0.0.1:0", "site.lua", cwd=self.folder)
        self.addCleanup(server.kill)
        return server


class Text(Case):
    def test_formats(self):
        server = self.start("app.metrics '/metrics'\napp.use(function() return 401 end)\n")
        head, content = ask(server.address, "/metrics")
        self.assertIn("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8", head)
        self.assertIn("\r\nCache-Control: no-store", head)
        self.assertIn("# TYPE evserve_timeouts_total counter\n", content)
        self.assertNotIn("# EOF", content)
        head, content = ask(server.address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0, */*;q=0.1\r\n")
        self.assertIn("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8", head)
        self.assertIn("# TYPE evserve_timeouts counter\nevserve_timeouts_total 0\n", content)
        self.assertTrue(content.endswith("\n# EOF\n"))

    def test_each_family_is_there_once(self):
        server = self.start("app.metrics '/metrics'\n")
        names = re.findall(r"^# TYPE (\S+) ", ask(server.address, "/metrics")[1], re.M)
        self.assertEqual(len(names), len(set(names)))

    def test_mistakes(self):
        for call, error in (("app.metrics()", 'app.metrics: a path such as "/metrics" expected, got nil'),
                            ("app:metrics '/metrics'", "app.metrics: call it with a dot, not with a colon"),
                            ("app.metrics 'metrics'", "metrics"),
                            ("app.metrics '/m' app.metrics '/m'", "already registered at site.lua:2")):
            self.write("site.lua", HEAD + call + "\n")
            run = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.folder)
            self.assertEqual(run.returncode, 1, call)
            self.assertIn(error, run.stderr, call)

    @unittest.skipUnless(PROMTOOL, "promtool is not installed (Debian: prometheus)")
    def test_promtool_finds_nothing(self):
        server = self.start("app.metrics '/metrics'\napp.get('/', function() return 'hi' end)\n")
        ask(server.address, "/")
        text = ask(server.address, "/metrics")[1]
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
