"""Registering from Lua: options of routes, groups, names, trailing slashes; run by the real program."""

import unittest

import evtest
from lua_site import EVSERVE, SiteCase, script


class RouteLimits(SiteCase):
    SCRIPT = r"""
    app.put("/large", { max_body = "1K" }, function(req) return #req.body .. "" end)
    app.put("/small", { max_body = 3 }, function(req) return #req.body .. "" end)
    app.put("/usual", function(req) return #req.body .. "" end)
    app.set { max_body = 100 } -- after the routes: those without a limit of their own have it all the same
    """

    def status(self, target, length):
        return self.ask(target, "PUT", body=b"x" * length).status

    def test_limit_of_a_route_is_its_own(self):
        self.assertEqual([self.status("/large", n) for n in (101, 1024, 1025)], [200, 200, 413])
        self.assertEqual([self.status("/small", n) for n in (3, 4)], [200, 413])
        self.assertEqual([self.status("/usual", n) for n in (100, 101)], [200, 413])


class Mistakes(unittest.TestCase):
    """What is wrong with a script is one line on standard error, with file and line, and exit status 1."""

    # Each script runs behind a line of its own, so its first line is line 2.
    CASES = (
        ('app.put("/x", { max_bodi = "1M" }, print)',
         'SITE:2: app.put: unknown option "max_bodi" (did you mean "max_body"?)'),
        ('app.put("/x", { max_body = "1X" }, print)',
         'SITE:2: app.put: max_body: "1X" is not a whole number of bytes or with K, M or G, such as "64K"'),
        ('app.put("/x", { body_timeout = 0 }, print)',
         'SITE:2: app.put: body_timeout: 0 is out of range (1 to 86400000 ms)'),
        ('app.route("PUT", "/x", { write_cap = {} }, print)',
         'SITE:2: app.route: write_cap: a number or a text such as "64K" expected, not table'),
        ('app.get("/x", { max_connections = 5 }, print)',
         'SITE:2: app.get: max_connections is one for the whole server: set it with app.set'),
        ('app.get("/x", { idle_timeout = "5s" }, print)',
         'SITE:2: app.get: idle_timeout is one for the whole server: set it with app.set'),
        ('app.get("/x", { 5 }, print)', 'SITE:2: app.get: unknown option 1'),
        ('\napp.get("/x", { write_high_mark = "512K" }, print)',
         'SITE:3: limits of the route: write_high_mark (524288 bytes) is above write_cap (262144 bytes)'),
        ('app.get("/x", { write_cap = "64K" }, print)\napp.set { write_high_mark = "128K" }',
         'SITE:2: limits of the route: write_high_mark (131072 bytes) is above write_cap (65536 bytes)'),
    )

    def test_each_is_one_line_that_names_the_place(self):
        for text, expected in self.CASES:
            with self.subTest(text), script(text) as path:
                for arguments in (["--check"], ["--listen", "127.0.0.1:0"]):
                    done = evtest.run(EVSERVE, *arguments, path)
                    self.assertEqual(done.stderr, expected.replace("SITE", path) + "\n")
                    self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
