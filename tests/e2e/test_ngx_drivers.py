"""Debian's drivers for Redis, memcached, WebSockets and DNS, unchanged, with real servers; the same code runs in nginx."""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import unittest
import unittest.mock

import evtest
import test_ngx
from certificates import Authority, require_tls
from databases import require_module
from lua_site import EVSERVE
from nginx_lua import BothCase, ask, evserve
from small_servers import Dns, WebSocketServer, encode_name

LIST = r"""
local function list(...)
    local texts = {}
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        texts[i] = type(value) == "string" and string.format("%q", value) or value == ngx.null and "null" or tostring(value)
    end
    return table.concat(texts, " ") .. "\n"
end
local function dump(value, err)
    if type(value) ~= "table" then return list(value, err) end
    local keys, lines = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do lines[i] = tostring(key) .. " = " .. dump(value[key]) end
    return table.concat(lines)
end
local cases = {}
"""


@contextlib.contextmanager
def daemon(package, name, *options, ready, folder):
    """A server of the test's own, which has started once ready(folder) is true."""
    path = shutil.which(name)
    if path is None:
        raise unittest.SkipTest(f"no {name} here (scripts/setup.sh --tests installs {package})")
    with open(os.path.join(folder, name + ".log"), "wb") as log:
        process = subprocess.Popen([path, *options], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=evtest.end_with_parent)
    try:
        evtest.wait_until(lambda: ready() or process.poll() is not None, name)
        if process.poll() is not None:
            with open(os.path.join(folder, name + ".log"), encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"{name} does not start: {log.read()}")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


class DriverCase(BothCase):
    NEEDS = ()  # Lua modules

    @classmethod
    def setUpClass(cls):
        for name in cls.NEEDS:
            require_module(name)
        cls.servers = contextlib.ExitStack()
        try:
            cls.folder = cls.servers.enter_context(tempfile.TemporaryDirectory(prefix="evdr"))
            os.chmod(cls.folder, 0o755)
            cls.start_servers()
            cls.MODULE = cls.MODULE.replace("FOLDER", cls.folder)
            super().setUpClass()
        except BaseException:
            cls.servers.close()
            raise

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.servers.close()


class Redis(DriverCase):
    NEEDS = ("nginx.redis", "nginx.redis.connector")
    MODULE = LIST + r"""
    local redis = require "nginx.redis"
    local function open()
        local red = redis:new()
        red:set_timeout(2000)
        assert(red:connect("unix:FOLDER/redis.sock"))
        return red
    end
    function cases.commands()
        local red = open()
        local out = { list(red:flushall(), red:set("a", "one"), red:get("a"), red:get("absent"), red:incr("n"), red:incrby("n", 41)) }
        out[#out + 1] = list(red:set("binary", "a\0\r\n$5\r\nb"), red:get("binary"), red:set("empty", ""), red:get("empty"))
        out[#out + 1] = list(red:lpush("l", "x", "y", "z")) .. dump(red:lrange("l", 0, -1)) .. dump(red:lrange("none", 0, -1))
        out[#out + 1] = list(red:hmset("h", "f", 1, "g", "two"), red:hmset("i", { k = "v" })) .. dump(red:hmget("h", "f", "zz", "g"))
        out[#out + 1] = dump(red:array_to_hash(red:hgetall("h"))) .. dump(red:mget("a", "zz")) .. list(red:lpush("a", 1)) .. list(red:nonsense(1))
        out[#out + 1] = list(red:expire("a", 100), red:ttl("a") > 90, red:exists("a"), red:del("a"), red:exists("a"))
        out[#out + 1] = dump(red:eval("return { KEYS[1], ARGV[1], { 1, false, 'x' }, redis.status_reply('fine') }", 1, "k", "v"))
        out[#out + 1] = list(#assert(red:set("big", ("x"):rep(300000))), #red:get("big"), red:getrange("big", 0, 4))
        out[#out + 1] = list(red:select(1), red:get("big"), red:select(0), red:close(), red:get("a"))
        return table.concat(out)
    end
    function cases.pipelines()
        local red, out = open(), {}
        red:init_pipeline(4)
        red:set("p", 1) red:incr("p") red:lpush("p", "x") red:get("p")
        out[#out + 1] = dump(red:commit_pipeline())
        red:init_pipeline() red:get("p") red:cancel_pipeline()
        out[#out + 1] = list(red:get("p"), red:commit_pipeline())
        red:init_pipeline(500)
        for i = 1, 500 do red:set("k" .. i, ("v"):rep(i)) end
        out[#out + 1] = list(#red:commit_pipeline(), #red:get("k500"))
        out[#out + 1] = list(red:multi(), red:get("p"), red:set("p", "y")) .. dump(red:exec()) .. list(red:multi(), red:discard())
        red:close()
        return table.concat(out)
    end
    function cases.subscriptions()
        local red, other, out = open(), open(), {}
        out[#out + 1] = dump(red:subscribe("news")) .. dump(red:psubscribe("new*"))
        local ok, err = red:get("a")
        out[#out + 1] = list(ok ~= nil or err ~= nil, other:publish("news", "hello"))
        out[#out + 1] = dump(red:read_reply()) .. dump(red:read_reply())
        red:set_timeout(20)
        out[#out + 1] = list(red:read_reply()) .. list(other:publish("news", "again"))
        red:set_timeout(2000)
        out[#out + 1] = dump(red:read_reply()) .. dump(red:read_reply()) .. dump(red:unsubscribe("news")) .. dump(red:punsubscribe())
        out[#out + 1] = list(red:set_keepalive(100, 10), other:set_keepalive(100, 10), other:get("a"))
        return table.concat(out)
    end
    function cases.keepalive()
        local out = {}
        for i = 1, 3 do
            local red = redis:new()
            red:set_timeout(1000)
            assert(red:connect("unix:FOLDER/redis.sock", { pool = "kept" }))
            out[#out + 1] = list(red:get_reused_times(), red:ping(), red:set_keepalive(10000, 5))
        end
        return table.concat(out)
    end
    function cases.timeouts()
        local red = open()
        red:set_timeout(30)
        local out = { list(red:blpop("nothing", 5)), list(red:get("a")) }
        red = open()
        out[#out + 1] = list(red:blpop("nothing", 0.05) == ngx.null)
        return table.concat(out)
    end
    function cases.away()
        local red = redis:new()
        local out = { list(red:get("a")), list(red:connect("127.0.0.1", 1)), list(red:get_reused_times()), list(red:connect("unix:FOLDER/none")) }
        return table.concat(out)
    end
    function cases.connector()
        local connector = require("nginx.redis.connector").new { connect_timeout = 500, read_timeout = 1000 }
        local red, err = connector:connect { url = "unix://FOLDER/redis.sock:2" }
        local out = { list(red ~= nil, err) }
        if red then out[#out + 1] = list(red:set("c", 1), red:get("c"), connector:set_keepalive(red)) end
        red, err = connector:connect { path = "FOLDER/redis.sock", db = 2 }
        out[#out + 1] = red and list(red:get("c"), red:flushdb(), red:close()) or list(err)
        red, err = connector:connect { host = "127.0.0.1", port = 1 }
        out[#out + 1] = list(red, err)
        red, err = connector:connect { url = "sentinel://mymaster:m/1", sentinels = { { host = "127.0.0.1", port = 1 } } }
        out[#out + 1] = list(red, err)
        return table.concat(out)
    end
    return cases
    """

    @classmethod
    def start_servers(cls):
        path = os.path.join(cls.folder, "redis.sock")
        cls.servers.enter_context(daemon("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "777",
                                         "--save", "", "--appendonly", "no", ready=lambda: evtest.listens(path), folder=cls.folder))

    def test_commands(self):
        self.assertIn('"one"', self.check("commands").text)

    def test_pipelines(self):
        self.check("pipelines")

    def test_subscriptions(self):
        self.assertIn('3 = "hello"', self.check("subscriptions").text)

    def test_keepalive(self):
        self.assertEqual(self.check("keepalive").text, '0 "PONG" 1\n1 "PONG" 1\n2 "PONG" 1\n')

    def test_timeouts(self):
        self.assertIn("timeout", self.check("timeouts").text)

    def test_a_server_that_is_away(self):
        self.assertIn("connection refused", self.check("away").text)

    def test_connector(self):
        self.check("connector")

    def test_a_dictionary_in_redis(self):
        module = test_ngx.Shared.MODULE
        files = [("one.lua", module), ("other.lua", module.replace("ngx.shared.dict", "ngx.shared.red"))]
        settings = f'app.store("red", {{ redis = "unix:{self.folder}/redis.sock" }})\n'
        with evserve(files, settings) as server:
            self.assertEqual(ask(server, "/other/dicts").body, ask(server, "/one/dicts").body)


class Memcached(DriverCase):
    NEEDS = ("nginx.memcached",)
    MODULE = LIST + r"""
    local memcached = require "nginx.memcached"
    local function open(options)
        local mem = assert(memcached:new(options))
        mem:set_timeout(2000)
        assert(mem:connect("unix:FOLDER/mem.sock"))
        return mem
    end
    function cases.commands()
        local mem, out = open(), {}
        local function add(...) out[#out + 1] = list(...) end
        add(mem:flush_all()) add(mem:set("a b", "one\r\ntwo", 0, 7)) add(mem:get("a b")) add(mem:get("absent"))
        add(mem:add("a b", 1)) add(mem:add("n", 5)) add(mem:replace("zz", 1)) add(mem:replace("n", 6)) add(mem:append("n", "0"))
        add(mem:prepend("n", "1")) add(mem:get("n")) add(mem:incr("n", 4)) add(mem:decr("n", 1)) add(mem:incr("zz", 1)) add(mem:incr("a b", 1))
        add(mem:touch("n", 100)) add(mem:touch("zz", 1)) add(mem:delete("n")) add(mem:delete("n"))
        local value, flags, cas = mem:gets("a b")
        add(value, flags, type(cas), mem:cas("a b", "new", cas)) add(mem:cas("a b", "newer", cas)) add(mem:get("a b"))
        add(mem:set("big", ("x"):rep(500000))) add(#mem:get("big"))
        mem:set("k1", "v1", 0, 3) mem:set("k2", "v2")
        out[#out + 1] = dump(mem:get { "k1", "k2", "k3" }) .. dump((mem:get {}))
        add(type(mem:version()), type(mem:stats()), mem:verbosity(1), mem:quit()) add(mem:close()) add(mem:get("a"))
        return table.concat(out)
    end
    function cases.keepalive()
        local out = {}
        for i = 1, 3 do
            local mem = memcached:new { key_transform = { ngx.escape_uri, ngx.unescape_uri } }
            mem:set_timeout(1000)
            assert(mem:connect("unix:FOLDER/mem.sock", { pool = "kept" }))
            out[#out + 1] = list(mem:get_reused_times(), mem:set("k", i), mem:set_keepalive(10000, 5))
        end
        return table.concat(out)
    end
    return cases
    """

    @classmethod
    def start_servers(cls):
        path = os.path.join(cls.folder, "mem.sock")
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        if user:
            os.chmod(cls.folder, 0o777)
        cls.servers.enter_context(daemon("memcached", "memcached", "-s", path, "-a", "0777", *user, ready=lambda: evtest.listens(path),
                                         folder=cls.folder))

    def test_commands(self):
        self.check("commands")

    def test_keepalive(self):
        self.check("keepalive")


class DnsResolver(DriverCase):
    NEEDS = ("nginx.dns.resolver",)
    MODULE = LIST + r"""
    local resolver = require "nginx.dns.resolver"
    local function open(options)
        options = options or {}
        options.nameservers = options.nameservers or { { "127.0.0.1", PORT } }
        options.retrans, options.timeout = options.retrans or 2, options.timeout or 1000
        return assert(resolver:new(options))
    end
    local function shown(answers, err)
        if not answers then return list(answers, err) end
        if answers.errcode then return list(answers.errcode, answers.errstr) end
        local out = {}
        for i, a in ipairs(answers) do
            out[i] = list(a.name, a.type, a.class, a.ttl, a.address, a.cname, a.preference, a.exchange, a.txt and #a.txt, a.target, a.port, a.ptrdname)
        end
        return table.concat(out)
    end
    function cases.queries()
        local r = open()
        return shown(r:query("a.test")) .. shown(r:query("a.test", { qtype = r.TYPE_AAAA })) .. shown(r:query("mx.test", { qtype = r.TYPE_MX }))
            .. shown(r:query("txt.test", { qtype = r.TYPE_TXT })) .. shown(r:query("srv.test", { qtype = r.TYPE_SRV }))
            .. shown(r:query("absent.test")) .. shown(r:reverse_query("192.0.2.1")) .. shown(r:tcp_query("a.test")) .. shown(r:query("long.test"))
    end
    function cases.failures()
        local r = open { retrans = 1, timeout = 50 }
        local out = { shown(r:query("silent.test")), shown(r:query("garbage.test")), shown(r:query(("x"):rep(70) .. ".test")) }
        out[#out + 1] = shown(open { nameservers = { { "127.0.0.1", 1 } }, retrans = 1, timeout = 100 }:tcp_query("a.test"))
        out[#out + 1] = list((resolver:new {}))
        return table.concat(out)
    end
    function cases.texts()
        return list(resolver.arpa_str("192.0.2.1"), resolver.arpa_str("2001:db8::1"), resolver.expand_ipv6_addr("::1"),
            resolver.compress_ipv6_addr("2001:0db8:0:0:0:0:0:1"))
    end
    return cases
    """

    @classmethod
    def start_servers(cls):
        dns = Dns({
            ("a.test", 1): [bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])],
            ("a.test", 28): [bytes.fromhex("20010db8000000000000000000000001")],
            ("mx.test", 15): [b"\0\x0a" + encode_name("mail.a.test")],
            ("txt.test", 16): [b"\5hello", b"\0"],
            ("srv.test", 33): [b"\0\1\0\2\x13\x88" + encode_name("a.test")],
            ("1.2.0.192.in-addr.arpa", 12): [encode_name("a.test")],
            ("long.test", 1): [bytes([10, 0, 0, i]) for i in range(100)],
        })
        cls.servers.callback(dns.close)
        cls.MODULE = cls.MODULE.replace("PORT", str(dns.port))

    def test_queries(self):
        self.assertIn('"192.0.2.2"', self.check("queries").text)

    def test_failures(self):
        self.assertIn("timeout", self.check("failures").text)

    def test_texts(self):
        self.check("texts")


class WebSocket(DriverCase):
    NEEDS = ("nginx.websocket.client",)
    MODULE = LIST + r"""
    local client = require "nginx.websocket.client"
    local function open(options)
        local ws = assert(client:new(options or { timeout = 2000 }))
        assert(ws:connect("ws://127.0.0.1:PORT/path?q", { protocols = { "one", "two" }, origin = "http://test" }))
        return ws
    end
    function cases.messages()
        local ws = open { timeout = 2000, max_payload_len = 200000 }
        local out = { list(ws:send_text("hello")), list(ws:recv_frame()), list(ws:send_binary("a\0b"), ws:recv_frame()) }
        out[#out + 1] = list(ws:send_text(("x"):rep(126)), #ws:recv_frame(), ws:send_text(("y"):rep(70000)), #ws:recv_frame())
        out[#out + 1] = list(ws:send_ping("p")) .. list(ws:recv_frame()) .. list(ws:send_pong()) .. list(ws:send_text("ping")) .. list(ws:recv_frame())
        ws:send_text("pieces")
        out[#out + 1] = list(ws:recv_frame()) .. list(ws:recv_frame()) .. list(ws:recv_frame())
        ws:send_text("close")
        out[#out + 1] = list(ws:recv_frame()) .. list(ws:send_close(1000, "bye")) .. list(ws:send_text("late")) .. list(ws:close())
        return table.concat(out)
    end
    function cases.failures()
        local ws = open()
        ws:send_text("silent")
        ws:set_timeout(20)
        local out = { list(ws:recv_frame()) }
        ws:set_timeout(1000)
        out[#out + 1] = list(ws:send_text("again"), ws:recv_frame()) .. list(ws:close())
        local other = client:new { timeout = 500 }
        out[#out + 1] = list(other:connect("nonsense")) .. list(other:connect("ws://127.0.0.1:1/"))
        other = client:new { timeout = 500 }
        out[#out + 1] = list(other:connect("ws://127.0.0.1:PORT/refused"))
        local small = client:new { timeout = 500, max_payload_len = 5 }
        out[#out + 1] = list(small:connect("ws://127.0.0.1:PORT/")) .. list(small:send_text("hello!")) .. list(small:send_text("x"))
        return table.concat(out)
    end
    function cases.secure()
        local ws = client:new { timeout = 2000 }
        return list(ws:connect("wss://127.0.0.1:SECURE/")) .. list(ws:send_text("hello")) .. list(ws:recv_frame()) .. list(ws:close())
    end
    function cases.verified()
        local ws = client:new { timeout = 2000 }
        local ok, err = ws:connect("wss://127.0.0.1:SECURE/", { ssl_verify = true })
        return list(ok, err)
    end
    return cases
    """

    @classmethod
    def start_servers(cls):
        require_tls(EVSERVE)
        authority = Authority(cls.folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*authority.sign("ws", "127.0.0.1"))
        cls.authority = authority.path("ca.pem")
        for name, server in ("PORT", WebSocketServer()), ("SECURE", WebSocketServer(context)):
            cls.servers.callback(server.close)
            cls.MODULE = cls.MODULE.replace(name, str(server.port))

    def test_tls(self):
        self.assertIn('"hello"', self.check("secure").text)
        self.assertIn("ssl handshake failed: ", ask(self.server, "/cases/verified").text)
        with unittest.mock.patch.dict(os.environ, {"SSL_CERT_FILE": self.authority}):
            with evserve([("cases.lua", self.MODULE)]) as server:
                self.assertEqual(ask(server, "/cases/verified").text, "1 nil\n")

    def test_messages(self):
        self.assertIn('"three"', self.check("messages").text)

    def test_failures(self):
        self.assertIn("timeout", self.check("failures").text)


if __name__ == "__main__":
    unittest.main()
