-- Requests: their bodies, and what is decoded from them. See prelude.lua.
--
-- The functions of bind_body.c return true if they have waited and must be called again, false if the client has gone
-- meanwhile, or false and an error to raise.

local core, app, shared = ...
local fail, raise, array = core.fail, app.error, app.json.array
local closed = shared.closed
local error, setmetatable, type = error, setmetatable, type
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
            if part.name then
                list[#list + 1] = part.name
                list[#list + 1] = part:text()
            end
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

-- Nested names: order[lines][][id]=7 is { order = { lines = { { id = "7" } } } }.

local NESTED_DEPTH_MAX = 16 -- brackets of a name

-- The names in "order[lines][]": { "order", "lines", "" }. A name that is not of this kind is one name.
local function split_name(name, what)
    local first, rest = name:match "^([^%[%]]+)(%[.*)$"
    if not first or rest:gsub("%[[^%[%]]*%]", "") ~= "" then
        return { name }
    end
    local names = { first }
    for inner in rest:gmatch "%[([^%[%]]*)%]" do
        if #names > NESTED_DEPTH_MAX then
            raise(400, string.format("the %s has a name of more than %d levels\n", what, NESTED_DEPTH_MAX))
        end
        names[#names + 1] = inner
    end
    return names
end

-- Whether names[at], names[at + 1] ... can still be set in the last item of a list.
local function has_room(item, names, at)
    for i = at, #names do
        if names[i] == "" then
            return true
        end
        item = item[names[i]]
        if type(item) ~= "table" then
            return item == nil
        end
    end
    return false
end

-- The table at names[at] of node, made if it is not there: a list if the next name is empty. nil if there is something
-- else.
local function child_of(node, names, at, lists)
    local name, is_list = names[at], names[at + 1] == ""
    local child
    if name ~= "" then
        child = node[name]
    elseif not is_list then -- a[][b]: of the last item, as long as it has no b
        child = node[#node]
        child = type(child) == "table" and not lists[child] and has_room(child, names, at + 1) and child or nil
    end
    if child == nil then
        child = is_list and array {} or {}
        lists[child] = is_list
        node[name == "" and #node + 1 or name] = child
    elseif type(child) ~= "table" or lists[child] ~= is_list then
        return nil
    end
    return child
end

local function nest(list, what)
    local tree, lists = {}, {}
    for i = 1, #list, 2 do
        local names = split_name(list[i], what)
        local node, last = tree, names[#names]
        for at = 1, #names - 1 do
            node = node and child_of(node, names, at, lists)
        end
        if not node or type(node[last]) == "table" then
            raise(400, string.format("the %s has %s, which does not fit a name before it\n", what, core.quote(list[i])))
        end
        if last == "" and lists[node] then
            node[#node + 1] = list[i + 1]
        elseif node[last] == nil then
            node[last] = list[i + 1]
        end
    end
    return tree
end

function methods.form_nested(req)
    return nest(form_of(req), "form")
end

function methods.query_nested(req)
    return nest(core.parse_form(req.target:match "%?(.*)" or "", true), "query")
end
