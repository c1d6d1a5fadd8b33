-- Coroutines of the script's own, in which app.sleep and all else that waits work as elsewhere. A function that would wait
-- there yields relay, itself and its arguments (relay.c): it is called here instead, outside, and what it returns goes back
-- in. Outside may be another such coroutine. See prelude.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local error, select, type = error, select, type
local create, resume = coroutine.create, coroutine.resume

local relay = {}

local function call(fn, ...)
    return fn(...)
end

-- Gives exactly what the coroutine has given, once that is no wish to wait.
local function go_on(thread, ...)
    local ok, first = ...
    if ok and first == relay then
        return go_on(thread, resume(thread, call(select(3, ...))))
    end
    return ...
end

local function unwrap(ok, ...)
    if not ok then
        error((...), 0)
    end
    return ...
end

function coroutine.resume(thread, ...)
    return go_on(thread, resume(thread, ...))
end

function coroutine.wrap(fn)
    if type(fn) ~= "function" then
        fail("coroutine.wrap: a function expected, not " .. describe(fn))
    end
    local thread = create(fn)
    return function(...)
        return unwrap(go_on(thread, resume(thread, ...)))
    end
end

core.ref("relay", relay)
