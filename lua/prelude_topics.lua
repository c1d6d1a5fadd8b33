-- Subscriptions of handlers and timers to topics. See bind_subscribe.c and prelude.lua.

local core, app, shared = ...
local fail, describe, check_names, give_up = core.fail, shared.describe, shared.check_names, shared.give_up
local type = type

local subscribe, receive, take = core.subscribe, core.subscription_receive, core.subscription_take

local subscribe_options = { "after", "queue", "replay" }

function app.subscribe(topic, options)
    if options == nil then
        return subscribe(topic)
    elseif type(options) ~= "table" then
        fail("app.subscribe: a table of options expected, got " .. describe(options))
    end
    check_names("app.subscribe", "option", options, subscribe_options)
    return subscribe(topic, options.after, options.queue, options.replay)
end

local methods = core.subscription_methods

-- A message, or nil and why there is none. Where several coroutines wait, another one may take the message that this one
-- was woken for: then it waits again.
local function next_message(subscription, timeout)
    while true do
        local text, id, event = receive(subscription, timeout)
        if text == false then
            give_up(id)
        end
        local is_late = text == nil and id == nil and timeout ~= nil
        if text == true or (text == nil and id == nil) then -- it has waited
            text, id, event = take(subscription)
        end
        if text or is_late or id ~= "timeout" then
            return text, id, event
        end
    end
end

function methods.receive(subscription, timeout)
    local text, id, event = next_message(subscription, timeout) -- no tail call: errors name the script's line
    return text, id, event
end

-- Each message, until the end, or until none has come for so long.
function methods.messages(subscription, timeout)
    if type(subscription) ~= "userdata" then
        fail("subscription:messages: call it as a method, with a colon")
    end
    return function()
        local text, id, event = next_message(subscription, timeout)
        if text then
            return text, id, event
        end
    end
end
