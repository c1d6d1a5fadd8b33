-- Rules: functions that app, hosts and groups have in common, since they hold for all requests below a prefix. See
-- bind_rules.c and prelude.lua.
--
-- A scope is what such a function is called on: { what = "app.", prefix = "", host = nil }. prefix is that of a group,
-- host what app.host() has made, nil for the default host.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local begin = shared.begin
local ipairs, pairs, setmetatable, type = ipairs, pairs, setmetatable, type
local string, table = string, table

local functions = {} -- by name
local opened = {} -- targets with their scopes

local function add_to(target, scope, name, fn)
    local what = scope.what .. name
    target[name] = function(first, ...)
        begin(what, first)
        fn(scope, what, first, ...) -- no tail call
    end
end

-- Let app and all hosts and groups have a function: fn(scope, what, ...), where what is "app.allow".
function shared.add_scope_function(name, fn)
    functions[name] = fn
    for _, each in ipairs(opened) do
        add_to(each.target, each.scope, name, fn)
    end
end

-- Functions that only app has, such as listen: a host or a group that is asked for one says where it is.
local function fail_elsewhere(scope)
    return function(_, name)
        if type(name) == "string" and type(app[name]) == "function" then
            fail(string.format("%s%s does not exist: call app.%s", scope.what, name, name))
        end
    end
end

-- Add the functions to a table that scripts have.
function shared.open_scope(target, scope)
    if target ~= app then
        setmetatable(target, { __index = fail_elsewhere(scope) })
    end
    table.insert(opened, { target = target, scope = scope })
    for name, fn in pairs(functions) do
        add_to(target, scope, name, fn)
    end
end

-- The whole prefix of a rule: that of the scope with the one given.
function shared.scope_prefix(scope, what, prefix)
    if type(prefix) ~= "string" or prefix:sub(1, 1) ~= "/" then
        fail(string.format('%s: a prefix such as "/" or "/api" expected, got %s', what, describe(prefix)))
    end
    if scope.prefix:find("[:*%%{]") then
        local text = "%s: the prefix of the group, %s, has parameters or escapes: rules need plain text, call app.%s"
        fail(text:format(what, describe(scope.prefix), what:match("%.(.*)")))
    end
    return scope.prefix .. prefix
end

local function check_table(what, value, example)
    if type(value) ~= "table" then
        fail(string.format("%s: a table such as %s expected, got %s", what, example, describe(value)))
    end
end

-- Redirects.

shared.add_scope_function("redirect_from", function(scope, what, pattern, target, status)
    if type(pattern) ~= "string" then
        fail(string.format('%s: a path such as "/old/*rest" expected, got %s', what, describe(pattern)))
    end
    if target ~= nil and type(target) ~= "string" then
        fail(string.format('%s: a target such as "/new/*rest" expected, got %s', what, describe(target)))
    end
    status = status == nil and 301 or status
    if type(status) ~= "number" then
        fail(string.format("%s: a status such as 301 expected, got %s", what, describe(status)))
    end
    core.rule_redirect(scope.host, what, scope.prefix .. pattern, target, status)
end)

-- Addresses.

local function access_function(allows)
    return function(scope, what, prefix, list)
        local whole = shared.scope_prefix(scope, what, prefix)
        if type(list) == "table" and #list > 0 then
            for _, part in ipairs(list) do
                if type(part) ~= "string" then
                    fail(string.format("%s: addresses and networks expected in the list, got %s", what, describe(part)))
                end
            end
            list = table.concat(list, ",")
        elseif type(list) ~= "string" then
            local text = '%s: addresses and networks such as "10.0.0.0/8, ::1" expected, got %s'
            fail(text:format(what, type(list) == "table" and "an empty list" or describe(list)))
        end
        core.rule_access(scope.host, what, whole, allows, list)
    end
end

shared.add_scope_function("allow", access_function(true))
shared.add_scope_function("deny", access_function(false))

-- Fields.

-- The text of a field's value; false drops the field.
local function field_text(what, name, value)
    if type(value) == "number" then
        return core.number_text(value)
    elseif type(value) ~= "string" and value ~= false then
        fail(string.format("%s: %s: text, a number, a list of these or false expected, got %s", what, name, describe(value)))
    end
    return value
end

shared.add_scope_function("headers", function(scope, what, prefix, fields, options)
    local whole = shared.scope_prefix(scope, what, prefix)
    check_table(what, fields, '{ ["x-frame-options"] = "DENY" }')
    if options ~= nil then
        check_table(what, options, "{ replace = true }")
    end
    check_names(what, "option", options or {}, { "replace" })
    local replaces = options and options.replace
    if replaces ~= nil and type(replaces) ~= "boolean" then
        fail(string.format("%s: replace: true or false expected, got %s", what, describe(replaces)))
    end
    local names, list = {}, {}
    for name in pairs(fields) do
        if type(name) ~= "string" then
            fail(string.format('%s: names of fields expected, such as ["x-frame-options"], got %s', what, describe(name)))
        end
        table.insert(names, name)
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local values = fields[name]
        for _, value in ipairs(type(values) == "table" and values or { values }) do
            table.insert(list, name)
            table.insert(list, field_text(what, name, value))
        end
    end
    core.rule_fields(scope.host, what, whole, list, replaces)
end)

-- Caching.

shared.add_scope_function("cache", function(scope, what, prefix, entries)
    local whole = shared.scope_prefix(scope, what, prefix)
    check_table(what, entries, '{ ["*.css"] = "30d", ["text/html"] = "no-cache" }')
    local list = {}
    for pattern, value in pairs(entries) do
        if type(pattern) ~= "string" then
            fail(string.format('%s: names such as ["*.css"] expected, got %s', what, describe(pattern)))
        end
        if value == 0 then
            value = "0"
        elseif type(value) ~= "string" then
            fail(string.format('%s: %s: a text such as "30d" expected, got %s', what, pattern, describe(value)))
        end
        table.insert(list, pattern)
        table.insert(list, value)
    end
    core.rule_cache(scope.host, what, whole, list)
end)

-- Limits.

local function check_count(what, name, value, most)
    if value ~= nil and (type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most) then
        fail(string.format("%s: %s: a whole number from 1 to %d expected, got %s", what, name, most, describe(value)))
    end
end

shared.add_scope_function("limit", function(scope, what, prefix, limit)
    local whole = shared.scope_prefix(scope, what, prefix)
    check_table(what, limit, '{ rate = "10/s" }')
    check_names(what, "option", limit, { "burst", "by", "concurrency", "rate", "rate_limit", "status" })
    for _, name in ipairs { "by", "rate" } do
        if limit[name] ~= nil and type(limit[name]) ~= "string" then
            local example = name == "by" and '"client"' or '"10/s"'
            fail(string.format("%s: %s: a text such as %s expected, got %s", what, name, example, describe(limit[name])))
        end
    end
    check_count(what, "burst", limit.burst, 1000000)
    check_count(what, "concurrency", limit.concurrency, 1000000)
    check_count(what, "status", limit.status, 599)
    local bytes = limit.rate_limit
    if type(bytes) ~= "string" then
        check_count(what, "rate_limit", bytes, 1073741824)
    end
    core.rule_limit(scope.host, what, whole, limit.rate, limit.burst, limit.concurrency, limit.by, limit.status, bytes)
end)

-- Pages of other origins.

-- A text with commas of a text or a list of texts; nil stays nil.
local function joined_list(what, name, value, example)
    if type(value) ~= "table" then
        if value ~= nil and (type(value) ~= "string" or value == "") then
            fail(string.format("%s: %s: a text or a list such as %s expected, got %s", what, name, example, describe(value)))
        end
        return value
    end
    for _, part in ipairs(value) do
        if type(part) ~= "string" then
            fail(string.format("%s: %s: texts expected in the list, got %s", what, name, describe(part)))
        end
    end
    if #value == 0 then
        fail(string.format("%s: %s: a list such as %s expected, got an empty one", what, name, example))
    end
    return table.concat(value, ",")
end

shared.add_scope_function("cors", function(scope, what, prefix, options)
    local whole = shared.scope_prefix(scope, what, prefix)
    if options == false then
        core.rule_cors(scope.host, what, whole, "", nil, nil, nil, false, nil)
        return
    end
    check_table(what, options, '{ origins = "https://app.example" }, or false,')
    check_names(what, "option", options, { "credentials", "expose", "headers", "max_age", "methods", "origins" })
    local origins = joined_list(what, "origins", options.origins, '"https://app.example"')
    if origins == nil then
        fail(what .. ': origins is missing: "https://app.example", a list of such, or "*"')
    end
    local methods = joined_list(what, "methods", options.methods, '{ "GET", "POST" }')
    local headers = joined_list(what, "headers", options.headers, '{ "content-type", "x-key" }')
    local expose = joined_list(what, "expose", options.expose, '{ "x-total" }')
    local credentials, age = options.credentials, options.max_age
    if credentials ~= nil and type(credentials) ~= "boolean" then
        fail(string.format("%s: credentials: true or false expected, got %s", what, describe(credentials)))
    end
    if age ~= nil and type(age) ~= "string" and (type(age) ~= "number" or age % 1 ~= 0 or age < 0 or age > 31536000) then
        fail(string.format('%s: max_age: whole seconds, or a time such as "10m" expected, got %s', what, describe(age)))
    end
    core.rule_cors(scope.host, what, whole, origins, methods, headers, expose, credentials, age)
end)

shared.open_scope(app, shared.root)
