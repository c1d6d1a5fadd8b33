"""Another server, which a site asks: what it sends is up to each test, byte for byte."""

import contextlib
import gzip
import http.client
import json
import os
import socket
import threading

import evtest


class Request:
    """One that came, and the connection it came on."""

    def __init__(self, connection, method, target, fields):
        self.connection = connection
        self.method = method
        self.target = target
        self.fields = fields  # (name, value), as they were sent
        self.headers = {name.lower(): value for name, value in fields}
        self.body = b""

    @property
    def path(self):
        return self.target.partition("?")[0]

    def read_chunks(self):
        """The pieces of the body, as they come."""
        file = self.connection.file
        if "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left > 0:
                piece = file.read1(min(left, 1 << 16))
                if not piece:
                    return
                left -= len(piece)
                yield piece
        elif self.headers.get("transfer-encoding") == "chunked":
            while True:
                line = file.readline()
                size = int(line, 16) if line.strip() else 0
                piece = file.read(size)
                file.readline()
                if size == 0:
                    return
                yield piece

    def read(self):
        self.body = b"".join(self.read_chunks())
        return self


class Connection:
    """A connection to the origin."""

    def __init__(self, origin, sock, number):
        self.origin = origin
        self.sock = sock
        self.number = number
        self.file = sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def respond(self, status=200, body=b"", fields=()):
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"] + [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join(lines + [f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body)

    def read_request(self):
        line = self.file.readline()
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split()
        fields = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name, value.strip()))
        return Request(self, method, target, fields)

    def has_left(self):
        """Wait until the client has closed its side, or reset the connection."""
        self.sock.settimeout(evtest.LIMIT)
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(1 << 16):
                pass
        return True

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()


class Origin:
    """A server on a thread of its own. handlers: path to function(connection, request), which sends a response; a true
    value that it returns ends the connection. Paths of a common kind are here already. Use it in a with statement."""

    def __init__(self, handlers=None, address=None, context=None):
        self.handlers = {
            "/echo": Origin.echo, "/text": lambda c, r: c.respond(200, "hello\n", [("Content-Type", "text/plain")]),
            "/gzip": Origin.send_gzip, "/redirect": Origin.redirect, "/bytes": Origin.send_bytes,
            "/long": lambda c, r: c.respond(200, b"x" * int(r.target.partition("?")[2])),
        } | (handlers or {})
        self.requests = []  # as they came
        self.accepted = 0
        self.context = context  # of TLS
        if isinstance(address, str):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address)
        else:
            self.listener = socket.create_server(address or ("127.0.0.1", 0))
        self.listener.listen(128)
        self.connections = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.accept, daemon=True)

    @property
    def port(self):
        return self.listener.getsockname()[1]

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    @staticmethod
    def echo(connection, request):
        """What came, as JSON."""
        request.read()
        answer = {"method": request.method, "target": request.target, "headers": request.headers,
                  "body": request.body.decode("latin-1"), "connection": connection.number}
        connection.respond(200, json.dumps(answer), [("Content-Type", "application/json")])

    @staticmethod
    def send_gzip(connection, request):
        body = b"squeezed " * 1000
        if "gzip" in request.headers.get("accept-encoding", ""):
            connection.respond(200, gzip.compress(body), [("Content-Encoding", "gzip")])
        else:
            connection.respond(200, body)

    @staticmethod
    def redirect(connection, request):
        """/redirect?302,/echo"""
        status, _, target = request.target.partition("?")[2].partition(",")
        request.read()
        connection.respond(int(status), "elsewhere\n", [("Location", target)])

    @staticmethod
    def send_bytes(connection, request):
        """/bytes?100: so many, as evtest.pattern has them."""
        connection.respond(200, evtest.pattern(int(request.target.partition("?")[2])))

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        connection = None
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with self.lock:
                self.accepted += 1
                connection = Connection(self, sock, self.accepted)
                self.connections.append(connection)
            while (request := connection.read_request()) is not None:
                self.requests.append(request)
                handler = self.handlers.get(request.path)
                if handler is None:
                    request.read()
                    connection.respond(404, "nothing here\n")
                elif handler(connection, request):
                    break
        except (OSError, ValueError):
            pass # the client has left
        finally:
            if connection:
                connection.close()
            else:
                sock.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        address = self.listener.getsockname()
        self.listener.close()
        if isinstance(address, str) and os.path.exists(address):
            os.unlink(address)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(evtest.LIMIT)


def raw(data, closes=True):
    """A handler that sends these bytes for a response."""
    def send(connection, request):
        request.read()
        connection.send(data)
        return closes
    return send


def closed_port():
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]
