-- Sockets for datagrams: what waits. See bind_udp.c and prelude.lua.

local core, app, shared = ...
local give_up = shared.give_up
local connect, receive, wait = core.udp_connect, core.udp_receive, core.udp_wait
local name, named = core.udp_name, core.udp_named
local collectgarbage = collectgarbage

app.udp = core.udp_new

local methods = core.udp_methods

-- Sockets whose objects the script has lost are closed by the collector, which may be late when they are many.
local function connect_by_name(socket, host, port)
    local ok, err = connect(socket, host, port)
    if ok or err then
        return ok, err
    end
    ok, err = name(socket, host, port)
    if ok == false then
        give_up(err)
    end
    if ok == 1 or err then
        return ok, err
    end
    return named(socket)
end

function methods.setpeername(socket, host, port)
    local ok, err = connect_by_name(socket, host, port)
    if err == "too many sockets" or err == "too many open files" then
        collectgarbage()
        ok, err = connect_by_name(socket, host, port)
    end
    return ok, err
end

function methods.receive(socket, size)
    local data, err = receive(socket, size)
    while data == nil do
        if err then
            return nil, err
        end
        local ok, why = wait(socket)
        if ok == nil then
            return nil, "timeout"
        end
        if not ok then
            give_up(why)
        end
        data, err = receive(socket, size, true)
    end
    return data
end
