"""What the tests of leaks share: a site is played with requests by several clients at the same time, among which are
clients that leave, and reloads; afterwards it must hold what it held before. EVSERVE_REQUESTS=100000 plays that many.
"""

import contextlib
import os
import signal
import threading
import time

import evtest
import lua_site
from lua_site import Client

OK, FAILED, BUSY = (200,), (500,), (200, 204, 500, 503) # BUSY: it depends on who comes first
REQUESTS = int(os.environ.get("EVSERVE_REQUESTS", "400"))
CLIENTS, REACTORS, RELOADS = 4, 2, 4
SLACK = 16384  # bytes of a Lua state, whose tables and string table have grown to other sizes


class Leaks:
    """To be mixed into a test case.

    SCRIPT   the site, which has a route /held: {"thread": 0 or 1, "lua": bytes, "busy": calls under way}
    FILES    what lies beside it
    WHOLE    the routes that are asked, without their slash, and the statuses that each may have
    LEAVERS  those whose clients leave
    THREADS  more threads than the reactors' that may be there afterwards
    OPTIONS  of evtest.Program
    """

    FILES, LEAVERS, THREADS, OPTIONS = (), (), 0, {}

    def kept(self):
        """Connections to other servers that wait for their next use. How many a thread keeps depends on who comes first."""
        return 0

    def requests_of_a_round(self):
        return len(self.WHOLE) + len(self.LEAVERS)

    def start(self, stack):
        path = stack.enter_context(lua_site.script(self.SCRIPT, files=self.FILES))
        return evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "--reactors", str(REACTORS), "site.lua",
                              cwd=os.path.dirname(path), **self.OPTIONS)

    def play_round(self, server, client):
        for name, expected in self.WHOLE.items():
            answer = client.ask("GET", "/" + name)
            if answer.status not in expected:
                raise AssertionError(f"/{name}: {answer.status} {answer.text}")
        for name in self.LEAVERS:
            leaver = Client(server)
            leaver.send("GET", "/" + name)
            leaver.reset()

    def play(self, server, requests):
        """So many requests by some clients at the same time."""
        failures = []

        def play_rounds():
            try:
                with Client(server) as client:
                    for _ in range(requests // self.requests_of_a_round() // CLIENTS + 1):
                        self.play_round(server, client)
                        if failures:
                            break
            except (AssertionError, OSError, EOFError) as error:
                failures.append(error)

        players = [threading.Thread(target=play_rounds) for _ in range(CLIENTS)]
        for player in players:
            player.start()
        for player in players:
            player.join()
        self.assertEqual(failures, [])

    def reload(self, server):
        before = sum("reloaded" in line for line in server.lines)
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: sum("reloaded" in line for line in server.lines) > before, "the reload")

    def held(self, server):
        """The bytes of both Lua states, once nothing runs any more."""
        found = {}

        def look():
            with Client(server) as client:
                answer = client.ask("GET", "/held").json
            if answer["busy"] == 0:
                found[answer["thread"]] = answer["lua"]
            return len(found) == REACTORS

        evtest.wait_until(look, "both threads")
        return sum(found.values())

    def level(self, server, threads):
        """What is held, when all is over that will be."""
        evtest.wait_until(lambda: len(os.listdir(f"/proc/{server.pid}/task")) <= threads, "the end of old threads")
        time.sleep(0.05)  # what clients have left behind ends
        self.held(server)
        return self.held(server), server.memory_kib(), server.fd_count()

    def check_that_requests_leave_nothing(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self.start(stack))
            threads = len(os.listdir(f"/proc/{server.pid}/task")) + self.THREADS + 1  # of the log, from the first line on
            warm = CLIENTS * self.requests_of_a_round()
            self.play(server, warm)
            self.reload(server)
            self.play(server, warm)
            lua, memory, fds = self.level(server, threads)
            fds -= self.kept()
            for _ in range(RELOADS):
                self.play(server, REQUESTS // RELOADS)
                self.reload(server)
            self.play(server, warm)
            lua_after, memory_after, _ = self.level(server, threads)
            limit = fds + 2  # two threads may have a file each that the first rounds did not need
            evtest.wait_until(lambda: server.fd_count() - self.kept() <= limit, f"no more than {limit} fds")
            print(f"{REQUESTS} requests, {RELOADS} reloads: Lua {lua} -> {lua_after} bytes, resident {memory} -> "
                  f"{memory_after} KiB, {fds} -> {server.fd_count() - self.kept()} fds, {len(os.listdir(f'/proc/{server.pid}/task'))} threads")
            self.assertLess(lua_after, lua + SLACK)

    def check_that_stops_leave_nothing(self, leavers):
        """The sanitizer of the dev preset says what was not freed. leavers: those that a stop ends."""
        names = list(self.WHOLE) + list(leavers)
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(self.start(stack))
                clients = []
                for name in names:
                    clients.append(stack.enter_context(Client(server)))
                    clients[-1].send("GET", "/" + name)
                evtest.wait_until_read(clients[-1].sock)
