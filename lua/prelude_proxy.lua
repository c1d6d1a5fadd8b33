-- app.proxy, which hosts and groups have, too. See bind_proxy.c and prelude_rules.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local type = type

shared.add_scope_function("proxy", function(scope, what, prefix, upstreams, options)
    local whole = shared.scope_prefix(scope, what, prefix)
    if whole ~= "/" then
        whole = whole:gsub("/$", "")
    end
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    shared.part_options(what, options or {}, core.proxy_names())
    core.proxy(scope.host, what, whole, upstreams, options or {})
end)
