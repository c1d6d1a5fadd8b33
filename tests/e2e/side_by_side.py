"""unittest.main() for tests that wait most of the time, such as for deadlines of the server: they run in four processes."""

import io
import json
import os
import sys
import unittest

import evtest

PROCESSES = 4


def main():
    """In place of unittest.main()."""
    unittest.main(testRunner=Runner)


class Runner:
    """Each process takes one test after the other. Those of a class that has a setUpClass() stay together."""

    def __init__(self, **options):
        self.options = options

    def run(self, suite):
        units = units_of(suite)
        result = unittest.TestResult()
        queue, writer = os.pipe()
        os.write(writer, bytes(range(len(units))))  # a ValueError if there are more than 256
        os.close(writer)
        children = [Child(units, queue, self.options) for _ in range(min(PROCESSES, len(units)))]
        os.close(queue)
        taken = sum(child.add_to(result) for child in children)
        if taken != len(units):  # whatever happened, no test is left out in silence
            fail(result, f"{taken} of {len(units)} tests or classes ran")
        return result


class Child:
    """A process that runs what it takes from the queue, and then tells how it went."""

    def __init__(self, units, queue, options):
        self.pipe, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid != 0:
            os.close(writer)
            return
        status = 1
        try:
            evtest.end_with_parent()
            text = io.StringIO()
            suite = Queue(units, queue)
            result = unittest.TextTestRunner(text, **options).run(suite)
            with open(writer, "w", encoding="utf-8") as file:
                json.dump({"text": text.getvalue(), "taken": suite.taken, "ran": result.testsRun,
                           "skipped": len(result.skipped), "ok": result.wasSuccessful()}, file)
            sys.stdout.flush()
            status = 0
        finally:
            os._exit(status)

    def add_to(self, result):
        """Wait for its end. Returns how many units it took."""
        with open(self.pipe, encoding="utf-8") as file:
            text = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status != 0 or not text:
            fail(result, f"a process of these tests ended too early, with status {status}")
            return 0
        told = json.loads(text)
        print(told["text"], end="", file=sys.stderr)
        result.testsRun += told["ran"]
        result.skipped += [(self, "")] * told["skipped"]
        if not told["ok"]:
            result.failures.append((self, "see above"))
        return told["taken"]


class Queue(unittest.TestSuite):
    """The units whose numbers it reads from a pipe, from which other processes read, too."""

    def __init__(self, units, pipe):
        super().__init__()
        self.units, self.pipe, self.taken = units, pipe, 0
        self._cleanup = False  # it has no list to remove tests from

    def __iter__(self):
        while number := os.read(self.pipe, 1):
            self.taken += 1
            yield self.units[number[0]]


def fail(result, text):
    print(text, file=sys.stderr)
    result.errors.append((None, text))


def units_of(suite):
    """The tests; those that share a setUpClass() are one suite."""
    units, classes = [], {}

    def add(test):
        if isinstance(test, unittest.TestSuite):
            for inner in test:
                add(inner)
        elif type(test).setUpClass.__func__ is unittest.TestCase.setUpClass.__func__:
            units.append(test)
        elif type(test) in classes:
            classes[type(test)].addTest(test)
        else:
            units.append(unittest.TestSuite([test]))
            classes[type(test)] = units[-1]
    add(suite)
    return units
