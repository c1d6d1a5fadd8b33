-- Coroutines of the script's own, in which app.sleep and all else that waits work as elsewhere. A function that would wait
-- there yields relay, itself and its arguments (relay.c): it is called here instead, outside, and what it returns goes back
-- in. Outside may be another such coroutine.
--
-- An error outside goes back in as false and its value. The function that waits raises it there, so that it unwinds the
-- coroutine whose wait it ends. See prelude.lua.

local core, _, shared = ...
local fail, describe, trace = core.fail, shared.describe, core.trace
local error, pcall, select, setmetatable, type = error, pcall, select, setmetatable, type
local check_stack = core.check_stack
local create, resume, status = coroutine.create, coroutine.resume, coroutine.status

local relay = {}

-- The coroutines whose waits are under way. Lua takes them for suspended, but nobody else may resume them: what they are
-- resumed with is the result of the wait.
local waiting = setmetatable({}, { __mode = "k" })

local function check_thread(what, thread)
    if type(thread) ~= "thread" then
        fail(what .. ": a coroutine expected, not " .. describe(thread))
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

-- Gives exactly what the coroutine has given, once that is no wish to wait.
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

function coroutine.resume(thread, ...)
    check_stack("coroutine.resume")
    check_thread("coroutine.resume", thread)
    if waiting[thread] then
        return false, "cannot resume non-suspended coroutine"
    end
    return go_on(thread, resume(thread, ...))
end

function coroutine.wrap(fn)
    if type(fn) ~= "function" then
        fail("coroutine.wrap: a function expected, not " .. describe(fn))
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
    return waiting[thread] and "normal" or status(thread)
end

core.ref("relay", relay)
