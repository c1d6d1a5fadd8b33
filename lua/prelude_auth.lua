-- Names and passwords, and pages for errors. See bind_auth.c, bind_pages.c and prelude_rules.lua.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local auth_credentials = core.auth_credentials
local ipairs, string, table, type = ipairs, string, table, type

-- What C calls with a request that has credentials. A status, a text or a table would be the response of a handler, and
-- is true in Lua: who returns it means to refuse. Texts are not quoted, since they may be secrets.
local function asker(fn, what)
    return function(req)
        local user, password = auth_credentials()
        local is_right = fn(user, password, req)
        if is_right ~= nil and type(is_right) ~= "boolean" then
            local got = type(is_right) == "number" and describe(is_right) or "a " .. type(is_right)
            fail(what .. ": true or false expected from the function, got " .. got .. "; app.error(403) is a response")
        end
        return is_right or false
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
    who = type(who) == "function" and { fn = asker(who, what) } or shared.at_base(who)
    core.basic_auth(scope.host, what, whole, who, realm)
end)

-- Pages for errors.

-- 404, "4xx" or a list of these, as a text.
local function statuses_text(what, statuses)
    local words = {}
    for _, each in ipairs(type(statuses) == "table" and statuses or { statuses }) do
        if type(each) == "number" then
            each = core.number_text(each)
        elseif type(each) ~= "string" then
            fail(string.format('%s: a status such as 404 or "5xx" expected, got %s', what, describe(each)))
        end
        table.insert(words, each)
    end
    return table.concat(words, " ")
end

shared.add_scope_function("error_page", function(scope, what, statuses, file, options)
    if scope.prefix ~= "" then
        fail(what .. ": error pages hold for all paths of a host: call it on app, or on what app.host() returns")
    end
    if type(statuses) ~= "number" and type(statuses) ~= "string" and type(statuses) ~= "table" then
        local text = '%s: a status such as 404 or "5xx", or a list of these expected, got %s'
        fail(text:format(what, describe(statuses)))
    end
    if type(file) ~= "string" then
        fail(string.format('%s: a file such as "404.html" expected, got %s', what, describe(file)))
    end
    if options ~= nil and type(options) ~= "table" then
        fail(string.format("%s: a table such as { for_proxied = true } expected, got %s", what, describe(options)))
    end
    check_names(what, "option", options or {}, { "for_proxied" })
    local for_proxied = options and options.for_proxied
    if for_proxied ~= nil and type(for_proxied) ~= "boolean" then
        fail(string.format("%s: for_proxied: true or false expected, got %s", what, describe(for_proxied)))
    end
    core.error_page(scope.host, what, statuses_text(what, statuses), shared.at_base(file), for_proxied)
end)
