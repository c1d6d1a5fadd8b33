-- Workers: modules whose functions run on threads of their own. See prelude.lua.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local check_names, fail_unknown = shared.check_names, shared.fail_unknown
local open, call, take = core.worker_open, core.worker_call, core.worker_take
local ipairs, setmetatable, type = ipairs, setmetatable, type

local options = { "memory", "queue", "threads", "timeout" }

-- The call has been made, or its client has gone. more: an error, or, after a timeout, whether the call has begun.
local function finish(handle, number, ok, more)
    if not ok then
        give_up(more)
    end
    return take(handle, number, more)
end

local stats = app.stats

function app.stats()
    local all = stats()
    all.workers = core.worker_stats()
    return all
end

function app.worker(path, given)
    core.check_loading("app.worker")
    if type(path) ~= "string" then
        fail('app.worker: the path of a module such as "db.lua" expected, got ' .. describe(path))
    end
    if given ~= nil and type(given) ~= "table" then
        fail("app.worker: a table of options expected, got " .. describe(given))
    end
    given = given or {}
    check_names("app.worker", "option", given, options)
    local handle, names = open(path, given.threads, given.queue, given.memory, given.timeout)
    local worker = {}
    for number, name in ipairs(names) do
        worker[name] = function(...)
            if ... == worker then
                fail(path .. ": " .. name .. ": call it with a dot, not with a colon")
            end
            return finish(handle, number, call(handle, number, ...))
        end
    end
    return setmetatable(worker, {
        __index = function(_, name)
            fail_unknown(path, "function", name, names)
        end,
        __newindex = function()
            fail(path .. ": a worker has the functions of its module and takes no others")
        end,
    })
end
