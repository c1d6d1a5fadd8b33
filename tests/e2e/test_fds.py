"""Few file descriptors, and many clients who keep their connections: each gets its files, since idle connections make
room for newcomers and for files."""

import contextlib
import os
import resource
import unittest

import evtest
import lua_site
from origin import Origin

FDS = 64
VISITORS = 300


def few_fds():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FDS, FDS))


class FewFds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def serve(self, text, files):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        path = stack.enter_context(lua_site.script(text, files=files))
        return stack.enter_context(evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua",
                                                  cwd=os.path.dirname(path), preexec_fn=few_fds))

    def visit(self, server, target):
        """Each visitor asks for target(n) on a connection of its own, and keeps it."""
        statuses = []
        with contextlib.ExitStack() as stack:
            for n in range(VISITORS):
                client = stack.enter_context(lua_site.Client(server))
                statuses.append(client.ask("GET", target(n)).status)
        self.assertEqual([status for status in statuses if status != 200], [])

    def wait_for_line(self, server, text):
        evtest.wait_until(lambda: any(text in line for line in server.lines), text)

    def pages(self):
        return [(f"pages/p{n}.html", f"page {n}\n") for n in range(VISITORS)] + [("pages/large", "x" * 100_000)]

    def test_kept_connections_to_other_servers_make_room(self):
        with contextlib.ExitStack() as stack:
            others = [stack.enter_context(Origin()) for _ in range(FDS)]
            ports = ",".join(str(other.port) for other in others)
            server = self.serve(f"""
                app.get("/", function(req)
                    local count, why = 0, nil
                    for _, port in ipairs {{ {ports} }} do
                        local res, err = app.fetch("http://" .. req.query.host .. ":" .. port .. "/bytes?10")
                        count, why = count + (res and 1 or 0), why or err
                    end
                    return count .. " " .. tostring(why)
                end)
                app.get("/page", function() return "page" end)
            """, [])
            with lua_site.Client(server) as client:
                for host in ("127.0.0.1", "localhost"):
                    self.assertEqual(client.ask("GET", "/?host=" + host).text, f"{FDS} nil")
                self.visit(server, lambda n: "/page")

    def test_every_visitor_gets_a_page_of_its_own(self):
        server = self.serve('app.static("/", "pages")', self.pages())
        self.visit(server, lambda n: f"/p{n}.html")
        self.wait_for_line(server, f"out of file descriptors (RLIMIT_NOFILE is {FDS})")
        self.assertLess(len(server.lines), 10, "one for each visitor")

    def test_every_visitor_gets_a_large_file(self):
        self.visit(self.serve('app.static("/", "pages")', self.pages()), lambda n: "/large")

    def test_every_visitor_gets_a_listing(self):
        self.visit(self.serve('app.static("/", "pages", { list = true })', self.pages()), lambda n: "/")

    def test_every_visitor_gets_a_file_from_a_handler(self):
        site = 'app.get("/get/:name", function(req) return app.file(req.params.name, { root = "pages" }) end)'
        self.visit(self.serve(site, self.pages()), lambda n: f"/get/p{n}.html")

    def test_start_says_when_max_connections_cannot_be_reached(self):
        server = self.serve("app.set { max_connections = 1000 }", [])
        self.wait_for_line(
            server, "max_connections is 1000, but this process may have 64 file descriptors (RLIMIT_NOFILE): raise that")

    def test_start_says_when_the_limit_is_far_below_the_default(self):
        self.wait_for_line(self.serve("", []), "max_connections is 100000, but this process may have 64 file")


if __name__ == "__main__":
    unittest.main()
