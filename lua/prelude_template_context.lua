-- Where in a page a value of a template stands, found in the text of the template around it. This decides how the value
-- is escaped, or that none may stand there. See prelude_template.lua.
--
-- The scanner follows the tokenizer of HTML (WHATWG 13.2.5) closely enough to know tags, attributes, comments and the
-- elements whose content is text. Fields of a context:
--   path, line of the template, for errors; text, at: what is being read, and where
--   state      "text", "open" ("<"), "name" (of a tag), "tag" (between attributes), "attr" (name), "after" (it),
--              "before" (a value), "value" (in quotes), "bare" (without), "comment", "markup" (<!DOCTYPE>), "raw"
--              (content of tag, which is text: <title>, <script>)
--   tag        name of the tag, or of the element in "raw"; is_end: it is an end tag
--   attr       name of the attribute; kind: of its value, as in kind_of(); quote: what ends it
--   prefix     of a URL, as far as the text shows; part: where in it the next value stands
--   type       of a <script>
--   must_end   a statement stood here, so that a name may not go on
--   tail       the text that stands before the next value or statement, as far as it matters

local _, _, shared = ...
local error, pairs, string, tonumber = error, pairs, string, tonumber
local find, lower, match, sub = string.find, string.lower, string.match, string.sub
local script = shared.template_script

local context = {}

local function fail_at(c, text, ...)
    local line = c.line
    if c.text then
        local _, breaks = sub(c.text, 1, c.at):gsub("\n", "")
        line = line + breaks
    end
    error(string.format("%s:%d: " .. text, c.path, line, ...), 0)
end

context.fail = fail_at

local function set(names)
    local made = {}
    for name in names:gmatch("%S+") do
        made[name] = true
    end
    return made
end

local raw_elements = set "script style title textarea xmp iframe noembed noframes plaintext"
local urls = set [[action archive background cite classid codebase data dynsrc formaction href icon longdesc lowsrc
    manifest ping poster profile src usemap hx-delete hx-get hx-patch hx-post hx-push-url hx-put]]
local animations = set "animate animatemotion animatetransform set" -- which give attributes a value
local animated = set "by from to values"
local entities = { amp = "&", apos = "'", colon = ":", gt = ">", lt = "<", num = "#", quest = "?", quot = '"',
    sol = "/", Tab = "\t", NewLine = "\n", grave = "`", bsol = "\\" }

-- What the value of an attribute is: "plain", "url", "srcset", "script", "css", or "page" (HTML in it).
local function kind_of(c)
    local attr = c.attr
    local name = match(attr, "^xlink:(.*)$") or attr
    if name == "style" or (animations[c.tag] and animated[name]) then
        return "css"
    elseif name == "srcdoc" then
        return "page"
    elseif name == "srcset" or name == "imagesrcset" then
        return "srcset"
    elseif find(name, "^on%a") or find(name, "^[@:]") or find(name, "^[vx]%-") or find(name, "^ng%-")
        or find(name, "^hx%-on") or name == "hx-vals" or name == "hx-headers" or name == "hx-vars" then
        return "script" -- of the page, or code of a framework
    elseif urls[name] or find(name, "url") or find(name, "uri") or find(name, "src") or find(name, "href") then
        return "url"
    end
    return "plain"
end

local legacy = set "amp lt gt quot AMP LT GT QUOT" -- browsers know these without a semicolon, too

-- The value of an attribute as scripts and URLs have it. What is beyond ASCII is "?", since it does not matter which.
local function decode(c, text)
    return (text:gsub("&(#?)(%w+)(;?)", function(hash, name, semicolon)
        local digits = hash == "#" and (match(name, "^[xX]%x+") or match(name, "^%d+"))
        if digits then
            local number = tonumber(digits) or tonumber(sub(digits, 2), 16)
            local rest = digits ~= name and sub(name, #digits + 1) .. semicolon or ""
            return (number < 128 and string.char(number) or "?") .. rest
        elseif hash == "" and semicolon == ";" and entities[name] then
            return entities[name]
        elseif hash == "" and (semicolon == ";" or legacy[name]) then
            c.odd_entity = "&" .. name .. semicolon
        end
    end))
end

-- Part of a URL that is in the template.
local function url_text(c, text)
    if c.kind == "srcset" and find(text, "[,%s]") then
        c.prefix, c.part, text = "", "start", match(text, "[^,%s]*$")
    end
    if c.part == "mixed" then
        c.part = find(text, "[?#]") and "query" or "mixed"
        c.prefix = c.part == "query" and "?" or ""
        return
    end
    local prefix = c.prefix .. text
    local scheme = lower(match(prefix, "^%s*([^:/?#]*):") or ""):gsub("%c", "")
    if scheme == "javascript" or scheme == "data" or scheme == "vbscript" then
        c.part = "code"
    elseif find(prefix, "[?#]") then
        c.part = "query"
    elseif find(prefix, "^%s*[%a][%w+.-]*://[^/]*$") or find(prefix, "^%s*//[^/]*$") then
        c.part = "whole"
    elseif find(prefix, "[/:\\]") then
        c.part = "path"
    elseif find(prefix, "%S") then
        c.part = "segment"
    else
        c.part = "start"
    end
    c.prefix = prefix
end

-- The next part of the value of an attribute.
local function attr_text(c, text)
    c.tail = text ~= "" and text or c.tail
    if c.kind == "url" or c.kind == "srcset" then
        url_text(c, decode(c, text))
    elseif c.kind == "script" then
        script.scan(c, decode(c, text))
    elseif c.tag == "script" and c.attr == "type" then
        c.type = c.type .. lower(text)
    elseif c.tag == "meta" and c.attr == "content" and find(lower(text), "url%s*=") then
        c.kind, c.prefix = "url", "" -- <meta http-equiv=refresh>
        url_text(c, match(text, "[uU][rR][lL]%s*=%s*['\"]?(.*)$"))
    end
end

local function begin_value(c, quote)
    c.state, c.quote, c.kind, c.prefix, c.part, c.tail = quote and "value" or "bare", quote, kind_of(c), "", "start", ""
    c.odd_entity = nil
    if c.kind == "script" then
        script.begin(c)
    elseif c.tag == "script" and c.attr == "type" then
        c.type = ""
    end
end

local function end_tag(c)
    c.must_end, c.attr = nil, nil
    if c.is_end or not raw_elements[c.tag] then
        c.state = "text"
        return
    end
    c.state, c.tail = "raw", ""
    if c.tag == "script" then
        script.begin(c)
    end
end

-- Reading: read[state](c, text, i) reads on from i and returns where to go on.

local read = {}

function read.text(c, text, i)
    local at = find(text, "<", i, true)
    c.state = at and "open" or "text"
    return (at or #text) + 1
end

function read.open(c, text, i)
    local char = sub(text, i, i)
    if sub(text, i, i + 2) == "!--" then
        c.state, c.tail = "comment", "--"
        local _, at = find(text, "^%-?>", i + 3)
        if at then
            c.state = "text"
        end
        return (at or i + 2) + 1
    elseif char == "!" or char == "?" or (char == "/" and find(text, "^[^%a>]", i + 1)) then
        c.state = "markup"
        return i + 1
    elseif find(char, "%a") or find(text, "^/%a", i) then
        c.state, c.is_end, c.tag, c.type = "name", char == "/", "", nil
        return char == "/" and i + 1 or i
    elseif char == "/" and i == #text then
        c.tail = "</"
        return i + 1
    end
    c.state = "text" -- a "<" that is none
    return i
end

function read.comment(c, text, i)
    local _, at = find(text, "%-%-!?>", i)
    c.state = at and "text" or "comment"
    c.tail = sub(text, -3)
    return (at or #text) + 1
end

function read.markup(c, text, i)
    local at = find(text, ">", i, true)
    c.state = at and "text" or "markup"
    return (at or #text) + 1
end

function read.name(c, text, i)
    local name = match(text, "^[^%s/>]*", i)
    c.tag = c.tag .. lower(name)
    i = i + #name
    if i <= #text then
        c.state, c.must_end = "tag", nil
    end
    return i
end

function read.tag(c, text, i)
    if c.must_end and not find(text, "^[%s/>]", i) then
        fail_at(c, "a name continues after a statement: put a space between them")
    end
    c.must_end = nil
    i = find(text, "[^%s/]", i)
    if not i then
        return #text + 1
    elseif sub(text, i, i) == ">" then
        end_tag(c)
        return i + 1
    elseif sub(text, i, i) == "=" then
        fail_at(c, "a \"=\" without the name of an attribute before it")
    end
    c.state, c.attr = "attr", ""
    return i
end

function read.attr(c, text, i)
    local name = match(text, "^[^%s/>=]*", i)
    c.attr = c.attr .. lower(name)
    i = i + #name
    c.state = i <= #text and "after" or "attr"
    return i
end

function read.after(c, text, i)
    i = find(text, "%S", i) or #text + 1
    if i <= #text then
        local is_value = sub(text, i, i) == "="
        c.state = is_value and "before" or "tag"
        return is_value and i + 1 or i
    end
    return i
end

function read.before(c, text, i)
    i = find(text, "%S", i)
    local char = i and sub(text, i, i)
    if not i then
        return #text + 1
    elseif char == '"' or char == "'" then
        begin_value(c, char)
        return i + 1
    elseif char == ">" then
        c.state = "tag"
        return i
    end
    begin_value(c, nil)
    return i
end

function read.value(c, text, i)
    local at = find(text, c.quote, i, true)
    attr_text(c, sub(text, i, (at or #text + 1) - 1))
    c.state = at and "tag" or "value"
    return (at or #text) + 1
end

function read.bare(c, text, i)
    local value = match(text, "^[^%s>]*", i)
    attr_text(c, value)
    i = i + #value
    c.state = i <= #text and "tag" or "bare"
    return i
end

function read.raw(c, text, i)
    local at, from = nil, i
    repeat
        at = find(text, "</", from, true)
        from = at and at + 2
    until not at or (c.tag ~= "plaintext" and lower(sub(text, at + 2, at + 1 + #c.tag)) == c.tag
        and find(text, "^[%s/>]", at + 2 + #c.tag))
    local content = sub(text, i, (at or #text + 1) - 1)
    c.tail = content
    if c.tag == "script" then
        local comment = find(content, "<!--", 1, true)
        if comment then
            c.at = i + comment
            fail_at(c, "\"<!--\" in a <script> changes where it ends: leave it out, or write \"<\\!--\" in a string")
        end
        script.scan(c, content)
    end
    if not at then
        return #text + 1
    end
    c.state, c.is_end = "tag", true
    return at + 2 + #c.tag
end

function context.new(path)
    return { path = path, line = 1, state = "text", tail = "", type = "" }
end

-- Read on: text is the next part of the template.
function context.read(c, text)
    local i = 1
    c.text = text
    while i <= #text do
        c.at = i
        i = read[c.state](c, text, i)
    end
    c.text = nil
end

-- What may be cut in two by a value or a statement behind it.
local function check_split(c)
    local state, tail = c.state, c.tail
    local part = state == "raw" and (match(tail, "</?$") or match(tail, "</%a*$") or match(tail, "<!%-?$"))
        or state == "comment" and match(tail, "[-!]+$") or (state == "open" and "<") or (state == "markup" and "<!")
        or state == "value" and c.kind == "script" and match(tail, "&#?%w*$")
        or (state == "raw" and c.tag == "script" or state == "value" and c.kind == "script") and c.split
        and sub(tail, -1)
    if part then
        fail_at(c, "the text before it ends with \"%s\", which has another meaning together with what follows", part)
    end
end

-- Attributes and names end where a statement stands.
local function settle(c)
    if c.state == "name" or c.state == "attr" or c.state == "after" then
        c.must_end = c.state ~= "after"
        c.state, c.attr = "tag", nil
    end
end

local nowhere = {
    open = "as the name of a tag",
    name = "as the name of a tag",
    attr = "in the name of an attribute",
    after = 'between attributes: write {%% if ... then %%}checked{%% end %%}',
    tag = 'between attributes: write {%% if ... then %%}checked{%% end %%}, or name="{{ }}"',
    before = 'as the value of an attribute without quotes: write %s="{{ }}"',
    bare = 'as the value of an attribute without quotes: write %s="{{ }}"',
    comment = "in an HTML comment: use {# #} for comments of the template",
    markup = "in <! >",
    style = 'in <style>: use a class, or style="--width: {{ }}" in a tag',
    page = "in srcdoc, which is a page of its own: use src",
    code = "in a javascript: or data: URL, which is code: use <script>, and data- attributes for values",
    mixed = "behind branches that end in different parts of a URL: make the URL in a variable first",
}

local script_types = set [[text/javascript application/javascript module application/json application/ld+json
    importmap speculationrules text/ecmascript application/ecmascript]]

local function place_in_script(c)
    local how, why = script.place(c)
    if not how then
        fail_at(c, "a value stands %s", why)
    elseif c.odd_entity then
        fail_at(c, "a value stands in a script behind %s: write the character itself", c.odd_entity)
    end
    script.pass(c, true)
    return how
end

local function place_in_value(c)
    local kind = c.kind
    if c.tag == "script" and c.attr == "type" then
        fail_at(c, "a value stands in the type of a <script>, which decides how others are escaped")
    elseif kind == "plain" then
        return "html"
    elseif kind == "css" then
        return "css"
    elseif kind == "script" then
        return place_in_script(c) .. "_attr"
    elseif kind == "page" or c.part == "code" or c.part == "mixed" then
        fail_at(c, "a value stands " .. nowhere[kind == "page" and "page" or c.part])
    end
    local part = c.part
    c.prefix = c.prefix .. "v"
    url_text(c, "")
    return "url_" .. part .. (kind == "srcset" and "_list" or "")
end

-- How a value is escaped at this place: a name of shared.template_places. Raises where none may stand. is_raw: it is
-- not escaped.
function context.place(c, is_raw)
    local state = c.state
    check_split(c)
    c.tail = ""
    if is_raw and (state == "text" or state == "value" or state == "raw" or state == "comment") then
        return "raw"
    elseif is_raw and (state == "tag" or state == "after") then
        settle(c)
        c.must_end = true
        return "raw"
    elseif state == "text" then
        return "text"
    elseif state == "value" then
        return place_in_value(c)
    elseif state == "raw" and (c.tag == "title" or c.tag == "textarea") then
        return "html"
    elseif state == "raw" and c.tag == "script" then
        if c.type ~= nil and c.type ~= "" and not script_types[match(c.type, "^%s*([^%s;]*)")] then
            fail_at(c, "a value stands in a <script> of the type %s, which is not JavaScript or JSON", c.type)
        end
        return place_in_script(c)
    elseif state == "raw" and c.tag ~= "style" then
        fail_at(c, "a value stands in <%s>, whose content cannot be escaped", c.tag)
    end
    fail_at(c, "a value stands " .. nowhere[state == "raw" and "style" or state], c.attr)
end

-- A statement stands here, which may leave out what follows, or repeat it.
function context.statement(c)
    check_split(c)
    if c.state == "before" or c.state == "bare" then
        fail_at(c, "a statement stands in the value of an attribute without quotes: put quotes round the value")
    end
    settle(c)
    c.tail = ""
    if c.state == "raw" and c.tag == "script" or c.state == "value" and c.kind == "script" then
        script.pass(c, false)
    end
end

function context.copy(c)
    local made = {}
    for name, value in pairs(c) do
        made[name] = value
    end
    return made
end

-- Go back to where a block began.
function context.restore(c, saved)
    local line = c.line
    for name in pairs(c) do
        c[name] = nil
    end
    for name, value in pairs(saved) do
        c[name] = value
    end
    c.line = line
end

local function is_script(c)
    return c.state == "raw" and c.tag == "script" or c.state == "value" and c.kind == "script"
end

local function key(c)
    local made = c.state
    if made == "raw" or made == "tag" or made == "value" then
        made = made .. " " .. c.tag .. (c.is_end and "/" or "") .. " " .. (c.tag == "script" and c.type or "")
    end
    if made ~= "text" and c.state == "value" then
        made = made .. " " .. c.attr .. c.quote .. c.kind
    end
    return is_script(c) and made .. script.key(c) or made
end

-- Whether two places are the same, except for what merge() settles.
function context.is_same(a, b)
    return key(a) == key(b)
end

-- c was reached in two ways, the other is saved: what differs is unknown from here on.
function context.merge(c, saved)
    if c.state == "value" and c.part ~= saved.part then
        c.part, c.prefix = (c.part == "code" or saved.part == "code") and "code" or "mixed", "javascript:"
    elseif c.state == "value" and c.prefix ~= saved.prefix and c.part == "segment" then
        c.prefix = "v"
    end
    c.must_end = c.must_end or saved.must_end
    c.unsure, c.odd_entity = c.unsure or saved.unsure, c.odd_entity or saved.odd_entity
end

local names = {
    text = "between tags", tag = "in a tag", comment = "in a comment", markup = "in <! >", open = "behind \"<\"",
}

-- Where it is, for errors.
function context.describe(c)
    if c.state == "raw" then
        return "in <" .. c.tag .. ">" .. (c.tag == "script" and c.mode ~= "code" and " (in a string or comment)" or "")
    elseif c.state == "value" or c.state == "bare" or c.state == "before" then
        return "in the attribute " .. (c.attr or "")
    end
    return names[c.state] or names.tag
end

shared.template_context = context
