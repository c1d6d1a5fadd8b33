"""Two servers, one Redis, HAProxy in front: see scripts/live_cluster.sh. Exit status 0 if nobody has missed anything, 1
otherwise, 77 if something is not installed.

Messages are "SERVER NUMBER", published to the topic "news", which has a replay, and to "chat", which has none, by posts to
each server. Every client notes what it gets. The messages of one server must come in order, and none twice. Events must be
complete, whatever happened to their connection; WebSockets must be complete for as long as their connection lasts. Messages
that the killed server had accepted just before do not count: it may have taken them with it."""

import asyncio
import contextlib
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position
import redis_server  # pylint: disable=wrong-import-position
from lua_site import script  # pylint: disable=wrong-import-position

EVSERVE = evtest.binary("EVSERVE_BIN")
CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000  # of each kind
INTERVAL_S = 0.25  # between two messages
PHASE_S = 3        # before the kill, while one server is gone, and after that
LIMIT_S = 60       # for everybody to be there
SITE = """
app.set {{ broker = "{url}", max_connections = 10000 }}
app.health "/health"
app.events("/news", {{ topic = "news", replay = 1000, retry = "200ms" }})
app.websocket("/chat", function(ws)
    ws:subscribe "chat"
    ws:send "in"
    for text in ws:messages() do end
end)
app.post("/publish", function(req)
    assert(app.publish("news", req.body))
    assert(app.publish("chat", req.body))
    return 204
end)
"""
HAPROXY = """
global
    maxconn {most}
defaults
    mode http
    timeout connect 2s
    timeout client 5m
    timeout server 5m
    timeout tunnel 5m
    retries 3
    option redispatch
    retry-on conn-failure empty-response
frontend front
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /health
    default-server check inter 200ms fall 2 rise 2
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


class Client:
    """One that comes back whenever its connection ends."""

    def __init__(self, port):
        self.port = port
        self.is_in = False
        self.got = []      # of all connections
        self.cuts = []     # where in got a connection began
        self.losses = 0    # connections that ended
        self.complaints = []

    async def run(self):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
                self.cuts.append(len(self.got))
                try:
                    await self.use(reader, writer)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, EOFError):
                pass
            self.losses += self.is_in
            self.is_in = False
            await asyncio.sleep(0.1 + 0.3 * random.random())


class EventSource(Client):
    last_id = None

    async def use(self, reader, writer):
        known = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        writer.write(f"GET /news HTTP/1.1\r\nHost: x\r\n{known}\r\n".encode())
        if b" 200 " not in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]:
            return
        self.is_in = True
        identity = None
        while line := await reader.readline():
            if line.startswith(b"id: "):
                identity = line[4:].strip().decode()
            elif line.startswith(b"data: "):
                self.got.append(line[6:].strip().decode())
                self.last_id = identity
            elif line.startswith(b"event: lost"):
                self.complaints.append("an event says that messages were lost")


class WebSocket(Client):
    async def use(self, reader, writer):
        writer.write(b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        if b" 101 " not in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]:
            return
        while True:
            head = await reader.readexactly(2)
            size = head[1] & 127
            if size == 126:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
            payload = await reader.readexactly(size)
            opcode = head[0] & 15
            if opcode == 9:
                writer.write(bytes([0x8a, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            elif opcode == 8:
                return
            elif payload == b"in":
                self.is_in = True
            else:
                self.got.append(payload.decode())


class Publisher:
    def __init__(self, name, port):
        self.name = name
        self.port = port
        self.is_on = True
        self.sent = []

    async def run(self):
        number = 0
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self.is_on:
                number += 1
                await self.publish(f"{self.name} {number}")

    async def publish(self, text):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"POST /publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}"
                     .encode())
        reply = await reader.read()
        writer.close()
        assert b" 204 " in reply, reply
        self.sent.append(text)


async def until(condition, what):
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT_S} s: {what}")
        await asyncio.sleep(0.05)


def check_order(got, whose):
    """The messages of each server in order, and none twice."""
    last = {}
    for text in got:
        name, number = text.split()
        if int(number) <= last.get(name, 0):
            return [f"{whose}: {text} after {name} {last[name]}"]
        last[name] = int(number)
    return []


def check(events, sockets, sent):
    complaints = []
    for client in events:
        complaints += client.complaints + check_order(client.got, "an EventSource")
        missing = set(sent) - set(client.got)
        if missing:
            complaints.append(f"an EventSource with {client.losses} losses has missed {sorted(missing)}")
    for client in sockets:
        complaints += check_order(client.got, "a WebSocket")
        for start, end in zip(client.cuts, client.cuts[1:] + [len(client.got)]):
            part = client.got[start:end]
            if not part:
                continue
            for name in {text.split()[0] for text in part}:
                numbers = [int(text.split()[1]) for text in part if text.split()[0] == name]
                if numbers != list(range(numbers[0], numbers[-1] + 1)):
                    complaints.append(f"a WebSocket has a gap: {name} {numbers}")
    return complaints


async def play(front, ports, servers, start_b):
    events = [EventSource(front) for _ in range(CLIENTS)]
    sockets = [WebSocket(front) for _ in range(CLIENTS)]
    clients = events + sockets
    a, b = Publisher("a", ports[0]), Publisher("b", ports[1])
    tasks = []
    begun = time.monotonic()
    for i, client in enumerate(clients):
        tasks.append(asyncio.create_task(client.run()))
        if i % 100 == 99:
            await asyncio.sleep(0.05)
    await until(lambda: all(client.is_in for client in clients), "everybody is in")
    print(f"{len(clients)} clients are in after {time.monotonic() - begun:.1f} s")
    tasks += [asyncio.create_task(a.run()), asyncio.create_task(b.run())]
    await asyncio.sleep(PHASE_S)

    b.is_on = False  # what it accepts in its last moment may be lost with it
    await asyncio.sleep(1)
    servers["b"].kill()
    killed = time.monotonic()
    await until(lambda: any(not client.is_in for client in clients), "somebody has noticed")
    await until(lambda: all(client.is_in for client in clients), "everybody is back")
    moved = sum(client.losses > 0 for client in clients)
    print(f"server b is killed: {moved} clients are back after {time.monotonic() - killed:.1f} s")
    await asyncio.sleep(PHASE_S)
    servers["b"] = start_b()
    await asyncio.sleep(1)
    b.is_on = True
    await asyncio.sleep(PHASE_S)
    a.is_on = b.is_on = False
    await asyncio.sleep(1)
    last = a.sent[-1], b.sent[-1]
    await until(lambda: all(set(last) <= set(client.got) for client in clients), "everybody has the last messages")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sent = a.sent + b.sent
    print(f"{len(sent)} messages to two topics each, {sum(len(client.got) for client in clients)} received")
    return check(events, sockets, sent)


@contextlib.contextmanager
def haproxy(folder, ports):
    port = redis_server.free_port()
    path = os.path.join(folder, "haproxy.cfg")
    with open(path, "w", encoding="ascii") as file:
        file.write(HAPROXY.format(port=port, a=ports[0], b=ports[1], most=2 * CLIENTS + 500))
    process = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        evtest.wait_until(lambda: process.poll() is not None or evtest.listens(("127.0.0.1", port)), "HAProxy")
        if process.poll() is not None:
            raise AssertionError("HAProxy does not start: is the limit of open files too low (ulimit -n)?")
        yield port
    finally:
        process.kill()
        process.wait()


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if not shutil.which("haproxy"):
        print("haproxy is not installed (scripts/setup.sh --proxies)")
        return 77
    ports = redis_server.free_port(), redis_server.free_port()
    with contextlib.ExitStack() as stack:
        try:
            redis = stack.enter_context(redis_server.running())
        except unittest.SkipTest as skip:
            print(skip)
            return 77
        path = stack.enter_context(script(SITE.format(url=f"unix:{redis.path}")))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))

        def start(port):
            server = evtest.Program(EVSERVE, "--listen", f"127.0.0.1:{port}", path)
            evtest.wait_until(lambda: re.search("broker .* connected", "\n".join(server.raw)), "the broker")
            return server

        servers = {"a": start(ports[0]), "b": start(ports[1])}
        stack.callback(lambda: [server.kill() for server in servers.values()])
        front = stack.enter_context(haproxy(folder, ports))
        complaints = asyncio.run(play(front, ports, servers, lambda: start(ports[1])))
        for name, server in servers.items():
            complaints += [f"server {name}: {line}" for line in server.lines[1:] if " error " in line]
            if server.stop() != 0:
                complaints.append(f"server {name} has not ended well")
    for complaint in complaints[:20]:
        print(complaint)
    print("nobody has missed anything" if not complaints else f"{len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
