"""Behind HAProxy, nginx and Varnish that run: who the client is, for scripts and in the access log. Clients come from
127.0.0.9; 127.0.0.1 to 127.0.0.3 are the proxies that are trusted."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import evtest
import lua_site
import side_by_side

CLIENT = "127.0.0.9"
SBIN = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
SITE = """
app.set {
    trusted_proxies = "127.0.0.1, 127.0.0.2/31, unix:", forwarded = os.getenv "FORWARDED", strip_forwarded = true,
    access_log = "access.log", access_log_format = "$remote_addr $realip_remote_addr $scheme $host",
}
app.any("/*path", function(req)
    return table.concat({ req.client, req.peer:gsub(":%d+$", ""), req.scheme, req.host, req.headers.forwarded or "-",
                          req.headers["x-forwarded-for"] or "-" }, " ")
end)
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{port}
    {lines}
    default_backend site
backend site
    {backend}
    server site {address} source 127.0.0.3
"""
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1; master_process off;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{address};
            proxy_http_version 1.1;
            {lines}
        }}
    }}
}}
"""
NGINX_LINES = """
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host $http_host;
"""
VARNISH = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{server}"; }}
sub vcl_recv {{
    unset req.http.Forwarded;
    set req.http.X-Forwarded-Proto = "http";
    set req.http.X-Forwarded-Host = req.http.Host;
    return (pass);
}}
"""


def program(name):
    path = shutil.which(name, path=SBIN)
    if path is None:
        raise unittest.SkipTest(f"no {name} here (scripts/setup.sh --tests installs it)")
    return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def ask(address, fields=(), path="/"):
    """The content of the response. Each request is one connection."""
    deadline = time.monotonic() + 20
    while True:
        try:
            sock = socket.create_connection(address, 10, (CLIENT, 0))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    lines = "".join(f"{line}\r\n" for line in ("Host: Example.org:8080", *fields))
    with sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        head, _, content = evtest.receive_all(sock).partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        content = content.split(b"\r\n")[1]
    return content.decode()


class Case(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="ev"))
        os.chmod(self.folder, 0o755)  # Varnish changes its user

    def serve(self, listen="127.0.0.1:0", forwarded="x-forwarded"):
        path = self.stack.enter_context(lua_site.script(SITE))
        self.log = os.path.join(os.path.dirname(path), "access.log")
        return self.stack.enter_context(
            evtest.Program(lua_site.EVSERVE, "--listen", listen, "site.lua", cwd=os.path.dirname(path),
                           env={**os.environ, "FORWARDED": forwarded}))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_proxy(self, *argv):
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=evtest.end_with_parent)

        def end():
            process.terminate()
            process.wait(20)

        self.stack.callback(end)

    def haproxy(self, address, lines, backend="", port=None):
        port = port or free_port()
        text = HAPROXY.format(port=port, address=address, lines=lines, backend=backend)
        self.run_proxy(program("haproxy"), "-db", "-f", self.write(f"{port}.cfg", text))
        return "127.0.0.1", port

    def nginx(self, address, lines=NGINX_LINES):
        port = free_port()
        text = NGINX.format(folder=self.folder, port=port, address=address, lines=lines)
        self.run_proxy(program("nginx"), "-p", self.folder, "-c", self.write("nginx.conf", text))
        return "127.0.0.1", port

    def assert_logged(self, line):
        def is_there():
            with open(self.log, encoding="ascii") as file:
                return line in file.read().splitlines()

        evtest.wait_until(is_there, f"the line {line} in the access log")


class Proxies(Case):
    def test_haproxy(self):
        program("haproxy")
        server = self.serve()
        proxy = self.haproxy("%s:%d" % server.address, """option forwardfor
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]""")
        self.assertEqual(ask(proxy), f"{CLIENT} 127.0.0.3 http example.org:8080 - {CLIENT}")
        # HAProxy adds a field of its own behind that of the client, replaces the others, and passes Forwarded on.
        spoofed = ("X-Forwarded-For: 192.0.2.7, 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example",
                   "Forwarded: for=192.0.2.7;proto=https;host=evil.example")
        self.assertEqual(ask(proxy, spoofed),
                         f"{CLIENT} 127.0.0.3 http example.org:8080 - 192.0.2.7, 127.0.0.1, {CLIENT}")
        self.assert_logged(f"{CLIENT} 127.0.0.3 http example.org")

    def test_haproxy_with_the_field_of_rfc_7239(self):
        program("haproxy")
        server = self.serve(forwarded="forwarded")
        proxy = self.haproxy("%s:%d" % server.address, r"""http-request add-header Forwarded
        for=\"%[src]:%[src_port]\";proto=https;host=\"%[req.hdr(host)]\"""".replace("\n       ", ""))
        spoofed = ("Forwarded: for=\"192.0.2.7;proto=http", "X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7")
        told = ask(proxy, spoofed)
        self.assertRegex(told, rf'^{CLIENT} 127\.0\.0\.3 https example\.org:8080 .*for="{CLIENT}:\d+";proto=https')
        self.assertTrue(told.endswith(" -"), told)
        self.assert_logged(f"{CLIENT} 127.0.0.3 https example.org")

    def test_nginx_through_a_unix_socket(self):
        program("nginx")
        path = os.path.join(self.folder, "site.sock")
        self.serve(f"unix:{path}")
        proxy = self.nginx(f"unix:{path}:")
        self.assertEqual(ask(proxy), f"{CLIENT} unix: https example.org:8080 - {CLIENT}")
        self.assertEqual(ask(proxy, ("X-Forwarded-For: unix:", "X-Forwarded-Proto: http")),
                         f"{CLIENT} unix: https example.org:8080 - unix:, {CLIENT}")
        self.assert_logged(f"{CLIENT} unix: https example.org")

    def test_nginx_behind_nothing_but_itself_is_not_believed(self):
        program("nginx")
        server = self.serve()
        proxy = self.nginx("%s:%d" % server.address, NGINX_LINES + f"            proxy_bind {CLIENT};\n")
        told = ask(proxy)
        self.assertTrue(told.startswith(f"{CLIENT} {CLIENT} http "), told)
        self.assertTrue(told.endswith(" - -"), told)

    def test_nginx_behind_haproxy(self):
        program("haproxy")
        program("nginx")
        server = self.serve()
        inner = self.nginx("%s:%d" % server.address, """
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_bind 127.0.0.2;
""")
        outer = self.haproxy("%s:%d" % inner, """option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[req.hdr(host)]""")
        ask(inner)  # it is up
        told = ask(outer, ("X-Forwarded-For: 127.0.0.1",))
        self.assertEqual(told, f"{CLIENT} 127.0.0.2 https example.org:8080 - 127.0.0.1, {CLIENT}, 127.0.0.3")

    def test_varnish(self):
        varnishd = program("varnishd")
        server = self.serve()
        port = free_port()
        self.run_proxy(varnishd, "-F", "-a", f"127.0.0.1:{port}", "-f",
                       self.write("site.vcl", VARNISH.format(server=server.address[1])), "-n",
                       os.path.join(self.folder, "varnish"), "-s", "malloc,16m", "-T", "none", "-S", "none")
        told = ask(("127.0.0.1", port), ("X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"))
        self.assertEqual(told, f"{CLIENT} 127.0.0.1 http example.org:8080 - 192.0.2.7, {CLIENT}")


if __name__ == "__main__":
    side_by_side.main()
