-- A streamed log: what happens is kept in memory, and sent on to everybody who follows it.
--
--     ./evserve scripts/log.lua
--     curl -N http://127.0.0.1:8083/tail                  (as tail -f; the last lines first)
--     curl http://127.0.0.1:8083/lines -d "hello"         (in another terminal)
--
-- A browser finds a page at http://127.0.0.1:8083/ that follows the log by server-sent events.

local app = require "evserve"

app.listen "127.0.0.1:8083"

local KEEP = 100 -- lines that are kept
local LINE_MAX = 1000 -- bytes of a line
local QUIET_S = 15 -- so long without a line, and a comment is sent: it keeps proxies from closing the connection

-- Numbers begin anew with each script that is loaded, so ids of lines name the script, too.
local script = string.format("%.0f", app.now() * 1e6)

-- Streams end when the server stops or a reload replaces this script: a browser comes back by itself, to the new one.
local stopping = false

app.on("stopping", function()
    stopping = true
end)

-- Lines by their numbers; those up to newest - KEEP are gone. State lives in locals, of one Lua state.
local lines, newest = {}, 0

local function add(text)
    newest = newest + 1
    lines[newest] = os.date("!%H:%M:%S ") .. text:sub(1, LINE_MAX):gsub("%c", " ")
    lines[newest - KEEP] = nil
end

-- Give each line from a number on to write(number, line), and wait for more. quiet() is called when there was none for a
-- while. It ends when a write says that the client has gone, or after the last line when the script ends.
local function follow(from, write, quiet)
    local number, silent_since = math.max(from, newest - KEEP + 1, 1), app.now()
    while true do
        while number <= newest do
            number = math.max(number, newest - KEEP + 1) -- a slow reader misses lines, it does not hold them
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
            return true -- plain text has no comments; a client that has gone is noticed with the next line
        end)
    end
end)

-- Server-sent events. A browser that comes back says in Last-Event-ID what it has seen: all of it is new when that was of
-- another script.
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
        return 400, "a line of text expected\n"
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
