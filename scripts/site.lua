-- The demo site. Run it from the root of the checkout, then open http://127.0.0.1:8080/
--
--     ./evserve scripts/site.lua
--
-- Read it as a tour of the Lua API; lua/README.md is the reference. The script runs once, at start-up, to set up the
-- site. After that only the functions it registered run, each when a request for it arrives.

local app = require "evserve"

-- The address to listen on. Call app.listen again for more; `evserve --listen ADDR` replaces them all.
app.listen "127.0.0.1:8080"

-- Timeouts and limits. The values are the defaults; an unknown name is an error.
app.set {
    idle_timeout = "30s", -- how long a connection may stay open between requests
    header_timeout = "60s", -- how long the head of a request may take to arrive
    body_timeout = "30s", -- how long a request body may make no progress
    write_timeout = "30s", -- how long a client may read nothing of its response
    handler_timeout = "5m", -- how long a handler may take to begin its response
    max_body = "1M", -- larger request bodies get a 413
}

-- Static files. The directory is relative to the one you start evserve in. Lua does not run for them.
app.static("/", "public", { cache = "1m" })

-- Return a string to send text.
app.get("/hello", function()
    return "hello, world\n"
end)

-- :name matches one segment of the path. Its value is decoded: /hello/J%C3%BCrgen works.
app.get("/hello/:name", function(req)
    return "hello, " .. req.params.name .. "\n"
end)

-- {int} matches digits only: /users/ann is a 404. Return a table to send JSON, with a status before it if it is not
-- 200. The table before the function holds options: a name for app.url, or limits for this route.
app.get("/users/:id{int}", { name = "user" }, function(req)
    local id = tonumber(req.params.id)
    if id > 1000 then
        return 404, { error = "no such user" }
    end
    return { id = id, name = "user " .. id }
end)

-- A group: routes under a common prefix, with their own middleware.
local api = app.group("/api")
api.use(function(_, nxt)
    local res = nxt()
    res.headers["cache-control"] = "no-store"
    return res
end)

-- The server's statistics, summed over its threads. Header fields are the last value you return.
local function statistics()
    local stats = app.stats()
    for name, value in pairs(stats.total) do
        stats[name] = value
    end
    stats.version = app.version
    return stats
end
api.get("/stats", function()
    local stats = statistics()
    return stats, { ["x-uptime"] = math.floor(stats.uptime) }
end)

-- Server-Sent Events: whoever opens /api/live, as the start page does, gets what is published to the topic "statistics".
-- No Lua runs for that. The timer runs on one thread of the server, even if it has several.
api.events("/live", { topic = "statistics", replay = 1, retry = "2s" })
app.every("1s", { once = true }, function()
    app.publish("statistics", statistics())
end)

-- A WebSocket. The function runs for as long as the client stays. What is published to the topic reaches everybody who
-- has subscribed to it, on all threads of the server.
app.websocket("/chat", { max_message = "1K" }, function(ws)
    local name = ws.cookies.name and ws.cookies.name:sub(1, 20) or "guest-" .. ws.id:sub(-4)
    ws:send { you = name }
    ws:subscribe "chat"
    for text in ws:messages() do
        if #text > 0 then
            app.publish("chat", { from = name, text = text })
        end
    end
end)

-- The parts of a request. req.body waits until the whole body has arrived; other requests run meanwhile.
api.post("/echo", { max_body = "64K" }, function(req)
    return {
        method = req.method,
        path = req.path,
        query = req.query,
        headers = req.headers,
        body_length = #req.body,
        peer = req.peer,
    }
end)

-- A template: text with {{names}}, whose values are made safe for HTML.
local function render(template, values)
    return app.html((template:gsub("{{(%w+)}}", function(name)
        return app.escape_html(values[name])
    end)))
end

local greeting = [[
<!DOCTYPE html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>Hello, {{name}}</title>
<link rel="stylesheet" href="/style.css">
<main class="wrap guest">
<h1>Hello, {{name}}.</h1>
<p class="lead">Visits with this cookie: {{visits}}. The chat on the start page calls you {{name}} now.</p>
<p class="jump"><a class="button button-main" href="/#chat">To the chat</a></p>
</main>
]]

-- A form and cookies. After a POST, a redirect with 303 keeps a reload of the page from sending the form again.
app.post("/guest", { max_body = "4K" }, function(req)
    local name = (req:form().name or ""):gsub("[^%w_-]", ""):sub(1, 20)
    if name == "" then
        return 400, "Please enter a name of letters, digits, _ and -.\n"
    end
    local attributes = { max_age = "1h", http_only = true, same_site = "lax" }
    return app.redirect("/guest", 303):set_cookie("name", name, attributes):set_cookie("visits", 0, attributes)
end)
app.get("/guest", function(req)
    if not req.cookies.name then
        return app.redirect "/#chat"
    end
    local visits = (tonumber(req.cookies.visits) or 0) + 1
    return render(greeting, { name = req.cookies.name, visits = visits })
        :set_cookie("visits", visits, { max_age = "1h", http_only = true, same_site = "lax" })
end)

-- An upload: each part of the form is read as it arrives and never lies in memory as a whole.
app.post("/upload", { max_body = "100M" }, function(req)
    local files = {}
    for part in req:parts() do
        local bytes = 0
        for chunk in part:chunks() do
            bytes = bytes + #chunk
        end
        table.insert(files, { field = part.name, name = part.filename, type = part.type, bytes = bytes })
    end
    return { files = app.json.array(files) }
end)

-- Return a function to stream the body. out:write waits if the client is falling behind, and app.sleep waits, too;
-- other requests run meanwhile. Once the client has gone, waiting or writing on ends the function.
app.get("/count", function()
    return 200, function(out)
        for i = 1, 10 do
            out:write(i .. "\n")
            app.sleep "100ms"
        end
    end
end)

-- app.url returns the path of a named route.
app.get("/me", function()
    return app.redirect(app.url("user", { id = 1 }))
end)

-- A permanent redirect.
app.get("/hi", function()
    return app.redirect("/hello", 301)
end)

-- An error in a handler is logged with its traceback, and the client gets a 500. This function makes that response
-- friendlier.
app.on("error", function(req)
    return 500, "Something went wrong. If you report this, please include " .. req.id .. ".\n"
end)
