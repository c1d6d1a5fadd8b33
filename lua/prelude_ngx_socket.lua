-- Sockets, as "ngx" has them: those of app.connect and app.udp, which have nginx's methods. See prelude_ngx.lua.

local _, app, shared = ...
local ngx, new_socket, new_udp = shared.ngx, shared.new_socket, app.udp

local socket = {}
ngx.socket = socket

function socket.tcp()
    local object = new_socket()
    return object
end

socket.stream = socket.tcp

function socket.connect(...)
    local object = new_socket()
    local ok, err = object:connect(...)
    if not ok then
        return nil, err
    end
    return object
end

function socket.udp()
    local object = new_udp()
    return object
end
