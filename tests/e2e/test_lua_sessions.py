"""app.session: what a browser gets, keeps and sends back, sealed or in stores; tokens for forms; messages."""

import os
import signal
import unittest

import evtest
import redis_server
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


FORGE = r"""
app.get("/forge/:created/:renewed", function(req)
    local text = string.format("%d %d %s", os.time() - tonumber(req.params.created),
        os.time() - tonumber(req.params.renewed), req.query.json or '{"data":{"old":1}}')
    return app.seal(text, { secret = (req.query.secret or "s"):rep(32), purpose = "session session" })
end)
app.get("/sealed_by_t", function(req)
    return tostring(app.open(req.cookies.session, { secret = ("t"):rep(32), purpose = "session session" }) ~= nil)
end)
"""
AGES = 'app.session { secret = { ("t"):rep(32), ("s"):rep(32) }, max_age = "100s", lifetime = "1000s", csrf = false }\n'


class Ages(SiteCase):
    SCRIPT = AGES + SITE + FORGE

    @classmethod
    def setUpClass(cls):
        needs_openssl()
        super().setUpClass()

    def look(self, created, renewed, query=""):
        """What a session says that began and was saved so many seconds ago, and the cookie that it gets."""
        browser = Browser(self.server)
        browser.cookies["session"] = browser.ask(f"/forge/{created}/{renewed}{query}").text
        found = browser.ask("/").json["session"]
        return found, browser

    def test_ages(self):
        for created, renewed in ((0, 0), (45, 45), (990, 0), (990, 45)):
            found, browser = self.look(created, renewed)
            self.assertEqual((found, browser.lines), ({"old": 1}, []))
        for created, renewed in ((55, 55), (90, 90), (900, 60)):
            found, browser = self.look(created, renewed)
            self.assertEqual(found, {"old": 1})
            self.assertIn("; Max-Age=100; ", browser.lines[0])
            browser.ask("/")
            self.assertEqual(browser.lines, [])
        for created, renewed in ((101, 101), (1001, 0), (100000, 100)):
            found, browser = self.look(created, renewed)
            self.assertEqual((found, browser.cookies), ({}, {}))

    def test_what_is_no_session(self):
        for json in ("", "x", "7", "[", "null", "[]", "{}"):
            self.assertEqual(self.look(0, 0, "?json=" + json)[0], {})

    def test_tokens_can_be_off(self):
        answer = Browser(self.server).post("/form", [("a", "1")])
        self.assertEqual(answer.status, 200)

    def test_secrets_change(self):
        for letter, expected in (("s", {"old": 1}), ("t", {"old": 1}), ("u", {})):
            found, browser = self.look(0, 0, "?secret=" + letter)
            self.assertEqual(found, expected)
            browser.ask("/set/new/1")
            self.assertEqual(browser.ask("/sealed_by_t").text, "true")


class Behind(SiteCase):
    """Middleware, refusals, WebSockets, and a proxy in front."""

    SCRIPT = 'app.set { trusted_proxies = "127.0.0.1", max_body = "100" }\n' + SECRET + r"""
app.use(function(req, nxt)
    local res = nxt()
    res.headers["x-user"] = req.session.user or "none"
    if req.query.add then req.session[req.query.add] = res.status end
    return res
end)
app.get("/enter", function(req) req.session = { user = "ann" } return req:csrf() end)
app.get("/", function(req) return req.session end)
app.post("/form", function(req) return "ok" end)
app.get("/stuck", { handler_cpu = "20ms" }, function(req) req.session.stuck = true while true do end end)
app.websocket("/live", function(ws) ws:send "hello" ws:close() end)
"""

    @classmethod
    def setUpClass(cls):
        needs_openssl()
        super().setUpClass()

    def test_middleware_and_refusals(self):
        browser = Browser(self.server)
        token = browser.ask("/enter").text
        self.assertEqual(browser.ask("/?add=a").headers["x-user"], "ann")
        self.assertEqual(browser.ask("/nowhere?add=b").headers["x-user"], "ann")
        self.assertEqual(browser.ask("/stuck?add=c").status, 503)
        self.assertEqual(browser.ask("/").json, {"user": "ann", "a": 200, "b": 404, "c": 503})
        for method, target, body, status in (("POST", "/form?add=d", b"x" * 101, 413), ("POST", "/?add=d", b"", 405),
                                             ("POST", "/nowhere?add=d", b"csrf=" + token.encode(), 404)):
            kind = ("Content-Type", "application/x-www-form-urlencoded")
            answer = browser.ask(target, method, [kind], body)
            self.assertEqual((answer.status, answer.headers["x-user"], browser.lines), (status, "none", []))
            answer = browser.ask(target.partition("?")[0], method, [kind, ("X-CSRF-Token", token)], body)
            self.assertEqual((answer.status, answer.headers["x-user"]), (status, "ann"))
        self.assertEqual(browser.post("/form").status, 403)  # by the middleware
        self.assertEqual(browser.post("/form", [("csrf", token)]).headers["x-user"], "ann")

    def test_websockets(self):
        answer = Browser(self.server).ask("/live?add=live", headers=[
            ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        self.assertEqual(answer.status, 101)
        self.assertIn("session=", answer.headers["set-cookie"])

    def test_https_in_front(self):
        browser = Browser(self.server)
        browser.ask("/enter", headers=[("X-Forwarded-Proto", "https")])
        self.assertIn("; Secure; HttpOnly", browser.lines[0])


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
    SCRIPT = STORE + SITE + """
app.get("/keys", function() return app.json.array((store:keys())) end)
app.get("/slow", function(req)
    req.session.slow = true
    app.log("info", "slow begins")
    app.sleep "50ms"
    return "slow"
end)
"""

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

    def test_one_that_ends_meanwhile_stays_ended(self):
        self.browser.ask("/enter/ann")
        kept = dict(self.browser.cookies)
        with Client(self.server) as slow:
            slow.send("GET", "/slow", [("Cookie", "session=" + kept["session"])])
            self.wait_for_log("slow begins")
            self.browser.ask("/enter/bob")
            self.assertNotIn("set-cookie", slow.read().headers)
        self.browser.cookies = kept
        self.assertEqual(self.browser.ask("/").json["session"], {})

    def test_large_ones_fit(self):
        self.assertEqual(self.browser.ask("/large").status, 200)
        self.assertEqual(len(self.browser.ask("/").json["session"]["text"]), 4000)


class InRedis(Sessions, SiteCase):
    SCRIPT = f'app.session {{ store = app.store("sessions", {{ redis = os.getenv "REDIS" }}) }}\n' + SITE

    @classmethod
    def setUpClass(cls):
        needs_openssl()
        redis = redis_server.running()
        cls.redis = redis.__enter__()
        cls.addClassCleanup(redis.__exit__, None, None, None)
        os.environ["REDIS"] = f"redis://127.0.0.1:{cls.redis.port}"
        super().setUpClass()


class Servers(unittest.TestCase):
    def setUp(self):
        needs_openssl()

    def test_reactors_share_sessions_and_reloads_keep_them(self):
        text = SECRET + """
local host = app.host "stored.test"
host.session { store = app.store "sessions" }
for _, each in ipairs { app, host } do
    each.get("/enter", function(req) req.session = { n = 1 } return req:csrf() end)
    each.post("/", function(req) return req.session end)
end
"""
        options = ("--listen", "127.0.0.1:0", "--reactors", "2")
        with script(text) as path, evtest.Program(EVSERVE, *options, path) as server:
            browsers = [Browser(server), Browser(server, "stored.test")]
            tokens = [browser.ask("/enter").text for browser in browsers]

            def check():
                for browser, token in zip(browsers, tokens):
                    self.assertEqual(browser.post("/", [("csrf", token)]).json, {"n": 1})

            for _ in range(6):
                check()
            server.process.send_signal(signal.SIGHUP)
            evtest.wait_until(lambda: any("reloaded" in line for line in server.lines), "a reload")
            check()

    def test_mistakes(self):
        secret = 'secret = ("s"):rep(32)'
        mistakes = (
                ('"x"', 'a table such as { secret = os.getenv "SESSION_SECRET" } expected, got "x"'),
                ("{}", 'a secret, for sessions in cookies, or a store = app.store("sessions") expected'),
                (f"{{ {secret}, store = 1 }}",
                 'a secret, for sessions in cookies, or a store = app.store("sessions") expected, not both'),
                ('{ secret = "short" }', "secret: it has 5 bytes, and this may be from 32 to 1024: "
                 '"openssl rand -base64 32" makes one'),
                ("{ store = {} }", "store: what app.store() returns expected, got table"),
                (f'{{ {secret}, max_age = "0s" }}', "max_age: at least a second expected"),
                (f'{{ {secret}, max_age = "7" }}', 'max_age: "7" is not a whole number with a unit'),
                (f"{{ {secret}, lifetime = 5 }}", 'lifetime: a time with a unit such as "1h" expected'),
                (f"{{ {secret}, csrf = 1 }}", "csrf: true or false expected, got 1"),
                (f"{{ {secret}, secrets = 1 }}", 'unknown option "secrets" (did you mean "secret"?)'),
                (f"{{ {secret}, cookie = 5 }}",
                 'cookie: a name, or a table such as { name = "board", same_site = "strict" } expected, got 5'),
                (f'{{ {secret}, cookie = "a b" }}', "cookie: the name must be a token"),
                (f"{{ {secret}, cookie = {{ max_age = 1 }} }}", 'cookie: unknown attribute "max_age"'),
                (f'{{ {secret}, cookie = {{ same_site = "none" }} }}', 'cookie: same_site = "none": browsers accept'))
        calls = "".join(f"print(select(2, pcall(function() app.session({options}) end)))\n" for options, _ in mistakes)
        with script(calls + SECRET + 'app.get("/", function() end)\n') as path:
            done = evtest.run(EVSERVE, "--request", "/", path)
            lines = [line for line in done.stderr.split("\n") if "app.session: " in line]
            self.assertEqual(len(lines), len(mistakes), done.stderr)
            for number, (line, (_, expected)) in enumerate(zip(lines, mistakes), 2):
                self.assertIn(f" {path}:{number}: app.session: {expected}", line)
        for text, expected in (
                (f"{SECRET}{SECRET}", "3: app.session: it was called before, at PATH:2"),
                (f'app.group("/x").session {{ {secret} }}', "2: group.session does not exist: call app.session"),
                (f'app.get("/", {{ csrf = 1 }}, print)', "2: app.get: csrf: true or false expected, got number")):
            with script(text) as path:
                done = evtest.run(EVSERVE, "--check", path)
                self.assertEqual(done.stderr, f"{path}:{expected}\n".replace("PATH", path))


if __name__ == "__main__":
    unittest.main()
