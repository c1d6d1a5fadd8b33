"""What runs tests in several processes: every test runs once, and no failure is lost."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = f"""
import os, sys, unittest
sys.path.insert(0, {HERE!r})
import side_by_side

def note(test):
    with open("ran", "a") as file:
        file.write(test.id().removeprefix("__main__.") + "\\n")
"""
TAIL = """
side_by_side.main()
"""
GOOD = """
class Single(unittest.TestCase):
    pass
for n in range(30):
    setattr(Single, f"test_{n:02}", note)

class Together(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pid = os.getpid()
        with open("ran", "a") as file:
            file.write("set up\\n")
    def test_a(self):
        note(self)
        self.assertEqual(self.pid, os.getpid())
    test_b = test_a
"""


class SideBySide(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_tests(self, text, *argv):
        """Returns the exit status, standard error, and what ran."""
        done = subprocess.run([sys.executable, "-c", HEAD + text + TAIL, *argv], cwd=self.folder, capture_output=True, text=True,
                              check=False, timeout=60)
        ran = ""
        if os.path.exists(os.path.join(self.folder, "ran")):
            with open(os.path.join(self.folder, "ran"), encoding="ascii") as file:
                ran = file.read()
        return done.returncode, done.stderr, sorted(ran.split("\n")[:-1])

    def test_each_test_runs_once_and_a_class_is_set_up_once(self):
        status, _, ran = self.run_tests(GOOD)
        self.assertEqual(status, 0)
        self.assertEqual(ran, [f"Single.test_{n:02}" for n in range(30)] + ["Together.test_a", "Together.test_b", "set up"])

    def test_one_can_be_named(self):
        self.assertEqual(self.run_tests(GOOD, "Single.test_07")[::2], (0, ["Single.test_07"]))

    def test_every_kind_of_failure_is_one(self):
        for body, shown in (
                ("self.fail('sorry')", "AssertionError: sorry"),
                ("raise OSError('no')", "OSError: no"),
                ("sys.exit(0)", "SystemExit: 0"),
                ("os._exit(0)", "ended too early, with status 0"),
                ("os._exit(3)", "ended too early, with status 3"),
                ("os.kill(os.getpid(), 9)", "ended too early, with status -9")):
            with self.subTest(body):
                status, text, _ = self.run_tests(f"{GOOD}\nclass Bad(unittest.TestCase):\n    def test_bad(self):\n        {body}")
                self.assertEqual(status, 1, text)
                self.assertIn(shown, text)

    def test_setup_of_a_class_that_fails_is_a_failure_and_one_that_skips_is_not(self):
        def raising(error):
            return self.run_tests(f"""{GOOD}
class Other(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise {error}
    def test_never(self):
        note(self)
""")
        self.assertEqual(raising("OSError('no')")[0], 1)
        status, text, ran = raising("unittest.SkipTest('without it')")
        self.assertEqual(status, 0, text)
        self.assertIn("skipped=1", text)
        self.assertNotIn("Other.test_never", ran)


if __name__ == "__main__":
    unittest.main()
