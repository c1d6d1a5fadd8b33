-- Sessions: what a server knows of a browser from one request to the next, sealed in a cookie, or in a store. Loaded by
-- the first app.session. See bind_session.c and prelude_middleware.lua.
--
-- A request that looks at its session opens it, and has a state from then on:
--   config                  what app.session was given
--   data, flashes, token    what the session holds: the script's table, messages, and the key of tokens for forms
--   created, renewed        seconds since 1970
--   before                  data, flashes and token as text, as they came
--   id                      where it is in the store
--   has_cookie, is_new      whether the client has sent one; whether it gets a new one in any case
--   is_over                 the response is determined: changes would be lost
--   is_blind                the session was not opened, and is not saved
-- It is saved when the handler and the middleware around it have returned, and only if it has changed or grows old.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local own_response, failure_response = shared.own_response, shared.failure_response
local raise, report = app.error, core.report
local json_decode, json_encode = core.json_decode, app.json.encode
local app_seal, app_open, sha256, hmac = app.seal, app.open, app.sha256, app.hmac
local random, base64url, base64url_decode, equal = app.random, app.base64url, app.base64url_decode, app.equal
local error, next, pairs, pcall, tostring = error, next, pairs, pcall, tostring
local tonumber, type, xpcall = tonumber, type, xpcall
local os, string, table = os, string, table

local COOKIE_MAX = 4096 -- bytes of name and value that browsers keep (RFC 6265 section 6.1)
local ID_BYTES, ID_PATTERN = 32, "^[%w_-]+$" -- of the random id of a session in a store
local ID_LEN = 43 -- the same in base64url
local KEY_BYTES, MASK_BYTES = 32, 16 -- of a token for forms
local FLASHES_MAX = 20 -- messages that wait for a page

local STATE, MODE, PARTS = {}, {}, {} -- keys of what a request keeps
local EXEMPT, REFUSED = 1, 2 -- modes: a route without tokens; a response in place of a route's

local configs = {} -- by core.session_key()
local meta, methods = core.request_meta, core.request_names
local index, keep, kept = meta.__index, meta.__newindex, core.request_index

local safe_methods = { GET = true, HEAD = true, OPTIONS = true, TRACE = true, QUERY = true }

-- Tokens for forms. Each page gets another text for the same key, so that its compressed size tells nothing.

local function new_token(key)
    local mask = random(MASK_BYTES)
    return base64url(mask .. hmac("sha256", key, mask))
end

local function is_token(key, text)
    local bytes = type(text) == "string" and key and base64url_decode(text)
    return bytes and #bytes > MASK_BYTES
        and equal(hmac("sha256", key, bytes:sub(1, MASK_BYTES)), bytes:sub(MASK_BYTES + 1)) or false
end

-- The first part of a form with files. What reads the form afterwards begins with it, unless it was the token.
local function first_part_token(req)
    local next_part, reader = methods.parts(req)
    local first, token = next_part(reader), nil
    if first and first.name == "csrf" and first.filename == nil then
        token, first = first:text(), nil
    end
    keep(req, PARTS, function()
        local part = first
        first = nil
        return part or next_part(reader)
    end)
    return token
end

local plain_parts = methods.parts

function methods.parts(req)
    local begun = kept(req, PARTS)
    if begun then
        keep(req, PARTS, nil)
        return begun
    end
    return plain_parts(req)
end

local function form_token(req)
    local kind = (req:header("content-type") or ""):lower():match("^%s*([^;%s]*)")
    if kind == "multipart/form-data" then
        return first_part_token(req)
    elseif kind == "application/x-www-form-urlencoded" then
        return req:form().csrf
    end
end

-- Whether a request may use its session: other sites can make a browser send its cookie, but do not know the token.
local function check_token(req, state)
    local mode = kept(req, MODE)
    if state.config.csrf == false or mode == EXEMPT or safe_methods[req.method] then
        return
    end
    if is_token(state.token, req:header("x-csrf-token")) then
        return
    elseif mode == REFUSED then -- its body may not be there, and it gets no page that it has not asked for
        state.data, state.flashes, state.token, state.is_blind = {}, {}, nil, true
    elseif not is_token(state.token, form_token(req)) then
        raise(403, "the form has expired, or another site has sent it: load the page again\n", {
            ["cache-control"] = "no-store",
        })
    end
end

-- Opening.

local function store_key(id)
    return base64url(sha256(id)) -- who reads the store cannot use what is there
end

-- What the cookie of a request leads to: a text, or nil.
local function find_text(state, value)
    local config = state.config
    if not config.store then
        return (app_open(value, config.terms))
    end
    if #value == ID_LEN and value:find(ID_PATTERN) then
        local text = config.store:get(store_key(value))
        state.id = type(text) == "string" and value or nil
        return state.id and text
    end
end

local function open(req, config)
    local state = { config = config, data = {}, flashes = {}, before = "{}" }
    local value = req.cookies[config.name]
    local now, text = os.time(), value and find_text(state, value)
    state.has_cookie = value ~= nil
    local created, renewed, json = (text or ""):match("^(%d+) (%d+) (.*)$")
    created, renewed = tonumber(created), tonumber(renewed)
    local record = json and now - renewed < config.max_age and json_decode(json)
    if type(record) == "table" and not (config.lifetime and now - created >= config.lifetime) then
        state.data, state.flashes, state.token = record.data or {}, record.flashes or {}, record.token
        state.created, state.renewed, state.before = created, renewed, json
    else
        state.created, state.is_new = now, true
    end
    check_token(req, state)
    keep(req, STATE, state)
    return state
end

-- The state of a request; nil if its host has no sessions.
local function state_of(req)
    local state = kept(req, STATE)
    if state then
        return state
    end
    local config = configs[core.session_key_of(req)]
    return config and open(req, config)
end

local function need_state(what, req)
    if type(req) ~= "userdata" then
        fail(what .. ": call it as a method, with a colon")
    end
    return state_of(req) or fail(what .. ": this host has no sessions: call host.session")
end

-- Refuse a change that nobody would see.
local function check_open(what, state)
    if state.is_over then
        fail(what .. ": the response has begun, and the session with it: do this before the handler returns")
    end
end

-- Saving.

local function text_of(state)
    return json_encode({
        data = next(state.data) ~= nil and state.data or nil,
        flashes = state.flashes[1] and state.flashes or nil,
        token = state.token,
    }, { sort = true })
end

local function set_cookie(req, config, made, value, max_age)
    local attributes = { max_age = max_age }
    for name, given in pairs(config.attributes) do
        attributes[name] = given
    end
    if attributes.secure == nil then
        attributes.secure = req.scheme == "https"
    end
    made:set_cookie(config.name, value, attributes)
end

local function seal(config, text)
    local value = app_seal(text, config.terms)
    if #config.name + #value > COOKIE_MAX then
        fail(string.format('app.session: the session needs a cookie of %d bytes, and browsers keep at most %d: use '
            .. 'app.session { store = app.store("sessions") }', #config.name + #value, COOKIE_MAX))
    end
    return value
end

local function remove(req, state, made)
    if state.id then
        state.config.store:delete(store_key(state.id))
    end
    if state.has_cookie then
        set_cookie(req, state.config, made, "", 0)
    end
end

-- Returns the id; nil if another request has ended the session meanwhile.
local function save_in_store(state, text)
    local store, max_age = state.config.store, state.config.max_age_text
    if not state.is_new then
        return store:replace(store_key(state.id), text, max_age) and state.id or nil
    end
    local id = base64url(random(ID_BYTES))
    store:set(store_key(id), text, max_age)
    if state.id then
        store:delete(store_key(state.id))
    end
    return id
end

-- Save what has changed, and add the cookie to the response.
local function save(req, state, made)
    local config, now = state.config, os.time()
    if state.is_over or state.is_blind then
        return
    end
    local ok, json = pcall(text_of, state)
    if not ok then
        error("app.session: the session cannot be saved: " .. tostring(json), 0)
    end
    state.is_over = true
    made.headers["cache-control"] = made.headers["cache-control"] or "private"
    if json == "{}" then
        remove(req, state, made)
        return
    end
    local is_due = state.is_new or now - state.renewed >= config.max_age / 2
    if not is_due and json == state.before then
        return
    end
    local text, value = string.format("%d %d %s", state.created, now, json), nil
    if config.store then
        value = save_in_store(state, text)
        if not value then
            return
        end
    else
        value = seal(config, text)
    end
    set_cookie(req, config, made, value, config.max_age_text)
end

-- What has returned, or raised an error, with the session of its request saved.
local function finish(req, ok, ...)
    local state = kept(req, STATE)
    if ok and not state then
        return ...
    end
    local made = ok and own_response(...) or not ok and failure_response((...))
    if state then
        save(req, state, made)
    end
    return made
end

-- A function like inner, which saves sessions. csrf is the option of its route; nil for refusals.
function shared.with_session(inner, is_refusal, csrf)
    local mode = is_refusal and REFUSED or csrf == false and EXEMPT or nil
    return function(req)
        if mode then
            keep(req, MODE, mode)
        end
        return finish(req, xpcall(inner, report, req))
    end
end

-- Requests.

function meta.__index(req, name)
    if name == "session" then
        local state = state_of(req)
        if state then
            return state.data
        end
    end
    return index(req, name)
end

function meta.__newindex(req, name, value)
    local state = name == "session" and state_of(req)
    if not state then
        return keep(req, name, value)
    end
    if value ~= nil and type(value) ~= "table" then
        fail("req.session: a table or nil expected, got " .. describe(value))
    end
    check_open("req.session", state)
    state.data, state.token, state.created, state.is_new = value or {}, nil, os.time(), true
end

-- A text for the field "csrf" of a form, or for the header x-csrf-token.
function methods.csrf(req)
    local state = need_state("req:csrf", req)
    if not state.token then
        check_open("req:csrf", state)
        state.token = base64url(random(KEY_BYTES))
    end
    return new_token(state.token)
end

-- Keep a message for the next page.
function methods.flash(req, kind, text)
    local state = need_state("req:flash", req)
    if text == nil then
        kind, text = "info", kind
    end
    if type(kind) ~= "string" or type(text) ~= "string" then
        fail("req:flash: a text, or a kind and a text, expected, got "
            .. describe(type(kind) ~= "string" and kind or text))
    end
    check_open("req:flash", state)
    if #state.flashes >= FLASHES_MAX * 2 then -- no page shows them
        table.remove(state.flashes, 1)
        table.remove(state.flashes, 1)
    end
    table.insert(state.flashes, kind)
    table.insert(state.flashes, text)
end

-- The kinds and texts of the messages, which are gone then.
function methods.flashes(req)
    local state = need_state("req:flashes", req)
    local list, at = state.flashes, -1
    if list[1] then
        check_open("req:flashes", state)
        state.flashes = {}
    end
    return function()
        at = at + 2
        return list[at], list[at + 1]
    end
end

-- Options.

local session_options = { "cookie", "csrf", "lifetime", "max_age", "secret", "store" }
local cookie_attributes = { "domain", "http_only", "name", "path", "same_site", "secure" }

-- Call fn, whose errors name another function than the one that the script has called.
local function try(what, from, fn, ...)
    local ok, err = pcall(fn, ...)
    if not ok then
        err = type(err) == "string" and err:gsub("^.-" .. from:gsub("%.", "%%."), "", 1) or err
        fail(what .. err)
    end
end

local function read_cookie(what, config, given)
    given = given == nil and {} or given
    if type(given) == "string" then
        given = { name = given }
    elseif type(given) ~= "table" then
        fail(what .. ': cookie: a name, or a table such as { name = "board", same_site = "strict" } expected, got '
            .. describe(given))
    end
    check_names(what .. ": cookie", "attribute", given, cookie_attributes)
    config.name = given.name == nil and "session" or given.name
    config.attributes = { http_only = true, same_site = "lax" }
    for name, value in pairs(given) do
        if name ~= "name" then
            config.attributes[name] = value
        end
    end
    try(what .. ": cookie", "app.cookie", app.cookie, config.name, "", config.attributes)
end

local function read_age(what, name, value)
    local days = type(value) == "string" and #value <= 6 and value:match("^(%d+)d$")
    local seconds = days and days * 86400 or core.seconds(what .. ": " .. name, value)
    if seconds < 1 then
        fail(what .. ": " .. name .. ": at least a second expected")
    end
    return seconds
end

local function read_place(what, config, options)
    local store = options.store
    if (store == nil) == (options.secret == nil) then
        fail(what .. ': a secret, for sessions in cookies, or a store = app.store("sessions") expected'
            .. (store and ", not both" or ""))
    end
    if store == nil then
        config.terms = { secret = options.secret, purpose = "session " .. config.name, max_age = config.max_age_text }
        try(what, "app.seal", app_seal, "", config.terms)
        return
    end
    for _, known in pairs(shared.stores) do
        config.store = config.store or known == store and store or nil
    end
    if not config.store then
        fail(what .. ": store: what app.store() returns expected, got " .. describe(store))
    end
    try(what, "app.sha256", sha256, "")
end

function shared.open_sessions(group, what, options)
    if type(options) ~= "table" then
        fail(what .. ': a table such as { secret = os.getenv "SESSION_SECRET" } expected, got ' .. describe(options))
    end
    check_names(what, "option", options, session_options)
    local max_age = read_age(what, "max_age", options.max_age == nil and "7d" or options.max_age)
    local config = { max_age = max_age, max_age_text = string.format("%ds", max_age), csrf = options.csrf }
    config.lifetime = options.lifetime ~= nil and read_age(what, "lifetime", options.lifetime) or nil
    if options.csrf ~= nil and type(options.csrf) ~= "boolean" then
        fail(what .. ": csrf: true or false expected, got " .. describe(options.csrf))
    end
    read_cookie(what, config, options.cookie)
    read_place(what, config, options)
    configs[core.session_key(group.host)] = config
end
