-- ngx.re: regular expressions of Perl's kind. See prelude_ngx.lua and regex.h.
--
-- regex() counts places from 0, and gives the end behind the last byte.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ngx, lazy = shared.ngx, shared.ngx_lazy
local ipairs, math, rawset, string, table, tonumber, tostring, type = ipairs, math, rawset, string, table, tonumber, tostring, type
local regex = core.regex

local bits = { a = 1, D = 2, i = 4, m = 8, s = 16, u = 32, U = 64, x = 128, j = 256, J = 512, o = 0 } -- as in regex.h
local known = { [""] = 0 } -- options that were seen: their bits
local known_count, KNOWN_MAX = 1, 1000

local function options_of(what, options)
    if options == nil then
        return 0
    end
    local set = known[options]
    if set then
        return set
    end
    if type(options) ~= "string" then
        fail(string.format("%s: options such as \"jo\" expected, got %s", what, describe(options)))
    end
    set = 0
    for letter in options:gmatch(".") do
        if not bits[letter] then
            local why = letter == "d" and "the option d is not there: patterns match as Perl's do" or
                string.format('unknown option "%s"', letter)
            fail(string.format("%s: %s (there are a D i j J m o s u U x)", what, why))
        end
        if bits[letter] > 0 and set % (2 * bits[letter]) < bits[letter] then -- not set yet
            set = set + bits[letter]
        end
    end
    if known_count < KNOWN_MAX then
        known[options], known_count = set, known_count + 1
    end
    return set
end

local function check_text(what, subject, pattern)
    if type(subject) ~= "string" then
        subject = type(subject) == "number" and tostring(subject) or
            fail(string.format("%s: the first argument is the text to look at, got %s", what, describe(subject)))
    end
    if type(pattern) ~= "string" then
        pattern = type(pattern) == "number" and tostring(pattern) or
            fail(string.format("%s: the second argument is a regular expression, got %s", what, describe(pattern)))
    end
    return subject, pattern
end

-- Where a context says that a match is to begin.
local function offset_of(what, context)
    if context == nil then
        return 0
    elseif type(context) ~= "table" then
        fail(string.format("%s: a context table expected, got %s", what, describe(context)))
    end
    local place = tonumber(context.pos) or 1
    return place < 1 and 0 or place - 1
end

local re = {}

function re.match(subject, pattern, options, context, result)
    subject, pattern = check_text("ngx.re.match", subject, pattern)
    result = result or {}
    local set = options_of("ngx.re.match", options)
    local from, err, to = regex(subject, pattern, set, offset_of("ngx.re.match", context), false, 0, result)
    if from == nil then
        return nil, err
    end
    if context then
        context.pos = to + 1
    end
    return result
end

function re.find(subject, pattern, options, context, group)
    subject, pattern = check_text("ngx.re.find", subject, pattern)
    local set = options_of("ngx.re.find", options)
    local from, to, last = regex(subject, pattern, set, offset_of("ngx.re.find", context), false, group or 0)
    if from == nil and to then
        return nil, nil, to
    elseif from == nil then
        return nil
    end
    if context then
        context.pos = last + 1
    end
    if from == false then
        return nil, nil
    end
    return from + 1, to
end

-- The offset behind a match; behind an empty one, that of the next character.
local function next_offset(subject, from, to, set)
    if to > from then
        return to
    end
    to = to + 1
    if set % 128 >= 32 then -- UTF-8
        while (subject:byte(to + 1) or 0) >= 128 and subject:byte(to + 1) < 192 do
            to = to + 1
        end
    end
    return to
end

function re.gmatch(subject, pattern, options)
    subject, pattern = check_text("ngx.re.gmatch", subject, pattern)
    local set = options_of("ngx.re.gmatch", options)
    local offset = 0
    local _, problem = regex("", pattern, set, 1) -- a bad pattern is said here
    if problem then
        return nil, problem
    end
    return function()
        if not offset or offset > #subject then
            return nil
        end
        local result = {}
        local from, to = regex(subject, pattern, set, offset, offset > 0, 0, result)
        if from == nil then
            offset = nil
            return nil, to
        end
        offset = next_offset(subject, from, to, set)
        return result
    end
end

-- A template is a list of texts and numbers of groups: "a$1b${2}$$".
local function parse_template(what, template)
    local parts, at = {}, 1
    while at <= #template do
        local dollar = template:find("$", at, true)
        parts[#parts + 1] = template:sub(at, (dollar or #template + 1) - 1)
        if not dollar then
            break
        end
        local number, behind = template:match("^(%d+)()", dollar + 1)
        if not number then
            number, behind = template:match("^{(%d+)}()", dollar + 1)
        end
        if number then
            parts[#parts + 1] = tonumber(number)
            at = behind
        elseif template:sub(dollar + 1, dollar + 1) == "$" then
            parts[#parts + 1] = "$"
            at = dollar + 2
        else
            fail(string.format('%s: the template %s: "$" must be followed by the number of a group, or by "$"', what,
                describe(template)))
        end
    end
    return parts
end

local function fill_template(parts, groups)
    local texts = {}
    for i, part in ipairs(parts) do
        texts[i] = type(part) == "string" and part or groups[part] or ""
    end
    return table.concat(texts)
end

-- What a match is replaced by.
local function replacement(what, replace, groups)
    if type(replace) ~= "function" then
        return fill_template(replace, groups)
    end
    local text = replace(groups)
    if type(text) ~= "string" and type(text) ~= "number" then
        fail(string.format("%s: the function must return a string or a number, got %s", what, describe(text)))
    end
    return text
end

-- Replace up to most matches. Returns the text, how many there were, and an error text.
local function substitute(what, most, subject, pattern, replace, options)
    subject, pattern = check_text(what, subject, pattern)
    local set = options_of(what, options)
    if type(replace) == "string" or type(replace) == "number" then
        replace = parse_template(what, tostring(replace))
    elseif type(replace) ~= "function" then
        fail(string.format("%s: text or a function expected to replace matches, got %s", what, describe(replace)))
    end
    local parts, count, offset, copied = {}, 0, 0, 0
    while count < most and offset <= #subject do
        local groups = {}
        local from, to = regex(subject, pattern, set, offset, offset > 0, 0, groups)
        if from == nil then
            if to then
                return nil, nil, to
            end
            break
        end
        count = count + 1
        parts[#parts + 1] = subject:sub(copied + 1, from)
        parts[#parts + 1] = replacement(what, replace, groups)
        copied = to
        offset = next_offset(subject, from, to, set)
    end
    if count == 0 then
        return subject, 0
    end
    parts[#parts + 1] = subject:sub(copied + 1)
    return table.concat(parts), count
end

function re.sub(subject, pattern, replace, options)
    local text, count, err = substitute("ngx.re.sub", 1, subject, pattern, replace, options)
    if text then
        return text, count
    end
    return nil, nil, err
end

function re.gsub(subject, pattern, replace, options)
    local text, count, err = substitute("ngx.re.gsub", math.huge, subject, pattern, replace, options)
    if text then
        return text, count
    end
    return nil, nil, err
end

-- nginx has options for all patterns, such as how much stack machine code gets; here their bounds are fixed.
function re.opt()
end

-- PCRE2 is loaded when a script first mentions ngx.re, as drivers do while they load: later, a sandbox does not allow
-- it.
function lazy.re()
    core.load_regex() -- if that fails, a match says so
    rawset(ngx, "re", re)
    return re
end
