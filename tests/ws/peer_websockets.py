"""Python's websockets (Debian: python3-websockets) as a client: see scripts/ws_peers.sh. Argument: ws://host:port."""

import asyncio
import os
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

BASE = sys.argv[1]
IS_SHORT = os.environ.get("WS_PEERS") == "short"
TEXT = "{\"user\": \"jos\u00e9\", \"text\": \"hello \U0001f600\"}, "
SIZES = (0, 1, 125, 126, 255, 256, 65535, 65536, 1 << (17 if IS_SHORT else 20))
OFFERS = {
    "no compression": None,
    "deflate": [Deflate()],
    "deflate, client_max_window_bits": [Deflate(client_max_window_bits=True)],
    "deflate, neither keeps its context": [Deflate(server_no_context_takeover=True, client_no_context_takeover=True)],
    "deflate, the server keeps none": [Deflate(server_no_context_takeover=True)],
    "deflate, windows of 9 and 15": [Deflate(server_max_window_bits=9, client_max_window_bits=15)],
    "deflate, windows of 15 and 9": [Deflate(server_max_window_bits=15, client_max_window_bits=9)],
    "deflate, a window of 8, which is declined": [Deflate(server_max_window_bits=8)],
}


def text_of(size):
    return (TEXT * (size // len(TEXT) + 1))[:size]


async def expect(ws, message):
    await ws.send(message)
    if (got := await ws.recv()) != message:
        raise AssertionError(f"an echo of {len(message)} is one of {len(got)}")


async def check(target, name, offer):
    options = {"compression": None, "extensions": offer, "max_size": None, "subprotocols": ["v1.echo", "other"]}
    async with websockets.connect(BASE + target, **options) as ws:
        agreed = [extension.name for extension in ws.extensions]
        is_wanted = offer is not None and target == "/echo" and "declined" not in name
        assert (agreed == ["permessage-deflate"]) == is_wanted, f"agreed on {agreed}"
        assert ws.subprotocol == ("v1.echo" if target == "/echo" else None), ws.subprotocol
        for size in SIZES:
            await expect(ws, text_of(size))
            await expect(ws, text_of(size).encode())
        for number in range(20 if IS_SHORT else 200):
            await expect(ws, f"{number} {text_of(300)}")
        await ws.send(iter([text_of(1000)] * 5))  # a message in fragments
        assert await ws.recv() == text_of(1000) * 5
        for number in range(100):  # many on the way
            await ws.send(text_of(1000 + number))
        for number in range(100):
            assert await ws.recv() == text_of(1000 + number)
        await (await ws.ping(b"are you there"))
        await ws.close(4321, "enough")
        assert ws.close_code == 4321, ws.close_code


async def main():
    for target in ("/echo",) if IS_SHORT else ("/plain", "/echo"):
        for name, offer in OFFERS.items():
            await check(target, name, offer)
            print(f"ok {target} {name}")


asyncio.run(main())
