-- What a worker's module finds in `require "evserve"`: what makes sense off the loop. See prelude.lua.

local core, app, shared = ...
local fail = core.fail
local package, pairs, setmetatable, table, tostring = package, pairs, setmetatable, table, tostring

function app.store(name, options)
    local store = core.store("app.store", name, options) -- no tail call: errors name the module's line
    return store
end

shared.why_no_ngx = "ngx is not there in a worker, whose functions run off the loop: call it in the site"
package.preload.ngx = function()
    fail(shared.why_no_ngx)
end

local has = {}
for name in pairs(app) do
    has[#has + 1] = "app." .. name
end
table.sort(has)
local list = table.concat(has, ", ")

setmetatable(app, {
    __index = function(_, name)
        local text = "app.%s is not there in a worker, whose functions run off the loop; there are %s"
        fail(text:format(tostring(name), list))
    end,
})
