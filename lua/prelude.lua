-- The part of the Lua API that is simpler in Lua than in C. It runs once in every new state, before the script: first
-- this file, then the others in the order of CMakeLists.txt. Each file gets three tables: the C functions, the module
-- "evserve", and what these files share. With core.ref they register the values that C needs.
--
-- core.fail(text) raises an error with the script's file and line in front. Functions that register something do not
-- end in a tail call, so that the script's line can be found.

local core, app, shared = ...
local fail = core.fail

-- Locals, because the script may replace the globals.
local getmetatable, ipairs, pairs, setmetatable = getmetatable, ipairs, pairs, setmetatable
local tostring, type = tostring, type
local math, string = math, string

app.version = core.version
app.log = core.log
app.now = core.now
app.after = core.after
app.every = core.every
app.stats = core.stats
app.stopping = core.stopping

-- Error texts.

local function describe(value)
    if type(value) == "string" then
        return core.quote(value)
    end
    if type(value) == "number" then
        return core.number_text(value)
    end
    return type(value) == "boolean" and tostring(value) or type(value)
end

-- How many letters must be inserted, deleted or replaced to turn a into b.
local function distance(a, b)
    local row = {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        local diagonal = row[0]
        row[0] = i
        for j = 1, #b do
            local cost = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
            diagonal = row[j]
            row[j] = math.min(cost, row[j] + 1, row[j - 1] + 1)
        end
    end
    return row[#b]
end

-- Fail because name is not one of names.
local function fail_unknown(what, kind, name, names)
    local hint = ""
    if type(name) == "string" then
        local best = math.max(2, math.floor(#name / 3))
        for _, candidate in ipairs(names) do
            local d = distance(name, candidate)
            if d <= best then
                best = d - 1
                hint = string.format(" (did you mean %s?)", core.quote(candidate))
            end
        end
    end
    if hint == "" and type(name) == "string" and (kind == "option" or kind == "function") and #names <= 20 then -- few enough to name them all
        hint = (#names == 1 and ": there is only " or ": there are ") .. table.concat(names, ", ")
    end
    fail(string.format("%s: unknown %s %s%s", what, kind, describe(name), hint))
end

-- Check that all keys of a table are among names. If several are not, report the first in alphabetical order; place_of,
-- if given, says where such a name belongs, or nil.
local function check_names(what, kind, given, names, place_of)
    local known, unknown = {}, nil
    for _, name in ipairs(names) do
        known[name] = true
    end
    for name in pairs(given) do
        if not known[name] and (unknown == nil or tostring(name) < tostring(unknown)) then
            unknown = name
        end
    end
    local place = unknown ~= nil and place_of and place_of(unknown)
    if place then
        fail(string.format("%s: %s %s", what, describe(unknown), place))
    elseif unknown ~= nil then
        fail_unknown(what, kind, unknown, names)
    end
end

local function check_function(what, fn)
    if type(fn) ~= "function" then
        fail(string.format("%s: a function expected, got %s", what, describe(fn)))
    end
end

shared.describe, shared.fail_unknown = describe, fail_unknown
shared.check_names, shared.check_function = check_names, check_function

-- JSON. A table is an array if it has items or this metatable; otherwise it is an object.

local array_meta = {}

app.json = {
    encode = core.json_encode,
    decode = core.json_decode,
    null = core.null,
    array = function(list)
        if list ~= nil and type(list) ~= "table" then
            fail("app.json.array: a table expected, got " .. describe(list))
        end
        return setmetatable(list or {}, array_meta)
    end,
    is_array = function(value)
        return type(value) == "table" and (getmetatable(value) == array_meta or #value > 0)
    end,
    object = function(fields)
        if type(fields) ~= "table" then
            fail("app.json.object: a table expected, got " .. describe(fields))
        end
        local object = {}
        for name, value in pairs(fields) do
            object[type(name) == "number" and core.number_text(name) or name] = value
        end
        return object
    end,
}

core.ref("array_meta", array_meta)

-- HTML.

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function app.escape_html(text)
    if type(text) == "number" then
        return core.number_text(text)
    elseif type(text) ~= "string" then
        fail("app.escape_html: a string expected, got " .. describe(text))
    end
    return (text:gsub("[&<>\"']", escapes))
end

package.loaded.evserve = app
