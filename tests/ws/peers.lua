-- What the clients of scripts/ws_peers.sh talk to.
local app = require "evserve"

local function echo(ws)
    for text, kind in ws:messages() do
        if kind == "binary" then ws:send_binary(text) else ws:send(text) end
    end
end

app.websocket("/echo", { compress = true, max_message = "4M", protocols = { "v2.echo", "v1.echo" } }, echo)
app.websocket("/plain", { max_message = "4M" }, echo)
app.websocket("/chat", { compress = true }, function(ws)
    ws:subscribe "chat"
    for text in ws:messages() do app.publish("chat", text) end
end)

-- The page of two tabs: what is sent in one is seen in both.
app.get("/", function()
    return [[<!doctype html><title>peers</title><body><script>
var seen = [], state = "new", socket = new WebSocket("ws://" + location.host + "/chat")
socket.onopen = function () { state = "open" }
socket.onmessage = function (event) { seen.push(event.data) }
socket.onclose = function (event) { state = "closed " + event.code + " " + event.wasClean }
</script>]], { ["content-type"] = "text/html; charset=utf-8" }
end)
