"""app.store on Redis, run by the real program against a redis-server: the calls do what they do in process, errors say what
is wrong, and connections are kept, renewed and let go."""

import contextlib
import os
import socket
import tempfile
import threading
import unittest

import certificates
import evtest
import redis_server
import side_by_side
from lua_site import EVSERVE, Client, SiteCase, script


# Assertions that hold for a store in the process and for one in Redis.
SAME = r"""
local function check(s)
    assert(s:get 'k' == nil and s:set('k', 'v') == true and s:get 'k' == 'v')
    assert(s:add('k', 1) == false and s:replace('k', false) == true and s:get 'k' == false)
    assert(s:replace('none', 1) == false and s:add('new', 1.5) == true and s:get 'new' == 1.5)
    assert(s:delete 'new' == true and s:delete 'new' == false)
    assert(s:set('k', nil) == true and s:get 'k' == nil and s:set('k', nil) == true)

    assert(s:incr 'n' == 1 and s:incr('n', 2.5) == 3.5 and s:incr('n', -4) == -0.5 and s:get 'n' == -0.5)
    assert(s:incr('from', 1, 10) == 11 and s:incr('from', 1, 10) == 12)
    assert(s:incr(7) == 1 and s:get '7' == 1 and s:set(2^53, 1) and s:get '9007199254740992' == 1)
    assert(s:incr('tenth', 0.1) == 0.1 and s:incr('tenth', 0.2) == 0.1 + 0.2)
    assert(s:incr('large', 2^53) == 2^53 and s:incr('large', 2^60) == 2^53 + 2^60)
    s:set('text', '5')
    local ok, err = pcall(s.incr, s, 'text')
    assert(not ok and err:find('store:incr: [%w-]+: the value of "text" is not a number'), err)

    assert(s:set('t', 1, '1m') and s:ttl 't' > 59000 and s:ttl 't' <= 60000)
    assert(s:ttl 'n' == math.huge and s:ttl 'none' == nil)
    assert(s:incr('w', 1, 0, '1h') == 1 and s:incr('w', 1, 0, '1s') == 2 and s:ttl 'w' > 3590000)
    assert(s:expire('w', '1m') and s:ttl 'w' <= 60000 and s:expire 'w' and s:ttl 'w' == math.huge)
    assert(s:expire('w', math.huge) and s:expire 'w' and s:expire('none', 1) == false and s:expire 'none' == false)
    assert(s:once('job', '1m') == true and s:once('job', '1m') == false and s:get 'job' == true)
    assert(s:set('short', 1, 30) and s:once('brief', 30))
    assert(s:add('added', 1, '1m') and s:ttl 'added' <= 60000 and s:replace('added', 2) and s:ttl 'added' == math.huge)

    local values = { '', 'text', '12', '-1', '$', '$5', 'true', 'false', 'nan', 'inf', '\1', '\1ev1', '\0\255\r\n', ('x'):rep(100000),
        0, -0.5, 1e300, 5e-324, 2^53, 0.1, true, false, 1e21, -1e-7 }
    for i, value in ipairs(values) do
        s:set('value', value)
        local got = s:get 'value'
        assert(got == value and type(got) == type(value), ('value %d: %s'):format(i, tostring(got)))
    end
    for _, number in ipairs { math.huge, -math.huge } do
        s:set('value', number)
        assert(s:get 'value' == number)
    end
    s:set('value', 0 / 0)
    assert(s:get 'value' ~= s:get 'value')
    s:set('value', app.json.null)
    assert(s:get 'value' == app.json.null)
    s:set('value', { 1, { a = 'x\0y', [true] = 2, [0.5] = false }, app.json.array {}, n = app.json.null })
    local got = s:get 'value'
    assert(got[1] == 1 and got[2].a == 'x\0y' and got[2][true] == 2 and got[2][0.5] == false and got.n == app.json.null)
    assert(app.json.encode(got[3]) == '[]')

    s:flush()
    assert(#s:keys() == 0)
    for i = 1, 1200 do s:set('u:' .. i, i) end
    s:set('*[a-z]?\\', 1)
    local keys, more = s:keys()
    assert(#keys == 1000 and more == true)
    keys, more = s:keys('u:', 1200) assert(#keys == 1200 and more == false)
    keys, more = s:keys('u:', 1199) assert(#keys == 1199 and more == true)
    keys, more = s:keys('none') assert(#keys == 0 and more == false)
    keys, more = s:keys('*', 1) assert(keys[1] == '*[a-z]?\\' and #keys == 1 and not more)
    keys, more = s:keys('*[a-z]?\\') assert(#keys == 1)
    assert(s:stats().keys == 1201)
    s:flush()
    assert(s:stats().keys == 0 and #s:keys('') == 0)
    app.sleep(50)
    assert(s:get 'short' == nil and s:once('brief', '1m'))
    s:delete 'brief'
    return 'the same'
end

local function fail(s)
    local texts = {}
    local function try(fn, ...)
        local ok, err = pcall(fn, ...)
        texts[#texts + 1] = tostring(err):gsub('^[^ ]+: ', ''):gsub('0x%x+', 'address')
    end
    try(s.get, s, nil) try(s.get, s, {}) try(s.get, s, '') try(s.get, s, ('x'):rep(8193)) try(s.get, 'k')
    try(s.set, s, 'k', print) try(s.set, s, 'k', { a = { print } }) try(s.set, s, 'k', 1, 'soon') try(s.set, s, 'k', 1, 0)
    try(s.add, s, 'k', nil) try(s.replace, s, 'k', nil) try(s.once, s, 'k', nil) try(s.once, s, 'k', 0) try(s.set, s, 'k', 1, -1)
    try(s.incr, s, 'k', 'x') try(s.incr, s, 'k', 1, {}) try(s.incr, s, 'k', 0 / 0) try(s.expire, s, 'k', {})
    try(s.keys, s, 'k', 0) try(s.keys, s, 'k', 1000001) try(s.keys, s, {}) try(s.set, s, 'k', setmetatable({}, {}))
    return table.concat(texts, '\n')
end
"""


class Same(unittest.TestCase):
    def test_stores_in_the_process_and_in_redis(self):
        with redis_server.running() as redis:
            site = SAME + f"""
            local here, there = app.store("both", {{ size = "64M" }}), app.store("both", {{ redis = "redis://127.0.0.1:{redis.port}" }})
            local unix = app.store("unix", {{ redis = "unix:{redis.path}", db = 3 }})
            app.get("/here", {{ handler_cpu = "10s" }}, function() return check(here) end)
            app.get("/there", {{ handler_cpu = "10s" }}, function() return check(there) end)
            app.get("/unix", {{ handler_cpu = "10s" }}, function() return check(unix) end)
            app.get("/fail-here", function() return fail(here) end)
            app.get("/fail-there", function() return fail(there) end)
            app.get("/inside", function()
                return coroutine.wrap(function() there:set("k", 5) coroutine.yield(tostring(there:get "k")) end)()
            end)
            """
            with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, \
                    Client(server) as client:
                for target in ("/here", "/there", "/unix"):
                    self.assertEqual(client.ask("GET", target).text, "the same", server.lines)
                self.assertEqual(client.ask("GET", "/inside").text, "5")
                self.assertEqual(client.ask("GET", "/fail-there").text.split("\n"),
                                 client.ask("GET", "/fail-here").text.split("\n"))


class There(SiteCase):
    """What is Redis's own."""

    @classmethod
    def setUpClass(cls):
        cls.redis_stack = contextlib.ExitStack()
        cls.redis = cls.redis_stack.enter_context(redis_server.running(password="p@ss/word"))
        cls.silent = socket.create_server(("127.0.0.1", 0))
        cls.dead = redis_server.free_port()
        cls.SCRIPT = f"""
        local url = "redis://:p%40ss%2Fword@127.0.0.1:{cls.redis.port}"
        local s = app.store("s", {{ redis = url .. "/1" }})
        local typed = app.store("typed", {{ redis = "redis://127.0.0.1:{cls.redis.port}", password = "p@ss/word" }})
        local locked = app.store("locked", {{ redis = "redis://127.0.0.1:{cls.redis.port}" }})
        local wrong = app.store("wrong", {{ redis = "redis://user:wrong@127.0.0.1:{cls.redis.port}" }})
        local dead = app.store("dead", {{ redis = "redis://127.0.0.1:{cls.dead}" }})
        local silent = app.store("silent", {{ redis = "redis://127.0.0.1:{cls.silent.getsockname()[1]}", timeout = "50ms" }})
        local stores = {{ s = s, typed = typed, locked = locked, wrong = wrong, dead = dead, silent = silent }}
        app.get("/get/:store/*key", function(req)
            local value = stores[req.params.store]:get(req.params.key)
            return type(value) .. " " .. tostring(value)
        end)
        app.get("/set/:store/:key/:value", function(req)
            return tostring(stores[req.params.store]:set(req.params.key, req.params.value))
        end)
        app.get("/incr/:key", function(req) return tostring(s:incr(req.params.key)) end)
        app.get("/incr-1000", {{ handler_cpu = "10s" }}, function() for i = 1, 1000 do s:incr "many" end return "" end)
        app.get("/both", {{ finish = true }}, function()
            local list = {{}}
            for i = 1, 20 do list[i] = function() for j = 1, 10 do s:incr "side by side" end end end
            app.all(unpack(list))
            return tostring(s:get "side by side")
        end)
        app.get("/stay", function() silent:get "k" return "" end)
        app.get("/table", function()
            s:set("table", {{ 1, 2 }})
            return ""
        end)
        app.get("/stats", function() return s:stats() end)
        local long = app.store("long", {{ redis = url, timeout = "10s" }})
        app.get("/long/:size", {{ handler_cpu = "10s" }}, function(req)
            local text = ("x"):rep(tonumber(req.params.size))
            local list = {{ pcall(long.set, long, "k", text) }}
            long:delete "k"
            return tostring(list[1]) .. " " .. tostring(list[2])
        end)
        """
        try:
            super().setUpClass()
        except BaseException:
            cls.redis_stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.silent.close()
        cls.redis_stack.close()

    def text(self, target):
        return self.ask(target).text

    def check_error(self, target, text):
        self.assertEqual(self.ask(target).status, 500)
        self.wait_for_log(text)

    def redis_1(self, *words):
        """A command in database 1."""
        with self.swapped():
            return self.redis.command(*words)

    @contextlib.contextmanager
    def swapped(self):
        self.redis.command("SWAPDB", 0, 1)
        try:
            yield
        finally:
            self.redis.command("SWAPDB", 0, 1)

    def test_others_can_read_and_write(self):
        self.text("/set/s/word/hello")
        self.text("/set/s/digits/12")
        self.text("/incr/count")
        with self.swapped():
            self.assertEqual(self.redis.command("GET", "s:word"), b"hello")
            self.assertEqual(self.redis.command("GET", "s:digits"), b"$12")
            self.assertEqual(self.redis.command("GET", "s:count"), b"1")
            self.redis.command("INCRBY", "s:count", 41)
            self.redis.command("SET", "s:foreign", "caf\u00e9")
            self.redis.command("SET", "s:zero", "007")
            self.redis.command("SET", "s:empty", "")
            self.redis.command("RPUSH", "s:list", "x")
        self.assertEqual(self.text("/get/s/count"), "number 42")
        self.assertEqual(self.text("/incr/count"), "43")
        self.assertEqual(self.text("/get/s/foreign"), "string caf\u00e9")
        self.assertEqual(self.text("/get/s/zero"), "string 007")
        self.assertEqual(self.text("/get/s/empty"), "string ")
        self.check_error("/get/s/list", f"store:get: s: Redis at 127.0.0.1:{self.redis.port}: WRONGTYPE")

    def test_values_have_a_limit(self):
        most = 63 << 20
        self.assertEqual(self.text(f"/long/{most}"), "true true")
        self.assertIn(f"store:set: long: the value is too large: up to {most} bytes fit", self.text(f"/long/{most + 1}"))

    def test_copies_are_checked(self):
        self.text("/table")
        copy = self.redis_1("GET", "s:table")
        self.assertTrue(copy.startswith(b"\1ev1"), copy)
        for bad in (copy[:-1], copy + b"x", b"\1", b"\1ev1", b"\1ev1T" + b"\xff" * 8, b"\1ev2" + copy[4:], copy[:4] + b"x"):
            self.redis_1("SET", "s:bad", bad)
            self.check_error("/get/s/bad", "store:get: s: the value in Redis is not one that this version has written")

    def test_passwords(self):
        self.assertEqual(self.text("/set/typed/k/v") + self.text("/get/typed/k"), "truestring v")
        self.check_error("/get/locked/k", f"store:get: locked: Redis at 127.0.0.1:{self.redis.port}: NOAUTH")
        self.check_error("/get/wrong/k", f"store:get: wrong: Redis at 127.0.0.1:{self.redis.port}: AUTH: WRONGPASS")

    def test_redis_is_away(self):
        self.check_error("/get/dead/k", f"store:get: dead: Redis at 127.0.0.1:{self.dead}: connection refused")
        self.check_error("/get/silent/k", "store:get: silent: Redis at .*: timeout")

    def test_connections_are_kept(self):
        def count():
            return int(self.redis.command("INFO", "stats").split(b"total_connections_received:")[1].split()[0])

        self.text("/incr/kept")
        before = count()
        self.text("/incr-1000")
        self.assertEqual(count() - before, 1)  # count's own
        self.assertEqual(self.text("/get/s/many"), "number 1000")

    def test_many_side_by_side(self):
        self.assertEqual(self.text("/both"), "number 200".split()[1])

    def test_a_restart_of_redis(self):
        self.text("/set/s/k/v")
        self.assertEqual(self.text("/incr/again"), "1")
        self.redis.stop()
        self.check_error("/get/s/k", f"store:get: s: Redis at 127.0.0.1:{self.redis.port}: connection refused")
        self.redis.start()
        self.assertEqual(self.text("/get/s/k"), "nil nil")
        self.assertEqual(self.text("/incr/again"), "1")  # the script is loaded anew

    def test_the_scripts_are_forgotten(self):
        self.assertEqual(self.text("/incr/forgotten"), "1")
        self.redis.command("SCRIPT", "FLUSH")
        self.assertEqual(self.text("/incr/forgotten"), "2")

    def test_connections_are_closed_by_redis(self):
        self.text("/get/s/k")
        self.redis.command("CLIENT", "KILL", "TYPE", "normal")
        self.assertEqual(self.text("/get/s/none"), "nil nil")

    def test_the_client_leaves(self):
        with Client(self.server) as client:
            client.send("GET", "/stay")
            accepted, _ = self.silent.accept()
            with accepted:
                client.reset()
                accepted.settimeout(10)
                while accepted.recv(100):  # until the connection is closed
                    pass

    def test_stats(self):
        stats = self.ask("/stats").json
        self.assertEqual(sorted(stats), ["bytes", "evicted", "keys", "size"])
        self.assertGreater(stats["bytes"], 1000)


class Tls(unittest.TestCase):
    def test_tls(self):
        certificates.require_tls(EVSERVE)
        with tempfile.TemporaryDirectory(prefix="ev") as folder:
            authority = certificates.Authority(folder)
            pair = authority.sign("redis", "localhost", "127.0.0.1")
            ca = authority.path("ca.pem")
            with redis_server.running(tls=(*pair, ca)) as redis:
                site = f"""
                local port = "{redis.tls_port}"
                local stores = {{
                    good = app.store("good", {{ redis = "rediss://127.0.0.1:" .. port, tls = {{ ca = "{ca}" }} }}),
                    unknown = app.store("unknown", {{ redis = "rediss://127.0.0.1:" .. port }}),
                    blind = app.store("blind", {{ redis = "rediss://127.0.0.1:" .. port, tls = {{ verify = false }} }}),
                    plain = app.store("plain", {{ redis = "redis://127.0.0.1:" .. port }}),
                    wrong = app.store("wrong", {{ redis = "rediss://127.0.0.1:{redis.port}", timeout = "200ms" }}),
                }}
                app.get("/:store", function(req)
                    local store = stores[req.params.store]
                    local ok, result = pcall(store.incr, store, "k")
                    return tostring(result)
                end)
                """
                with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, \
                        Client(server) as client:
                    def text(store):
                        return client.ask("GET", "/" + store).text

                    self.assertEqual(text("good") + text("good") + text("blind"), "121")
                    self.assertRegex(text("unknown"), r"store:incr: unknown: Redis at 127.0.0.1:\d+: .*certificate")
                    self.assertRegex(text("plain"), r"store:incr: plain: Redis at 127.0.0.1:\d+: ")
                    self.assertRegex(text("wrong"), r"store:incr: wrong: Redis at 127.0.0.1:\d+: ")


class Odd(unittest.TestCase):
    """A server that is no Redis."""

    REPLIES = (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$5\r\nhelloxx", b"$-2\r\n", b"$99999999999\r\n", b"*3\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
               b":x\r\n", b"$1e3\r\n", b"*99999999\r\n", b"\r\n")

    def test_odd_replies(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve():
                for reply in self.REPLIES:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(reply)
                        connection.recv(1000)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            site = f"""
            local s = app.store("s", {{ redis = "redis://127.0.0.1:{listener.getsockname()[1]}" }})
            app.get("/", function() return tostring(select(2, pcall(s.get, s, "k"))) end)
            """
            with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                for reply in self.REPLIES:
                    with Client(server) as client:
                        self.assertIn("this is not what Redis would reply", client.ask("GET", "/").text, reply)
            thread.join()

    def test_replies_to_other_commands(self):
        wrong = "this is not what Redis would reply"
        cases = ((b":5\r\n", "get", wrong), (b"+x\r\n", "delete", wrong), (b"*0\r\n", "get", wrong), (b":1\r\n", "set", wrong), (b"+OK\r\n", "ttl", wrong),
                 (b"$-1\r\n", "ttl", wrong), (b"*-1\r\n", "incr", wrong), (b":1\r\n", "keys", wrong), (b"*-1\r\n", "stats", wrong),
                 (b"*2\r\n$1\r\n0\r\n*2\r\n:1\r\n*0\r\n", "keys", wrong), (b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", "flush", wrong),
                 (b"$5\r\nhe", "get", ": timeout"), (b"$5\r\nhello", "get", ": timeout"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve():
                for reply, _, _ in cases:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(reply)
                        connection.recv(1000)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            site = f"""
            local s = app.store("s", {{ redis = "redis://127.0.0.1:{listener.getsockname()[1]}", timeout = "100ms" }})
            app.get("/:what", function(req) return tostring(select(2, pcall(s[req.params.what], s, "k", 1))) end)
            """
            with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                with Client(server) as client:
                    for reply, what, text in cases:
                        self.assertIn(text, client.ask("GET", "/" + what).text, (reply, what))
            thread.join()

    def test_what_follows_an_error_in_a_list_is_not_the_next_reply(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def talk(connection, reply):
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"*2\r\n-ERR no\r\n" if reply == 1 else b"$2\r\n:1\r\n")
                    if connection.recv(1000):
                        connection.sendall(b"$4\r\nlate\r\n")

            def serve():
                for reply in (1, 2):
                    threading.Thread(target=talk, args=(listener.accept()[0], reply), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            site = f"""
            local s = app.store("s", {{ redis = "redis://127.0.0.1:{listener.getsockname()[1]}", timeout = "500ms" }})
            app.get("/", function() return tostring(select(2, pcall(s.get, s, "k"))) end)
            """
            with script(site) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server:
                with Client(server) as client:
                    self.assertIn("ERR no", client.ask("GET", "/").text)
                    self.assertNotIn("late", client.ask("GET", "/").text)


class Mistakes(unittest.TestCase):
    CASES = (
        ('app.store("a b", { redis = "redis://h" })', 'the name of a store in Redis must be 1 to 64 letters, digits and'),
        ('app.store("a:b", { redis = "redis://h" })', 'got "a:b"'),
        (f'app.store("{"x" * 65}", {{ redis = "redis://h" }})', "must be 1 to 64 letters"),
        ('app.store(1, { redis = "redis://h" })', "got 1"),
        ('app.store("a", { redis = true })', 'redis: a URL such as "redis://127.0.0.1:6379/0" expected, got boolean'),
        ('app.store("a", { redis = "http://h" })', "redis: a URL such as"),
        ('app.store("a", { redis = "redis://secret@h" })', "the URL has a user without a password"),
        ('app.store("a", { redis = "redis://:secret@h/x" })', "redis: a URL such as"),
        ('app.store("a", { redis = "redis://h/0?x=1" })', "redis: a URL such as"),
        ('app.store("a", { redis = "redis://h:x" })', "redis: a URL such as"),
        ('app.store("a", { redis = "redis://h:65536" })', "redis: a port from 1 to 65535 expected, got 65536"),
        ('app.store("a", { redis = "redis://" })', "redis: a URL such as"),
        ('app.store("a", { redis = "unix:" })', "redis: a URL such as"),
        ('app.store("a", { redis = "redis://h/2000000" })', "db: a number from 0 to 1000000 expected"),
        ('app.store("a", { redis = "redis://h", db = 1.5 })', "db: a number from 0 to 1000000 expected, got 1.5"),
        ('app.store("a", { redis = "redis://h", password = 5 })', "password: text expected, got number"),
        ('app.store("a", { redis = "redis://h", user = "me" })', "user: a password is missing"),
        ('app.store("a", { redis = "redis://h", size = "1M" })', "size: Redis has a size of its own (maxmemory)"),
        ('app.store("a", { redis = "redis://h", tiemout = 1 })', 'unknown option "tiemout" (did you mean "timeout"?)'),
        ('app.store("a", { redis = "redis://h", timeout = "soon" })', "timeout"),
        ('app.store("a", { redis = "redis://h", tls = 1 })', "tls: true or a table of options expected, got 1"),
        ('app.store("a", { redis = "rediss://h", tls = false })', "tls: the URL asks for TLS (rediss://)"),
        ('app.store("a", { redis = "redis://h" }):get "k"', "cannot wait while the script starts"),
    )

    def test_mistakes(self):
        site = "local app = require 'evserve'\nlocal list = app.json.array()\n"
        for code, _ in self.CASES:
            site += f"list[#list + 1] = tostring((select(2, pcall(function() return {code} end))))\n"
        site += "app.get('/', function() return list end)\n"
        with script(site, prelude=False) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, \
                Client(server) as client:
            for (code, text), got in zip(self.CASES, client.ask("GET", "/").json):
                self.assertIn(text, got, code)
                self.assertIn(os.path.basename(path), got, code)
                self.assertNotIn("secret", got)


if __name__ == "__main__":
    side_by_side.main()
