"""The echo server of tests/examples/echo.c, level- and edge-triggered, as its clients see it."""

import fcntl
import os
import resource
import select
import signal
import socket
import struct
import tempfile
import termios
import time
import unittest

import evtest
import side_by_side

ECHO = evtest.binary("EVSERVE_ECHO")


class EchoCases:
    """What holds in both modes. Each test has a server of its own, which must survive it and give every fd back."""

    mode = None

    def setUp(self):
        self.server = evtest.Program(ECHO, f"--mode={self.mode}")
        self.addCleanup(self.server.kill)
        self.fds_at_start = self.server.fd_count()

    def tearDown(self):
        self.check_alive()
        evtest.wait_until(lambda: self.server.fd_count() == self.fds_at_start, "the server's fds are closed")
        self.assertEqual(self.server.stop(), 0, self.server.lines)
        self.assertEqual(self.server.lines[1:], [], "the log of an undisturbed server is empty")

    def check_alive(self):
        with self.server.connect() as client:
            client.sendall(b"still there?")
            self.assertEqual(evtest.receive(client, 12), b"still there?")

    def test_burst_of_10_kib_in_one_write_comes_back(self):
        data = evtest.pattern(10 * 1024)
        with self.server.connect() as client:
            self.assertEqual(client.send(data), len(data))
            self.assertEqual(evtest.receive(client, len(data)), data)

    def test_bytes_sent_one_by_one_come_back_one_by_one(self):
        with self.server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(256):
                client.sendall(bytes([i]))
                self.assertEqual(evtest.receive(client, 1), bytes([i]))

    def test_a_hundred_clients_at_once_each_get_their_own(self):
        clients = [self.server.connect() for _ in range(100)]
        try:
            for round_number in range(3):
                texts = [evtest.pattern(4096)[i:] + f"client {i} round {round_number}".encode() for i in range(100)]
                for client, text in zip(clients, texts):
                    client.sendall(text)
                for client, text in zip(clients, texts):
                    self.assertEqual(evtest.receive(client, len(text)), text)
        finally:
            for client in clients:
                client.close()

    def test_more_clients_than_one_accept_budget_wait_in_the_backlog(self):
        """The server stands still while 120 connect, so that one event finds more than one budget (R6)."""
        os.kill(self.server.pid, signal.SIGSTOP)
        clients = []
        try:
            for i in range(120):
                client = self.server.connect()
                clients.append(client)
                client.sendall(b"%03d" % i)
            os.kill(self.server.pid, signal.SIGCONT)
            for i, client in enumerate(clients):
                self.assertEqual(evtest.receive(client, 3), b"%03d" % i)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
            for client in clients:
                client.close()

    def test_half_closed_peer_gets_the_rest_and_then_the_end(self):
        data = evtest.pattern(300 * 1024)
        with self.server.connect() as client:
            with evtest.sending(client, data, end=True):
                self.assertEqual(evtest.receive_all(client), data)

    def test_half_closed_peer_that_sent_nothing_gets_the_end(self):
        with self.server.connect() as client:
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")

    def test_data_and_end_in_one_segment_are_both_seen(self):
        for _ in range(50):
            with self.server.connect() as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                client.sendall(b"last words")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(evtest.receive_all(client), b"last words")

    def test_many_half_closed_peers_at_once(self):
        clients = [self.server.connect() for _ in range(50)]
        for i, client in enumerate(clients):
            client.sendall(b"%02d" % i * 1000)
            client.shutdown(socket.SHUT_WR)
        for i, client in enumerate(clients):
            with client:
                self.assertEqual(evtest.receive_all(client), b"%02d" % i * 1000)

    def test_megabyte_through_a_slow_reader_arrives_intact(self):
        data = evtest.pattern(1 << 20)
        with self.server.connect(receive_buffer=2048) as client:
            with evtest.sending(client, data, end=True):
                got = b""
                while True:
                    part = client.recv(1500)
                    if not part:
                        break
                    got += part
                    if len(got) % 7 == 0:  # let the server run into a full socket now and then
                        time.sleep(0.0005)
                self.assertEqual(got, data)

    def test_peer_that_never_reads_is_not_read_from(self):
        """Back-pressure: the server takes a bounded number of bytes, then leaves the rest with the sender."""
        with self.server.connect(receive_buffer=2048) as client:
            client.setblocking(False)
            before = self.server.memory_kib()
            sent = 0
            while select.select([], [client], [], 1.0)[1]:
                sent += client.send(bytes(1 << 16))
                self.assertLess(sent, 64 << 20, "the server goes on reading")
            self.assertLess(self.server.memory_kib() - before, 4096)
            self.check_alive()  # and nobody else waits for that peer
            client.setblocking(True)
            client.settimeout(evtest.LIMIT)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(len(evtest.receive_all(client)), sent)

    def test_resets_leave_the_server_standing(self):
        for i in range(60):
            client = self.server.connect()
            if i % 3 > 0:
                client.sendall(evtest.pattern(i * 1000))
            if i % 3 > 1:
                evtest.receive(client, 1)
            evtest.reset(client)

    def test_reset_with_echo_still_queued(self):
        with self.server.connect(receive_buffer=2048) as client:
            client.setblocking(False)
            while select.select([], [client], [], 0.2)[1]:
                client.send(bytes(1 << 16))
            evtest.reset(client)

    def test_clients_that_connect_and_leave_at_once(self):
        for _ in range(200):
            self.server.connect().close()

    def test_idle_server_uses_no_cpu(self):
        with self.server.connect() as client:
            client.sendall(b"x")
            evtest.receive(client, 1)
            before = self.server.cpu_seconds()
            time.sleep(1.0)
            self.assertLess(self.server.cpu_seconds() - before, 0.2, "a busy loop")

    def test_one_busy_client_does_not_starve_another(self):
        data = evtest.pattern(32 << 20)
        with self.server.connect() as busy, self.server.connect() as other:
            with evtest.sending(busy, data, end=True):
                got = 0
                turns = 0
                while True:
                    part = busy.recv(1 << 20)
                    if not part:
                        break
                    got += len(part)
                    if turns < 50:
                        turns += 1
                        other.sendall(b"me too")
                        self.assertEqual(evtest.receive(other, 6), b"me too")
                self.assertEqual(got, len(data))
            self.assertGreater(turns, 5)


    def test_memory_of_closed_connections_is_given_back(self):
        environment = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=0:thread_local_quarantine_size_kb=0")
        with evtest.Program(ECHO, f"--mode={self.mode}", env=environment) as server:
            def come_and_go(count):
                for i in range(count):
                    with server.connect() as client:
                        client.sendall(b"x")
                        evtest.receive(client, 1)
                        if i % 2:
                            evtest.reset(client)
            come_and_go(50)
            before = server.memory_kib()
            come_and_go(500)
            self.assertLess(server.memory_kib() - before, 2048)  # each one has had 16 KiB and more


class UnixCases:
    """A unix socket tells how much of what was sent has been read, so what the server holds is known from outside."""

    mode = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server = evtest.Program(ECHO, f"--mode={self.mode}", f"--listen=unix:{folder.name}/echo.sock")
        self.addCleanup(self.server.kill)

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0, self.server.lines)
        self.assertEqual(self.server.lines[1:], [])

    def send_as_far_as_it_is_read(self, client, limit, patience):
        """Send up to limit bytes, as long as the server reads each piece in time. Returns how many it did."""
        def unread():
            return struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        sent = 0
        while sent < limit:
            client.sendall(evtest.pattern(4096))
            deadline = time.monotonic() + patience
            while unread() > 0:
                if time.monotonic() > deadline:
                    return sent
                time.sleep(0.0005)
            sent += 4096
        return sent

    def test_half_closed_peer_that_does_not_read_gets_the_rest_when_it_does(self):
        with self.server.connect() as client:
            most = self.send_as_far_as_it_is_read(client, 1 << 24, patience=0.5)
        self.assertLess(most, 1 << 24, "the server goes on reading")
        length = most - 8 * 4096
        with self.server.connect() as client:
            self.assertEqual(self.send_as_far_as_it_is_read(client, length, patience=evtest.LIMIT), length)
            client.shutdown(socket.SHUT_WR)  # the server has read it all, the end too, and can't send it all yet
            before = self.server.cpu_seconds()
            time.sleep(1.0)
            self.assertLess(self.server.cpu_seconds() - before, 0.2, "a busy loop")
            self.assertEqual(evtest.receive_all(client), evtest.pattern(4096) * (length // 4096))


class UnixLevelTriggered(UnixCases, unittest.TestCase):
    mode = "lt"


class UnixEdgeTriggered(UnixCases, unittest.TestCase):
    mode = "et"


class LevelTriggered(EchoCases, unittest.TestCase):
    mode = "lt"


class EdgeTriggered(EchoCases, unittest.TestCase):
    mode = "et"


class Program(unittest.TestCase):
    """The program around it."""

    def test_usage_errors_are_one_line_and_exit_2(self):
        for arguments in (["--mode=xt"], ["--mode"], ["extra"], ["--listen"], ["--listen", "nowhere"], ["--nope"]):
            with self.subTest(arguments=arguments):
                done = evtest.run(ECHO, *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_port_in_use_is_one_line_and_exit_1(self):
        with evtest.Program(ECHO, "--mode=lt") as server:
            address = "%s:%d" % server.address
            done = evtest.run(ECHO, "--mode=lt", "--listen", address)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, f"echo: cannot listen on {address}: address already in use\n")

    def test_sigint_and_sigterm_end_it_with_clients_connected(self):
        for mode in ("lt", "et"):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(mode=mode, signal=number):
                    server = evtest.Program(ECHO, f"--mode={mode}")
                    with server.connect(receive_buffer=2048) as client, server.connect():
                        client.setblocking(False)
                        while select.select([], [client], [], 0.2)[1]:
                            client.send(bytes(1 << 16))  # echo is queued when the end comes
                        self.assertEqual(server.stop(number), 0, server.lines)

    def test_unix_socket_file_appears_and_goes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "echo.sock")
            for mode in ("lt", "et"):
                with evtest.Program(ECHO, f"--mode={mode}", "--listen", "unix:" + path) as server:
                    self.assertEqual(server.address, path)
                    with server.connect() as client:
                        with evtest.sending(client, evtest.pattern(1 << 20), end=True):
                            self.assertEqual(evtest.receive_all(client), evtest.pattern(1 << 20))
                self.assertFalse(os.path.exists(path))

    def test_out_of_fds_turns_clients_away_and_recovers(self):
        for mode in ("lt", "et"):
            with self.subTest(mode=mode):
                def few_fds():
                    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
                with evtest.Program(ECHO, f"--mode={mode}", preexec_fn=few_fds) as server:
                    fds_at_start = server.fd_count()
                    clients = [server.connect() for _ in range(40)]
                    served = 0
                    for client in clients:
                        try:
                            client.sendall(b"hello")
                            served += evtest.receive(client, 5) == b"hello"
                        except ConnectionError:
                            pass  # turned away
                    self.assertTrue(1 <= served < 20, served)
                    for client in clients:
                        client.close()
                    evtest.wait_until(lambda: server.fd_count() <= fds_at_start, "the served clients are closed")
                    with server.connect() as client:
                        client.sendall(b"again")
                        self.assertEqual(evtest.receive(client, 5), b"again")
                    complaints = [line for line in server.lines if "out of file descriptors" in line]
                    self.assertEqual(len(complaints), 1, server.lines)


if __name__ == "__main__":
    side_by_side.main()
