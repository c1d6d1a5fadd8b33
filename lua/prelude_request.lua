-- Requests: their bodies, and what is decoded from them. See prelude.lua.
--
-- The functions of bind_body.c return true if they have waited and must be called again, false if the client has gone
-- meanwhile, or false and an error to raise.

local core, app, shared = ...
local fail, raise, array = core.fail, app.error, app.json.array
local closed = shared.closed
local error, setmetatable = error, setmetatable
local string, table = string, table

local json_decode, request_index = core.json_decode, core.request_index
local take_body, begin_chunks, take_chunk = core.take_body, core.begin_chunks, core.take_chunk
local begin_parts, parts_step = core.begin_parts, core.parts_step

local CHUNK_MAX = 65536 -- bytes of a chunk, BODY_PIECE_MAX of http/exchange.h
local STEP_PART, STEP_CONTENT, STEP_PART_END = 1, 2, 3 -- as in bind_body.c

local methods = core.request_names -- request_index() looks methods up in it

local function body_of(req)
    local body, err = take_body(req, "body")
    while body == true do
        body, err = take_body(req, "body")
    end
    if not body then
        error(err or closed, 0)
    end
    return body
end

-- Only this field may have to wait, and it can do so only here: C cannot continue after a yield.
function core.request_meta.__index(req, name)
    if name == "body" then
        return body_of(req)
    end
    return request_index(req, name)
end

-- Chunks.

local function next_chunk(req)
    if req == nil then
        fail "req:chunks: what it returns is for a loop: for chunk in req:chunks() do"
    end
    local chunk, err = take_chunk(req)
    while chunk == true do
        chunk, err = take_chunk(req)
    end
    if chunk == false then
        error(err or closed, 0)
    end
    return chunk
end

-- A function that gives a body, which is there as a whole, in pieces.
local function pieces_of(body)
    local at = 1
    return function()
        local piece = body:sub(at, at + CHUNK_MAX - 1)
        at = at + #piece
        return piece ~= "" and piece or nil
    end
end
shared.pieces_of = pieces_of

function methods.chunks(req)
    local body = begin_chunks(req)
    if not body then
        return next_chunk, req
    end
    return pieces_of(body)
end

function methods.json(req)
    core.check_json(req)
    local value, err = json_decode(body_of(req))
    if value == nil then
        raise(400, "the request body is not valid " .. err .. "\n") -- "JSON: what is wrong (byte 8)"
    end
    return value
end

-- Parts of a multipart form. Apart from its fields, this is kept for each part: the reader it belongs to, whether it
-- was read completely, and its text.

local part_state = setmetatable({}, { __mode = "k" })
local part_methods = {}
local part_meta = { __index = part_methods }

local function step(reader)
    local kind, a, b, c, d = parts_step(reader.req, reader.parser, reader.body)
    while kind == true do
        kind, a, b, c, d = parts_step(reader.req, reader.parser, reader.body)
    end
    if kind == false then
        error(a or closed, 0)
    end
    return kind, a, b, c, d
end

-- The next piece of the current part; nil at its end.
local function next_content(reader)
    local kind, content = step(reader)
    if kind == STEP_PART_END then
        reader.part = nil
        return nil
    end
    return content
end

local function next_part(reader)
    while reader.part do -- skip what the script did not read
        next_content(reader)
    end
    local kind, name, filename, content_type, headers = step(reader)
    if kind ~= STEP_PART then
        return nil
    end
    local part = { name = name, filename = filename, type = content_type, headers = headers }
    part_state[part] = { reader = reader }
    reader.part = part
    return setmetatable(part, part_meta)
end

function methods.parts(req)
    local parser, body = begin_parts(req)
    return next_part, { req = req, parser = parser, body = body }
end

local function next_part_content(part)
    local state = part_state[part]
    if state.is_read then
        return nil
    end
    if state.reader.part ~= part then
        fail("part:chunks: the part has been skipped: read it before you ask for the next one")
    end
    local content = next_content(state.reader)
    state.is_read = content == nil
    return content
end

function part_methods.chunks(part)
    if part_state[part] == nil then
        fail("part:chunks: call it as a method, with a colon")
    end
    return next_part_content, part
end

function part_methods.text(part)
    local state = part_state[part]
    if state == nil then
        fail("part:text: call it as a method, with a colon")
    end
    if not state.text then
        local pieces = {}
        for content in next_part_content, part do
            pieces[#pieces + 1] = content
        end
        state.text = table.concat(pieces)
    end
    return state.text
end

-- Forms: a list of name, value, name, value ..., created once per request.

local forms = setmetatable({}, { __mode = "k" })

local function form_of(req)
    local list = forms[req]
    if list then
        return list
    end
    if core.check_form(req) then
        list = {}
        for part in methods.parts(req) do
            list[#list + 1] = part.name
            list[#list + 1] = part:text()
        end
    else
        list = core.parse_form(body_of(req))
    end
    forms[req] = list
    return list
end

function methods.form(req)
    local list, form = form_of(req), {}
    for i = 1, #list, 2 do
        if form[list[i]] == nil then
            form[list[i]] = list[i + 1]
        end
    end
    return form
end

function methods.form_all(req, name)
    local list, values = form_of(req), array {}
    for i = 1, #list, 2 do
        if list[i] == name then
            values[#values + 1] = list[i + 1]
        end
    end
    return values
end
