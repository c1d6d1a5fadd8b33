"""A cgroup with a memory limit, as containers have one: a script that takes all the memory it can get is refused more
before the kernel ends the process. Where this user may make such groups, of version 1 or 2."""

import contextlib
import os
import unittest

import evtest
import lua_site

LIMIT_BYTES = 128 << 20
SITE = """
local app = require "evserve"
local kept = {}
app.get("/take", function() -- 16 MiB in blocks that no request finds again
    for i = 1, 256 do kept[#kept + 1] = ("x"):rep(65536 + #kept) end
    return tostring(#kept)
end)
app.get("/small", function() return "small" end)
app.on("memory", function() kept = {} end)
"""


def make_group():
    """The folder of a new group with the limit, and the names of the files with the limit and the number of kills."""
    with open("/proc/self/cgroup", encoding="ascii") as lines:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in lines)
    version1 = next((path for names, path in groups.items() if "memory" in names.split(",")), None)
    if version1 is not None:
        top, limit = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
    else:
        top, limit = "/sys/fs/cgroup" + groups.get("", "/").rstrip("/"), "memory.max"
    folder = os.path.join(top, f"evserve-test-{os.getpid()}")
    os.mkdir(folder)
    try:
        with open(os.path.join(folder, limit), "w", encoding="ascii") as file:
            file.write(str(LIMIT_BYTES))
    except OSError:
        os.rmdir(folder)
        raise
    return folder


class MemoryLimit(unittest.TestCase):
    def setUp(self):
        try:
            self.group = make_group()
        except OSError as error:
            self.skipTest(f"this user may make no group with a memory limit: {error}")
        self.addCleanup(os.rmdir, self.group)

    def enter(self):
        with open(os.path.join(self.group, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def kills(self):
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(self.group, name), encoding="ascii") as file:
                return [line.split()[1] for line in file if line.startswith("oom_kill ")]
        return []

    def check(self, *options):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        path = stack.enter_context(lua_site.script(SITE))
        asan = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0:quarantine_size_mb=1"
        server = stack.enter_context(evtest.Program(
            lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", *options, cwd=os.path.dirname(path),
            preexec_fn=self.enter, env=dict(os.environ, ASAN_OPTIONS=asan)))
        statuses = []
        for _ in range(12):
            with lua_site.Client(server) as client:
                statuses.append(client.ask("GET", "/take").status)
        self.assertEqual(set(statuses), {200, 503}, statuses)
        with lua_site.Client(server) as client:
            self.assertEqual(client.ask("GET", "/small").status, 200)
        self.assertIn(self.kills(), ([], ["0"]))

    def test_lua_is_refused_memory_before_the_kernel_kills(self):
        self.check()

    def test_of_several_threads(self):
        self.check("--reactors", "2")


if __name__ == "__main__":
    unittest.main(verbosity=2)
