"""While SQLite, PostgreSQL, a password hash or another program keeps a worker's thread busy, other clients do not notice.

Each case calls a function that blocks its thread for EVSERVE_SLOW_SECONDS (0.4), while other clients send requests all
the time: the 99th percentile of their times must be below 10 ms. If this machine is busy with other things it may not be,
so there are five attempts; and with more than two runnable threads for each core besides, a tenth of the time that the
function blocks is enough.
"""

import contextlib
import os
import threading
import time
import unittest

import databases
import evtest
import lua_site
from lua_site import Client

SECONDS = float(os.environ.get("EVSERVE_SLOW_SECONDS", "0.4"))
P99_SECONDS = 0.010
ATTEMPTS = 5
CLIENTS = 8
SITE = """
local slow = app.worker("slow.lua", { threads = 1 })
app.get("/quick", function() return "x" end)
app.get("/slow/:amount", function(req) return tostring(slow.work(tonumber(req.params.amount))) end)
"""
SQLITE = """
local env = require("luasql.sqlite3").sqlite3()
local db = assert(env:connect(":memory:"))
return { work = function(rows)
    local cursor = assert(db:execute(("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) " ..
                                      "SELECT count(*) FROM n"):format(rows)))
    local count = cursor:fetch()
    cursor:close()
    return count
end }
"""
POSTGRES = """
local env = require("luasql.postgres").postgres()
local db = assert(env:connect(os.getenv "DATABASE"))
return { work = function(seconds)
    local cursor = assert(db:execute(("SELECT pg_sleep(%.3f), 7"):format(seconds)))
    local _, seven = cursor:fetch()
    cursor:close()
    return seven
end }
"""
HASH = """
local ffi = require "ffi"
ffi.cdef "char *crypt(const char *phrase, const char *setting);"
local lib = ffi.load "libcrypt.so.1"
return { work = function(rounds)
    return ffi.string(lib.crypt("correct horse", ("$6$rounds=%d$saltsalt"):format(rounds))):sub(1, 3)
end }
"""
PROGRAM = """
return { work = function(seconds)
    local pipe = io.popen(("sleep %.3f; echo done"):format(seconds))
    local text = pipe:read "*l"
    pipe:close()
    return text
end }
"""


class SlowWork(unittest.TestCase):
    def times_beside(self, server, target, expected):
        """The times of requests to /quick while target is being served, and how long that took."""
        took = []

        def be_slow():
            with Client(server) as client:
                start = time.monotonic()
                answer = client.ask("GET", target)
                took.append((time.monotonic() - start, answer.status, answer.text))

        times = []
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(server)) for _ in range(CLIENTS)]
            for client in clients:
                client.ask("GET", "/quick")
            slow = threading.Thread(target=be_slow)
            slow.start()
            while slow.is_alive():
                start = time.monotonic()
                self.assertEqual(clients[len(times) % CLIENTS].ask("GET", "/quick").text, "x")
                times.append(time.monotonic() - start)
                time.sleep(0.001)
            slow.join()
        self.assertEqual(took[0][1:], (200, expected))
        return sorted(times), took[0][0]

    @staticmethod
    def scaled(amount, took):
        """How much work takes SECONDS, if this amount took that long."""
        return max(1, int(amount * SECONDS / took))

    def check(self, module, expected, trial=None, **options):
        """trial: an amount of work whose time tells how much of it takes SECONDS; None: the amount is seconds itself.
        Each attempt tells that again: while this machine does something else, too, a trial takes longer than its work."""
        with lua_site.script(SITE, files=(("slow.lua", module),)) as path:
            with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                **options) as server:
                amount = SECONDS
                if trial is not None:
                    took = self.times_beside(server, f"/slow/{trial}", expected or str(trial))[1]
                    amount = self.scaled(trial, took)
                for _ in range(ATTEMPTS):
                    times, took = self.times_beside(server, f"/slow/{amount}", expected or str(amount))
                    p99 = times[len(times) * 99 // 100]
                    print(f"{self._testMethodName}: {took:.2f} s, {len(times)} other requests: p50 "
                          f"{times[len(times) // 2] * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms, worst {times[-1] * 1000:.2f} ms")
                    if p99 < P99_SECONDS and took > SECONDS * 0.5:
                        break
                    if trial is not None:
                        amount = self.scaled(amount, took)
                self.assertGreater(took, SECONDS * 0.5)
                is_busy = os.getloadavg()[0] > 2 * os.cpu_count()
                self.assertLess(p99, max(P99_SECONDS, SECONDS / 10) if is_busy else P99_SECONDS)

    def test_sqlite(self):
        databases.require_module("luasql.sqlite3")
        self.check(SQLITE, None, trial=100000)

    def test_postgresql(self):
        databases.require_module("luasql.postgres")
        with databases.postgres() as address:
            self.check(POSTGRES, "7", env={**os.environ, "DATABASE": address})

    def test_password_hash(self):
        self.check(HASH, "$6$", trial=20000)

    def test_other_program(self):
        self.check(PROGRAM, "done")


if __name__ == "__main__":
    unittest.main()
