"""permessage-deflate (RFC 7692) on WebSockets of scripts: what is agreed on, messages both ways, limits, topics."""

import ctypes
import os
import select
import unittest
import zlib

import evtest
import ws_client
from lua_site import EVSERVE, SiteCase, script

OFFER = "permessage-deflate"
FORGETS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TEXT = "".join(f'{{"n":{n * n % 977}}},' for n in range(2000))
ECHO = """
local function echo(ws)
    for text, kind in ws:messages() do
        if kind == "binary" then ws:send_binary(text) else ws:send(text) end
    end
end
"""


def has_zlib():
    try:
        return ctypes.CDLL("libz.so.1") is not None
    except OSError:
        return False


def agreed(server, target, offer):
    """What the response says to an offer, or None."""
    with ws_client.connect(server, target, extensions=offer) as ws:
        return ws.response.get("sec-websocket-extensions")


@unittest.skipUnless(has_zlib(), "zlib is not installed (Debian: zlib1g)")
class Deflate(SiteCase):
    SCRIPT = ECHO + """
    app.websocket("/echo", { compress = true, max_message = "1M" }, echo)
    app.websocket("/all", { compress = true, compress_min = 1 }, echo)
    app.websocket("/plain", echo)
    app.websocket("/chat", { compress = true }, function(ws)
        ws:subscribe "chat"
        ws:send "hello"
        for text in ws:messages() do app.publish("chat", text) end
    end)
    """

    def test_only_routes_that_ask_for_it_agree(self):
        self.assertEqual(agreed(self.server, "/echo", OFFER), OFFER)
        self.assertEqual(agreed(self.server, "/echo", OFFER + "; client_max_window_bits"),
                         OFFER + "; client_max_window_bits=12")
        self.assertEqual(agreed(self.server, "/echo", FORGETS), FORGETS)
        self.assertIsNone(agreed(self.server, "/echo", "x-other"))
        self.assertIsNone(agreed(self.server, "/echo", OFFER + "; unknown"))
        self.assertIsNone(agreed(self.server, "/plain", OFFER))
        refused = ws_client.refusal(self.server, "/echo", headers=[("Sec-WebSocket-Extensions", "a b")])
        self.assertEqual(refused.status, 400)
        self.assertIn("Sec-WebSocket-Extensions", refused.text)

    def test_messages_go_compressed_both_ways(self):
        for offer in (OFFER, OFFER + "; client_max_window_bits=9; server_max_window_bits=9", FORGETS,
                      OFFER + "; client_max_window_bits"):
            with ws_client.connect(self.server, "/echo", extensions=offer) as ws:
                sizes = []
                for _ in range(3):
                    ws.send(TEXT[:3000], compress=True)
                    frame = ws.receive_frame()
                    self.assertEqual((frame.fin, frame.rsv, frame.opcode), (True, 4, ws_client.TEXT))
                    self.assertEqual(ws.deflate.inflate(frame.payload).decode(), TEXT[:3000])
                    sizes.append(len(frame.payload))
                self.assertLess(max(sizes), 1500)
                if "server_no_context_takeover" not in offer and "=9" not in offer:
                    self.assertLess(sizes[1], 100)  # it refers to the one before
                else:
                    self.assertGreater(sizes[2], 300)
                ws.send(TEXT, compress=True, pieces=7)
                self.assertEqual(ws.receive(), TEXT)
                ws.send(TEXT.encode(), compress=True)
                self.assertEqual(ws.receive(), TEXT.encode())
                ws.send(TEXT)  # not compressed: that is up to the client
                self.assertEqual(ws.receive(), TEXT)
                self.assertEqual(ws.close(), (1000, ""))

    def test_short_messages_and_noise_go_as_they_are(self):
        noise = os.urandom(5000)
        for target, shortest in (("/echo", 256), ("/all", 1)):
            with ws_client.connect(self.server, target, extensions=OFFER) as ws:
                for size in (0, 255, 256):
                    ws.send("x" * size, compress=size > 0)
                    frame = ws.receive_frame()
                    self.assertEqual(frame.rsv, 4 if size >= shortest else 0, size)
                    text = ws.deflate.inflate(frame.payload) if frame.rsv else frame.payload
                    self.assertEqual(text, b"x" * size)
                for message in (noise, noise[:1000] + TEXT.encode()):
                    ws.send(message)
                    self.assertEqual(ws.receive(), message)

    def test_a_ping_between_compressed_fragments(self):
        with ws_client.connect(self.server, "/echo", extensions=OFFER) as ws:
            data = ws.deflate.deflate(TEXT.encode())
            ws.send_frame(ws_client.TEXT, data[:100], fin=False, rsv=4)
            ws.ping(b"now")
            ws.send_frame(ws_client.CONTINUATION, b"", fin=False)
            ws.send_frame(ws_client.CONTINUATION, data[100:], fin=True)
            self.assertEqual(ws.receive_pong(), b"now")
            self.assertEqual(ws.receive(), TEXT)

    def test_what_is_malformed_closes_with_a_code(self):
        packed = zlib.compressobj(6, zlib.DEFLATED, -15)
        hello = packed.compress(b"hello") + packed.flush(zlib.Z_SYNC_FLUSH)
        cases = [
            (1002, [(ws_client.CONTINUATION, hello[:-4], True, 4)]),             # RSV1 on a frame that begins nothing
            (1002, [(ws_client.TEXT, hello[:3], False, 4), (ws_client.CONTINUATION, hello[3:-4], True, 4)]),
            (1002, [(ws_client.PING, b"", True, 4)]),
            (1002, [(ws_client.TEXT, hello[:-4], True, 6)]),
            (1007, [(ws_client.TEXT, b"\x06", True, 4)]),                       # no such kind of block
            (1007, [(ws_client.TEXT, hello[:4], True, 4)]),                     # half a block
            (1007, [(ws_client.TEXT, b"\x00\x01\x00\xfe\xff\xff\x00", True, 4)]),  # the byte ff, stored
        ]
        for code, frames in cases:
            with ws_client.connect(self.server, "/echo", extensions=OFFER) as ws:
                for opcode, payload, fin, rsv in frames:
                    ws.send_frame(opcode, payload, fin=fin, rsv=rsv)
                self.assertEqual(ws.wait_closed()[0], code, frames)
        with ws_client.connect(self.server, "/plain", extensions=OFFER) as ws:
            ws.send_frame(ws_client.TEXT, hello[:-4], rsv=4)
            self.assertEqual(ws.wait_closed()[0], 1002)

    def test_a_bomb_ends_at_max_message(self):
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = packed.compress(bytes(20 << 20)) + packed.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(bomb), 32768)
        with ws_client.connect(self.server, "/echo", extensions=OFFER) as ws, \
                ws_client.connect(self.server, "/echo", extensions=OFFER) as other:
            ws.send("x" * (1 << 20), compress=True)  # as long as it may be
            self.assertEqual(len(ws.receive()), 1 << 20)
            ws.send_frame(ws_client.BINARY, bomb[:-4], rsv=4)
            self.assertEqual(ws.wait_closed()[0], 1009)
            other.send(TEXT, compress=True)
            self.assertEqual(other.receive(), TEXT)

    def test_a_publication_is_compressed_once_and_fits_between_messages(self):
        sockets = [ws_client.connect(self.server, "/chat", extensions=offer) for offer in (OFFER, FORGETS, None)]
        for ws in sockets:
            self.assertEqual(ws.receive(), "hello")
        for number in range(3):
            sockets[number].send(TEXT[number:])
            frames = [ws.receive_frame() for ws in sockets]
            self.assertEqual([frame.rsv for frame in frames], [4, 4, 0])
            self.assertEqual(frames[0].payload, frames[1].payload)
            for ws, frame in zip(sockets, frames):
                text = ws.deflate.inflate(frame.payload) if frame.rsv else frame.payload
                self.assertEqual(text.decode(), TEXT[number:])
        for ws in sockets:
            ws.drop()


@unittest.skipUnless(has_zlib(), "zlib is not installed (Debian: zlib1g)")
class Memory(unittest.TestCase):
    def test_contexts_are_kept_while_there_is_memory_for_them(self):
        site = ECHO + """
        app.set { ws_deflate_memory = "150K" }
        app.websocket("/echo", { compress = true }, echo)
        """
        with script(site) as path, evtest.Program(EVSERVE, path, "--listen", "127.0.0.1:0") as server:
            sockets = [ws_client.connect(server, "/echo", extensions=OFFER) for _ in range(4)]
            said = [ws.response["sec-websocket-extensions"] for ws in sockets]
            self.assertEqual(said, [OFFER, FORGETS, FORGETS, FORGETS])
            for ws in sockets:
                ws.send(TEXT, compress=True)
                self.assertEqual(ws.receive(), TEXT)
            sockets[0].close()
            evtest.wait_until(lambda: agreed(server, "/echo", OFFER) == OFFER, "the memory of the first one")
            for ws in sockets:
                ws.drop()

    def test_a_few_bytes_do_not_occupy_any_amount_of_memory_while_nobody_reads(self):
        site = """
        app.websocket("/busy", { compress = true }, function(ws) app.subscribe "never":receive() end)
        """
        bomb = "a" * (1 << 20)
        with script(site) as path, evtest.Program(EVSERVE, path, "--listen", "127.0.0.1:0") as server:
            sockets = [ws_client.connect(server, "/busy", extensions=FORGETS) for _ in range(80)]
            for ws in sockets:
                ws.send(bomb, compress=True)

            def told():
                ready = select.select([ws.stream.sock for ws in sockets], [], [], 0)[0]
                return [ws for ws in sockets if ws.stream.sock in ready]
            evtest.wait_until(lambda: len(told()) == 11, "the end of those beyond 64 MiB")
            for ws in told():
                with self.assertRaises(ws_client.Closed) as closed:
                    ws.receive()
                self.assertEqual(closed.exception.code, 1013)
            self.assertTrue(any("would have to wait" in line for line in server.lines))
            for ws in sockets:
                ws.drop()


if __name__ == "__main__":
    unittest.main()
