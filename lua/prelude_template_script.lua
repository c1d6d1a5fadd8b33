-- Where in a script a value of a template stands: in an expression, in a string, or where none may. See
-- prelude_template_context.lua, which finds the scripts.
--
-- The scanner knows of JavaScript what begins and ends: strings, comments, regular expressions, and the expressions in
-- template literals. Fields of a context that are its own:
--   mode   "code", "line" or "block" (comments), "regex", or the quote that ends a string
--   stack  of each template literal around the place, the braces that were open, then a comma
--   depth  braces that are open in the innermost expression of a template literal
--   prev   the last word or character of code; it decides whether "/" divides
--   unsure the text around a "/" that may have begun a regular expression, or not, and it matters which

local _, _, shared = ...
local string, tonumber = string, tonumber
local find, match, sub = string.find, string.match, string.sub

local before_regex = {} -- words behind which "/" begins a regular expression
for word in ("await case delete do else in instanceof new of return throw typeof void yield"):gmatch("%a+") do
    before_regex[word] = true
end

local scan = {} -- by mode: scan[mode](c, text, i) reads on from i, returns where to go on

-- Where a regular expression that begins at i ends, or nil if it does not end on this line.
local function regex_end(text, i)
    local in_class = false
    i = i + 1
    while true do
        local at, _, c = find(text, "([/\\%[%]\r\n])", i)
        if not at or c == "\r" or c == "\n" then
            return nil
        elseif c == "\\" then
            at = at + 1
        elseif c == "/" and not in_class then
            return at
        elseif c ~= "/" then
            in_class = c == "["
        end
        i = at + 1
    end
end

local function slash(c, text, i)
    local prev, stop = c.prev, regex_end(text, i)
    if prev == ")" or prev == "}" or prev == "++" or prev == "--" then -- both are possible
        if stop and find(sub(text, i + 1, stop + 1), "[\"'`{}]") or find(text, "^[^\r\n]*/[/*]", i + 1) then
            c.unsure = match(sub(text, i > 12 and i - 12 or 1, i + 12), "[^\r\n]*/[^\r\n]*")
        end
    elseif not (find(prev, "[%w_$%]\"'`\128-\255]$") and not before_regex[prev]) then
        if not stop then
            c.mode = "regex"
            return i + 1
        end
        c.prev = "x"
        return stop + 1
    end
    c.prev = "/"
    return i + 1
end

function scan.code(c, text, i)
    i = find(text, "%S", i)
    if not i then
        return #text + 1
    end
    local word, two, char = match(text, "^[%w_$\128-\255]+", i), sub(text, i, i + 1), sub(text, i, i)
    if word then
        c.prev = c.prev == "." and "x" or word
        return i + #word
    elseif two == "//" or two == "/*" then
        c.mode = two == "//" and "line" or "block"
        return i + 2
    elseif char == "/" then
        return slash(c, text, i)
    elseif two == "++" or two == "--" then
        c.prev = two
        return i + 2
    elseif char == '"' or char == "'" or char == "`" then
        c.mode = char
    elseif c.stack ~= "" and char == "{" then
        c.depth = c.depth + 1
    elseif c.stack ~= "" and char == "}" and c.depth > 0 then
        c.depth = c.depth - 1
    elseif c.stack ~= "" and char == "}" then
        local rest, depth = match(c.stack, "^(.-)(%d+),$")
        c.stack, c.depth, c.mode = rest, tonumber(depth), "`"
    end
    c.prev = char
    return i + 1
end

function scan.line(c, text, i)
    local at = find(text, "[\r\n]", i)
    c.mode = at and "code" or "line"
    return (at or #text) + 1
end

function scan.block(c, text, i)
    local _, at = find(text, "*/", i, true)
    c.mode = at and "code" or "block"
    return (at or #text) + 1
end

-- One that does not end on its line: a mistake, or a value cuts it in two.
function scan.regex(c, text, i)
    local at = find(text, "[\r\n]", i)
    c.mode = at and "code" or "regex"
    return (at or #text) + 1
end

-- A string; a line break in it is a mistake, too.
local function scan_string(c, text, i)
    local quote = c.mode
    local at, _, char = find(text, quote == "`" and "([\\`$])" or "([\\\r\n" .. quote .. "])", i)
    if char == "\\" then
        return at + 2
    elseif char == "$" and sub(text, at + 1, at + 1) == "{" then
        c.stack, c.depth, c.mode, c.prev = c.stack .. c.depth .. ",", 0, "code", "{"
        return at + 2
    elseif char and char ~= "$" then
        c.mode, c.prev = "code", quote
    end
    return (at or #text) + 1
end

scan['"'], scan["'"], scan["`"] = scan_string, scan_string, scan_string

local script = {}

function script.begin(c)
    c.mode, c.stack, c.depth, c.prev, c.unsure, c.split = "code", "", 0, "", nil, nil
end

-- Read on: text is the next part of the script.
function script.scan(c, text)
    local i = 1
    while i <= #text do
        i = scan[c.mode](c, text, i)
    end
    local mode, tail = c.mode, sub(text, -1)
    c.split = tail == "\\" and i > #text + 1 or tail == "$" and mode == "`" or tail == "*" and mode == "block"
        or tail == "/" and mode == "code" and c.prev == "/" -- the end of the text belongs to what follows
end

-- How a value is written at this place: "json" or "string"; or nil and why none may stand here.
function script.place(c)
    if c.unsure then
        return nil, ("in a script in which \"/\" may divide or begin a regular expression: %s: put the value "
            .. "into a <script> of its own, before this one"):format(c.unsure)
    elseif c.mode == "line" or c.mode == "block" then
        return nil, "in a comment of a script: use {# #} for comments of the template"
    elseif c.mode == "regex" then
        return nil, "in a regular expression: put the value into a variable, and make the expression from it"
    end
    return c.mode == "code" and "json" or "string"
end

-- A value was written here; or a statement stands here, which may leave text out.
function script.pass(c, is_value)
    if c.mode == "code" then
        c.prev = is_value and "x" or ")"
    end
end

function script.key(c)
    return c.mode .. " " .. c.stack .. c.depth
end

shared.template_script = script
