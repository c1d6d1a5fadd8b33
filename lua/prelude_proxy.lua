-- app.proxy, which hosts and groups have, too. See bind_proxy.c and prelude_rules.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ipairs, type = ipairs, type
local string = string

-- What the middleware of a group is there for, such as passwords, must not be forgotten where it does not run.
local function refuse_middleware(what)
    local hint = "app.basic_auth, app.allow and other rules hold for them, and app.proxy is outside of groups"
    fail(what .. ": the middleware of a group does not run for requests that go to other servers: " .. hint)
end

local function check_group(scope, what)
    local group = scope
    while group and group.what == "group." do
        if #group.middleware > 0 then
            refuse_middleware(what)
        end
        group.refuse_middleware = refuse_middleware
        group = group.outer
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
    check_group(scope, what)
    for _, name in ipairs { "finish", "handler_cpu", "jit" } do
        if options and options[name] ~= nil then
            fail(string.format("%s: %s is about handlers in Lua, and none runs here", what, name))
        end
    end
    shared.part_options(what, options or {}, core.proxy_names())
    core.proxy(scope.host, what, whole, upstreams, options or {})
end)
