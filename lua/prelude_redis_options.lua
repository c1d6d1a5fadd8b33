-- What app.store is told about a store in Redis: its URL and its other options. Loaded with prelude_redis.lua, before it.

local core, app, shared = ...
local fail, describe, check_names = core.fail, shared.describe, shared.check_names
local tonumber, tostring, type = tonumber, tostring, type
local string, table = string, table

local PORT, PORT_MAX = 6379, 65535
local DATABASE_MAX = 1000000
local TIMEOUT = "1s" -- to connect, and for each piece of a reply

local function unescape(text)
    return (text:gsub("%%(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
    end))
end

-- URLs may contain passwords, so no error shows one.
local function fail_url()
    fail 'app.store: redis: a URL such as "redis://127.0.0.1:6379/0", "rediss://user:password@host" or "unix:/run/redis.sock" expected'
end

-- Take a URL apart: address, whether it asks for TLS, user, password, database.
local function parse_url(url)
    if type(url) ~= "string" then
        fail('app.store: redis: a URL such as "redis://127.0.0.1:6379/0" expected, got ' .. type(url))
    end
    if url:find "^unix:." then
        return url, false
    end
    local scheme, authority, path = url:match "^(rediss?)://([^/?#]*)(.*)$"
    if not scheme then
        fail_url()
    end
    local userinfo, place = authority:match "^(.*)@([^@]*)$"
    place = place or authority
    local user, password
    if userinfo then
        user, password = userinfo:match "^([^:]*):(.*)$"
        if not user then
            fail "app.store: redis: the URL has a user without a password: redis://user:password@host or redis://:password@host"
        end
        user, password = unescape(user), unescape(password)
    end
    local host, port = place:match "^(%[[%x:.]+%]):?(%d*)$"
    if not host then
        host, port = place:match "^([%w._-]+):?(%d*)$"
    end
    local database = path:match "^/?(%d*)$"
    if not host or not database then
        fail_url()
    end
    return host .. ":" .. (port == "" and PORT or port), scheme == "rediss", user, password, database
end

-- Host and port of an address, or the path of a unix socket alone.
local function split_address(address)
    local path = address:match "^unix:(.*)$"
    if path then
        return path
    end
    local host, port = address:match "^%[?(.-)%]?:(%d+)$"
    return host, tonumber(port)
end

local function check_text(name, value)
    if value ~= nil and type(value) ~= "string" then
        fail(string.format("app.store: %s: text expected, got %s", name, type(value)))
    end
    return value
end

local function check_database(value)
    local number = tonumber(value)
    if not number or number < 0 or number > DATABASE_MAX or number % 1 ~= 0 then
        fail(string.format("app.store: db: a number from 0 to %d expected, got %s", DATABASE_MAX, describe(value)))
    end
    return number
end

-- The commands with which a new connection begins.
local function greeting_of(user, password, database)
    local commands = {}
    if password then
        commands[1] = user and user ~= "" and { "AUTH", user, password } or { "AUTH", password }
    end
    if database ~= 0 then
        commands[#commands + 1] = { "SELECT", string.format("%d", database) }
    end
    return commands
end

-- The place of a store in Redis, how it is connected with, and how a new connection begins.
function shared.redis_place(options)
    if options.size ~= nil then
        fail "app.store: size: Redis has a size of its own (maxmemory), which holds for all that is in it"
    end
    check_names("app.store", "option", options, { "db", "password", "redis", "timeout", "tls", "user" })
    local address, wants_tls, user, password, database = parse_url(options.redis)
    user = check_text("user", options.user) or user
    password = check_text("password", options.password) or password
    database = check_database(options.db or database ~= "" and database or 0)
    if user and user ~= "" and not password then
        fail "app.store: user: a password is missing"
    end
    local tls = options.tls
    if tls ~= nil and type(tls) ~= "boolean" and type(tls) ~= "table" then
        fail("app.store: tls: true or a table of options expected, got " .. describe(tls))
    end
    if wants_tls and tls == false then
        fail "app.store: tls: the URL asks for TLS (rediss://), and this option refuses it"
    end
    if tls == nil then
        tls = wants_tls or nil
    end
    local pool = table.concat({ "redis", address, tostring(tls), user or "", password or "", tostring(database) }, "\0")
    local host, port = split_address(address)
    if port and (port < 1 or port > PORT_MAX) then
        fail(string.format("app.store: redis: a port from 1 to %d expected, got %d", PORT_MAX, port))
    end
    return {
        address = address,
        host = host,
        port = port,
        pool = "s" .. pool, -- as app.connect names it
        options = { pool = pool, timeout = core.redis_timeout(options.timeout or TIMEOUT), tls = tls },
        greeting = greeting_of(user, password, database),
    }
end
