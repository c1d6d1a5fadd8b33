-- The request at work, as "ngx" has it: ngx.ctx, ngx.var, ngx.req, and fields of the response. See prelude_ngx.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ngx, lazy = shared.ngx, shared.ngx_lazy
local ipairs, pairs, rawget, setmetatable = ipairs, pairs, rawget, setmetatable
local string, tostring, type = string, tostring, type
local current_request, has_request = core.current_request, core.has_request
local get_field, drop_field, add_field = core.get_field, core.drop_field, core.add_field

local HEADERS_MAX = 100 -- fields that get_headers() takes, unless its caller says otherwise

local function request(what)
    if not has_request() then
        fail(what .. ": there is no request here; OpenResty says API disabled in the current context")
    end
    return (current_request())
end

-- ngx.ctx: a table for each request; outside one, for each coroutine.

local key = {} -- of the table, among the fields that a script adds to a request
local contexts = setmetatable({}, { __mode = "k" })
local running = coroutine.running

local function holder()
    return has_request() and current_request() or nil
end

function shared.ngx_assigned.ctx(value)
    if type(value) ~= "table" then
        fail("ngx.ctx: a table expected, got " .. describe(value))
    end
    local req = holder()
    if req then
        req[key] = value
    else
        contexts[running() or contexts] = value
    end
end

function lazy.ctx()
    local req = holder()
    local found
    if req then
        found = req[key]
    else
        found = rawget(contexts, running() or contexts)
    end
    if not found then
        found = {}
        shared.ngx_assigned.ctx(found)
    end
    return found
end

-- ngx.var: what belongs to the request.

local function query_of(req)
    return req.target:match("%?(.*)$")
end

local function host_of(req)
    local host = (req.headers.host or ""):lower()
    return host:match("^(%[.*%])") or host:match("^([^:]*)")
end

local variables = {
    args = query_of,
    host = host_of,
    http_host = function(req) return req.headers.host end,
    is_args = function(req) return (query_of(req) or "") ~= "" and "?" or "" end,
    https = function(req) return req.scheme == "https" and "on" or "" end,
    pid = function() return tostring(ngx.worker.pid()) end,
    remote_addr = function(req) return (req.peer:gsub(":%d*$", ""):gsub("^%[(.*)%]$", "%1")) end,
    remote_port = function(req) return req.peer:match(":(%d+)$") end,
    request_id = function(req) return req.id end,
    request_method = function(req) return req.method end,
    request_uri = function(req) return req.target end,
    scheme = function(req) return req.scheme end,
    server_protocol = function() return string.format("HTTP/%.1f", core.version_of_request()) end,
    uri = function(req) return req.path end,
}
variables.query_string = variables.args
variables.document_uri = variables.uri
variables.content_type = function(req) return req.headers["content-type"] end
variables.content_length = function(req) return req.headers["content-length"] end

-- The first value of a name in the query, as it was sent.
local function find_arg(query, wanted)
    wanted = wanted:lower()
    for pair in query:gmatch("[^&]+") do
        local name, value = pair:match("^([^=]*)=(.*)$")
        if name and name:lower() == wanted then
            return value
        end
    end
    return nil
end

-- nginx's own variables that are not there, so that nobody takes nil for an answer.
local absent = {}
for _, name in ipairs {
    "binary_remote_addr", "body_bytes_sent", "bytes_sent", "connection", "connection_requests", "document_root", "hostname",
    "limit_rate", "msec", "nginx_version", "proxy_protocol_addr", "realpath_root", "remote_user", "request",
    "request_body", "request_body_file", "request_completion", "request_filename", "request_length", "request_time",
    "server_addr", "server_name", "server_port", "status", "time_iso8601", "time_local", "upstream_addr",
} do
    absent[name] = true
end

ngx.var = setmetatable({}, {
    __index = function(_, name)
        local req = request("ngx.var." .. tostring(name))
        if type(name) ~= "string" then
            fail("ngx.var: the name of a variable expected, got " .. describe(name))
        end
        local find = variables[name]
        if find then
            return find(req)
        end
        local kind, rest = name:match("^(%a+)_(.+)$")
        if kind == "http" then
            return req.headers[(rest:gsub("_", "-"))]
        elseif kind == "arg" then
            return find_arg(query_of(req) or "", rest)
        elseif kind == "cookie" then
            return req.cookies[rest]
        elseif absent[name] then
            fail(string.format("ngx.var.%s is not there: req has what evserve knows of a request", name))
        end
        return nil
    end,
    __newindex = function(_, name)
        fail(string.format("ngx.var.%s cannot be set: keep what belongs to a request in ngx.ctx", tostring(name)))
    end,
})

-- ngx.header: fields of the response to come. They are added to those that the handler returns.

local ruled = { -- what else decides about a field
    ["content-type"] = "return it among the handler's headers",
    ["content-length"] = "the server computes it",
}

local function field_name(name)
    if type(name) ~= "string" then
        fail("ngx.header: the name of a field expected, got " .. describe(name))
    end
    return (name:gsub("_", "-"))
end

ngx.header = setmetatable({}, {
    __index = function(_, name)
        request("ngx.header")
        return (get_field(field_name(name)))
    end,
    __newindex = function(_, name, value)
        request("ngx.header")
        name = field_name(name)
        if ruled[name:lower()] then
            fail(string.format("ngx.header: %s: %s", name, ruled[name:lower()]))
        end
        local values = type(value) == "table" and value or { value }
        for i, one in ipairs(values) do
            if type(one) ~= "string" and type(one) ~= "number" then
                fail(string.format("ngx.header: %s: value %d is a %s", name, i, type(one)))
            end
        end
        drop_field(name)
        for _, one in ipairs(values) do
            add_field(name, tostring(one))
        end
    end,
})

-- ngx.req.

local req_functions = {}
ngx.req = req_functions

function req_functions.get_method()
    return request("ngx.req.get_method").method
end

function req_functions.http_version()
    request("ngx.req.http_version")
    return (core.version_of_request())
end

function req_functions.is_internal()
    return false
end

-- Names are found in any case, with "_" for "-" as well, as nginx's table finds them.
local any_case = {
    __index = function(headers, name)
        return type(name) == "string" and rawget(headers, (name:lower():gsub("_", "-"))) or nil
    end,
}

function req_functions.get_headers(most, is_raw)
    local headers, count = {}, 0
    most = most or HEADERS_MAX
    if type(most) ~= "number" then
        fail("ngx.req.get_headers: the number of fields to take expected, got " .. describe(most))
    end
    for name, value in pairs(request("ngx.req.get_headers").headers) do
        if most > 0 and count >= most then
            return setmetatable(headers, not is_raw and any_case or nil), "truncated"
        end
        headers[name] = value
        count = count + 1
    end
    return setmetatable(headers, not is_raw and any_case or nil)
end

function req_functions.get_uri_args(most)
    return shared.parse_args(query_of(request("ngx.req.get_uri_args")) or "", most)
end

function req_functions.read_body()
    local req = request("ngx.req.read_body")
    local _ = req.body
end

function req_functions.get_body_data()
    local body = request("ngx.req.get_body_data").body
    return body ~= "" and body or nil
end

function req_functions.get_body_file()
    return nil
end

function req_functions.get_post_args(most)
    return shared.parse_args(request("ngx.req.get_post_args").body, most)
end
