"""The module "ngx": what needs no other server, beside nginx's own Lua module, which gets the same code."""

import unittest

import evtest
from lua_site import EVSERVE, SiteCase, script
from databases import require_module
from nginx_lua import BothCase

LIST = r"""
local function list(...)
    local texts = {}
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        texts[i] = type(value) == "string" and string.format("%q", value) or tostring(value)
    end
    return table.concat(texts, " ") .. "\n"
end
local function dump(value)
    if type(value) ~= "table" then return list(value) end
    local keys, lines = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do lines[i] = tostring(key) .. " = " .. dump(value[key]) end
    return table.concat(lines)
end
local all = {}
for i = 0, 255 do all[#all + 1] = string.char(i) end
all = table.concat(all)
local cases = {}
"""


class Texts(BothCase):
    MODULE = LIST + r"""
    function cases.base64()
        local out = {}
        for i = 0, 8 do out[#out + 1] = list(ngx.encode_base64(all:sub(250 - i, 250)), ngx.encode_base64(all:sub(1, i), true)) end
        out[#out + 1] = list(ngx.encode_base64(all), ngx.decode_base64(ngx.encode_base64(all)) == all)
        out[#out + 1] = list(ngx.encode_base64(nil), ngx.encode_base64(12), ngx.encode_base64(true))
        for _, text in ipairs { "", "Zg==", "Zg", "Zg=", "Z", "Zm8=", "Zm9v", "Zm9vYg", "Zm9v Yg", "Zm9vYg-_", "Z===", "=", "\0" } do
            out[#out + 1] = list(text, ngx.decode_base64(text))
        end
        return table.concat(out)
    end
    function cases.uri()
        return list(ngx.escape_uri(all)) .. list(ngx.escape_uri(all, 0)) .. list(ngx.escape_uri(all, 2))
            .. list(ngx.unescape_uri("%41%zz%4+a%C3%A4%"), ngx.unescape_uri(ngx.escape_uri(all)) == all)
    end
    function cases.args()
        return list(ngx.encode_args { a = "x y&z" }) .. list(ngx.encode_args { b = true }, ngx.encode_args { c = false })
            .. list(ngx.encode_args { ["ä b"] = { 1, "2", true } }, ngx.encode_args {})
            .. dump(ngx.decode_args("a=1&b&c=x%20y+z&a=2&a=3&=4&d=&%zz=%4&&e=f=g")) .. dump(ngx.decode_args(""))
            .. list(#ngx.decode_args("a&b&c", 2), select(2, ngx.decode_args("a=1&b=2&c=3", 2)))
    end
    function cases.digests()
        return list(ngx.md5("hello"), ngx.md5(""), ngx.md5(all)) .. list(ngx.md5_bin("hello"), ngx.sha1_bin("hello"))
            .. list(ngx.hmac_sha1("key", "text"), ngx.hmac_sha1("", ""), ngx.hmac_sha1(all, all))
            .. list(ngx.md5(nil), ngx.sha1_bin(12) == ngx.sha1_bin("12"))
    end
    function cases.crc32()
        return list(ngx.crc32_short(""), ngx.crc32_short("hello"), ngx.crc32_long(all), ngx.crc32_short(all:rep(100)))
    end
    function cases.sql() return list(ngx.quote_sql_str(all)) .. list(ngx.quote_sql_str("it's")) end
    function cases.dates()
        return list(ngx.http_time(0), ngx.http_time(1764525600), ngx.cookie_time(1290079655), ngx.cookie_time(2200000000))
            .. list(ngx.parse_http_time("Thu, 18 Nov 2010 11:27:35 GMT"), ngx.parse_http_time("nonsense"))
            .. list(ngx.parse_http_time(ngx.http_time(1764525600)))
            .. list(math.abs(ngx.now() - os.time()) < 2, math.abs(ngx.time() - os.time()) < 2)
            .. list(ngx.today() == os.date "%Y-%m-%d", #ngx.localtime(), #ngx.utctime(), ngx.update_time())
    end
    function cases.constants()
        return list(ngx.OK, ngx.ERROR, ngx.AGAIN, ngx.DONE, ngx.DECLINED, ngx.null, type(ngx.null))
            .. list(ngx.STDERR, ngx.EMERG, ngx.ALERT, ngx.CRIT, ngx.ERR, ngx.WARN, ngx.NOTICE, ngx.INFO, ngx.DEBUG)
            .. list(ngx.HTTP_GET, ngx.HTTP_HEAD, ngx.HTTP_POST, ngx.HTTP_PUT, ngx.HTTP_DELETE, ngx.HTTP_OPTIONS,
                ngx.HTTP_PATCH, ngx.HTTP_TRACE, ngx.HTTP_MKCOL, ngx.HTTP_COPY, ngx.HTTP_MOVE, ngx.HTTP_PROPFIND,
                ngx.HTTP_PROPPATCH, ngx.HTTP_LOCK, ngx.HTTP_UNLOCK)
            .. list(ngx.HTTP_OK, ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_NOT_ALLOWED, ngx.HTTP_CLOSE, ngx.HTTP_ILLEGAL,
                ngx.HTTP_BAD_GATEWAY, ngx.HTTP_INSUFFICIENT_STORAGE, ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_UPGRADE_REQUIRED)
            .. list(ngx.config.subsystem, type(ngx.config.prefix()), ngx.config.ngx_lua_version)
            .. list(ngx.get_phase(), ngx.worker.exiting(), ngx.worker.id(), type(ngx.worker.pid()), ngx.headers_sent)
    end
    function cases.module_base64()
        local b64 = require "ngx.base64"
        return list(b64.encode_base64url(all)) .. list(b64.decode_base64url("_-8"), b64.decode_base64url("+/8"))
    end
    return cases
    """

    def test_base64(self):
        self.assertIn('"Zm9vYg" "foob"', self.check("base64").text)

    def test_addresses(self):
        self.check("uri")
        self.check("args")

    def test_digests(self):
        self.assertIn('"5d41402abc4b2a76b9719d911017c592"', self.check("digests").body.decode("latin-1"))
        self.check("crc32")

    def test_quoting(self):
        self.check("sql")

    def test_time(self):
        self.assertIn('"Thu, 18-Nov-10 11:27:35 GMT"', self.check("dates").text)

    def test_constants(self):
        self.check("constants")

    def test_module_base64(self):
        self.check("module_base64")


class Drivers(BothCase):
    """Debian's lua-nginx-string and lua-nginx-cookie, unchanged."""

    MODULE = LIST + r"""
    function cases.strings()
        local str = require "nginx.string"
        return list(str.to_hex("hello"), str.to_hex(all), str.to_hex("")) .. list(str.atoi("0123"), str.atoi("12x"), str.atoi(""))
    end
    local names = { "md5", "sha1", "sha224", "sha256", "sha384", "sha512" }
    function cases.digests()
        local str, out = require "nginx.string", {}
        for _, name in ipairs(names) do
            local digest = require("nginx." .. name):new()
            out[#out + 1] = list(name, digest:update("hel"), digest:update("lo"), str.to_hex(digest:final()))
            out[#out + 1] = list(digest:reset(), digest:update(all), str.to_hex(digest:final()))
        end
        return table.concat(out)
    end
    function cases.random()
        local random = require "nginx.random"
        return list(#random.bytes(16, true), #random.bytes(5), random.bytes(16) == random.bytes(16), #random.token(12), #random.number(0, 9, 3) )
    end
    function cases.aes()
        local aes, str = require "nginx.aes", require "nginx.string"
        local plain = aes:new("a key")
        local salted = aes:new("a key", "12345678", aes.cipher(256, "cbc"), aes.hash.sha512, 5)
        local given = aes:new(("k"):rep(16), nil, aes.cipher(128, "cbc"), { iv = ("i"):rep(16) })
        return list(str.to_hex(plain:encrypt("hello")), plain:decrypt(plain:encrypt("hello")))
            .. list(str.to_hex(salted:encrypt(all)), salted:decrypt(salted:encrypt(all)) == all)
            .. list(str.to_hex(given:encrypt("x")), given:decrypt("nonsense"), (aes:new("k", "too long a salt")))
    end
    function cases.cookies()
        local cookie = require("nginx.cookie"):new()
        local got, err = cookie:get("a")
        local absent, why = cookie:get("zz")
        local found, none = cookie:get_all()
        return list(got, err, absent, why, none) .. dump(found or {})
    end
    function cases.set_cookies()
        local cookie = require("nginx.cookie"):new()
        local out = { list(cookie:set { key = "id", value = "1" }), list(cookie:set { key = "id", value = "1" }) }
        out[#out + 1] = list(cookie:set { key = "b", value = "2", path = "/p", domain = "example.org", secure = true,
            httponly = true, expires = "Wed, 09 Jun 2021 10:18:14 GMT", max_age = 50, extension = "a4334aebaec" })
        out[#out + 1] = list(cookie:set { key = "c", value = "3" }, cookie:set { key = "c" })
        out[#out + 1] = dump(ngx.header["Set-Cookie"])
        ngx.header.x_one, ngx.header["X-List"], ngx.header["X-Gone"] = 1, { "a", "b" }, "gone"
        ngx.header["X-Gone"] = nil
        out[#out + 1] = list(ngx.header["x-one"], ngx.header.X_List[2], ngx.header.x_gone)
        return table.concat(out)
    end
    function cases.variables()
        local v = ngx.var
        return list(v.uri, v.args, v.query_string, v.request_uri, v.request_method, v.scheme, v.host, v.http_host, v.is_args)
            .. list(v.http_x_test, v.http_absent, v.arg_a, v.arg_b, v.arg_zz, v.cookie_a, v.server_protocol, v.https, v.some_name)
            .. list(ngx.req.get_method(), ngx.req.http_version(), ngx.req.get_headers()["x-test"], ngx.req.get_headers().x_test)
            .. dump(ngx.req.get_uri_args()) .. list(ngx.req.get_body_data(), ngx.req.get_body_file())
    end
    function cases.context()
        local before = ngx.ctx.value
        ngx.ctx.value = 1
        local thread = ngx.thread.spawn(function() ngx.ctx.more = ngx.ctx.value + 1 return ngx.var.uri end)
        local ok, uri = ngx.thread.wait(thread)
        local first = list(before, ngx.ctx.value, ngx.ctx.more, ok, uri)
        ngx.ctx = { other = true }
        return first .. list(ngx.ctx.other, ngx.ctx.value)
    end
    return cases
    """

    @classmethod
    def setUpClass(cls):
        require_module("nginx.string")
        require_module("nginx.cookie")
        super().setUpClass()

    def test_strings(self):
        self.assertIn('"68656c6c6f"', self.check("strings").text)
        self.assertIn('"5d41402abc4b2a76b9719d911017c592"', self.check("digests").text)
        self.check("aes")

    def test_cookies(self):
        self.assertIn("b = \"2\"", self.check("cookies", [("Cookie", "a=1; b=2")]).text)
        self.assertIn("no cookie", self.check("cookies").text)
        answer = self.check("set_cookies")
        ours = [line for line in answer.lines if line[0].lower().startswith(("set-cookie", "x-"))]
        self.assertEqual(len([name for name, _ in ours if name == "Set-Cookie"]), 3)
        self.assertEqual(sorted(ours)[-3:], [("X-List", "a"), ("X-List", "b"), ("x-one", "1")])

    def test_request(self):
        self.check("variables", [("X-Test", "one, two"), ("Cookie", "a=5")], "?a=1%202&b&a=3")
        self.check("variables")
        for _ in range(2):
            self.check("context")


class Shared(BothCase):
    """ngx.shared, timers, threads and semaphores."""

    MODULE = LIST + r"""
    function cases.dicts()
        local d, out = ngx.shared.dict, {}
        local function add(...) out[#out + 1] = list(...) end
        d:flush_all()
        add(d:get("a"), d:set("a", 1), d:get("a"), d:add("a", 2), d:add("b", "two"), d:replace("zz", 1))
        add(d:set("f", true, 0, 7), d:get("f"))
        add(d:incr("a", 5), d:incr("n", 1), d:incr("n", 1, 10), d:incr("n", 2), d:incr("b", 1))
        add(d:delete("a"), d:get("a"), d:set("b", nil), d:get("b"))
        add(d:ttl("n"), d:ttl("zz"), d:expire("zz", 1), d:expire("n", 100), d:ttl("n") > 99)
        add(d:set("short", "x", 0.01), d:safe_set("t", {}), d:get(nil), d:set("", 1), d:get_keys(0)[1] ~= nil, #d:get_keys())
        for i = 1, 100 do ngx.sleep(0.03) if d:get("short") == nil then break end end
        add(d:get("short"), ngx.shared.absent, d:capacity() > 0, d:free_space() >= 0)
        return table.concat(out)
    end
    function cases.timers()
        local got = {}
        local ok, err = ngx.timer.at(0, function(premature, a, b) got = { premature, a, b } end, 1, nil)
        local every = 0
        ngx.timer.every(0.01, function() every = every + 1 end)
        for i = 1, 100 do if every > 1 then break end ngx.sleep(0.01) end
        return list(ok, err, got[1], got[2], got[3], every > 1)
    end
    function cases.threads()
        local function slow(n) ngx.sleep(n / 100) return n, "done" end
        local a, b = ngx.thread.spawn(slow, 5), ngx.thread.spawn(slow, 1)
        local first = list(ngx.thread.wait(a, b))
        local second = list(ngx.thread.wait(a))
        local again = list((ngx.thread.wait(a)))
        local c = ngx.thread.spawn(slow, 100)
        local d = ngx.thread.spawn(function() ngx.sleep(0) error({ code = 5 }) end)
        local ok, err = ngx.thread.wait(d)
        return first .. second .. again .. list(ngx.thread.kill(c), (ngx.thread.kill(c)), ok, type(err) == "table" and err.code)
    end
    function cases.semaphores()
        local ok, semaphore = pcall(require, "ngx.semaphore")
        if not ok then return "" end
        local sem = semaphore.new()
        local out = { list(sem:count(), sem:wait(0), sem:wait(0.01)) }
        local thread = ngx.thread.spawn(function() return sem:wait(5) end)
        ngx.sleep(0.01)
        out[#out + 1] = list(sem:count(), sem:post())
        out[#out + 1] = list(ngx.thread.wait(thread))
        sem:post(2)
        out[#out + 1] = list(sem:count(), sem:wait(1), sem:count())
        return table.concat(out)
    end
    return cases
    """

    def test_dicts(self):
        self.check("dicts")

    def test_waiting(self):
        self.assertIn("1 nil false 1 nil true", self.check("timers").text)
        self.check("threads")
        self.check("semaphores")


class Absent(SiteCase):
    SCRIPT = r"""
    app.get("/before", function() return tostring(package.loaded.ngx) end)
    local function try(fn)
        local ok, err = pcall(fn)
        return tostring(ok) .. " " .. tostring(err)
    end
    app.get("/later", function() -- for the first time in a handler
        local ngx = require "ngx"
        return { ngx == require "ngx", ngx.var.uri, ngx.md5 "hello", ngx.get_phase() }
    end)
    app.get("/absent", function()
        local ngx = require "ngx"
        return { try(function() ngx.say("x") end), try(function() ngx.location.capture("/") end),
            try(function() ngx.exit(403) end), try(function() ngx.status = 200 end), try(function() ngx.req.socket() end),
            try(function() return ngx.var.server_addr end), try(function() ngx.var.x = 1 end),
            try(function() ngx.header.content_type = "text/html" end), try(function() ngx.header.content_length = 1 end),
            try(function() ngx.header.date = "x" end), try(function() ngx.header["a b"] = "x" end),
            try(function() ngx.header.x = "a\nb" end), try(function() ngx.shared.s:lpush("a", 1) end),
            try(function() require "ngx.ssl" end), try(function() ngx.log("x", "y") end), try(function() ngx.sleep(-1) end),
            try(function() ngx.encode_args { a = print } end), try(function() ngx.decode_args("a", "x") end),
            try(function() ngx.req.get_headers {} end), try(function() ngx.semaphore.new().wait() end), tostring(ngx.run_worker_thread), type(require "resty.core") }
    end)
    app.store "s"
    app.get("/timer", function()
        local ngx, got = require "ngx", nil
        app.after(0, function()
            ngx.ctx.a = 1
            got = { ngx.get_phase(), ngx.ctx.a, try(function() return ngx.var.uri end) }
        end)
        while not got do app.sleep(1) end
        return got
    end)
    app.get("/log", function()
        local ngx = require "ngx"
        ngx.log(ngx.ERR, "a", 1, nil, true, setmetatable({}, { __tostring = function() return "T" end }))
        ngx.log(ngx.NOTICE, "note\nme")
        return "logged"
    end)
    app.get("/semaphore", function() -- a mistake is no wait
        local sem = require("ngx").semaphore.new()
        return { try(function() sem:wait() end), try(function() sem:wait(-1) end), sem:count() }
    end)
    app.get("/premature", function()
        require("ngx").timer.at(3600, function(premature, text) app.log("warn", tostring(premature) .. " " .. text) end, "here")
        return "set"
    end)
    """

    def test_is_made_when_it_is_required(self):
        self.assertEqual(self.ask("/later").json, [True, "/later", "5d41402abc4b2a76b9719d911017c592", "content"])

    def test_names_that_are_not_there(self):
        texts = self.ask("/absent").json
        for text, part in zip(texts, [
                "site.lua:14: ngx.say is not there: return the body from the handler", "call the function of the other route",
                "app.error(status, body)", "ngx.status is not there", "req:chunks()", "ngx.var.server_addr is not there: req",
                "ngx.var.x cannot be set: keep what belongs to a request in ngx.ctx", "Content-type", "the server computes it",
                "is set by the server itself", "the name must be a token", "must not contain control characters",
                "lpush is not there", "app.tls has the certificates", "a level such as ngx.ERR", "seconds expected",
                "ngx.encode_args: a: text", "number of arguments to take expected", "number of fields to take expected",
                "semaphore:wait: call it as a method", "nil", "table"]):
            self.assertIn(part.lower(), text.lower())

    def test_outside_a_request(self):
        phase, value, text = self.ask("/timer").json
        self.assertEqual((phase, value), ("timer", 1))
        self.assertIn("ngx.var.uri: there is no request here", text)

    def test_a_wait_of_a_semaphore_that_does_not_begin(self):
        without, negative, count = self.ask("/semaphore").json
        self.assertIn("seconds expected", without)
        self.assertIn("seconds expected", negative)
        self.assertEqual(count, 0)

    def test_log(self):
        self.ask("/log")
        self.wait_for_log(r"a1niltrueT")
        self.wait_for_log(r"note\\nme")

    def test_a_stop_runs_timers_at_once(self):
        with script(self.SCRIPT) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
            from lua_site import Client
            with Client(server) as client:
                self.assertEqual(client.ask("GET", "/premature").text, "set")
            server.stop()
            self.assertTrue(any("true here" in line for line in server.lines), server.lines)

    def test_a_driver_without_the_global(self):
        driver = ("driver.lua", "local tcp = ngx.socket.tcp\nreturn {}\n")
        for code, text in (('local ngx = require "ngx"\nrequire "driver"\n', 'write ngx = require "ngx" (without local) before require "driver"'),
                           ('app.worker "driver.lua"\n', "attempt to index global 'ngx'")):
            with self.subTest(code), script(code, files=[driver]) as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertIn("driver.lua:1: attempt to index global 'ngx' (a nil value)", done.stderr)
                self.assertIn(text, done.stderr)
        with script('app.worker "w.lua"\n', files=[driver, ("w.lua", 'return require "driver"\n')]) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertIn("ngx is not there in a worker", done.stderr)

    def test_not_in_workers(self):
        with script('local w = app.worker "w.lua"\n', files=[("w.lua", 'require "ngx"\nreturn { f = function() end }\n')]) as path:
            done = evtest.run(EVSERVE, "--check", path)
            self.assertIn("ngx is not there in a worker", done.stderr)


if __name__ == "__main__":
    unittest.main()
