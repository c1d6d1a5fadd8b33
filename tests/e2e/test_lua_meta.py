"""lua/meta/evserve.lua beside what there is: each name on one side is on the other, too."""

import json
import os
import re
import unittest

import evtest
import ws_client
from lua_site import EVSERVE, ROOT, SiteCase, script


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


META = read("lua", "meta", "evserve.lua")
SESSION = ["session", "csrf", "flash", "flashes"]  # of requests: only where a script has app.session


def fields(kind):
    """Names of the annotated fields of a class, in their order."""
    parent, text = re.search(rf"^---@class evserve\.{kind}(?:: evserve\.(\w+))?\n((?:---.*\n)*)", META,
                             re.MULTILINE).groups()
    return re.findall(r"^---@field (\w+)", text, re.MULTILINE) + (fields(parent) if parent else [])


def functions(variable):
    """Names of the annotated functions and values of a class, which META keeps in a variable."""
    found = re.findall(rf"^function {variable}[.:](\w+)", META, re.MULTILINE)
    for line in re.findall(rf"^{variable}\.\w.*=", META, re.MULTILINE):
        found += re.findall(rf"{variable}\.(\w+)", line.partition("=")[0])
    return found


class Names(SiteCase):
    SCRIPT = r"""
    local function keys(t)
        local names = app.json.array()
        for name in pairs(t) do names[#names + 1] = name end
        return names
    end
    local timer = app.every("1h", print)
    local group = keys(app.group("/x"))
    local host = keys(app.host("example.org"))
    app.get("/app", function() return keys(app) end)
    app.get("/json", function() return keys(app.json) end)
    app.get("/password", function() return keys(app.password) end)
    app.get("/stats", function() return keys(app.stats()) end)
    app.get("/group", function() return group end)
    app.get("/host", function() return host end)
    app.get("/timer", function() return keys(debug.getmetatable(timer).__index) end)
    app.get("/socket", function(req)
        local socket = assert(app.connect("127.0.0.1:" .. req.query.port))
        return keys(debug.getmetatable(socket).__index)
    end)
    app.get("/response", function() return keys(debug.getmetatable(app.html("")).__index) end)
    app.get("/request", function(req)
        local function find(fn) -- the table in which __index, or what it calls, looks a name up
            for i = 1, 100 do
                local name, value = debug.getupvalue(fn, i)
                if name == nil then return nil end
                if type(value) == "table" and value.query_all then return value end
                local found = type(value) == "function" and find(value)
                if found then return found end
            end
        end
        return keys(find(debug.getmetatable(req).__index))
    end)
    app.get("/events", function()
        return app.events(function(events)
            events:send { data = keys(debug.getmetatable(events).__index) }
        end)
    end)
    app.get("/subscription", function() return keys(debug.getmetatable(app.subscribe "t").__index) end)
    app.websocket("/websocket", function(ws)
        for i = 1, 20 do
            local name, value = debug.getupvalue(debug.getmetatable(ws).__index, i)
            if type(value) == "table" and value.messages then return ws:send(keys(value)) end
        end
    end)
    app.get("/stream", function()
        return 200, function(out) out:write(app.json.encode(keys(debug.getmetatable(out).__index))) end
    end)
    """

    def live(self, what):
        return sorted(self.ask("/" + what).json)

    def test_functions(self):
        self.assertEqual(self.live("app"), sorted(set(functions("app"))))
        self.assertEqual(self.live("group"), sorted(functions("group")))
        self.assertEqual(self.live("host"), sorted(functions("group") + functions("host")))
        self.assertEqual(self.live("json"), sorted(functions(r"app\.json")))
        self.assertEqual(self.live("password"), sorted(functions(r"app\.password")))

    def test_objects(self):
        self.assertEqual(sorted(self.live("request") + SESSION), sorted(functions("request") + fields("Request")))
        self.assertEqual(self.live("stream"), sorted(functions("stream")))
        names = json.loads(self.ask("/events").text.removeprefix("data: "))
        self.assertEqual(sorted(names), sorted(functions("events")))
        self.assertEqual(self.live(f"socket?port={self.server.address[1]}"), sorted(functions("socket")))
        with ws_client.connect(self.server, "/websocket") as ws:
            self.assertEqual(sorted(json.loads(ws.receive())), sorted(functions("ws")))
        self.assertEqual(self.live("subscription"), sorted(functions("subscription")))
        self.assertEqual(self.live("timer"), sorted(functions("timer")))
        self.assertEqual(self.live("response"), sorted(functions("response")))
        self.assertEqual(self.live("stats"), sorted(fields("Stats")))


class Options(unittest.TestCase):
    def test_settings(self):
        limits = re.findall(r"^LIMIT\((\w+), (\w+),", read("http", "limits.def"), re.MULTILINE)
        limits += re.findall(r"^SETTING\((\w+), (\w+),", read("lua", "settings.def"), re.MULTILINE)
        self.assertEqual(sorted(fields("Settings")), sorted([name for name, _ in limits] +
                                ["access_log", "access_log_format", "base", "broker", "compress",
                                 "compress_level", "compress_min", "compress_types", "deny_connect", "forwarded", "hsts",
                                 "strip_forwarded", "trailing_slash", "trusted_proxies", "unknown_host"]))
        of_routes = {name for name, scope in limits if scope == "ROUTE"}
        self.assertEqual(of_routes - set(fields("RouteOptions")), set())
        self.assertEqual(of_routes - set(fields("HostSettings")), {"handler_cpu"})

    def test_static_options(self):
        self.assertEqual(sorted(fields("StaticOptions")),
                         sorted(re.findall(r'\{"(\w+)", (?:read|take)_', read("lua", "bind_static.c"))))

    def test_annotated_options_are_known(self):
        calls = [(kind, name, call) for kind, call in (
            ("RouteOptions", "app.get('/', { [%q] = {} }, print)"),
            ("Settings", "app.set { [%q] = {} }"),
            ("HostSettings", "app.host('example.org').set { [%q] = {} }"),
            ("WebSocketOptions", "app.websocket('/', { [%q] = {} }, print)"),
            ("StaticOptions", "app.static('/', '/', { [%q] = print })"),
            ("FileOptions", "app.file('x', { [%q] = print })"),
            ("TopicEventsOptions", "app.events('/x', { [%q] = print })"),
            ("EventsOptions", "app.events(print, { [%q] = print })"),
            ("CookieAttributes", "app.cookie('x', 'y', { [%q] = print })")) for name in fields(kind)]
        self.assertGreater(len(calls), 40)
        text = "".join(f"print(select(2, pcall(function() {call.replace('%q', repr(name))} end)))\n"
                       for _, name, call in calls)
        with script(text) as path:
            done = evtest.run(EVSERVE, "--request", "/", path)
        self.assertIn("404 Not Found", done.stdout)
        self.assertNotIn("unknown ", done.stderr)


if __name__ == "__main__":
    unittest.main()
