-- The directory for the database and the images, as an absolute path: site.lua and db.lua have to mean the same.

local path = os.getenv "BOARD_DATA" or "board-data"
return path:sub(1, 1) == "/" and path or os.getenv "PWD" .. "/" .. path
