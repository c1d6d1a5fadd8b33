-- Server-Sent Events. See bind_events.c and prelude.lua.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local check_names, response = shared.check_names, shared.response
local rawget, setmetatable, type = rawget, setmetatable, type
local string = string

local begin_beat, event_text, comment_text = core.begin_beat, core.event_text, core.comment_text
local event_ms, write_event, current_request = core.event_ms, core.write_event, core.current_request
local json_encode, number_text, stopping = core.json_encode, core.number_text, core.stopping

local HEARTBEAT = "15s" -- between two comments

-- What a handler sends to.

local OUT = {} -- the key of the stream object
local methods = {}
local meta = { __index = methods, __metatable = "events" }

local function stream_of(what, events)
    local out = type(events) == "table" and rawget(events, OUT)
    if not out then
        fail(what .. ": call it as a method, with a colon")
    end
    return out
end

local function data_text(data)
    if type(data) == "string" or data == nil then
        return data
    elseif type(data) == "number" then
        return number_text(data)
    elseif type(data) ~= "table" and type(data) ~= "boolean" then
        fail("events:send: data: a string, or a value for JSON expected, got " .. describe(data))
    end
    return json_encode(data)
end

local function member_text(name, value)
    if type(value) == "number" and name == "id" then
        return number_text(value)
    elseif type(value) ~= "string" and value ~= nil then
        fail(string.format("events:send: %s: a string expected, got %s", name, describe(value)))
    end
    return value
end

local event_members = { "data", "event", "id", "retry" }

local function place_of_member()
    return "is not a member of an event, which has data, event, id and retry: { data = t } sends the table t as JSON"
end

-- The text of what events:send() is given.
local function text_of(event)
    if type(event) == "string" or type(event) == "number" then
        return event_text(data_text(event))
    elseif type(event) ~= "table" then
        fail("events:send: a string or a table such as { data = ..., event = ... } expected, got " .. describe(event))
    end
    check_names("events:send", "member", event, event_members, place_of_member)
    local data, kind, id = data_text(event.data), member_text("event", event.event), member_text("id", event.id)
    if data == nil and kind ~= nil then
        data = "" -- without a line of data clients drop the event
    elseif data == nil and id == nil and event.retry == nil then
        fail("events:send: the event is empty: data expected")
    end
    return event_text(data, kind, id, event.retry and event_ms("events:send: retry", event.retry, 0))
end

-- What is written is sent, even if the script ends: but that is the time to end the stream, so that the client comes back
-- to whoever serves then.
local function write(out, text)
    local ok, err = write_event(out, text)
    if ok and stopping() then
        return nil, "stopping"
    end
    return ok, err
end

function methods.send(events, event)
    local out = stream_of("events:send", events)
    local ok, err = write(out, text_of(event))
    return ok, err
end

function methods.comment(events, text)
    local out = stream_of("events:comment", events)
    if text ~= nil and type(text) ~= "string" then
        fail("events:comment: a string expected, got " .. describe(text))
    end
    local ok, err = write(out, comment_text(text or ""))
    return ok, err
end

-- The id of the last event that the client has had, or nil. EventSource sends the field when it comes back; only the
-- query can carry it the first time.
local function last_id()
    local req = current_request()
    local id = req:header("last-event-id") or req.query.lastEventId
    return id
end

-- Responses.

local handler_options = { "heartbeat", "retry" }

local function check_options(options, names)
    if options ~= nil and type(options) ~= "table" then
        fail("app.events: a table of options expected, got " .. describe(options))
    end
    options = options or {}
    check_names("app.events", "option", options, names)
    return options
end

-- Milliseconds between two comments, 0 for none.
local function heartbeat_of(options)
    if options.heartbeat == false then
        return 0
    end
    return event_ms("app.events: heartbeat", options.heartbeat or HEARTBEAT, core.BEAT_LEAST_MS)
end

local function retry_of(options)
    return options.retry and event_ms("app.events: retry", options.retry, 0)
end

function app.events(fn, options)
    if type(fn) ~= "function" then
        fail("app.events: a function expected, got " .. describe(fn))
    end
    options = check_options(options, handler_options)
    local heartbeat, retry = heartbeat_of(options), retry_of(options)
    local made = response(200, function(out)
        local events = setmetatable({ [OUT] = out, last_id = last_id() }, meta)
        begin_beat(heartbeat)
        if not retry or write_event(out, event_text(nil, nil, nil, retry)) then
            fn(events)
        end
    end)
    made.headers["content-type"] = "text/event-stream"
    made.headers["cache-control"] = "no-store"
    made.headers["x-accel-buffering"] = "no" -- nginx sends each event at once
    return made
end
