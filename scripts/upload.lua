-- Uploads: files of a form are written to a folder as they come, however large they are.
--
--     mkdir uploads && ./evserve scripts/upload.lua
--     curl -F file=@picture.jpg -F file=@notes.txt http://127.0.0.1:8082/files
--     curl -T picture.jpg http://127.0.0.1:8082/files/picture.jpg
--     curl http://127.0.0.1:8082/files
--
-- UPLOAD_DIR names another folder.

local app = require "evserve"

app.listen "127.0.0.1:8082"

local FOLDER = os.getenv "UPLOAD_DIR" or "uploads"
local OPTIONS = { max_body = "64M", body_timeout = "1m" }
local FILES_MAX = 10 -- in one form
local KEEP_MAX = 1000 -- files in the folder that this process has written

local stored, count = {}, 0 -- sizes by name

-- A client may call its file whatever it likes. What becomes a path is its last part, made of letters that mean nothing
-- to a file system, and not hidden: so it names a file in FOLDER, and nothing else.
local function safe_name(name)
    name = name or ""
    local last = name:match("^.*[/\\](.*)$") or name -- anchored: "[^/\\]*$" would begin anew at each byte of a long name
    local safe = last:gsub("[^%w._-]", "_"):sub(-100):gsub("^%.+", "")
    return safe ~= "" and safe or nil
end

-- Write the chunks of source, req or a part of it, to a file. It has its name only when it is whole: what is cut or fails
-- leaves nothing behind. Until then it is called by the request, of which there is no other in any thread of the server.
local function store(req, name, source)
    local path, size = FOLDER .. "/" .. name, 0
    if not stored[name] and count >= KEEP_MAX then
        app.error(507, "there is no room for more files\n")
    end
    local temporary = string.format("%s/.%s.part", FOLDER, req.id)
    local file = assert(io.open(temporary, "wb"))
    local ok, err = pcall(function()
        for chunk in source:chunks() do -- waits for the client, not for the disk
            assert(file:write(chunk))
            size = size + #chunk
        end
    end)
    file:close()
    if ok then
        ok, err = os.rename(temporary, path)
    end
    if not ok then
        os.remove(temporary)
        error(err, 0)
    end
    count = count + (stored[name] and 0 or 1)
    stored[name] = size
    return { name = name, size = size }
end

app.post("/files", OPTIONS, function(req)
    local done = app.json.array()
    for part in req:parts() do
        if part.filename and part.filename ~= "" then
            local name = safe_name(part.filename)
            if not name then
                return 400, "a file needs a name with a letter or digit in it\n"
            elseif #done == FILES_MAX then
                return 413, "too many files in one form\n"
            end
            done[#done + 1] = store(req, name, part)
        end
    end
    return 201, done
end)

app.put("/files/:name", OPTIONS, function(req)
    local name = safe_name(req.params.name)
    if name ~= req.params.name then
        return 400, "a name of letters, digits, . _ - expected\n"
    end
    return 201, store(req, name, req), { location = "/files/" .. name }
end)

app.get("/files", function()
    local list = app.json.array()
    for name, size in pairs(stored) do
        list[#list + 1] = { name = name, size = size }
    end
    table.sort(list, function(a, b)
        return a.name < b.name
    end)
    return list
end)

-- What somebody uploaded may be a page with a script: it is given to be saved, not to be shown.
app.get("/files/:name", function(req)
    if not stored[req.params.name] then
        return 404
    end
    return app.file(req.params.name, { root = FOLDER, download = true, type = "application/octet-stream" }),
        { ["x-content-type-options"] = "nosniff" }
end)

app.get("/", function()
    return app.html [[
<!doctype html>
<meta charset="utf-8">
<title>upload</title>
<form action="/files" method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple> <button>Upload</button>
</form>
<p><a href="/files">what there is</a></p>
]]
end)

-- Better now than at the first upload.
local probe, problem = io.open(FOLDER .. "/.probe", "wb")
if not probe then
    error("cannot write to the folder for uploads: " .. problem .. " (mkdir " .. FOLDER .. "?)", 0)
end
probe:close()
os.remove(FOLDER .. "/.probe")
