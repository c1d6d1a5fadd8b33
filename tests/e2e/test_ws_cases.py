"""The cases of tests/ws against the real program: a route that sends back each message. Each case comes whole, in three
pieces and over TLS, and short ones byte by byte; what the server answers must be what the case says."""

import contextlib
import os
import pathlib
import random
import socket
import ssl
import sys
import unittest

import certificates
import evtest
import lua_site
import ws_client

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "ws"))
import ws_cases  # noqa: E402 (its folder comes first)

CASES = [case for case in ws_cases.all_cases() if case.max_message != 0]  # a route has at least 1
DEFAULT = 1 << 20


def route_of(case):
    return f"/{'deflate' if case.deflate else 'plain'}/{case.max_message or DEFAULT}"


def script():
    """One route for each limit, and for compression."""
    lines = ["""
    local function echo(ws)
        for message, kind in ws:messages() do
            if kind == "binary" then ws:send_binary(message) else ws:send(message) end
        end
    end"""]
    for route, case in sorted({route_of(case): case for case in CASES}.items()):
        compress = ", compress = true" if case.deflate else ""
        lines.append(f'app.websocket("{route}", {{ max_message = {case.max_message or DEFAULT}{compress} }}, echo)')
    return "\n".join(lines)


def pieces_whole(sent):
    return [sent]


def pieces_of_one_byte(sent):
    return [sent[at:at + 1] for at in range(len(sent))]


def pieces_at_random(sent):
    """Cut in three, in places that are the same in each run."""
    dice = random.Random(len(sent))
    cuts = sorted(dice.randrange(len(sent) + 1) for _ in range(2))
    return [sent[:cuts[0]], sent[cuts[0]:cuts[1]], sent[cuts[1]:]]


class Cases(unittest.TestCase):
    LISTEN = ["--listen", "127.0.0.1:0"]
    TLS = None  # a context for clients

    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        path = stack.enter_context(lua_site.script(script()))
        cls.server = stack.enter_context(
            evtest.Program(lua_site.EVSERVE, *cls.LISTEN, "site.lua", cwd=os.path.dirname(path)))
        with ws_client.connect(cls.server, f"/deflate/{DEFAULT}", extensions="permessage-deflate", tls=cls.TLS) as ws:
            cls.cases = [case for case in CASES if ws.deflate or not case.deflate]  # there may be no zlib

    def exchange(self, case, pieces):
        """Send the case. Returns (messages, pongs, close code or None): what came back."""
        expected = case.answers
        ends = bool(expected) and expected[-1][0] == "close"
        is_unfinished = case.expected and case.expected[-1][0] == "unfinished"
        extensions = "permessage-deflate" if case.deflate else None
        messages = []
        with ws_client.connect(self.server, route_of(case), extensions=extensions, tls=self.TLS) as ws:
            ws.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ws.has_sent_close = ends  # in the case, or after a failure: the server waits for no other one
            try:
                for piece in pieces:
                    ws.send_raw(piece)
                if is_unfinished:
                    wanted = [answer for answer in expected if answer[0] != "pong"]
                    while len(messages) < len(wanted):
                        messages.append(ws.receive())
                    return messages, ws.pongs, None
                if not ends:
                    ws.send_close(1000)
            except ConnectionError:
                pass  # the server has seen enough
            try:
                while True:
                    messages.append(ws.receive())
            except ws_client.Closed as end:
                return messages, ws.pongs, end.code

    def check(self, case, pieces):
        expected = case.answers
        messages, pongs, code = self.exchange(case, pieces)
        ends = bool(expected) and expected[-1][0] == "close"
        wanted = [payload.decode() if kind == "text" else payload for kind, payload in expected if kind in ("text", "binary")]
        if ends:  # a message that is followed by the end may get no answer any more
            self.assertEqual(messages, wanted[:len(messages)])
            self.assertEqual(code, 1005 if expected[-1][1] == 1005 else expected[-1][1])
        else:
            self.assertEqual(messages, wanted)
        wanted_pongs = [payload for kind, payload in expected if kind == "pong"]
        rest = iter(wanted_pongs)  # of several pings that come together, the last one is answered
        self.assertTrue(all(pong in rest for pong in pongs), (pongs, wanted_pongs))
        if wanted_pongs and not ends and code is not None:
            self.assertEqual(pongs[-1], wanted_pongs[-1])

    def check_all(self, cases, cut):
        for case in cases:
            with self.subTest(case=case.name):
                self.check(case, cut(case.sent))

    def test_each_case_whole(self):
        self.check_all(self.cases, pieces_whole)

    def test_each_case_in_three_pieces(self):
        self.check_all(self.cases, pieces_at_random)

    def test_short_cases_byte_by_byte(self):
        self.check_all([case for case in self.cases if len(case.sent) < 60], pieces_of_one_byte)


class CasesOverTls(Cases):
    LISTEN = ["--listen", "127.0.0.1:0?tls", "--tls-dev"]
    TLS = ssl.create_default_context()
    TLS.check_hostname = False
    TLS.verify_mode = ssl.CERT_NONE

    @classmethod
    def setUpClass(cls):
        certificates.require_tls(lua_site.EVSERVE)
        super().setUpClass()

    def test_each_case_in_three_pieces(self):
        self.check_all(self.cases[::4], pieces_at_random)  # handshakes take long

    test_each_case_whole = test_short_cases_byte_by_byte = None


if __name__ == "__main__":
    unittest.main()
