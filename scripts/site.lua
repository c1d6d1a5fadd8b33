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

-- The server's statistics, which the start page shows. Header fields are the last value you return.
api.get("/stats", function()
    local stats = app.stats()
    stats.version = app.version
    return stats, { ["x-uptime"] = math.floor(stats.uptime) }
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
