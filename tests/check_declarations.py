#!/usr/bin/env python3
"""The declaration check: x.h declares functions and objects of x.c alone.

    tests/check_declarations.py OBJECT...               check the tree that this script is in, with its object files
    tests/check_declarations.py [--root DIR] BUILD_DIR  take the objects of the libraries from this build folder
    tests/check_declarations.py --self-test             check that the check finds what it is there to find

It also finds a function that a header declares and no file defines any more. evserve.h is not checked: it declares what
the whole house defines.
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

import check_circles

# Headers that declare functions of other files on purpose.
EXCEPTIONS = {"http/server.h"}  # one server in several files: server_listeners.c, server_drain.c


def read_declared(text):
    """The names that a header declares and does not define, each with its line number."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.DOTALL)
    text = re.sub(r'"(\\.|[^"\\\n])*"', blank, text)
    text = re.sub(r"^[ \t]*#(.*\\\n)*.*$", blank, text, flags=re.MULTILINE)
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)", blank, text)
    text = re.sub(r'extern\s+ {3}\s*\{', blank, text)  # extern "C" {, whose string is blank already
    depth, statement, line, declared = 0, "", 1, []
    for char in text:
        line += char == "\n"
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0 and re.search(r"\)\s*$", statement):
                statement = ""  # a function with its body
                continue
        elif depth == 0 and char == ";":
            declared += read_statement(statement, line)
            statement = ""
            continue
        if depth == 0 and char not in "{}":
            statement += char
    return declared


def read_statement(statement, line):
    """The name in a declaration; none in a type's."""
    statement = " ".join(statement.split())
    match = re.match(r"(?!typedef )[^(=]*?\b(\w+) ?\(", statement)  # struct x *name(
    if not match:
        match = re.match(r"extern .*?(\w+)( ?\[[^]]*\])*$", statement)
    return [(match[1], line)] if match and not statement.startswith(("typedef", "static", "_Static_assert")) else []


def check(root, objects):
    names = check_circles.name_files(check_circles.find_sources(root))
    compiled, defined = check_circles.read_symbols(objects, names, collections.defaultdict(lambda: collections.defaultdict(set)))
    failed = 0
    for header, name in names.items():
        if not header.endswith(".h") or header in EXCEPTIONS:
            continue
        with open(os.path.join(root, header), encoding="utf-8") as file:
            declared = read_declared(file.read())
        for symbol, line in declared:
            if symbol not in defined and name in compiled:
                print(f"{header}:{line}: {symbol} is not defined")
                failed += 1
            elif defined.get(symbol, name) != name:
                print(f"{header}:{line}: {symbol} is of {defined[symbol]}")
                failed += 1
    return failed


def self_test():
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "core"))

        def write(name, text):
            with open(os.path.join(root, "core", name), "w", encoding="utf-8") as file:
                file.write(text)

        write("a.h", """#define A(x) \\
    foreign_in_macro(x);
/* b_function(); */
struct b_type {
    int (*b_function)(void);
};
typedef int b_fn(int);
enum { A_ONE };
static inline int a_inline(void)
{
    if (A_ONE) {
        return b_function();
    }
    return 0;
}
extern const char *const a_text[];
int a_function(int (*b_function)(void));
struct b_type *b_function(
    void) __attribute__((format(printf, 1, 2)));
extern const char b_text[2];
int nobody(void);
""")
        write("a.c", "const char *const a_text[] = {0}; int a_function(int (*f)(void)) { return f(); }\n")
        write("b.c", "const char b_text[2]; void *b_function(void) { return 0; }\n")
        objects = []
        for name in ("a", "b"):
            objects.append(os.path.join(root, f"part.dir/core/{name}.c.o"))
            os.makedirs(os.path.dirname(objects[-1]), exist_ok=True)
            subprocess.run([os.environ.get("EVSERVE_CC", "cc"), "-w", "-c", os.path.join(root, f"core/{name}.c"), "-o", objects[-1]],
                           check=True)
        output = subprocess.run([sys.executable, __file__, "--root", root, *objects], capture_output=True, text=True)
    expected = ["core/a.h:19: b_function is of core/b.c", "core/a.h:20: b_text is of core/b.c",
                "core/a.h:21: nobody is not defined"]
    if output.returncode != 1 or output.stdout.splitlines() != expected:
        print("self-test: this was found:", output.stdout, output.stderr, sep="\n")
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--root", default=check_circles.HOME)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("objects", nargs="*")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    objects = check_circles.find_objects(options.objects)
    if not objects:
        parser.error("no objects")
    return 1 if check(options.root, objects) else 0


if __name__ == "__main__":
    sys.exit(main())
