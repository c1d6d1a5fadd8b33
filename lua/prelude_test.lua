-- Files of tests: app.test(), cases, assertions and the report. See rehearsal.c.

local core, app, shared = ...
local fail, describe, fail_case, client = core.fail, shared.describe, shared.fail_case, shared.client
local getmetatable, pairs, pcall, select, setmetatable = getmetatable, pairs, pcall, select, setmetatable
local tostring, try, type = tostring, xpcall, type
local debug, string, table = debug, string, table

local STEPS_MAX = 1000000 -- timers that are due while the clock moves
local WAIT_MS = 5000 -- of t:wait
local DAY_MS = 86400000

local only -- of the cases, those whose name contains it
local count, failed, skipped, assertions = 0, 0, 0, 0
local is_in_case = false

-- The report.

local function comment(text)
    for line in (tostring(text) .. "\n"):gmatch "([^\n]*)\n" do
        core.line("#   " .. line:gsub("%c", function(byte)
            return string.format("\\x%02x", byte:byte())
        end))
    end
end

function print(...)
    local words = { ... }
    for i = 1, select("#", ...) do
        words[i] = tostring(words[i])
    end
    comment(table.concat(words, " "))
end
app.log = function(_, ...)
    print(...)
end

local function say_last()
    local res = shared.last
    if res then
        comment(string.format("the last response: %s -> %d %s", res.about, res.status,
            core.quote(res.body:sub(1, 300)) .. (#res.body > 300 and "..." or "")))
    end
end

local function report(name, ok, err)
    count = count + 1
    core.line(string.format("%s %d - %s", ok and "ok" or "not ok", count, (name:gsub("[%c#]", " "))))
    if not ok then
        failed = failed + 1
        comment(shared.is_failure(err) and err.text or err)
        say_last()
    end
end

-- The error of a case with its traceback, which ends where our own functions begin.
local function explain(err)
    if shared.is_failure(err) then
        return err
    end
    local lines = {}
    for line in debug.traceback("", 2):gmatch "[^\n]+" do
        if not line:find("evserve:", 1, true) and not line:find("[C]", 1, true) and #line > 0 then
            lines[#lines + 1] = line:gsub("^%s+", "  ")
        end
    end
    return tostring(err) .. (#lines > 1 and "\n" .. table.concat(lines, "\n") or "")
end

-- Assertions, which may be called as t.equal(a, b) and as t:equal(a, b).

local function assertion(name, fn)
    client[name] = function(first, ...)
        assertions = assertions + 1
        if getmetatable(first) == client then
            local result = fn(...)
            return result
        end
        local result = fn(first, ...)
        return result
    end
end

assertion("equal", function(got, want, what)
    if not shared.is_same(got, want) then
        fail_case(what, shared.difference(got, want))
    end
    return got
end)

assertion("differ", function(got, other, what)
    if shared.is_same(got, other) then
        fail_case(what, "expected another value than " .. (shared.sentence_of(got) or type(got)))
    end
    return got
end)

assertion("ok", function(value, what)
    if not value then
        fail_case(what, "expected a value that is true, got " .. tostring(value))
    end
    return value
end)

local function check_text(got, pattern, what)
    if type(pattern) ~= "string" then
        fail("a text to look for expected, got " .. describe(pattern))
    elseif type(got) ~= "string" then
        fail_case(what, "expected a text, got " .. (shared.sentence_of(got) or type(got)))
    end
end

local function excerpt(text)
    return core.quote(text:sub(1, 500)) .. (#text > 500 and "..." or "")
end

assertion("match", function(got, pattern, what)
    check_text(got, pattern, what)
    if not got:find(pattern) then
        fail_case(what, "expected a text that matches " .. core.quote(pattern) .. ", got " .. excerpt(got))
    end
    return got
end)

assertion("contains", function(got, text, what)
    check_text(got, text, what)
    if not got:find(text, 1, true) then
        fail_case(what, "expected a text that contains " .. core.quote(text) .. ", got " .. excerpt(got))
    end
    return got
end)

assertion("fails", function(fn, pattern, what)
    local ok, err = pcall(fn)
    if ok then
        fail_case(what, "expected an error, but the function has returned")
    end
    local text = tostring(err)
    if pattern and not text:find(pattern) then
        fail_case(what, "expected an error that matches " .. core.quote(pattern) .. ", got " .. excerpt(text))
    end
    return err
end)

-- Cases.

local function run_case(name, fn)
    if type(name) ~= "string" or type(fn) ~= "function" then
        fail("t:case: a name and a function expected, got " .. describe(name) .. " and " .. describe(fn))
    elseif is_in_case then
        fail("t:case: a case within a case; write one after the other")
    end
    if only and not name:find(only, 1, true) then
        skipped = skipped + 1
        return
    end
    is_in_case, shared.last = true, nil
    local ok, err = try(fn, explain, shared.new_client())
    is_in_case = false
    report(name, ok, err)
end

function client.case(first, ...)
    if getmetatable(first) == client then
        run_case(...)
    else
        run_case(first, ...)
    end
end

-- Time.

local function milliseconds(duration)
    local days = type(duration) == "string" and duration:match "^(%d+)d$"
    return days and days * DAY_MS or core.duration(duration, "t:advance")
end

-- Move the clock, and let all timers run that are due by then, each at its time.
function client:advance(duration)
    if getmetatable(self) ~= client then
        fail 'call it with a colon: t:advance "1h"'
    end
    local end_ms, steps = core.clock_ms() + milliseconds(duration), 0
    core.turn(0)
    shared.attend()
    while not core.step(end_ms) do
        shared.attend()
        steps = steps + 1
        if steps > STEPS_MAX then
            fail(string.format("t:advance: more than %d timers are due within %s", STEPS_MAX, tostring(duration)))
        end
    end
    shared.attend()
end

-- Wait until fn returns something that is true, which is returned: for what threads or other servers do.
function client:wait(fn, timeout)
    local end_ms = shared.end_of_wait(timeout, WAIT_MS, "t:wait")
    while true do
        local result = fn()
        if result then
            return result
        elseif core.clock_ms() >= end_ms then
            fail_case(nil, "t:wait: what it waits for has not come")
        end
        core.turn(10)
    end
end

-- End the site and start it anew: what it kept in memory is gone.
function client:restart()
    core.restart()
end

function app.test()
    local made = shared.new_client()
    return made
end

-- The run.

core.ref("run_tests", function(path, wanted)
    only = wanted
    local chunk, err = shared.load_text(path)
    local ok = chunk ~= nil
    if ok then
        ok, err = try(chunk, explain)
    end
    if not ok or (count == 0 and skipped == 0 and assertions > 0) then
        report(path, ok, err)
    elseif count == 0 then
        failed = 1
        core.line(skipped > 0 and "# no case has a name that contains " .. core.quote(only)
            or "# " .. path .. ' has no cases: write t:case("what it shows", function(t) ... end)')
    end
    core.line("1.." .. count)
    core.line(string.format("# %d of %d passed%s", count - failed < 0 and 0 or count - failed, count,
        skipped > 0 and ", " .. skipped .. " left out" or ""))
    return failed
end)

local has = {}
for name in pairs(app) do
    has[#has + 1] = "app." .. name
end
table.sort(has)

setmetatable(app, {
    __index = function(_, name)
        local text = "app.%s is not there in a file of tests, which runs outside of the site; there are %s"
        fail(text:format(tostring(name), table.concat(has, ", ")))
    end,
})
