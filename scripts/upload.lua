-- Uploads: writes the files of a form to a folder while they arrive, however large they are.
--
--     mkdir uploads && ./evserve scripts/upload.lua
--     curl -F file=@picture.jpg -F file=@notes.txt http://127.0.0.1:8082/files
--     curl -T picture.jpg http://127.0.0.1:8082/files/picture.jpg
--     curl http://127.0.0.1:8082/files
--
-- Set the environment variable UPLOAD_DIR to use another folder.

local app = require "evserve"

app.listen "127.0.0.1:8082"

local FOLDER = os.getenv "UPLOAD_DIR" or "uploads"
local OPTIONS = { max_body = "64M", body_timeout = "1m" }
local FILES_MAX = 10 -- in one form
local KEEP_MAX = 1000 -- files that this process has written to the folder

local stored, count = {}, 0 -- sizes by name

-- The client chooses the file's name freely. We use only its last part, replace characters that could mean something to
-- a file system, and strip leading dots. The result names a file in FOLDER and nothing else.
local function safe_name(name)
    name = name or ""
    local last = name:match("^.*[/\\](.*)$") or name -- anchored: "[^/\\]*$" would try each byte of a long name
    local safe = last:gsub("[^%w._-]", "_"):sub(-100):gsub("^%.+", "")
    return safe ~= "" and safe or nil
end

-- What the functions of files return when the disk or the quota is full, or the file too large: EFBIG, ENOSPC, EDQUOT.
local FULL = { [27] = true, [28] = true, [122] = true }

-- Return what a function of io returned, unless it failed. A full disk is a 507, anything else a 500; the log has both.
local function check(result, why, number)
    if not result and FULL[number] then
        app.log("error", "cannot store a file: ", why)
        app.error(507, "no room to store the file\n")
    end
    return assert(result, why)
end

local EXISTS = 17 -- EEXIST
local TRIES = 1000 -- more than the uploads that are under way at once
local serial = 0

-- Make a file with a name of its own. "x" fails where a file is already: that of an upload in another thread, of another
-- server with the same folder, or of one that was killed.
local function open_temporary()
    local path, file, why, number
    for _ = 1, TRIES do
        serial = serial + 1
        path = string.format("%s/.%d.part", FOLDER, serial)
        file, why, number = io.open(path, "wbx")
        if file or number ~= EXISTS then
            break
        end
    end
    return check(file, why, number), path
end

-- Write the chunks of source (req or one of its parts) to a file. The file gets its name only when it is complete, so
-- an upload that is cut or fails leaves nothing behind, and what had the name before is still there.
local function store(name, source)
    local path, size = FOLDER .. "/" .. name, 0
    if not stored[name] and count >= KEEP_MAX then
        app.error(507, "no room for more files\n")
    end
    local file, temporary = open_temporary()
    local ok, err = pcall(function()
        for chunk in source:chunks() do -- waits for the client; writing to the disk blocks
            check(file:write(chunk))
            size = size + #chunk
        end
        -- Writes are collected in memory: the last of them reaches the disk, or fails, when the file is closed.
        check(file:close())
        assert(os.rename(temporary, path))
    end)
    if not ok then
        if io.type(file) == "file" then
            file:close()
        end
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
                return 400, "a file name must not be empty or consist of dots\n"
            elseif #done == FILES_MAX then
                return 413, "too many files in one form\n"
            end
            done[#done + 1] = store(name, part)
        end
    end
    return 201, done
end)

app.put("/files/:name", OPTIONS, function(req)
    local name = safe_name(req.params.name)
    if name ~= req.params.name then
        return 400, "use only letters, digits, . _ and - in the name\n"
    end
    return 201, store(name, req), { location = "/files/" .. name }
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

-- An uploaded file may be a page with a script, so browsers are made to save it rather than show it.
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
<p><a href="/files">uploaded files</a></p>
]]
end)

-- Fail at start-up rather than at the first upload.
local probe, problem = io.open(FOLDER .. "/.probe", "wb")
if not probe then
    error("cannot write to the upload folder: " .. problem .. " (mkdir " .. FOLDER .. "?)", 0)
end
probe:close()
os.remove(FOLDER .. "/.probe")
