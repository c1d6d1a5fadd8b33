-- Sockets: connections to other servers. See bind_socket.c and prelude.lua.
--
-- A function of C that waits returns nil, true and a reason when its wait is over: it is then called again with the
-- reason, to look at what has come. It returns false when nobody wants to know any more.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local check_names = shared.check_names
local tonumber, tostring, type = tonumber, tostring, type
local string = string

local new_socket, connect, send = core.new_socket, core.socket_connect, core.socket_send
local receive, receiveany, receiveuntil = core.socket_receive, core.socket_receiveany, core.socket_receiveuntil
local settimeout, settimeouts = core.socket_settimeout, core.socket_settimeouts

local PORT_MAX = 65535

local socket = {
    close = core.socket_close,
    getreusedtimes = core.socket_getreusedtimes,
    setkeepalive = core.socket_setkeepalive,
    settimeout = settimeout,
    settimeouts = settimeouts,
}

local meta = { __index = socket, __metatable = "socket", __gc = core.socket_collect }

core.ref("socket_meta", meta)

-- Call a function that waits with its socket and one argument, and again for as long as it has waited.
local function finish(fn, object, argument, value, err, more)
    while err == true do
        value, err, more = fn(object, argument, more)
    end
    if value == false then
        give_up(err)
    end
    if value then
        return value
    end
    if more == nil and err ~= nil then
        return nil, err
    end
    return nil, err, more
end

function socket.receive(object, what)
    local data, err, more = receive(object, what)
    if data then
        return data
    end
    return finish(receive, object, what, data, err, more)
end

function socket.receiveany(object, most)
    local data, err, more = receiveany(object, most)
    if data then
        return data
    end
    return finish(receiveany, object, most, data, err, more)
end

function socket.receiveuntil(object, delimiter, options)
    if options ~= nil and type(options) ~= "table" then
        fail("socket:receiveuntil: a table of options expected, got " .. describe(options))
    end
    local read, problem = receiveuntil(object, delimiter, options and options.inclusive)
    if not read then
        return nil, problem
    end
    return function(size)
        local data, err, more = read(size)
        if data then
            return data
        end
        return finish(read, size, nil, data, err, more)
    end
end

function socket.send(object, data)
    local count, err, reason = send(object, data)
    while err == true do
        count, err, reason = send(object, data, true, reason)
    end
    if count then
        return count
    end
    if count == false then
        give_up(err)
    end
    return nil, err
end

-- Connect to a port of a host, or to the path of a unix socket if there is no port. pool is the name under which the
-- connection is kept.
local function open(object, host, port, pool, pool_size)
    local ok, err, reason = connect(object, host, port, pool, pool_size)
    while err == true do
        ok, err, reason = connect(object, host, port, pool, pool_size, reason)
    end
    if ok then
        return ok
    end
    if ok == false then
        give_up(err)
    end
    return nil, err
end

-- As OpenResty has it: connect(host, port, options), connect("unix:/path", options).
function socket.connect(object, host, port, options)
    if type(port) == "table" then
        port, options = nil, port
    end
    if options ~= nil and type(options) ~= "table" then
        fail("socket:connect: a table of options expected, got " .. describe(options))
    end
    if type(host) ~= "string" then
        fail("socket:connect: the name or the address of a host expected, got " .. describe(host))
    end
    if options and options.backlog then
        fail "socket:connect: there is no backlog here: limit the number of connections with app.semaphore"
    end
    local pool = options and options.pool
    local size = options and options.pool_size
    local path = host:match "^[Uu][Nn][Ii][Xx]:(.*)"
    if path then
        return open(object, path, nil, "s" .. tostring(pool or host), size)
    end
    local number = tonumber(port)
    if not number then
        return nil, "missing the port number"
    end
    if number < 0 or number > PORT_MAX then
        return nil, "bad port number: " .. number
    end
    local name = host:match "^%[(.*)%]$" or host
    return open(object, name, number, "s" .. tostring(pool or host .. ":" .. number), size)
end

-- Where an address leads: host and port, or the path of a unix socket.
local function parse_address(address)
    if type(address) ~= "string" then
        fail('app.connect: an address such as "127.0.0.1:6379" expected, got ' .. describe(address))
    end
    local path = address:match "^unix:(.+)"
    if path then
        return path
    end
    local host, port = address:match "^%[([%x:.]+)%]:(%d+)$"
    if not host then
        host, port = address:match "^([^:%s]+):(%d+)$"
    end
    port = tonumber(port)
    if not port or port < 1 or port > PORT_MAX then
        local text = 'app.connect: "host:port", "[::1]:port" or "unix:/path" expected, got %s'
        fail(text:format(describe(address)))
    end
    return host, port
end

local function check_option(options, name, kind, example)
    local value = options[name]
    if value ~= nil and type(value) ~= kind then
        fail(string.format("app.connect: %s: a %s such as %s expected, got %s", name, kind, example, describe(value)))
    end
    return value
end

function app.connect(address, options)
    local host, port = parse_address(address)
    local object = new_socket()
    local pool
    if options ~= nil then
        if type(options) ~= "table" then
            fail("app.connect: a table of options expected, got " .. describe(options))
        end
        check_names("app.connect", "option", options, { "pool", "timeout" })
        pool = check_option(options, "pool", "string", '"cache"')
        if options.timeout ~= nil then
            settimeout(object, options.timeout)
        end
    end
    local ok, err = open(object, host, port, "s" .. (pool or address))
    if not ok then
        return nil, err
    end
    return object
end

-- What ngx.socket.tcp() gives.
shared.new_socket = new_socket
