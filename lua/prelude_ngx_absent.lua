-- What makes sense inside nginx alone. Each is a function that raises an error with the way to do it here: drivers that
-- keep it in a local variable, and do not call it, still load. See prelude_ngx.lua.

local core, _, shared = ...
local fail = core.fail
local ngx, assigned, lazy = shared.ngx, shared.ngx_assigned, shared.ngx_lazy
local package, pairs, string = package, pairs, string

local function absent(name, way)
    return function()
        fail(string.format("%s is not there: %s", name, way))
    end
end

local body = "return the body from the handler, or a function that writes it piece by piece with out:write"
local ways = {
    print = body,
    say = body,
    flush = body,
    eof = body,
    send_headers = "return the status and the headers from the handler",
    exit = "return the status from the handler; app.error(status, body) ends it from anywhere",
    redirect = "return app.redirect(url) from the handler",
    exec = "call the function of the other route, or return app.redirect(url)",
    on_abort = "a handler whose client has gone ends at its next wait; app.defer(fn) runs after the response",
    run_worker_thread = nil, -- drivers look whether it is there
}
for name, way in pairs(ways) do
    ngx[name] = absent("ngx." .. name, way)
end

ngx.location = {
    capture = absent("ngx.location.capture", "call the function of the other route"),
    capture_multi = absent("ngx.location.capture_multi", "app.all(fn, ...) calls functions at the same time"),
}

local changed = "a handler passes things on in fields of its own: req.name = value"
for name, way in pairs {
    socket = "read the body with req:chunks(), and write with out:write in a stream",
    raw_header = "req.headers has the fields",
    set_header = changed,
    clear_header = changed,
    set_method = changed,
    set_uri = changed,
    set_uri_args = changed,
    set_body_data = changed,
    set_body_file = changed,
    init_body = changed,
    append_body = changed,
    finish_body = changed,
    start_time = "app.now() measures time",
    discard_body = "a body that no handler reads is discarded",
} do
    ngx.req[name] = absent("ngx.req." .. name, way)
end

ngx.resp = { get_headers = absent("ngx.resp.get_headers", "ngx.header.name has a field that was added") }

-- Fields. ngx.status and ngx.headers_sent are read and set in handlers of nginx.

function assigned.status()
    fail "ngx.status is not there: return the status from the handler"
end

function lazy.status()
    fail "ngx.status is not there: return the status from the handler"
end

function lazy.headers_sent()
    return core.has_request() and not core.is_open()
end

-- Modules of lua-resty-core, which look into nginx.

for name, way in pairs {
    balancer = "a proxy in front of evserve balances",
    errlog = "ngx.log writes to the log",
    ocsp = "evserve has no hooks in the handshake",
    pipe = "a worker may run programs: app.worker",
    process = "evserve has threads, no processes: app.stats() says more",
    re = "ngx.re of this module has match, find, gmatch, sub and gsub; there is no split",
    req = "ngx.req has what there is",
    resp = "return the headers from the handler",
    ssl = "app.tls has the certificates",
    ["ssl.clienthello"] = "app.tls has the certificates",
    ["ssl.session"] = "app.tls has the certificates",
} do
    package.preload["ngx." .. name] = absent("the module ngx." .. name, way)
end
