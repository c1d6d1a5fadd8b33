"""What the end-to-end tests share: start a program, talk to it over raw sockets, stop it.

A program under test writes "listening on ADDR" as the first line of its standard error, ends on SIGTERM, and is
started on a port that the kernel chooses. Nothing here sleeps for a guessed time: waiting has a condition and a limit
that only a hung program reaches.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

LIMIT = 60.0  # seconds until a wait is given up; never reached by a program that works

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def binary(variable):
    """Path of a program to test, from the environment that ctest sets (see tests/CMakeLists.txt)."""
    path = os.environ.get(variable, "")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{variable} must name the program to test (ctest sets it); it is {path!r}")
    return path


def parse_address(text):
    """("127.0.0.1", 8080) of "127.0.0.1:8080", "[::1]:8080" or "[::1]:8080 (HTTPS)"; the path of "unix:PATH"."""
    text = re.sub(r" \((HTTPS|PROXY protocol|, )+\)$", "", text)
    if text.startswith("unix:"):
        return text[len("unix:"):]
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def wait_until(condition, what):
    """Wait until condition() holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT:.0f} s in vain: {what}")
        time.sleep(0.005)


def skip_without_lua(argv):
    """A test that runs a Lua script says nothing about a build without Lua (EVSERVE_LUA=OFF)."""
    if os.environ.get("EVSERVE_LUA") == "0" and any(argument.endswith(".lua") for argument in argv):
        raise unittest.SkipTest("built without Lua")


ROOT_WARNING = b" warn serving as root: "
ROUTINE = re.compile(r"^\S+Z info (evserve \S+ has started, process \d+|"
                     r"SIG[A-Z0-9]+( from process \d+)?: .*|evserve has stopped, process \d+)$|"
                     r"^\S+Z warn the event loop stood still for ")
SUBJECT = re.compile(r" \[client \S+, id [!-~]+\]$")
PIPE_LARGEST = 1 << 20  # bytes; a pipe usually has 64 KiB


def end_with_parent():
    """For a preexec_fn: the process is killed with the thread that made it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A running program. Use it in a with statement, which stops it and checks that it ends with status 0.

    address  what it listens on, as socket.connect() wants it
    lines    what it has written to standard error so far, without newlines, without the client and the id at the end of
             lines about requests, and without those that every run has: that it starts, which signals come, that it
             stops, that it serves as root: whether the tests run as root is none of their business; and that the
             event loop stood still, as it does on a busy machine
    raw      all of it, as it is

    Both read the pipe first, so a line that the program wrote before a response is there once the response has come.

    It dies with the thread that made it, so that nothing is left when a test run is cut short.
    """

    def __init__(self, *argv, preexec_fn=None, **popen):
        def before_exec():
            end_with_parent()
            if preexec_fn is not None:
                preexec_fn()

        skip_without_lua(argv)
        self._lines, self._raw, self._rest = [], [], b""
        self._ended = False
        self._reading = threading.Lock()
        popen.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE,
                                        preexec_fn=before_exec, **popen)
        os.set_blocking(self.process.stderr.fileno(), False)
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()
        try:
            wait_until(lambda: self.lines or not self._reader.is_alive(), "first line of standard error")
            first = self.lines[0] if self.lines else "(nothing)"
            if first.startswith("{"):  # --log-format json
                first = json.loads(first)["message"]
            if not first.startswith("listening on "):
                raise AssertionError(f"{argv[0]} did not start: {first}")
            self.address = parse_address(first[len("listening on "):].split()[0])
        except BaseException:
            self.kill()
            raise

    @property
    def lines(self):
        self._read()
        return self._lines

    @property
    def raw(self):
        self._read()
        return self._raw

    def _read_on(self):
        """A thread that keeps the pipe from becoming full."""
        poll = select.poll()
        poll.register(self.process.stderr, select.POLLIN)
        while not self._ended:
            poll.poll()
            self._read()

    def _read(self):
        """Take what is in the pipe now."""
        with self._reading:
            if self._ended:
                return
            try:
                piece = os.read(self.process.stderr.fileno(), PIPE_LARGEST)
            except BlockingIOError:
                return
            self._ended = not piece
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if self._ended and self._rest:
                lines.append(self._rest)
            for line in lines:
                text = line.decode("utf-8", "replace")
                self._raw.append(text)
                if ROOT_WARNING not in line and not ROUTINE.search(text):
                    self._lines.append(SUBJECT.sub("", text))

    @property
    def pid(self):
        return self.process.pid

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        """User and system time it has used."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        """Resident memory."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def connect(self, **options):
        return connect(self.address, **options)

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait for the end. Returns the exit status, negative for the signal that killed it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        with self._reading:
            self._ended = True  # even if a process it started still has the pipe
            self.process.stderr.close()
        return status

    def kill(self):
        self.process.kill()
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.kill()
            return
        status = self.stop()
        if status != 0:
            raise AssertionError(f"exit status {status}, standard error:\n" + "\n".join(self.lines))


def run(*argv, **options):
    """Run a program to its end. Returns the completed process with text output."""
    skip_without_lua(argv)
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
                          **options)


def connect(address, receive_buffer=None, send_buffer=None):
    """A connected stream socket, blocking, with a limit on every wait."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else
                         socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        sock.settimeout(LIMIT)
        if receive_buffer is not None:  # before connect: it decides the window that is offered
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def listens(address):
    """Whether connections are accepted there. The file of a unix socket is there a moment before."""
    try:
        connect(address).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def receive(sock, length):
    """Exactly length bytes, or fewer when the stream ends before."""
    parts = []
    while length > 0:
        part = sock.recv(min(length, 1 << 16))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def receive_all(sock):
    """Everything until the peer ends the stream."""
    return receive(sock, 1 << 62)


def wait_until_read(sock):
    """Wait until the server has read all that was sent over a TCP connection. A reset would discard the rest of it."""
    def endpoint(address):
        host = socket.inet_pton(sock.family, address[0])
        words = [host[at:at + 4][::-1] if sys.byteorder == "little" else host[at:at + 4] for at in range(0, len(host), 4)]
        return b"".join(words).hex().upper() + f":{address[1]:04X}"

    theirs, ours = endpoint(sock.getpeername()), endpoint(sock.getsockname())
    table = "/proc/net/tcp" if sock.family == socket.AF_INET else "/proc/net/tcp6"

    def is_read():
        with open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[1:3] == [theirs, ours]:
                    return fields[4].endswith(":00000000")  # bytes in the server's receive queue
        return True  # it has closed
    wait_until(is_read, "the server to read the request")


def reset(sock):
    """Close with a reset (RST) instead of an orderly end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@contextlib.contextmanager
def sending(sock, data, end=False):
    """Send data from a thread while the body of the with statement receives. end: shut the direction down after it."""
    def send():
        with contextlib.suppress(OSError):  # the receiving side notices what is missing
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join(LIMIT)


def pattern(length):
    """Bytes in which a gap, a repetition or a swap shows: every four bytes are their own offset."""
    return b"".join(i.to_bytes(4, "big") for i in range(0, length + 3, 4))[:length]
