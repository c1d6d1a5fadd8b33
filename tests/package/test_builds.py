"""Projects that add these sources and compile them in their own way: for 32 bits, with retpolines, with warnings of
their own as errors, with sanitizers. Each builds a host, which then has to serve."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import evtest  # pylint: disable=wrong-import-position

CMAKE = os.environ["EVSERVE_CMAKE"]
LUA = "ON" if os.environ["EVSERVE_LUA"] != "0" else "OFF"
OUTSIDE = os.path.join(ROOT, "tests", "package", "outside")
IS_X86 = platform.machine() == "x86_64"


def run(*argv):
    """Run a command that must succeed. Returns what it wrote."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=280)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout[-8000:]}")
    return done.stdout


def compiler_for_32_bits():
    """The compiler and its flags. Debian has two, which cannot be installed beside each other."""
    return ("i686-linux-gnu-gcc", "") if shutil.which("i686-linux-gnu-gcc") else ("gcc", "-m32")


def can_link(compiler, flags):
    """Whether the compiler makes static programs with these flags."""
    done = subprocess.run([compiler, *flags.split(), "-static", "-x", "c", "-", "-o", "/dev/null"], text=True,
                          input="#include <sys/socket.h>\nint main(void) { return 0; }\n", capture_output=True,
                          check=False, timeout=60)
    return done.returncode == 0


class Builds(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.site = os.path.join(folder.name, "site")
        self.build = os.path.join(folder.name, "build")
        os.mkdir(self.site)
        with open(os.path.join(self.site, "index.html"), "w", encoding="ascii") as file:
            file.write("index\n")

    def make(self, compiler, flags, *options, generator="Ninja", targets=("host",)):
        """Build targets of the project outside. Returns the path of its host."""
        if shutil.which(compiler) is None:
            self.skipTest(f"{compiler} is not installed")
        run(CMAKE, "-S", OUTSIDE, "-B", self.build, "-G", generator, "-Dway=source", f"-Devserve_source={ROOT}",
            f"-Dweb={self.site}", f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS={flags}",
            "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=", *options)
        run(CMAKE, "--build", self.build, "-j2", "--target", *targets)
        return os.path.join(self.build, "host")

    def ask(self, host, request, env=None):
        with evtest.Program(host, self.site, env=env) as server, server.connect() as sock:
            sock.sendall(request)
            return evtest.receive_all(sock)

    def serves(self, host, env=None):
        self.assertTrue(self.ask(host, b"GET / HTTP/1.0\r\n\r\n", env).endswith(b"\r\n\r\nindex\n"))

    @unittest.skipUnless(IS_X86 and can_link(*compiler_for_32_bits()), "no compiler for i386, or nothing to run that")
    def test_32_bits_with_large_files_and_late_times(self):
        compiler, flags = compiler_for_32_bits()
        host = self.make(compiler, flags + " -Wall -Wextra -Wconversion -Werror", "-DEVSERVE_LUA=OFF", "-DEVSERVE_SECCOMP=OFF",
                         "-DCMAKE_EXE_LINKER_FLAGS=-static", "-DPKG_CONFIG_EXECUTABLE=/nonexistent")
        self.serves(host)
        large = os.path.join(self.site, "large.bin")
        with open(large, "wb") as file:
            file.truncate((5 << 30) + 1)
        os.utime(large, (0, 4102444800))  # 2100: what has no room for it cannot even tell the file's size
        reply = self.ask(host, b"GET /large.bin HTTP/1.0\r\nRange: bytes=5368709120-\r\n\r\n")
        self.assertIn(b"Content-Range: bytes 5368709120-5368709120/5368709121\r\n", reply)
        self.assertTrue(reply.endswith(b"\r\n\r\n\0"))

    @unittest.skipUnless(IS_X86, "retpolines are of x86")
    def test_retpolines_and_pedantic_warnings_as_errors(self):
        generator = "Unix Makefiles" if shutil.which("make") else "Ninja"
        host = self.make("gcc", "-mindirect-branch=thunk -mfunction-return=thunk -fcf-protection=none -Wpedantic -Werror",
                         f"-DEVSERVE_LUA={LUA}", "-DEVSERVE_HARDEN=OFF", generator=generator, targets=("host", "plugin"))
        self.serves(host)
        shown = run("nm", "-D", "--defined-only", os.path.join(self.build, "libplugin.so"))
        self.assertEqual([line.split()[2] for line in shown.splitlines()], ["plugin_run"])

    def test_sanitizer_of_clang_in_a_shared_library_of_a_unity_build_with_strict_warnings(self):
        host = self.make("clang", "-fsanitize=address -Wpedantic -Wcast-align -Werror", f"-DEVSERVE_LUA={LUA}",
                         "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_UNITY_BUILD=ON")
        self.assertIn("libevserve.so.0", run("readelf", "-d", host))
        self.serves(host)


if __name__ == "__main__":
    unittest.main()
