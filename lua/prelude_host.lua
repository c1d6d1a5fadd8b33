-- Hosts: what is served under names of its own. See bind_host.c and prelude.lua.
--
-- A host is a group without a group around it: it has routes, middleware, mounts and rules of its own, and nothing of
-- app's, which is the default host.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local begin, open_host, open_scope = shared.begin, shared.open_host, shared.open_scope
local ipairs, pairs, select, type = ipairs, pairs, select, type
local table = table

-- What to say of a name that is no setting of a host, but one of app.set; nil for others.
local function place_of_setting(name)
    for _, names in ipairs { core.setting_names(), shared.other_settings } do
        for _, other in ipairs(names) do
            if other == name then
                return "applies to the whole server: set it with app.set"
            end
        end
    end
end

local function set(host, settings)
    local what = "host.set"
    begin(what, settings)
    if type(settings) ~= "table" then
        fail(what .. ": a table of settings expected, got " .. describe(settings))
    end
    local names = core.host_setting_names()
    local limits = #names
    table.insert(names, "trailing_slash")
    table.insert(names, "access_log")
    table.insert(names, "access_log_format")
    for _, name in ipairs { "compress", "compress_types", "compress_min", "compress_level" } do
        table.insert(names, name)
    end
    check_names(what, "setting", settings, names, place_of_setting)
    for i = 1, limits do
        if settings[names[i]] ~= nil then
            core.host_set(host, names[i], settings[names[i]])
        end
    end
    if settings.trailing_slash ~= nil then
        core.trailing_slash(host, what, settings.trailing_slash)
    end
    shared.set_compress(host, what, settings)
    for _, name in ipairs { "access_log", "access_log_format" } do
        if settings[name] ~= nil then
            core.host_set_access(host, name, settings[name])
        end
    end
end

-- A certificate for each name that can have one.
local function add_tls(names, options)
    local what = "host.tls"
    begin(what, options)
    if type(options) ~= "table" then
        local text = ': a table such as { cert = "fullchain.pem", key = "privkey.pem" } expected, got '
        fail(what .. text .. describe(options))
    end
    check_names(what, "option", options, { "cert", "key", "client_ca", "client" }, function(name)
        for _, other in ipairs(core.tls_names()) do
            if other == name and name ~= "name" then
                return "applies to all certificates: set it with app.tls"
            end
        end
        return name == "name" and "is not an option here: the certificate is for the names of the host" or nil
    end)
    if #names == 0 then
        fail(what .. ": this host has no name that a certificate can be for, only addresses: use app.tls")
    end
    for _, name in ipairs(names) do
        local copy = { name = name }
        for key, value in pairs(options) do
            copy[key] = value
        end
        core.tls(shared.options_at_base(copy), what)
    end
end

function app.host(...)
    local first = ...
    begin("app.host", first)
    local names = select("#", ...) == 1 and type(first) == "table" and first or { ... }
    if #names == 0 then
        fail('app.host: a name such as "example.org" or "*.example.org" expected')
    end
    for i = 1, select("#", ...) do
        if names ~= first and type(names[i]) ~= "string" then
            fail("app.host: names expected, got " .. describe(names[i]))
        end
    end
    for _, name in ipairs(names) do
        if type(name) ~= "string" then
            fail("app.host: names expected, got " .. describe(name))
        end
    end
    local number, is_dns = core.host(names)
    local made, secured = {}, {}
    for i, name in ipairs(names) do
        if is_dns[i] then
            table.insert(secured, name)
        end
    end
    local group = { prefix = "", middleware = {}, what = "host.", host = number }
    open_host(made, group)
    open_scope(made, group)
    shared.add_host_on(made, group)
    shared.add_session(made, group)

    function made.set(settings)
        set(number, settings)
    end

    function made.tls(options)
        add_tls(secured, options)
    end

    return made
end
