-- The part of the Lua API that is nicer in Lua than in C. It runs once in every new state, before the script, with one
-- argument: a table of C functions. It makes the module "evserve" and hands to C, by core.ref, what C needs of it.
--
-- Errors are raised by core.fail(text), which puts the script's file and line in front. Functions that register
-- something do not end in a tail call, so that the script's line can be found.

local core = ...
local fail = core.fail

-- The script may put others in their places.
local error, getmetatable, ipairs, pairs, rawget, rawset = error, getmetatable, ipairs, pairs, rawget, rawset
local setmetatable, tostring, type, xpcall = setmetatable, tostring, type, xpcall
local debug, math, string, table = debug, math, string, table

local app = {
    version = core.version,
    listen = core.listen,
    log = core.log,
    now = core.now,
    after = core.after,
    every = core.every,
    stats = core.stats,
}

-- Texts for errors.

local function describe(value)
    if type(value) == "string" then
        return string.format("%q", value)
    end
    return (type(value) == "number" or type(value) == "boolean") and tostring(value) or type(value)
end

-- How many letters must be inserted, deleted or replaced to make b of a.
local function distance(a, b)
    local row = {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        local diagonal = row[0]
        row[0] = i
        for j = 1, #b do
            local cost = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
            diagonal = row[j]
            row[j] = math.min(cost, row[j] + 1, row[j - 1] + 1)
        end
    end
    return row[#b]
end

-- Fail because of a name that is not one of names.
local function fail_unknown(what, kind, name, names)
    local hint = ""
    if type(name) == "string" then
        local best = math.max(2, math.floor(#name / 3))
        for _, candidate in ipairs(names) do
            local d = distance(name, candidate)
            if d <= best then
                best = d - 1
                hint = string.format(" (did you mean %q?)", candidate)
            end
        end
    end
    fail(string.format("%s: unknown %s %s%s", what, kind, describe(name), hint))
end

-- Check that all keys of a table are among names. Of several unknown ones the first in the alphabet is reported.
local function check_names(what, kind, given, names)
    local known, unknown = {}, nil
    for _, name in ipairs(names) do
        known[name] = true
    end
    for name in pairs(given) do
        if not known[name] and (unknown == nil or tostring(name) < tostring(unknown)) then
            unknown = name
        end
    end
    if unknown ~= nil then
        fail_unknown(what, kind, unknown, names)
    end
end

local function check_function(what, fn)
    if type(fn) ~= "function" then
        fail(string.format("%s: a function expected, not %s", what, describe(fn)))
    end
end

-- Start-up.

function app.set(settings)
    core.check_loading("app.set")
    if type(settings) ~= "table" then
        fail("app.set: a table of settings expected, not " .. describe(settings))
    end
    local names = core.setting_names()
    check_names("app.set", "setting", settings, names)
    for _, name in ipairs(names) do
        if settings[name] ~= nil then
            core.set(name, settings[name])
        end
    end
    core.check_settings()
end

function app.static(prefix, directory, options)
    core.check_loading("app.static")
    if options ~= nil and type(options) ~= "table" then
        fail("app.static: a table of options expected, not " .. describe(options))
    end
    check_names("app.static", "option", options or {}, core.static_names())
    core.static(prefix, directory, options)
end

local route_options = {} -- names of the options that a route may have

local function add_route(what, methods, path, options, fn)
    core.check_loading(what)
    if fn == nil then
        options, fn = nil, options
    end
    if options ~= nil and type(options) ~= "table" then
        fail(string.format("%s: a table of options expected before the function, not %s", what, describe(options)))
    end
    check_names(what, "option", options or {}, route_options)
    check_function(what, fn)
    core.route(what, methods, path, fn)
end

for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
    local name = method:lower()
    app[name] = function(path, options, fn)
        add_route("app." .. name, { method }, path, options, fn)
    end
end

function app.route(methods, path, options, fn)
    if type(methods) == "string" then
        methods = { methods }
    elseif type(methods) ~= "table" then
        fail("app.route: a method or a list of methods expected, not " .. describe(methods))
    end
    add_route("app.route", methods, path, options, fn)
end

local middleware = {}
local listeners = { start = {}, stop = {} }
local has_error_handler = false

function app.use(fn)
    core.check_loading("app.use")
    check_function("app.use", fn)
    middleware[#middleware + 1] = fn
end

function app.on(event, fn)
    core.check_loading("app.on")
    if event ~= "error" and listeners[event] == nil then
        fail_unknown("app.on", "event", event, { "error", "start", "stop" })
    end
    check_function("app.on", fn)
    if event ~= "error" then
        table.insert(listeners[event], fn)
    elseif has_error_handler then
        fail('app.on: there is an "error" function already')
    else
        has_error_handler = true
        core.ref("error_handler", fn)
    end
end

for event, functions in pairs(listeners) do
    core.ref(event, function()
        for _, fn in ipairs(functions) do
            fn()
        end
    end)
end

-- Header tables: names in any case. Keys are kept in lower case.

local headers_meta = {}

function headers_meta.__index(headers, name)
    return type(name) == "string" and rawget(headers, name:lower()) or nil
end

function headers_meta.__newindex(headers, name, value)
    rawset(headers, type(name) == "string" and name:lower() or name, value)
end

-- Response objects.

local response_meta = {}
local pass = setmetatable({ pass = true }, response_meta)

app.pass = pass

-- Copy fields over those that are there.
local function merge_headers(headers, more)
    if more ~= nil and type(more) ~= "table" then
        fail("a response needs a table of headers, not " .. describe(more))
    end
    for name, value in pairs(more or {}) do
        headers[name] = value
    end
    return headers
end

local function response(status, body, headers)
    return setmetatable({
        status = status,
        headers = merge_headers(setmetatable({}, headers_meta), headers),
        body = body,
    }, response_meta)
end

-- The response object for what a handler returned. An object that is returned alone stays the same one.
local function to_response(a, b, c)
    local status, body, headers
    if type(a) == "number" then
        status, body, headers = a, b, c
    else
        body, headers = a, b
    end
    if getmetatable(body) ~= response_meta then
        return response(status or (body == nil and 204 or 200), body, headers)
    end
    if body ~= pass and status == nil and headers == nil then
        return body
    end
    local made = response(status or body.status, body.body, body.headers)
    made.pass = body.pass
    merge_headers(made.headers, headers)
    return made
end

function app.html(text)
    if type(text) ~= "string" then
        fail("app.html: a string expected, not " .. describe(text))
    end
    return response(200, text, { ["content-type"] = "text/html; charset=utf-8" })
end

local redirects = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

function app.redirect(url, status)
    if type(url) ~= "string" then
        fail("app.redirect: an address expected, not " .. describe(url))
    end
    status = status or 302
    if not redirects[status] then
        fail("app.redirect: the status must be 301, 302, 303, 307 or 308, not " .. tostring(status))
    end
    return response(status, nil, { location = url })
end

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function app.escape_html(text)
    if type(text) ~= "string" and type(text) ~= "number" then
        fail("app.escape_html: a string expected, not " .. describe(text))
    end
    return (tostring(text):gsub("[&<>\"']", escapes))
end

-- JSON. A table is an array when it has items or this metatable, else an object.

local array_meta = {}

app.json = {
    encode = core.json_encode,
    decode = core.json_decode,
    null = core.null,
    array = function(list)
        if list ~= nil and type(list) ~= "table" then
            fail("app.json.array: a table expected, not " .. describe(list))
        end
        return setmetatable(list or {}, array_meta)
    end,
}

-- Requests. C resumes run() with the function of the route; without middleware that is the handler itself.

local answer, finish = core.answer, core.finish
local new_request, current_request = core.new_request, core.current_request
local report, recover = core.report, core.recover

local function stream(fn, out)
    if fn then
        fn(out)
        finish()
    end
end

local function serve(handler)
    return stream(answer(handler(new_request())))
end

local function serve_error(handler, err)
    return stream(answer(handler(current_request(), err)))
end

core.ref("run", function(handler)
    local ok, err = xpcall(serve, report, handler)
    if not ok then
        local on_error = recover(err)
        if on_error then
            ok, err = xpcall(serve_error, report, on_error, err)
            if not ok then
                recover(err)
            end
        end
    end
end)

core.ref("run_timer", function(fn)
    local ok, err = xpcall(fn, report)
    if not ok then
        recover(err)
    end
end)

-- A function like inner, with one middleware around it. Both take a request and return a response object.
local function wrap_once(fn, inner)
    local info = debug.getinfo(fn, "S")
    local place = string.format("%s:%d", info.source:gsub("^@", ""), info.linedefined)
    return function(req)
        local function nxt(other)
            return inner(other or req)
        end
        local a, b, c = fn(req, nxt)
        if a == nil then
            error(place .. ": the middleware returned nothing: it must return the response of nxt(), or its own", 0)
        end
        return to_response(a, b, c)
    end
end

core.ref("wrap", function(handler)
    if #middleware == 0 then
        return handler
    end
    local wrapped = function(req)
        return to_response(handler(req))
    end
    for i = #middleware, 1, -1 do
        wrapped = wrap_once(middleware[i], wrapped)
    end
    return wrapped
end)

-- Waiting. The error that ends a coroutine whose client has gone is this one value.

local closed = setmetatable({}, {
    __tostring = function()
        return "the client has gone"
    end,
})

local sleep = core.sleep

function app.sleep(duration)
    if not sleep(duration) then
        error(closed, 0)
    end
end

-- The globals: what would end or disturb the host is replaced, and after start-up there are no new ones.

function os.exit()
    fail("os.exit would end the whole server; send it SIGTERM instead")
end

function print(...)
    app.log("info", ...)
end

core.ref("freeze", function()
    local meta = getmetatable(_G)
    if type(meta) ~= "table" then
        meta = {}
        setmetatable(_G, meta)
    end
    if meta.__newindex == nil then
        function meta.__newindex(_, name)
            fail(string.format("the global %q is new: globals are frozen after start-up; use local", tostring(name)))
        end
    end
end)

core.ref("closed", closed)
core.ref("headers_meta", headers_meta)
core.ref("response_meta", response_meta)
core.ref("to_response", to_response)
core.ref("array_meta", array_meta)

package.path = core.folder .. "/?.lua;" .. core.folder .. "/?/init.lua;" .. package.path
package.loaded.evserve = app
