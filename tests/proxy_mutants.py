"""Requests that are nearly right, through app.proxy: see scripts/proxy_mutants.sh. Exit status 0 if each meant the same to
the upstream as to a handler, 1 if one did not."""

import contextlib
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position
import lua_site  # pylint: disable=wrong-import-position
import test_proxy_kit as kit  # pylint: disable=wrong-import-position

BATCH, CLIENTS = 200, 48
PATIENCE_S = 0.25  # most of them are cut, and get no response
SHOWN = 10         # differences
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"%2e%2e/", b"%2f", b"%00", b"..", b"/", b"//", b"?", b"#", b"*", b"%41",
    b"%", b"+", b'"', b"\x80", b"\xff", b"\x0b", b",", b";", b"0\r\n\r\n", b"http://x/", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n",
    b"Connection: close, x\r\n", b"Connection: upgrade\r\n", b"Connection: content-length, transfer-encoding, host\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"X: 1\r\n", b"X-Forwarded-For: 1.1.1.1\r\n", b"TE: trailers\r\n",
    b"Cookie: a=b\r\n", b"Cookie: c\r\n",
]


def mutate(chance, cases):
    """A case with one to three mistakes."""
    data = bytearray(chance.choice(cases))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, way = chance.randrange(len(data) + 1), chance.randrange(5)
        if way == 0:
            del data[at:at + chance.choice((1, 1, 2, 4))]
        elif way == 1:
            data[at:at] = chance.choice(PIECES)
        elif way == 2:
            lines = data.split(b"\r\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(PIECES).rstrip(b"\r\n"))
            data = bytearray(b"\r\n".join(lines))
        elif way == 3 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            data[at:at] = chance.choice(cases)[:chance.randrange(60)]
    return bytes(data)


def play(server, data, patience_s):
    """What each response says was seen; None if they cannot be read: the method may be HEAD, of which kit.play() does not
    know."""
    try:
        return [kit.meaning(response) for response in kit.play(server, data, max(1, data.count(b" HTTP/1.")), patience_s)]
    except (ValueError, IndexError, KeyError):
        return None


def without_named(views):
    """Without the fields that Connection of the request may have named: they end at the proxy."""
    def without(view):
        if not isinstance(view, dict):
            return view
        return {**view, "fields": {name: value for name, value in view["fields"].items() if name not in ("x", "cookie")}}
    return json.dumps(list(map(without, views)), sort_keys=True)


def main(seconds=60, seed=1):
    chance = random.Random(seed)
    cases = [data for _, data, _ in kit.read_cases() if 0 < len(data) < 3000]
    count = passed = different = 0
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(kit.Upstream())
        servers = []
        for text in (kit.SITE, kit.PROXY):
            path = stack.enter_context(lua_site.script(text))
            servers.append(stack.enter_context(
                evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                               env={**os.environ, "UPSTREAM": f"http://127.0.0.1:{upstream.port}"})))
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            batch = [mutate(chance, cases) for _ in range(BATCH)]
            direct, proxied = (list(pool.map(lambda data, to=server: play(to, data, PATIENCE_S), batch))
                               for server in servers)
            for data, ours, theirs in zip(batch, direct, proxied):
                count += 1
                if ours is None or theirs is None:
                    continue
                passed += sum(not isinstance(view, int) for view in theirs)
                if without_named(ours) != without_named(theirs):  # or this machine was busy
                    ours, theirs = (play(server, data, kit.LONG_PATIENCE_S) for server in servers)
                    if without_named(ours) != without_named(theirs):
                        different += 1
                        if different <= SHOWN:
                            print(f"{data!r}\n    directly {ours}\n    proxied  {theirs}")
        for line in upstream.unclear[:SHOWN]:
            print(f"unclear to the upstream: {line}")
        print(f"{count} requests that are nearly right, {passed} went through the proxy, {different} meant something else, "
              f"{len(upstream.unclear)} were unclear")
        return int(different > 0 or len(upstream.unclear) > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
