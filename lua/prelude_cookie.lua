-- Set-Cookie lines (RFC 6265 section 4.1.1), and names of downloads (RFC 6266). See prelude.lua.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local ipairs, type = ipairs, type
local string, table = string, table

local COOKIE_MAX = 4096 -- bytes of name and value that every browser accepts (RFC 6265 section 6.1)
local NAME_MAX = 255 -- bytes of a download's name that file systems accept

-- Cookies.

local attributes = { "domain", "expires", "http_only", "max_age", "path", "same_site", "secure" }
local same_sites = { strict = "Strict", lax = "Lax", none = "None" }

-- Fail because of an attribute.
local function refuse(what, name, expected, value)
    fail(string.format("%s: %s: %s expected, got %s", what, name, expected, describe(value)))
end

local function check_flag(what, name, value)
    if value ~= nil and type(value) ~= "boolean" then
        refuse(what, name, "true or false", value)
    end
    return value
end

local function check_cookie(what, name, value)
    if type(name) ~= "string" or name:find("[^%w!#$%%&'*+%-.^_`|~]") or name == "" then
        fail(string.format("%s: the name must be a token, without spaces and separators, not %s", what, describe(name)))
    end
    if type(value) == "number" then
        value = core.number_text(value)
    elseif type(value) ~= "string" then
        refuse(what, name, "a string or a number", value)
    end
    local at = value:find("[^%]\33\35-\43\45-\58\60-\91\94-\126]")
    if at then
        fail(string.format("%s: %s: the byte 0x%02x is not allowed in a cookie: percent-encode the value or use base64",
            what, name, value:byte(at)))
    end
    if #name + #value > COOKIE_MAX then
        fail(string.format("%s: %s: name and value together are longer than %d bytes", what, name, COOKIE_MAX))
    end
    return value
end

-- Browsers derive a promise from the name alone, and reject a cookie that breaks it.
local function check_prefix(what, name, given)
    local prefix = name:lower():match("^__host%-") or name:lower():match("^__secure%-")
    if prefix and not given.secure then
        fail(string.format("%s: %s: browsers accept a cookie with this name only with secure = true", what, name))
    end
    if prefix == "__host-" and (given.domain ~= nil or (given.path or "/") ~= "/") then
        fail(string.format('%s: %s: browsers accept a cookie with this name only without domain, and with path = "/"',
            what, name))
    end
end

-- The value of a Set-Cookie field.
local function make_cookie(what, name, value, given)
    if given ~= nil and type(given) ~= "table" then
        fail(string.format("%s: a table of attributes expected, got %s", what, describe(given)))
    end
    given = given or {}
    check_names(what, "attribute", given, attributes)
    value = check_cookie(what, name, value)
    check_prefix(what, name, given)
    local path, domain, same_site = given.path or "/", given.domain, given.same_site
    if type(path) ~= "string" or not path:find("^/") or path:find("[;%c\127-\255]") then
        refuse(what, "path", 'a path that begins with "/", without semicolons', path)
    end
    local parts = { name .. "=" .. value, "Path=" .. path }
    if domain ~= nil then
        if type(domain) ~= "string" or not domain:find("^%.?%w[%w.-]*$") then
            refuse(what, "domain", "a host name", domain)
        end
        parts[#parts + 1] = "Domain=" .. domain
    end
    if given.max_age ~= nil then
        parts[#parts + 1] = string.format("Max-Age=%d", core.seconds(what .. ": max_age", given.max_age))
    end
    if given.expires ~= nil then
        parts[#parts + 1] = "Expires=" .. core.date(what .. ": expires", given.expires)
    end
    if check_flag(what, "secure", given.secure) then
        parts[#parts + 1] = "Secure"
    end
    if check_flag(what, "http_only", given.http_only) then
        parts[#parts + 1] = "HttpOnly"
    end
    if same_site ~= nil then
        local spelled = type(same_site) == "string" and same_sites[same_site:lower()]
        if not spelled then
            refuse(what, "same_site", '"strict", "lax" or "none"', same_site)
        end
        if spelled == "None" and not given.secure then
            fail(what .. ': same_site = "none": browsers accept such a cookie only with secure = true')
        end
        parts[#parts + 1] = "SameSite=" .. spelled
    end
    return table.concat(parts, "; ")
end

function app.cookie(name, value, given)
    return make_cookie("app.cookie", name, value, given)
end

-- A method of response objects: add a Set-Cookie line.
function shared.set_cookie(response, name, value, given)
    if not shared.is_response(response) then
        fail("res:set_cookie: call it as a method, with a colon")
    end
    local headers = response.headers
    if headers == nil then
        fail('app.pass cannot hold a cookie: return app.pass, { ["set-cookie"] = app.cookie(...) }')
    end
    if response.for_all and shared.is_frozen then
        fail("res:set_cookie: this response was made at start-up, so all requests share it: create it in the handler")
    end
    local made, lines = {}, headers["set-cookie"] -- a new list, since other responses may share the old one
    for _, line in ipairs(type(lines) == "table" and lines or { lines }) do
        made[#made + 1] = line
    end
    made[#made + 1] = make_cookie("res:set_cookie", name, value, given)
    headers["set-cookie"] = made
    return response
end

-- Names of downloads.

-- Whether a text is valid UTF-8 (RFC 3629), as filename* promises.
local function is_utf8(text)
    local function tail(byte, least, most)
        return byte ~= nil and byte >= (least or 0x80) and byte <= (most or 0xbf)
    end
    local at = 1
    while at <= #text do
        local a, b, c, d = text:byte(at, at + 3)
        if a < 0x80 then
            at = at + 1
        elseif a >= 0xc2 and a <= 0xdf and tail(b) then
            at = at + 2
        elseif a >= 0xe0 and a <= 0xef and tail(b, a == 0xe0 and 0xa0, a == 0xed and 0x9f) and tail(c) then
            at = at + 3
        elseif a >= 0xf0 and a <= 0xf4 and tail(b, a == 0xf0 and 0x90, a == 0xf4 and 0x8f) and tail(c) and tail(d) then
            at = at + 4
        else
            return false
        end
    end
    return true
end

-- The Content-Disposition that makes a browser save a response under a name (RFC 6266). Characters that some browsers
-- read differently in a quoted string become "_" there, and filename* has the exact name (RFC 8187).
function shared.disposition(what, name)
    if type(name) ~= "string" or name == "" then
        refuse(what, "download", "a name, or true for the file's own", name)
    end
    if name:find("%c") then
        fail(what .. ": download: the name contains a control character")
    end
    if #name > NAME_MAX then
        fail(string.format("%s: download: the name is longer than %d bytes", what, NAME_MAX))
    end
    name = name:gsub("[/\\]", "_") -- a name, not a path
    local plain = name:gsub('["%%\128-\255]', "_")
    local value = 'attachment; filename="' .. plain .. '"'
    if plain ~= name and is_utf8(name) then
        value = value .. "; filename*=UTF-8''" .. name:gsub("[^%w!#$&+.^_`|~-]", function(byte)
            return string.format("%%%02X", byte:byte())
        end)
    end
    return value
end

-- The same for a file under its own name. The path may come from a client: if it does not end in a name, the header has
-- none; whether the file exists shows when it is opened.
function shared.file_disposition(what, path)
    local name = path:match("^.*/(.*)$") or path
    if name == "" or name:find("%c") or #name > NAME_MAX then
        return "attachment"
    end
    return shared.disposition(what, name)
end
