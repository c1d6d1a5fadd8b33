-- The HTTP client. See prelude.lua.
--
-- The functions of bind_fetch.c return a true value, or nil, a text and a kind; false when the client has gone.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local fail_unknown, pieces_of, query_text = shared.fail_unknown, shared.pieces_of, shared.query_text
local options_at_base = shared.options_at_base
local error, getmetatable, setmetatable, type = error, getmetatable, setmetatable, type
local table = table
local call = xpcall -- by another name: script_place() takes a call of "xpcall" for the entry of a handler

local fetch_start, fetch_wait, fetch_take, fetch_read = core.fetch_start, core.fetch_wait, core.fetch_take, core.fetch_read
local fetch_write, fetch_finish, fetch_close = core.fetch_write, core.fetch_finish, core.fetch_close
local json_encode, json_decode, number_text, trace = core.json_encode, core.json_decode, core.number_text, core.trace
local AWAITS_END, AWAITS_HEAD = core.AWAITS_END, core.AWAITS_HEAD
local AWAITS_PIECE, AWAITS_ROOM = core.AWAITS_PIECE, core.AWAITS_ROOM

local options = {
    "body", "ca", "client_cert", "connect_timeout", "form", "gzip", "headers", "keepalive", "length", "max_body", "max_head",
    "method", "query", "redirects", "server_name", "stream", "timeout", "tls", "unix", "verify",
}

local function wait(object, what)
    local ok, err = fetch_wait(object, what)
    if not ok then
        give_up(err)
    end
end

-- Responses.

local methods = {}
local meta = { __index = methods }
local objects = setmetatable({}, { __mode = "k" }) -- of responses whose body is read piece by piece

local function check(res, what)
    if getmetatable(res) ~= meta then
        fail(what .. ": call it as a method, with a colon")
    end
end

-- The next piece of the body; nil at its end; nil, a text and a kind.
local function read(res)
    local object = objects[res]
    if not object then
        return nil
    end
    local piece, err, kind = fetch_read(object)
    while piece == true do
        wait(object, AWAITS_PIECE)
        piece, err, kind = fetch_read(object)
    end
    if piece == nil and err == nil then
        objects[res] = nil
    end
    return piece, err, kind
end

local function next_piece(res)
    local piece, err = read(res)
    if err then
        error(err, 0)
    end
    return piece
end

function methods.chunks(res)
    check(res, "res:chunks")
    if res.body then
        return pieces_of(res.body)
    end
    return next_piece, res
end

function methods.read(res)
    check(res, "res:read")
    if res.body then
        fail('res:read: the body was read already, it is res.body; use stream = true to read it in pieces')
    end
    return read(res)
end

function methods.json(res)
    check(res, "res:json")
    local body = res.body
    if not body then
        local pieces = {}
        local piece, err, kind = read(res)
        while piece do
            pieces[#pieces + 1] = piece
            piece, err, kind = read(res)
        end
        if err then
            return nil, err, kind
        end
        body = table.concat(pieces)
    end
    local value, err = json_decode(body)
    if value == nil then
        return nil, "the response is not valid " .. err, "protocol" -- "JSON: what is wrong (byte 8)"
    end
    return value
end

function methods.close(res)
    check(res, "res:close")
    local object = objects[res]
    if object then
        objects[res] = nil
        fetch_close(object)
    end
end

core.ref("fetched_meta", meta)

-- Requests.

-- The URL with more in its query.
local function add_query(url, query)
    if type(query) ~= "table" then
        fail("app.fetch: query: a table of names and values expected, got " .. describe(query))
    end
    local more = query_text("app.fetch: query", query)
    if more == "" then
        return url
    end
    local before, fragment = url:match("^([^#]*)(.*)$")
    return before .. (before:find("?", 1, true) and "&" or "?") .. more .. fragment
end

-- A form as a body. Returns the text and its type.
local function form_of(given)
    if type(given.form) ~= "table" then
        fail("app.fetch: form: a table of names and values expected, got " .. describe(given.form))
    elseif given.body ~= nil then
        fail("app.fetch: form and body are both given, and a request has only one body")
    end
    return query_text("app.fetch: form", given.form), "application/x-www-form-urlencoded"
end

-- The text of a body and the type that it has, or a function that gives pieces, and its argument.

local function body_of(body)
    local kind = type(body)
    if kind == "string" then
        return body
    elseif kind == "number" then
        return number_text(body)
    elseif kind == "function" then
        return nil, nil, body
    elseif kind == "table" and getmetatable(body) == meta then
        return nil, nil, methods.chunks(body)
    elseif kind == "table" then
        return json_encode(body), "application/json"
    elseif kind == "userdata" and getmetatable(body) == "request" then
        return nil, nil, body:chunks()
    end
    fail("app.fetch: body: a string, a table, a function or a request expected, got " .. describe(body))
end

-- Hand on what the function gives, until it gives nothing more or the server wants nothing more.
local function send(object, next_chunk, state)
    local piece = next_chunk(state)
    while piece ~= nil and piece ~= false do
        if type(piece) ~= "string" and type(piece) ~= "number" then
            fail("app.fetch: the function for the body must return a string, or nil at the end, not " .. describe(piece))
        end
        local is_taken = fetch_write(object, piece)
        while is_taken == false do
            wait(object, AWAITS_ROOM)
            is_taken = fetch_write(object, piece)
        end
        if not is_taken then
            return
        end
        piece = next_chunk(state)
    end
    fetch_finish(object)
end

local function fetch(url, given)
    local text, media_type, next_chunk, state
    if given ~= nil then
        given = options_at_base(given)
        if given.query ~= nil then
            url = add_query(url, given.query)
        end
        if given.form ~= nil then
            text, media_type = form_of(given)
        elseif given.body ~= nil then
            text, media_type, next_chunk, state = body_of(given.body)
        end
    end
    local number, err, kind = fetch_start(url, given, text, media_type, next_chunk ~= nil)
    if not number then
        if number == false then
            if err ~= nil then
                fail_unknown("app.fetch", "option", err, options)
            end
            give_up()
        end
        return nil, err, kind
    end
    if next_chunk then
        local ok, problem = call(send, trace, number, next_chunk, state)
        if not ok then
            fetch_close(number)
            error(problem, 0)
        end
    end
    local ok, gone = fetch_wait(number, given ~= nil and given.stream and AWAITS_HEAD or AWAITS_END)
    if not ok then
        give_up(gone)
    end
    local status, reason, headers, final_url, redirects, body, object = fetch_take(number)
    if not status then
        return nil, reason, headers -- a text and a kind
    end
    local res = setmetatable({
        status = status, reason = reason, headers = headers, url = final_url, redirects = redirects, body = body,
    }, meta)
    if object then
        objects[res] = object
    end
    return res
end

function app.fetch(url, given)
    if type(url) ~= "string" then
        fail('app.fetch: a URL such as "https://example.org/" expected, got ' .. describe(url))
    end
    if given ~= nil and type(given) ~= "table" then
        fail("app.fetch: a table of options expected, got " .. describe(given))
    end
    return fetch(url, given)
end
