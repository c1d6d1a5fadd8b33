"""app.random, ids, base64 and digests, in handlers and in workers, against Python's own."""

import base64
import hashlib
import hmac
import os
import re
import signal
import time
import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script

FUNCTIONS = r"""
local function call(name, ...)
    local values = { pcall(app[name], ...) }
    for i = 1, 3 do values[i] = values[i] == nil and app.json.null or values[i] end
    return values
end
"""
MODULE = 'local app = require "evserve"' + FUNCTIONS + r"""
return {
    all = function(text)
        return app.base64(text), app.base64_decode(app.base64(text)), app.hex(app.sha256(text)), #app.random(5),
            #app.uuid(), app.equal(text, text), app.open(app.seal(text, { secret = ("s"):rep(32) }), { secret = ("s"):rep(32) })
    end,
}
"""
SCRIPT = FUNCTIONS + r"""
local worker = app.worker("module.lua", { threads = 1 })
local at_start = app.hex(app.random(16))
app.post("/text/:name", function(req) return app[req.params.name](req.body) end)
app.post("/hmac/:digest", function(req) return app.hmac(req.params.digest, req.query.key, req.body) end)
app.post("/decode/:name", function(req)
    local bytes, why = app[req.params.name](req.body)
    return { bytes = bytes and app.hex(bytes), why = why }
end)
app.get("/random/:n{int}", function(req) return app.random(tonumber(req.params.n)) end)
app.get("/uuids", function() return { app.uuid(), app.uuid(4), app.uuid(7), app.uuid(), at_start } end)
app.get("/equal", function()
    return { app.equal("abc", "abc"), app.equal("abc", "abd"), app.equal("abc", "ab"), app.equal("", ""),
             app.equal(nil, "x"), app.equal("x"), app.equal(nil, nil), app.equal("a\0b", "a\0c") }
end)
app.get("/wrong", function()
    return { call("random"), call("random", 0), call("random", 65537), call("random", 1.5), call("random", 0 / 0),
             call("random", "8"), call("uuid", 5), call("base64"), call("base64_decode", 7), call("hex", {}),
             call("sha256"), call("hmac", "md5", "k", "t"), call("hmac", "sha256", nil, "t"), call("hmac", "sha256", "k"),
             call("equal", 1, "1") }
end)
local S, T = ("s"):rep(32), ("t"):rep(1024)
app.get("/seal", function()
    local old, new = { secret = S }, { secret = { T, S }, max_age = "1h", purpose = "" }
    local text = "a\0b" .. ("x"):rep(65533)
    local sealed = app.seal(text, old)
    local aged = app.seal("x", { secret = S, max_age = "1ms", purpose = "p" })
    app.sleep(3)
    local function show(name, given, options)
        local opened, why = app[name](given, options)
        return tostring(opened) .. ", " .. tostring(why)
    end
    return { #sealed, app.open(sealed, new) == text, sealed:find("^[%w_-]+$") == 1,
             show("open", app.seal("", new), old), show("open", sealed, { secret = S, purpose = "p" }),
             show("open", aged, { secret = S, max_age = "1ms", purpose = "p" }), show("open", "", old),
             show("open", nil, old), show("open", ("A"):rep(100000), old), show("open", aged, { secret = S, purpose = "p" }) }
end)
app.get("/badly", function()
    local short, many = ("s"):rep(31), {}
    for i = 1, 17 do many[i] = S end
    return { call("seal", 5, { secret = S }), call("seal", "x"), call("seal", "x", {}), call("seal", "x", { secret = short }),
             call("seal", "x", { secret = ("s"):rep(1025) }), call("seal", "x", { secret = many }),
             call("seal", "x", { secret = { S, 7 } }), call("seal", "x", { secret = {} }),
             call("seal", "x", { secret = S, purpose = ("p"):rep(256) }), call("seal", "x", { secret = S, purpose = 1 }),
             call("open", "x", { secret = S, max_age = 3600 }), call("open", "x", { secret = S, max_age = "1" }),
             call("open", "x", { secret = S, max_age = "0s" }), call("open", "x", { secrets = S }),
             call("seal", ("x"):rep(65537), { secret = S }), call("open", {}, { secret = S }),
             call("seal", "x", { S }) }
end)
app.post("/worker", function(req) return { worker.all(req.body) } end)
app.get("/fast", { jit = true }, function()
    local text = ""
    for i = 1, 200 do text = app.hex(app.sha256(text)) end
    return text
end)
"""
ALL = bytes(range(256)) * 3


class Crypto(SiteCase):
    SCRIPT = SCRIPT
    FILES = (("module.lua", MODULE),)

    def has_digests(self):
        answer = self.ask("/text/sha256", "POST", body=b"")
        if answer.status == 500:
            self.wait_for_log(r"app\.sha256 needs OpenSSL: ")
        return answer.status == 200

    def text(self, name, body):
        answer = self.ask("/text/" + name, "POST", body=body)
        self.assertEqual(answer.status, 200)
        return answer.body

    def test_texts(self):
        for body in (b"", b"f", b"fo", b"foo", b"foob", b"fooba", b"foobar", ALL, os.urandom(100_001)):
            self.assertEqual(self.text("base64", body), base64.b64encode(body))
            self.assertEqual(self.text("base64url", body), base64.urlsafe_b64encode(body).rstrip(b"="))
            self.assertEqual(self.text("hex", body), body.hex().encode())
            self.assertEqual(self.text("base64_decode", base64.b64encode(body)), body)
            self.assertEqual(self.text("base64url_decode", base64.urlsafe_b64encode(body)), body)
            self.assertEqual(self.text("hex_decode", body.hex().encode()), body)

    def test_texts_that_are_wrong(self):
        for name, body, why in (("base64_decode", b"Zm9v!", "not base64 at byte 5"),
                                ("base64_decode", b"Zg=", "not base64: the end is missing"),
                                ("base64_decode", b"Zh==", "not base64 at byte 2"),
                                ("base64_decode", b"-__-", "not base64 at byte 1"),
                                ("base64url_decode", b"+//+", "not base64url at byte 1"),
                                ("base64url_decode", b"Z", "not base64url: the end is missing"),
                                ("hex_decode", b"6", "not hexadecimal: the end is missing"),
                                ("hex_decode", b"0x", "not hexadecimal at byte 2")):
            self.assertEqual(self.ask("/decode/" + name, "POST", body=body).json, {"why": why})

    def test_digests(self):
        if not self.has_digests():
            self.skipTest("a build without OpenSSL")
        for body in (b"", b"abc", ALL, b"a" * 1_000_000):
            self.assertEqual(self.text("sha256", body), hashlib.sha256(body).digest())
            self.assertEqual(self.text("sha512", body), hashlib.sha512(body).digest())
            for name in ("sha1", "sha256", "sha512"):
                answer = self.ask(f"/hmac/{name}?key=Jefe", "POST", body=body)
                self.assertEqual(answer.body, hmac.digest(b"Jefe", body, name))
        text = ""
        for _ in range(200):
            text = hashlib.sha256(text.encode()).hexdigest()
        self.assertEqual(self.ask("/fast").text, text)

    def test_random(self):
        for n in (1, 256, 257, 65536):
            first, second = (self.ask(f"/random/{n}").body for _ in range(2))
            self.assertEqual((len(first), len(second)), (n, n))
            if n > 1:
                self.assertNotEqual(first, second)

    def test_uuids(self):
        ids = self.ask("/uuids").json
        for text, version in zip(ids, (4, 4, 7, 4)):
            self.assertRegex(text, rf"^[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}$")
        self.assertEqual(len(set(ids)), 5)
        self.assertLess(abs(time.time() - int(ids[2].replace("-", "")[:12], 16) / 1000), 60)

    def test_equal(self):
        self.assertEqual(self.ask("/equal").json, [True, False, False, True, False, False, False, False])

    def test_wrong_arguments_are_named(self):
        digests = 'app.hmac: the digest is "sha256", "sha512" or "sha1", then come the key and the text'
        uuid = "app.uuid: the version is 4, which is random, or 7, which begins with the time"
        number = "app.random: a whole number of bytes from 1 to 65536 expected, got "
        expected = [number + "nil", number + "0", number + "65537", number + "1.5", number + "nan", number + "string", uuid,
                    "app.base64: a string expected, got nil", "app.base64_decode: a string expected, got number",
                    "app.hex: a string expected, got table", "app.sha256: a string expected, got nil", digests,
                    "app.hmac: the key: a string expected, got nil", "app.hmac: the text: a string expected, got nil",
                    "app.equal: a string expected, got number"]
        for (ok, text, _), error in zip(self.ask("/wrong").json, expected, strict=True):
            self.assertFalse(ok)
            self.assertEqual(re.sub(r"^site\.lua:\d+: ", "", text).replace("-nan", "nan"), error)

    def test_worker(self):
        if not self.has_digests():
            self.skipTest("a build without OpenSSL")
        self.assertEqual(self.ask("/worker", "POST", body=b"foob").json,
                         ["Zm9vYg==", "foob", hashlib.sha256(b"foob").hexdigest(), 5, 36, True, "foob"])

    def test_seal(self):
        if not self.has_digests():
            self.skipTest("a build without OpenSSL")
        changed = "nil, changed, or sealed with another secret or for another purpose"
        self.assertEqual(self.ask("/seal").json,
                         [87447, True, True, changed, changed, "nil, expired", "nil, not a sealed text", "nil, there is none",
                          "nil, not a sealed text", "x, nil"])

    def test_mistakes_in_terms_are_named(self):
        secret = "secret: a text of at least 32 bytes, or a list of these, expected, got "
        length = 'bytes, and this may be from 32 to 1024: "openssl rand -base64 32" makes one'
        expected = ["app.seal: a string expected, got number", "app.seal: a table such as { secret = ... } expected, got nil",
                    "app.seal: secret: the options have none", "app.seal: secret: it has 31 " + length,
                    "app.seal: secret: it has 1025 " + length, "app.seal: secret: more than 16 secrets",
                    "app.seal: " + secret + "number", "app.seal: secret: the options have none",
                    "app.seal: purpose: it has more than 255 bytes",
                    'app.seal: purpose: a text such as "session" expected, got number',
                    'app.open: max_age: a time with a unit such as "1h" expected, got number', None,
                    "app.open: max_age: it must be at least a millisecond; leave it out if there is no limit",
                    'app.open: unknown option "secrets": there are max_age, purpose, secret',
                    "app.seal: the text has 65537 bytes, and this may be at most 65536",
                    "app.open: a string expected, got table",
                    "app.seal: an option without a name: write { secret = ... }"]
        for (ok, text, _), error in zip(self.ask("/badly").json, expected, strict=True):
            self.assertFalse(ok)
            if error is not None:
                self.assertEqual(re.sub(r"^site\.lua:\d+: ", "", text), error)


class Passwords(SiteCase):
    SCRIPT = FUNCTIONS + r"""
    local ok, at_start = pcall(app.password.hash, "secret", { cost = 1 })
    local known = { "$apr1$abc12345$mlVwr7EkR7OwkOh/m4JoL1", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=" }
    local worker = app.worker("hasher.lua", { threads = 1 })
    local function verify(password, hash) return app.password.verify(password, hash) end
    app.get("/start", function() return at_start end)
    app.get("/known", function()
        return { verify("", known[1]), verify("x", known[1]), verify("secret", known[2]), verify("Secret", known[2]),
                 verify(nil, known[2]), verify(("x"):rep(513), known[2]), verify("secret\0", known[2]) }
    end)
    app.get("/new", function(req)
        local hash = app.password.hash("p\195\164ss", { cost = 1 })
        return { hash, app.password.hash("p\195\164ss", { cost = 1 }), verify("p\195\164ss", hash), verify("pass", hash),
                 verify("secret", at_start), worker.check("secret", at_start), verify("worker", worker.make()),
                 coroutine.wrap(function() return app.password.verify("secret", app.password.hash("secret", { cost = 1 })) end)(),
                 #app.password.hash(("x"):rep(511), { cost = 1 }) }
    end)
    local function try(fn, ...)
        local ok, err = pcall(fn, ...)
        return type(err) == "table" and err.status .. " " .. err.body or tostring(err)
    end
    app.get("/wrong", function()
        local make, check = app.password.hash, app.password.verify
        return { try(make), try(make, 5), try(make, "x", 5), try(make, "x", { costs = 5 }), try(make, "x", { cost = 0 }),
                 try(make, "x", { cost = 10 }), try(make, "x", { cost = 1.5 }), try(make, ("x"):rep(512)), try(make, "a\0b"),
                 try(check, "x"), try(check, 5, known[1]), try(check, "x", "clear"), try(check, "x", "$2y$99$x"),
                 try(check, "x", known[1] .. "\0") }
    end)
    app.get("/crowd", { handler_timeout = "1m" }, function()
        local tasks, made, refused, why = {}, 0, 0, ""
        for i = 1, 400 do
            tasks[i] = app.spawn(function()
                local ok, err = pcall(app.password.hash, "x", { cost = 1 })
                if ok then made = made + 1 else refused, why = refused + 1, err.status .. " " .. err.body end
            end)
        end
        for _, task in ipairs(tasks) do task:wait() end
        return { made = made, refused = refused, why = why }
    end)
    app.get("/slow", function() return tostring(verify("x", app.password.hash("x", { cost = 7 }))) end)
    app.get("/hasty", { handler_timeout = "20ms" }, function() return app.password.hash("x", { cost = 8 }) end)
    app.get("/ping", function() return "pong" end)
    """
    FILES = (("hasher.lua", '''local app = require "evserve"
return {
    check = function(password, hash) return app.password.verify(password, hash) end,
    make = function() return app.password.hash("worker", { cost = 1 }) end,
}
'''),)

    def setUp(self):
        answer = self.ask("/start")
        if "yescrypt" in answer.text or "libcrypt" in answer.text:
            self.skipTest(answer.text)

    def test_hashes_of_others(self):
        self.assertEqual(self.ask("/known").json, [True, False, True, False, False, False, False])

    def test_new_hashes(self):
        first, second, *verdicts = self.ask("/new").json
        for text in (first, second):
            self.assertRegex(text, r"^\$y\$j75\$[./0-9A-Za-z]{22}\$[./0-9A-Za-z]{43}$")
        self.assertNotEqual(first, second)
        self.assertEqual(verdicts, [True, False, True, True, True, True, 73])

    def test_mistakes_are_named(self):
        expected = ("app.password.hash: the password: a string expected, got nil",
                    "app.password.hash: the password: a string expected, got number",
                    "app.password.hash: a table such as { cost = 5 } expected, got 5",
                    'app.password.hash: unknown option "costs" (did you mean "cost"?)',
                    *["app.password.hash: cost: a whole number from 1 to 9 expected"] * 3,
                    *["400 a password has at most 511 bytes, and no NUL byte\n"] * 2,
                    "app.password.verify: the hash: a string expected, got nil; for a name that nobody has, give the hash of "
                    "any password, so that it takes as long",
                    "app.password.verify: the password: a string expected, got number",
                    "app.password.verify: the password is in clear text, or hashed in a way that is not known or not safe: "
                    'make a hash with "htpasswd -B" or "openssl passwd -6"',
                    "app.password.verify: the bcrypt hash is not whole: it has 60 characters",
                    "app.password.verify: the hash has a NUL byte in it")
        for text, error in zip(self.ask("/wrong").json, expected, strict=True):
            self.assertEqual(re.sub(r"^site\.lua:\d+: ", "", text), error)

    def test_a_full_queue_is_a_response(self):
        result = self.ask("/crowd").json
        self.assertGreaterEqual(result["made"], 256)
        self.assertEqual(result["made"] + result["refused"], 400)
        self.assertEqual(result["why"], "503 busy: too many passwords wait, try again later\n")
        self.wait_for_log("app.password: a call is refused, as 256 passwords wait to be hashed already")

    def test_others_are_served_meanwhile(self):
        with Client(self.server) as slow:
            slow.send("GET", "/slow")
            self.assertEqual(self.ask("/ping").text, "pong")
            self.assertEqual(slow.read().text, "true")

    def test_a_deadline_and_a_client_that_leaves(self):
        self.assertEqual(self.ask("/hasty").status, 503)
        slow = Client(self.server)
        slow.send("GET", "/slow")
        slow.reset()
        self.assertEqual(self.ask("/ping").text, "pong")

    def test_reload_and_stop(self):
        with script(self.SCRIPT, files=self.FILES) as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=os.path.dirname(path))
            with server, Client(server) as first, Client(server) as second, Client(server) as third:
                first.send("GET", "/slow")
                evtest.wait_until_read(first.sock)
                server.process.send_signal(signal.SIGHUP)
                evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "a reload")
                second.send("GET", "/slow")
                evtest.wait_until_read(second.sock)
                third.send("GET", "/slow")
                evtest.wait_until_read(third.sock)
                third.reset()
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual((first.read().text, second.read().text), ("true", "true"))
                self.assertEqual(server.process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
