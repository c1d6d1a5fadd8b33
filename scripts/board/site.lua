-- A team's status board: sign up, say what you are at, see at once what the others say.
--
--     apt install lua-sql-sqlite3
--     ./evserve scripts/board/site.lua            # http://127.0.0.1:8085
--     ./evserve --test scripts/board/board_test.lua scripts/board/site.lua
--
-- As a service of the package: copy the folder to /etc/evserve/board, and write into /etc/default/evserve
--
--     EVSERVE_SITE="/etc/evserve/board/site.lua"
--     BOARD_DATA="/var/lib/evserve"
--     BOARD_SECRET="..."                           # openssl rand -hex 32
--     BOARD_LISTEN=":443?tls"
--     BOARD_TLS="/etc/evserve/cert.pem,/etc/evserve/key.pem"
--
-- Environment variables: BOARD_SECRET (at least 32 bytes, so that sessions outlive a restart), BOARD_DATA (a directory for
-- the database and the images), BOARD_LISTEN, BOARD_TLS, BOARD_LOG (where the access log goes), BOARD_REDIS (a URL, for
-- several servers), BOARD_CHECKS (URLs of services to look at, with commas), BOARD_HOOK (the secret of the webhook),
-- BOARD_ORIGINS (origins whose pages may use the API, with commas).

local app = require "evserve"

local function env(name, default)
    local value = os.getenv("BOARD_" .. name)
    return value ~= "" and value or default
end

local DATA = require "data"
local SECRET = env("SECRET", app.random(32))
local STATES = { "here", "busy", "away" }
local IMAGE_TYPES = { ["image/png"] = "png", ["image/jpeg"] = "jpg", ["image/gif"] = "gif", ["image/webp"] = "webp" }

app.set { base = "script", max_body = "64K", access_log = env("LOG"), broker = env "REDIS" }
app.listen(env("LISTEN", "127.0.0.1:8085"))
if env "TLS" then
    app.tls { cert = env("TLS"):match "^[^,]+", key = env("TLS"):match ",(.+)$" }
end

-- What holds for all requests, without a line of Lua for each.

app.static("/static", "public", { cache = "1h" })
app.health "/healthz"
app.metrics "/metrics"
app.allow("/metrics", "127.0.0.1, ::1, unix:")
app.headers("/", { ["content-security-policy"] = "default-src 'self'", ["x-content-type-options"] = "nosniff" })
app.limit("/sign", { rate = "30/m", burst = 30 })
app.limit("/", { concurrency = 50 })
app.cors("/api", { origins = env("ORIGINS", "https://board.example"), methods = "GET, POST", headers = "content-type" })
app.error_page(404, "pages/404.html")
app.error_page("5xx", "pages/500.html")

app.session { secret = SECRET, max_age = "168h", cookie = "board" }

local db = app.worker("db.lua", { threads = 2, queue = 100 })
local signed_up = app.counter("board_users_total", "People who have signed up.")

-- Pages.

local pages = {}
for _, name in ipairs { "board", "sign", "person" } do
    pages[name] = app.template("pages/" .. name .. ".html")
end

local function show(req, name, values, status)
    values.user, values.csrf, values.flashes = req.session.user, req:csrf(), req:flashes()
    return status or 200, pages[name](values)
end

local function back(req, path, text)
    req:flash(text)
    return app.redirect(path, 303)
end

-- Routes for those who have signed in.
local members = app.group ""
members.use(function(req, nxt)
    req.user = req.session.user
    return req.user and nxt() or back(req, "/signin", "Please sign in first.")
end)

-- The text of a field, checked: 1 to most characters of UTF-8, without control characters.
local function check_text(value, name, most)
    local text = type(value) == "string" and value:match "^%s*(.-)%s*$" or ""
    local _, count = text:gsub("[^\128-\191]", "")
    if text == "" or count > most or text:find "%c" then
        return nil, ("%s: 1 to %d characters, please"):format(name, most)
    end
    return text
end

local function publish(post)
    app.publish("board", post, { event = "post" })
end

-- Add a post of a user, and tell everybody. Returns it, or nil and why not.
local function add_post(user, form, image)
    local text, why = check_text(form.text, "text", 280)
    local state = form.state or STATES[1]
    if not text then
        return nil, why
    elseif state ~= STATES[1] and state ~= STATES[2] and state ~= STATES[3] then
        return nil, "state: here, busy or away, please"
    end
    local post = db.add_post(user, text, state, image)
    publish(post)
    return post
end

app.get("/", function(req)
    return show(req, "board", { posts = db.posts(nil, 50), states = STATES })
end)

app.get("/people/:name", function(req)
    local posts = db.posts(nil, 50, req.params.name)
    return posts[1] and show(req, "person", { name = req.params.name, posts = posts }) or 404
end)

for _, action in ipairs { "signup", "signin" } do
    app.get("/" .. action, function(req)
        return show(req, "sign", { action = action, name = "" })
    end)
end

app.post("/signup", function(req)
    local form = req:form()
    local name, why = check_text(form.name, "name", 30)
    if name and not name:find "^[%w_.-]+$" then
        name, why = nil, "name: letters, digits and _ . - only, please"
    elseif name and #(form.password or "") < 8 then
        name, why = nil, "password: at least 8 characters, please"
    end
    if not name or not db.add_user(name, app.password.hash(form.password)) then
        req:flash(why or "This name is taken.")
        return show(req, "sign", { action = "signup", name = form.name or "" }, 422)
    end
    signed_up:inc()
    req.session = { user = name }
    return back(req, "/", "Welcome, " .. name .. "!")
end)

local nobody = app.password.hash "nobody's password" -- so that names which do not exist take as long

app.post("/signin", function(req)
    local form = req:form()
    local hash = db.password_of(form.name or "")
    if not app.password.verify(form.password or "", hash or nobody) or not hash then
        req:flash "Name or password is wrong."
        return show(req, "sign", { action = "signin", name = form.name or "" }, 401)
    end
    req.session = { user = form.name }
    return back(req, "/", "Hello again.")
end)

app.post("/signout", function(req)
    req.session = nil
    return app.redirect("/", 303)
end)

members.post("/posts", function(req)
    local post, why = add_post(req.user, req:form())
    return back(req, "/", post and "Posted." or why)
end)

-- Images: written to a file while they arrive. The browser shows how far it is (static/board.js).

members.post("/images", { max_body = "10M", body_timeout = "1m" }, function(req)
    local type = IMAGE_TYPES[req.headers["content-type"] or ""]
    if not type then
        return 415, { error = "an image, please: PNG, JPEG, GIF or WebP" }
    end
    local name = app.uuid() .. "." .. type
    local path = DATA .. "/images/" .. name
    local file = assert(io.open(path .. ".part", "wb"))
    local ok, err = pcall(function()
        for chunk in req:chunks() do
            assert(file:write(chunk))
        end
    end)
    file:close()
    if not ok then
        os.remove(path .. ".part")
        error(err, 0)
    end
    assert(os.rename(path .. ".part", path))
    local post, why = add_post(req.user, { text = req.query.text or "A picture" }, name)
    return post and 201 or 422, post or { error = why }
end)

app.get("/images/:name{[a-z0-9.-]+}", function(req) -- ranges and conditions are app.file's business
    return app.file(req.params.name, { root = DATA .. "/images", cache = "24h" })
end)

-- A JSON API.

local api = app.group "/api"

api.get("/posts", function(req)
    local limit, before = tonumber(req.query.limit or 20), tonumber(req.query.before)
    if not limit or limit < 1 or limit > 100 or limit % 1 ~= 0 or (req.query.before and not before) then
        return 422, { error = "limit: 1 to 100; before: the id of a post" }
    end
    local posts = db.posts(before, limit)
    local last = posts[limit]
    return { posts = app.json.array(posts), next = last and ("/api/posts?limit=%d&before=%d"):format(limit, last.id) }
end)

-- Programs bring a token, which members get for the asking: their name, sealed.
local token_terms = { secret = SECRET, purpose = "api", max_age = "720h" }

members.get("/token", function(req)
    return app.seal(req.user, token_terms) .. "\n"
end)

api.post("/posts", { csrf = false }, function(req)
    local user = app.open((req:header "authorization" or ""):match "^Bearer (%S+)$" or "", token_terms)
    if not user then
        return 401, { error = "bring a token: see /token" }, { ["www-authenticate"] = "Bearer" }
    end
    local post, why = add_post(user, req:json())
    return post and 201 or 422, post or { error = why }
end)

-- All posts as CSV, in pieces: the database is asked for 1,000 rows at a time, when the client has taken those before.

app.get("/export.csv", function()
    local quoted = function(text) return '"' .. text:gsub('"', '""') .. '"' end
    return 200, function(out)
        local after, rows = 0, nil
        out:write "id,time,name,state,text\r\n"
        repeat
            rows = db.posts_after(after, 1000)
            local lines = {}
            for i, row in ipairs(rows) do
                lines[i] = ("%d,%s,%s,%s,%s\r\n"):format(row.id, row.time, row.name, row.state, quoted(row.text))
                after = row.id
            end
            if not out:write(table.concat(lines)) then
                return -- the client has gone
            end
        until #rows < 1000
    end, { ["content-type"] = "text/csv; charset=utf-8", ["content-disposition"] = 'attachment; filename="board.csv"' }
end)

-- Live: each post goes to all browsers, through all threads; with BOARD_REDIS through all machines.

app.events("/live", { topic = "board", replay = 100, heartbeat = "15s" })

members.websocket("/chat", { max_message = "1K" }, function(ws)
    ws:subscribe "board"
    for text in ws:messages() do
        local post, why = add_post(ws.user, { text = text })
        if not post then
            ws:send { error = why }
        end
    end
end)

-- The services that the team runs, asked at the same time.

local function check(url)
    return function()
        local res, why = app.fetch(url, { timeout = "2s" })
        return { url = url, well = res and res.status < 400 or false, says = res and res.status or why }
    end
end

api.get("/checks", function()
    local checks = {}
    for url in env("CHECKS", ""):gmatch "[^,]+" do
        checks[#checks + 1] = check(url)
    end
    return app.json.array(#checks > 0 and { app.all(unpack(checks)) } or {})
end)

-- A webhook: whoever knows the secret posts a line of text as "robot".

api.post("/hook", { csrf = false }, function(req)
    local sign = app.hex_decode(req:header "x-signature" or "") or ""
    if not env "HOOK" or not app.equal(sign, app.hmac("sha256", env "HOOK", req.body)) then
        return 403, { error = "the signature is wrong" }
    end
    local post, why = add_post("robot", { text = req.body })
    return post and 201 or 422, post or { error = why }
end)

-- Once a minute, on one thread of all: forget what is older than a year.

app.every("1m", { once = true }, function()
    local count = db.forget(365)
    if count > 0 then
        app.log("info", count, "old posts forgotten")
    end
end)

app.on("answered", function(req, outcome)
    if outcome.status >= 500 then
        app.log("warn", req.method, req.path, outcome.status, outcome.error)
    end
end)
