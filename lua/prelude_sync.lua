-- Coroutines that wait for each other: semaphores, channels, and the shield against the end of a request. See
-- bind_sync.c and prelude.lua.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local check_function, check_names = shared.check_function, shared.check_names
local error, next, pcall, rawget, setmetatable, type, xpcall = error, next, pcall, rawget, setmetatable, type, xpcall
local getmetatable = debug.getmetatable
local floor, string = math.floor, string

local draw, park, wake, shield, trace = core.draw, core.park, core.wake, core.shield, core.trace
local hold, holds, let_go = core.hold, core.holds, core.let_go

local COUNT_MAX = 1000000 -- of a semaphore, and values of a channel

-- A queue is a doubly linked list of tables, so that one that gives up waiting leaves at once.

local function add(queue, item)
    local last = queue.last
    item.queue, item.before = queue, last
    if last then
        last.after = item
    else
        queue.first = item
    end
    queue.last = item
end

local function remove(item)
    local queue, before, after = item.queue, item.before, item.after
    if not queue then
        return
    end
    if before then
        before.after = after
    else
        queue.first = after
    end
    if after then
        after.before = before
    else
        queue.last = before
    end
    item.queue, item.before, item.after = nil, nil, nil
end

-- Take the first one out, or nil.
local function take(queue)
    local item = queue.first
    if item then
        remove(item)
    end
    return item
end

-- Wait in a queue. Returns true once whoever took item out has woken it, or nil and "timeout".
local function wait(what, queue, item, timeout)
    item.index, item.ticket = draw(what, timeout)
    if not item.index then
        give_up()
    end
    add(queue, item)
    local ok, err = park(what, item.ticket, timeout)
    if ok then
        return true
    end
    remove(item)
    if ok == nil then
        return nil, "timeout"
    end
    give_up(err)
end

-- Wake the first one in a queue that still waits. Returns it, or nil.
local function wake_first(queue)
    local item = take(queue)
    while item and not wake(item.index, item.ticket) do
        item = take(queue)
    end
    return item
end

local function check_count(what, value, least)
    if type(value) ~= "number" or value ~= floor(value) or value < least or value > COUNT_MAX then
        local text = "%s: a whole number from %d to %d expected, got %s"
        fail(text:format(what, least, COUNT_MAX, describe(value)))
    end
    return value
end

-- The state of an object is its metatable, whose methods tell what it is. A weak table of states would keep a channel
-- for good if a value in it refers to the channel.
local function state_of(methods, what, object)
    local state = getmetatable(object)
    if not state or rawget(state, "__index") ~= methods then
        fail(what .. ": call it as a method, with a colon")
    end
    return state
end

-- Semaphores.

local semaphore = {}

function app.semaphore(count)
    return setmetatable({}, {
        __index = semaphore,
        __metatable = "semaphore",
        count = check_count("app.semaphore", count, 0),
        waiting = {},
    })
end

local function take_one(what, state, timeout)
    if state.count > 0 then
        state.count = state.count - 1
        return true
    end
    return wait(what, state.waiting, {}, timeout)
end

function semaphore.wait(object, timeout)
    return take_one("semaphore:wait", state_of(semaphore, "semaphore:wait", object), timeout)
end

function semaphore.post(object, count)
    local state = state_of(semaphore, "semaphore:post", object)
    count = count == nil and 1 or check_count("semaphore:post", count, 1)
    while count > 0 and wake_first(state.waiting) do
        count = count - 1
    end
    if state.count + count > COUNT_MAX then
        fail(string.format("semaphore:post: the count would be above %d", COUNT_MAX))
    end
    state.count = state.count + count
end

-- Who is inside semaphore.with() (true), or waits there (false), by place. A coroutine that is given up in there has no
-- code that could post: then give_back() is called.
local places = {}

local function give(state)
    if not wake_first(state.waiting) then
        state.count = state.count + 1
    end
end

local function leave(place, ok, ...)
    if places[place] then
        places[place] = nil
        let_go(place.index, place.generation)
        give(place.state)
    end
    if not ok then
        error((...), 0)
    end
    return ...
end

core.ref("give_back", function()
    for place, has_it in next, places do
        if not holds(place.index, place.generation) then
            places[place] = nil
            if has_it then
                give(place.state)
            end
        end
    end
end)

local function take_and_call(object, timeout, fn, ...)
    local state = state_of(semaphore, "semaphore:with", object)
    check_function("semaphore:with", fn)
    local place = { state = state }
    place.index, place.generation = hold()
    places[place] = false -- so that there is memory for it once the place is taken
    local ok, taken, err = pcall(take_one, "semaphore:with", state, timeout)
    if ok and taken then
        places[place] = true
        return leave(place, xpcall(fn, trace, ...))
    end
    places[place] = nil
    let_go(place.index, place.generation)
    if not ok then
        error(taken, 0)
    end
    return nil, err
end

function semaphore.with(object, options, ...)
    if type(options) ~= "table" then
        return take_and_call(object, nil, options, ...)
    end
    check_names("semaphore:with", "option", options, { "timeout" })
    return take_and_call(object, options.timeout, ...)
end

function semaphore.count(object)
    return state_of(semaphore, "semaphore:count", object).count
end

-- Channels. Values wait in a ring, from first on; senders wait while it is full, receivers while it is empty.

local channel = {}

function app.channel(capacity)
    return setmetatable({}, {
        __index = channel,
        __metatable = "channel",
        capacity = capacity == nil and 0 or check_count("app.channel", capacity, 0),
        values = {},
        first = 1,
        count = 0,
        senders = {},
        receivers = {},
    })
end

local function put(state, value)
    state.values[state.first + state.count] = value
    state.count = state.count + 1
end

local function get(state)
    local value = state.values[state.first]
    state.values[state.first] = nil
    state.first = state.first + 1
    state.count = state.count - 1
    if state.count == 0 then
        state.first = 1
    end
    return value
end

function channel.send(object, value, timeout)
    local state = state_of(channel, "channel:send", object)
    if value == nil then
        fail "channel:send: a value expected, got nil: channel:close() tells receivers that no more come"
    end
    if state.is_closed then
        return nil, "closed"
    end
    local receiver = wake_first(state.receivers)
    if receiver then
        receiver.value = value
        return true
    end
    if state.count < state.capacity then
        put(state, value)
        return true
    end
    local sender = { value = value }
    local ok, err = wait("channel:send", state.senders, sender, timeout)
    if ok and sender.is_refused then
        return nil, "closed"
    end
    return ok, err
end

function channel.receive(object, timeout)
    local state = state_of(channel, "channel:receive", object)
    if state.count > 0 then
        local value = get(state)
        local sender = wake_first(state.senders)
        if sender then
            put(state, sender.value)
        end
        return value
    end
    local sender = wake_first(state.senders) -- a channel without room
    if sender then
        return sender.value
    end
    if state.is_closed then
        return nil, "closed"
    end
    local receiver = {}
    local ok, err = wait("channel:receive", state.receivers, receiver, timeout)
    if not ok then
        return nil, err
    end
    if receiver.value == nil then
        return nil, "closed"
    end
    return receiver.value
end

function channel.close(object)
    local state = state_of(channel, "channel:close", object)
    state.is_closed = true
    local sender = wake_first(state.senders)
    while sender do
        sender.is_refused = true
        sender = wake_first(state.senders)
    end
    while wake_first(state.receivers) do
    end
end

function channel.each(object)
    state_of(channel, "channel:each", object)
    return function()
        return (channel.receive(object))
    end
end

function channel.count(object)
    return state_of(channel, "channel:count", object).count
end

-- The shield.

local function unshield(ok, ...)
    shield(false)
    if not ok then
        error((...), 0)
    end
    return ...
end

function app.shield(fn, ...)
    check_function("app.shield", fn)
    shield(true)
    return unshield(xpcall(fn, trace, ...))
end
