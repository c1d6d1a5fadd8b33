-- WebSockets: how their functions run, and what waits. See bind_websocket.c and prelude.lua.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local check_function, check_names = shared.check_function, shared.check_names
local ipairs, type, xpcall = ipairs, type, xpcall
local table = table

local open, done, take, receive = core.websocket_open, core.websocket_done, core.websocket_take, core.websocket_receive
local drain, sent = core.websocket_drain, core.websocket_sent
local report, recover = core.report, core.recover

core.ref("run_websocket", function(fn, ws)
    if not (open(ws) and open(ws)) then -- the first may have waited, in vain
        return
    end
    local ok, err = xpcall(fn, report, ws)
    if ok then
        done(ws)
    else
        recover(err)
    end
end)

-- Methods.

local methods = core.websocket_methods

function methods.receive(ws, timeout)
    local text, kind = receive(ws, timeout)
    if text == true then
        return take(ws)
    end
    if text == false then
        give_up(kind)
    end
    if text == nil and kind == nil then
        return nil, "timeout"
    end
    return text, kind
end

-- Each message and its kind, until the end.
local function next_message(ws)
    local text, kind = receive(ws)
    if text == true then
        text, kind = take(ws)
    elseif text == false then
        give_up(kind)
    end
    if text then
        return text, kind
    end
end

function methods.messages(ws)
    if type(ws) ~= "userdata" then -- "for text in ws.messages do"
        fail("ws:messages: call it as a method, with a colon")
    end
    return next_message, ws
end

-- A method that waits when the client falls behind.
local function sender(send)
    return function(ws, data)
        local ok, err = send(ws, data)
        if ok ~= 0 then
            return ok, err
        end
        ok, err = drain(ws)
        if ok == false then
            give_up(err)
        end
        return sent(ws)
    end
end

methods.send = sender(core.websocket_send)
methods.send_binary = sender(core.websocket_send_binary)
methods.ping = sender(core.websocket_ping)

-- Topics.

-- The options of a subscription or of a message.
local function check_options(what, options, names, place_of)
    if type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    check_names(what, "option", options, names, place_of)
    return options
end

local function check_flag(what, name, value)
    if value ~= nil and type(value) ~= "boolean" then
        fail(what .. ": " .. name .. ": true or false expected, got " .. describe(value))
    end
    return value
end

local subscribe, publish = core.websocket_subscribe, core.publish

local function place_of_replay(name)
    if name == "replay" or name == "after" then
        return "is an option of app.subscribe: what that receives can be sent first"
    end
end

function methods.subscribe(ws, topic, options)
    if options ~= nil then
        options = check_options("ws:subscribe", options, { "skip" }, place_of_replay)
    end
    return subscribe(ws, topic, options and check_flag("ws:subscribe", "skip", options.skip))
end

function app.publish(topic, data, options)
    if options == nil then
        return publish(topic, data)
    end
    check_options("app.publish", options, { "binary", "event" })
    return publish(topic, data, options.event, check_flag("app.publish", "binary", options.binary))
end

-- Routes.

-- A list of texts as one, with commas between them; a pattern says what each must be, an example what that looks like.
local function join(what, list, pattern, example)
    if type(list) == "string" then
        list = { list }
    elseif type(list) ~= "table" or #list == 0 then
        fail(what .. ": a list such as { " .. example .. " } expected, got " .. describe(list))
    end
    for _, text in ipairs(list) do
        if type(text) ~= "string" or not text:find(pattern) then
            fail(what .. ": texts such as " .. example .. " expected, got " .. describe(text))
        end
    end
    return table.concat(list, ",")
end

-- Take the options of WebSockets out of those of a route, which may have both. Returns a table for C.
local function split_options(what, options)
    local own, rest = shared.part_options(what, options, core.websocket_options())
    if rest.jit ~= nil then
        fail(what .. ": jit is not an option of a WebSocket: its function runs for as long as the client stays")
    end
    if own.origins ~= nil and own.origins ~= "*" then
        own.origins = join(what .. ": origins", own.origins, "^%w[%w+.-]*://[^/%s,]+$", '"https://example.org"')
    end
    if own.protocols ~= nil then
        own.protocols = join(what .. ": protocols", own.protocols, "^[!#$%%&'*+%-.^_`|~%w]+$", '"chat.v2"')
    end
    return own, rest
end

-- The options of a route of app.websocket, its handler, and the options of its WebSockets.
function shared.websocket_route(what, options, fn)
    if type(options) == "function" and fn == nil then
        options, fn = {}, options
    end
    if type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    check_function(what, fn)
    local own, rest = split_options(what, options)
    local response = shared.websocket_response
    return rest, function()
        return response(fn)
    end, own
end
