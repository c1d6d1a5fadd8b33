"""The reply cases (tests/replies) as responses of an upstream behind app.proxy: the client gets what they mean, or 502, or a
response that is cut; and what comes next on both connections is not mixed up with them."""

import contextlib
import glob
import os
import unittest

import evtest
import lua_site
from lua_site import Client
from origin import Origin
from test_proxy_kit import unescape


class Case:
    """One of them. bad: whether the response is refused, or cut; body and part: its content, if the case says so."""

    def __init__(self, name):
        self.name, self.data = name, b""
        self.method, self.status, self.body, self.part = "GET", None, None, None
        self.bad = self.ends = self.skipped = False

    def add(self, kind, rest):
        if kind == b"<":
            self.data += rest + b"\r\n"
        elif kind == b"<|":
            self.data += unescape(rest)
        elif kind == b"<*":
            count, _, text = rest.partition(b" ")
            self.data += unescape(text) * int(count)
        elif kind == b"$":
            self.ends = True
        elif kind == b"to":
            self.method = rest.decode()
        elif kind == b"status":
            self.status = int(rest)
            self.bad = self.bad or self.status > 599  # HTTP knows none of these
        elif kind in (b"body", b"part"):
            setattr(self, kind.decode(), unescape(rest))
        elif kind in (b"malformed", b"too-large", b"cut"):
            self.bad = self.ends = True
        elif kind == b"more":
            self.skipped = True  # it never ends
        elif kind == b"max_head":
            self.skipped = True  # the proxy has its own

    def respond(self, connection, request):
        request.read()
        connection.send(self.data)
        return self.ends


def read_cases():
    cases = []
    for path in sorted(glob.glob(os.path.join(lua_site.ROOT, "tests", "replies", "*.reply"))):
        with open(path, "rb") as file:
            for line in file.read().split(b"\n"):
                kind, _, rest = line.partition(b" ")
                if kind == b"case":
                    cases.append(Case(os.path.basename(path) + ": " + rest.split(b" ")[0].decode()))
                elif cases and kind and not kind.startswith(b"#"):
                    cases[-1].add(kind, rest)
    return [case for case in cases if not case.skipped and case.status != 101 and case.method in ("GET", "HEAD")]


class ProxyReplies(unittest.TestCase):
    def check(self, client, case, target):
        """Returns whether the connection goes on."""
        try:
            client.send(case.method, target)
            while (answer := client.read(case.method)).status < 200:
                pass
        except EOFError:
            self.assertTrue(case.bad)
            return False
        if case.bad:
            self.assertTrue(answer.status == 502 or not answer.whole, (answer.status, answer.body[:100]))
            return answer.whole
        self.assertEqual((answer.status, answer.whole), (case.status or answer.status, True))
        self.assertNotEqual(answer.status, 502)
        if case.body is not None and case.method != "HEAD":
            self.assertEqual(answer.body, case.body)
        if case.part is not None:
            self.assertTrue(answer.body.startswith(case.part))
        return answer.headers.get("connection") != "close"

    def test_clients_get_what_they_mean(self):
        cases = read_cases()
        self.assertGreater(len(cases), 60)
        handlers = {f"/{i}": case.respond for i, case in enumerate(cases)}
        with Origin(handlers) as origin, lua_site.script('app.proxy("/", os.getenv "UPSTREAM")') as path:
            with evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                env={**os.environ, "UPSTREAM": origin.url}) as server:
                for i, case in enumerate(cases):
                    with self.subTest(case.name), Client(server) as client:
                        goes_on = self.check(client, case, f"/{i}")
                        with contextlib.ExitStack() as stack:
                            if not goes_on:
                                client = stack.enter_context(Client(server))
                            self.assertEqual(client.ask("GET", "/text").text, "hello\n")


if __name__ == "__main__":
    unittest.main()
