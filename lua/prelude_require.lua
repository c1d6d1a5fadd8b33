-- Modules: where require looks, and what happens if a module fails. See prelude.lua.

local core, _, shared = ...
local fail, describe, load_text = core.fail, shared.describe, shared.load_text
local allow_globals, can_read = core.allow_globals, core.can_read
local error, ipairs, table, type, try = error, ipairs, table, type, xpcall -- tracebacks are cut at the name xpcall
local loaded, package, string = package.loaded, package, string
local require_module = require

-- Like package.searchpath, but relative templates start in the folder the server was started in, even after a chdir.
local function search_path(name, templates)
    local stem = name:gsub("%.", "/")
    local tried = {}
    for template in templates:gmatch("[^;]+") do
        local path = template:gsub("%?", function() return stem end)
        if can_read(path) then
            return path
        end
        tried[#tried + 1] = "\n\tno file '" .. path .. "'"
    end
    return nil, table.concat(tried)
end

local function load_module(name, path)
    core.note_file(path, "module")
    local chunk, err = load_text(path)
    if not chunk then -- it does not compile: the file and line, and where it was required
        fail(string.format("error loading module '%s' from file '%s':\n\t%s", name, path, err))
    end
    return chunk
end

-- The script's own folder comes first. Its name may contain characters that are special in package.path.
package.loaders[2] = function(name)
    local stem = core.folder .. "/" .. name:gsub("%.", "/")
    local tried = {}
    for _, path in ipairs { stem .. ".lua", stem .. "/init.lua" } do
        if can_read(path) then
            return load_module(name, path)
        end
        tried[#tried + 1] = "\n\tno file '" .. path .. "'"
    end
    local path, err = search_path(name, package.path)
    if path then
        return load_module(name, path)
    end
    return table.concat(tried) .. err
end

-- LuaJIT marks a module that is being loaded. The mark stays if its code fails or is stopped, and later attempts would
-- fail with "loop or previous error". So the mark is removed as soon as the module is no longer being loaded. A run
-- cannot wait while it loads a module, so all pending modules belong to one run: the current one, or one that was
-- stopped.

local mark
package.preload["evserve.mark"] = function(name)
    mark = loaded[name]
end
require_module("evserve.mark")
package.preload["evserve.mark"], loaded["evserve.mark"] = nil, nil

local pending = {} -- names of the modules that are being loaded, outermost first

local function is_pending(name)
    for _, other in ipairs(pending) do
        if other == name then
            return true
        end
    end
    return false
end

local function forget_stopped()
    for i = #pending, 1, -1 do
        loaded[pending[i]] = nil
        pending[i] = nil
    end
end

-- The place is known only while the stack still exists.
local function add_place(err)
    if type(err) == "string" and err ~= "not enough memory" and not err:find("^[^:]*:%d+:") then
        return core.place() .. ": " .. err
    end
    return err
end

-- If a file exists but cannot be read, that is the reason why its module is not found. A driver for nginx needs a global
-- that the script may have forgotten.
local function explain(err, name)
    local head, tried = nil, nil
    if type(err) == "string" then
        if err:find("attempt to index global 'ngx' (a nil value)", -43, true) then
            local way = shared.why_no_ngx or 'write ngx = require "ngx" (without local) before require "%s"'
            return err .. ": a driver for nginx: " .. way:format(name)
        end
        head, tried = err:match("^([^\n]*module '[^\n]*' not found):\n(.*)$")
    end
    for path in (tried or ""):gmatch("no file '([^\n]*)'") do
        local why = core.why_unreadable(path)
        if why then
            return string.format("%s: %s exists but cannot be read: %s", head, path, why)
        end
    end
    return err
end

function require(name)
    if type(name) ~= "string" then
        fail("require: the name of a module expected, got " .. describe(name))
    end
    local module = loaded[name]
    if module and not is_pending(name) then
        return module
    end
    -- A module that is first required in a handler may create globals while it loads, as at start-up.
    local is_inner = allow_globals(true)
    if not is_inner then
        forget_stopped()
    elseif module == mark then
        fail(string.format("module '%s' requires itself: %s > %s", name, table.concat(pending, " > "), name))
    end
    pending[#pending + 1] = name
    local ok, result = try(require_module, add_place, name)
    pending[#pending] = nil
    allow_globals(is_inner)
    if not ok then
        loaded[name] = nil
        error(explain(result, name), 0)
    end
    return result
end
