-- How handlers, streams and timers run: how C enters them, middleware around them, and waiting. See prelude.lua.

local core, app, shared = ...
local select, setmetatable, type, xpcall = select, setmetatable, type, xpcall

-- Requests. C calls serve() in xpcall with the function of the route, which without middleware is the handler itself. If
-- that has returned anything but a short text, C calls respond() with it; and run_stream() if that begins a stream, or
-- run_failed() if either fails.

local answer, finish, current_request = core.answer, core.finish, core.current_request
local report, recover, decline = core.report, core.recover, core.decline
local is_response = shared.is_response

-- The functions are not called last: the place of an error, and the names in a traceback, come from these lines.
core.ref("serve", function(handler, req)
    return select(1, handler(req))
end)

core.ref("respond", function(...)
    return select(1, answer(...))
end)

local function stream(fn, out)
    if fn then
        fn(out)
        finish()
    end
end

-- Whether the returned values have a status of their own, or get one from elsewhere. The 200 of app.html() does not
-- count.
local function has_status(a)
    return type(a) == "number" or (is_response(a) and (a == app.pass or (a.status or 200) ~= 200))
end

shared.has_status = has_status

-- Call the error function after a failure. If it returns nothing, the plain response is sent; the default status is
-- 500.
local function serve_error(handler, err)
    local a, b, c = handler(current_request(), err)
    if a == nil then
        decline(err)
    elseif has_status(a) then
        return stream(answer(a, b, c))
    else
        return stream(answer(500, a, b, c))
    end
end

local function settle(ok, err)
    while not ok do
        shared.note_failure(err)
        local on_error = recover(err)
        if not on_error then
            return
        end
        ok, err = xpcall(serve_error, report, on_error, err)
    end
end

core.ref("run_failed", settle)

core.ref("run_stream", function(fn, out)
    settle(xpcall(stream, report, fn, out))
end)

core.ref("xpcall", xpcall)
core.ref("report", report)

core.ref("run_timer", function(fn)
    local ok, err = xpcall(fn, report)
    if not ok then
        recover(err)
    end
end)

-- Deferred functions. The request is over when they run, so its fields are kept.

function app.defer(fn)
    if core.defer(fn) then
        core.keep_request()
    end
end

core.ref("run_deferred", function()
    for fn in core.next_deferred do
        local ok, err = xpcall(fn, report)
        if not ok then
            recover(err)
        end
    end
end)

-- Waiting. This single value is the error that ends a coroutine whose client has gone.

local closed = setmetatable({}, {
    __tostring = function()
        return "the client has gone"
    end,
})

shared.closed = closed

core.ref("closed", closed)
