-- The script of live.c: what is posted to /say goes to every client of its other server.
local app, live = require "evserve", require "live"

app.listen "127.0.0.1:0"

app.post("/say", function(req)
    live.say(req.body)
    return live.count() .. "\n"
end)
