-- Files of tests: a client that sends requests into the site, and their responses. See rehearsal.c.

local core, app, shared = ...
local fail, describe, fail_case = core.fail, shared.describe, shared.fail_case
local getmetatable, ipairs, pairs, setmetatable = getmetatable, ipairs, pairs, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local math, string, table = math, string, table

local WAIT_MS = 30000 -- for a response
local REDIRECTS_MAX = 10
local TURN_MS = 1000 -- of one look at the site

local client = {}
client.__index = client
shared.client = client

local names_of_options = { "body", "cookies", "follow", "form", "headers", "host", "json", "query", "timeout" }

-- Names of fields are the same in any case, and "_" stands for "-", as in req.headers.
local function field_name(name)
    return type(name) == "string" and name:lower():gsub("_", "-") or name
end

local headers_meta = {
    __index = function(headers, name)
        local lower = field_name(name)
        return lower ~= name and headers[lower] or nil
    end,
}

-- Texts of requests.

local function escape(text)
    return (tostring(text):gsub("[^%w%-%._~]", function(byte)
        return string.format("%%%02X", byte:byte())
    end))
end

local function each_value(fields, fn)
    local names = {}
    for name in pairs(fields) do
        names[#names + 1] = name
    end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for _, name in ipairs(names) do
        local value = fields[name]
        if type(value) == "table" and value.content == nil then
            for _, one in ipairs(value) do
                fn(name, one)
            end
        else
            fn(name, value)
        end
    end
end

local function form_text(fields)
    local pieces = {}
    each_value(fields, function(name, value)
        pieces[#pieces + 1] = escape(name) .. "=" .. escape(value)
    end)
    return table.concat(pieces, "&")
end

local function quoted(text)
    return '"' .. tostring(text):gsub('["\r\n]', { ['"'] = "%22", ["\r"] = "%0D", ["\n"] = "%0A" }) .. '"'
end

local BOUNDARY = "evserve-test-e4b1f7c09a2d"

local function multipart_text(fields)
    local pieces = {}
    each_value(fields, function(name, value)
        local head = "--" .. BOUNDARY .. "\r\nContent-Disposition: form-data; name=" .. quoted(name)
        local content = value
        if type(value) == "table" then
            content = value.content
            head = head .. (value.filename and "; filename=" .. quoted(value.filename) or "")
                .. (value.type and "\r\nContent-Type: " .. value.type or "")
        end
        pieces[#pieces + 1] = head .. "\r\n\r\n" .. tostring(content) .. "\r\n"
    end)
    return table.concat(pieces) .. "--" .. BOUNDARY .. "--\r\n"
end

local function has_file(fields)
    for _, value in pairs(fields) do
        if type(value) == "table" and (value.content ~= nil or type(value[1]) == "table") then
            return true
        end
    end
    return false
end

-- The body of a request and its type, or nil.
local function body_of(options)
    if options.json ~= nil then
        return app.json.encode(options.json), "application/json"
    elseif options.form ~= nil and has_file(options.form) then
        return multipart_text(options.form), "multipart/form-data; boundary=" .. BOUNDARY
    elseif options.form ~= nil then
        return form_text(options.form), "application/x-www-form-urlencoded"
    end
    return options.body, nil
end

-- Set in headers what it does not have. Its names are in lower case.
local function add(headers, name, value)
    if headers[name] == nil and value ~= nil then
        headers[name] = value
    end
end

local function make_headers(self, method, host, path, options, body, content_type)
    local headers = {}
    for _, given in ipairs { self.defaults.headers or {}, options.headers or {} } do
        for name, value in pairs(given) do
            headers[field_name(name)] = value
        end
    end
    if options.cookies ~= false then
        add(headers, "cookie", self.jar:field(host:gsub(":%d+$", ""):lower(), path))
    end
    add(headers, "content-type", body and content_type)
    if body or method == "POST" or method == "PUT" or method == "PATCH" then
        add(headers, "content-length", headers["transfer-encoding"] == nil and tostring(#(body or "")) or nil)
    end
    local lines = { "Host: " .. tostring(headers.host or host) }
    headers.host = nil
    each_value(headers, function(name, value)
        if value ~= false then
            lines[#lines + 1] = name .. ": " .. tostring(value)
        end
    end)
    return table.concat(lines, "\r\n")
end

local function check_options(what, options)
    if options ~= nil and type(options) ~= "table" then
        fail(what .. ": a table of options expected, got " .. describe(options))
    end
    shared.check_names(what, "option", options or {}, names_of_options)
    return options or {}
end

-- Split a target: "http://host/path", or a path, "*" and the like.
local function split_target(target, host)
    local named, rest = target:match "^https?://([^/?#]*)(.*)$"
    if named then
        return named, rest:sub(1, 1) == "/" and rest or "/" .. rest
    end
    return host, target
end

-- Responses.

local response = {}
response.__index = response

-- The body as JSON.
function response:json()
    local value, err = app.json.decode(self.body)
    if err then
        fail_case(nil, string.format("the body of %s is not JSON: %s; it is %s", self.about, err,
            core.quote(self.body:sub(1, 200))))
    end
    return value
end

-- All values of a field, in their order.
function response:all(name)
    return self.fields[field_name(name)] or {}
end

local function read_head(text)
    local status, reason = text:match "^HTTP/1%.%d (%d%d%d) ?([^\r\n]*)"
    local res = setmetatable({ status = tonumber(status), reason = reason, fields = {}, cookies = {} }, response)
    local headers = {}
    for name, value in text:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
        name = name:lower()
        local list = res.fields[name] or {}
        list[#list + 1] = value
        res.fields[name] = list
        headers[name] = table.concat(list, ", ")
    end
    res.headers = setmetatable(headers, headers_meta)
    for _, text_of in ipairs(res:all "set-cookie") do
        local cookie = shared.read_cookie(text_of)
        if cookie then
            res.cookies[cookie.name] = cookie
        end
    end
    return res
end

-- Requests under way.

local pending = {}
pending.__index = pending

local function seconds(ms)
    return ms % 1000 == 0 and string.format("%d s", ms / 1000) or string.format("%d ms", ms)
end

-- Send what there is room for.
local function push(self)
    while self.sent < #self.text do
        local count = core.send(self.link, self.text, self.sent)
        if count == 0 then
            return
        end
        self.sent = count and self.sent + count or #self.text -- the response may be there already
    end
end

shared.push = push

-- The next bytes of a connection; nil at its end, false once it is end_ms.
function shared.more(self, end_ms)
    while true do
        push(self)
        local bytes = core.receive(self.link)
        if bytes ~= nil then
            return bytes or nil
        end
        local left = end_ms - core.clock_ms()
        if left <= 0 then
            return false
        end
        core.turn(math.min(left, TURN_MS))
    end
end

function shared.end_of_wait(timeout, default, what)
    return core.clock_ms() + (timeout == nil and default or core.duration(timeout, what))
end

-- More of the response into self.rest. Fails at the end and after end_ms, unless may_end.
local function fetch(self, end_ms, may_end)
    local bytes = shared.more(self, end_ms)
    if bytes then
        self.rest = self.rest .. bytes
        return true
    elseif bytes == nil and may_end then
        return false
    elseif bytes == nil then
        fail_case(nil, "the site closed the connection before the response to " .. self.about .. " was complete")
    end
    core.close(self.link)
    fail_case(nil, string.format("no complete response to %s within %s: if it waits for a timer, begin it with t:begin "
        .. "and move the clock with t:advance", self.about, seconds(self.wait_ms)))
end

local function decide_content(self, res)
    local length = tonumber(res.headers["content-length"])
    if self.method == "HEAD" or res.status == 204 or res.status == 304 or res.status == 101 then
        self.left = 0
    elseif res.headers["transfer-encoding"] == "chunked" then
        self.is_chunked = true
    else
        self.left = length
    end
end

-- The response without its body, as soon as its head has come.
function pending:head(timeout)
    if self.res then
        return self.res
    end
    local end_ms = shared.end_of_wait(timeout, self.wait_ms, "head")
    repeat
        local from, to = self.rest:find("\r\n\r\n", 1, true)
        while not from do
            fetch(self, end_ms)
            from, to = self.rest:find("\r\n\r\n", 1, true)
        end
        local head = self.rest:sub(1, from + 1)
        self.rest = self.rest:sub(to + 1)
        self.res = read_head(head)
    until self.res.status >= 200 or self.res.status == 101
    local res = self.res
    res.about, res.target, res.body = self.about, self.target, nil
    decide_content(self, res)
    for _, text in ipairs(res:all "set-cookie") do
        local cookie = shared.read_cookie(text)
        if cookie and self.keeps_cookies then
            self.client.jar:take(cookie, self.host:gsub(":%d+$", ""):lower(), self.path)
        end
    end
    return res
end

local function finish(self)
    self.is_over = true
    if self.res.status ~= 101 then
        core.close(self.link)
    end
end

local function read_chunk(self, end_ms)
    while true do
        local size, from = self.rest:match "^(%x+)[^\r\n]*\r\n()"
        local length = size and tonumber(size, 16)
        if length == 0 and self.rest:find("\r\n\r\n", from - 2, true) then
            finish(self)
            return nil
        elseif length and length > 0 and #self.rest >= from + length + 1 then
            local piece = self.rest:sub(from, from + length - 1)
            self.rest = self.rest:sub(from + length + 2)
            return piece
        end
        fetch(self, end_ms)
    end
end

-- The next piece of the body, or nil at its end.
local function read_piece(self, end_ms)
    if self.is_over then
        return nil
    end
    if self.is_chunked then
        return read_chunk(self, end_ms)
    end
    if self.left == 0 or (self.rest == "" and not fetch(self, end_ms, self.left == nil)) then
        finish(self)
        return nil
    end
    local piece = self.left and self.rest:sub(1, self.left) or self.rest
    self.rest = self.rest:sub(#piece + 1)
    self.left = self.left and self.left - #piece
    return piece
end

function pending:read(timeout)
    local end_ms = shared.end_of_wait(timeout, self.wait_ms, "read")
    self:head(timeout)
    return read_piece(self, end_ms)
end

-- The same for those who can do something else meanwhile: false if nothing has come by end_ms.
function shared.try_read(self, end_ms)
    while not self.is_over do
        local has = self.is_chunked and self.rest:find "^%x+[^\r\n]*\r\n" or not self.is_chunked and self.rest ~= ""
        if has then
            return read_piece(self, core.clock_ms() + WAIT_MS)
        end
        local bytes = shared.more(self, end_ms)
        if bytes == false then
            return false
        elseif bytes == nil then
            self.is_over = true
        else
            self.rest = self.rest .. bytes
        end
    end
    return nil
end

-- The whole response.
function pending:response(timeout)
    local res = self:head(timeout)
    if not res.body then
        local end_ms, pieces = shared.end_of_wait(timeout, self.wait_ms, "response"), {}
        repeat
            pieces[#pieces + 1] = read_piece(self, end_ms)
        until self.is_over
        res.body = table.concat(pieces)
        shared.last = res
    end
    return res
end

-- Go away without the response.
function pending:close()
    core.close(self.link)
    self.is_over = true
    core.turn(0)
end

-- Clients.

function shared.new_client(defaults)
    return setmetatable({ jar = shared.new_jar(), defaults = check_options("t:client", defaults) }, client)
end

local function option(self, options, name)
    if options[name] ~= nil then
        return options[name]
    end
    return self.defaults[name]
end

local function begin(self, method, target, options)
    local default_host = option(self, options, "host") or "localhost"
    local host, path_query = split_target(target, default_host)
    if options.query then
        path_query = path_query .. (path_query:find("?", 1, true) and "&" or "?") .. form_text(options.query)
    end
    local timeout = option(self, options, "timeout")
    local path = path_query:match "^[^?#]*"
    local body, content_type = body_of(options)
    local head = string.format("%s %s HTTP/1.1\r\n%s\r\n\r\n", method, path_query,
        make_headers(self, method, host, path, options, body, content_type))
    local made = setmetatable({
        client = self, method = method, target = path_query, path = path, host = host,
        about = method .. " " .. path_query, link = core.connect(), text = head .. (body or ""), sent = 0, rest = "",
        wait_ms = timeout == nil and WAIT_MS or core.duration(timeout, "timeout"),
        keeps_cookies = option(self, options, "cookies") ~= false,
    }, pending)
    push(made)
    core.turn(0)
    return made
end

local function check_request(what, self, method, target, options)
    if getmetatable(self) ~= client then
        fail(what .. ": call it with a colon: t:" .. what:match "[^.:]*$" .. "(...)")
    elseif type(method) ~= "string" or not method:find "^[%w!#$%%&'*+%-.^_`|~]+$" then
        fail(what .. ": a method such as \"GET\" expected, got " .. describe(method))
    elseif type(target) ~= "string" or target:find "[%s%c]" or not (target:find "^/" or target:find "^https?://"
        or target == "*") then
        fail(what .. ": a path such as \"/users/7\" expected, got " .. describe(target))
    end
    return check_options(what, options)
end

-- Send a request, without waiting for the response.
function client:begin(method, target, options)
    return begin(self, method, target, check_request("t:begin", self, method, target, options))
end

local function resolve(target, location)
    if location:find "^https?://" then
        return location
    elseif location:sub(1, 1) == "/" then
        return location
    elseif location:sub(1, 1) == "?" then
        return target:match "^[^?#]*" .. location
    end
    return (target:match "^[^?#]*"):match "^(.*/)" .. location
end

local is_redirect = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function request(what, self, method, target, options)
    options = check_request(what, self, method, target, options)
    local res = begin(self, method, target, options):response()
    local hops = 0
    while option(self, options, "follow") and is_redirect[res.status] and res.headers.location do
        hops = hops + 1
        if hops > REDIRECTS_MAX then
            fail_case(nil, string.format("%s %s: more than %d redirects, the last one to %s", method, target,
                REDIRECTS_MAX, core.quote(res.headers.location)))
        end
        local host = split_target(target, option(self, options, "host") or "localhost")
        target = resolve(res.target, res.headers.location:match "^[^#]*")
        if target:sub(1, 1) == "/" then
            target = "http://" .. host .. target
        end
        local keeps = res.status >= 307 or (method ~= "POST" and res.status ~= 303)
        method = keeps and method or method == "HEAD" and method or "GET"
        options = { headers = options.headers, host = options.host, timeout = options.timeout, cookies = options.cookies,
            follow = options.follow, body = keeps and options.body or nil, json = keeps and options.json or nil,
            form = keeps and options.form or nil }
        res = begin(self, method, target, options):response()
    end
    return res
end

function client:request(method, target, options)
    local res = request("t:request", self, method, target, options)
    return res
end

for _, name in ipairs { "get", "head", "post", "put", "patch", "delete", "options" } do
    local what, method = "t:" .. name, name:upper()
    client[name] = function(self, target, options)
        local res = request(what, self, method, target, options) -- no tail call: errors name the file's line
        return res
    end
end

-- Another client, with cookies of its own. The options are those of its requests.
function client:client(defaults)
    local made = shared.new_client(defaults)
    return made
end

-- The value of a cookie that the client has for a path, "/" by default.
function client:cookie(name, path)
    local host = (self.defaults.host or "localhost"):gsub(":%d+$", ""):lower()
    for _, cookie in ipairs(self.jar:list(host, path or "/")) do
        if cookie.name == name then
            return cookie.value
        end
    end
    return nil
end

-- Set a cookie, as if the site had; nil removes it.
function client:set_cookie(name, value)
    local host = (self.defaults.host or "localhost"):gsub(":%d+$", ""):lower()
    self.jar:take({ name = name, value = value or "", path = "/", ["max-age"] = value == nil and "0" or nil }, host, "/")
end
