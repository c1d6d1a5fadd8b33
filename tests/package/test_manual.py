"""The man pages say what the program and the header say: no option, function, field or constant is missing in them, or
only there. Whoever adds one has to document it in scripts/man/. So with the limits in SECURITY.md and README.md. What is
printed as an example compiles."""

import os
import re
import shutil
import subprocess
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
EVSERVE = os.environ["EVSERVE_BIN"]
CC = os.environ["EVSERVE_CC"]


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def plain(roff):
    """The text of a roff source: font changes, quotes of macro arguments and escapes taken out."""
    text = re.sub(r'^\.\\".*\n', "", roff, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIRP]", "", text)
    text = text.replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\(dq", '"').replace(r"\e", "\\").replace(r"\&", "")
    return re.sub(r'^\.(BR|BI|IR|RB|RI|B|I) (.*)$',
                  lambda m: (" " if len(m[1]) == 1 else "").join(re.findall(r'"[^"]*"|\S+', m[2])).replace('"', ""),
                  text, flags=re.MULTILINE)


def section(roff, title):
    """What follows ".SH title" or ".SS title", up to the next heading of either kind."""
    found = re.search(rf'^\.S[HS] "?{re.escape(title)}"?\n(.*?)(?=^\.S[HS] |\Z)', roff, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise AssertionError(f"the man page has no section {title}")
    return found[1]


def heads(roff):
    """The first word of each paragraph with a hanging head (.TP, and .TQ that shares its paragraph)."""
    return [re.match(r"[-\w]+", line)[0] for line in re.findall(r"^\.T[PQ]\n(.+)$", plain(roff), flags=re.MULTILINE)]


def squeeze(text):
    return re.sub(r" ?\* ?", " *", re.sub(r"\s+", " ", text)).strip()


def limits():
    """The rows of http/limits.def: name to unit and default."""
    rows = re.findall(r"^LIMIT\((\w+), (?:\w+, )*?(MS|BYTES|COUNT), (\d+),", read("http", "limits.def"),
                      flags=re.MULTILINE)
    assert len(rows) == len(re.findall(r"^LIMIT", read("http", "limits.def"), flags=re.MULTILINE))
    return {name: (unit, initial) for name, unit, initial in rows}


def script_limits():
    """The same of lua/settings.def, but for what is on or off."""
    rows = re.findall(r"^SETTING\((\w+), \w+, (MS|BYTES|COUNT), (\d+),", read("lua", "settings.def"), flags=re.MULTILINE)
    assert len(rows) == 5
    return {name: (unit, initial) for name, unit, initial in rows}


def ranges():
    """The least and the most of every number in both tables."""
    rows = {}
    for table in ("http", "limits.def"), ("lua", "settings.def"):
        found = re.findall(r"^(?:LIMIT|SETTING)\((\w+), \w+, (?:MS|BYTES|COUNT), \d+, (\d+), (\d+),", read(*table),
                           flags=re.MULTILINE)
        rows.update({name: (int(least), int(most)) for name, least, most in found})
    return rows


def number(text):
    """What README means by "24 h" or "64 K": milliseconds, bytes, or a number."""
    value, _, unit = text.partition(" ")
    return int(value) * {"": 1, "ms": 1, "s": 1000, "min": 60000, "h": 3600000, "K": 1 << 10, "M": 1 << 20,
                         "G": 1 << 30}[unit]


class Header:
    """What evserve.h declares, found by its layout (.clang-format holds it)."""

    def __init__(self):
        text = re.sub(r"/\*.*?\*/", "", read("evserve.h"), flags=re.DOTALL)
        text = re.sub(r'^#.*\n|^extern "C" \{\n', "", text, flags=re.MULTILINE)
        self.functions = {re.search(r"(\w+)\(", found)[1]: squeeze(found) for found in
                          re.findall(r"^(?:const |struct |unsigned )*\w+[ *]+(?:evserve|evs)_\w+\([^;{]*\);", text,
                                     flags=re.MULTILINE)}
        self.structs = {}
        for name, body in re.findall(r"^(?:typedef )?struct (\w+) \{\n(.*?)^\}", text, flags=re.MULTILINE | re.DOTALL):
            self.structs[name] = [field for line in body.split(";") for field in self.fields(line)]
        self.constants = re.findall(r"^#define (EV\w+) ", read("evserve.h"), flags=re.MULTILINE)
        self.constants += [word for body in re.findall(r"\benum(?: \w+)? \{(.*?)\}", text, flags=re.DOTALL)
                           for word in re.findall(r"\b(EV\w+)\b(?=\s*(?:=|,|$|\n))", body + "\n")]

    @staticmethod
    def fields(declaration):
        """Names in one declaration: "const char *root, *script" or "void (*log)(...)"."""
        function = re.search(r"\(\*(\w+)\)\(", declaration)
        if function:
            return [function[1]]
        declaration = re.sub(r"\[.*?\]", "", declaration).strip()
        return [re.search(r"(\w+)\s*$", part)[1] for part in declaration.split(",")] if declaration else []


class Program(unittest.TestCase):
    page = read("scripts", "man", "evserve.1")
    help = subprocess.run([EVSERVE, "--help"], capture_output=True, text=True, check=True).stdout

    def test_options_are_those_of_the_help(self):
        options = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", self.help, flags=re.MULTILINE)
        self.assertGreater(len(options), 3)
        self.assertEqual(sorted(heads(section(self.page, "OPTIONS"))), sorted(options))

    def test_synopsis_names_every_option_that_does_something(self):
        synopsis = plain(section(self.page, "SYNOPSIS"))
        for option in re.findall(r"--[\w-]+", self.help[:self.help.index("\n\n")]):
            self.assertIn(option, synopsis)

    def test_arguments_of_options_are_those_of_the_help(self):
        for option, argument in re.findall(r"^ +(?:-\w, )?(--[\w-]+)[ =]([A-Z]\w*)", self.help, flags=re.MULTILINE):
            self.assertRegex(plain(section(self.page, "OPTIONS")), rf"(?m)^{option}[ =]{argument}\b")

    def test_every_exit_status_and_signal_of_the_program_is_there(self):
        source = read("main.c")
        for signal in set(re.findall(r"\bSIG(?:INT|TERM|HUP|USR1|USR2|QUIT)\b", source)):
            self.assertIn(signal, heads(section(self.page, "SIGNALS")))
        self.assertEqual(heads(section(self.page, "EXIT STATUS")), ["0", "1", "2"])


class Library(unittest.TestCase):
    page = read("scripts", "man", "evserve.3")
    header = Header()

    def test_header_is_understood(self):
        for function in ("evserve_start", "evserve_wait", "evserve_address", "evserve_version", "evserve_free"):
            self.assertIn(function, self.header.functions)
        for field in ("size", "listen", "log", "arg", "idle_timeout_ms", "lua_init"):
            self.assertIn(field, self.header.structs["evserve_config"])
        self.assertIn("EVSERVE_ERROR_MAX", self.header.constants)
        self.assertIn("EVSERVE_LOG_DEBUG", self.header.constants)
        self.assertIn("EVSERVE_ZERO", self.header.constants)
        named = set(re.findall(r"^(?!static )\w[^\n/#]*?\b((?:evserve|evs)_\w+)\(", read("evserve.h"),
                                flags=re.MULTILINE))
        self.assertEqual(set(self.header.functions), named)

    def test_synopsis_declares_the_functions_of_the_header(self):
        synopsis = squeeze(plain(section(self.page, "SYNOPSIS")))
        for declaration in self.header.functions.values():
            self.assertIn(declaration, synopsis)
        self.assertEqual(set(re.findall(r"\b((?:evserve|evs)_\w+)\(", synopsis)), set(self.header.functions))

    def test_every_function_is_described(self):
        self.assertEqual(sorted(heads(section(self.page, "FUNCTIONS"))), sorted(self.header.functions))

    def test_every_field_is_described(self):
        for struct, fields in self.header.structs.items():
            with self.subTest(struct=struct):
                self.assertEqual(heads(section(self.page, "struct " + struct)), fields)

    def test_constants_are_those_of_the_header(self):
        named = set(re.findall(r"\bEV(?:SERVE|S)_[A-Z]\w*", plain(self.page)))
        self.assertEqual(named, set(self.header.constants))

    def test_defaults_are_those_of_the_table_of_limits(self):
        rows = limits()
        described = re.split(r"^\.TP\n", section(self.page, "struct evserve_config"), flags=re.MULTILINE)
        compared = 0
        for paragraph in map(plain, described):
            field = paragraph.split("\n", 1)[0]
            name = field.removesuffix("_ms")
            if name in rows:
                self.assertRegex(paragraph, rf"Default {rows[name][1]}\b")
                compared += 1
        self.assertGreaterEqual(compared, 9)


class Limits(unittest.TestCase):
    def test_security_has_every_limit_with_its_default(self):
        listed = dict(re.findall(r"^\| `(\w+)` \| (\d+(?: ms| bytes)?)(?:/s)? \|", read("SECURITY.md"),
                                 flags=re.MULTILINE))
        units = {"MS": " ms", "BYTES": " bytes", "COUNT": ""}
        rows = limits() | script_limits()
        self.assertEqual(listed, {name: initial + units[unit] for name, (unit, initial) in rows.items()})

    def test_readme_has_every_limit(self):
        listed = re.findall(r"^\| `(\w+)` \|", read("README.md"), flags=re.MULTILINE)
        self.assertEqual([name for name in limits() if name not in listed], [])

    def test_readme_has_the_default_and_the_range_of_every_limit(self):
        rows = re.findall(r"^\| `(\w+)` \| (\d+(?: \w+)?) \| (?:0, or )?(\d+(?: \w+)?) to (\d+(?: \w+)?) \|",
                          read("README.md"), flags=re.MULTILINE)
        expected = ranges()
        expected["tcp_keepalive"] = (1000, expected["tcp_keepalive"][1])  # limits.c: beside 0
        self.assertEqual({name: (number(least), number(most)) for name, _, least, most in rows}, expected)
        defaults = {name: int(initial) for name, (_, initial) in (limits() | script_limits()).items()}
        self.assertEqual({name: number(default) for name, default, _, _ in rows}, defaults)


class Examples(unittest.TestCase):
    """What a reader copies out of the documentation compiles as it is printed."""

    def compiles(self, source):
        done = subprocess.run([CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", ROOT, "-xc", "-"],
                              input=source, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), source)

    @staticmethod
    def readme_blocks():
        part = read("README.md").split("\n## Embedding in ten lines\n")[1].split("\n## ")[0]
        return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in
                re.findall(r"(?:^    .*\n|^\n(?=    ))+", part, flags=re.MULTILINE)]

    def test_host_in_the_readme(self):
        host = self.readme_blocks()[0]
        self.compiles(host)
        body = host[host.index("\n{\n") + 3:host.rindex("}")]
        self.assertLessEqual(len(body.splitlines()), 10, "these are not ten lines any more")

    def test_routes_in_the_readme(self):
        function, _, lines = self.readme_blocks()[1].partition("...\n")
        used = function.replace("void *arg)\n{", "void *arg)\n{\n    (void)arg;")
        self.compiles(f"#include <evserve.h>\n#include <string.h>\n{used}void host(struct evserve_config config);\n"
                      f"void host(struct evserve_config config)\n{{\n{lines}(void)config;\n}}\n")

    def test_first_words_of_the_header(self):
        example = re.search(r"(?:^ \*     .*\n)+", read("evserve.h"), flags=re.MULTILINE)[0]
        self.assertIn("evserve_start", example)
        self.compiles("#include <evserve.h>\n#include <stdio.h>\nint main(void)\n{\n" + example.replace(" *     ", "")
                      + "}\n")

    def test_examples_of_the_man_page(self):
        programs = [block for block in re.findall(r"^\.EX\n(.*?)^\.EE", Library.page, flags=re.MULTILINE | re.DOTALL)
                    if "#include" in block]
        self.assertGreater(len(programs), 0)
        for program in programs:
            self.compiles(plain(program))


class Pages(unittest.TestCase):
    def test_groff_has_nothing_to_complain_of(self):
        groff = shutil.which("groff")
        if groff is None:
            self.skipTest("groff is not installed")
        for page in ("evserve.1", "evserve.3"):
            done = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-z", os.path.join(ROOT, "scripts", "man", page)],
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)


if __name__ == "__main__":
    unittest.main()
