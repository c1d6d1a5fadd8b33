"""The PROXY protocol: addresses with ?proxy, headers written here, and HAProxy and nginx as real processes in front."""

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import certificates
import evtest
import lua_site
import side_by_side

SITE = """
app.set { access_log = "access.log",
    access_log_format = "$remote_addr $proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr " ..
        "$proxy_protocol_server_port $proxy_protocol_tlv_unique_id $scheme" }
app.get("/", function(req)
    return app.json.encode { peer = req.peer, scheme = req.scheme, proxy = req.proxy }
end)
"""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    unique-id-format id-%pid-%rt
"""
NGINX = """
{module}
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 64; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{server}; proxy_protocol on; }} }}
"""


def item(kind, value):
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def block(items=b"", command=0x21):
    pair = bytes([192, 0, 2, 7, 198, 51, 100, 2]) + struct.pack(">HH", 56324, 443)
    return SIGNATURE + bytes([command, 0x11]) + struct.pack(">H", len(pair) + len(items)) + pair + items


def ask(address, before=b"", context=None, request=GET):
    """What the site has responded, as JSON, or None: it has closed without a word."""
    with evtest.connect(address) as sock:
        sock.sendall(before if context else before + request)
        if context:
            with context.wrap_socket(sock, server_hostname="localhost") as secured:
                secured.sendall(request)
                data = evtest.receive_all(secured)
        else:
            data = evtest.receive_all(sock)
    return json.loads(data.partition(b"\r\n\r\n")[2]) if data else None


def free_ports(count):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


class ProxyProtocolCase(unittest.TestCase):
    ADDRESSES = ("127.0.0.1:0?proxy",)
    ARGUMENTS = ()

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        path = self.stack.enter_context(lua_site.script(SITE))
        self.folder = os.path.dirname(path)
        listen = [part for address in self.ADDRESSES for part in ("--listen", address)]
        self.server = self.stack.enter_context(
            evtest.Program(lua_site.EVSERVE, *listen, *self.arguments(), "site.lua", cwd=self.folder))
        evtest.wait_until(lambda: len(self.heard()) == len(self.ADDRESSES), "addresses")
        self.addresses = [evtest.parse_address(line.split()[2]) for line in self.heard()]

    def arguments(self):
        return self.ARGUMENTS

    def heard(self):
        return [line for line in self.server.lines if line.startswith("listening on ")]

    def rejected(self):
        return [line for line in self.server.lines if "PROXY header" in line]

    def access_lines(self, count):
        def lines():
            with open(os.path.join(self.folder, "access.log"), encoding="utf-8") as file:
                return file.read().splitlines()
        evtest.wait_until(lambda: len(lines()) >= count, "lines of the access log")
        return lines()


class Headers(ProxyProtocolCase):
    ADDRESSES = ("127.0.0.1:0?proxy", "unix:proxy.sock?mode=600&proxy", "127.0.0.1:0")

    def test_client_is_the_one_of_the_header(self):
        self.assertIn("(PROXY protocol)", self.heard()[0])
        self.assertNotIn("(PROXY protocol)", self.heard()[2])
        header = b"PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n"
        got = ask(self.addresses[0], header)
        self.assertEqual(got["peer"], "192.0.2.7:56324")
        self.assertEqual(got["proxy"]["server"], "198.51.100.2:443")
        self.assertTrue(got["proxy"]["address"].startswith("127.0.0.1:"))
        got = ask(self.addresses[0], b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")
        self.assertEqual((got["peer"], got["proxy"]["server"]), ("[2001:db8::1]:1", "[::1]:2"))
        got = ask(os.path.join(self.folder, "proxy.sock"), block())
        self.assertEqual((got["peer"], got["proxy"]["address"]), ("192.0.2.7:56324", "unix:"))
        got = ask(self.addresses[0], b"PROXY UNKNOWN\r\n")
        self.assertTrue(got["peer"].startswith("127.0.0.1:"))
        self.assertNotIn("proxy", got)
        self.assertNotIn("proxy", ask(self.addresses[2]))
        lines = self.access_lines(5)
        self.assertEqual(lines[0], "192.0.2.7 192.0.2.7 56324 198.51.100.2 443 - http")
        self.assertEqual(lines[1], "2001:db8::1 2001:db8::1 1 ::1 2 - http")
        self.assertEqual(lines[3], "127.0.0.1 - - - - - http")
        self.assertEqual(self.rejected(), [])

    def test_ports_may_be_zero(self):
        got = ask(self.addresses[0], b"PROXY TCP4 192.0.2.7 198.51.100.2 0 0\r\n")
        self.assertEqual((got["peer"], got["proxy"]["server"]), ("192.0.2.7", "198.51.100.2"))
        got = ask(self.addresses[0], b"PROXY TCP6 2001:db8::1 ::1 0 0\r\n")
        self.assertEqual((got["peer"], got["proxy"]["server"]), ("2001:db8::1", "::1"))
        self.assertEqual(self.access_lines(2), ["192.0.2.7 192.0.2.7 - 198.51.100.2 - - http",
                                                "2001:db8::1 2001:db8::1 - ::1 - - http"])

    def test_items_are_shown(self):
        secured = b"\x07\0\0\0\0" + item(0x21, b"TLSv1.3") + item(0x22, b"alice") + item(0x23, b"SOME_CIPHER")
        got = ask(self.addresses[0], block(item(1, b"http/1.1") + item(2, b"example.org") + item(5, b"id-17") +
                                           item(0x20, secured)))
        self.assertEqual(got["scheme"], "https")
        self.assertEqual({name: got["proxy"][name] for name in ("alpn", "authority", "unique_id", "tls")},
                         {"alpn": "http/1.1", "authority": "example.org", "unique_id": "id-17",
                          "tls": {"version": "TLSv1.3", "client": "alice", "cipher": "SOME_CIPHER"}})
        self.assertTrue(self.access_lines(1)[0].endswith(" id-17 https"))

    def test_what_is_no_header_is_closed_without_a_word(self):
        for data in (GET, b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", block(item(2, b"")), SIGNATURE + b"\x21\x11\xff\xff"):
            self.assertIsNone(ask(self.addresses[0], data, request=b""))
        self.assertEqual(len(self.rejected()), 4)
        self.assertIn("remove ?proxy from the address", self.rejected()[0])
        self.assertEqual(ask(self.addresses[0], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n")["peer"], "1.2.3.4:1")

    def test_mistaken_options_are_named(self):
        done = evtest.run(lua_site.EVSERVE, "--listen", "127.0.0.1:0?proxy=2", "site.lua", cwd=self.folder)
        self.assertIn('unknown option "proxy=2": there are ?tls, ?proxy', done.stderr)


class Trusted(ProxyProtocolCase):
    def test_headers_of_others_are_rejected(self):
        with open(os.path.join(self.folder, "site.lua"), "a", encoding="utf-8") as file:
            file.write('app.set { trusted_proxies = "10.0.0.0/8" }\n')
        self.server.process.send_signal(1)  # SIGHUP
        evtest.wait_until(lambda: ask(self.addresses[0], block()) is None, "the reload")
        self.assertIn("its sender is none of trusted_proxies", self.rejected()[0])


class Tls(ProxyProtocolCase):
    ADDRESSES = ("127.0.0.1:0?tls&proxy", "127.0.0.1:0?proxy&redirect_https")
    ARGUMENTS = ("--tls-dev",)

    def setUp(self):
        certificates.require_tls(lua_site.EVSERVE)
        super().setUp()
        self.context = certificates.ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = certificates.ssl.CERT_NONE

    def test_header_comes_in_clear_and_the_handshake_behind_it(self):
        self.assertIn("(HTTPS, PROXY protocol)", self.heard()[0])
        for header in (block(), b"PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n"):
            got = ask(self.addresses[0], header, self.context)
            self.assertEqual((got["peer"], got["scheme"]), ("192.0.2.7:56324", "https"))
            self.assertNotIn("tls", got["proxy"])
        with self.assertRaises(OSError):
            ask(self.addresses[0], b"", self.context)  # the handshake alone
        self.assertIn("TLS came instead", self.rejected()[0])


    def test_requests_over_tls_with_the_proxy_are_not_redirected(self):
        def status(header):
            with evtest.connect(self.addresses[1]) as sock:
                sock.sendall(header + GET)
                return int(evtest.receive_all(sock).split()[1])
        self.assertEqual(status(block()), 308)
        self.assertEqual(status(block(item(0x20, b"\0\0\0\0\0"))), 308)
        self.assertEqual(status(block(item(0x20, b"\x01\0\0\0\0"))), 200)


class InFront(ProxyProtocolCase):
    """Proxies as real processes."""

    ADDRESSES = ("127.0.0.1:0?proxy",)

    def start(self, argv, port):
        """Run a proxy until the test is over."""
        log = self.stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=evtest.end_with_parent)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        try:
            evtest.wait_until(lambda: process.poll() is not None or evtest.listens(("127.0.0.1", port)), argv[0])
            self.assertIsNone(process.poll())
        except AssertionError:
            log.seek(0)
            self.fail(f"{argv[0]} did not start: {log.read().decode(errors='replace')}")

    def haproxy(self, *fronts):
        """Fronts are (options of bind, options of server); returns their ports."""
        if shutil.which("haproxy") is None:
            self.skipTest("haproxy is not installed")
        ports = free_ports(len(fronts))
        with open(os.path.join(self.folder, "haproxy.cfg"), "w", encoding="ascii") as file:
            file.write(HAPROXY)
            for port, (bind, options) in zip(ports, fronts):
                file.write(f"listen front{port}\n    bind 127.0.0.1:{port} {bind}\n"
                           f"    server one 127.0.0.1:{self.addresses[0][1]} {options}\n")
        self.start(["haproxy", "-f", "haproxy.cfg"], ports[0])
        return ports

    def ask_through(self, port, context=None):
        """Returns the response, and the address that the client had."""
        with evtest.connect(("127.0.0.1", port)) as sock:
            if context:
                sock = context.wrap_socket(sock, server_hostname="localhost")
            own = sock.getsockname()
            sock.sendall(GET)
            data = evtest.receive_all(sock)
            sock.close()
        return json.loads(data.partition(b"\r\n\r\n")[2]), f"{own[0]}:{own[1]}"

    def test_haproxy_tells_who_the_client_is(self):
        ports = self.haproxy(("", "send-proxy"), ("", "send-proxy-v2"),
                             ("", "send-proxy-v2 proxy-v2-options unique-id,crc32c"))
        for port in ports:
            got, own = self.ask_through(port)
            self.assertEqual(got["peer"], own)
            self.assertEqual(got["proxy"]["server"], f"127.0.0.1:{port}")
        self.assertTrue(got["proxy"]["unique_id"].startswith("id-"))
        self.assertEqual(self.rejected(), [])

    def test_haproxy_tells_of_tls_and_its_certificates(self):
        certificates.require_tls(lua_site.EVSERVE)
        authority = certificates.Authority(self.folder)
        cert, key = authority.sign("front", "localhost")
        with open(os.path.join(self.folder, "both.pem"), "wb") as both:
            for path in (cert, key):
                with open(path, "rb") as file:
                    both.write(file.read())
        port, = self.haproxy(("ssl crt both.pem ca-file ca.pem verify optional alpn http/1.1",
                              "send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher,authority"))
        got, own = self.ask_through(port, authority.client())
        self.assertEqual((got["peer"], got["scheme"], got["proxy"]["authority"]), (own, "https", "localhost"))
        self.assertTrue(got["proxy"]["tls"]["version"].startswith("TLSv1."))
        self.assertTrue(got["proxy"]["tls"]["cipher"].startswith("TLS_"))
        self.assertNotIn("client", got["proxy"]["tls"])
        got, own = self.ask_through(port, authority.client(cert=authority.sign("alice")))
        self.assertEqual((got["peer"], got["proxy"]["tls"]["client"]), (own, "alice"))

    def test_health_checks_of_haproxy_are_no_clients(self):
        port, = self.haproxy(("", "send-proxy-v2 check check-send-proxy inter 50ms"))
        got, own = self.ask_through(port)
        time.sleep(0.3)
        self.assertEqual(got["peer"], own)
        self.assertEqual(self.rejected(), [])

    def test_nginx_tells_who_the_client_is(self):
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.access(nginx, os.X_OK) or not os.path.exists(NGINX_STREAM):
            self.skipTest("nginx is not installed, or without its module for streams")
        port, = free_ports(1)
        with open(os.path.join(self.folder, "nginx.conf"), "w", encoding="ascii") as file:
            file.write(NGINX.format(module=f"load_module {NGINX_STREAM};", folder=self.folder, port=port,
                                    server=self.addresses[0][1]))
        self.start([nginx, "-p", self.folder, "-c", "nginx.conf"], port)
        got, own = self.ask_through(port)
        self.assertEqual(got["peer"], own)
        self.assertEqual(got["proxy"]["server"], f"127.0.0.1:{port}")


if __name__ == "__main__":
    side_by_side.main()
