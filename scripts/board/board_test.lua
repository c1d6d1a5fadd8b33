-- Tests of the board. They need a directory of their own for its database:
--
--     BOARD_DATA=$(mktemp -d) ./evserve --test scripts/board/board_test.lua scripts/board/site.lua

local t = require("evserve").test()

-- The token of the form on a page.
local function token(c, path)
    return c:get(path).body:match 'name="csrf" value="([^"]+)"'
end

local function sign_up(c, name)
    local form = { csrf = token(c, "/signup"), name = name, password = "correct horse" }
    return c:post("/signup", { form = form, follow = true })
end

t:case("somebody signs up, posts and signs out", function(c)
    local page = sign_up(c, "ann")
    t.equal(page.status, 200)
    t.contains(page.body, "Welcome, ann!")
    page = c:post("/posts", { form = { csrf = token(c, "/"), text = "<i>here</i>", state = "busy" }, follow = true })
    t.contains(page.body, "Posted.")
    t.contains(page.body, "<p>&lt;i&gt;here&lt;/i&gt;</p>")
    c:post("/signout", { form = { csrf = token(c, "/") } })
    t.equal(c:get("/token").headers.location, "/signin")
end)

t:case("forms of other sites are refused", function(c)
    sign_up(c, "bob")
    t.equal(c:post("/posts", { form = { text = "forged" } }).status, 403)
    t.equal(c:post("/posts", { form = { text = "forged", csrf = "x" } }).status, 403)
end)

t:case("a name is taken once, and a wrong password is told", function(c)
    sign_up(c, "carol")
    t.contains(sign_up(t:client(), "carol").body, "This name is taken.")
    local form = { csrf = token(c, "/signin"), name = "carol", password = "wrong" }
    t.equal(c:post("/signin", { form = form }).status, 401)
end)

t:case("everybody sees a post at once", function(c)
    local events = t:client():events "/live"
    sign_up(c, "dave")
    c:post("/posts", { form = { csrf = token(c, "/"), text = "live" } })
    local event = events:next()
    t.equal(event.event, "post")
    t.contains(event.data, '"text":"live"')
    local ws = c:websocket "/chat"
    ws:send "from a WebSocket"
    t.contains(ws:receive(), "from a WebSocket")
    t.contains(events:next().data, '"name":"dave"')
    ws:send ""
    t.contains(ws:receive(), "text: 1 to 280 characters")
end)

t:case("the API checks what it gets", function(c)
    sign_up(c, "erin")
    local headers = { authorization = "Bearer " .. c:get("/token").body:match "%S+" }
    local other = t:client()
    local made = other:post("/api/posts", { json = { text = "from a program" }, headers = headers })
    t.equal(made.status, 201)
    t.equal(made:json().name, "erin")
    t.equal(other:post("/api/posts", { json = { text = "" }, headers = headers }).status, 422)
    t.equal(other:post("/api/posts", { json = { text = "x" } }).status, 401)
    local page = other:get("/api/posts?limit=1"):json()
    t.equal(page.posts[1].text, "from a program")
    t.ok(other:get(page.next):json().posts[1].id < page.posts[1].id)
end)

t:case("what is not there has a page, also for pages of other origins", function(c)
    local res = c:get("/nothing", { headers = { origin = "https://board.example" } })
    t.equal(res.status, 404)
    t.contains(res.body, "Nothing is here")
    res = c:get("/api/nothing", { headers = { origin = "https://board.example" } })
    t.equal(res.headers["access-control-allow-origin"], "https://board.example")
end)
