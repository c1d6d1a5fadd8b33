"""Other servers as those that a site asks: see scripts/fetch_peers.sh. Exit status 0 if no request has failed, 1 if some have, 77
without a server."""

import collections
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position
from lua_site import Client  # pylint: disable=wrong-import-position

EVSERVE = evtest.binary("EVSERVE_BIN")
CLIENTS, ASKS = 6, 300  # at the same time, each so many small requests
KEPT = 7                # requests on a connection, where that can be set; and it ends after a second without any
IDLE_S = 1.3            # longer than that
LARGE = evtest.pattern(3 << 20)
TEXT = b"a line of text, over and over\n" * 5000

SITE = """
local app = require "evserve"
local base = os.getenv "PEER"
app.set { max_body = "64M", handler_cpu = "5s" }

local function answer(res, err, kind)
    if not res then return 502, err .. "\\n", { ["x-status"] = kind } end
    local headers = { ["x-status"] = res.status, ["x-url"] = res.url, ["x-encoding"] = res.headers["content-encoding"],
                      ["x-range"] = res.headers["content-range"], ["x-tag"] = res.headers.etag }
    if res.body then return 200, res.body, headers end
    return 200, function(out) for piece in res:chunks() do out:write(piece) end end, headers
end

app.get("/ask", function(req)
    local fields = {}
    for _, name in ipairs { "range", "if-none-match" } do fields[name] = req.query[name] end
    return answer(app.fetch(base .. req.query.path, {
        method = req.query.method, headers = fields, stream = req.query.stream == "1", gzip = req.query.gzip ~= "0",
        timeout = "20s", max_body = tonumber(req.query.max_body), redirects = req.query.redirects ~= "0",
    }))
end)
app.post("/post", function(req)
    return answer(app.fetch(base .. req.query.path, { method = "POST", body = req.query.whole and req.body or req,
        length = not req.query.whole and not req.query.chunks and tonumber(req.headers["content-length"]) or nil }))
end)
"""

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_timeout 1s; keepalive_requests {kept}; gzip on; gzip_types text/plain; gzip_min_length 100;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; types {{ text/plain txt; }} default_type application/octet-stream;
    client_max_body_size 64m;
    server {{
        listen 127.0.0.1:{port}; root {folder}/public;
        location /echo {{ proxy_pass http://127.0.0.1:{echo}; proxy_http_version 1.1; proxy_request_buffering off; }}
    }}
}}
"""
APACHE = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
{user}
{modules}
KeepAlive On
KeepAliveTimeout 1
MaxKeepAliveRequests {kept}
DocumentRoot {folder}/public
TypesConfig {folder}/mime.types
AddOutputFilterByType DEFLATE text/plain
<Directory {folder}/public>
    Require all granted
</Directory>
ProxyPass /echo http://127.0.0.1:{echo}/echo
"""
APACHE_MODULES = ("mpm_event", "authz_core", "authn_core", "dir", "mime", "filter", "deflate", "proxy", "proxy_http")
H2O = """
http1-request-timeout: 1
num-threads: 1
compress: [gzip]
listen: {{ host: 127.0.0.1, port: {port} }}
hosts:
  default:
    paths:
      /echo: {{ proxy.reverse.url: "http://127.0.0.1:{echo}/echo" }}
      /: {{ file.dir: "{folder}/public" }}
"""
HAPROXY = """
global
    maxconn 512
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout http-keep-alive 1s
    timeout server 30s
    compression algo gzip
    compression type text/plain
frontend front
    bind 127.0.0.1:{port}
    default_backend site
backend site
    server s 127.0.0.1:{echo}
"""
LIGHTTPD = """
server.document-root = "{folder}/public"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{folder}/lighttpd.log"
index-file.names = ( "index.html" )
server.upload-dirs = ( "{folder}" )
server.modules = ( "mod_indexfile", "mod_deflate", "mod_proxy", "mod_staticfile" )
server.max-keep-alive-requests = {kept}
server.max-keep-alive-idle = 1
mimetype.assign = ( ".txt" => "text/plain", "" => "application/octet-stream" )
deflate.mimetypes = ( "text/plain" )
deflate.allowed-encodings = ( "gzip" )
$HTTP["url"] =~ "^/echo" {{ proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => {echo} ) ) ) }}
"""
NODE = """
const http = require("http"), fs = require("fs"), path = require("path"), zlib = require("zlib");
const root = process.argv[3];
const server = http.createServer((request, response) => {
    const where = new URL(request.url, "http://a").pathname;
    if (where === "/echo") { request.pipe(response); return; }
    if (where === "/hints") { response.writeProcessing(); response.writeContinue(); response.end("after hints"); return; }
    const file = path.join(root, where);
    fs.stat(file, (error, stat) => {
        if (error) { response.writeHead(404); response.end("nothing\\n"); return; }
        if (stat.isDirectory() && where.endsWith("/")) { response.end("index\\n"); return; }
        if (stat.isDirectory()) { response.writeHead(301, { Location: where + "/" }); response.end(); return; }
        if (request.method === "HEAD") { response.writeHead(200, { "Content-Length": stat.size }); response.end(); return; }
        const stream = fs.createReadStream(file);
        if (/gzip/.test(request.headers["accept-encoding"]) && file.endsWith(".txt")) {
            response.writeHead(200, { "Content-Encoding": "gzip" });
            stream.pipe(zlib.createGzip()).pipe(response);
        } else { response.writeHead(200); stream.pipe(response); }
    });
});
server.keepAliveTimeout = 1000;
server.maxRequestsPerSocket = %d;
server.listen(parseInt(process.argv[2]), "127.0.0.1");
""" % KEPT
PYTHON = """
import http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 1
    def do_POST(self):
        if self.headers.get("Transfer-Encoding"):
            body = b""
            while (size := int(self.rfile.readline(), 16)):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.daemon_threads = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), lambda *a: Handler(*a, directory=sys.argv[2])).serve_forever()
"""
ECHO_SITE = """
local app = require "evserve"
app.set { max_body = "64M" }
app.static("/", "public")
app.post("/echo", function(req) return 200, function(out) for piece in req:chunks() do out:write(piece) end end end)
"""


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def nginx(folder, **values):
    return ["nginx", "-p", folder, "-c", write(folder, "nginx.conf", NGINX.format(folder=folder, **values))]


def httpd(folder, **values):
    modules = "/usr/lib/apache2/modules"
    lines = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in APACHE_MODULES)
    user = "User nobody" if os.getuid() == 0 else ""
    write(folder, "mime.types", "text/plain txt\n")
    return ["apache2", "-DFOREGROUND", "-f",
            write(folder, "apache.conf", APACHE.format(folder=folder, modules=lines, user=user, **values))]


def h2o(folder, **values):
    return ["h2o", "-m", "worker", "-c", write(folder, "h2o.conf", H2O.format(folder=folder, **values))]


def haproxy(folder, **values):
    return ["haproxy", "-db", "-f", write(folder, "haproxy.cfg", HAPROXY.format(**values))]


def lighttpd(folder, **values):
    return ["lighttpd", "-D", "-f", write(folder, "lighttpd.conf", LIGHTTPD.format(folder=folder, **values))]


def node(folder, port, **_):
    return ["node", write(folder, "server.js", NODE), str(port), os.path.join(folder, "public")]


def python(folder, port, **_):
    return [sys.executable, write(folder, "server.py", PYTHON), str(port), os.path.join(folder, "public")]


# unknown: the status of a method that it does not know. What a server cannot do is left out.
Peer = collections.namedtuple("Peer", "program command unknown lacks")
PEERS = {
    "nginx": Peer("nginx", nginx, 405, ("hints",)),
    "httpd": Peer("apache2", httpd, 501, ("hints",)),
    "h2o": Peer("h2o", h2o, 405, ("hints",)),
    "haproxy": Peer("haproxy", haproxy, 501, ("hints",)),
    "lighttpd": Peer("lighttpd", lighttpd, 501, ("hints",)),
    "node": Peer("node", node, 400, ("ranges",)),
    "python": Peer("python3", python, 501, ("ranges", "gzip", "hints")),
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Proof:
    """Requests of one site to one server."""

    def __init__(self, server, peer):
        self.server, self.lacks, self.unknown = server, peer.lacks, peer.unknown
        self.count, self.failures = 0, []
        self.lock = threading.Lock()

    def expect(self, what, answer, status, body=None, **fields):
        """What the site has got: a status, a body, and fields with what they begin with."""
        got = (answer.headers.get("x-status"), answer.headers.get("x-encoding"))
        wrong = got[0] != str(status) or not answer.whole or (body is not None and answer.body != body)
        wrong = wrong or any(not answer.headers.get("x-" + name, "").startswith(value) for name, value in fields.items())
        with self.lock:
            self.count += 1
            if wrong:
                self.failures.append(f"{what}: {answer.status}, there {got[0]}, {len(answer.body)} bytes: {answer.body[:200]!r}")
        return answer

    def ask(self, client, path, status, body=None, fields=None, **options):
        query = "&".join(f"{name}={quote(value)}" for name, value in {"path": path, **options}.items())
        what = f"{path} {options or ''}"
        try:
            return self.expect(what, client.ask("GET", "/ask?" + query), status, body, **(fields or {}))
        except (OSError, EOFError, ValueError) as error:
            raise type(error)(f"{what}: {error}") from error

    def post(self, client, body, **options):
        query = "&".join(f"{name}={value}" for name, value in {"path": "/echo", **options}.items())
        self.expect(f"POST {len(body)} bytes {options}", client.ask("POST", "/post?" + query, body=body), 200, body)

    def go_through(self, client):
        """Each kind of response once, whole and streamed."""
        for stream in ("0", "1"):
            self.ask(client, "/small.txt", 200, b"small\n", stream=stream)
            self.ask(client, "/large.bin", 200, LARGE, stream=stream)
            self.ask(client, "/empty.txt", 200, b"", stream=stream)
            self.ask(client, "/missing", 404, stream=stream)
            self.ask(client, "/dir", 301, stream=stream, redirects="0")
            self.ask(client, "/large.bin", 200, b"", method="HEAD", stream=stream)
            if "gzip" not in self.lacks:
                self.ask(client, "/text.txt", 200, TEXT, stream=stream)
                self.ask(client, "/text.txt", 200, TEXT, stream=stream, gzip="0")
            if "ranges" not in self.lacks:
                self.ask(client, "/large.bin", 206, LARGE[100:1100], {"range": "bytes 100-1099/"}, range="bytes=100-1099",
                         stream=stream)
                tag = self.ask(client, "/large.bin", 200, b"", method="HEAD").headers.get("x-tag", "")
                self.ask(client, "/large.bin", 304, b"", stream=stream, **{"if-none-match": tag})
        self.ask(client, "/large.bin", "too large", max_body="1000")
        self.ask(client, "/dir", 200, b"index\n")
        self.ask(client, "/small.txt", self.unknown, method="FROBNICATE")
        if "hints" not in self.lacks:
            self.ask(client, "/hints", 200, b"after hints")
        for body in (b"", b"x" * 1000, LARGE):
            self.post(client, body, whole="1")
            self.post(client, body)
            self.post(client, body, chunks="1")

    def ask_often(self):
        def run():
            try:
                with Client(self.server) as client:
                    for _ in range(ASKS):
                        self.ask(client, "/small.txt", 200, b"small\n")
            except (OSError, EOFError, ValueError) as error:
                with self.lock:
                    self.failures.append(repr(error))
        threads = [threading.Thread(target=run, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(evtest.LIMIT)

    def ask_over_idle_connections(self, client):
        """They end about when the next request is sent."""
        for wait_s in (IDLE_S, 0.99, 1.0, 1.01):
            for _ in range(3):
                self.ask(client, "/small.txt", 200, b"small\n")
            time.sleep(wait_s)
            self.ask(client, "/small.txt", 200, b"small\n")


@contextlib.contextmanager
def running(name, folder, port, echo):
    """The server, which answers on port."""
    command = PEERS[name].command(folder, port=port, echo=echo, kept=KEPT)
    with open(os.path.join(folder, name + ".out"), "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder)
        try:
            def is_up():
                if process.poll() is not None:
                    with open(out.name, encoding="utf-8", errors="replace") as text:
                        raise RuntimeError(f"{name} does not start: {text.read()}")
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                    sock.sendall(b"GET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    return sock.recv(100).startswith(b"HTTP/1.1 200")
                return False
            evtest.wait_until(is_up, name)
            yield
        finally:
            process.terminate()
            process.wait(30)


def prove(name):
    """Requests, and those that failed."""
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        os.chmod(folder, 0o755)  # servers that change their user
        os.makedirs(os.path.join(folder, "public", "dir"))
        for file, content in (("small.txt", b"small\n"), ("large.bin", LARGE), ("text.txt", TEXT), ("empty.txt", b""),
                              ("dir/index.html", b"index\n")):
            with open(os.path.join(folder, "public", file), "wb") as out:
                out.write(content)
        write(folder, "site.lua", SITE)
        write(folder, "echo.lua", ECHO_SITE)
        port = free_port()
        with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "echo.lua", cwd=folder) as echo, \
                running(name, folder, port, echo.address[1]), \
                evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=folder,
                               env=dict(os.environ, PEER=f"http://127.0.0.1:{port}")) as server:
            proof = Proof(server, PEERS[name])
            try:
                with Client(server) as client:
                    proof.go_through(client)
                    proof.ask_over_idle_connections(client)
                proof.ask_often()
            except (OSError, EOFError, ValueError) as error:
                proof.failures.append(f"given up: {error!r}")
            return proof


def main(names):
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        sys.exit(f"fetch_peers.py: {unknown[0]}: one of {', '.join(PEERS)}")
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = [name for name in names or PEERS if shutil.which(PEERS[name].program)]
    for name in set(names or PEERS) - set(found):
        print(f"{name} is not installed (scripts/setup.sh --proxies)")
    failed = 0
    for name in found:
        proof = prove(name)
        print(f"{name}: {proof.count} requests, {len(proof.failures)} failed", flush=True)
        for line in proof.failures[:20]:
            print("    " + line)
        failed += len(proof.failures)
    return 77 if not found else failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
