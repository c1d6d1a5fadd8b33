-- Names and passwords. See bind_auth.c and prelude_rules.lua.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local auth_credentials = core.auth_credentials
local string, type = string, type

-- What C calls with a request that has credentials.
local function asker(fn)
    return function(req)
        local user, password = auth_credentials()
        local is_right = fn(user, password, req)
        return is_right and true or false
    end
end

shared.add_scope_function("basic_auth", function(scope, what, prefix, who, options)
    local whole = shared.scope_prefix(scope, what, prefix)
    if type(who) ~= "string" and type(who) ~= "function" and who ~= false then
        local text = '%s: a password file such as "users.htpasswd", a function or false expected, got %s'
        fail(text:format(what, describe(who)))
    end
    if options ~= nil and type(options) ~= "table" then
        fail(string.format('%s: a table such as { realm = "Staff" } expected, got %s', what, describe(options)))
    end
    check_names(what, "option", options or {}, { "realm" })
    local realm = options and options.realm
    if realm ~= nil and type(realm) ~= "string" then
        fail(string.format("%s: realm: a text expected, got %s", what, describe(realm)))
    end
    core.basic_auth(scope.host, what, whole, type(who) == "function" and { fn = asker(who) } or who, realm)
end)
