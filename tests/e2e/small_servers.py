"""Servers that tests need and that are small enough to write: a DNS server, and one that speaks WebSocket."""

import base64
import contextlib
import hashlib
import socket
import struct
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def udp_and_tcp():
    """Two sockets with one port, which the kernel chooses: what is free for UDP need not be for TCP."""
    for _ in range(100):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
    raise OSError("no port that is free for UDP and TCP")


class Dns:
    """Answers from a table: (name, type) to a list of the bytes of records. What is not there is a name error; "silent."
    gets no answer, "long." is cut short over UDP, and "garbage." gets some.
    """

    def __init__(self, records):
        self.records = records
        self.udp, self.tcp = udp_and_tcp()
        self.port = self.udp.getsockname()[1]
        self.asked = []
        self.threads = [threading.Thread(target=self.serve_udp, daemon=True),
                        threading.Thread(target=self.serve_tcp, daemon=True)]
        for thread in self.threads:
            thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        self.udp.sendto(b"", ("127.0.0.1", self.port))  # ends its thread
        for thread in self.threads:
            thread.join()
        self.udp.close()

    def answer(self, query, is_udp):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += query[at] + 1
        name, (kind,) = ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])
        self.asked.append((name, kind, is_udp))
        if name == "silent.test":
            return None
        if name == "garbage.test":
            return query[:2] + b"\x81\x80\0\1\0\1"
        found = self.records.get((name, kind))
        records = found or []
        flags = 0x8180 | (0 if found is not None else 3)
        if is_udp and name.startswith("long."):
            flags, records = flags | 0x200, []
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in records)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + query[12:at + 5] + body

    def serve_udp(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            if not query:
                return
            answer = self.answer(query, True)
            if answer is not None:
                self.udp.sendto(answer, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.tcp.accept()
                with client, client.makefile("rb") as file:
                    client.settimeout(10)
                    (length,) = struct.unpack("!H", file.read(2))
                    answer = self.answer(file.read(length), False)
                    client.sendall(struct.pack("!H", len(answer)) + answer)


class WebSocketServer:
    """Sends back each message; "close", "ping", "pieces" and "silent" make it do something else."""

    def __init__(self, context=None):  # of TLS
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heads = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.settimeout(10)
                threading.Thread(target=self.serve_one, args=(client,), daemon=True).start()

    def serve_one(self, client):
        with contextlib.suppress(OSError, EOFError), client:
            sock = self.context.wrap_socket(client, server_side=True) if self.context else client
            with sock, sock.makefile("rb") as file:
                self.serve_client(sock, file)

    def serve_client(self, client, file):
        lines = []
        while (line := file.readline().rstrip(b"\r\n")):
            lines.append(line.decode())
        self.heads.append(lines)
        if "/refused" in lines[0]:
            client.sendall(b"NONSENSE\r\n\r\n")
            return
        key = next(line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        client.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while True:
            kind, data = self.read_frame(file)
            if kind == 8:
                client.sendall(self.frame(8, data))
                return
            for answer in self.answers(kind, data):
                client.sendall(answer)

    def answers(self, kind, data):
        if kind == 9:
            return [self.frame(10, data)]
        if kind == 10 or data == b"silent":
            return []
        if data == b"close":
            return [self.frame(8, struct.pack("!H", 1000) + b"bye")]
        if data == b"ping":
            return [self.frame(9, b"are you there?")]
        if data == b"pieces":
            return [self.frame(1, b"one, ", False), self.frame(0, b"two, ", False), self.frame(0, b"three")]
        return [self.frame(kind, data)]

    @staticmethod
    def read_frame(file):
        head = file.read(2)
        if len(head) < 2:
            raise EOFError
        first, second = head
        length = second & 127
        if length > 125:
            (length,) = struct.unpack("!H" if length == 126 else "!Q", file.read(2 if length == 126 else 8))
        mask = file.read(4) if second & 128 else bytes(4)
        return first & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(file.read(length)))

    @staticmethod
    def frame(kind, data, is_last=True):
        head = bytes([kind | (128 if is_last else 0)])
        if len(data) < 126:
            return head + bytes([len(data)]) + data
        if len(data) < 65536:
            return head + b"\x7e" + struct.pack("!H", len(data)) + data
        return head + b"\x7f" + struct.pack("!Q", len(data)) + data
