-- Stores in Redis: app.store(name, { redis = url }). This file is loaded by the first of them, and shares the function
-- that makes one. See bind_redis.c for what a value looks like in Redis, and prelude.lua.
--
-- Each call takes a connection that is kept, or a new one, and gives it back with the last byte of the reply. What goes
-- wrong on the way to Redis, or there, raises an error, as mistakes do: a store that cannot say what it holds must not
-- look as if it held nothing.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local to_key, to_ttl, to_number = core.redis_key, core.redis_ttl, core.redis_number
local to_value, read_value, check = core.redis_value, core.redis_read, core.redis_check
local connect, new_socket, open_socket = app.connect, shared.new_socket, shared.open_socket
local set_timeout = core.socket_settimeout
local ipairs, rawget, setmetatable = ipairs, rawget, setmetatable
local tonumber, tostring, type, unpack = tonumber, tostring, type, unpack
local getmetatable = debug.getmetatable
local math, string = math, string

local NAME_MAX = 64
local IDLE_MS = 60000 -- how long a connection is kept,
local KEPT_MAX = 30 -- and how many of them, for each thread
local BYTES_MAX = 64 * 1024 * 1024 + 16 -- of a reply
local LIST_MAX = 1000000 -- items of a reply
local DEPTH_MAX = 4 -- lists in lists of a reply
local TRIES = 3 -- with connections that turn out to be closed
local KEYS_USUAL, KEYS_MAX = 1000, 1000000 -- of store:keys()
local SCAN_COUNT = "1000" -- keys that Redis looks at for one reply, which may have more
local UNLINK_MAX = 1000 -- keys of one command

local store = {}

-- The name and address of a store, for errors.
local function refuse(state, what, text)
    fail(string.format("%s: %s: Redis at %s: %s", what, state.name, state.address, text))
end

local function state_of(what, object)
    local state = getmetatable(object)
    if type(state) ~= "table" or rawget(state, "__index") ~= store then
        fail(what .. ": call it as a method, with a colon")
    end
    return state
end

-- The protocol (RESP2).

local function encode(...)
    local words = { ... }
    local parts = { "*" .. #words .. "\r\n" }
    for i = 1, #words do
        local text = words[i]
        parts[3 * i - 1] = "$" .. #text .. "\r\n"
        parts[3 * i] = text
        parts[3 * i + 1] = "\r\n"
    end
    return parts
end

-- The next reply: a text, a number, false for nothing, or a list. Or nil with an error text, and true if Redis has sent
-- it as its reply.
local function read_reply(socket, depth)
    local line, err = socket:receive()
    if not line then
        return nil, err
    end
    local kind, rest = line:sub(1, 1), line:sub(2)
    if kind == "+" then
        return rest
    elseif kind == "-" then
        return nil, rest, true
    end
    local count = rest:find "^%-?%d+$" and tonumber(rest)
    if kind == ":" and count then
        return count
    elseif (kind == "$" or kind == "*") and count == -1 then
        return false
    elseif kind == "$" and count and count >= 0 and count <= BYTES_MAX then
        local text, ending = "", nil
        if count > 0 then
            text, err = socket:receive(count)
        end
        if text then
            ending, err = socket:receive(2)
        end
        if not ending then
            return nil, err
        end
        if ending == "\r\n" then
            return text
        end
    elseif kind == "*" and count and count >= 0 and count <= LIST_MAX and depth < DEPTH_MAX then
        local list = {}
        for i = 1, count do
            local item, problem = read_reply(socket, depth + 1)
            if item == nil then -- even if it is an error of Redis: the rest of the list is still to come
                return nil, problem
            end
            list[i] = item
        end
        return list
    end
    return nil, "this is not what Redis would reply"
end

-- Connections.

-- Say who we are, on a new connection.
local function greet(state, what, socket)
    for _, command in ipairs(state.greeting) do
        local ok, err = socket:send(encode(unpack(command)))
        if ok then
            ok, err = read_reply(socket, 0)
        end
        if ok == nil or ok == false then
            socket:close()
            refuse(state, what, command[1] .. ": " .. tostring(err))
        end
    end
end

-- A connection, and whether it was kept.
local function open(state, what)
    check(what)
    local socket, ok, err
    if state.options.tls then
        socket, err = connect(state.address, state.options)
        ok = socket
    else -- what app.connect would look at is known already
        socket = new_socket()
        set_timeout(socket, state.options.timeout)
        ok, err = open_socket(socket, state.host, state.port, state.pool)
    end
    if not ok then
        refuse(state, what, err)
    end
    local is_kept = socket:getreusedtimes() > 0
    if not is_kept then
        greet(state, what, socket)
    end
    return socket, is_kept
end

-- What Redis replies to each command. To two of them it may also reply that there is nothing.
local reply_types = {
    DEL = "number", EVALSHA = "string", EXISTS = "number", GET = "string", INFO = "string", PERSIST = "number",
    PEXPIRE = "number", PTTL = "number", SCAN = "table", SCRIPT = "string", SET = "string", UNLINK = "number",
}
local may_be_nothing = { GET = true, SET = true }

-- What says that a connection is closed.
local ends = { ["broken pipe"] = true, closed = true, ["connection reset by peer"] = true }

-- Send a command and return its reply; or nil and the error that Redis has replied. A connection that was kept may be
-- closed by the time it is used: is_safe says that the command may then be sent again, even if it has been carried out.
local function call(state, what, is_safe, command, ...)
    local request = encode(command, ...)
    for try = 1, TRIES do
        local socket, is_kept = open(state, what)
        local reply, is_reply
        local ok, err = socket:send(request)
        if ok then
            reply, err, is_reply = read_reply(socket, 0)
        end
        if reply ~= nil and type(reply) ~= reply_types[command] and not (reply == false and may_be_nothing[command]) then
            reply, err = nil, "this is not what Redis would reply"
        end
        if reply ~= nil or is_reply then
            socket:setkeepalive(IDLE_MS, KEPT_MAX)
            return reply, err
        end
        socket:close()
        if not is_kept or not is_safe or not ends[err] or try == TRIES then
            refuse(state, what, err)
        end
    end
end

-- The same for commands whose errors the caller does not know.
local function ask(state, what, is_safe, ...)
    local reply, err = call(state, what, is_safe, ...)
    if reply == nil then
        refuse(state, what, err)
    end
    return reply
end

-- Scripts for Redis.

-- Adds ARGV[1] to a number, which begins with ARGV[2] and lasts for ARGV[3]. In doubles, as everywhere else here:
-- INCRBYFLOAT would count with more digits.
local incr_script = [[
local value = redis.call("GET", KEYS[1])
if not value then
    local sum = string.format("%.17g", tonumber(ARGV[2]) + tonumber(ARGV[1]))
    if ARGV[3] == "" then
        redis.call("SET", KEYS[1], sum)
    else
        redis.call("SET", KEYS[1], sum, "PX", ARGV[3])
    end
    return sum
end
local number = string.find(value, "^%-?[%din]") and tonumber(value)
if not number then
    return redis.error_reply("NOTANUMBER")
end
local sum = string.format("%.17g", number + tonumber(ARGV[1]))
redis.call("SET", KEYS[1], sum, "KEEPTTL")
return sum
]]

-- Run it. Redis may have forgotten it, for example because it was started anew.
local function call_script(state, what, key, ...)
    local sha = state.sha or ask(state, what, true, "SCRIPT", "LOAD", incr_script)
    state.sha = sha
    local reply, err = call(state, what, false, "EVALSHA", sha, "1", key, ...)
    if reply == nil and err:find "^NOSCRIPT" then
        state.sha = nil
        ask(state, what, true, "SCRIPT", "LOAD", incr_script)
        reply, err = call(state, what, false, "EVALSHA", sha, "1", key, ...)
    end
    return reply, err
end

-- Methods.

local function key_of(state, what, key)
    return state.prefix .. to_key(what, key, state.name)
end

function store.get(object, key)
    local state = state_of("store:get", object)
    local text = ask(state, "store:get", true, "GET", key_of(state, "store:get", key))
    if text then
        return read_value("store:get", text, state.name)
    end
    return nil
end

-- Set a value. way: "NX" if there must be none, "XX" if there must be one, nil. Returns whether it was set.
local function put(state, what, key, value, ttl, way)
    key = key_of(state, what, key)
    value = to_value(what, value, state.name)
    ttl = to_ttl(what, ttl, state.name, what == "store:once")
    local reply
    if ttl and way then
        reply = ask(state, what, false, "SET", key, value, "PX", ttl, way)
    elseif ttl then
        reply = ask(state, what, true, "SET", key, value, "PX", ttl)
    elseif way then
        reply = ask(state, what, false, "SET", key, value, way)
    else
        reply = ask(state, what, true, "SET", key, value)
    end
    return reply ~= false
end

function store.set(object, key, value, ttl)
    local state = state_of("store:set", object)
    if value ~= nil then
        return put(state, "store:set", key, value, ttl)
    end
    ask(state, "store:set", true, "DEL", key_of(state, "store:set", key))
    return true
end

function store.add(object, key, value, ttl)
    return (put(state_of("store:add", object), "store:add", key, value, ttl, "NX"))
end

function store.replace(object, key, value, ttl)
    return (put(state_of("store:replace", object), "store:replace", key, value, ttl, "XX"))
end

function store.once(object, key, ttl)
    return (put(state_of("store:once", object), "store:once", key, true, ttl, "NX"))
end

function store.delete(object, key)
    local state = state_of("store:delete", object)
    return ask(state, "store:delete", false, "DEL", key_of(state, "store:delete", key)) == 1
end

function store.incr(object, key, number, initial, ttl)
    local state = state_of("store:incr", object)
    local name = key_of(state, "store:incr", key)
    number = to_number("store:incr", number == nil and 1 or number, state.name, "the second argument")
    initial = to_number("store:incr", initial, state.name, "the initial value")
    ttl = to_ttl("store:incr", ttl, state.name) or ""
    local sum, err = call_script(state, "store:incr", name, number, initial, ttl)
    if sum then
        return read_value("store:incr", sum, state.name)
    end
    if err:find "NOTANUMBER" then
        local text = "store:incr: %s: the value of %s is not a number"
        fail(text:format(state.name, describe(tostring(key):sub(1, 100))))
    end
    refuse(state, "store:incr", err)
end

function store.expire(object, key, ttl)
    local state = state_of("store:expire", object)
    key = key_of(state, "store:expire", key)
    ttl = to_ttl("store:expire", ttl, state.name)
    if ttl then
        return ask(state, "store:expire", true, "PEXPIRE", key, ttl) == 1
    end
    return ask(state, "store:expire", true, "PERSIST", key) == 1 or ask(state, "store:expire", true, "EXISTS", key) == 1
end

function store.ttl(object, key)
    local state = state_of("store:ttl", object)
    local ms = ask(state, "store:ttl", true, "PTTL", key_of(state, "store:ttl", key))
    if ms == -2 then
        return nil
    end
    return ms == -1 and math.huge or math.max(ms, 1)
end

-- Call fn with each list of keys of Redis that begin with a text, until it returns true.
local function scan(state, what, prefix, fn)
    local pattern = prefix:gsub("[%*%?%[%]%^%\\]", "\\%0") .. "*"
    local cursor = "0"
    repeat
        local reply = ask(state, what, true, "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        local next_cursor, keys = reply[1], reply[2]
        local is_right = type(next_cursor) == "string" and type(keys) == "table"
        for _, key in ipairs(is_right and keys or {}) do
            is_right = is_right and type(key) == "string"
        end
        if not is_right then
            refuse(state, what, "this is not what Redis would reply")
        end
        cursor = next_cursor
    until fn(keys) or cursor == "0"
end

function store.keys(object, prefix, most)
    local state = state_of("store:keys", object)
    prefix = (prefix == nil or prefix == "") and "" or to_key("store:keys", prefix, state.name)
    most = most == nil and KEYS_USUAL or most
    if type(most) ~= "number" or not (most >= 1 and most <= KEYS_MAX) then
        local text = "store:keys: %s: 1 to %d keys expected, got %s"
        fail(text:format(state.name, KEYS_MAX, describe(most)))
    end
    most = math.floor(most)
    local list, seen, count, begin = {}, {}, 0, #state.prefix + 1
    scan(state, "store:keys", state.prefix .. prefix, function(keys)
        for _, key in ipairs(keys) do
            if not seen[key] then -- Redis may report a key twice
                if count == most then
                    count = count + 1
                    return true
                end
                seen[key] = true
                count = count + 1
                list[count] = key:sub(begin)
            end
        end
    end)
    return list, count > most
end

function store.flush(object)
    local state = state_of("store:flush", object)
    scan(state, "store:flush", state.prefix, function(keys)
        for first = 1, #keys, UNLINK_MAX do
            ask(state, "store:flush", true, "UNLINK", unpack(keys, first, math.min(first + UNLINK_MAX - 1, #keys)))
        end
    end)
end

function store.stats(object)
    local state = state_of("store:stats", object)
    local seen, count = {}, 0
    scan(state, "store:stats", state.prefix, function(keys)
        for _, key in ipairs(keys) do
            count = count + (seen[key] and 0 or 1)
            seen[key] = true
        end
    end)
    local info = ask(state, "store:stats", true, "INFO", "memory") .. ask(state, "store:stats", true, "INFO", "stats")
    local function number(name)
        return tonumber(info:match(name .. ":(%d+)")) or 0
    end
    return {
        keys = count,
        bytes = number "used_memory",
        size = number "maxmemory",
        evicted = number "evicted_keys",
    }
end

-- Opening.

function shared.open_in_redis(name, options)
    if type(name) ~= "string" or #name > NAME_MAX or not name:find "^[%w_.-]+$" then
        local text = "app.store: the name of a store in Redis must be 1 to %d letters, digits and '_', '-', '.', got %s"
        fail(text:format(NAME_MAX, describe(name)))
    end
    local state = shared.redis_place(options)
    state.name, state.prefix = name, name .. ":"
    state.__index, state.__metatable = store, "store"
    return setmetatable({}, state)
end
