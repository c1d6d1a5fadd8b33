-- What waits and what runs beside a handler, as "ngx" has it: sleep, timers, threads, semaphores. See prelude_ngx.lua.

local core, app, shared = ...
local fail, describe, check_function, give_up = core.fail, shared.describe, shared.check_function, shared.give_up
local ngx = shared.ngx
local error, floor, getmetatable, pairs, pcall = error, math.floor, getmetatable, pairs, pcall
local select, setmetatable = select, setmetatable
local package, type, unpack = package, type, unpack
local has_request, current_request, lend_request = core.has_request, core.current_request, core.lend_request
local poll_group, wait_group, task_results = core.poll_group, core.wait_group, core.task_results
local task_cancel, stopping = core.task_cancel, core.stopping

local SECONDS_MAX = 2147483 -- as many milliseconds as nginx counts

-- Seconds, perhaps with a fraction, in milliseconds.
local function ms_of(what, seconds)
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= SECONDS_MAX) then
        fail(what .. ": seconds expected, as a number, got " .. describe(seconds))
    end
    return floor(seconds * 1000 + 0.5)
end

function ngx.sleep(seconds)
    app.sleep(ms_of("ngx.sleep", seconds))
end

-- Timers. When the server stops, the functions that still wait run at once, with premature set.

local pending = {} -- by themselves: those that have not run

local function run(timer, premature)
    pending[timer] = nil
    timer.fn(premature, unpack(timer, 1, timer.count))
end

local function begin(timer, ms)
    pending[timer] = true
    timer.handle = app.after(ms, function()
        run(timer, stopping())
    end)
end

local function timer_at(seconds, fn, ...)
    local what = "ngx.timer.at"
    local ms = ms_of(what, seconds)
    check_function(what, fn)
    if stopping() and ms > 0 then
        return nil, "process exiting"
    end
    begin({ fn = fn, count = select("#", ...), ... }, ms)
    return 1
end

local every -- a timer that begins anew when it has run
function every(ms, fn, count, ...)
    local args = { ... }
    local timer = { count = 0 }
    function timer.fn(premature)
        if not premature then
            begin(timer, ms)
        end
        fn(premature, unpack(args, 1, count))
    end
    begin(timer, ms)
end

ngx.timer = {
    at = timer_at,
    every = function(seconds, fn, ...)
        local ms = ms_of("ngx.timer.every", seconds)
        check_function("ngx.timer.every", fn)
        if ms == 0 then
            fail "ngx.timer.every: the time must be at least a millisecond"
        end
        if stopping() then
            return nil, "process exiting"
        end
        every(ms, fn, select("#", ...), ...)
        return 1
    end,
    pending_count = function()
        local count = 0
        for _ in pairs(pending) do
            count = count + 1
        end
        return count
    end,
}

local stopping_functions = shared.listeners.stopping
stopping_functions[#stopping_functions + 1] = function()
    for timer in pairs(pending) do
        if timer.handle:cancel() then
            timer.handle = app.after(0, function()
                run(timer, true)
            end)
        end
    end
end

-- Threads are tasks. They share ngx.ctx and everything else of the request with the handler.

local settled = setmetatable({}, { __mode = "k" }) -- those that were waited for, or killed

ngx.thread = {
    spawn = function(fn, ...)
        check_function("ngx.thread.spawn", fn)
        if not has_request() then
            local task = app.spawn(fn, ...)
            return task
        end
        local req = current_request()
        local task = app.spawn(function(...)
            lend_request(req)
            return fn(...)
        end, ...)
        return task
    end,

    -- Wait for the first of several to end.
    wait = function(...)
        local tasks = { ... }
        if #tasks == 0 then
            fail "ngx.thread.wait: a thread expected, got none"
        end
        for i = 1, #tasks do
            if settled[tasks[i]] then
                return nil, "already waited or killed"
            end
        end
        local which = poll_group(tasks, true)
        while not which do
            local ok, err = wait_group()
            if not ok then
                give_up(err)
            end
            which = poll_group(tasks, true)
        end
        settled[tasks[which]] = true
        return pcall(task_results, tasks[which])
    end,

    kill = function(task)
        if settled[task] or not task_cancel(task) then
            return nil, "already waited or killed"
        end
        settled[task] = true
        return 1
    end,
}

-- Semaphores: require "ngx.semaphore".

local semaphore = {}
local semaphore_meta = { __index = semaphore }

local function check_semaphore(what, object)
    if type(object) ~= "table" or getmetatable(object) ~= semaphore_meta then
        fail(what .. ": call it as a method, with a colon")
    end
end

function semaphore.new(count)
    count = count or 0
    if type(count) ~= "number" or count < 0 then
        error("no negative number", 2)
    end
    return setmetatable({ semaphore = app.semaphore(count), waiting = 0 }, semaphore_meta)
end

function semaphore.post(object, count)
    check_semaphore("semaphore:post", object)
    object.semaphore:post(count)
    return true
end

function semaphore.wait(object, seconds)
    check_semaphore("semaphore:wait", object)
    local ms = ms_of("semaphore:wait", seconds)
    if object.semaphore:count() == 0 and seconds == 0 then
        return nil, "timeout"
    end
    object.waiting = object.waiting + 1
    local ok, got, err = pcall(object.semaphore.wait, object.semaphore, ms)
    object.waiting = object.waiting - 1
    if not ok then
        error(got, 0)
    end
    return got or false, err
end

-- Negative: so many wait.
function semaphore.count(object)
    check_semaphore("semaphore:count", object)
    local count = object.semaphore:count()
    return count > 0 and count or 0 - object.waiting
end

package.preload["ngx.semaphore"] = function()
    return semaphore
end
ngx.semaphore = semaphore
