-- The database, on threads of its own: see app.worker in site.lua. Each thread has a connection.

local app = require "evserve"
local DATA = require "data"
local connection = assert(require("luasql.sqlite3").sqlite3():connect(DATA .. "/board.db", 5000))

-- The statement with its values put in: %d for whole numbers, '%s' for text.
local function execute(sql, ...)
    local values = { ... }
    for i, value in ipairs(values) do
        values[i] = type(value) == "string" and connection:escape(value) or value
    end
    return assert(connection:execute(sql:format(unpack(values))))
end

local function rows(sql, ...)
    local cursor, list = execute(sql, ...), {}
    local row = cursor:fetch({}, "a")
    while row do
        row.id = tonumber(row.id)
        list[#list + 1], row = row, cursor:fetch({}, "a")
    end
    cursor:close()
    return list
end

os.execute("mkdir -p '" .. DATA:gsub("'", "'\\''") .. "/images'")
execute "PRAGMA journal_mode = WAL"
execute "CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, password TEXT NOT NULL)"
execute [[CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, name TEXT NOT NULL,
    state TEXT NOT NULL, text TEXT NOT NULL, image TEXT)]]
execute "CREATE INDEX IF NOT EXISTS posts_by_name ON posts (name, id)"

local db = {}

-- Whether the name was free.
function db.add_user(name, password)
    return execute("INSERT OR IGNORE INTO users VALUES ('%s', '%s')", name, password) == 1
end

function db.password_of(name)
    local row = rows("SELECT 0 AS id, password FROM users WHERE name = '%s'", name)[1]
    return row and row.password
end

function db.add_post(name, text, state, image)
    execute("INSERT INTO posts (time, name, state, text, image) VALUES ('%s', '%s', '%s', '%s', NULLIF('%s', ''))",
        os.date "!%Y-%m-%dT%H:%M:%SZ", name, state, text, image or "")
    return rows "SELECT * FROM posts WHERE id = last_insert_rowid()"[1]
end

-- The newest posts, at most limit of them: those before the one with that id, those of one name.
function db.posts(before, limit, name)
    local condition = name and ("name = '%s'"):format(connection:escape(name)) or "1"
    return rows("SELECT * FROM posts WHERE " .. condition:gsub("%%", "%%%%") .. " AND id < %d ORDER BY id DESC LIMIT %d",
        before or 2 ^ 53, limit)
end

-- The oldest behind the one with that id.
function db.posts_after(id, limit)
    return rows("SELECT * FROM posts WHERE id > %d ORDER BY id LIMIT %d", id, limit)
end

function db.forget(days)
    return execute("DELETE FROM posts WHERE time < '%s'", os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - days * 86400))
end

return db
