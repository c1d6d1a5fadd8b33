-- Password hashes, which threads compute: also in workers, on their own threads. See bind_password.c.

local core, app, shared = ...
local fail, describe = core.fail, shared.describe
local hash, verify, take = core.password_hash, core.password_verify, core.password_take
local type = type

-- The result is there, or to be taken, or the client has gone. value may be an error.
local function finish(ok, value)
    if not ok then
        shared.give_up(value)
    end
    if value == nil then
        return (take())
    end
    return value
end

app.password = {
    hash = function(password, options)
        if options ~= nil and type(options) ~= "table" then
            fail("app.password.hash: a table such as { cost = 5 } expected, got " .. describe(options))
        end
        shared.check_names("app.password.hash", "option", options or {}, { "cost" })
        return (finish(hash(password, options and options.cost)))
    end,
    verify = function(password, stored)
        if password == nil then -- the client has sent none
            return false
        end
        return (finish(verify(password, stored)))
    end,
}
