-- Response objects, and the functions that create them. See prelude.lua.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local error, getmetatable, pairs, rawget, rawset = error, getmetatable, pairs, rawget, rawset
local setmetatable, string, tostring, type = setmetatable, string, tostring, type

-- Header tables: names are case-insensitive. Keys are stored in lower case.

local headers_meta = {}

function headers_meta.__index(headers, name)
    return type(name) == "string" and rawget(headers, name:lower()) or nil
end

function headers_meta.__newindex(headers, name, value)
    rawset(headers, type(name) == "string" and name:lower() or name, value)
end

-- Response objects.

local response_meta = { __index = { set_cookie = shared.set_cookie } }
local pass = setmetatable({ pass = true }, response_meta)

function shared.is_response(value)
    return getmetatable(value) == response_meta
end

app.pass = pass

-- Copy fields, replacing those that exist.
local function merge_headers(headers, more)
    if more ~= nil and type(more) ~= "table" then
        fail("headers must be a table, not " .. describe(more))
    end
    for name, value in pairs(more or {}) do
        headers[name] = value
    end
    return headers
end

local function response(status, body, headers)
    return setmetatable({
        status = status,
        headers = merge_headers(setmetatable({}, headers_meta), headers),
        body = body,
        for_all = not shared.is_frozen or nil, -- created while the script starts
    }, response_meta)
end

local function copy(other)
    local made = response(other.status, other.body, other.headers)
    made.pass, made.file, made.root, made.dotfiles = other.pass, other.file, other.root, other.dotfiles
    made.websocket = other.websocket
    made.events = other.events
    made.error = other.error
    made.compress = other.compress
    return made
end

shared.response = response

-- The response object for what a handler returned. If it returned only an object, that object is used.
local function to_response(a, b, c)
    local status, body, headers
    if type(a) == "number" then
        status, body, headers = a, b, c
    else
        body, headers = a, b
    end
    if getmetatable(body) ~= response_meta then
        return response(status or (body == nil and 204 or 200), body, headers)
    end
    if body ~= pass and status == nil and headers == nil then
        return body
    end
    local made = copy(body)
    made.status = status or made.status
    merge_headers(made.headers, headers)
    return made
end

-- The same for middleware, which may change the object: so it is never one that the script may return again.
local function own_response(a, b, c)
    local made = to_response(a, b, c)
    return made == a and copy(made) or made
end

-- A 101, after which fn runs as the function of a WebSocket. A middleware that gives it another status refuses it.
function shared.websocket_response(fn)
    local made = response(101)
    made.websocket = fn
    return made
end

local file_options = { "cache", "dotfiles", "download", "root", "type" }

-- The file is looked up when the response is sent; then the status is 200, 206, 304 or 404.
function app.file(path, options)
    if type(path) ~= "string" then
        fail("app.file: a path expected, got " .. describe(path))
    end
    if options ~= nil and type(options) ~= "table" then
        fail("app.file: a table of options expected, got " .. describe(options))
    end
    options = options or {}
    check_names("app.file", "option", options, file_options)
    local root, download = options.root, options.download
    if root == nil and path:sub(1, 1) == "/" then
        fail(string.format("app.file: %s is not below a root: use root = %s and the path from there", describe(path),
            describe(path:match("^(/[^/]*)/") or "/")))
    elseif root ~= nil and type(root) ~= "string" then
        fail("app.file: root: a directory expected, got " .. describe(root))
    elseif options.dotfiles ~= nil and type(options.dotfiles) ~= "boolean" then
        fail("app.file: dotfiles: true or false expected, got " .. describe(options.dotfiles))
    elseif options.type ~= nil and type(options.type) ~= "string" then
        fail("app.file: type: a media type expected, got " .. describe(options.type))
    end
    local made = response()
    made.file, made.root, made.dotfiles = path, shared.at_base(root or "."), options.dotfiles
    core.check_root(made.root)
    made.headers["content-type"] = options.type
    if options.cache ~= nil then
        made.headers["cache-control"] = string.format("max-age=%d", core.seconds("app.file: cache", options.cache))
    end
    if download == true then
        made.headers["content-disposition"] = shared.file_disposition("app.file", path)
    elseif download then
        made.headers["content-disposition"] = shared.disposition("app.file", download)
    end
    return made
end

function app.html(text)
    if type(text) ~= "string" then
        fail("app.html: a string expected, got " .. describe(text))
    end
    return response(200, text, { ["content-type"] = "text/html; charset=utf-8" })
end

-- The compiler of templates is loaded by the first.
function app.template(path)
    core.check_loading("app.template")
    if type(path) ~= "string" or path == "" or path:find("%z") then
        fail("app.template: a path expected, got " .. describe(path))
    end
    if not shared.open_template then
        core.template_load(core, app, shared)
    end
    local page = shared.open_template(shared.at_base(path))
    return page
end

local function percent_encode(byte)
    return string.format("%%%02X", byte:byte())
end

-- An address in which everything that RFC 3986 does not allow is percent-encoded; existing triplets are kept.
local function encode_address(url)
    if not url:find("[^%w%-._~:/?#%[%]@!$&'()*+,;=]") then
        return url
    end
    url = url:gsub("%%(%x?%x?)", function(hex)
        return #hex < 2 and "%25" .. hex or nil
    end)
    return (url:gsub("[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]", percent_encode))
end

local redirects = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

function app.redirect(url, status)
    if type(url) ~= "string" then
        fail("app.redirect: an address expected, got " .. describe(url))
    end
    if url:find("%c") then -- encoding it would lead elsewhere, and hide that untrusted text got in
        fail(string.format("app.redirect: the address %s contains a control character", describe(url)))
    end
    status = status or 302
    if not redirects[status] then
        fail("app.redirect: the status must be 301, 302, 303, 307 or 308, not " .. tostring(status))
    end
    return response(status, nil, { location = encode_address(url) })
end

-- Errors that become responses: if one is not caught, the response is as if the handler had returned its fields.

local raised_meta = {}

function raised_meta.__tostring(raised)
    local text = type(raised.body) == "string" and ": " .. (raised.body:match("^.*%S") or "") or ""
    return tostring(raised.status) .. text
end

function app.error(status, body, headers)
    if type(status) ~= "number" or status < 400 or status > 599 or status % 1 ~= 0 then
        fail("app.error: the status must be a whole number from 400 to 599, not " .. describe(status))
    end
    error(setmetatable({ status = status, body = body, headers = headers }, raised_meta), 0)
end

local function answer_raised(_, raised)
    return raised.status, raised.body, raised.headers
end

core.ref("raised_meta", raised_meta)
core.ref("answer_raised", answer_raised)

function shared.is_raised(err)
    return getmetatable(err) == raised_meta
end

-- The response that such an error stands for, for middleware.
function shared.raised_response(err)
    return own_response(answer_raised(nil, err))
end

shared.own_response = own_response

core.ref("headers_meta", headers_meta)
core.ref("response_meta", response_meta)
core.ref("to_response", to_response)
