-- Files of tests: the cookies that a client keeps, as browsers do (RFC 6265). See rehearsal.c.

local core, _, shared = ...
local ipairs, setmetatable, tonumber, type = ipairs, setmetatable, tonumber, type
local os, table = os, table

local jar = {}
jar.__index = jar

function shared.new_jar()
    return setmetatable({}, jar)
end

-- Read a Set-Cookie field: name, value and attributes by their names in lower case; true for those without a value.
function shared.read_cookie(text)
    local name, value = text:match "^%s*([^=;]-)%s*=%s*([^;]-)%s*%f[;%z]"
    if not name then
        return nil
    end
    local cookie = { name = name, value = value }
    for attribute in text:gmatch ";%s*([^;]*)" do
        local key, content = attribute:match "^([^=]-)%s*=%s*(.-)%s*$"
        key = (key or attribute):lower():gsub("%s+$", "")
        if key ~= "name" and key ~= "value" and key ~= "" then
            cookie[key] = content or true
        end
    end
    return cookie
end

-- When a cookie ends, in seconds since the epoch; nil: with the client.
local function end_of(cookie)
    local seconds = tonumber(cookie["max-age"])
    if seconds then
        return os.time() + seconds
    end
    return type(cookie.expires) == "string" and core.http_date(cookie.expires) or nil
end

local function is_in_domain(host, domain)
    return host == domain or (host:sub(-#domain - 1) == "." .. domain)
end

local function is_below(path, folder)
    return path == folder or (path:sub(1, #folder) == folder and (folder:sub(-1) == "/" or path:sub(#folder + 1, #folder + 1) == "/"))
end

-- Keep what a response from host and path sets.
function jar:take(cookie, host, path)
    local domain = type(cookie.domain) == "string" and cookie.domain:lower():gsub("^%.", "") or nil
    if domain and not is_in_domain(host, domain) then
        return
    end
    local folder = type(cookie.path) == "string" and cookie.path:sub(1, 1) == "/" and cookie.path
        or path:match "^(/.*)/" or "/"
    local entry = { name = cookie.name, value = cookie.value, domain = domain, host = host, path = folder,
        ends = end_of(cookie) }
    for i = #self, 1, -1 do
        local old = self[i]
        if old.name == entry.name and old.path == folder and (old.domain or old.host) == (domain or host) then
            table.remove(self, i)
        end
    end
    if not entry.ends or entry.ends > os.time() then
        self[#self + 1] = entry
    end
end

-- The cookies for a request, those with the longest path first.
function jar:list(host, path)
    local found = {}
    for i, cookie in ipairs(self) do
        local is_alive = not cookie.ends or cookie.ends > os.time()
        local is_for = cookie.domain and is_in_domain(host, cookie.domain) or cookie.host == host
        if is_alive and is_for and is_below(path, cookie.path) then
            found[#found + 1] = { cookie = cookie, place = i }
        end
    end
    table.sort(found, function(a, b)
        if #a.cookie.path ~= #b.cookie.path then
            return #a.cookie.path > #b.cookie.path
        end
        return a.place < b.place
    end)
    for i, each in ipairs(found) do
        found[i] = each.cookie
    end
    return found
end

-- The field Cookie, or nil.
function jar:field(host, path)
    local pairs_of = {}
    for i, cookie in ipairs(self:list(host, path)) do
        pairs_of[i] = cookie.name .. "=" .. cookie.value
    end
    return #pairs_of > 0 and table.concat(pairs_of, "; ") or nil
end
