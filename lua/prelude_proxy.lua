-- app.proxy, which hosts and groups have, too. See bind_proxy.c and prelude_rules.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ipairs, pairs, type = ipairs, pairs, type
local string, table = string, table

-- What middleware is there for, such as passwords, must not be forgotten where it does not run. Groups refuse it. app
-- and hosts often have middleware for other things, such as logs, so they only warn. middleware = false says that it is
-- known.

local hint = "app.basic_auth, app.allow and other rules hold for them"

local function refuse_middleware(what)
    local text = "%s: the middleware of a group does not run for requests that go to other servers: %s, and so does "
        .. "app.proxy outside of groups, and middleware = false among its options confirms it"
    fail(text:format(what, hint))
end

local function warn_of_middleware(proxy)
    local text = "%s: %s: the middleware of %suse does not run for requests below %s, which go to other servers: %s; "
        .. "middleware = false among the options confirms it"
    core.proxy_warn(text:format(proxy.place, proxy.what, proxy.of, describe(proxy.prefix), hint))
end

-- The outermost group, that of app or of a host. Middleware may still come.
local function warn_in(group, proxy)
    if #group.middleware > 0 then
        warn_of_middleware(proxy)
        return
    end
    local others = group.on_middleware
    function group.on_middleware(what)
        group.on_middleware = nil -- once
        if others then
            others(what)
        end
        warn_of_middleware(proxy)
    end
end

local function check_middleware(scope, what, prefix)
    local group = scope
    while group.what == "group." do
        if #group.middleware > 0 then
            refuse_middleware(what)
        end
        group.on_middleware = refuse_middleware
        group = group.outer
    end
    warn_in(group, { what = what, of = group.what, prefix = prefix, place = core.place() })
end

-- What other servers call an option.
local other_names = {
    client_max_body_size = "max_body", proxy_read_timeout = "timeout", read_timeout = "timeout",
    response_timeout = "timeout", proxy_connect_timeout = "connect_timeout",
}

local function place_of_option(name)
    local ours = other_names[name]
    return ours and string.format("is no option: %s is what you mean", ours) or nil
end

local function check_upstreams(what, upstreams)
    for key in pairs(type(upstreams) == "table" and upstreams or {}) do
        if type(key) ~= "number" then
            local text = "%s: %s does not belong into the list of upstreams: options are a table after it"
            fail(text:format(what, describe(key)))
        end
    end
end

shared.add_scope_function("proxy", function(scope, what, prefix, upstreams, options)
    local whole = shared.scope_prefix(scope, what, prefix)
    if whole ~= "/" then
        whole = whole:gsub("/$", "")
    end
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    local middleware = options and options.middleware
    if middleware ~= nil and middleware ~= false then
        fail(what .. ": middleware: false expected, since none runs here, got " .. describe(middleware))
    elseif middleware == nil then
        check_middleware(scope, what, whole)
    end
    for _, name in ipairs { "finish", "handler_cpu", "jit" } do
        if options and options[name] ~= nil then
            fail(string.format("%s: %s is about handlers in Lua, and none runs here", what, name))
        end
    end
    local names = core.proxy_names()
    table.insert(names, "middleware")
    check_upstreams(what, upstreams)
    shared.part_options(what, options or {}, names, place_of_option)
    core.proxy(scope.host, what, whole, upstreams, shared.options_at_base(options or {}))
end)
