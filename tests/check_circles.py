#!/usr/bin/env python3
"""The circle check: no file of the library depends on itself through other files.

A file here is x.c together with x.h and x_inline.h. It depends on y if it includes y.h (or y.def), or if its object file refers to a
symbol that y.c defines. A pointer that is set at run time is no dependency: that is how a lower file calls a higher one.

    tests/check_circles.py OBJECT...               check the tree that this script is in, with its object files
    tests/check_circles.py [--root DIR] BUILD_DIR  take the objects of the libraries from this build folder
    tests/check_circles.py --self-test             check that the check finds what it is there to find
    --all                                          print every dependency inside a circle, not only the shortest way round

A circle that may be there is named in the README of one of its folders, below the heading "Circles of files", in one
line with its files and the reason. A build that leaves something out may have a part of it. The check fails for a circle
with a file that no such line has, for objects that are none of the tree, and for a line without a circle:

    - `http/a.c`, `http/b.c`: why these two need each other
"""

import argparse
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

FOLDERS = ["core", "core/program", "http", "http/h1", "http/ws", "http/client", "http/rules", "http/proxy", "http/host", "lua"]
DOORS = ["evserve.c", "main.c"]  # evserve.h is not here: it declares what the whole house defines, and includes nothing
PARTS = ["evserve_core", "evserve_http", "evserve_lua", "evserve_door", "evserve_tool"]  # the targets in CMakeLists.txt
HEADING = "Circles of files"
HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def find_sources(root):
    """The sources below root that take part, as paths from the root."""
    found = [name for name in DOORS if os.path.exists(os.path.join(root, name))]
    for folder in FOLDERS:
        for name in sorted(os.listdir(os.path.join(root, folder))) if os.path.isdir(os.path.join(root, folder)) else []:
            if name.endswith((".c", ".h", ".def")):
                found.append(f"{folder}/{name}")
    return found


def name_files(sources):
    """Maps each source to the name of its file: x.c for x.h, x.def and x_inline.h too, where there is an x.c."""
    paths = set(sources)
    names = {}
    for source in sources:
        stem = os.path.splitext(source)[0]
        whole = stem.removesuffix("_inline")
        stem = whole if whole + ".c" in paths else stem
        names[source] = next(stem + end for end in (".c", ".h", ".def") if stem + end in paths)
    return names


def read_includes(root, names, edges):
    for source, name in names.items():
        with open(os.path.join(root, source), encoding="utf-8") as file:
            for header in re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', file.read(), re.MULTILINE):
                to = names.get(header)
                if to and to != name:
                    edges[name][to].add("includes " + header)


def find_source_of(object_path, names):
    """The file that an object was compiled from; None for one that takes no part, such as a leftover in a build folder."""
    path = os.path.splitext(object_path.replace(os.sep, "/"))[0]  # .../evserve_http.dir/http/conn.c
    if path.endswith("/generated/prelude_data.c"):
        return names.get("lua/prelude.h")
    parts = path.rsplit(".dir/", 1)
    return names.get(os.path.normpath(parts[-1]))  # CMake writes evserve_http.dir/./http/conn.c in lists of objects


def read_symbols(objects, names, edges):
    """Adds an edge for each symbol that an object refers to and another defines. Returns the files that have an object, and
    which file defines each symbol."""
    defined, wanted, seen = {}, collections.defaultdict(set), set()
    listed = subprocess.run(["nm", "-A", "-g", "--format=posix", *objects], check=True, capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        path, symbol, kind = re.match(r"(.*): (\S+) (\S)", line).groups()
        name = find_source_of(path, names)
        if name is None:
            continue
        seen.add(name)
        if kind in "Uwv":
            wanted[symbol].add(name)
        else:
            defined[symbol] = name
    for symbol, callers in wanted.items():
        to = defined.get(symbol)
        for name in callers:
            if to and to != name:
                edges[name][to].add(symbol)
    return seen, defined


def find_objects(paths):
    """The paths, with the objects of the libraries in place of a build folder."""
    objects = []
    for path in paths:
        if os.path.isdir(path):
            for part in PARTS:
                objects += glob.glob(os.path.join(path, "CMakeFiles", part + ".dir", "**", "*.o"), recursive=True)
        else:
            objects.append(path)
    return objects


def find_components(edges):
    """The sets of more than one file in which each depends on each (Tarjan, with a stack of our own)."""
    index, low, stack, on_stack, components = {}, {}, [], set(), []
    for root in sorted(edges):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(sorted(edges[root])))]
        while work:
            name, rest = work[-1]
            to = next(rest, None)
            if to is not None:
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    on_stack.add(to)
                    work.append((to, iter(sorted(edges.get(to, ())))))
                elif to in on_stack:
                    low[name] = min(low[name], index[to])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[name])
            if low[name] == index[name]:
                component = set()
                while name not in component:
                    component.add(stack.pop())
                on_stack -= component
                if len(component) > 1:
                    components.append(frozenset(component))
    return components


def find_shortest_way(edges, component):
    """One of the shortest ways round: a list of files that begins and ends with the same one."""
    best = None
    for start in sorted(component):
        came_from = {}
        queue = collections.deque([start])
        while queue and start not in came_from:
            name = queue.popleft()
            for to in sorted(edges[name]):
                if to in component and to not in came_from:
                    came_from[to] = name
                    queue.append(to)
        way = [start, came_from[start]]
        while way[-1] != start:
            way.append(came_from[way[-1]])
        if best is None or len(way) < len(best):
            best = way[::-1]
    return best


def describe(reasons):
    """Why one file depends on another: "includes x.h; calls f, g"."""
    includes = sorted(reason for reason in reasons if reason.startswith("includes "))
    calls = sorted(reasons - set(includes))
    more = f" and {len(calls) - 4} more" if len(calls) > 4 else ""
    return "; ".join(includes + (["calls " + ", ".join(calls[:4]) + more] if calls else []))


def read_allowed(root):
    """The circles that the READMEs name: each set of files with the place of its line."""
    allowed = {}
    for folder in FOLDERS:
        path = os.path.join(root, folder, "README.md")
        if not os.path.exists(path):
            continue
        is_inside = False
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.startswith("#"):
                    is_inside = line.strip("# \n") == HEADING
                match = re.match(r"- ((?:`[^`]+`, )*`[^`]+`): \S", line)
                if is_inside and match:
                    allowed[frozenset(re.findall(r"`([^`]+)`", match[1]))] = f"{folder}/README.md:{number}"
    return allowed


def check(root, objects, print_all=False):
    """Prints what is wrong with the tree, and returns how many circles that is."""
    names = name_files(find_sources(root))
    edges = collections.defaultdict(lambda: collections.defaultdict(set))
    read_includes(root, names, edges)
    compiled, _ = read_symbols(objects, names, edges)
    allowed = read_allowed(root)
    failed = 0
    if not compiled:
        failed += 1
        print("none of the objects is of a file of this tree")
    # What this build leaves out, such as lua/, is a matter for another build.
    taken = {name for name in names.values() if name in compiled or not name.endswith(".c")}
    edges = {name: {to: why for to, why in edges[name].items() if to in taken} for name in taken}
    components = find_components(edges)
    for component in sorted(components, key=lambda files: (len(files), sorted(files))):
        if any(component <= files for files in allowed):
            continue
        failed += 1
        print(f"a circle of {len(component)} files: {', '.join(sorted(component))}")
        way = find_shortest_way(edges, component)
        print("    " + way[0] + "".join(f" -> {to} ({describe(edges[name][to])})" for name, to in zip(way, way[1:])))
        for name in sorted(component) if print_all else []:
            for to in sorted(set(edges[name]) & component):
                print(f"        {name} -> {to} ({describe(edges[name][to])})")
    for files, place in allowed.items():
        is_there = any(component <= files for component in components)
        if not is_there and (files <= taken or not files <= set(names.values())):
            failed += 1
            print(f"{place}: there is no such circle: {', '.join(sorted(files))}")
    return failed


def self_test():
    """A tree with one circle of each kind."""
    with tempfile.TemporaryDirectory() as root:
        def write(path, text):
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)

        write("core/a.h", '#include "core/b.h"\n')  # by includes alone
        write("core/b.h", "int b;\n")
        write("core/b.c", '#include "core/a.h"\nint b_function(void) { return 0; }\n')
        write("core/alone.h", "int alone(void);\n")  # includes its own headers: no circle
        write("core/alone_inline.h", '#include "core/alone.h"\n')
        write("core/alone.c", '#include "core/alone_inline.h"\nint alone(void) { return 0; }\n')
        write("http/c.c", "int d(void); int c(void) { return d(); }\n")  # by symbols alone, over three files
        write("http/d.c", "int e(void); int d(void) { return e(); }\n")
        write("http/h1/e.c", "extern int (*const pointer)(void); int e(void) { return pointer(); }\n")
        write("http/f.c", "int c(void); int (*const pointer)(void) = c;\n")
        write("lua/g.h", '#include "core/alone.h"\n')  # one by an include and a call, named
        write("lua/g.c", "int h(void); int g(void); int g(void) { return h(); }\n")
        write("lua/h.c", '#include "lua/g.h"\nint h(void) { return alone(); }\n')
        write("lua/README.md", f"## {HEADING}\n\n- `lua/g.c`, `lua/h.c`: a reason\n- `lua/g.c`, `core/alone.c`: was opened\n"
              "## Else\n- `core/a.h`, `core/b.c`: in another section\n")
        objects = []
        for path in ("core/b.c", "core/alone.c", "http/c.c", "http/d.c", "http/h1/e.c", "http/f.c", "lua/g.c", "lua/h.c"):
            objects.append(os.path.join(root, "objects/part.dir/.", path + ".o"))
            os.makedirs(os.path.dirname(objects[-1]), exist_ok=True)
            subprocess.run([os.environ.get("EVSERVE_CC", "cc"), "-w", "-I", root, "-c", os.path.join(root, path), "-o", objects[-1]],
                           check=True)
        output = subprocess.run([sys.executable, __file__, "--root", root, *objects], capture_output=True, text=True)
    expected = [
        "a circle of 2 files: core/a.h, core/b.c",
        "    core/a.h -> core/b.c (includes core/b.h) -> core/a.h (includes core/a.h)",
        "a circle of 4 files: http/c.c, http/d.c, http/f.c, http/h1/e.c",
        "    http/c.c -> http/d.c (calls d) -> http/h1/e.c (calls e) -> http/f.c (calls pointer) -> http/c.c (calls c)",
        "lua/README.md:4: there is no such circle: core/alone.c, lua/g.c",
    ]
    if output.returncode != 1 or output.stdout.splitlines() != expected:
        print("self-test: this was found:", output.stdout, output.stderr, sep="\n")
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--root")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("objects", nargs="*")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    objects = find_objects(options.objects)
    if not objects:
        parser.error("no objects")
    return 1 if check(options.root or HOME, objects, options.all) else 0


if __name__ == "__main__":
    sys.exit(main())
