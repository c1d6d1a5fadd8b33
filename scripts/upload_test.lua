-- Tests of the uploads. They write to the folder UPLOAD_DIR, or uploads:
--
--     UPLOAD_DIR=$(mktemp -d) ./evserve --test scripts/upload_test.lua scripts/upload.lua

local t = require("evserve").test()

t:case("the files of a form are stored under safe names", function(c)
    local res = c:post("/files", { form = {
        a = { filename = "../../etc/a b.txt", content = "first" },
        b = { filename = "b.bin", content = ("\0"):rep(300000) },
        note = "no file",
    } })
    t.equal(res.status, 201)
    t.equal(res:json(), { { name = "a_b.txt", size = 5 }, { name = "b.bin", size = 300000 } })
    t.equal(c:get("/files/a_b.txt").body, "first")
    t.equal(#c:get("/files/b.bin").body, 300000)
end)

t:case("a file is put, listed and replaced", function(c)
    local made = c:put("/files/c.txt", { body = "one" })
    t.equal({ made.status, made.headers.location }, { 201, "/files/c.txt" })
    c:put("/files/c.txt", { body = "three" })
    local res = c:get "/files/c.txt"
    t.equal(res.body, "three")
    t.match(res.headers.content_disposition, "^attachment")
    t.contains(c:get("/files").body, '"c.txt"')
end)

t:case("bad names are refused", function(c)
    t.equal(c:put("/files/.hidden", { body = "x" }).status, 400)
    t.equal(c:post("/files", { form = { a = { filename = "...", content = "x" } } }).status, 400)
    t.equal(c:get("/files/nothing").status, 404)
end)
