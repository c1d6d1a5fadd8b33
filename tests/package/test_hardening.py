"""The release program and libraries have the guards that SECURITY.md promises, read from the files themselves."""

import os
import platform
import re
import subprocess
import unittest

EVSERVE = os.environ["EVSERVE_BIN"]
FOLDER = os.environ["EVSERVE_LIBRARIES"]
SHARED = os.path.join(FOLDER, "libevserve.so")
STATIC = os.path.join(FOLDER, "libevserve.a")


def readelf(option, path):
    return subprocess.run(["readelf", "--wide", option, path], capture_output=True, text=True, check=True).stdout


class Hardening(unittest.TestCase):
    def test_program_is_position_independent(self):
        self.assertRegex(readelf("-h", EVSERVE), r"Type: +DYN")
        self.assertRegex(readelf("-d", EVSERVE), r"FLAGS_1.*\bPIE\b")

    def test_addresses_are_resolved_at_the_start_and_then_read_only(self):
        for path in (EVSERVE, SHARED):
            with self.subTest(path=path):
                self.assertIn("GNU_RELRO", readelf("-l", path))
                self.assertRegex(readelf("-d", path), r"BIND_NOW|FLAGS_1.*\bNOW\b")

    def test_no_memory_is_both_writable_and_executable(self):
        for path in (EVSERVE, SHARED):
            with self.subTest(path=path):
                segments = readelf("-l", path)
                self.assertRegex(segments, r"(?m)^ +GNU_STACK .* RW +0x")
                self.assertNotRegex(segments, r"(?m)^ +(LOAD|GNU_STACK) .* RWE ")

    def test_stack_is_guarded(self):
        for path in (EVSERVE, SHARED, STATIC):
            self.assertIn("__stack_chk_fail", readelf("-s", path))

    def test_library_calls_are_checked(self):
        for path in (EVSERVE, SHARED, STATIC):
            checked = set(re.findall(r"\b__\w+_chk\b", readelf("-s", path)))
            self.assertIn("__snprintf_chk", checked, path)

    @unittest.skipUnless(platform.machine() in ("x86_64", "i686"), "CET is a feature of x86 processors")
    def test_jumps_are_guarded(self):
        # Of the static library: what a program is marked with also depends on the C library's start files.
        self.assertRegex(readelf("-n", STATIC), r"x86 feature: IBT, SHSTK")
        self.assertRegex(readelf("-n", SHARED) + readelf("-n", STATIC), r"IBT, SHSTK")


if __name__ == "__main__":
    unittest.main()
