-- store:incr for routes with jit = true. LuaJIT compiles no call of a C function of Lua's API, so each would end the
-- compiled code of a loop; it does compile calls through the FFI. This file is loaded by the first route of that kind.
-- The function below takes the place of the one in C, and leaves to it all that is unusual: other keys than text, an
-- initial value, a time to live, and every mistake. See bind_store.c.

local core = ...
local jit, pcall, require, setmetatable, type = jit, pcall, require, setmetatable, type

local has_ffi, ffi = pcall(require, "ffi")
if not has_ffi then -- a LuaJIT that was built without
    return
end

local methods = core.store_methods
local add_in_c, index_of = methods.incr, core.store_index
local add = ffi.cast("int (*)(void *, uint32_t, const char *, size_t, double, double *)",
    ffi.cast("void *", core.store_adder))
local scope = ffi.cast("void *", core.store_scope)
local sum = ffi.new "double[1]"
local indexes = setmetatable({}, { __mode = "k" }) -- of the objects that add_in_c() has taken for stores

function methods.incr(object, key, number, initial, ttl)
    local index = indexes[object]
    number = number == nil and 1 or number
    if index and initial == nil and ttl == nil and type(key) == "string" and type(number) == "number"
        and number - number == 0 and add(scope, index, key, #key, number, sum) == 0 then
        return sum[0]
    end
    local result = add_in_c(object, key, number, initial, ttl)
    indexes[object] = index_of(object)
    return result
end

jit.on(methods.incr)
