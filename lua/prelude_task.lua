-- Tasks: what runs beside a handler, and waiting for it. See bind_task.c and prelude.lua.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local check_function, check_names = shared.check_function, shared.check_names
local error, ipairs, pcall, select, type, unpack, xpcall = error, ipairs, pcall, select, type, unpack, xpcall
local setmetatable = setmetatable

local spawn, end_task, trace = core.spawn, core.end_task, core.trace
local task_wait, task_results, task_cancel = core.task_wait, core.task_results, core.task_cancel
local poll_group, wait_group, is_task = core.poll_group, core.wait_group, core.is_task
local closed = shared.closed

-- The error that ends a task that was cancelled: a single value, as closed is for a client that has gone.
local cancelled = setmetatable({}, {
    __tostring = function()
        return "the task was cancelled"
    end,
})

core.ref("cancelled", cancelled)

core.ref("run_task", function(fn, ...)
    end_task(xpcall(fn, trace, ...))
end)

-- Raise what ends the coroutine that runs, whose wait gave false; or err, which that gave as well.
local function give_up(err)
    error(err or (is_task() and cancelled or closed), 0)
end

shared.give_up = give_up

local sleep = core.sleep

-- In a coroutine that the script created, false may come with another error to raise.
function app.sleep(duration)
    local ok, err = sleep(duration)
    if not ok then
        give_up(err)
    end
end

local wait_fd, errno_text = core.wait_fd, core.errno_text

function app.wait(fd, direction, timeout)
    local ok, err = wait_fd(fd, direction, timeout)
    if ok then
        return true
    end
    if ok == nil then
        return nil, err and errno_text(err) or "timeout"
    end
    give_up(err)
end

function app.spawn(options, fn, ...)
    if type(options) ~= "table" then
        return (spawn("app.spawn", false, options, fn, ...))
    end
    check_names("app.spawn", "option", options, { "detached" })
    if type(options.detached) ~= "boolean" then
        fail("app.spawn: detached is true or false, got " .. describe(options.detached))
    end
    return (spawn("app.spawn", options.detached, fn, ...))
end

function core.task_methods.wait(task, timeout)
    local ok, err = task_wait(task, timeout)
    if ok then
        return task_results(task)
    end
    if ok == nil then
        return nil, "timeout"
    end
    give_up(err)
end

function core.task_methods.cancel(task)
    return task_cancel(task)
end

-- Begin a task for each function, or none: what have begun are cancelled before they run.
local function spawn_group(what, ...)
    local tasks = {}
    for i = 1, select("#", ...) do
        local ok, task = pcall(spawn, what, false, (select(i, ...)))
        if not ok then
            for _, other in ipairs(tasks) do
                task_cancel(other)
            end
            error(task, 0)
        end
        tasks[i] = task
    end
    return tasks
end

-- Run functions side by side until one of them, or the last, decides the group. Returns the tasks and which it was.
local function run_group(what, is_race, ...)
    local count = select("#", ...)
    if count > core.group_max then
        fail(string.format("%s: at most %d functions, got %d", what, core.group_max, count))
    end
    for i = 1, count do
        check_function(what, (select(i, ...)))
    end
    local tasks = spawn_group(what, ...)
    local which = poll_group(tasks, is_race)
    while not which do
        local ok, err = wait_group()
        if not ok then
            give_up(err)
        end
        which = poll_group(tasks, is_race)
    end
    for i = 1, count do
        task_cancel(tasks[i])
    end
    return tasks, which
end

function app.all(...)
    local tasks, which = run_group("app.all", false, ...)
    if which > 0 then
        task_results(tasks[which]) -- raises
    end
    local results, count = {}, #tasks
    for i = 1, count do
        results[i] = (task_results(tasks[i]))
    end
    return unpack(results, 1, count)
end

function app.race(...)
    if select("#", ...) == 0 then
        fail "app.race: a function expected, got none"
    end
    local tasks, which = run_group("app.race", true, ...)
    return task_results(tasks[which])
end
