-- Functions that a script may call only while it starts: settings, mounts, routes, middleware, events. See prelude.lua.

local core, app, shared = ...
local fail = core.fail
local describe, fail_unknown = shared.describe, shared.fail_unknown
local check_names, check_function = shared.check_names, shared.check_function
local ipairs, pairs, pcall, select, tostring, type = ipairs, pairs, pcall, select, tostring, type
local package, string, table = package, string, table

-- Note where something was registered; fail if it was registered before.
local function check_new(places, key, what)
    if places[key] then
        fail(string.format("%s (at %s)", what, places[key]))
    end
    places[key] = core.place()
end

local owners = { [app] = true } -- app and its groups

-- Each function below begins with this. first is its first argument: app:get(...) passes app itself.
local function begin(what, first)
    core.check_loading(what)
    if owners[first] then
        fail(what .. ": call it with a dot, not with a colon")
    end
end

shared.begin = begin

local listens = {} -- by address: where they were registered

local function listen(what, address)
    local bare = type(address) == "string" and address:match("^[^?]*") -- without its options
    if bare and not bare:find(":0$") then -- port 0 is a different port each time
        check_new(listens, bare, what .. ": already listening on " .. describe(bare))
    end
    core.listen(address, what)
end

function app.listen(address)
    begin("app.listen", address)
    listen("app.listen", address)
end

function app.redirect_https(address, options)
    local what = "app.redirect_https"
    begin(what, address)
    if type(address) ~= "string" then
        fail(what .. ': an address such as ":80" expected, got ' .. describe(address))
    end
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    check_names(what, "option", options or {}, { "port" })
    local port = options and options.port
    if port ~= nil and (type(port) ~= "number" or port % 1 ~= 0 or port < 1 or port > 65535) then
        fail(what .. ": port: a number from 1 to 65535 expected, got " .. describe(port))
    end
    local joint = address:find("?", 1, true) and "&" or "?"
    listen(what, address .. joint .. "redirect_https" .. (port and string.format("=%d", port) or ""))
end

-- Options of the program hold for the whole process, so no script sets them.
local program_options = {
    allow_connect = true, allow_read = true, allow_write = true, log = true, log_format = true, log_level = true,
    pid_file = true, reactors = true, reload_timeout = true, sandbox = true, supervise = true, tls_dev = true,
    user = true, watch = true,
}

-- Where a name belongs that is no setting; or nil.
local function place_of_setting(name)
    if program_options[name] then
        return "is not a setting of scripts: start evserve with --" .. name:gsub("_", "-")
    elseif name == "root" then
        return 'is not a setting: call app.static("/", directory)'
    elseif name == "error_log" then
        return "is not a setting of scripts: start evserve with --log"
    elseif name == "metrics_hosts" then
        return 'is not a setting: call app.metrics("/metrics", { hosts = { "example.org" } })'
    elseif name == "keepalive_timeout" then
        return "is not a setting: idle_timeout is how long a connection waits for its next request"
    elseif name == "tls_cert" or name == "tls_key" then
        return "is not a setting: call app.tls { cert = ..., key = ... }"
    elseif type(name) == "string" and type(app[name]) == "function" then
        return "is not a setting: call app." .. name
    end
end

local function set_unknown_host(value)
    if value ~= "default" and value ~= 404 and value ~= 421 then
        fail('app.set: unknown_host: "default", 404 or 421 expected, got ' .. describe(value))
    end
    core.unknown_host(value == "default" and 0 or value)
end

-- Settings that are in no table of C.
local other_settings = {
    "base", "trailing_slash", "unknown_host", "hsts", "access_log", "access_log_format", "trusted_proxies", "forwarded",
    "strip_forwarded", "deny_connect", "broker", "compress", "compress_types", "compress_min", "compress_level",
}

shared.other_settings = other_settings

-- A list of texts as one text, which is what C reads.
local function joined(name, value, what)
    for i, part in ipairs(type(value) == "table" and value or {}) do
        if type(part) ~= "string" then
            fail(string.format("%s: %s: item %d of the list: a text expected, got %s", what or "app.set", name, i, describe(part)))
        end
    end
    return type(value) == "table" and #value > 0 and table.concat(value, ",") or value
end

-- compress and what belongs to it, of the default host (nil) or another one.
function shared.set_compress(host, what, settings)
    local given = settings.compress
    for _, name in ipairs { "compress_types", "compress_min", "compress_level" } do
        if settings[name] ~= nil and not given then
            fail(what .. ": " .. name .. ' has no effect without compress, such as compress = "gzip", in the same table')
        end
    end
    if given == nil then
        return
    elseif type(given) == "boolean" then
        given = given and "on" or "off"
    end
    given = joined("compress", given, what)
    if type(given) ~= "string" then
        fail(what .. ': compress: true, false or a list such as "br, zstd, gzip" expected, got ' .. describe(given))
    end
    local types = joined("compress_types", settings.compress_types, what)
    if types ~= nil and type(types) ~= "string" then
        fail(what .. ': compress_types: a list such as "text/*, application/json" expected, got ' .. describe(types))
    end
    core.compress(host, what, given, types, settings.compress_min, settings.compress_level)
end

function app.set(settings)
    begin("app.set", settings)
    if type(settings) ~= "table" then
        fail("app.set: a table of settings expected, got " .. describe(settings))
    end
    local names = core.setting_names()
    for _, name in ipairs(other_settings) do
        table.insert(names, name)
    end
    check_names("app.set", "setting", settings, names, place_of_setting)
    for _, name in ipairs(names) do
        if settings[name] ~= nil and name == "trailing_slash" then
            core.trailing_slash(nil, "app.set", settings[name])
        elseif settings[name] ~= nil and name == "unknown_host" then
            set_unknown_host(settings[name])
        elseif settings[name] ~= nil and name == "base" then
            shared.set_base(settings[name])
        elseif settings[name] ~= nil and name == "hsts" then
            core.hsts(settings[name])
        elseif settings[name] ~= nil and name == "trusted_proxies" then
            core.set_trusted_proxies(joined(name, settings[name]))
        elseif settings[name] ~= nil and (name == "forwarded" or name == "strip_forwarded") then
            core["set_" .. name](settings[name])
        elseif settings[name] ~= nil and name == "deny_connect" then
            core.set_deny_connect(joined(name, settings[name]))
        elseif settings[name] ~= nil and name == "broker" then
            core.set_broker(settings[name])
        elseif settings[name] ~= nil and name:find("^access_log") then
            core.set_access_log(name, settings[name])
        elseif settings[name] ~= nil and not name:find("^compress") then
            core.set(name, settings[name])
        end
    end
    shared.set_compress(nil, "app.set", settings)
    core.check_settings()
end

function app.tls(options)
    begin("app.tls", options)
    if type(options) ~= "table" then
        local text = 'app.tls: a table such as { cert = "fullchain.pem", key = "privkey.pem" } expected, got '
        fail(text .. describe(options))
    end
    check_names("app.tls", "option", options, core.tls_names())
    core.tls(shared.options_at_base(options), "app.tls")
end

local acme_places = {}

function app.acme(directory)
    begin("app.acme", directory)
    check_new(acme_places, "acme", "app.acme: there is a directory already")
    core.acme(shared.at_base(directory))
end

local route_options = core.route_names() -- names of a route's options
table.insert(route_options, 1, "name")

-- Part the options of a route of app.websocket or app.events into its own, and those that any route may have.
-- place_of is as that of check_names.
function shared.part_options(what, options, own_names, place_of)
    local own, rest, names = {}, {}, {}
    for _, name in ipairs(own_names) do
        own[name] = options[name]
        table.insert(names, name)
    end
    for _, name in ipairs(route_options) do
        table.insert(names, name)
    end
    check_names(what, "option", options, names, place_of)
    for name, value in pairs(options) do
        if own[name] == nil then
            rest[name] = value
        end
    end
    return own, rest
end

-- A limit that a route cannot have of its own gets a better error text than "unknown".
local function check_route_options(what, options)
    for _, name in ipairs(core.setting_names()) do
        local is_known = false
        for _, option in ipairs(route_options) do
            is_known = is_known or option == name
        end
        if options[name] ~= nil and not is_known then
            fail(string.format("%s: %s applies to the whole server: set it with app.set", what, name))
        end
    end
    check_names(what, "option", options, route_options)
end

-- Groups. A group has a prefix, its own middleware, and the group it was created in; app itself is the outermost.

local root = { prefix = "", middleware = {}, what = "app." }
local groups = {} -- all of them, with those of hosts
shared.root, shared.groups = root, groups
local named = {} -- by name: the route's pattern and place

local function check_name(what, name)
    if name == nil then
        return
    end
    if type(name) ~= "string" or not name:find("^[%w_.:-]+$") then
        fail(string.format("%s: name: letters, digits and _ . : - expected, got %s", what, describe(name)))
    end
    if named[name] then
        fail(string.format("%s: the name %s is taken by the route at %s", what, describe(name), named[name].place))
    end
end

local compiles -- store:incr for compiled code is loaded

local function add_route(group, method, methods, path, options, fn, websocket)
    local what = group.what .. method
    begin(what, path)
    if fn == nil then
        options, fn = nil, options
    end
    if options ~= nil and type(options) ~= "table" then
        fail(string.format("%s: a table of options expected before the function, not %s", what, describe(options)))
    end
    options = options or {}
    check_route_options(what, options)
    check_name(what, options.name)
    check_function(what, fn)
    if group ~= root and type(path) == "string" then
        if path ~= "" and path:sub(1, 1) ~= "/" then
            local text = '%s: the path %s must begin with "/", or be empty for that of the group'
            fail(string.format(text, what, describe(path)))
        end
        path = group.prefix .. path
    end
    local route = { fn = fn, group = group, websocket = websocket, csrf = options.csrf }
    core.route(what, methods, path, options, route, group.host)
    if options.jit and not compiles and core.can_compile() then
        compiles = true
        core.store_compile(core, app, shared)
    end
    if options.name then
        named[options.name] = { pattern = path, place = core.place() }
    end
end

-- Add to target the functions that register in group.
local function open_group(target, group)
    table.insert(groups, group)
    for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
        local name = method:lower()
        target[name] = function(path, options, fn)
            add_route(group, name, { method }, path, options, fn)
        end
    end

    function target.any(path, options, fn)
        add_route(group, "any", { "*" }, path, options, fn)
    end

    function target.route(methods, path, options, fn)
        begin(group.what .. "route", methods)
        if type(methods) == "string" then
            methods = { methods }
        elseif type(methods) ~= "table" then
            fail(group.what .. "route: a method or a list of methods expected, got " .. describe(methods))
        end
        add_route(group, "route", methods, path, options, fn)
    end

    function target.websocket(path, options, fn)
        local what = group.what .. "websocket"
        begin(what, path)
        local own, handler, websocket = shared.websocket_route(what, options, fn)
        add_route(group, "websocket", { "GET" }, path, own, handler, websocket)
    end

    -- With a function in place of the path it is a response, see prelude_events.lua.
    function target.events(path, options)
        if type(path) ~= "string" or type(options) ~= "table" then
            return shared.events_response(path, options)
        end
        local what = group.what .. "events"
        begin(what, path)
        local rest, fn = shared.events_route(what, options)
        add_route(group, "events", { "GET" }, path, rest, fn)
    end

    function target.use(fn)
        begin(group.what .. "use", fn)
        check_function(group.what .. "use", fn)
        if group.on_middleware then -- prelude_proxy.lua
            group.on_middleware(group.what .. "use")
        end
        group.place = group.place or core.place()
        table.insert(group.middleware, fn)
    end

    function target.group(prefix)
        local what = group.what .. "group"
        begin(what, prefix)
        if type(prefix) ~= "string" or (prefix ~= "" and (prefix:sub(1, 1) ~= "/" or prefix:sub(-1) == "/")) then
            fail(string.format('%s: a prefix such as "/api", or "", expected, got %s', what, describe(prefix)))
        end
        local inner = { prefix = group.prefix .. prefix, middleware = {}, what = "group.", outer = group }
        inner.host = group.host
        local made = {}
        owners[made] = true
        open_group(made, inner)
        shared.open_scope(made, inner) -- prelude_rules.lua
        return made
    end
end

-- Health.

local no_store = { ["Cache-Control"] = "no-store" }

-- What a check returned: nothing, or anything but nil and false, is well. Otherwise the reason. ok is that of pcall.
local function check_result(ok, ...)
    local first, why = ...
    if ok and (first or select("#", ...) == 0) then
        return nil
    end
    return tostring((ok and why or not ok and first) or "failed")
end

local function add_health(group, path, check)
    local what = group.what .. "health"
    begin(what, path)
    if check ~= nil then
        check_function(what, check)
    end
    local plain = { prefix = "", middleware = {}, what = group.what, host = group.host } -- balancers do not log in
    local last -- what the check said
    add_route(plain, "health", { "GET" }, path, {}, function()
        if core.is_unwell() then
            return 503, "stopping\n", no_store
        end
        local why = check and check_result(pcall(check))
        if why ~= last then -- each time it changes, since balancers ask every few seconds
            last = why
            core.log(why and "warn" or "info", why and path .. " says 503: " .. why or path .. " says 200 again")
        end
        if core.is_unwell() then -- while the check waited
            return 503, "stopping\n", no_store
        end
        return why and 503 or 200, (why or "ok") .. "\n", no_store
    end)
end

-- Metrics.

local function add_metrics(group, path, options)
    local what = group.what .. "metrics"
    begin(what, path)
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ': a table of options such as { hosts = { "example.org" } } expected, got ' .. describe(options))
    end
    check_names(what, "option", options or {}, { "hosts" })
    core.metrics(what, path, options and options.hosts, group.host)
end

-- Files.

local function add_static(group, mounts, prefix, directory, options)
    local what = group.what .. "static"
    begin(what, prefix)
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    check_names(what, "option", options or {}, core.static_names())
    if type(prefix) == "string" then
        check_new(mounts, prefix:gsub("/$", ""), what .. ": the prefix " .. describe(prefix) .. " is already mounted")
    end
    core.static(prefix, shared.at_base(directory), options, group.host, what)
end

-- Add to target all functions that register what a host serves: app is the default one. See prelude_host.lua.
function shared.open_host(target, group)
    local mounts = {} -- by prefix: where they were registered
    owners[target] = true
    group.on = {} -- what prelude_middleware.lua has for it, by event
    open_group(target, group)

    function target.health(path, check)
        add_health(group, path, check)
    end

    function target.metrics(path, options)
        add_metrics(group, path, options)
    end

    function target.static(prefix, directory, options)
        add_static(group, mounts, prefix, directory, options)
    end
end

shared.open_host(app, root)

function app.counter(name, help, labels)
    begin("app.counter", name)
    return core.metric("app.counter", "counter", name, help, labels)
end

function app.gauge(name, help, labels)
    begin("app.gauge", name)
    return core.metric("app.gauge", "gauge", name, help, labels)
end

function app.histogram(name, help, labels, buckets)
    begin("app.histogram", name)
    return core.metric("app.histogram", "histogram", name, help, labels, buckets)
end

-- Stores.

local stores = {} -- by name
shared.stores = stores

local open_in_redis -- loaded by the first store in Redis

function app.store(name, options)
    begin("app.store", name)
    local store
    if type(options) == "table" and options.redis ~= nil then
        open_in_redis = open_in_redis or core.redis_load(core, app, shared)
        store = open_in_redis(name, options)
    else
        store = core.store("app.store", name, options)
    end
    stores[name] = store
    return store
end

-- Addresses.

-- The text of a parameter or of a part of the query.
local function url_text(what, value)
    if type(value) == "number" then
        return core.number_text(value)
    elseif type(value) == "string" then
        return value
    end
    fail(string.format("%s: text or a number expected, got %s", what, describe(value)))
end

-- Names and values as a query: "a=1&b=2&b=3".
function shared.query_text(what, query)
    local keys, parts = {}, {}
    for key in pairs(query) do
        if type(key) ~= "string" then
            fail(string.format("%s: names in the query must be text, not %s", what, describe(key)))
        end
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
        local values = query[key]
        for _, value in ipairs(type(values) == "table" and values or { values }) do
            local text = type(value) == "boolean" and tostring(value) or url_text(what .. ": " .. key, value)
            parts[#parts + 1] = core.url_encode(key) .. "=" .. core.url_encode(text)
        end
    end
    return table.concat(parts, "&")
end

function app.url(name, params, query)
    local route = named[name]
    if route == nil then
        local names = {}
        for known in pairs(named) do
            names[#names + 1] = known
        end
        table.sort(names)
        fail_unknown("app.url", "route", name, names)
    end
    if (params ~= nil and type(params) ~= "table") or (query ~= nil and type(query) ~= "table") then
        fail(string.format("app.url: %s: a table of parameters, and optionally one for the query, expected", name))
    end
    local texts = {}
    check_names("app.url: " .. name, "parameter", params or {}, core.url_params(route.pattern))
    for param, value in pairs(params or {}) do
        texts[param] = url_text("app.url: " .. name .. ": " .. param, value)
    end
    local rest = shared.query_text("app.url: " .. name, query or {})
    return core.url_path(name, route.pattern, texts) .. (rest == "" and "" or "?" .. rest)
end

function app.test()
    fail "app.test is for files of tests: evserve --test site_test.lua site.lua"
end

-- What drivers for nginx use; scripts that do not require it pay nothing.
package.preload.ngx = function()
    return core.load_ngx(core, app, shared)
end
