-- ngx.shared: the stores of app.store, with the functions of nginx's shared dictionaries. See prelude_ngx.lua.
--
-- A value with flags is kept as a table of both.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ngx, stores = shared.ngx, shared.stores
local error, floor, huge, pairs, pcall, rawset = error, math.floor, math.huge, pairs, pcall, rawset
local setmetatable, string, tostring, type = setmetatable, string, tostring, type

local FLAGS = "ngx.flags" -- the key under which a value has them
local KEYS_USUAL, KEYS_MAX = 1024, 1000000 -- of get_keys(): unless its caller says otherwise, and at most

local dict = {}
local dict_meta = { __index = dict }
local stores_of = setmetatable({}, { __mode = "k" })

local function store_of(object, what)
    local store = stores_of[object]
    if not store then
        fail(string.format("ngx.shared: %s: call it as a method, with a colon", what))
    end
    return store
end

-- The key of a call, or nil and an error text.
local function key_of(key)
    if type(key) == "number" then
        return tostring(key)
    elseif key == nil then
        return nil, "nil key"
    elseif type(key) ~= "string" then
        fail("ngx.shared: a key is text or a number, got " .. describe(key))
    elseif key == "" then
        return nil, "empty key"
    elseif #key > 65535 then
        return nil, "key too long"
    end
    return key
end

-- Seconds, 0 or nil for no end, as a store takes them.
local function ttl_of(what, seconds)
    if seconds == nil or seconds == 0 then
        return nil
    end
    if type(seconds) ~= "number" or not (seconds > 0) then
        fail(string.format("ngx.shared: %s: seconds expected, as a number, got %s", what, describe(seconds)))
    end
    local ms = floor(seconds * 1000 + 0.5)
    return ms < 1 and 1 or ms
end

-- The value as the store keeps it, or nil and an error text.
local function value_of(value, flags)
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
        return nil, "bad value type"
    end
    if flags and flags ~= 0 then
        return { [FLAGS] = flags, value = value }
    end
    return value
end

-- The value and the flags of what the store has.
local function read(found)
    if type(found) == "table" then
        return found.value, found[FLAGS]
    end
    return found
end

function dict.get(object, key)
    local store, err = store_of(object, "get"), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    return read(store:get(key))
end

-- As get(): what has come to its end is gone.
function dict.get_stale(object, key)
    local value, flags = dict.get(object, key)
    return value, flags, false
end

-- Put a value through a function of the store that says whether it did.
local function put(what, why, object, key, value, seconds, flags)
    local store, err = store_of(object, what), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    local kept
    if value ~= nil then
        kept, err = value_of(value, flags)
        if kept == nil then
            return nil, err
        end
    end
    local ok, done = pcall(store[what], store, key, kept, ttl_of(what, seconds))
    if not ok then
        if type(done) == "string" and done:find("too large", 1, true) then
            return false, "no memory", false
        end
        error(done, 0)
    end
    if not done then
        return false, why, false
    end
    return true, nil, false
end

function dict.set(object, ...)
    return put("set", nil, object, ...)
end

function dict.add(object, ...)
    return put("add", "exists", object, ...)
end

function dict.replace(object, ...)
    return put("replace", "not found", object, ...)
end

dict.safe_set, dict.safe_add = dict.set, dict.add

function dict.delete(object, key)
    local store, err = store_of(object, "delete"), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    store:delete(key)
    return true
end

function dict.incr(object, key, number, initial, seconds)
    local store, err = store_of(object, "incr"), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    if type(number) ~= "number" then
        fail("ngx.shared: incr: a number expected, got " .. describe(number))
    end
    if initial == nil and store:ttl(key) == nil then
        return nil, "not found"
    end
    local ok, sum = pcall(store.incr, store, key, number, initial or 0, ttl_of("incr", seconds))
    if not ok then
        if type(sum) == "string" and sum:find("is not a number", 1, true) then
            return nil, "not a number"
        end
        error(sum, 0)
    end
    return sum, nil, false
end

function dict.ttl(object, key)
    local store, err = store_of(object, "ttl"), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    local ms = store:ttl(key)
    if not ms then
        return nil, "not found"
    end
    return ms == huge and 0 or ms / 1000
end

function dict.expire(object, key, seconds)
    local store, err = store_of(object, "expire"), nil
    key, err = key_of(key)
    if not key then
        return nil, err
    end
    if not store:expire(key, ttl_of("expire", seconds) or huge) then
        return nil, "not found"
    end
    return true
end

function dict.flush_all(object)
    store_of(object, "flush_all"):flush()
end

-- The store does that by itself.
function dict.flush_expired(object)
    store_of(object, "flush_expired")
    return 0
end

function dict.get_keys(object, most)
    local store = store_of(object, "get_keys")
    most = most or KEYS_USUAL
    return (store:keys("", most == 0 and KEYS_MAX or most))
end

-- Redis without a limit says 0.
local function size_of(stats)
    return stats.size == 0 and huge or stats.size
end

function dict.capacity(object)
    return size_of(store_of(object, "capacity"):stats())
end

function dict.free_space(object)
    local stats = store_of(object, "free_space"):stats()
    return size_of(stats) - stats.bytes
end

for _, name in pairs { "lpush", "rpush", "lpop", "rpop", "llen" } do
    dict[name] = function()
        fail(string.format("ngx.shared: %s is not there: a store has no lists; app.channel connects the handlers of a thread",
            name))
    end
end

ngx.shared = setmetatable({}, {
    __index = function(known, name)
        local store = stores[name]
        if not store then
            return nil -- as in nginx, where drivers say what is missing
        end
        local object = setmetatable({}, dict_meta)
        stores_of[object] = store
        rawset(known, name, object)
        return object
    end,
})
