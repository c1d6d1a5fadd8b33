-- The script of live.c: sends each text posted to /say to all clients of the second server.
local app, live = require "evserve", require "live"

app.listen "127.0.0.1:0"

app.post("/say", function(req)
    live.say(req.body)
    return live.count() .. "\n"
end)
