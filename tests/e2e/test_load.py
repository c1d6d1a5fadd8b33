"""Ten thousand keep-alive connections at once, each with a few requests: nothing is dropped, every answer is right.

The clients are a second process, this file called with "clients": one loop over epoll. EVSERVE_LOAD sets another number
of connections.
"""

import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import unittest

import evtest

CONNECTIONS = int(os.environ.get("EVSERVE_LOAD", "10000"))
ROUNDS = 3
FILES = 10
SPARE_FDS = 200    # for everything that is no connection
CONNECTING = 1000  # connections that are being made at one time


def content(n):
    """What file n holds."""
    return f"file {n} ".encode() * (10 + n)


class Clients:
    """All connections, each on one request at a time."""

    def __init__(self, address, count):
        self.address = address
        self.poll = select.epoll()
        self.socks = {}    # by fd
        self.numbers = {}  # fd to number of the connection
        self.got = {}      # fd to what has arrived of the answer
        self.count = count

    def connect(self):
        """Make all connections and send the first request on each."""
        made = 0
        waiting = 0
        while made < self.count or waiting > 0:
            while made < self.count and waiting < CONNECTING:
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(self.address)
                fd = sock.fileno()
                self.socks[fd] = sock
                self.numbers[fd] = made
                self.poll.register(fd, select.EPOLLOUT)
                made += 1
                waiting += 1
            for fd, _ in self.wait():
                error = self.socks[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error != 0:
                    raise AssertionError(f"connect: {os.strerror(error)}")
                self.poll.modify(fd, select.EPOLLIN)
                waiting -= 1

    def wait(self):
        ready = self.poll.poll(evtest.LIMIT, 1000)
        if not ready:
            raise AssertionError(f"nothing happens; {len(self.got)} answers are missing")
        return ready

    def ask_all(self, round_number):
        """One request on each connection; all answers must be there and right."""
        wanted = {}
        for fd, sock in self.socks.items():
            n = (self.numbers[fd] + round_number) % FILES
            sock.sendall(b"GET /%d.txt HTTP/1.1\r\nHost: load\r\n\r\n" % n)
            wanted[fd] = content(n)
            self.got[fd] = b""
        while self.got:
            for fd, _ in self.wait():
                part = self.socks[fd].recv(1 << 16)
                if not part:
                    raise AssertionError(f"connection {self.numbers[fd]} was dropped in round {round_number}")
                self.got[fd] += part
                head, end, body = self.got[fd].partition(b"\r\n\r\n")
                if not end or len(body) < len(wanted[fd]):
                    continue
                if not head.startswith(b"HTTP/1.1 200 OK\r\n") or body != wanted[fd]:
                    raise AssertionError(f"connection {self.numbers[fd]} got {self.got[fd]!r}")
                del self.got[fd]

    def close(self):
        for sock in self.socks.values():
            sock.close()


def main(host, port, count):
    """The second process: says what it has done, and waits for a line before it goes on."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = Clients((host, int(port)), int(count))
    clients.connect()
    for round_number in range(ROUNDS):
        clients.ask_all(round_number)
    print("answered", flush=True)
    sys.stdin.readline()
    clients.ask_all(ROUNDS)  # after a while of idleness
    clients.close()
    print("closed", flush=True)
    sys.stdin.readline()


class Load(unittest.TestCase):
    def test_all_connections_get_all_answers(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < CONNECTIONS + SPARE_FDS:
            self.skipTest(f"{CONNECTIONS} connections need {CONNECTIONS + SPARE_FDS} file descriptors in a process, "
                          f"and the hard limit (ulimit -Hn) is {hard}")
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            for n in range(FILES):
                with open(os.path.join(folder, f"{n}.txt"), "wb") as file:
                    file.write(content(n))
            server = evtest.Program(evtest.binary("EVSERVE_BIN"), "--listen", "127.0.0.1:0", "--root", folder)
            self.addCleanup(server.kill)
            fds, memory = server.fd_count(), server.memory_kib()
            clients = subprocess.Popen([sys.executable, __file__, "clients", *map(str, server.address),
                                        str(CONNECTIONS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            try:
                said = clients.stdout.readline()
                self.assertEqual(said, "answered\n", clients.stderr.read() if said == "" else "")
                self.assertGreaterEqual(server.fd_count(), fds + CONNECTIONS, "they are all there at once")
                print(f"{CONNECTIONS} connections, {server.memory_kib() - memory} KiB more", file=sys.stderr)
                clients.stdin.write("go on\n")
                clients.stdin.flush()
                said = clients.stdout.readline()
                self.assertEqual(said, "closed\n", clients.stderr.read() if said == "" else "")
            finally:
                clients.kill()
                clients.communicate()
            evtest.wait_until(lambda: server.fd_count() <= fds + FILES, "the server's fds are closed")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.lines[1:], [], "nothing to complain about")


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        main(*sys.argv[2:])
    else:
        unittest.main()
