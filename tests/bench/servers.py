"""The servers that are measured: how each is configured, started and looked at. Each has one worker or thread, no access
log, an open-file cache where it knows one, and as many requests a connection as it lets one set."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build/release/tests"
SMALL_BYTES, MEDIUM_BYTES, LARGE_BYTES = 1300, 100 * 1024, 10 * 1024 * 1024
LUA_TEXT = "hello, a short string from Lua\n"
CIPHER = "TLS_AES_128_GCM_SHA256"
START_SECONDS = 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_site(folder):
    """The files that all of them serve, and evserve's script."""
    for name, size in (("small.txt", SMALL_BYTES), ("medium.bin", MEDIUM_BYTES), ("large.bin", LARGE_BYTES)):
        (folder / name).write_bytes((b"0123456789abcdef" * (size // 16 + 1))[:size])
    (folder / "site.lua").write_text(
        'local app = require "evserve"\n'
        f'app.static("/", "{folder}")\n'
        'app.set { idle_timeout = "300s", max_cached_file = "128K" }\n'
        f'app.get("/lua", function() return {LUA_TEXT!r} end)\n')


def has_tls():
    """Whether evserve was built with TLS, and the tools for it are here."""
    return shutil.which("openssl") is not None and (PROGRAMS / "handshakes").exists()


def make_certificates(folder):
    """One for each kind of key, made by openssl: folder/KIND.pem and folder/KIND.key."""
    for kind, more in (("ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rsa", ["rsa:2048"])):
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "365", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-newkey", *more,
                        "-keyout", str(folder / f"{kind}.key"), "-out", str(folder / f"{kind}.pem")],
                       check=True, capture_output=True)
        (folder / f"{kind}.key").chmod(0o600)


def client_environment(folder):
    """In which OpenSSL's clients offer one cipher of TLS 1.3, so that all servers agree on the same: some take the
    client's first, some their own."""
    (folder / "client.cnf").write_text("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n"
                                       f"[client]\nCiphersuites = {CIPHER}\n")
    return {**os.environ, "OPENSSL_CONF": str(folder / "client.cnf")}


def request_bytes(port, path, fields=()):
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def fetch(port, path, fields=()):
    """The bytes of one answer, head and content."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(request_bytes(port, path, fields))
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536) or b"\r\n\r\n"
        head, _, content = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        wanted = int(length.group(1)) if length and b" 304 " not in head.split(b"\r\n")[0] else 0
        while len(content) < wanted:
            more = s.recv(65536)
            if not more:
                break
            content += more
        return head + b"\r\n\r\n" + content


class Server:
    """A running server, pinned to a core."""

    def __init__(self, name, argv, port=None, core=None, port_from=None, version=""):
        self.name, self.port, self.version = name, port, version
        pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if port_from is not None:
            pipes[port_from] = subprocess.PIPE
        self.process = subprocess.Popen(argv, preexec_fn=pin, stdin=subprocess.DEVNULL, **pipes)
        if port_from is not None:
            self.port = int(re.search(r"(\d+)\s*$", getattr(self.process, port_from).readline().decode()).group(1))
        self.wait_until_it_answers()

    def wait_until_it_answers(self):
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.stop()
                    raise RuntimeError(f"{self.name} does not start") from None
                time.sleep(0.01)

    def pids(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                todo += map(int, task.read_text().split())
        return found

    def cpu_us(self):
        """User and system time of the process tree so far."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                total += int(task.read_text().split()[0])
        return total / 1000

    def memory_bytes(self, field="VmRSS"):
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found = re.search(rf"{field}:\s+(\d+)", status)
            if found is None:
                raise RuntimeError(f"{self.name} has ended: {self.process.wait(5)}")
            total += int(found.group(1)) * 1024
        return total

    def stop(self):
        for pid in self.pids() if self.process.poll() is None else []:  # a master first: it would replace its workers
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


def version_of(argv, pattern):
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, run.stdout + run.stderr)
    return found.group(1) if found else ""


def start_evserve(folder, core, program=None, more=(), tls=None, lines=()):
    """lines: more of the script."""
    script = folder / "site.lua"
    if lines:
        script = folder / "site_with.lua"
        script.write_text((folder / "site.lua").read_text() + "".join(line + "\n" for line in lines))
    listen = ["--listen", "127.0.0.1:0"] if tls is None else [
        "--listen", "127.0.0.1:0?tls", "--tls-cert", str(folder / f"{tls}.pem"), "--tls-key", str(folder / f"{tls}.key")]
    argv = [program or str(ROOT / "evserve"), *listen, *more, str(script)]
    return Server("evserve", argv, core=core, port_from="stderr", version=version_of([argv[0], "--version"], r"([\d.]+)"))


def h2load_request(path):
    """What h2load sends: the floor has to know its length."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        load = subprocess.Popen(["h2load", "--h1", "-n1", "-c1", f"http://127.0.0.1:{port}{path}"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peer, _ = listener.accept()
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        peer.close()
        load.wait()
    return data


def start_floor(answer, request, core, closes=False, folder=None, tls=None):
    """The answer is bytes; the request is as the load generator sends it, with a port of five digits. With TLS each
    read is a request."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(answer)
    argv = [str(PROGRAMS / "floor"), "--request", str(len(request))] if tls is None else [
        str(PROGRAMS / "floor_tls"), "--cert", str(folder / f"{tls}.pem"), "--key", str(folder / f"{tls}.key")]
    try:
        return Server("floor", [*argv, "--answer", file.name, *(["--close"] if closes else [])], core=core,
                      port_from="stdout")
    finally:
        os.unlink(file.name)


def start_nginx(folder, core, tls=None):
    port = free_port()
    modules = pathlib.Path("/usr/lib/nginx/modules")
    has_lua = (modules / "ngx_http_lua_module.so").exists()
    load = "".join(f"load_module {modules}/{m}.so;\n" for m in ("ndk_http_module", "ngx_http_lua_module")) if has_lua else ""
    lua = f"location = /lua {{ default_type text/plain; content_by_lua_block {{ ngx.print({LUA_TEXT!r}) }} }}" if has_lua else ""
    certificate = f"ssl_certificate {tls}.pem; ssl_certificate_key {tls}.key; ssl_protocols TLSv1.2 TLSv1.3;" if tls else ""
    (folder / "nginx.conf").write_text(f"""{load}
user root; worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; multi_accept on; use epoll; }}
http {{
    types {{ text/plain txt; application/octet-stream bin; }}
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off;
    keepalive_timeout 300s; keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=300s; open_file_cache_valid 300s; open_file_cache_errors on;
    server {{ listen 127.0.0.1:{port} {"ssl" if tls else ""} backlog=4096; root {folder}; {lua} {certificate} }}
}}
""")
    server = Server("nginx", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port, core,
                    version=version_of(["nginx", "-v"], r"nginx/([\d.]+)"))
    server.has_lua = has_lua
    return server


def start_h2o(folder, core, tls=None):
    port = free_port()
    ssl = f", ssl: {{ certificate-file: {folder}/{tls}.pem, key-file: {folder}/{tls}.key }}" if tls else ""
    (folder / "h2o.yaml").write_text(f"""
num-threads: 1
max-connections: 19000
user: root
tcp-fastopen: 0
http1-request-timeout: 300
listen: {{ host: 127.0.0.1, port: {port}{ssl} }}
hosts: {{ default: {{ paths: {{ "/": {{ file.dir: {folder} }} }} }} }}
""")
    return Server("h2o", ["h2o", "-c", str(folder / "h2o.yaml")], port, core,
                  version=version_of(["h2o", "--version"], r"h2o version ([\d.]+)"))


def start_lighttpd(folder, core):
    port = free_port()
    (folder / "lighttpd.conf").write_text(f"""
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}"
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
server.max-fds = 20000
server.max-connections = 19000
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 300
server.listen-backlog = 4096
server.stat-cache-engine = "simple"
mimetype.assign = ( ".txt" => "text/plain", ".bin" => "application/octet-stream" )
""")
    return Server("lighttpd", ["lighttpd", "-D", "-f", str(folder / "lighttpd.conf")], port, core,
                  version=version_of(["lighttpd", "-v"], r"lighttpd/([\d.]+)"))


PEERS = {"nginx": start_nginx, "h2o": start_h2o, "lighttpd": start_lighttpd}
TLS_PEERS = ("nginx", "h2o") # lighttpd has TLS in a package of its own


class HeldConnections:
    """Kept-alive TLS connections that have made one request each, for as long as the with statement lasts."""

    def __init__(self, server, count, environment):
        self.environment = environment
        self.argv = [str(PROGRAMS / "handshakes"), "--port", str(server.port), "--hold", str(count)]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment)
        held, _, self.agreed = self.process.stdout.readline().decode().strip().partition(" ")
        if held != "held":
            raise RuntimeError("the connections are not held")
        return self

    def __exit__(self, *_):
        self.process.communicate()


def agreed_on(server, environment):
    """Version and cipher, as OpenSSL's client agrees with this server on them."""
    with HeldConnections(server, 1, environment) as held:
        return held.agreed


def peers_here():
    return [name for name in PEERS if shutil.which(name)]
