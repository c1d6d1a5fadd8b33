-- Templates: app.template(path). A template is read and compiled once, with all that it includes, when the script
-- starts. This file is loaded by the first of them. See prelude.lua.
--
-- The code of a template is a function that writes with put(text). It looks names up in a table of its own: first what
-- it has set itself, then the values it was given, then the template that names it, and last a few functions.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local escape_html, escape_json, escape_string = core.escape_html, core.escape_json, core.escape_string
local json_encode, number_text = core.json_encode, core.number_text
local error, ipairs, load, pairs, setfenv, setmetatable = error, ipairs, load, pairs, setfenv, setmetatable
local tostring, type, unpack = tostring, type, unpack
local string, table = string, table
local getmetatable = debug.getmetatable
local find, match = string.find, string.match

local BYTES_MAX = 256 * 1024 -- of a template
local DEPTH_MAX = 16 -- templates in each other
local FILES_MAX = 1000 -- of a script
local PIECE = 16 * 1024 -- bytes of a streamed page that are written at a time

-- Values.

local html_meta = {} -- of what is HTML already: text, or a function render(put)

local function collect(fn)
    local pieces, n = {}, 0
    fn(function(text)
        n = n + 1
        pieces[n] = text
    end)
    return table.concat(pieces)
end

function html_meta.__tostring(value)
    return value.text or collect(value.render)
end

local function refuse(value, source)
    if value == nil or value == core.null then
        fail(string.format("%s is nil: write {{ %s or \"\" }} if it may be absent", source, source))
    end
    fail(string.format("%s is a %s: a text or a number expected", source, type(value)))
end

local function to_text(value, source)
    local kind = type(value)
    if kind == "string" then
        return value
    elseif kind == "number" then
        return number_text(value)
    elseif kind == "boolean" then
        return tostring(value)
    elseif kind == "cdata" then -- a 64-bit integer
        return match(tostring(value), "^(%-?%d+)U?LL$") or refuse(value, source)
    end
    local meta = getmetatable(value)
    if meta == html_meta and value.render then
        fail(source .. " is a part of a page: it can stand only between tags")
    elseif kind ~= "nil" and type(meta) == "table" and meta.__tostring then
        return tostring(value)
    end
    refuse(value, source)
end

local function to_json(value, source)
    if value == nil then
        fail(string.format("%s is nil: write {{ %s or null }} if it may be absent", source, source))
    end
    return escape_json(json_encode(getmetatable(value) == html_meta and to_text(value, source) or value))
end

-- How values are written, by the names that prelude_template_context.lua gives to places.

local writers, places = {}, {}

function writers.text(put, value, source)
    if getmetatable(value) ~= html_meta then
        put(escape_html(to_text(value, source)))
    elseif value.render then
        value.render(put)
    else
        put(value.text)
    end
end

function writers.html(put, value, source)
    put(escape_html(to_text(value, source)))
end

function writers.raw(put, value, source)
    put(to_text(value, source))
end

-- Numbers, words and colours; a declaration with anything else has no effect.
function writers.css(put, value, source)
    local text = to_text(value, source)
    put(find(text, "^[%w#.%%+, -]*$") and not find(text, "--", 1, true) and text or "unsafe")
end

function writers.json(put, value, source)
    put(to_json(value, source))
end

function writers.json_attr(put, value, source)
    put(escape_html(to_json(value, source)))
end

function writers.string(put, value, source)
    put(escape_string(to_text(value, source)))
end

function writers.string_attr(put, value, source)
    put(escape_html(escape_string(to_text(value, source))))
end

for part, escape in pairs { start = core.escape_url, whole = core.escape_url, path = core.escape_path,
    segment = core.escape_segment, query = core.escape_query } do
    local function to_url(value, source)
        local text = to_text(value, source)
        return (part ~= "start" or core.is_safe_url(text)) and escape(text) or "#"
    end
    writers["url_" .. part] = function(put, value, source)
        put(escape_html(to_url(value, source)))
    end
    writers["url_" .. part .. "_list"] = function(put, value, source) -- of srcset, where commas separate
        put(escape_html((to_url(value, source):gsub(",", "%%2C"))))
    end
end

for name in pairs(writers) do
    places[#places + 1] = name
end
table.sort(places)

local writer_list = {}
for i, name in ipairs(places) do
    writer_list[i] = writers[name]
end

-- What templates find beside their values.

local globals = { error = error, assert = assert, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall,
    select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, math = math,
    string = string, table = table, null = core.null, url = app.url, json = json_encode,
    os = { clock = os.clock, date = os.date, difftime = os.difftime, time = os.time }, flush = function() end }

function globals.html(text)
    return setmetatable({ text = to_text(text, "the argument of html") }, html_meta)
end

-- Loading.

local templates, count = {}, 0 -- by path

local load_template

local function load_files(template, files, chain)
    for _, file in ipairs(files) do
        local place = string.format("%s:%d: %s", template.path, file.line, file.what)
        if file.name == "" or find(file.name, "%z") then
            error(place .. ": the name of a file expected", 0)
        end
        local folder = file.name:sub(1, 1) == "/" and "" or match(template.path, "^(.*/)") or ""
        local other = load_template(folder .. file.name, chain, place)
        template.files[file.name] = other
        template.height = other.height >= template.height and other.height + 1 or template.height
        if #chain + other.height > DEPTH_MAX then
            error(string.format("%s: more than %d templates in each other", place, DEPTH_MAX), 0)
        end
    end
end

local function read_template(path, place)
    core.note_file(path, "code")
    local text, err = core.read_file(path)
    if not text then
        error(place .. ": " .. err, 0)
    elseif #text > BYTES_MAX then
        error(string.format("%s:1: the template has more than %d bytes", path, BYTES_MAX), 0)
    end
    return (text:gsub("^\239\187\191", ""))
end

-- The compiled template. chain are the paths of those that led to it, place is who names it.
function load_template(path, chain, place)
    for i, other in ipairs(chain) do
        if other == path then
            error(string.format("%s: %s > %s: a template cannot contain itself", place,
                table.concat(chain, " > ", i), path), 0)
        end
    end
    if templates[path] then
        return templates[path]
    elseif count == FILES_MAX then
        error(string.format("%s: more than %d templates", place, FILES_MAX), 0)
    elseif #chain == DEPTH_MAX then
        error(string.format("%s: more than %d templates in each other", place, DEPTH_MAX), 0)
    end
    count = count + 1
    local template = { path = path, files = {}, height = 1 }
    local code, files = shared.template_code(path, read_template(path, place), places)
    local chunk, err = load(code, "@" .. path)
    if not chunk then
        error(err, 0)
    end
    chain[#chain + 1] = path
    load_files(template, files, chain)
    chain[#chain] = nil
    template.make = chunk(unpack(writer_list))
    templates[path] = template
    return template
end

-- Running.

local function check_values(what, values)
    if values ~= nil and type(values) ~= "table" then
        fail(string.format("%s: a table of values expected, got %s", what, describe(values)))
    end
    return values or {}
end

-- Write a template with put. given are its values, outer is where names are looked up that it lacks; content is what a
-- layout surrounds.
local function run(template, given, outer, put, content)
    local env = setmetatable({ content = content }, {
        __index = function(_, name)
            local value = given[name]
            if value == nil then
                return outer[name]
            end
            return value
        end,
    })
    local function include(name, values)
        values = check_values("include: " .. name, values)
        local other = template.files[name]
        return setmetatable({
            render = function(put_part)
                run(other, values, env, put_part)
            end,
        }, html_meta)
    end
    local function layout(name, values, body)
        values = check_values("layout: " .. name, values)
        run(template.files[name], values, env, put, setmetatable({ render = body }, html_meta))
    end
    setfenv(template.make, env) -- functions take it over from the one that makes them
    template.make()(put, include, layout)
end

local function run_stream(template, values, out)
    local pieces, n, size = {}, 0, 0
    local function flush()
        local text = table.concat(pieces, "", 1, n)
        n, size = 0, 0
        if not out:write(text) then
            error(shared.closed, 0)
        end
    end
    run(template, values, setmetatable({ flush = flush }, { __index = globals }), function(text)
        n, size = n + 1, size + #text
        pieces[n] = text
        if size >= PIECE then
            flush()
        end
    end)
    flush()
end

-- Pages.

local compiled = setmetatable({}, { __mode = "k" }) -- templates by the objects that scripts have
local page = {}
local page_meta = { __index = page }

local function template_of(object, what)
    return compiled[object] or fail(what .. ": call it as a method, with a colon")
end

local function render(template, values)
    return collect(function(put)
        run(template, values, globals, put)
    end)
end

local function html_response(body)
    return shared.response(200, body, { ["content-type"] = "text/html; charset=utf-8" })
end

function page.render(object, values)
    local template = template_of(object, "page:render")
    local text = render(template, check_values(template.path, values))
    return text
end

function page.stream(object, values)
    local template = template_of(object, "page:stream")
    values = check_values(template.path, values)
    return html_response(function(out)
        run_stream(template, values, out)
    end)
end

function page_meta.__call(object, values)
    local template = template_of(object, "page")
    local text = render(template, check_values(template.path, values))
    return html_response(text)
end

function shared.open_template(path)
    local object = setmetatable({}, page_meta)
    compiled[object] = load_template(path, {}, core.place() .. ": app.template")
    return object
end
