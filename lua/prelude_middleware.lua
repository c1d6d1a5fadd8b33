-- Middleware: functions around a route's handler, and around what the server refuses in its place; what app.on() is
-- given for refusals and for the end of requests. See bind_refusal.c, http/refusal.h and prelude.lua.

local core, app, shared = ...
local begin, check_function, fail, fail_unknown = shared.begin, shared.check_function, core.fail, shared.fail_unknown
local own_response, raised_response, is_raised = shared.own_response, shared.raised_response, shared.is_raised
local has_status, root, groups = shared.has_status, shared.root, shared.groups
local report, failed, current_request = core.report, core.failed, core.current_request
local error, ipairs, next, pairs = error, ipairs, next, pairs
local setmetatable, tostring, xpcall = setmetatable, tostring, xpcall
local debug, string, table = debug, string, table

-- Failures.

local page_headers = {
    ["cache-control"] = "no-store",
    ["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'", -- the page quotes anything
}

-- The plain 500, or with debug its page.
local function plain_failure(page, type)
    local made = own_response(500, page, page and page_headers)
    if page then
        made.headers["content-type"] = type
    end
    return made
end

-- What the function of app.on("error") makes of err; nil if it has nothing to say, or fails itself.
local function ask_error_handler(handler, err)
    local ok, a, b, c = xpcall(handler, report, current_request(), err)
    if not ok then
        if not is_raised(a) and failed(a) == nil then
            error(a, 0)
        end
        return is_raised(a) and raised_response(a) or nil
    elseif a == nil then
        return nil
    end
    return has_status(a) and own_response(a, b, c) or own_response(500, a, b, c)
end

-- The response in place of that of a function that has failed; report() has logged err. An error that ends the whole
-- coroutine passes through: the client has gone, or memory is short.
local function failure_response(err)
    if is_raised(err) then
        return raised_response(err)
    end
    local handler, text, page, type = failed(err)
    if handler == nil then
        error(err, 0)
    end
    local made = handler and ask_error_handler(handler, err) or plain_failure(page, type)
    made.error = text
    return made
end

-- Chains.

-- A function like inner, with one middleware around it. Both take a request and return a response object.
local function wrap_once(fn, inner)
    local info = debug.getinfo(fn, "S")
    local place = string.format("%s:%d", info.source:gsub("^@", ""), info.linedefined)
    return function(req)
        local given
        local function nxt(other)
            local ok, made = xpcall(inner, report, other or req)
            given = ok and made or failure_response(made)
            return given
        end
        local a, b, c = fn(req, nxt)
        if a == nil then
            error(place .. ": the middleware returned nothing: it must return the response of nxt(), or its own", 0)
        end
        return a == given and b == nil and a or own_response(a, b, c)
    end
end

-- The middleware of group around inner, and further out that of the groups that contain it; nil if there is none.
local function chain(group, inner)
    local wrapped
    while group do
        for i = #group.middleware, 1, -1 do
            wrapped = wrap_once(group.middleware[i], wrapped or inner)
        end
        group = group.outer
    end
    return wrapped
end

-- The end of requests.

local listeners = { answered = {}, start = {}, stopping = {}, stop = {}, memory = {} }
local answered = listeners.answered
local failures = setmetatable({}, { __mode = "k" }) -- by request: the text of what has failed

-- What went wrong with the request at work, behind its middleware.
function shared.note_failure(err)
    if #answered > 0 and not is_raised(err) then
        failures[current_request()] = tostring(err)
    end
end

-- A function like inner; when its request is over, the functions of app.on("answered") are called.
local function tell(inner)
    return function(req)
        if core.is_watched() then -- its handler was stopped, and this is the refusal
            return own_response(inner(req))
        end
        local began, made, outcome = app.now(), nil, nil
        for _, fn in ipairs(answered) do -- each deferred by itself: one that fails does not stop the next
            app.defer(function()
                if not outcome then
                    local status, bytes, why = core.ended()
                    outcome = { status = status, bytes = bytes, seconds = app.now() - began }
                    outcome.error = why or failures[req] or made and made.error
                end
                fn(req, outcome)
            end)
        end
        core.watch_request()
        made = own_response(inner(req))
        return made
    end
end

-- Refusals.

local events = { [404] = "not_found", [405] = "not_allowed" }

-- The outermost group of one: app or a host.
local function outermost(group)
    while group.outer do
        group = group.outer
    end
    return group
end

-- What C calls for requests of group: inner, perhaps with sessions and with app.on("answered") around it. csrf is an
-- option of its route.
local function entry(inner, group, is_refusal, csrf)
    if inner and outermost(group).session_place then
        inner = shared.with_session(inner, is_refusal, csrf)
    end
    return inner and #answered > 0 and tell(inner) or inner
end

-- A function that responds with what the server wants to say, for the host of group.
local function refuser(group)
    local host = outermost(group)
    return function(req)
        local status, why, value, field = core.refusal()
        local fn = host.on[events[status]]
        local made
        if fn then
            local a, b, c = fn(req)
            made = a == nil and own_response(status) or has_status(a) and own_response(a, b, c)
                or own_response(status, a, b, c)
        else
            made = own_response(status)
        end
        if value and (made.status == status) and made.headers[field] == nil then
            made.headers[field] = value
        end
        made.error = why
        return made
    end
end

-- What handles the refusals for routes of a group; nil if nothing is around its routes.
local function refusals_of(group)
    if group.refuse == nil then
        group.refuse = chain(group, refuser(group)) or false
    end
    return group.refuse or nil
end

-- How many segments of a path the prefix of a group covers; nil if it is another path. A parameter takes any segment.
local function count_covered(segments, path)
    local count = 0
    for segment in path:gmatch("[^/]+") do
        count = count + 1
        local wanted = segments[count]
        if wanted == nil then
            return #segments
        elseif wanted ~= segment and wanted:sub(1, 1) ~= ":" then
            return nil
        end
    end
    return count >= #segments and #segments or nil
end

local function split(prefix)
    local segments = {}
    for segment in prefix:gmatch("[^/]+") do
        table.insert(segments, segment)
    end
    return segments
end

-- What handles requests that no route of a host has: the refusals of the group with the longest prefix that covers the
-- path, the outermost one among equals. nil if the host has nothing to say in them.
local function no_route_of(host)
    local inside, is_needed = {}, next(host.on) ~= nil or #answered > 0
    for _, group in ipairs(groups) do
        if outermost(group) == host then
            table.insert(inside, { group = group, segments = split(group.prefix) })
            is_needed = is_needed or #group.middleware > 0
        end
    end
    if not is_needed then
        return nil
    end
    local plain = refuser(host)
    return function(req)
        local best, most = host, -1
        for _, each in ipairs(inside) do
            local count = count_covered(each.segments, req.path)
            if count and count > most then
                best, most = each.group, count
            end
        end
        return (refusals_of(best) or plain)(req)
    end
end

-- Called when the script has run, once: for each host that needs one, what handles requests that no route has.
core.ref("no_routes", function()
    local made = {}
    for _, group in ipairs(groups) do
        local fn = group.outer == nil and no_route_of(group)
        if fn then
            local place = group.place
            for _, other in ipairs(groups) do
                place = place or outermost(other) == group and other.place or nil
            end
            table.insert(made, { fn = entry(fn, group, true), host = group.host, place = place })
        end
    end
    return made
end)

-- The function that handles a route, with the middleware around it; and what handles its refusals, or nil.
core.ref("wrap", function(route)
    local fn = route.fn
    local wrapped = chain(route.group, function(req)
        return own_response(fn(req))
    end)
    if route.group == nil then -- a function of app.basic_auth
        return fn
    end
    if route.group.entry == nil then -- of refusals
        local refuse = refusals_of(route.group) or #answered > 0 and refuser(route.group)
        route.group.entry = entry(refuse or nil, route.group, true)
    end
    return entry(wrapped or fn, route.group, false, route.csrf), route.group.entry
end)

-- Events.

local error_place -- where app.on("error") was called
local on_places = {} -- likewise for the events of one host, by host and event

-- app.on and host.on for what is about one host.
local function set_refusal(group, what, event, fn)
    on_places[group] = on_places[group] or {}
    if on_places[group][event] then
        fail(string.format('%s: the "%s" function is already set at %s', what, event, on_places[group][event]))
    end
    on_places[group][event] = core.place()
    group.place = group.place or core.place()
    group.on[event] = fn
end

function app.on(event, fn)
    begin("app.on", event)
    local is_refusal = event == "not_found" or event == "not_allowed"
    if event ~= "error" and not is_refusal and listeners[event] == nil then
        fail_unknown("app.on", "event", event,
            { "answered", "error", "memory", "not_allowed", "not_found", "start", "stop", "stopping" })
    end
    check_function("app.on", fn)
    if is_refusal then
        set_refusal(root, "app.on", event, fn)
    elseif event ~= "error" then
        table.insert(listeners[event], fn)
    elseif error_place then
        fail('app.on: the "error" function is already set at ' .. error_place)
    else
        error_place = core.place()
        core.ref("error_handler", fn)
    end
end

function shared.add_host_on(host, group)
    function host.on(event, fn)
        begin("host.on", event)
        if event ~= "not_found" and event ~= "not_allowed" then
            if event == "error" or listeners[event] then
                fail(string.format('host.on: "%s" is about the whole server: use app.on', event))
            end
            fail_unknown("host.on", "event", event, { "not_allowed", "not_found" })
        end
        check_function("host.on", fn)
        set_refusal(group, "host.on", event, fn)
    end
end

for event, functions in pairs(listeners) do
    if functions ~= answered then
        core.ref(event, functions)
    end
end

shared.listeners, shared.failure_response = listeners, failure_response

-- Sessions. Most scripts have none, so their code is loaded by the first.

function shared.add_session(target, group)
    local what = group.what .. "session"
    function target.session(options)
        begin(what, options)
        if group.session_place then
            fail(string.format("%s: it was called before, at %s", what, group.session_place))
        end
        if not shared.open_sessions then
            core.session_load(core, app, shared)
        end
        shared.open_sessions(group, what, options)
        group.session_place = core.place()
    end
end

shared.add_session(app, root)
