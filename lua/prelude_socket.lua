-- Sockets: connections to other servers. See bind_socket.c and prelude.lua.
--
-- A function of C that waits returns nil, true and a reason when its wait is over: it is then called again with the
-- reason, to look at what has come. It returns false when nobody wants to know any more.

local core, app, shared = ...
local fail, describe, give_up = core.fail, shared.describe, shared.give_up
local check_names, at_base = shared.check_names, shared.at_base
local ipairs, setmetatable, tonumber, tostring, type = ipairs, setmetatable, tonumber, tostring, type
local string, table = string, table

local new_socket, connect, send = core.new_socket, core.socket_connect, core.socket_send
local receive, receiveany, receiveuntil = core.socket_receive, core.socket_receiveany, core.socket_receiveuntil
local start_tls, has_tls = core.socket_start_tls, core.socket_has_tls
local settimeout, settimeouts = core.socket_settimeout, core.socket_settimeouts

local byte, lower, sub = string.byte, string.lower, string.sub -- quicker than a pattern, and used for each connection
local COLON, BRACKET = byte ":", byte "["
local PORT_MAX = 65535

local socket = {
    close = core.socket_close,
    getreusedtimes = core.socket_getreusedtimes,
    setkeepalive = core.socket_setkeepalive,
    setoption = core.socket_setoption,
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

-- TLS.

local certificates = setmetatable({}, { __mode = "k" }) -- of clients, by socket: for its next handshake

local function shake_hands(object, name, verify, ca, cert, key, alpn, min_version)
    local ok, err, reason = start_tls(object, name, verify, ca, cert, key, alpn, min_version)
    while err == true do
        ok, err, reason = start_tls(object, name, verify, ca, cert, key, alpn, min_version, reason)
    end
    if ok then
        return true
    end
    if ok == false then
        give_up(err)
    end
    return nil, err
end

-- As OpenResty has it: sslhandshake(session, server_name, verify, status_request). Sessions are resumed by themselves.
-- Unlike there, the certificate is verified unless verify is false.
function socket.sslhandshake(object, _, name, verify)
    local certificate = certificates[object] or {}
    return shake_hands(object, name, verify ~= false, nil, certificate.cert, certificate.key)
end

local function check_pem(what, value)
    if value ~= nil and type(value) ~= "string" then
        fail(string.format("%s: PEM text or the name of a file expected, got %s", what, describe(value)))
    end
    return value
end

function socket.setclientcert(object, cert, key)
    check_pem("socket:setclientcert", cert)
    check_pem("socket:setclientcert", key)
    certificates[object] = cert and { cert = at_base(cert), key = at_base(key) }
    return true
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
    if byte(host, 5) == COLON and lower(sub(host, 1, 4)) == "unix" then
        return open(object, sub(host, 6), nil, "s" .. tostring(pool or host), size)
    end
    local number = tonumber(port)
    if not number then
        return nil, "missing the port number"
    end
    if number < 0 or number > PORT_MAX then
        return nil, "bad port number: " .. number
    end
    local name = byte(host) == BRACKET and host:match "^%[(.*)%]$" or host
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
        text = port and text .. ", and ports are 1 to " .. PORT_MAX or text
        fail(text:format(describe(address)))
    end
    return host, port
end

local function check_option(what, options, name, kind, example)
    local value = options[name]
    if value ~= nil and type(value) ~= kind then
        fail(string.format("%s: %s: a %s such as %s expected, got %s", what, name, kind, example, describe(value)))
    end
    return value
end

local tls_options = { "alpn", "ca", "client_cert", "min_version", "server_name", "verify" }

-- Where an option belongs that app.fetch takes beside the others.
local function place_of_option(name)
    for _, option in ipairs(tls_options) do
        if name == option then
            return "is an option of TLS: tls = { " .. option .. " = ... }"
        end
    end
end

-- The options of TLS, with defaults.
local function check_tls(given)
    if given == true then
        given = {}
    elseif type(given) ~= "table" then
        fail("app.connect: tls: true or a table of options expected, got " .. describe(given))
    end
    local what = "app.connect: tls"
    check_names(what, "option", given, tls_options)
    local pair = check_option(what, given, "client_cert", "table", "{ cert = file, key = file }") or {}
    check_names(what .. ": client_cert", "option", pair, { "cert", "key" })
    return {
        name = check_option(what, given, "server_name", "string", '"example.org"'),
        verify = check_option(what, given, "verify", "boolean", "false") ~= false,
        ca = at_base(check_pem(what .. ": ca", given.ca)),
        cert = at_base(check_pem(what .. ": client_cert.cert", pair.cert)),
        key = at_base(check_pem(what .. ": client_cert.key", pair.key)),
        alpn = check_option(what, given, "alpn", "string", '"http/1.1"'),
        min_version = check_option(what, given, "min_version", "string", '"1.3"'),
    }
end

-- A short text for a long one, such as PEM: the same for the same one, and for no other.
local short_names, short_count, SHORT_MAX = {}, 0, 100

local function shorten(text)
    if #text < 100 then
        return "=" .. text
    end
    if not short_names[text] then
        short_count = short_count + 1
        if short_count % SHORT_MAX == 0 then
            short_names = {} -- what is kept with the former names is not found again
        end
        short_names[text] = "#" .. short_count
    end
    return short_names[text]
end

-- The rest of the name of a pool: connections that differ in these must not be taken for each other.
local function describe_tls(tls, host)
    local parts = { tls.name or host or "", tostring(tls.verify), tls.alpn or "", tls.min_version or "" }
    for _, name in ipairs { "ca", "cert", "key" } do
        parts[#parts + 1] = shorten(tls[name] or "")
    end
    return " tls\0" .. table.concat(parts, "\0")
end

function app.connect(address, options)
    local host, port = parse_address(address)
    local object = new_socket "app.connect"
    local pool, tls = address, nil
    if options ~= nil then
        if type(options) ~= "table" then
            fail("app.connect: a table of options expected, got " .. describe(options))
        end
        check_names("app.connect", "option", options, { "pool", "timeout", "tls" }, place_of_option)
        pool = check_option("app.connect", options, "pool", "string", '"cache"') or address
        if options.timeout ~= nil then
            settimeout(object, options.timeout, "app.connect: timeout")
        end
        tls = options.tls and check_tls(options.tls)
        pool = tls and pool .. describe_tls(tls, host) or pool
    end
    local ok, err = open(object, host, port, "s" .. pool)
    if ok and tls and not has_tls(object) then
        ok, err = shake_hands(object, tls.name, tls.verify, tls.ca, tls.cert, tls.key, tls.alpn, tls.min_version)
    end
    if not ok then
        return nil, err
    end
    return object
end

-- What ngx.socket.tcp() gives; and app.connect without its looks at the address and the options.
shared.new_socket, shared.open_socket = new_socket, open
