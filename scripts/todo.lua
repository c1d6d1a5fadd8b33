-- A JSON API: a to-do list in memory, with a key for changes, a log line for each request, and a clean-up timer.
--
--     ./evserve scripts/todo.lua
--     curl -i http://127.0.0.1:8081/todos
--     curl -i http://127.0.0.1:8081/todos -H "x-api-key: demo" -d '{"title":"buy milk"}'
--     curl -i http://127.0.0.1:8081/todos/1 -H "x-api-key: demo" -X PATCH -d '{"done":true}'
--     curl -i http://127.0.0.1:8081/todos/1 -H "x-api-key: demo" -X DELETE

local app = require "evserve"
local json = app.json

app.listen "127.0.0.1:8081"
app.set { max_body = "16K" }

local KEY = "demo"
local KEEP_DONE_S = 3600 -- how long finished items are kept

-- State lives in local variables. Each reactor thread has its own Lua state, and so its own list.
local todos, last_id = {}, 0

-- All items, sorted by id. An empty table would be encoded as {}; json.array makes it [].
local function sorted()
    local list = json.array()
    for _, item in pairs(todos) do
        list[#list + 1] = item
    end
    table.sort(list, function(a, b)
        return a.id < b.id
    end)
    return list
end

-- Returns the item in the request's body, or nil and an error object for the client.
local function read_item(req)
    local item, err = json.decode(req.body)
    if err then
        return nil, { error = err }
    end
    if type(item) ~= "table" or (item.title ~= nil and type(item.title) ~= "string") then
        return nil, { error = "an object with a title expected" }
    end
    return item
end

-- Middleware runs in the order of app.use, outermost first. It can change what nxt() returns, or return its own
-- response.
app.use(function(req, nxt)
    local started = app.now()
    local res = nxt()
    app.log("info", req.method, req.target, res.status, string.format("%.1f ms", (app.now() - started) * 1000))
    return res
end)

app.use(function(req, nxt)
    local reads = req.method == "GET" or req.method == "HEAD"
    if not reads and req:header("x-api-key") ~= KEY then
        return 403, { error = "the header x-api-key is missing or wrong" }
    end
    return nxt()
end)

app.get("/todos", function()
    return sorted()
end)

app.post("/todos", function(req)
    local given, problem = read_item(req)
    if not given or not given.title then
        return 400, problem or { error = "a title expected" }
    end
    last_id = last_id + 1
    local item = { id = last_id, title = given.title, done = false }
    todos[item.id] = item
    return 201, item, { location = "/todos/" .. item.id }
end)

app.get("/todos/:id{int}", function(req)
    return todos[tonumber(req.params.id)] or 404
end)

app.patch("/todos/:id{int}", function(req)
    local item = todos[tonumber(req.params.id)]
    if not item then
        return 404
    end
    local given, problem = read_item(req)
    if not given then
        return 400, problem
    end
    item.title = given.title or item.title
    item.done = given.done == true
    item.done_at = item.done and os.time() or nil
    return item
end)

app.delete("/todos/:id{int}", function(req)
    local id = tonumber(req.params.id)
    if not todos[id] then
        return 404
    end
    todos[id] = nil
    return 204
end)

app.every("1m", function()
    for id, item in pairs(todos) do
        if item.done and os.time() - item.done_at > KEEP_DONE_S then
            todos[id] = nil
        end
    end
end)

app.on("error", function()
    return 500, { error = "internal error" }
end)
