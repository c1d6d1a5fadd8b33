-- Tests of the to-do list:
--
--     ./evserve --test scripts/todo_test.lua scripts/todo.lua

local t = require("evserve").test()

local key = { ["x-api-key"] = "demo" }

t:case("an item can be added, changed and deleted", function(c)
    local made = c:post("/todos", { json = { title = "buy milk" }, headers = key })
    t.equal(made.status, 201)
    t.equal(made:json(), { id = 1, title = "buy milk", done = false })
    t.equal(made.headers.location, "/todos/1")

    t.equal(c:patch("/todos/1", { json = { title = "buy bread" }, headers = key }):json().title, "buy bread")
    t.equal(c:get("/todos"):json(), { { id = 1, title = "buy bread", done = false } })

    t.equal(c:delete("/todos/1", { headers = key }).status, 204)
    t.equal(c:get("/todos/1").status, 404)
    t.equal(c:get("/todos").body, "[]")
end)

t:case("changes need the key, reading does not", function(c)
    t.equal(c:get("/todos").status, 200)
    local refused = c:post("/todos", { json = { title = "x" } })
    t.equal(refused.status, 403)
    t.match(refused:json().error, "x%-api%-key")
end)

t:case("what makes no sense is a 400 that says why", function(c)
    for _, body in ipairs { "{", "[]", '{"title":7}', "" } do
        local res = c:post("/todos", { body = body, headers = key })
        t.equal(res.status, 400, body)
        t.ok(res:json().error, body)
    end
end)

t:case("items that are done are forgotten after an hour", function(c)
    t:restart()
    c:post("/todos", { json = { title = "soon gone" }, headers = key })
    c:post("/todos", { json = { title = "stays" }, headers = key })
    c:patch("/todos/1", { json = { done = true }, headers = key })
    t:advance "59m"
    t.equal(#c:get("/todos"):json(), 2)
    t:advance "3m"
    local left = c:get("/todos"):json()
    t.equal(#left, 1)
    t.equal(left[1].title, "stays")
end)
