"""A client that vanishes without a word: TCP's keep-alive notices, though the server expects nothing of it. The client's
kernel forgets the connection (TCP_REPAIR, which needs CAP_NET_ADMIN), as if its power had gone and come back."""

import socket
import unittest

import evtest
import lua_site

TCP_REPAIR = 19


def vanish(sock):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError as error:
        raise unittest.SkipTest("needs CAP_NET_ADMIN") from error
    sock.close()


class Keepalive(lua_site.SiteCase):
    SCRIPT = r"""
    app.set { tcp_keepalive = "1s" }
    app.get("/sleep", function() app.sleep("1h") return "late" end)
    app.get("/connections", function() return tostring(app.stats().connections) end)
    """

    def connections(self):
        return int(self.ask("/connections").body)

    def test_a_client_that_vanished_while_a_handler_sleeps_is_noticed(self):
        before = self.connections()
        with self.server.connect() as sock:
            sock.sendall(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
            evtest.wait_until(lambda: self.connections() > before, "the request is there")
            vanish(sock)
        evtest.wait_until(lambda: self.connections() <= before, "the connection has gone")


if __name__ == "__main__":
    unittest.main()
