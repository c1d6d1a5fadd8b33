-- What a script may do while it starts: settings, mounts, routes, middleware, events. See prelude.lua.

local core, app, shared = ...
local fail = core.fail
local describe, fail_unknown = shared.describe, shared.fail_unknown
local check_names, check_function = shared.check_names, shared.check_function
local ipairs, pairs, type = ipairs, pairs, type
local string, table = string, table

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

local route_options = core.route_names() -- names of the options that a route may have

-- What a route cannot have of its own gets a better answer than that it is unknown.
local function check_route_options(what, options)
    for _, name in ipairs(core.setting_names()) do
        local is_known = false
        for _, option in ipairs(route_options) do
            is_known = is_known or option == name
        end
        if options[name] ~= nil and not is_known then
            fail(string.format("%s: %s is one for the whole server: set it with app.set", what, name))
        end
    end
    check_names(what, "option", options, route_options)
end

local function add_route(what, methods, path, options, fn)
    core.check_loading(what)
    if fn == nil then
        options, fn = nil, options
    end
    if options ~= nil and type(options) ~= "table" then
        fail(string.format("%s: a table of options expected before the function, not %s", what, describe(options)))
    end
    check_route_options(what, options or {})
    check_function(what, fn)
    core.route(what, methods, path, options, fn)
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

local middleware = {} -- outermost first
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

shared.middleware = middleware
