"""app.random, ids, base64 and digests, in handlers and in workers, against Python's own."""

import base64
import hashlib
import hmac
import os
import re
import time
import unittest

from lua_site import SiteCase

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
             call("seal", ("x"):rep(65537), { secret = S }), call("open", {}, { secret = S }) }
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
                    "app.open: a string expected, got table"]
        for (ok, text, _), error in zip(self.ask("/badly").json, expected, strict=True):
            self.assertFalse(ok)
            if error is not None:
                self.assertEqual(re.sub(r"^site\.lua:\d+: ", "", text), error)


if __name__ == "__main__":
    unittest.main()
