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

local function check_options(options, names, place_of)
    if options ~= nil and type(options) ~= "table" then
        fail("app.events: a table of options expected, got " .. describe(options))
    end
    options = options or {}
    check_names("app.events", "option", options, names, place_of)
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
    return options.retry and event_ms("app.events: retry", options.retry, 0, 100)
end

local handler_options = { "heartbeat", "retry" }

local function place_of_handler_option(name)
    if name == "topic" or name == "replay" or name == "skip" then
        return "is an option of streams without a function: app.events(path, { topic = ... })"
    end
end

local function handler_response(fn, options)
    options = check_options(options, handler_options, place_of_handler_option)
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

local topic_options = { "heartbeat", "replay", "retry", "skip", "topic" }

-- What C reads of such a response: all but the topic.
local function read_topic_options(options)
    local skip = options.skip
    if skip ~= nil and type(skip) ~= "boolean" then
        fail("app.events: skip: true or false expected, got " .. describe(skip))
    end
    local replay = options.replay or 0
    if type(replay) ~= "number" or replay % 1 ~= 0 or replay < 0 or replay > core.REPLAY_MAX then
        local text = "app.events: replay: a number of messages up to %d expected, got %s"
        fail(text:format(core.REPLAY_MAX, describe(replay)))
    end
    return {
        replay = replay, heartbeat = heartbeat_of(options), retry = retry_of(options) or -1, skips = skip,
    }
end

local function topic_response(topic, read)
    local made = response(200)
    made.events = {
        topic = topic, replay = read.replay, heartbeat = read.heartbeat, retry = read.retry, skips = read.skips,
    }
    return made
end

function shared.events_response(first, options)
    if type(first) == "function" then
        return handler_response(first, options)
    elseif type(first) ~= "table" then
        fail("app.events: a path and options, options with a topic, or a function expected, got " .. describe(first))
    end
    check_options(first, topic_options)
    core.check_topic("app.events: topic", first.topic)
    return topic_response(first.topic, read_topic_options(first))
end

-- The options of the route of app.events(path, options), and its handler.
function shared.events_route(what, options)
    local own, rest = shared.part_options(what, options, topic_options)
    if rest.log_slow == nil then
        rest.log_slow = 0 -- a stream is not slow because it lasts
    end
    local read, topic = read_topic_options(own), own.topic
    if type(topic) == "function" then
        return rest, function(req)
            local name, status, body, headers = topic(req)
            if name == nil and status == nil then
                fail(what .. ": topic returned nothing: a topic, or nil and a status such as 403 expected")
            elseif name == nil then
                return status, body, headers
            end
            core.check_topic(what .. ": topic", name)
            return topic_response(name, read)
        end
    end
    core.check_topic(what .. ": topic", topic)
    core.keep_topic(what .. ": replay", topic, read.replay)
    return rest, function()
        return topic_response(topic, read)
    end
end
