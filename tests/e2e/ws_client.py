"""A small, strict WebSocket client (RFC 6455) for tests, with permessage-deflate (RFC 7692).

    with ws_client.connect(server, "/chat", protocols=["v2"]) as ws:
        ws.send("hello")                        # str: a text message, bytes: a binary one
        assert ws.receive() == "hello"
        ws.send_frame(ws_client.TEXT, b"he", fin=False)
        assert ws.close(1000, "bye") == (1000, "bye")

It checks everything that a server sends: the response to the handshake, reserved bits, opcodes, masks, lengths, the
order of fragments, UTF-8, close codes, and that nothing follows a close. What breaks a rule raises Violation. What the
client itself sends is up to the test: send_frame() and send_raw() send anything.

Waiting has a limit (evtest.LIMIT, or limit=) that only a hung server reaches.
"""

import base64
import collections
import hashlib
import os
import select
import socket
import struct
import time
import zlib

import evtest

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TAIL = b"\x00\x00\xff\xff"  # what permessage-deflate leaves out at the end of a message
MADE_CODES = (1004, 1005, 1006, 1015)  # never sent in a frame

Frame = collections.namedtuple("Frame", "fin rsv opcode payload")


class Violation(AssertionError):
    """The server has broken a rule of the protocol."""


class Refused(Exception):
    """The server has answered the handshake with an ordinary response."""

    def __init__(self, status, headers, body):
        super().__init__(f"status {status}: {body!r}")
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()


class Closed(Exception):
    """The connection is over. code and reason are those of the server's close frame; code is None without one (1006),
    and 1005 for a frame without a code."""

    def __init__(self, code, reason):
        super().__init__(f"{code} {reason!r}")
        self.code, self.reason = code, reason


def head_of(opcode, length, fin=True, rsv=0, mask=None, length_bytes=None):
    """The head of a frame. length_bytes: 0, 2 or 8, for a length that is written longer than necessary."""
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[length_bytes]
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0 if mask is None else 0x80) | short])
    if length_bytes:
        head += struct.pack(">H" if length_bytes == 2 else ">Q", length)
    return head + (mask or b"")


def masked(payload, mask):
    """payload xor mask; quick enough for messages of megabytes."""
    if not payload or mask in (None, b"\0\0\0\0"):
        return bytes(payload)
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def frame_of(opcode, payload=b"", fin=True, rsv=0, mask=b"\x12\x34\x56\x78", length_bytes=None):
    """A whole frame as a client sends it; mask=None: without a mask, which servers must refuse."""
    return head_of(opcode, len(payload), fin, rsv, mask, length_bytes) + masked(payload, mask)


def close_payload(code, reason=""):
    return b"" if code is None else struct.pack(">H", code) + reason.encode()


class Socket:
    """Bytes of a connection, with a limit for each wait."""

    def __init__(self, sock, limit):
        self.sock, self.limit = sock, limit
        self.buffer = bytearray()
        self.ended = False
        sock.settimeout(limit)

    def fill(self):
        """Read once. Returns whether anything came; False: the end."""
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            raise AssertionError(f"waited {self.limit:.0f} s in vain for the server") from None
        except ConnectionError:
            data = b""
        self.buffer += data
        self.ended = not data
        return bool(data)

    def take(self, size):
        """Exactly that many bytes, or None at the end of the connection."""
        while len(self.buffer) < size:
            if self.ended or not self.fill():
                return None
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def take_head(self):
        """Up to an empty line, or None."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if self.ended or not self.fill():
                return None
        return self.take(end + 4)


def parse_head(head):
    """(status, headers by lower-case name); fields that come twice are joined with a comma."""
    lines = head.decode("latin-1").split("\r\n")
    status, headers = int(lines[0].split()[1]), {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status, headers


def read_body(stream, headers):
    if "content-length" in headers:
        return stream.take(int(headers["content-length"])) or b""
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            while b"\r\n" not in stream.buffer:
                if not stream.fill():
                    return body
            size = int(stream.take(stream.buffer.find(b"\r\n") + 2), 16)
            data = stream.take(size + 2)
            if size == 0 or data is None:
                return body
            body += data[:-2]
    while stream.fill():
        pass
    return bytes(stream.buffer)


def request_of(target, key, headers=(), protocols=(), extensions=None, host="test", leave_out=(), method="GET",
               version="1.1"):
    """The text of a handshake. leave_out: names of fields that are not sent; headers come last."""
    fields = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key),
              ("Sec-WebSocket-Version", "13")]
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    if extensions:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    absent = {name.lower() for name in leave_out}
    fields = [field for field in fields if field[0].lower() not in absent] + list(headers)
    lines = [f"{method} {target} HTTP/{version}"] + [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def check_accepted(headers, key, protocols, extensions):
    """RFC 6455 section 4.1: what a client must check."""
    expected = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    tokens = [token.strip().lower() for token in headers.get("connection", "").split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in tokens:
        raise Violation(f"101 without Upgrade: websocket and Connection: Upgrade: {headers}")
    if headers.get("sec-websocket-accept") != expected:
        raise Violation(f"Sec-WebSocket-Accept is {headers.get('sec-websocket-accept')!r}, not {expected!r}")
    chosen = headers.get("sec-websocket-protocol")
    if chosen is not None and chosen not in protocols:
        raise Violation(f"the server chose the subprotocol {chosen!r}, which was not offered")
    if headers.get("sec-websocket-extensions") and not extensions:
        raise Violation(f"the server chose extensions that were not offered: {headers['sec-websocket-extensions']!r}")
    for name in ("content-length", "transfer-encoding"):
        if name in headers:
            raise Violation(f"101 with {name}")


class Deflate:
    """permessage-deflate, as the response to the handshake says."""

    def __init__(self, text):
        name, *params = [part.strip().lower() for part in text.split(";")]
        if name != "permessage-deflate":
            raise Violation(f"an extension that was not offered: {text!r}")
        self.params = dict(param.partition("=")[::2] for param in params)
        if len(self.params) != len(params):
            raise Violation(f"an extension parameter comes twice: {text!r}")
        unknown = set(self.params) - {"server_no_context_takeover", "client_no_context_takeover",
                                      "server_max_window_bits", "client_max_window_bits"}
        if unknown:
            raise Violation(f"unknown extension parameters {unknown}")
        self.inflater = self.deflater = None

    def bits(self, name):
        value = self.params.get(name, "15").strip('"')
        return int(value) if value else 15

    def inflate(self, data):
        if self.inflater is None or "server_no_context_takeover" in self.params:
            self.inflater = zlib.decompressobj(-self.bits("server_max_window_bits"))
        try:
            text = self.inflater.decompress(data + TAIL)
        except zlib.error as error:
            raise Violation(f"a compressed message that does not inflate: {error}") from None
        if self.inflater.eof:  # a block with BFINAL: the next message begins anew
            self.inflater = None
        return text

    def deflate(self, data):
        if self.deflater is None or "client_no_context_takeover" in self.params:
            self.deflater = zlib.compressobj(6, zlib.DEFLATED, -max(9, self.bits("client_max_window_bits")))
        text = self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        return text[:-4]


class WebSocket:
    """A connection after its handshake.

    response    the headers of the 101, by lower-case name
    subprotocol the one that the server chose, or None
    pings       payloads of the pings that have come; each is answered, unless answers_pings is False
    pongs       payloads of the pongs that have come
    close_code, close_reason   of the server's close frame, once it has come
    """

    def __init__(self, stream, headers):
        self.stream, self.response = stream, headers
        self.subprotocol = headers.get("sec-websocket-protocol")
        extensions = headers.get("sec-websocket-extensions")
        self.deflate = Deflate(extensions) if extensions else None
        self.pings, self.pongs = [], []
        self.answers_pings = True
        self.close_code = self.close_reason = None
        self.has_sent_close = self.has_got_close = False
        self._opcode, self._pieces, self._compressed = None, [], False

    # Sending.

    def send_raw(self, data):
        self.stream.sock.sendall(data)

    def send_frame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, length_bytes=None):
        """mask=None: a random one, as clients must."""
        self.send_raw(frame_of(opcode, payload, fin, rsv, os.urandom(4) if mask is None else mask, length_bytes))

    def send(self, message, compress=False, pieces=1):
        """A message: text of a str, binary of bytes. pieces: so many frames."""
        opcode, data = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, bytes(message))
        rsv = 0
        if compress:
            data, rsv = self.deflate.deflate(data), 4
        size = max(1, -(-len(data) // pieces))
        for number in range(pieces):
            piece = data[number * size:(number + 1) * size]
            self.send_frame(opcode if number == 0 else CONTINUATION, piece, number == pieces - 1,
                            rsv if number == 0 else 0)

    def ping(self, payload=b""):
        self.send_frame(PING, payload)

    def send_close(self, code=1000, reason=""):
        self.has_sent_close = True
        self.send_frame(CLOSE, close_payload(code, reason))

    # Receiving.

    def receive_frame(self):
        """The next frame, checked; None at the end of the connection."""
        head = self.stream.take(2)
        if head is None:
            if self.stream.buffer:
                raise Violation(f"the connection ended inside a frame: {bytes(self.stream.buffer)!r}")
            return None
        if self.has_got_close:
            raise Violation(f"bytes after the close frame: {head!r}")
        fin, rsv, opcode, length = head[0] >> 7, head[0] >> 4 & 7, head[0] & 15, head[1] & 127
        if head[1] & 128:
            raise Violation("a frame of the server with a mask")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Violation(f"unknown opcode {opcode}")
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self._rest(size), "big")
            if length < 126 or (size == 8 and length < 65536) or length >> 63:
                raise Violation(f"a length of {length} in {size} bytes")
        if opcode >= CLOSE and (not fin or length > 125):
            raise Violation(f"a control frame with fin {fin} and {length} bytes")
        if rsv and (rsv != 4 or self.deflate is None or opcode not in (TEXT, BINARY)):
            raise Violation(f"reserved bits {rsv} in a frame with opcode {opcode}")
        return Frame(bool(fin), rsv, opcode, self._rest(length))

    def _rest(self, size):
        data = self.stream.take(size)
        if data is None:
            raise Violation("the connection ended inside a frame")
        return data

    def _on_close(self, payload):
        self.has_got_close = True
        if len(payload) == 1:
            raise Violation("a close frame with one byte")
        self.close_code, self.close_reason = 1005, ""
        if payload:
            self.close_code = struct.unpack(">H", payload[:2])[0]
            self.close_reason = self._text(payload[2:], "a close reason")
            if not 1000 <= self.close_code < 5000 or self.close_code in MADE_CODES:
                raise Violation(f"the close code {self.close_code}")
        if not self.has_sent_close:
            self.has_sent_close = True
            try:
                self.send_frame(CLOSE, payload[:2])
            except ConnectionError:
                pass

    @staticmethod
    def _text(data, what):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Violation(f"{what} is not UTF-8: {error}") from None

    def _on_control(self, frame):
        if frame.opcode == PING:
            self.pings.append(frame.payload)
            if self.answers_pings and not self.has_sent_close:
                self.send_frame(PONG, frame.payload)
        elif frame.opcode == PONG:
            self.pongs.append(frame.payload)
        else:
            self._on_close(frame.payload)

    def _on_data(self, frame):
        """Returns whether a message is whole."""
        if (frame.opcode == CONTINUATION) == (self._opcode is None):
            raise Violation(f"a frame with opcode {frame.opcode} " +
                            ("outside of" if self._opcode is None else "inside") + " a message")
        if frame.opcode != CONTINUATION:
            self._opcode, self._compressed, self._pieces = frame.opcode, frame.rsv == 4, []
        self._pieces.append(frame.payload)
        return frame.fin

    def receive(self):
        """The next message: a str or bytes. Answers pings on the way, and a close. Raises Closed at the end, once the
        server has closed the connection."""
        while True:
            frame = self.receive_frame()
            if frame is None:
                raise Closed(self.close_code, self.close_reason)
            if frame.opcode >= CLOSE:
                self._on_control(frame)
            elif self._on_data(frame):
                opcode, data = self._opcode, b"".join(self._pieces)
                self._opcode, self._pieces = None, []
                if self._compressed:
                    data = self.deflate.inflate(data)
                return self._text(data, "a text message") if opcode == TEXT else data

    def receive_pong(self):
        """Wait for the next pong; a message on the way is an error. Returns its payload."""
        count = len(self.pongs)
        while len(self.pongs) == count:
            frame = self.receive_frame()
            if frame is None:
                raise Closed(self.close_code, self.close_reason)
            if frame.opcode < CLOSE:
                raise AssertionError(f"a message came before the pong: {frame}")
            self._on_control(frame)
        return self.pongs[-1]

    def has_input(self, seconds):
        """Whether anything comes within that time, the end included."""
        if self.stream.buffer:
            return True
        pending = getattr(self.stream.sock, "pending", lambda: 0)()
        return bool(pending or select.select([self.stream.sock], [], [], seconds)[0])

    # The end.

    def wait_closed(self):
        """Drop messages until the end. Returns (code, reason) of the server's close frame; (None, None) without one."""
        while True:
            try:
                self.receive()
            except Closed as end:
                return end.code, end.reason

    def close(self, code=1000, reason=""):
        """The close handshake. Returns (code, reason) of the server's close frame."""
        if not self.has_sent_close:
            self.send_close(code, reason)
        return self.wait_closed()

    def drop(self):
        """Close the socket without a word."""
        self.stream.sock.close()

    def reset(self):
        """End the connection by a reset."""
        self.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.drop()


def connect(server, target="/", headers=(), protocols=(), extensions=None, host="test", leave_out=(), tls=None,
            limit=evtest.LIMIT, method="GET", version="1.1", key=None, behind=b"", **options):
    """Open a WebSocket. server: an evtest.Program, or an address as socket.connect() wants it. tls: an ssl context.
    extensions: the value of Sec-WebSocket-Extensions, such as "permessage-deflate". behind: bytes that are sent with
    the request, before its answer. Raises Refused for any response except 101."""
    address = getattr(server, "address", server)
    sock = evtest.connect(address, **options)
    try:
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=host)
        key = base64.b64encode(os.urandom(16)).decode() if key is None else key
        sock.sendall(request_of(target, key, headers, protocols, extensions, host, leave_out, method, version) + behind)
        stream = Socket(sock, limit)
        head = stream.take_head()
        if head is None:
            raise ConnectionError("the connection ended before an answer to the handshake")
        status, fields = parse_head(head)
        if status != 101:
            raise Refused(status, fields, read_body(stream, fields))
        check_accepted(fields, key, protocols, extensions)
        return WebSocket(stream, fields)
    except BaseException:
        sock.close()
        raise


def refusal(server, target="/", **options):
    """The Refused of a handshake that must fail."""
    try:
        ws = connect(server, target, **options)
    except Refused as refused:
        return refused
    ws.drop()
    raise AssertionError(f"the handshake for {target} was accepted")


def wait_for(condition, ws, limit=evtest.LIMIT):
    """Handle what comes on ws (pings, mostly) until condition() holds; messages are an error."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:.0f} s in vain")
        if ws.has_input(0.01):
            frame = ws.receive_frame()
            if frame is None:
                raise Closed(ws.close_code, ws.close_reason)
            if frame.opcode < CLOSE:
                raise AssertionError(f"a message came: {frame}")
            ws._on_control(frame)
