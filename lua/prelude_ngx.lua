-- The module "ngx": what drivers that were written for nginx's Lua module use. These files run when a script first
-- requires it; README.md has the list of what is there. What nginx's documentation says of a function holds here, too:
-- arguments, results and error texts, which drivers compare. See prelude.lua.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local getmetatable, ipairs, pairs, rawset = getmetatable, ipairs, pairs, rawset
local select, setmetatable, string, table, tostring, type = select, setmetatable, string, table, tostring, type
local os, package = os, package
local wall_time, thread_of, stopping = core.wall_time, core.thread, core.stopping

local ngx = {}
local lazy = {} -- by name: makes what is expensive, and puts it into ngx; or what depends on the request
local assigned = {} -- by name: what an assignment to it does
shared.ngx, shared.ngx_lazy, shared.ngx_assigned = ngx, lazy, assigned
ngx.null = core.null

-- Constants.

ngx.OK, ngx.ERROR, ngx.AGAIN, ngx.DONE, ngx.DECLINED = 0, -1, -2, -4, -5

for i, name in ipairs { "STDERR", "EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO", "DEBUG" } do
    ngx[name] = i - 1
end

for name, value in pairs {
    GET = 2, HEAD = 4, POST = 8, PUT = 16, DELETE = 32, MKCOL = 64, COPY = 128, MOVE = 256, OPTIONS = 512,
    PROPFIND = 1024, PROPPATCH = 2048, LOCK = 4096, UNLOCK = 8192, PATCH = 16384, TRACE = 32768,
    CONTINUE = 100, SWITCHING_PROTOCOLS = 101, OK = 200, CREATED = 201, ACCEPTED = 202, NO_CONTENT = 204,
    PARTIAL_CONTENT = 206, SPECIAL_RESPONSE = 300, MOVED_PERMANENTLY = 301, MOVED_TEMPORARILY = 302, SEE_OTHER = 303,
    NOT_MODIFIED = 304, TEMPORARY_REDIRECT = 307, PERMANENT_REDIRECT = 308, BAD_REQUEST = 400, UNAUTHORIZED = 401,
    PAYMENT_REQUIRED = 402, FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, NOT_ACCEPTABLE = 406,
    REQUEST_TIMEOUT = 408, CONFLICT = 409, GONE = 410, UPGRADE_REQUIRED = 426, TOO_MANY_REQUESTS = 429, CLOSE = 444,
    ILLEGAL = 451, INTERNAL_SERVER_ERROR = 500, METHOD_NOT_IMPLEMENTED = 501, BAD_GATEWAY = 502,
    SERVICE_UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504, VERSION_NOT_SUPPORTED = 505, INSUFFICIENT_STORAGE = 507,
} do
    ngx["HTTP_" .. name] = value
end

-- The log.

local levels = { "error", "error", "error", "error", "error", "warn", "info", "info", "debug" } -- of STDERR and on

local function log_text(i, value)
    if type(value) == "table" and not (getmetatable(value) or {}).__tostring then
        fail(string.format("ngx.log: argument %d is a table without a __tostring metamethod", i + 1))
    end
    return tostring(value)
end

function ngx.log(level, ...)
    if type(level) ~= "number" or not levels[level + 1] then
        fail("ngx.log: a level such as ngx.ERR expected, got " .. describe(level))
    end
    local texts = { ... }
    for i = 1, select("#", ...) do
        texts[i] = log_text(i, texts[i])
    end
    app.log(levels[level + 1], table.concat(texts))
end

-- Time. nginx keeps the time of the last event; here it is that of the call.

function ngx.now()
    return wall_time()
end

function ngx.time()
    return os.time()
end

function ngx.update_time()
end

function ngx.today()
    return os.date("%Y-%m-%d")
end

function ngx.localtime()
    return os.date("%Y-%m-%d %H:%M:%S")
end

function ngx.utctime()
    return os.date("!%Y-%m-%d %H:%M:%S")
end

local function date_of(what, seconds)
    local date = core.date(what, seconds) -- no tail call: errors name the script's line
    return date
end

function ngx.http_time(seconds)
    return (date_of("ngx.http_time", seconds))
end

function ngx.cookie_time(seconds) -- as browsers of the nineties wrote it
    local day, date, month, year, rest = date_of("ngx.cookie_time", seconds):match("^(%a+), (%d+) (%a+) (%d+) (.*)$")
    return string.format("%s, %s-%s-%s %s", day, date, month, year > "2037" and year or year:sub(3), rest)
end

function ngx.parse_http_time(text)
    if type(text) ~= "string" then
        fail("ngx.parse_http_time: a string expected, got " .. describe(text))
    end
    return (core.parse_date(text))
end

-- The server.

local version = 10023 -- of the Lua module that behaves as this one: drivers look at it to learn what they may call

ngx.config = {
    subsystem = "http",
    debug = false,
    nginx_version = 1022001,
    ngx_lua_version = version,
    prefix = function()
        return "./" -- relative paths start in the folder that the server was started in
    end,
    nginx_configure = function()
        return ""
    end,
}

ngx.worker = {
    id = function()
        return (thread_of())
    end,
    pid = function()
        return (select(2, thread_of()))
    end,
    exiting = function()
        return stopping()
    end,
}

function ngx.get_phase()
    return core.phase()
end

-- Modules that drivers require beside it. The functions of resty.core are there without it.

local preload = package.preload

local function empty_module()
    return { version = "evserve" }
end

preload["resty.core"] = empty_module
for _, name in ipairs { "base64", "ctx", "exit", "hash", "misc", "phase", "regex", "request", "response", "shdict", "socket",
    "time", "uri", "var", "worker" } do
    preload["resty.core." .. name] = empty_module
end

setmetatable(ngx, {
    __index = function(_, name)
        local make = lazy[name]
        return make and make()
    end,
    __newindex = function(_, name, value)
        local set = assigned[name]
        if set then
            set(value)
        else
            rawset(ngx, name, value)
        end
    end,
})
