"""What the libraries show, and what they ask of the C library, read from their symbols."""

import fnmatch
import os
import re
import subprocess
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
FOLDER = os.environ["EVSERVE_LIBRARIES"]
SHARED = os.path.join(FOLDER, "libevserve.so")
STATIC = os.path.join(FOLDER, "libevserve.a")
REACTOR = os.path.join(FOLDER, "libevserve_reactor.a")

# A library in somebody else's process does none of these. (mmap, threads, sockets and files are its trade.) There is one
# exception: a server with HTTPS loads OpenSSL, in core/tls_openssl.c.
BAD_MANNERS = """abort exit _exit _Exit quick_exit atexit fork vfork system popen execve execv execvp posix_spawn
    printf puts putchar vprintf fprintf vfprintf fputs fputc fwrite perror stdout stderr
    signal sigaction raise alarm setitimer sigprocmask umask setlocale chdir fchdir setenv putenv unsetenv
    setuid setgid srand rand strtok strerror_l tmpnam dlopen""".split()


def symbols(*arguments):
    """Names that nm lists, without their versions."""
    listed = subprocess.run(["nm", "--format=posix", *arguments], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listed.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1] != "A":
            found.add(words[0].split("@")[0])
    return found


def declared(header):
    """Functions of a header of ours."""
    with open(os.path.join(ROOT, header), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"^\w[\w *]*?\b((?:evserve|evs|reactor)_\w+)\([^{]*?\);", text, flags=re.MULTILINE))


class Shown(unittest.TestCase):
    public = declared("evserve.h")
    reactor = declared("core/reactor.h")

    def test_headers_are_understood(self):
        self.assertIn("evserve_start", self.public)
        self.assertIn("reactor_create", self.reactor)
        self.assertIn("reactor_counts", self.reactor)

    def test_shared_library_shows_the_functions_of_the_headers_and_nothing_else(self):
        self.assertEqual(symbols("-D", "--defined-only", SHARED), self.public | self.reactor)

    def test_every_symbol_of_the_shared_library_has_a_version(self):
        listed = subprocess.run(["nm", "-D", "--defined-only", SHARED], capture_output=True, text=True,
                                check=True).stdout.splitlines()
        for line in listed:
            self.assertRegex(line, r"EVSERVE_0$")

    def test_shared_library_has_a_soname(self):
        self.assertRegex(subprocess.run(["readelf", "-d", SHARED], capture_output=True, text=True, check=True).stdout,
                         r"SONAME.*\[libevserve\.so\.0\]")

    def test_static_library_shows_the_functions_of_its_header_and_nothing_else(self):
        shown = symbols("-g", "--defined-only", STATIC)
        self.assertEqual({name for name in shown if "[" not in name and not name.endswith(":")}, self.public)

    def test_what_the_static_library_shows_is_hidden_from_those_beyond_the_program_that_links_it(self):
        listed = subprocess.run(["readelf", "-sW", STATIC], capture_output=True, text=True, check=True).stdout
        visible = {words[5] for words in map(str.split, listed.splitlines())
                   if len(words) == 8 and words[4] == "GLOBAL" and words[7] in self.public}
        self.assertEqual(visible, {"HIDDEN"})

    def test_reactor_library_knows_nothing_of_http(self):
        shown = symbols("-g", REACTOR)
        self.assertTrue(self.reactor <= shown)
        self.assertEqual({name for name in shown if re.match(r"evs|http|conn_|lua|parse_", name)}, set())


class Asked(unittest.TestCase):
    def test_manners(self):
        asked = {re.sub(r"^__|_chk$", "", name) for name in symbols("-D", "--undefined-only", SHARED)}
        self.assertIn("memcpy", asked)
        self.assertEqual((asked - {"dlopen"}) & set(BAD_MANNERS), set())

    def test_only_optional_libraries_are_loaded(self):
        loads = []
        for folder in "core", "http", "lua":
            for path, _, names in os.walk(os.path.join(ROOT, folder)):
                for name in fnmatch.filter(names, "*.[ch]"):
                    with open(os.path.join(path, name), encoding="utf-8") as file:
                        code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
                    loads += [(name, call) for call in re.findall(r"\bdlm?open\(.*?[,)]", code)]
        self.assertEqual(sorted(loads), [("coder_calls.c", 'dlopen("libbrotlienc.so.1",'),
                                         ("coder_calls.c", 'dlopen("libzstd.so.1",'),
                                         ("crypt_calls.c", "dlopen(names[i],"),
                                         ("redis_reader.c", "dlopen(hiredis_names[i],"),
                                         ("regex_pcre2.c", "dlopen(pcre2_soname,"), ("tls_openssl.c", "dlopen(soname,"),
                                         ("unbrotli.c", 'dlopen("libbrotlidec.so.1",'),
                                         ("unzstd.c", 'dlopen("libzstd.so.1",'),
                                         ("zlib_calls.c", 'dlopen("libz.so.1",')])


if __name__ == "__main__":
    unittest.main()
