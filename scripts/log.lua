-- A streamed log: keeps the last lines in memory and sends new ones to every client that follows it.
--
--     ./evserve scripts/log.lua
--     curl -N http://127.0.0.1:8083/tail                  (as tail -f; the last lines first)
--     curl http://127.0.0.1:8083/lines -d "hello"         (in another terminal)
--
-- In a browser, http://127.0.0.1:8083/ follows the log with server-sent events.

local app = require "evserve"

app.listen "127.0.0.1:8083"

local KEEP = 100 -- number of lines to keep
local LINE_MAX = 1000 -- length of a line in bytes
local QUIET_S = 15 -- after this time without a line a comment is sent, so that proxies keep the connection open

-- Line numbers start again whenever a script is loaded, so an event id also identifies the script.
local script = string.format("%.0f", app.now() * 1e6)

-- Streams end when the server stops or a reload replaces this script. Browsers then reconnect to the new script.
local stopping = false

app.on("stopping", function()
    stopping = true
end)

-- Lines by number; lines up to newest - KEEP are gone. Each Lua state has its own.
local lines, newest = {}, 0

local function add(text)
    newest = newest + 1
    lines[newest] = os.date("!%H:%M:%S ") .. text:sub(1, LINE_MAX):gsub("%c", " ")
    lines[newest - KEEP] = nil
end

-- Call write(number, line) for each line, starting with the line numbered from, and wait for more. Call quiet() when
-- there was no line for QUIET_S. Return when a write reports that the client has gone, or after the last line when the
-- script ends.
local function follow(from, write, quiet)
    local number, silent_since = math.max(from, newest - KEEP + 1, 1), app.now()
    while true do
        while number <= newest do
            number = math.max(number, newest - KEEP + 1) -- a slow client misses lines
            if not write(number, lines[number]) then
                return
            end
            number, silent_since = number + 1, app.now()
        end
        if stopping then
            return
        end
        if app.now() - silent_since > QUIET_S then
            silent_since = app.now()
            if not quiet() then
                return
            end
        end
        app.sleep "50ms"
    end
end

app.get("/tail", function()
    return 200, function(out)
        follow(newest - 9, function(_, line)
            return out:write(line, "\n")
        end, function()
            return true -- plain text has no comments to send
        end)
    end
end)

-- Server-sent events. A browser that reconnects sends the last id it has seen in Last-Event-ID. If that id is from
-- another script, it starts with the last lines of this one.
app.get("/events", function(req)
    local of, number = (req:header("last-event-id") or ""):match("^(%d+)%-(%d+)$")
    local seen = of == script and tonumber(number) or newest - 10
    return 200, function(out)
        follow(seen + 1, function(number, line)
            return out:write("id: ", script, "-", number, "\ndata: ", line, "\n\n")
        end, function()
            return out:write(": still here\n\n")
        end)
    end, { ["content-type"] = "text/event-stream", ["cache-control"] = "no-store" }
end)

app.post("/lines", { max_body = "4K" }, function(req)
    if req.body == "" then
        return 400, "send a line of text\n"
    end
    add(req.body)
    return 201, newest .. "\n"
end)

app.get("/", function()
    return app.html [[
<!doctype html>
<meta charset="utf-8">
<title>log</title>
<pre id="log"></pre>
<script>
new EventSource("/events").onmessage = (event) => {
    document.getElementById("log").append(event.data + "\n");
};
</script>
]]
end)

app.on("start", function()
    add("the server started")
end)

app.every("1m", function()
    add(string.format("%d requests, %d connections", app.stats().requests, app.stats().connections))
end)
