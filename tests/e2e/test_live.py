"""tests/examples/live.c: a server with a script that is reloaded, and one that pushes live messages to 1,000 clients. The
tsan preset runs this file, too."""

import http.client
import os
import resource
import shutil
import signal
import tempfile
import unittest

import evtest

PROGRAM = os.path.join(os.environ["EVSERVE_PROGRAMS"], "live")
SCRIPT = os.path.join(os.environ["EVSERVE_ROOT"], "tests", "examples", "live.lua")
CLIENTS = 1000
FDS = CLIENTS + 100


class Listener:
    """A client of GET /live."""

    def __init__(self, address, **options):
        self.socket = evtest.connect(address, **options)
        self.socket.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
        self.received = b""

    def _take(self, end):
        """What comes before the next end, which is taken, too."""
        while end not in self.received:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(f"after {self.received!r}")
            self.received += part
        taken, _, self.received = self.received.partition(end)
        return taken

    def take_head(self):
        return self._take(b"\r\n\r\n").decode()

    def take_event(self):
        """The next event, or "" at the proper end of the stream. Each is written at once, so it is one chunk."""
        length = int(self._take(b"\r\n"), 16)
        while len(self.received) < length + 2:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(f"in an event of {length} bytes")
            self.received += part
        event, self.received = self.received[:length], self.received[length + 2:]
        return event.decode()


@unittest.skipUnless(os.path.exists(PROGRAM), "this build has no Lua")
class Live(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.script = os.path.join(folder.name, "live.lua")
        shutil.copy(SCRIPT, self.script)

    def start(self):
        self.server = evtest.Program(PROGRAM, self.script)
        self.addCleanup(self.server.kill)
        self.push = evtest.parse_address(self.server.lines[0].rpartition(" ")[2])

    def listen(self, **options):
        listener = Listener(self.push, **options)
        self.addCleanup(listener.socket.close)
        return listener

    def say(self, text):
        connection = http.client.HTTPConnection(*self.server.address, timeout=evtest.LIMIT)
        try:
            connection.request("POST", "/say", text)
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            connection.close()

    def test_1000_clients_get_every_message_and_a_stop_ends_their_streams(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < FDS:
            self.skipTest(f"1,000 clients need {FDS} file descriptors, and RLIMIT_NOFILE is {hard}")
        if soft != resource.RLIM_INFINITY and soft < FDS:
            resource.setrlimit(resource.RLIMIT_NOFILE, (FDS, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.start()
        listeners = [self.listen() for _ in range(CLIENTS)]
        for listener in listeners:
            head = listener.take_head()  # before there is any message
            self.assertTrue(head.startswith("HTTP/1.1 200 OK\r\n"), head)
            self.assertIn("Content-Type: text/event-stream", head)
        for i in range(10):
            self.assertEqual(self.say(f"message {i}"), (200, str(CLIENTS)))
        for listener in listeners:
            self.assertEqual([listener.take_event() for _ in range(10)],
                             [f"data: message {i}\n\n" for i in range(10)])
        for listener in listeners[::2]:
            listener.socket.close()
        evtest.wait_until(lambda: self.say("who is there?")[1] == str(CLIENTS // 2), "half of the clients to be forgotten")
        self.say("last")
        for listener in listeners[1::2]:
            while (event := listener.take_event()) != "data: last\n\n":
                self.assertEqual(event, "data: who is there?\n\n")
        self.assertEqual(self.server.stop(), 0)
        for listener in listeners[1::2]:
            self.assertEqual(listener.take_event(), "")
            self.assertEqual(listener.socket.recv(1), b"")

    def test_slow_client_is_cut_and_holds_up_nobody(self):
        self.start()
        slow = self.listen(receive_buffer=4096)
        listeners = [self.listen() for _ in range(5)]
        for listener in (slow, *listeners):
            listener.take_head()
        text = "x" * 16000
        clients = "6"
        for _ in range(5000):  # 80 MB; sockets hold far less
            status, clients = self.say(text)
            self.assertEqual(status, 200)
            for listener in listeners:
                self.assertEqual(listener.take_event(), f"data: {text}\n\n")
            if clients == "5":
                break
        self.assertEqual(clients, "5")
        with self.assertRaises((EOFError, ConnectionResetError)):
            while slow.take_event():
                pass

    def test_lines_of_a_message_stay_one_event(self):
        self.start()
        listener = self.listen()
        listener.take_head()
        self.say("one\r\n\nevent: forged")
        self.assertEqual(listener.take_event(), "data: one\ndata: \ndata: event: forged\n\n")
        self.assertEqual(self.say("x" * 16384)[0], 500)  # the script could ask before
        self.say("next")
        self.assertEqual(listener.take_event(), "data: next\n\n")

    def test_script_is_reloaded_and_streams_go_on(self):
        self.start()
        listener = self.listen()
        listener.take_head()
        self.say("before")
        with open(self.script, "a", encoding="ascii") as file:
            file.write('app.get("/version", function() return "2" end)\n')
        self.server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: self.version() == (200, "2"), "the new script")
        with open(self.script, "w", encoding="ascii") as file:
            file.write("nonsense(")
        self.server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: any("live.lua:1:" in line for line in self.server.lines), "a line of the log")
        self.assertEqual(self.version(), (200, "2"))
        self.say("after")
        self.assertEqual([listener.take_event() for _ in range(2)], ["data: before\n\n", "data: after\n\n"])
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(listener.take_event(), "")

    def version(self):
        connection = http.client.HTTPConnection(*self.server.address, timeout=evtest.LIMIT)
        try:
            connection.request("GET", "/version")
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            connection.close()


if __name__ == "__main__":
    unittest.main()
