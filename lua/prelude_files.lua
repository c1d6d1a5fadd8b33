-- Files that a script opens: --watch observes those it reads at start-up, but not those it writes. See prelude.lua.

local core = ...
local fail, note_file, can_read = core.fail, core.note_file, core.can_read
local io, os, type = io, os, type
local open, lines, input, output, rename = io.open, io.lines, io.input, io.output, os.rename

function io.open(path, mode)
    if type(path) ~= "string" or (mode ~= nil and type(mode) ~= "string") then
        fail("io.open: a path and a mode such as \"r\" expected, both of them strings")
    end
    local file, why, number = open(path, mode)
    if not file then
        return nil, why, number
    end
    note_file(path, mode ~= nil and mode:find("[wa+]") and "written" or "read")
    return file
end

function io.lines(path, ...)
    if type(path) == "string" and can_read(path) then
        note_file(path, "read")
    end
    return lines(path, ...)
end

function io.input(file)
    if type(file) == "string" and can_read(file) then
        note_file(file, "read")
    end
    return input(file)
end

function io.output(file)
    if type(file) == "string" then
        note_file(file, "written")
    end
    return output(file)
end

function os.rename(from, to)
    if type(to) == "string" then -- the usual way to replace a file
        note_file(to, "written")
    end
    return rename(from, to)
end
