"""Chromium with a chat page in two tabs: see scripts/ws_peers.sh. Arguments: the program, http://host:port. Steered over
its remote debugging, which is a WebSocket, too (python3-websockets)."""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile

import websockets

PROGRAM, PAGE = sys.argv[1], sys.argv[2]


class Browser:
    def __init__(self, ws):
        self.ws, self.numbers = ws, itertools.count(1)

    async def call(self, method, session=None, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        await self.ws.send(json.dumps(message))
        while True:
            answer = json.loads(await self.ws.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    async def open_tab(self):
        target = await self.call("Target.createTarget", url=PAGE)
        return (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]

    async def evaluate(self, tab, expression):
        result = await self.call("Runtime.evaluate", tab, expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def wait_for(self, tab, expression, value):
        for _ in range(600):
            if (got := await self.evaluate(tab, expression)) == value:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression} is {got!r}, not {value!r}")


async def drive(address):
    async with websockets.connect(address, max_size=None, ping_interval=None) as ws:
        browser = Browser(ws)
        one, other = await browser.open_tab(), await browser.open_tab()
        for tab in (one, other):
            await browser.wait_for(tab, "state", "open")
        assert await browser.evaluate(one, "socket.extensions.split(';')[0]") == "permessage-deflate"
        print("ok two tabs, permessage-deflate")
        long = "hello \u20ac " * 2000
        await browser.evaluate(one, "socket.send('from one \u20ac')")
        await browser.wait_for(other, "seen.join('|')", "from one \u20ac")
        await browser.evaluate(other, f"socket.send({json.dumps(long)})")
        for tab in (one, other):
            await browser.wait_for(tab, "seen.join('|')", "from one \u20ac|" + long)
        await browser.evaluate(one, "for (var i = 0; i < 500; i++) socket.send(i + ' ' + 'x'.repeat(i))")
        for tab in (one, other):
            await browser.wait_for(tab, "seen.length", 502)
            assert await browser.evaluate(tab, "seen.slice(2).every((text, i) => text == i + ' ' + 'x'.repeat(i))")
        print("ok a chat in two tabs, in order")
        await browser.evaluate(one, "socket.close(4001, 'done')")
        await browser.wait_for(one, "state", "closed 4001 true")
        print("ok a clean close")
        with contextlib.suppress(websockets.ConnectionClosed):
            await browser.call("Browser.close")


def main():
    with tempfile.TemporaryDirectory(prefix="ev", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, HOME=folder))
        try:
            for line in process.stderr:
                if line.startswith("DevTools listening on "):
                    asyncio.run(asyncio.wait_for(drive(line.split()[-1]), 120))
                    return
            raise AssertionError("Chromium did not start")
        finally:
            process.terminate()
            process.wait(30)


main()
