-- Response objects, and what makes them. See prelude.lua.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local error, getmetatable, pairs, rawget, rawset = error, getmetatable, pairs, rawget, rawset
local setmetatable, tostring, type = setmetatable, tostring, type

-- Header tables: names in any case. Keys are kept in lower case.

local headers_meta = {}

function headers_meta.__index(headers, name)
    return type(name) == "string" and rawget(headers, name:lower()) or nil
end

function headers_meta.__newindex(headers, name, value)
    rawset(headers, type(name) == "string" and name:lower() or name, value)
end

-- Response objects.

local response_meta = {}
local pass = setmetatable({ pass = true }, response_meta)

app.pass = pass

-- Copy fields over those that are there.
local function merge_headers(headers, more)
    if more ~= nil and type(more) ~= "table" then
        fail("a response needs a table of headers, not " .. describe(more))
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
    }, response_meta)
end

-- The response object for what a handler returned. An object that is returned alone stays the same one.
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
    local made = response(status or body.status, body.body, body.headers)
    made.pass = body.pass
    merge_headers(made.headers, headers)
    return made
end

function app.html(text)
    if type(text) ~= "string" then
        fail("app.html: a string expected, not " .. describe(text))
    end
    return response(200, text, { ["content-type"] = "text/html; charset=utf-8" })
end

local redirects = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

function app.redirect(url, status)
    if type(url) ~= "string" then
        fail("app.redirect: an address expected, not " .. describe(url))
    end
    status = status or 302
    if not redirects[status] then
        fail("app.redirect: the status must be 301, 302, 303, 307 or 308, not " .. tostring(status))
    end
    return response(status, nil, { location = url })
end

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function app.escape_html(text)
    if type(text) ~= "string" and type(text) ~= "number" then
        fail("app.escape_html: a string expected, not " .. describe(text))
    end
    return (tostring(text):gsub("[&<>\"']", escapes))
end

-- Errors that are answers: one that nobody catches is answered as if the handler had returned its fields.

local raised_meta = {}

function raised_meta.__tostring(raised)
    local text = type(raised.body) == "string" and ": " .. raised.body:gsub("%s+$", "") or ""
    return tostring(raised.status) .. text
end

function app.error(status, body, headers)
    if type(status) ~= "number" or status < 400 or status > 599 or status % 1 ~= 0 then
        fail("app.error: the status must be a whole number from 400 to 599, not " .. describe(status))
    end
    error(setmetatable({ status = status, body = body, headers = headers }, raised_meta), 0)
end

core.ref("raised_meta", raised_meta)
core.ref("answer_raised", function(_, raised)
    return raised.status, raised.body, raised.headers
end)

shared.to_response = to_response

core.ref("headers_meta", headers_meta)
core.ref("response_meta", response_meta)
core.ref("to_response", to_response)
