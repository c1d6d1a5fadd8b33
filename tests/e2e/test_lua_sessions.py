"""app.session: what a browser gets, keeps and sends back, sealed or in stores; tokens for forms; messages."""

import unittest

import evtest
from lua_site import EVSERVE, Client, SiteCase, script

SITE = r"""
app.get("/", function(req) return { session = req.session, user = req.session.user } end)
app.get("/plain", function() return "plain" end)
app.get("/set/:name/:value", function(req) req.session[req.params.name] = req.params.value return "set" end)
app.get("/deep", function(req)
    req.session.list = req.session.list or {}
    table.insert(req.session.list, { n = #req.session.list + 1 })
    return req.session.list
end)
app.get("/enter/:name", function(req) req.session = { user = req.params.name } return app.redirect "/" end)
app.get("/leave", function(req) req.session = nil req:flash "left" return "left" end)
app.get("/raise", function(req) req.session.raised = true app.error(418, "tea\n") end)
app.get("/fail", function(req) req.session.failed = true error "on purpose" end)
app.get("/stream", function(req)
    req.session.streamed = true
    return function(out)
        out:write(tostring(select(2, pcall(function() req.session = {} end))))
    end
end)
app.get("/large", function(req) req.session.text = ("x"):rep(4000) return "no" end)
app.get("/strange", function(req) req.session.fn = print return "no" end)
app.get("/number", function(req) req.session = 5 end)
app.get("/flash", function(req) req:flash("saved") req:flash("warn", "full") return "kept" end)
app.get("/many", function(req) for i = 1, 25 do req:flash("message " .. i) end return "kept" end)
app.get("/flashes", function(req)
    local list = {}
    for kind, text in req:flashes() do table.insert(list, kind .. ": " .. text) end
    return app.json.array(list)
end)
app.get("/token", function(req) return req:csrf() end)
app.post("/form", function(req) return { session = req.session, form = req:form() } end)
app.post("/parts", function(req)
    local list = {}
    local user = req.session.user
    for part in req:parts() do table.insert(list, part.name .. "=" .. part:text()) end
    return app.json.array(list)
end)
app.post("/api", { csrf = false }, function(req) req.session.api = req.body return "ok" end)
app.post("/other", function(req) return req.body end)
app.get("/over", function(req)
    app.defer(function() app.log("info", "over: " .. tostring(req.session.user)) end)
    return "over " .. tostring(req.session.user)
end)
app.on("not_found", function(req) return 404, "no page for " .. tostring(req.session.user) .. "\n" end)
local other = app.host "other.test"
other.get("/", function(req) req.session = "mine" return req.session end)
local third = app.host "third.test"
local cookie = { name = "third", path = "/x", same_site = "strict", http_only = false }
third.session { secret = ("t"):rep(32), cookie = cookie }
third.get("/", function(req) req.session.n = 1 return "third" end)
"""
SECRET = 'app.session { secret = ("s"):rep(32) }\n'
STORE = 'local store = app.store "sessions"\napp.session { store = store }\n'
IS_TLS = None


def needs_openssl():
    global IS_TLS
    if IS_TLS is None:
        with script(SECRET) as path:
            done = evtest.run(EVSERVE, "--check", path)
        IS_TLS = "needs OpenSSL" not in done.stderr
    if not IS_TLS:
        raise unittest.SkipTest("a build without OpenSSL")


class Browser:
    """What keeps cookies, by name, and does not know what they are for."""

    def __init__(self, server, host="test"):
        self.server, self.host, self.cookies = server, host, {}

    def ask(self, target, method="GET", headers=(), body=None):
        sent = [("Host", self.host), *headers]
        if self.cookies:
            sent.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        with Client(self.server) as client:
            answer = client.ask(method, target, sent, body)
        self.lines = [value for name, value in answer.lines if name.lower() == "set-cookie"]
        for line in self.lines:
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    def post(self, target, fields=(), headers=(), kind="application/x-www-form-urlencoded"):
        body = fields if isinstance(fields, bytes) else "&".join(f"{k}={v}" for k, v in fields).encode()
        return self.ask(target, "POST", [("Content-Type", kind), *headers], body)


class Sessions:
    """What holds for both kinds."""

    @classmethod
    def setUpClass(cls):
        needs_openssl()
        super().setUpClass()

    def setUp(self):
        self.browser = Browser(self.server)

    def test_requests_that_do_not_look_at_it_have_none(self):
        for target in ("/plain", "/", "/flashes"):
            self.browser.ask(target)
            self.assertEqual(self.browser.lines, [])

    def test_is_kept_and_saved_only_when_changed(self):
        self.browser.ask("/set/color/red")
        self.assertRegex(self.browser.lines[0], r"^session=[\w-]+; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax$")
        answer = self.browser.ask("/")
        self.assertEqual(answer.json["session"], {"color": "red"})
        self.assertEqual((self.browser.lines, answer.headers["cache-control"]), ([], "private"))
        self.browser.ask("/set/color/red")
        self.assertEqual(self.browser.lines, [])
        for n in range(1, 4):
            self.assertEqual(self.browser.ask("/deep").json[-1], {"n": n})
        self.browser.ask("/plain")
        self.assertEqual(self.browser.ask("/").json["session"]["list"], [{"n": 1}, {"n": 2}, {"n": 3}])

    def test_every_response_saves_it(self):
        self.assertEqual(self.browser.ask("/raise").status, 418)
        self.assertEqual(self.browser.ask("/fail").status, 500)
        self.assertIn("the response has begun", self.browser.ask("/stream").text)
        self.assertEqual(self.browser.ask("/").json["session"], {"raised": True, "failed": True, "streamed": True})

    def test_signing_in_and_out(self):
        self.browser.ask("/set/before/1")
        before = dict(self.browser.cookies)
        self.assertEqual(self.browser.ask("/enter/ann").status, 302)
        self.assertNotEqual(self.browser.cookies, before)
        self.assertEqual(self.browser.ask("/").json["session"], {"user": "ann"})
        self.assertEqual(self.browser.ask("/nowhere").text, "no page for ann\n")
        self.browser.ask("/leave")
        self.assertEqual(self.browser.ask("/flashes").json, ["info: left"])
        self.assertRegex(self.browser.lines[0], r"^session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax$")
        self.assertEqual(self.browser.cookies, {})

    def test_flashes(self):
        self.browser.ask("/flash")
        self.assertEqual(self.browser.ask("/flashes").json, ["info: saved", "warn: full"])
        self.assertEqual(self.browser.ask("/flashes").json, [])
        self.browser.ask("/many")
        self.assertEqual(self.browser.ask("/flashes").json, [f"info: message {i}" for i in range(6, 26)])

    def test_tokens(self):
        token = self.browser.ask("/token").text
        other = self.browser.ask("/token").text
        self.assertNotEqual(token, other)
        for text in (token, other):
            self.assertEqual(self.browser.post("/form", [("csrf", text), ("a", "1")]).json["form"]["a"], "1")
            self.assertEqual(self.browser.post("/form", b"", [("X-CSRF-Token", text)]).status, 200)
        foreign = Browser(self.server).ask("/token").text
        flipped = ("A" if token[20] != "A" else "B").join((token[:20], token[21:]))
        for wrong in ("", "x", foreign, flipped, token[:-1], token[:20]):
            answer = self.browser.post("/form", [("csrf", wrong)])
            self.assertEqual((answer.status, answer.text.split(",")[0]), (403, "the form has expired"))
        self.assertEqual(self.browser.post("/form").status, 403)
        json = f'{{"csrf":"{token}"}}'.encode()
        self.assertEqual(self.browser.post("/form", json, (), "application/json").status, 403)
        self.assertEqual(self.browser.post("/other", b"free").text, "free")  # does not look at the session
        self.assertEqual(self.browser.post("/api", b"free").text, "ok")
        self.assertEqual(self.browser.ask("/").json["session"], {"api": "free"})
        self.assertEqual(self.browser.post("/nowhere", [("csrf", "x")]).text, "no page for nil\n")
        self.browser.ask("/enter/ann")
        self.assertEqual(self.browser.post("/form", [("csrf", token)]).status, 403)

    def test_tokens_of_forms_with_files(self):
        token = self.browser.ask("/token").text

        def parts(*fields):
            text = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                           for name, value in fields)
            return text.encode() + b"--b--\r\n"

        kind = "multipart/form-data; boundary=b"
        for target in ("/parts", "/form"):
            answer = self.browser.post(target, parts(("csrf", token), ("a", "1"), ("b", "2")), (), kind)
            self.assertEqual(answer.json if target == "/parts" else answer.json["form"],
                             ["a=1", "b=2"] if target == "/parts" else {"a": "1", "b": "2"})
            self.assertEqual(self.browser.post(target, parts(("a", "1"), ("csrf", token)), (), kind).status, 403)
            self.assertEqual(self.browser.post(target, parts(), (), kind).status, 403)
        answer = self.browser.post("/parts", parts(("a", "1"), ("csrf", "2")), [("X-CSRF-Token", token)], kind)
        self.assertEqual(answer.json, ["a=1", "csrf=2"])

    def test_mistakes(self):
        for target, text in (("/strange", "app.session: the session cannot be saved: .*function"),
                             ("/number", "req.session: a table or nil expected, got 5")):
            self.assertEqual(self.browser.ask(target).status, 500)
            self.wait_for_log(text)

    def test_after_the_response(self):
        self.browser.ask("/enter/ann")
        self.assertEqual(self.browser.ask("/over").text, "over ann")
        self.wait_for_log("over: ann")

    def test_hosts_have_their_own(self):
        self.assertEqual(Browser(self.server, "other.test").ask("/").text, "mine")
        third = Browser(self.server, "third.test")
        third.ask("/")
        self.assertRegex(third.lines[0], r"^third=[\w-]+; Path=/x; Max-Age=604800; SameSite=Strict$")


class Sealed(Sessions, SiteCase):
    SCRIPT = SECRET + SITE

    def test_cookies_that_were_changed(self):
        self.browser.ask("/enter/ann")
        value = self.browser.cookies["session"]
        self.assertLess(len(value), 200)
        with Client(self.server) as client:
            for at in range(len(value)):
                changed = value[:at] + ("A" if value[at] != "A" else "E") + value[at + 1:]
                answer = client.ask("GET", "/", [("Cookie", "session=" + changed)])
                self.assertFalse(answer.json["session"])
                self.assertIn("Max-Age=0", answer.headers["set-cookie"])

    def test_what_a_cookie_cannot_hold(self):
        self.assertEqual(self.browser.ask("/large").status, 500)
        self.wait_for_log(r"the session needs a cookie of \d+ bytes, and browsers keep at most 4096: use app\.session ")


class Stored(Sessions, SiteCase):
    SCRIPT = STORE + SITE + 'app.get("/keys", function() return app.json.array((store:keys())) end)\n'

    def test_ids(self):
        self.browser.ask("/set/a/1")
        first = self.browser.cookies["session"]
        self.assertRegex(first, r"^[\w-]{43}$")
        self.assertNotIn(first, self.browser.ask("/keys").json)
        self.browser.ask("/enter/ann")
        thief = Browser(self.server)
        thief.cookies["session"] = first  # the session before signing in has gone
        self.assertEqual(thief.ask("/").json["session"], {})
        chosen = Browser(self.server)
        chosen.cookies["session"] = "A" * 43
        chosen.ask("/enter/bob")
        self.assertNotEqual(chosen.cookies["session"], "A" * 43)
        kept = dict(self.browser.cookies)
        self.browser.ask("/leave")
        self.browser.ask("/flashes")
        self.browser.cookies = kept
        self.assertEqual(self.browser.ask("/").json["session"], {})

    def test_large_ones_fit(self):
        self.assertEqual(self.browser.ask("/large").status, 200)
        self.assertEqual(len(self.browser.ask("/").json["session"]["text"]), 4000)


if __name__ == "__main__":
    unittest.main()
