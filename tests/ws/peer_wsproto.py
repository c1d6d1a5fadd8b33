"""Python's wsproto (Debian: python3-wsproto) as a client: see scripts/ws_peers.sh. Argument: ws://host:port."""

import os
import socket
import sys

import wsproto
from wsproto import events
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

HOST, PORT = sys.argv[1].removeprefix("ws://").rsplit(":", 1)
IS_SHORT = os.environ.get("WS_PEERS") == "short"
TEXT = "the quick brown fox \u20ac "


class Client:
    def __init__(self, target, extensions):
        self.sock = socket.create_connection((HOST, int(PORT)), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.send(events.Request(host=HOST, target=target, extensions=extensions, subprotocols=["v2.echo"]))
        self.queue = []
        accepted = self.next()
        assert isinstance(accepted, events.AcceptConnection), accepted
        self.extensions = accepted.extensions

    def send(self, event):
        self.sock.sendall(self.ws.send(event))

    def next(self):
        while not self.queue:
            data = self.sock.recv(65536)
            self.ws.receive_data(data or None)
            self.queue.extend(self.ws.events())
        return self.queue.pop(0)

    def receive(self):
        parts = []
        while True:
            event = self.next()
            assert isinstance(event, events.Message), event
            parts.append(event.data)
            if event.message_finished:
                return type(event.data)().join(parts)


def check(target, extensions):
    client = Client(target, extensions)
    assert bool(client.extensions) == (bool(extensions) and target == "/echo"), client.extensions
    for size in (0, 1, 125, 126, 65535, 65536, 1 << (17 if IS_SHORT else 20)):
        text = (TEXT * (size // len(TEXT) + 1))[:size]
        client.send(events.TextMessage(data=text))
        assert client.receive() == text
        client.send(events.BytesMessage(data=text.encode()))
        assert client.receive() == text.encode()
    for number in range(10 if IS_SHORT else 100):  # three fragments, with a ping between them
        client.send(events.TextMessage(data=f"{number} ", message_finished=False))
        client.send(events.Ping(payload=b"%d" % number))
        client.send(events.TextMessage(data=TEXT * 20, message_finished=False))
        client.send(events.TextMessage(data="", message_finished=True))
        pong = client.next()
        assert isinstance(pong, events.Pong) and pong.payload == b"%d" % number, pong
        assert client.receive() == f"{number} {TEXT * 20}"
    client.send(events.CloseConnection(code=CloseReason.GOING_AWAY, reason="bye"))
    closed = client.next()
    assert isinstance(closed, events.CloseConnection) and closed.code == 1001, closed
    assert client.sock.recv(1) == b""


for path in ("/echo",) if IS_SHORT else ("/plain", "/echo"):
    for label, offers in (("no compression", []), ("deflate", [PerMessageDeflate()]),
                          ("deflate, neither keeps its context", [PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)]),
                          ("deflate, windows of 10 and 9",
                           [PerMessageDeflate(client_max_window_bits=9, server_max_window_bits=10)])):
        check(path, offers)
        print(f"ok {path} {label}")
