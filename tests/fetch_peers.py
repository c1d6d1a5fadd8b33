"""app.fetch with other servers: see scripts/fetch_peers.sh. Exit status 0 if all is as it should be, 1 if something is
not, 77 if none of the servers is installed."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position

EVSERVE = evtest.binary("EVSERVE_BIN")
ROUNDS = 200  # requests on kept connections

SITE = """
local app = require "evserve"
app.post("/ask", { max_body = "16M" }, function(req)
    local wish = req:json()
    local res, err, kind = app.fetch(wish.url, wish.options)
    if not res then return { err = err, kind = kind } end
    local headers = {}
    for name, value in pairs(res.headers) do headers[name:lower()] = type(value) == "table" and value[1] or value end
    return 200, res.body, { ["x-status"] = tostring(res.status), ["x-headers"] = (require "json_text")(headers) }
end)
app.post("/many", function(req)
    local wish = req:json()
    for i = 1, wish.count do
        local res, err = app.fetch(wish.url)
        if not res or res.body ~= wish.body then return 200, tostring(i) .. " " .. tostring(err) end
    end
    return 200, "all"
end)
"""
# The fields as JSON, without a library, and without the quotes of entity tags.
JSON_TEXT = """
return function(headers)
    local parts = {}
    for name, value in pairs(headers) do
        parts[#parts + 1] = ("%q:%q"):format(tostring(name), (tostring(value):gsub('[%c"\\\\]', "")))
    end
    return "{" .. table.concat(parts, ",") .. "}"
end
"""

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off; gzip on; gzip_min_length 100; gzip_types text/plain; types {{ text/plain txt; }}
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; absolute_redirect off; }}
}}
"""
H2O = """
num-threads: 1
user: root
hosts:
  default:
    listen: {{port: {port}, host: 127.0.0.1}}
    compress: [gzip]
    paths: {{"/": {{file.dir: {folder}/files}}}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend site
backend site
    compression algo gzip
    compression type text/plain
    server s {behind}
"""
HTTPD = """
ServerRoot "{folder}"
PidFile {folder}/httpd.pid
Listen 127.0.0.1:{port}
ServerName localhost
ErrorLog {folder}/httpd.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
DocumentRoot "{folder}/files"
TypesConfig /dev/null
AddType text/plain .txt
AddOutputFilterByType DEFLATE text/plain
<Directory "{folder}/files">
    Require all granted
</Directory>
"""
LIGHTTPD = """
server.document-root = "{folder}/files"
server.bind = "127.0.0.1"
server.port = {port}
index-file.names = ( "index.html" )
mimetype.assign = ( ".txt" => "text/plain" )
"""
NODE = """
const http = require("http"), fs = require("fs"), path = require("path"), zlib = require("zlib");
http.createServer((req, res) => {{
    const pieces = [];
    req.on("data", piece => pieces.push(piece)).on("end", () => {{
        if (req.url == "/echo") {{ res.writeHead(200); res.end(Buffer.concat(pieces)); return; }}
        if (req.url == "/hints") {{ res.writeProcessing(); res.writeContinue(); res.end("after hints"); return; }}
        if (req.url == "/sub") {{ res.writeHead(301, {{Location: "/sub/"}}); res.end(); return; }}
        if (req.url == "/sub/") {{ res.end("index\\n"); return; }}
        let bytes;
        try {{ bytes = fs.readFileSync("{folder}/files" + req.url); }} catch (e) {{ res.writeHead(404); res.end("none"); return; }}
        const fields = {{"Content-Type": "text/plain"}};
        if ((req.headers["accept-encoding"] || "").includes("gzip")) {{
            bytes = zlib.gzipSync(bytes); fields["Content-Encoding"] = "gzip";
        }}
        res.writeHead(200, fields);
        for (let at = 0; at < bytes.length; at += 50000) res.write(bytes.subarray(at, at + 50000));
        res.end();
    }});
}}).listen({port}, "127.0.0.1");
"""
PYTHON = """
import functools, http.server
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="{folder}/files")
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), handler).serve_forever()
"""


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def modules_of_httpd():
    return "/usr/lib/apache2/modules"


# The program that has to be there, and the command.
SERVERS = {
    "nginx": ("nginx", lambda folder, port: ["nginx", "-p", folder, "-c", write(
        folder, "nginx.conf", NGINX.format(folder=folder, port=port))]),
    "h2o": ("h2o", lambda folder, port: ["h2o", "-c", write(folder, "h2o.yaml", H2O.format(folder=folder, port=port))]),
    "httpd": ("apache2", lambda folder, port: ["apache2", "-X", "-f", write(folder, "httpd.conf", HTTPD.format(
        folder=folder, port=port, modules=modules_of_httpd()))]),
    "lighttpd": ("lighttpd", lambda folder, port: ["lighttpd", "-D", "-f", write(
        folder, "lighttpd.conf", LIGHTTPD.format(folder=folder, port=port))]),
    "python": ("python3", lambda folder, port: [sys.executable, "-c", PYTHON.format(folder=folder, port=port)]),
    "node": ("node", lambda folder, port: ["node", write(folder, "server.js", NODE.format(folder=folder, port=port))]),
}
NAMES = [*SERVERS, "haproxy"]


@contextlib.contextmanager
def running(name, folder):
    """A running server; yields its port. HAProxy stands before Python's."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        if name == "haproxy":
            behind = stack.enter_context(running("python", folder))
            command = ["haproxy", "-db", "-f", write(folder, "haproxy.cfg", HAPROXY.format(
                port=port, behind=f"127.0.0.1:{behind}"))]
        else:
            command = SERVERS[name][1](folder, port)
        out = stack.enter_context(open(os.path.join(folder, name + ".out"), "wb"))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            def is_up():
                if process.poll() is not None:
                    with open(out.name, encoding="utf-8", errors="replace") as text:
                        raise RuntimeError(f"{name} does not start: {text.read()}")
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    return True
                return False
            evtest.wait_until(is_up, name)
            yield port
        finally:
            process.terminate()
            process.wait(30)


class Site:
    """An evserve that asks."""

    def __init__(self, server):
        self.address = "http://%s:%d" % server.address

    def post(self, path, wish):
        request = urllib.request.Request(self.address + path, json.dumps(wish).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.headers, response.read()

    def ask(self, url, **options):
        """Returns (status, fields, body), or (kind, text, b"")."""
        headers, body = self.post("/ask", {"url": url, "options": options})
        if headers["x-status"] is None:
            failure = json.loads(body)
            return failure["kind"], failure["err"], b""
        return int(headers["x-status"]), json.loads(headers["x-headers"]), body


FAILURES = []


def check(name, what, holds, got):
    if not holds:
        FAILURES.append(f"{name}: {what}: {str(got)[:300]}")


def play(name, site, port, files):
    url = f"http://127.0.0.1:{port}"
    for path, content in files.items():
        status, fields, body = site.ask(f"{url}/{path}")
        check(name, path, status == 200 and hashlib.sha256(body).digest() == hashlib.sha256(content).digest(),
              (status, fields, len(body)))
        status, fields, body = site.ask(f"{url}/{path}", gzip=False)
        check(name, path + " without gzip", status == 200 and body == content, (status, fields, len(body)))
        status, fields, body = site.ask(f"{url}/{path}", method="HEAD")
        check(name, path + " by HEAD", status == 200 and body == b"", (status, fields, body))
    etag = site.ask(f"{url}/small.txt", gzip=False)[1].get("etag")
    if etag is not None:
        status, fields, body = site.ask(f"{url}/small.txt", gzip=False, headers={"If-None-Match": f'"{etag}"'})
        check(name, "304", status == 304 and body == b"", (status, fields, body))
    status, fields, body = site.ask(f"{url}/big.txt", headers={"Range": "bytes=10-19"})
    if status != 200:
        check(name, "range", status == 206 and body == files["big.txt"][10:20], (status, fields, body))
    status, fields, body = site.ask(f"{url}/none.txt")
    check(name, "404", status == 404 and body != b"", (status, fields, body))
    status, fields, body = site.ask(f"{url}/sub")
    check(name, "a redirect", status == 200 and body == b"index\n", (status, fields, body))
    status, fields, body = site.ask(f"{url}/sub", redirects=False)
    check(name, "no redirect", status in (301, 302), (status, fields, body))
    status, fields, body = site.ask(f"{url}/big.txt", max_body=1000, gzip=False)
    check(name, "too large", status == "too large", (status, fields, len(body)))
    if name != "node":
        status, fields, body = site.ask(f"{url}/small.txt", method="PROPFIND")
        check(name, "a method that it does not know", isinstance(status, int) and status >= 400, (status, fields, body))
    else:
        status, fields, body = site.ask(f"{url}/echo", method="POST", body="x" * 100000)
        check(name, "a body", status == 200 and body == b"x" * 100000, (status, fields, len(body)))
        status, fields, body = site.ask(f"{url}/hints")
        check(name, "1xx", status == 200 and body == b"after hints", (status, fields, body))
    _, body = site.post("/many", {"url": f"{url}/small.txt", "count": ROUNDS, "body": files["small.txt"].decode()})
    check(name, f"{ROUNDS} requests", body == b"all", body)


def main():
    wanted = sys.argv[1:] or NAMES
    there = [name for name in wanted if shutil.which(SERVERS[name][0] if name in SERVERS else name)]
    if not there:
        print("none of these servers is installed:", *wanted)
        return 77
    words = random.Random(7)
    files = {"small.txt": b"small\n", "empty.txt": b"",
             "big.txt": b"".join(b"%d\n" % words.randrange(10**9) for _ in range(100000)),
             "noise.bin": words.randbytes(3000000)}
    for name in there:
        with tempfile.TemporaryDirectory() as folder:
            for path, content in files.items():
                write(folder, "files/" + path, content)
            write(folder, "files/sub/index.html", "index\n")
            write(folder, "site.lua", SITE)
            write(folder, "json_text.lua", JSON_TEXT)
            os.chmod(folder, 0o755)
            before = len(FAILURES)
            with running(name, folder) as port, evtest.Program(
                    EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=folder) as server:
                play(name, Site(server), port, files)
            print(f"{name}: {'as it should be' if len(FAILURES) == before else 'FAILED'}", flush=True)
    print(*FAILURES, sep="\n")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
