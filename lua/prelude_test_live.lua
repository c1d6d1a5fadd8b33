-- Files of tests: clients of Server-Sent Events and of WebSockets. See rehearsal.c.

local core, app, shared = ...
local fail, describe, fail_case, client = core.fail, shared.describe, shared.fail_case, shared.client
local ipairs, setmetatable, tonumber, type = ipairs, setmetatable, tonumber, type
local bit, math, pairs, string, table = bit, math, pairs, string, table

local WAIT_MS = 5000 -- for an event or a message

local function copy_with(options, headers)
    local copy = {}
    for name, value in pairs(options or {}) do
        copy[name] = value
    end
    copy.headers = {}
    for _, given in ipairs { headers, options and options.headers or {} } do
        for name, value in pairs(given) do
            copy.headers[name:lower()] = value
        end
    end
    return copy
end

-- Events.

local events = {}
events.__index = events

-- Connect with a stream of events.
function client:events(target, options)
    local request = self:begin("GET", target, copy_with(options, { accept = "text/event-stream" }))
    local res = request:head()
    if res.status ~= 200 or not (res.headers["content-type"] or ""):find "^text/event%-stream" then
        res = request:response()
        fail_case(nil, string.format("%s is no stream of events: %d %s", res.about, res.status,
            core.quote(res.body:sub(1, 200))))
    end
    return setmetatable({ request = request, headers = res.headers, rest = "", lines = {} }, events)
end

local function read_event(lines)
    local event, data = { event = "message" }, {}
    for _, line in ipairs(lines) do
        local name, value = line:match "^([^:]*):? ?(.*)$"
        if name == "data" then
            data[#data + 1] = value
        elseif name == "retry" then
            event.retry = tonumber(value)
        elseif name == "event" or name == "id" then
            event[name] = value
        end
    end
    event.data = table.concat(data, "\n")
    return #data > 0 and event or nil
end

-- The next event: event, data, id. nil at the end of the stream, or if none comes within the timeout that is given.
function events:next(timeout)
    local end_ms = shared.end_of_wait(timeout, WAIT_MS, "next")
    while true do
        local line, after = self.rest:match "^([^\n]*)\n()"
        if line then
            self.rest = self.rest:sub(after)
            line = line:gsub("\r$", "")
            local event = line == "" and read_event(self.lines)
            if line == "" then
                self.lines = {}
            else
                self.lines[#self.lines + 1] = line
            end
            if event then
                return event
            end
        else
            local piece = shared.try_read(self.request, end_ms)
            if piece == nil then
                return nil, "closed"
            elseif not piece and timeout ~= nil then
                return nil, "timeout"
            elseif not piece then
                fail_case(nil, string.format("no event of %s within %d s", self.request.about, WAIT_MS / 1000))
            end
            self.rest = self.rest .. piece
        end
    end
end

function events:close()
    self.request:close()
end

-- WebSockets.

local websocket = {}
websocket.__index = websocket
local open = setmetatable({}, { __mode = "k" }) -- those whose pings are answered while the clock moves

local OPCODES = { text = 1, binary = 2 }
local KINDS = { "text", "binary" }

-- A frame with the mask 0, which leaves the payload as it is.
local function frame(opcode, payload)
    local length = #payload
    local size
    if length < 126 then
        size = string.char(128 + length)
    elseif length < 65536 then
        size = string.char(128 + 126, math.floor(length / 256), length % 256)
    else
        size = string.char(128 + 127, 0, 0, 0, 0, bit.band(bit.rshift(length, 24), 255),
            bit.band(bit.rshift(length, 16), 255), bit.band(bit.rshift(length, 8), 255), bit.band(length, 255))
    end
    return string.char(128 + opcode) .. size .. "\0\0\0\0" .. payload
end

-- Connect with a WebSocket.
function client:websocket(target, options)
    options = options or {}
    local protocols = options.protocols
    local copy = copy_with(options, {
        connection = "Upgrade", upgrade = "websocket", ["sec-websocket-version"] = "13",
        ["sec-websocket-key"] = app.base64(app.random(16)),
        ["sec-websocket-protocol"] = type(protocols) == "table" and table.concat(protocols, ", ") or protocols,
    })
    copy.protocols = nil
    local request = self:begin("GET", target, copy)
    local res = request:head()
    if res.status ~= 101 then
        res = request:response()
        fail_case(nil, string.format("%s is no WebSocket: %d %s", res.about, res.status,
            core.quote(res.body:sub(1, 200))))
    end
    local ws = setmetatable({ request = request, headers = res.headers, protocol = res.headers["sec-websocket-protocol"],
        messages = {}, pieces = {} }, websocket)
    open[ws] = true
    return ws
end

local function send(ws, opcode, payload)
    local request = ws.request
    request.text = request.text:sub(request.sent + 1) .. frame(opcode, payload)
    request.sent = 0
    shared.push(request)
end

-- Take a frame. Returns whether there was a whole one.
local function take_frame(ws)
    local rest = ws.request.rest
    local first, second = rest:byte(1, 2)
    if not second then
        return false
    end
    local length, from = second % 128, 3
    if length >= 126 then
        local bytes = { rest:byte(3, length == 126 and 4 or 10) }
        if #bytes < (length == 126 and 2 or 8) then
            return false
        end
        from = 3 + #bytes
        length = 0
        for _, byte in ipairs(bytes) do
            length = length * 256 + byte
        end
    end
    if #rest < from + length - 1 then
        return false
    end
    local payload, opcode = rest:sub(from, from + length - 1), first % 16
    ws.request.rest = rest:sub(from + length)
    if opcode == 9 then
        send(ws, 10, payload)
    elseif opcode == 8 then
        local high, low = payload:byte(1, 2)
        ws.is_closed, ws.code, ws.reason = true, high and high * 256 + low, payload:sub(3)
        if not ws.has_closed then
            send(ws, 8, payload:sub(1, 2))
        end
    elseif opcode <= 2 then
        ws.kind = opcode > 0 and KINDS[opcode] or ws.kind
        ws.pieces[#ws.pieces + 1] = payload
        if first >= 128 then
            ws.messages[#ws.messages + 1] = { table.concat(ws.pieces), ws.kind }
            ws.pieces = {}
        end
    end
    return true
end

-- Take what has come by end_ms. Returns whether something has.
local function look(ws, end_ms)
    while take_frame(ws) do
        end_ms = 0
    end
    if end_ms == 0 or ws.is_closed then
        return true
    end
    local bytes = shared.more(ws.request, end_ms)
    if bytes then
        ws.request.rest = ws.request.rest .. bytes
    elseif bytes == nil then
        ws.is_closed = true
    end
    return bytes ~= false
end

-- The next message and its kind, "text" or "binary". nil, "closed" and the code at the end; nil, "timeout" if none
-- comes within the timeout that is given.
function websocket:receive(timeout)
    local end_ms = shared.end_of_wait(timeout, WAIT_MS, "receive")
    while #self.messages == 0 and not self.is_closed do
        if not look(self, end_ms) then
            if timeout ~= nil then
                return nil, "timeout"
            end
            fail_case(nil, string.format("no message of %s within %d s", self.request.about, WAIT_MS / 1000))
        end
    end
    local message = table.remove(self.messages, 1)
    if not message then
        return nil, "closed", self.code, self.reason
    end
    return message[1], message[2]
end

function websocket:send(text, kind)
    local opcode = OPCODES[kind or "text"]
    if type(text) ~= "string" or not opcode then
        fail('ws:send: a text, and "text" or "binary" expected, got ' .. describe(opcode and text or kind))
    end
    send(self, opcode, text)
    core.turn(0)
end

function websocket:close(code, reason)
    code = code or 1000
    if not self.is_closed and not self.has_closed then
        self.has_closed = true
        send(self, 8, string.char(math.floor(code / 256), code % 256) .. (reason or ""))
    end
    core.turn(0)
    open[self] = nil
end

-- Answer pings, while the clock moves.
function shared.attend()
    for ws in pairs(open) do
        while look(ws, core.clock_ms()) and not ws.is_closed do
        end
        if ws.is_closed then
            open[ws] = nil
        end
    end
end
