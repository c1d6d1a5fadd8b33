-- The globals: functions that would end or disturb the server are replaced, and after start-up no new globals can be
-- created. See prelude.lua.

local core, app, shared = ...
local fail = core.fail
local error, getmetatable, pcall, rawset, setmetatable = error, getmetatable, pcall, rawset, setmetatable
local tostring, type = tostring, type
local jit, package, string, table = jit, package, string, table

function os.exit()
    fail("os.exit would end the whole server; send it SIGTERM instead")
end

local set_locale = os.setlocale

function os.setlocale(locale, category)
    if locale ~= nil then
        fail("os.setlocale would change the locale of the whole process, including other threads and the host")
    end
    return set_locale(nil, category)
end

-- In a run of tests the server's clock is moved (t:advance), and Lua's follows it.
if core.shifted_time then
    local date, time, shifted_time = os.date, os.time, core.shifted_time
    function os.time(fields)
        return fields == nil and shifted_time() or time(fields)
    end
    function os.date(format, at)
        return date(format or "%c", at or shifted_time())
    end
end

function print(...)
    app.log("info", ...)
end

function debug.sethook()
    fail("debug.sethook would remove the deadline of handlers (handler_cpu)")
end

-- The debug library shows everything, but cannot change what C relies on: the registry, and the upvalues and locals of
-- functions of evserve and of C.

function debug.getregistry()
    fail("debug.getregistry would expose the server's own data")
end

local getinfo, getlocal, setlocal = debug.getinfo, debug.getlocal, debug.setlocal
local setupvalue, upvaluejoin = debug.setupvalue, debug.upvaluejoin
local byte, running, tonumber = string.byte, coroutine.running, tonumber

local function check_source(what, info)
    if info and (info.source == "=evserve" or info.what == "C") then
        fail(what .. ": the function belongs to evserve or is written in C")
    end
end

function debug.setupvalue(fn, ...)
    check_source("debug.setupvalue", type(fn) == "function" and getinfo(fn, "S"))
    return setupvalue(fn, ...)
end

function debug.upvaluejoin(fn, n, other, ...)
    check_source("debug.upvaluejoin", type(fn) == "function" and getinfo(fn, "S"))
    check_source("debug.upvaluejoin", type(other) == "function" and getinfo(other, "S"))
    return upvaluejoin(fn, n, other, ...)
end

-- In the thread at work this function is one level more. What has no name of its own holds what LuaJIT relies on.
function debug.setlocal(...)
    local thread, level, index = ...
    if type(thread) ~= "thread" then
        thread, level, index = running(), thread, level
    end
    level, index = tonumber(level), tonumber(index)
    local is_at_work = thread == running()
    local at = level and (is_at_work and level + 1 or level)
    local info = at and (is_at_work and getinfo(at, "S") or not is_at_work and getinfo(thread, at, "S"))
    check_source("debug.setlocal", info)
    local name = info and index and (is_at_work and getlocal(at, index) or not is_at_work and getlocal(thread, at, index))
    if name and byte(name) == 40 then
        fail("debug.setlocal: " .. name .. " is not a variable")
    end
    return setlocal(...)
end

-- Finalizers. LuaJIT raises the error of a finalizer wherever it happens to collect; in compiled code that ends the
-- process. So errors are caught and logged here.

local function guarded(finalizer)
    if type(finalizer) ~= "function" then
        return finalizer
    end
    return function(object)
        local ok, err = pcall(finalizer, object)
        if not ok then
            core.log_finalizer(err)
        end
    end
end

local proxy_guard = {
    __newindex = function(meta, name, value)
        rawset(meta, name, name == "__gc" and guarded(value) or value)
    end,
}
local new_proxy = newproxy

function newproxy(like)
    local proxy = new_proxy(like)
    if like == true then
        setmetatable(getmetatable(proxy), proxy_guard)
    end
    return proxy
end

local open_ffi = package.preload.ffi

package.preload.ffi = open_ffi and function(...)
    local ffi = open_ffi(...)
    local gc, metatype = ffi.gc, ffi.metatype
    function ffi.gc(object, finalizer)
        return gc(object, guarded(finalizer))
    end
    function ffi.metatype(kind, meta)
        if type(meta) == "table" then
            meta.__gc = guarded(meta.__gc)
        end
        return metatype(kind, meta)
    end
    return ffi
end

-- Loaded code is not compiled, because compiled code has no deadline. Only routes with jit = true are.

-- Without executable memory LuaJIT would end the process once it has compiled something.
local compile = jit.on

function jit.on(...)
    if core.can_compile() then
        return compile(...)
    end
end

local function interpreted(chunk, ...)
    if type(chunk) == "function" and not core.is_worker then -- the threads of workers have no deadline
        jit.off(chunk, true)
    end
    return chunk, ...
end

local load_chunk, load_string, load_file = load, loadstring, loadfile

local function read_all(reader)
    local pieces = {}
    for piece in reader do
        if piece == "" then
            break
        elseif type(piece) ~= "string" then
            error("reader function must return a string", 0)
        end
        pieces[#pieces + 1] = piece
    end
    return table.concat(pieces)
end

-- C does not call the reader: it would swallow the error that stops a run, and LuaJIT would no longer call the hook.
function load(chunk, ...)
    if type(chunk) == "function" then
        local ok, text = pcall(read_all, chunk)
        if not ok then
            return nil, text
        end
        return interpreted(load_chunk(text, ...))
    end
    return interpreted(load_chunk(chunk, ...))
end

function loadstring(...)
    return interpreted(load_string(...))
end

local function load_text(path, ...)
    local text, err = core.read_file(path)
    if not text then
        return nil, err
    end
    return interpreted(load_chunk(text, "@" .. path, ...))
end

function loadfile(path, ...)
    if path == nil then -- standard input
        return interpreted(load_file(path, ...))
    end
    if type(path) == "string" then
        core.note_file(path, "code")
    end
    return load_text(path, ...)
end

function dofile(name)
    local chunk, err = loadfile(name)
    if not chunk then
        error(err, 0)
    end
    return chunk()
end

shared.load_text = load_text

local allow_globals = core.allow_globals

core.ref("freeze", function()
    shared.is_frozen = true
    local meta = getmetatable(_G)
    if type(meta) ~= "table" then
        meta = {}
        setmetatable(_G, meta)
    end
    if meta.__newindex == nil then
        function meta.__newindex(globals, name, value)
            if not allow_globals() then
                local text = "the global %s is new: globals are frozen after start-up; use local"
                fail(string.format(text, core.quote(tostring(name))))
            end
            rawset(globals, name, value)
        end
    end
end)
