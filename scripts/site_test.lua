-- Tests of the demo site, and an example to copy:
--
--     ./evserve --test scripts/site_test.lua scripts/site.lua
--
-- The file runs once. Each t:case gets a client of its own, without cookies. Nothing listens: requests go to the site
-- in this process, and t:advance moves its clock. lua/README.md, "Testing a site", describes all functions.

local t = require("evserve").test()

t:case("the start page is a file", function(c)
    local res = c:get "/"
    t.equal(res.status, 200)
    t.match(res.headers["content-type"], "^text/html")
    t.equal(c:get("/", { headers = { if_none_match = res.headers.etag } }).status, 304)
end)

t:case("parameters are decoded, and checked", function(c)
    t.equal(c:get("/hello/J%C3%BCrgen").body, "hello, Jürgen\n")
    t.equal(c:get("/users/7"):json(), { id = 7, name = "user 7" })
    t.equal(c:get("/users/1001"):json(), { error = "no such user" })
    t.equal(c:get("/users/ann").status, 404)
end)

-- A cookie jar keeps what the site sets; follow goes on to where a redirect leads.
t:case("a guest is greeted by name and counted", function(c)
    t.equal(c:get("/guest").headers.location, "/#chat")
    local res = c:post("/guest", { form = { name = "ann" }, follow = true })
    t.equal(res.target, "/guest")
    t.contains(res.body, "Hello, ann.")
    t.equal(c:cookie "name", "ann")
    t.contains(c:get("/guest").body, "Visits with this cookie: 2.")
    t:advance "61m" -- the cookie's max_age is an hour
    t.equal(c:get("/guest").status, 302)
end)

t:case("a guest needs a name", function(c)
    t.equal(c:post("/guest", { form = { name = "<>" } }).status, 400)
end)

-- A field of a form that is a table with content is a file.
t:case("uploads are counted", function(c)
    local file = { filename = "a.txt", type = "text/plain", content = ("x"):rep(100000) }
    t.equal(c:post("/upload", { form = { file = file } }):json(),
        { files = { { field = "file", name = "a.txt", type = "text/plain", bytes = 100000 } } })
end)

-- A request that takes its time is begun, and read while the clock moves.
t:case("the count takes a second", function(c)
    local count = c:begin("GET", "/count")
    t.equal(count:read(), "1\n")
    t:advance "1s"
    t.equal(count:response().body, "2\n3\n4\n5\n6\n7\n8\n9\n10\n")
end)

t:case("statistics come as events, once a second", function(c)
    local live = c:events "/api/live"
    t:advance "2s"
    t.ok(live:next().data:find '"version":')
    live:close()
end)

t:case("the chat tells everybody", function(c)
    local ann, bob = c:client(), c:client()
    ann:set_cookie("name", "ann")
    local one, two = ann:websocket "/chat", bob:websocket "/chat"
    t.equal(one:receive(), '{"you":"ann"}')
    t.match(two:receive(), '"you":"guest%-')
    one:send "hello"
    t.contains(two:receive(), '"text":"hello"')
    one:close()
end)

t:case("what goes wrong is a page with the request's id", function(c)
    local res = c:post("/api/echo", { body = ("x"):rep(70000) })
    t.equal(res.status, 413)
    t.equal(c:get("/hi").headers.location, "/hello")
end)
