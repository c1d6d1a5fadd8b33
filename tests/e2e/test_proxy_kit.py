"""The wire cases through app.proxy: each request that evserve accepts must mean the same to the upstream.

Every case of tests/wire is sent twice: to a handler that says what it saw, and through a proxied prefix of the same
site to an upstream that does so. The upstream reads strictly: what two readers could take for different requests, it
takes for none, and notes it. Requests that the site refuses must not reach it at all.
"""

import contextlib
import glob
import json
import os
import re
import socket
import threading
import unittest
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import evtest
import lua_site

SITE = """
app.set { max_body = "1M" }
local function hex(text) return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)) end
local function see(req)
    local fields = {}
    for name, value in pairs(req.headers) do fields[name:lower()] = hex(value) end
    local query = req.target:match "%?(.*)$"
    local seen = app.json.encode { method = req.method, path = hex(req.path), query = query and hex(query),
                                   fields = fields, body = hex(req.body) }
    return 200, seen, { ["X-Seen"] = req.method .. " " .. hex(req.path), ["Content-Type"] = "text/plain" }
end
app.any("/*rest", see)
app.any("/", see)
"""
PROXY = """
app.set { max_body = "1M" }
app.proxy("/", os.getenv "UPSTREAM")
"""
# Fields that belong to the connection, or that the proxy writes.
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "expect", "via",
       "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "x-request-id",
       "proxy-connection", "http2-settings", "host", "proxy-authenticate", "proxy-authorization"}
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (/[!-~]*) HTTP/1\.1\r\n")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*\r\n")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
PATIENCE_S = 1.0        # for responses that should come
ATTEMPTS = 5
LONG_PATIENCE_S = 10.0  # for those of a case that seems to go wrong: this machine may be busy


class Unclear(Exception):
    """Bytes that are not exactly one request."""


class Upstream:
    """Says what it saw, as the handler does."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.count, self.unclear = 0, []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(evtest.LIMIT)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock, sock.makefile("rb") as file, contextlib.suppress(OSError, EOFError):
            try:
                while True:
                    seen = self.read_request(file)
                    with self.lock:
                        self.count += 1
                    body = b"" if seen["method"] == "HEAD" else json.dumps(seen).encode()
                    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Seen: %s %s\r\nContent-Length: %d\r\n\r\n%s" %
                                 (seen["method"].encode(), seen["path"].encode(), len(body), body))
            except Unclear as error:
                with self.lock:
                    self.unclear.append(str(error))

    @staticmethod
    def match(pattern, line):
        found = pattern.fullmatch(line)
        if found is None:
            raise Unclear(repr(line))
        return found

    @staticmethod
    def read_line(file):
        line = file.readline()
        if not line.endswith(b"\n"):
            raise EOFError  # cut: no request
        return line

    def read_request(self, file):
        method, target = self.match(REQUEST_LINE, self.read_line(file)).groups()
        fields = []
        while (line := self.read_line(file)) != b"\r\n":
            name, value = self.match(FIELD, line).groups()
            fields.append((name.decode().lower(), value.decode("latin-1")))
        names = [name for name, _ in fields]
        for name in ("host", "content-length", "transfer-encoding", "expect"):
            if names.count(name) > 1:
                raise Unclear(f"{name} twice in {fields}")
        if "host" not in names or ("content-length" in names and "transfer-encoding" in names):
            raise Unclear(str(fields))
        path, mark, query = target.partition(b"?")
        if path.startswith(b"//"):
            raise Unclear(f"{target} names a host for some readers")
        if any(segment in (b".", b"..") for segment in urllib.parse.unquote_to_bytes(path).split(b"/")):
            raise Unclear(f"{target} is not normalised")
        joined = {}
        for name, value in fields:
            value = joined[name] + ("; " if name == "cookie" else ", ") + value if name in joined else value
            joined[name] = value
        encoded = {name: value.encode("latin-1").hex() for name, value in joined.items()}
        return {"method": method.decode(), "path": urllib.parse.unquote_to_bytes(path).hex(),
                "query": query.hex() if mark else None, "fields": encoded,
                "body": self.read_body(file, dict(fields)).hex()}

    def read_body(self, file, fields):
        if "transfer-encoding" in fields:
            if fields["transfer-encoding"] != "chunked":
                raise Unclear(str(fields))
            body = b""
            while (size := int(self.match(CHUNK, self.read_line(file)).group(1), 16)):
                body += file.read(size)
                if (line := self.read_line(file)) != b"\r\n":
                    raise Unclear(f"{line} behind a chunk")
            if (line := self.read_line(file)) != b"\r\n":
                raise Unclear(f"{line} behind the last chunk")
            return body
        length = fields.get("content-length", "0")
        if not re.fullmatch("0|[1-9][0-9]*", length):
            raise Unclear(f"a length of {length}")
        body = file.read(int(length))
        if len(body) < int(length):
            raise EOFError
        return body


def unescape(text):
    return re.sub(rb"\\(r|n|t|\\|x[0-9a-fA-F]{2})",
                  lambda found: {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}.get(found[1]) or
                  bytes([int(found[1][1:], 16)]), text)


def read_cases():
    """(name, bytes that the client sends, most responses that may come) of each wire case."""
    cases = []
    for path in sorted(glob.glob(os.path.join(lua_site.ROOT, "tests", "wire", "*.wire"))):
        with open(path, "rb") as file:
            for line in file.read().split(b"\n"):
                kind, _, rest = line.partition(b" ")
                rest = rest.replace(b"{etag}", b'"x"').replace(b"{scheme}", b"http").replace(b"{SCHEME}", b"HTTP")
                rest = rest.replace(b"{other_scheme}", b"https")
                if kind == b"case":
                    cases.append([os.path.basename(path) + ": " + rest.split(b" ")[0].decode(), b"", 0])
                elif kind == b">":
                    cases[-1][1] += rest + b"\r\n"
                elif kind == b">|":
                    cases[-1][1] += unescape(rest)
                elif kind == b">*":
                    count, _, text = rest.partition(b" ")
                    cases[-1][1] += unescape(text) * int(count)
                elif kind == b"status":
                    # The site of the cases refuses some requests that these sites accept.
                    cases[-1][2] = max(len(rest.split()), cases[-1][1].count(b" HTTP/1."))
    return [case for case in cases if case[2] > 0]  # the clients of the others leave before there is a response


def read_response(file, method):
    """(status, X-Seen, body) of a final response; None at the end."""
    while True:
        line = file.readline()
        if not line:
            return None
        status, fields = int(line.split()[1]), {}
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        if status >= 200:
            break
    seen = fields.get("x-seen")
    if method == "HEAD" or (seen or "").startswith("HEAD ") or status in (204, 304):
        return status, seen, None
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while (size := int(file.readline(), 16)):
            body += file.read(size)
            file.readline()
        file.readline()
        return status, seen, body
    return status, seen, file.read(int(fields["content-length"])) if "content-length" in fields else file.read()


def play(server, data, count, patience_s=PATIENCE_S):
    """What came back: a list of (status, X-Seen, body)."""
    responses = []
    with server.connect() as sock:
        sock.settimeout(patience_s)
        with contextlib.suppress(OSError):  # the server may have refused by now
            sock.sendall(data)
        method = "HEAD" if data.startswith(b"HEAD ") else None  # one that is refused has no X-Seen
        with sock.makefile("rb") as file, contextlib.suppress(OSError):
            while len(responses) < count and (response := read_response(file, method)) is not None:
                responses.append(response)
    return responses


def one_slash(path):
    """A path in hex as the proxy writes it: with one slash at its begin."""
    return re.sub("^(2f)+", "2f", path)


def meaning(response):
    """What was seen, without what belongs to the connection."""
    status, seen, body = response
    if seen is None:
        return status
    if body is None:
        method, _, path = seen.partition(" ")
        return method, one_slash(path)
    view = json.loads(body)
    view["path"] = one_slash(view["path"])
    view["fields"] = {name: value for name, value in view["fields"].items()
                      if name.replace("_", "-") not in OWN}
    view["query"] = view.get("query")
    return view


class ProxyKit(unittest.TestCase):
    maxDiff = None

    def play_all(self, cases, upstream, servers):
        """Returns how many requests the upstream has seen whose responses did not arrive: a reset may take one from its
        client, on a busy machine, but not each time."""
        before = upstream.count
        with ThreadPoolExecutor(64) as pool:
            direct, proxied = (list(pool.map(lambda case, to=server: play(to, case[1], case[2]), cases))
                               for server in servers)
        passed = again = 0
        for (name, data, count), ours, theirs in zip(cases, direct, proxied):
            if list(map(meaning, theirs)) != list(map(meaning, ours)):
                again += 1
                ours, theirs = (play(server, data, count, LONG_PATIENCE_S) for server in servers)
            with self.subTest(name, request=data[:2000]):
                self.assertEqual(list(map(meaning, theirs)), list(map(meaning, ours)))
            passed += sum(response[1] is not None for response in theirs)
        print(f"{len(cases)} cases, {passed} requests went through the proxy, {again} cases were played again")
        self.assertGreater(passed, 500)
        return upstream.count - before - passed

    def test_each_request_means_the_same_to_the_upstream(self):
        cases = read_cases()
        self.assertGreater(len(cases), 400)
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(Upstream())
            servers = []
            for text in (SITE, PROXY):
                path = stack.enter_context(lua_site.script(text))
                servers.append(stack.enter_context(
                    evtest.Program(lua_site.EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path),
                                   env={**os.environ, "UPSTREAM": f"http://127.0.0.1:{upstream.port}"})))
            extra = [self.play_all(cases, upstream, servers)]
            while extra[-1] != 0 and len(extra) < ATTEMPTS:
                extra.append(self.play_all(cases, upstream, servers))
            self.assertEqual(extra[-1], 0, extra)  # the upstream has seen none that nobody has sent
            self.assertEqual(upstream.unclear, [])


if __name__ == "__main__":
    unittest.main()
