"""The library in one file (scripts/amalgamate.sh): it compiles alone, shows nothing but evserve.h, and serves."""

import http.client
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
SCRIPT = os.path.join(ROOT, "scripts", "amalgamate.sh")
STRICT = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"]

# Compiles as C and as C++; serves until somebody asks for /bye.
HOST = r"""
#include "evserve.h"

#include <stdio.h>
#include <string.h>

/* Names that the library has, too. */
int log_write(void);
int log_write(void) { return 1; }
int server_create(void);
int server_create(void) { return 2; }

static void serve_bye(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, NULL, "bye\n", 4);
    evserve_stop(evs_server(request), 1000);
}

int main(int argc, char **argv)
{
    struct evs_route routes[2];
    struct evserve_config config;
    char err[EVSERVE_ERROR_MAX];
    evserve *server;

    memset(routes, 0, sizeof routes);
    routes[0].route = "GET /bye";
    routes[0].serve = serve_bye;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.listen = "127.0.0.1:0";
    config.root = ".";
    config.routes = routes;
    config.script = argc > 1 ? argv[1] : NULL;
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        puts(err);
        return log_write();
    }
    printf("%d\n", evserve_port(server, 0));
    fflush(stdout);
    evserve_wait(server);
    evserve_free(server);
    return 0;
}
"""


def run(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=240, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def compiler(name):
    if shutil.which(name) is None:
        raise unittest.SkipTest(f"{name} is not installed")
    return name


class OneFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.made = run("sh", SCRIPT, cls.folder)
        for name in "host.c", "host.cpp":
            cls.write(name, HOST)
        cls.write("page.html", "a page\n")

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def serves(self, *program):
        """The host serves a file and a route, and stops."""
        with subprocess.Popen(program, cwd=self.folder, stdout=subprocess.PIPE, text=True) as host:
            try:
                port = int(host.stdout.readline())
                for path, content in ("/page.html", b"a page\n"), ("/bye", b"bye\n"):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    connection.request("GET", path)
                    self.assertEqual(connection.getresponse().read(), content)
                    connection.close()
                self.assertEqual(host.wait(60), 0)
            finally:
                if host.poll() is None:
                    host.kill()

    def test_names_what_it_has_made(self):
        self.assertEqual(self.made.splitlines(),
                         [os.path.join(self.folder, "evserve" + end) for end in (".c", ".h", ".hpp")])

    def test_cxx_compiler_that_gets_the_library_says_what_to_do(self):
        done = subprocess.run([compiler("gcc"), "-xc++", "-c", "evserve.c", "-o", "/dev/null"], cwd=self.folder,
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("compile evserve.c as C, and link the object file", done.stderr)
        self.assertEqual(done.stderr.count("error:"), 1)

    def test_version_and_licence_stand_at_the_head(self):
        head = self.read("evserve.c")[:2000]
        self.assertRegex(head, r"\A/\* evserve \d+\.\d+\.\d+: ")
        self.assertIn("Permission is hereby granted, free of charge", head)
        self.assertRegex(self.read("evserve.h"), r"\A/\* evserve \d+\.\d+\.\d+ \*/\n")

    def test_no_file_but_the_header_is_included(self):
        self.assertEqual(re.findall(r'^# *include "(.*)"', self.read("evserve.c"), re.MULTILINE), ["evserve.h"])

    def test_gcc_compiles_host_and_library_without_options(self):
        program = os.path.join(self.folder, "by-gcc")
        run(compiler("gcc"), "host.c", "evserve.c", "-o", program, cwd=self.folder)
        self.serves(program)
        refused = subprocess.run([program, "site.lua"], cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False,
                                 timeout=60)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("without Lua", refused.stdout)

    def test_clang_compiles_it_without_a_warning(self):
        program = os.path.join(self.folder, "by-clang")
        run(compiler("clang"), *STRICT, "host.c", "evserve.c", "-o", program, cwd=self.folder)
        self.serves(program)

    def test_https_compiles_with_openssl_loaded_and_linked(self):
        done = subprocess.run(["gcc", "-x", "c", "-", "-fsyntax-only"], input="#include <openssl/ssl.h>\n", text=True,
                              capture_output=True, check=False, timeout=60)
        if done.returncode != 0:
            self.skipTest("OpenSSL's headers are not installed")
        for compiles, options in ("gcc", []), ("clang", []), ("gcc", ["-DEVSERVE_TLS_LINKED"]):
            with self.subTest(compiler=compiles, options=options):
                run(compiler(compiles), *STRICT, "-fsyntax-only", "-DEVSERVE_HAS_TLS", *options, "evserve.c", cwd=self.folder)

    def test_other_machines_and_c_libraries_compile_and_run_it(self):
        for by, emulator in (("musl-gcc",), ()), (("i686-linux-gnu-gcc",), ()), \
                (("aarch64-linux-gnu-gcc",), ("qemu-aarch64-static",)):
            with self.subTest(by=by[0]):
                for tool in by + emulator:
                    compiler(tool)
                program = os.path.join(self.folder, "by-" + by[0])
                run(*by, "-static", "host.c", "evserve.c", "-o", program, cwd=self.folder)
                self.serves(*emulator, program)

    def test_host_in_cpp_links_an_object_in_which_only_the_header_is_global(self):
        library = os.path.join(self.folder, "evserve.o")
        program = os.path.join(self.folder, "by-g++")
        run(compiler("gcc"), *STRICT, "-O2", "-DNDEBUG", "-c", "evserve.c", "-o", library, cwd=self.folder)
        names = run("nm", "--extern-only", "--defined-only", "--format=posix", library).splitlines()
        strangers = [line for line in names if not re.match(r"(evserve|evs)_", line)]
        self.assertEqual(strangers, [])
        self.assertGreater(len(names), 30)
        run(compiler("g++"), *STRICT[1:], "-std=c++17", "host.cpp", library, "-o", program, cwd=self.folder)
        self.serves(program)


if __name__ == "__main__":
    unittest.main()
