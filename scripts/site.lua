-- The demo site. Run it from the root of the checkout, then open http://127.0.0.1:8080/
--
--     ./evserve scripts/site.lua
--
-- It reads as a tour of the Lua API; lua/README.md is the reference. The script runs once, at start-up: it says what
-- there is. After that only the functions it registered run, each when its request comes.

local app = require "evserve"

-- Where to listen. Call it again for more addresses; `evserve --listen ADDR` takes the place of them all.
app.listen "127.0.0.1:8080"

-- Timeouts and limits, with their units. These are the defaults; a name that does not exist is an error.
app.set {
    idle_timeout = "30s", -- a kept-alive connection without a request
    header_timeout = "60s", -- from the first byte of a request head to its last
    body_timeout = "30s", -- a request body that makes no progress
    write_timeout = "30s", -- a client that takes nothing of its answer
    handler_timeout = "5m", -- a handler that has not begun its response
    max_body = "1M", -- a larger request body is answered with 413
}

-- Files. The directory is relative to the directory you start evserve in. Files never enter Lua.
app.static("/", "public", { cache = "1m" })

-- A string is a text answer.
app.get("/hello", function()
    return "hello, world\n"
end)

-- :name takes one segment of the path. It comes decoded: /hello/J%C3%BCrgen works.
app.get("/hello/:name", function(req)
    return "hello, " .. req.params.name .. "\n"
end)

-- {int} takes digits only: /users/ann is a 404. A table is a JSON answer. A status may come before it. Options stand
-- before the function: a name, for app.url, and limits of the route's own.
app.get("/users/:id{int}", { name = "user" }, function(req)
    local id = tonumber(req.params.id)
    if id > 1000 then
        return 404, { error = "no such user" }
    end
    return { id = id, name = "user " .. id }
end)

-- A group is routes under a prefix, with middleware of their own around them.
local api = app.group("/api")
api.use(function(_, nxt)
    local res = nxt()
    res.headers["cache-control"] = "no-store"
    return res
end)

-- What the start page shows: the server's own numbers. Header fields come last.
api.get("/stats", function()
    local stats = app.stats()
    stats.version = app.version
    return stats, { ["x-uptime"] = math.floor(stats.uptime) }
end)

-- A request in full. req.body waits for what has not arrived yet, and holds up nobody else meanwhile.
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

-- A function as the body is a stream. write waits while the client is behind, and sleep waits too: neither holds up
-- anybody else. When the client goes away, the next write or sleep ends the function.
app.get("/count", function()
    return 200, function(out)
        for i = 1, 10 do
            out:write(i .. "\n")
            app.sleep "100ms"
        end
    end
end)

-- The address of a named route.
app.get("/me", function()
    return app.redirect(app.url("user", { id = 1 }))
end)

-- A redirect, for an address that has moved.
app.get("/hi", function()
    return app.redirect("/hello", 301)
end)

-- An error in a handler is a 500 with the traceback in the log. This function may make a friendlier answer of it.
app.on("error", function(req)
    return 500, "Something went wrong. Please mention " .. req.id .. " when you tell us.\n"
end)
