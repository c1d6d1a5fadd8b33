-- Tests of the streamed log:
--
--     ./evserve --test scripts/log_test.lua scripts/log.lua

local t = require("evserve").test()

t:case("a line reaches who follows the log", function(c)
    local events = c:events "/events"
    t.match(events:next().data, "the server started$")
    t.equal(c:post("/lines", { body = "hello" }).body, "2\n")
    local event = events:next()
    t.match(event.data, "^%d%d:%d%d:%d%d hello$")
    t.match(event.id, "%-2$")
    events:close()
end)

t:case("a browser that comes back gets what it has missed", function(c)
    local events = c:events "/events"
    local id = events:next().id
    events:close()
    c:post("/lines", { body = "missed" })
    local again = c:events("/events", { headers = { last_event_id = id } })
    t.match(again:next().data, "hello$")
    t.match(again:next().data, "missed$")
    again:close()
end)

t:case("each minute has a line", function(c)
    t:restart()
    t:advance "2m"
    local tail = c:begin("GET", "/tail")
    local text = tail:read()
    while select(2, text:gsub("\n", "")) < 3 do
        text = text .. tail:read()
    end
    t.match(text, "requests, %d+ connections\n")
    tail:close()
end)

t:case("a line must not be empty", function(c)
    t.equal(c:post("/lines", { body = "" }).status, 400)
end)
