-- Where relative paths begin: in the directory in which the server was started or, with app.set { base = "script" }, in
-- the script's folder. All functions that take paths ask here. See prelude.lua.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local pairs, type = pairs, type
local string = string

local base     -- the script's folder; nil: paths stay as they are
local is_given -- base was set, perhaps to what it is anyway
local used_at  -- where the first path stands

-- The path from the directory in which the server was started. What is no relative path stays as it is, PEM text too.
local function at_base(path)
    if type(path) ~= "string" or path == "" or path:sub(1, 1) == "/" or path:find("-----BEGIN ", 1, true) then
        return path
    end
    used_at = used_at or core.place()
    if not base then
        return path
    end
    return path == "." and base or base .. "/" .. path
end

shared.at_base = at_base

local function has_path(options)
    return options.ca ~= nil or options.cert ~= nil or options.client_cert ~= nil
end

-- Options; a copy of those with certificates.
function shared.options_at_base(options)
    if type(options) ~= "table" or not has_path(options) then
        return options
    end
    local copy = {}
    for name, value in pairs(options) do
        copy[name] = value
    end
    for _, name in pairs { "ca", "cert", "key", "client_ca" } do
        copy[name] = at_base(copy[name])
    end
    if type(copy.client_cert) == "table" then
        local pair = {}
        for name, value in pairs(copy.client_cert) do
            pair[name] = at_base(value)
        end
        copy.client_cert = pair
    end
    return copy
end

function shared.set_base(value)
    core.check_loading("app.set")
    if value ~= "script" and value ~= "start" then
        fail('app.set: base: "script" or "start" expected, got ' .. describe(value))
    elseif is_given and is_given ~= value then
        fail(string.format("app.set: base: it is %s already", describe(is_given)))
    elseif used_at then
        fail("app.set: base: it must come before the first path, which is at " .. used_at)
    end
    local folder = core.script_folder()
    if value == "script" and not folder then
        fail('app.set: base = "script": the script comes from a pipe, so it has no folder')
    end
    is_given = value
    base = value == "script" and folder ~= "." and folder or nil
end
