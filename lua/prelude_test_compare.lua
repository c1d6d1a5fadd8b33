-- Files of tests: how values are compared and shown, and the differences between them. See rehearsal.c.

local core, app, shared = ...
local fail = core.fail
local getmetatable, ipairs, pairs, setmetatable = getmetatable, ipairs, pairs, setmetatable
local tostring, type = tostring, type
local error, math, rawequal, string, table = error, math, rawequal, string, table

local DEPTH_MAX = 20 -- of tables that are shown
local LINES_MAX = 60 -- of a difference
local CELLS_MAX = 1000000 -- of the table that finds the shortest one
local SHORT = 72 -- bytes of a value that is shown within a sentence

-- Values as text.

local function show_key(key)
    if type(key) == "string" and key:find "^[%a_][%w_]*$" then
        return key
    end
    return "[" .. shared.show_short(key) .. "]"
end

local function order(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
        return a < b
    end
    if type(a) ~= type(b) then
        return type(a) < type(b)
    end
    return tostring(a) < tostring(b)
end

local function put_lines(lines, prefix, value, suffix, indent, seen)
    if type(value) ~= "table" or seen[value] or #indent > 2 * DEPTH_MAX then
        local text = type(value) == "table" and (seen[value] and "(the table that it is in)" or "{ ... }")
        lines[#lines + 1] = indent .. prefix .. (text or shared.show_short(value)) .. suffix
        return
    end
    local keys = {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    if #keys == 0 then
        lines[#lines + 1] = indent .. prefix .. "{}" .. suffix
        return
    end
    table.sort(keys, order)
    seen[value] = true
    lines[#lines + 1] = indent .. prefix .. "{"
    for i, key in ipairs(keys) do
        put_lines(lines, key == i and "" or show_key(key) .. " = ", value[key], ",", indent .. "  ", seen)
    end
    lines[#lines + 1] = indent .. "}" .. suffix
    seen[value] = nil
end

-- A value that is no table in one line.
function shared.show_short(value)
    if type(value) == "string" then
        return core.quote(value)
    elseif type(value) == "number" then
        return core.number_text(value)
    elseif rawequal(value, app.json.null) then
        return "app.json.null"
    end
    return tostring(value)
end

-- The lines of a value: those of a text as they are, those of a table with its names in order.
local function lines_of(value)
    local lines = {}
    if type(value) == "string" then
        for line, ending in (value .. "\n"):gmatch "([^\n]*)(\n)" do
            lines[#lines + 1] = core.quote(line):sub(2, -2)
        end
        if lines[#lines] == "" and #lines > 1 then
            lines[#lines] = nil -- what follows the last line end
        else
            lines[#lines] = lines[#lines] .. " (no line end)"
        end
    else
        put_lines(lines, "", value, "", "", {})
    end
    return lines
end

-- The value in one line if it is short, else nil.
local function sentence_of(value)
    local text
    if type(value) == "table" then
        local lines = lines_of(value)
        for i = 2, #lines do
            lines[i] = lines[i]:gsub("^ +", "")
        end
        text = table.concat(lines, " "):gsub(", }", " }")
    else
        text = shared.show_short(value)
    end
    return #text <= SHORT and text or nil
end

shared.sentence_of = sentence_of

-- Whether two values are the same: tables by what they hold.
local function is_same(a, b, seen)
    if rawequal(a, b) or a == b then
        return true
    end
    if type(a) ~= "table" or type(b) ~= "table" then
        return a ~= a and b ~= b
    end
    if seen[a] == b then
        return true
    end
    seen[a] = b
    for key, value in pairs(a) do
        if not is_same(value, b[key], seen) then
            return false
        end
    end
    for key in pairs(b) do
        if a[key] == nil then
            return false
        end
    end
    return true
end

function shared.is_same(a, b)
    return is_same(a, b, {})
end

-- Lines of a difference: " " both have it, "-" only want has it, "+" only got has it.
local function align(want, got)
    local lengths, changes = {}, {}
    for i = #want + 1, 1, -1 do
        lengths[i] = {}
        for j = #got + 1, 1, -1 do
            if i > #want or j > #got then
                lengths[i][j] = 0
            elseif want[i] == got[j] then
                lengths[i][j] = lengths[i + 1][j + 1] + 1
            else
                lengths[i][j] = math.max(lengths[i + 1][j], lengths[i][j + 1])
            end
        end
    end
    local i, j = 1, 1
    while i <= #want or j <= #got do
        if i <= #want and j <= #got and want[i] == got[j] then
            changes[#changes + 1] = "  " .. want[i]
            i, j = i + 1, j + 1
        elseif i <= #want and (j > #got or lengths[i + 1][j] >= lengths[i][j + 1]) then
            changes[#changes + 1] = "- " .. want[i]
            i = i + 1
        else
            changes[#changes + 1] = "+ " .. got[j]
            j = j + 1
        end
    end
    return changes
end

-- What is far from every change says nothing.
local function cut_context(changes)
    local near, kept, skipped = {}, {}, false
    for i, line in ipairs(changes) do
        for k = line:sub(1, 1) ~= " " and i - 2 or i + 1, line:sub(1, 1) ~= " " and i + 2 or i do
            near[k] = true
        end
    end
    for i, line in ipairs(changes) do
        if #kept > LINES_MAX then
            kept[#kept + 1] = string.format("  ... (%d lines more)", #changes - i + 1)
            break
        elseif near[i] then
            kept[#kept + 1] = line
        elseif not skipped then
            kept[#kept + 1] = "  ..."
        end
        skipped = not near[i]
    end
    return kept
end

function shared.difference(got, want)
    local a, b = sentence_of(want), sentence_of(got)
    if a == b and type(want) ~= type(got) then -- as "1" and a table that looks like it
        return string.format("expected %s (%s), got %s (%s)", a, type(want), b, type(got))
    end
    if a and b and not (type(want) == "table" and type(got) == "table") then
        return string.format("expected %s, got %s", a, b)
    end
    local left, right = lines_of(want), lines_of(got)
    if #left * #right > CELLS_MAX then
        return string.format("expected a value of %d lines, got one of %d lines: %s", #left, #right,
            right[1] or "")
    end
    return "expected (-) and got (+) differ:\n" .. table.concat(cut_context(align(left, right)), "\n")
end

-- Failures: errors with a text, raised by assertions.

local failure_meta = { __tostring = function(failure) return failure.text end }

function shared.is_failure(err)
    return getmetatable(err) == failure_meta
end

function shared.fail_case(what, text)
    if what ~= nil and type(what) ~= "string" then
        fail "the last argument of an assertion is a text that says what it is about"
    end
    local whole = core.place() .. ": " .. (what and what .. ": " or "") .. text
    error(setmetatable({ text = whole }, failure_meta), 0)
end
