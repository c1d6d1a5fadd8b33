-- Coroutines that the script creates. app.sleep and all other functions that wait work in them as elsewhere. A function
-- that would wait in such a coroutine yields relay, itself and its arguments (relay.c). The code here then calls it
-- outside the coroutine and passes its results back in. Outside may be another such coroutine.
--
-- An error outside is passed back in as false and its value. The waiting function raises it there, so that it unwinds
-- the coroutine whose wait it ends. See prelude.lua.

local core, _, shared = ...
local fail, describe, trace = core.fail, shared.describe, core.trace
local error, pcall, select, setmetatable, type = error, pcall, select, setmetatable, type
local check_stack, getinfo = core.check_stack, debug.getinfo
local create, resume, status = coroutine.create, coroutine.resume, coroutine.status

local relay = {}

-- The coroutines that are waiting. For Lua they are suspended, but no other code may resume them, because they must be
-- resumed with the result of the wait.
local waiting = setmetatable({}, { __mode = "k" })

-- The coroutines of handlers, streams and timers, which C creates, resumes and reuses. A script gets one from
-- coroutine.running(), and may keep it.
local served = setmetatable({}, { __mode = "k" })

core.ref("threads", served)

local function check_thread(what, thread)
    if type(thread) ~= "thread" then
        fail(what .. ": a coroutine expected, got " .. describe(thread))
    end
end

local go_on

-- The wait is over.
local function go_in(thread, ok, ...)
    waiting[thread] = nil
    if ok then
        return go_on(thread, resume(thread, ...))
    end
    return go_on(thread, resume(thread, false, (...)))
end

-- Returns exactly what the coroutine yielded or returned, as soon as that is not a request to wait.
function go_on(thread, ...)
    local ok, first = ...
    if ok and first == relay then
        waiting[thread] = true
        return go_in(thread, pcall(select(3, ...)))
    end
    return ...
end

local function unwrap(thread, ok, ...)
    if not ok then
        trace((...), thread)
        error((...), 0)
    end
    return ...
end

-- For Lua, a thread that C keeps for the next request is suspended, but no function is in it.
local function status_of(thread)
    if waiting[thread] then
        return "normal"
    end
    local what = status(thread)
    return what == "suspended" and served[thread] and not getinfo(thread, 0, "l") and "dead" or what
end

function coroutine.resume(thread, ...)
    check_stack("coroutine.resume")
    check_thread("coroutine.resume", thread)
    if waiting[thread] or served[thread] then
        local is_dead = status_of(thread) == "dead"
        return false, is_dead and "cannot resume dead coroutine" or "cannot resume non-suspended coroutine"
    end
    return go_on(thread, resume(thread, ...))
end

function coroutine.wrap(fn)
    if type(fn) ~= "function" then
        fail("coroutine.wrap: a function expected, got " .. describe(fn))
    end
    local thread = create(fn)
    return function(...)
        check_stack("coroutine.wrap")
        if waiting[thread] then
            fail("cannot resume non-suspended coroutine")
        end
        return unwrap(thread, go_on(thread, resume(thread, ...)))
    end
end

function coroutine.status(thread)
    check_thread("coroutine.status", thread)
    return status_of(thread)
end

core.ref("relay", relay)
