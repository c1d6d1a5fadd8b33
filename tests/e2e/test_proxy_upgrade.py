"""Connections that go over to another protocol through app.proxy: WebSockets, and one that echoes."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

import certificates
import evtest
import lua_site
import side_by_side
import ws_client
from lua_site import Client
from origin import Origin, raw
from test_proxy import ProxyCase

sys.path.insert(0, os.path.join(lua_site.ROOT, "tests"))
import ws_peers  # pylint: disable=wrong-import-position

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-Room: blue\r\n\r\n"
ASK = b"GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"
LARGE = 3 << 20


def echo(connection, request):
    """Sends back what comes, in capitals, until the client's end; then says goodbye."""
    connection.send(SWITCH + "early ")
    while (piece := connection.file.read1(65536)):
        connection.send(piece.upper())
    connection.send("bye")
    return True


def talk_first(connection, request):
    """Sends, ends its side, and then reads on."""
    connection.send(SWITCH + "all I have")
    connection.sock.shutdown(socket.SHUT_WR)
    connection.origin.heard = connection.file.read()
    return True


class Upgrades(ProxyCase):
    HANDLERS = {"/echo": echo, "/first": talk_first}

    @contextlib.contextmanager
    def opened(self, target, more=b""):
        """A socket behind the 101."""
        with self.server.connect() as sock:
            sock.sendall(ASK % target + more)
            head = b""
            while not head.endswith(b"\r\n\r\n") and (piece := sock.recv(1)):
                head += piece
            self.assertTrue(head.startswith(b"HTTP/1.1 101 "), (head, self.server.lines))
            self.assertIn(b"Upgrade: echo\r\n", head)
            self.assertIn(b"X-Room: blue\r\n", head)
            yield sock

    def test_bytes_go_both_ways_and_so_do_ends(self):
        with self.opened(b"/echo", b"first ") as sock:
            self.assertEqual(evtest.receive(sock, 12), b"early FIRST ")
            for _ in range(100):
                sock.sendall(b"word")
                self.assertEqual(evtest.receive(sock, 4), b"WORD")
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(evtest.receive_all(sock), b"bye")

    def test_the_upstream_may_end_first(self):
        with self.opened(b"/first") as sock:
            self.assertEqual(evtest.receive_all(sock), b"all I have")
            sock.sendall(b"and I have more")
            sock.shutdown(socket.SHUT_WR)
            evtest.wait_until(lambda: getattr(self.origin, "heard", None) == b"and I have more", "the rest")

    def test_much_goes_both_ways_at_once(self):
        data = evtest.pattern(LARGE).replace(b"a", b"b").upper()
        with self.opened(b"/echo") as sock:
            with evtest.sending(sock, data, end=True):
                self.assertEqual(evtest.receive_all(sock), b"early " + data + b"bye")

    def test_a_client_that_is_lost_ends_the_upstreams_connection(self):
        with self.opened(b"/echo") as sock:
            evtest.receive(sock, 6)
            connection = self.origin.connections[-1]
            evtest.reset(sock)
        evtest.wait_until(lambda: connection.sock.fileno() < 0, "the end")

    def test_what_an_upstream_refuses_is_refused(self):
        self.origin.handlers["/no"] = lambda c, r: c.respond(426, "not here", [("Upgrade", "other")])
        with Client(self.server) as client:
            for _ in range(2):  # and the connection stays one of HTTP
                answer = client.ask("GET", "/no", [("Upgrade", "echo"), ("Connection", "Upgrade")])
                self.assertEqual((answer.status, answer.text), (426, "not here"))

    def test_switches_that_were_not_asked_for_are_502(self):
        for text in (SWITCH, SWITCH.replace("echo", "other"), SWITCH.replace("Upgrade: echo\r\n", ""),
                     SWITCH.replace("Upgrade: echo\r\n", "Upgrade: other\r\nUpgrade: other\r\n")):
            for headers in ([], [("Upgrade", "else"), ("Connection", "Upgrade")]):
                self.origin.handlers["/switch"] = raw(text + "GET / HTTP/1.1\r\n")
                self.assertEqual(self.ask("/switch", headers=headers).status, 502, (text, headers))

    def test_some_upgrades_go_no_further(self):
        """HTTP/2 would go past all that is decided here, and with a body nobody knows where it begins."""
        upgrade = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "x")]
        echo_too = [("Upgrade", "echo"), ("Connection", "Upgrade")]
        self.origin.handlers["/see"] = Origin.echo
        for method, headers, body, version in (
                ("GET", upgrade, None, "1.1"), ("GET", [("Upgrade", "HTTP/2.0"), ("Connection", "Upgrade")], None, "1.1"),
                ("GET", [("Upgrade", "TLS/1.0"), ("Connection", "Upgrade")], None, "1.1"), ("POST", echo_too, b"x", "1.1"),
                ("GET", [("Upgrade", "echo")], None, "1.1"), ("GET", echo_too, None, "1.0"),
                ("GET", [("Upgrade", "echo, h2c"), ("Connection", "Upgrade")], None, "1.1")):
            with self.subTest(headers, method=method, version=version):
                seen = self.ask("/see", method, headers, body, version).json["headers"]
                for name in ("upgrade", "connection", "http2-settings"):
                    self.assertNotIn(name, seen)

    def test_a_stop_waits_for_a_tunnel_until_it_is_quiet(self):
        with lua_site.script(self.SITE) as path, evtest.Program(
                lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                env={**os.environ, "UPSTREAM": self.origin.url}) as server, server.connect() as sock:
            sock.sendall(ASK % b"/echo")
            head = b""
            while not head.endswith(b"early ") and (piece := sock.recv(1000)):
                head += piece
            server.process.terminate()
            for _ in range(3):
                sock.sendall(b"still here")
                self.assertEqual(evtest.receive(sock, 10), b"STILL HERE")
            self.assertEqual(evtest.receive_all(sock), b"")

    def test_a_reload_leaves_a_tunnel_alone(self):
        with self.opened(b"/echo") as sock:
            before = sum("reloaded" in line for line in self.server.lines)
            self.server.process.send_signal(1)
            evtest.wait_until(lambda: sum("reloaded" in line for line in self.server.lines) > before, "the reload")
            sock.sendall(b"still here")
            self.assertEqual(evtest.receive(sock, 16), b"early STILL HERE")


class Tls(unittest.TestCase):
    """TLS on both sides: the end of one side ends the other, too."""

    def test_bytes_go_both_ways(self):
        certificates.require_tls(lua_site.EVSERVE)
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="ev"))
        authority = certificates.Authority(folder)
        cert, key = authority.sign("site", "127.0.0.1", "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        origin = self.enterContext(Origin({"/echo": echo}, context=context))
        site = f'app.proxy("/", "{origin.url}", {{ ca = "{authority.path("ca.pem")}" }})'
        path = self.enterContext(lua_site.script(site))
        server = self.enterContext(evtest.Program(
            lua_site.EVSERVE, "--listen", "127.0.0.1:0?tls", "--tls-cert", cert, "--tls-key", key, "site.lua",
            cwd=os.path.dirname(path)))
        data = evtest.pattern(LARGE).replace(b"a", b"b").upper()
        with server.connect() as plain, authority.client().wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(ASK % b"/echo" + b"first ")
            got = b""
            while not got.endswith(b"early FIRST ") and (piece := sock.recv(1000)):
                got += piece
            with evtest.sending(sock, data):
                self.assertEqual(evtest.receive(sock, LARGE), data)
        evtest.wait_until(lambda: origin.connections[-1].sock.fileno() < 0, "the end")
        self.assertEqual(server.lines[1:], [])


SILENT = 'app.proxy("/", os.getenv "UPSTREAM", { tunnel_timeout = "300ms" })'


class Silence(ProxyCase):
    SITE = SILENT
    HANDLERS = {"/echo": echo}

    def test_a_silent_tunnel_ends(self):
        with self.server.connect() as sock:
            sock.sendall(ASK % b"/echo")
            self.assertTrue(evtest.receive_all(sock).endswith(b"early "))


UPSTREAM = """
app.websocket("/ws", { compress = true, max_message = "4M" }, function(ws)
    for text, kind in ws:messages() do
        if text == "end" then ws:close(4000, "as you wish") return end
        if kind == "binary" then ws:send_binary(text) else ws:send(text) end
    end
end)
app.get("/", function() return "hello" end)
"""


class WebSockets(unittest.TestCase):
    """evserve in front of evserve."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        try:
            behind = cls.stack.enter_context(lua_site.script(UPSTREAM))
            cls.upstream = cls.stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(behind)))
            path = cls.stack.enter_context(lua_site.script('app.proxy("/", os.getenv "UPSTREAM")'))
            cls.server = cls.stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                               env={**os.environ, "UPSTREAM": "http://%s:%d" % cls.upstream.address}))
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_messages_and_closes(self):
        with ws_client.connect(self.server, "/ws", extensions="permessage-deflate") as ws:
            for message in ("hello", b"\x00\xff" * 100, "x" * 3000000, ""):
                ws.send(message)
                self.assertEqual(ws.receive(), message)
            self.assertEqual(ws.close(1000, "bye")[0], 1000)
        with ws_client.connect(self.server, "/ws") as ws:
            ws.send("end")
            with self.assertRaises(ws_client.Closed) as closed:
                ws.receive()
            self.assertEqual((closed.exception.code, closed.exception.reason), (4000, "as you wish"))

    def test_many_at_once(self):
        sockets = [self.enterContext(ws_client.connect(self.server, "/ws")) for _ in range(50)]
        for i, ws in enumerate(sockets):
            ws.send(f"message {i}")
        for i, ws in enumerate(sockets):
            self.assertEqual(ws.receive(), f"message {i}")
            ws.close()

    def test_clients_of_others_agree(self):
        site = os.path.join(lua_site.ROOT, "tests", "ws", "peers.lua")
        with evtest.Program(lua_site.EVSERVE, site, "--listen", "127.0.0.1:0") as behind, lua_site.script(
                'app.proxy("/", os.getenv "UPSTREAM")') as path, evtest.Program(
                lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                env={**os.environ, "UPSTREAM": "http://%s:%d" % behind.address}) as server:
            for name, command, scheme, missing in ws_peers.find_peers(short=True):
                with self.subTest(name):
                    if missing:
                        self.skipTest(f"{missing} is not installed")
                    done = subprocess.run(command + [f"{scheme}://{server.address[0]}:{server.address[1]}"],
                                          env=dict(ws_peers.NODE_ENV, WS_PEERS="short"), stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, timeout=evtest.LIMIT, check=False)
                    self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    side_by_side.main()
