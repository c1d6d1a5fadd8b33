-- Texts: escaping, base64, checksums and digests of "ngx"; what lua-nginx-string calls in C. See prelude_ngx.lua.

local core, _, shared = ...
local fail, describe = core.fail, shared.describe
local ngx, lazy = shared.ngx, shared.ngx_lazy
local error, ipairs, pairs, pcall, rawset, setmetatable = error, ipairs, pairs, pcall, rawset, setmetatable
local package, string, table, tonumber, tostring, type = package, string, table, tonumber, tostring, type
local encode, decode, hex, crc32, digest, hmac = core.encode_base64, core.decode_base64, core.hex, core.crc32, core.digest, core.hmac
local url_encode, unescape = core.url_encode, core.unescape

local PADDED, BARE, URL = 0, 1, 2 -- as in core/base64.h
local ARGS_MAX = 100 -- names and values that decode_args() takes, unless its caller says otherwise

-- nginx's functions take anything for a text; nil is the empty one.
local function text_of(value)
    if type(value) == "string" then
        return value
    end
    return value == nil and "" or tostring(value)
end

local function check_text(what, value)
    if type(value) == "number" then
        return tostring(value)
    elseif type(value) ~= "string" then
        fail(string.format("%s: a string expected, got %s", what, describe(value)))
    end
    return value
end

-- Base64.

function ngx.encode_base64(text, no_padding)
    return (encode(text_of(text), no_padding and BARE or PADDED))
end

function ngx.decode_base64(text)
    return (decode(check_text("ngx.decode_base64", text), false))
end

function ngx.decode_base64mime(text)
    text = check_text("ngx.decode_base64mime", text):gsub("[^%w+/=]", "")
    return (decode(text, false))
end

package.preload["ngx.base64"] = function()
    return {
        encode_base64url = function(text)
            return (encode(check_text("encode_base64url", text), URL))
        end,
        decode_base64url = function(text)
            local bytes = decode(check_text("decode_base64url", text), true)
            if not bytes then
                return nil, "invalid input"
            end
            return bytes
        end,
    }
end

-- Addresses.

local function percent(byte)
    return string.format("%%%02X", byte:byte())
end

local unescaped = { ["%21"] = "!", ["%27"] = "'", ["%28"] = "(", ["%29"] = ")", ["%2A"] = "*" }

local function escape(text)
    return (url_encode(text):gsub("%%2[1789A]", unescaped))
end

function ngx.escape_uri(text, kind)
    if kind == 0 then -- a whole address, whose own characters stay
        return (text_of(text):gsub('[%z\1-\32#%%%?\127-\255]', percent))
    end
    return escape(text_of(text))
end

function ngx.unescape_uri(text)
    return (unescape(text_of(text)))
end

function ngx.encode_args(args)
    if type(args) ~= "table" then
        fail("ngx.encode_args: a table expected, got " .. describe(args))
    end
    local parts = {}
    local function add(name, value)
        if value == true then
            parts[#parts + 1] = escape(name)
        elseif type(value) == "string" or type(value) == "number" then
            parts[#parts + 1] = escape(name) .. "=" .. escape(tostring(value))
        elseif value then
            fail(string.format("ngx.encode_args: %s: text, a number or a boolean expected, got %s", name, describe(value)))
        end
    end
    for name, value in pairs(args) do
        for _, one in ipairs(type(value) == "table" and value or { value }) do
            add(tostring(name), one)
        end
    end
    return table.concat(parts, "&")
end

local function add_arg(args, name, value)
    local old = args[name]
    if old == nil then
        args[name] = value
    elseif type(old) == "table" then
        old[#old + 1] = value
    else
        args[name] = { old, value }
    end
end

-- Names without "=" are true.
function shared.parse_args(text, most)
    local args, count = {}, 0
    most = most or ARGS_MAX
    if type(most) ~= "number" then
        fail("ngx: the number of arguments to take expected, got " .. describe(most))
    end
    for pair in text:gmatch("[^&]+") do
        local name, value = pair:match("^([^=]*)=(.*)$")
        if most > 0 and count >= most then
            return args, "truncated"
        end
        count = count + 1
        if name ~= "" then
            add_arg(args, unescape(name or pair), value and unescape(value) or true)
        end
    end
    return args
end

function ngx.decode_args(text, most)
    return shared.parse_args(check_text("ngx.decode_args", text), most)
end

local sql = {
    ["\0"] = "\\0", ["\n"] = "\\n", ["\r"] = "\\r", ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"', ["\26"] = "\\Z",
    ["\b"] = "\\b", ["\t"] = "\\t",
}

function ngx.quote_sql_str(text)
    return "'" .. text_of(text):gsub("[%z\n\r\\'\"\26\b\t]", sql) .. "'"
end

-- Checksums.

function ngx.crc32_short(text)
    return (crc32(check_text("ngx.crc32_short", text)))
end

ngx.crc32_long = ngx.crc32_short

-- Digests are OpenSSL's. It is loaded when a script first mentions one of them, which drivers do while they load:
-- later, a sandbox does not allow it.

local function check_digest(what, bytes, err)
    if not bytes then
        local text = "%s needs OpenSSL; in a sandbox, load it while the script starts: local digest = %s at its top (%s)"
        fail(string.format(text, what, what, err))
    end
    return bytes
end

local function binary(what, kind, text)
    return (check_digest(what, digest(kind, text_of(text))))
end

local digests = {
    md5_bin = function(text)
        return (binary("ngx.md5_bin", "md5", text))
    end,
    md5 = function(text)
        return (hex(binary("ngx.md5", "md5", text)))
    end,
    sha1_bin = function(text)
        return (binary("ngx.sha1_bin", "sha1", text))
    end,
    hmac_sha1 = function(key, text)
        return (check_digest("ngx.hmac_sha1", hmac("sha1", text_of(key), text_of(text))))
    end,
}

for name, fn in pairs(digests) do
    lazy[name] = function()
        core.load_digests() -- if that fails, a call says so
        rawset(ngx, name, fn)
        return fn
    end
end

-- C functions. nginx exports some that drivers call through ffi.C, and is linked with libcrypto, so that drivers find
-- its functions there. Here ffi.C is a table that has the former, and looks into libcrypto for the latter.

local atoi = {
    ngx_hex_dump = function(ffi, out, text, len)
        ffi.copy(out, hex(ffi.string(text, len)), 2 * len)
        return out + 2 * len
    end,
    ngx_atoi = function(ffi, text, len)
        text = ffi.string(text, len)
        local number = text:find("^%d+$") and tonumber(text)
        return number and number < 2 ^ 53 and number or -1
    end,
}

local function extend_ffi(ffi)
    local names, crypto = ffi.C, nil
    local known = setmetatable({}, {
        __index = function(known, name)
            local ok, value = pcall(function() return names[name] end)
            if not ok and crypto == nil then
                local found, library = pcall(ffi.load, "libcrypto.so.3")
                crypto = found and library
            end
            if not ok and crypto then
                ok, value = pcall(function() return crypto[name] end)
            end
            if not ok then
                error(value, 2)
            end
            if type(value) == "cdata" and tostring(ffi.typeof(value)):find("%(%)>$") then
                rawset(known, name, value) -- a function stays what it is
            end
            return value
        end,
        __newindex = function(_, name, value)
            names[name] = value
        end,
    })
    for name, fn in pairs(atoi) do
        rawset(known, name, function(...)
            return fn(ffi, ...)
        end)
    end
    ffi.C = known
    return ffi
end

local loaded, preload = package.loaded, package.preload
local open_ffi = preload.ffi

if type(loaded.ffi) == "table" then
    extend_ffi(loaded.ffi)
elseif open_ffi then
    preload.ffi = function(...)
        return extend_ffi(open_ffi(...))
    end
end
