-- A template as Lua code: its text and values become calls, its statements stay, each on its line of the template. See
-- prelude_template.lua, which runs the code, and prelude_template_context.lua, which says how a value is escaped.
--
-- Whatever a statement leaves out or repeats, the text around a value must be what the scanner has seen: so a block
-- ends in the place where it began, and so does each of its branches.

local _, _, shared = ...
local error, ipairs, load, select = error, ipairs, load, select
local string, table, tonumber = string, table, tonumber
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub
local context = shared.template_context

local SOURCE_SHOWN = 60 -- bytes of an expression that errors show
local BLOCKS_MAX = 100 -- nested in one template; Lua's own limit is 200

local function count_lines(text)
    return select(2, gsub(text, "\n", ""))
end

local function breaks(text)
    return ("\n"):rep(count_lines(text))
end

local function fail(t, text, ...)
    error(string.format("%s:%d: " .. text, t.path, t.line, ...), 0)
end

-- Reading Lua.

local keywords = {}
for word in ("break do else elseif end for function goto if repeat return until while"):gmatch("%a+") do
    keywords[word] = true
end

-- Where the string or long bracket that begins at i ends; nil if it does not end, or no string begins there.
local function string_end(text, i)
    local quote = match(text, "^[\"']", i)
    if quote then
        repeat
            local at, _, char = find(text, "([\\\n" .. quote .. "])", i + 1)
            if char == quote then
                return at
            end
            i = char == "\\" and at + 1
        until not i
        return nil
    end
    local level = match(text, "^%[(=*)%[", i)
    return level and select(2, find(text, "]" .. level .. "]", i, true))
end

-- Behind a comment that begins at i, which ends at the end of the line or of the tag.
local function comment_end(text, i, closer)
    if find(text, "^%-%-%[=*%[", i) then
        local at = string_end(text, i + 2)
        return at and at + 1
    end
    local line, tag = find(text, "\n", i, true), find(text, closer, i, true)
    return line and tag and (line < tag and line or tag) or line or tag
end

-- Read the name at i: what it is replaced by. Keywords are noted, and files that are included.
local function read_word(t, tag, text, i, word)
    local near = sub(text, i - tag.from > 20 and i - 20 or tag.from, i - 1)
    local before, after = match(near, "(%.?[.:]?)%s*$"), i + #word
    local is_field = before == "." or before == ":"
    if find(word, "^__") then
        fail(t, "%s: names that begin with two underscores belong to the code of templates", word)
    elseif is_field then
        return word
    elseif keywords[word] then
        tag.words[#tag.words + 1] = word
    elseif word == "include" and find(text, "^%s*[(\"']", after) then
        local _, path = match(text, "^%s*%(?%s*([\"'])([^\n\\]-)%1%s*[,)%%}]", after)
        if not path then
            fail(t, "include: the name of a file in quotes expected, since it is read when the script starts")
        end
        t.files[#t.files + 1] = { name = path, line = t.line + count_lines(sub(text, tag.from, i)), what = "include" }
        return "__include"
    end
    return word
end

-- Read the Lua code from i up to closer: its text without comments, its keywords, and what follows it.
local function read_code(t, text, from, closer)
    local tag = { from = from, words = {} }
    local parts, depth, i, done = {}, 0, from, from
    local function keep(upto, instead, next_one)
        parts[#parts + 1] = sub(text, done, upto)
        parts[#parts + 1] = instead
        i, done = next_one, next_one
    end
    while true do
        local at, _, char = find(text, "([%w_\"'%[{}:%%%-])", i)
        local word = at and match(text, "^[%a_][%w_]*", at)
        if not at then
            fail(t, "\"%s\" is missing", closer)
        elseif word then
            keep(at - 1, read_word(t, tag, text, at, word), at + #word)
        elseif find(char, "%d") then
            i = at + #match(text, "^%w+", at)
        elseif find(char, "[\"']") or find(text, "^%[=*%[", at) then
            i = string_end(text, at)
            if not i then
                fail(t, "unfinished string")
            end
            i = i + 1
        elseif sub(text, at, at + 1) == "--" then
            local stop = comment_end(text, at, closer)
            if not stop then
                fail(t, "unfinished comment")
            end
            keep(at - 1, " " .. breaks(sub(text, at, stop - 1)), stop)
        elseif sub(text, at, at + #closer - 1) == closer and (depth == 0 or char == "%") then
            keep(at - 1, nil, at + #closer)
            tag.code, tag.next_one = table.concat(parts), i
            return tag
        elseif sub(text, at, at + 1) == "::" then
            tag.words[#tag.words + 1] = "::"
            i = at + 2
        else
            depth = depth + (char == "{" and 1 or char == "}" and -1 or 0)
            if depth < 0 then
                fail(t, "unexpected \"}\"")
            end
            i = at + 1
        end
    end
end

-- Check an expression by itself, for the line and the words of the error.
local function check_expression(t, code)
    if find(code, "^%s*$") then
        fail(t, "a value without an expression")
    end
    local chunk, err = load("return (" .. code .. "\n)", "=t")
    if not chunk then
        local line, text = match(err, "^t:(%d+): (.*)$")
        t.line = t.line + (tonumber(line) or 1) - 1
        fail(t, "%s", (gsub(text or err, " %(to close '%(' at line 1%)", "")))
    end
end

-- Writing Lua.

local function emit(t, text)
    t.out[#t.out + 1] = text
end

local function escape_byte(byte)
    return string.format("\\%03d", byte:byte())
end

local function emit_text(t, text)
    if text ~= "" then
        emit(t, '__put"' .. gsub(text, '[%z\1-\31\\"\127]', escape_byte) .. '";')
    end
end

-- Blank text at the beginning is kept back until it is clear that no layout follows.
local function release(t)
    emit_text(t, t.held or "")
    t.held = nil
end

local function in_function(t)
    for i = #t.blocks, 1, -1 do
        if t.blocks[i].word == "function" then
            return true
        end
    end
    return false
end

local function check_output(t)
    if in_function(t) then
        fail(t, "text and values cannot stand in a function: put them into a file, and include that")
    end
end

-- The next part of the template's text; dropped is what follows it and is left out.
local function add_text(t, text, dropped)
    local c = t.context
    c.line = t.line
    if find(text, "%S") then
        check_output(t)
        release(t)
    elseif in_function(t) then
        text, dropped = "", text .. dropped
    end
    context.read(c, text)
    if t.held then
        t.held = t.held .. text
    else
        emit_text(t, text)
    end
    emit(t, breaks(text .. dropped))
    t.line = t.line + count_lines(text .. dropped)
end

-- Blocks.

local function begin_block(t, word)
    if #t.blocks == BLOCKS_MAX then
        fail(t, "more than %d blocks in each other", BLOCKS_MAX)
    end
    local awaits_do = word == "for" or word == "while"
    t.blocks[#t.blocks + 1] = { word = word, line = t.line, start = context.copy(t.context), ends = {},
        awaits_do = awaits_do, is_loop = awaits_do or word == "repeat" }
end

-- The place at hand must be where the block began. is_exact: also in a URL, since text is repeated or left out.
local function check_place(t, block, is_exact)
    local c, start = t.context, block.start
    if not context.is_same(c, start) then
        fail(t, "the \"%s\" of line %d began %s, and this would be %s: each branch must end where the block began",
            block.word, block.line, context.describe(start), context.describe(c))
    elseif is_exact and c.state == "value" and c.part ~= start.part then
        fail(t, "the \"%s\" of line %d began in another part of a URL", block.word, block.line)
    elseif is_exact and c.unsure ~= start.unsure then
        fail(t, "\"/\" may divide or begin a regular expression: %s", c.unsure)
    end
end

local function end_block(t, word)
    local block = table.remove(t.blocks)
    if not block or (word == "until") ~= (block.word == "repeat") then
        fail(t, "\"%s\" without a block that it ends", word)
    end
    check_place(t, block, block.is_loop)
    if not block.has_else then
        context.merge(t.context, block.start)
    end
    for _, other in ipairs(block.ends) do
        context.merge(t.context, other)
    end
end

local function begin_branch(t, word)
    local block = t.blocks[#t.blocks]
    if not block or block.word ~= "if" then
        fail(t, "\"%s\" without an \"if\"", word)
    end
    check_place(t, block, false)
    block.ends[#block.ends + 1] = context.copy(t.context)
    block.has_else = word == "else"
    context.restore(t.context, block.start)
end

-- A jump leaves text out: in all blocks around it the page must be where it is now.
local function check_jump(t, word)
    for i = #t.blocks, 1, -1 do
        local block = t.blocks[i]
        if block.word == "function" then
            return
        end
        check_place(t, block, true)
        if word == "break" and block.is_loop then
            return
        end
    end
    if t.context.state ~= "text" then
        fail(t, "\"%s\" %s would leave out the end of it", word, context.describe(t.context))
    end
end

local function read_keyword(t, word)
    local block = t.blocks[#t.blocks]
    if word == "do" and block and block.awaits_do then
        block.awaits_do = false
    elseif word == "end" or word == "until" then
        end_block(t, word)
    elseif word == "else" or word == "elseif" then
        begin_branch(t, word)
    elseif word == "break" or word == "return" or word == "goto" or word == "::" then
        check_jump(t, word)
    else
        begin_block(t, word)
    end
end

-- Tags.

local function add_value(t, tag, is_raw, before)
    local c = t.context
    check_output(t)
    release(t)
    local place = context.place(c, is_raw)
    check_expression(t, tag.code)
    if place ~= "text" and find(tag.code, "^%s*__include") then
        fail(t, "an included template can stand only between tags, not %s", context.describe(c))
    end
    if find(place, "^json") and find(before, "[%w_$%-]$") then
        emit_text(t, " ") -- not to become part of the word or number before it
    end
    local source = gsub(sub(match(tag.code, "^%s*(.-)%s*$"), 1, SOURCE_SHOWN), "%s+", " ")
    emit(t, string.format("__%s(__put, (", place) .. tag.code .. '), "'
        .. gsub(source, '[%z\1-\31\\"\127]', escape_byte) .. '");')
end

local function add_layout(t, code)
    local lead, open, _, name, rest = match(code, "^(%s*)layout%s*(%(?)%s*([\"'])([^\n\\]-)%3(.*)$")
    local args = name and (match(rest, open == "(" and "^%s*%)%s*$" or "^%s*$") and "{}" .. breaks(rest)
        or open == "(" and match(rest, "^%s*,(.*)%)%s*$"))
    if not args then
        fail(t, 'layout("file", values) expected, with the name of a file in quotes')
    elseif t.has_layout then
        fail(t, "a second layout: a template has one")
    elseif not t.held or #t.blocks > 0 then
        fail(t, "layout must stand before all text, values and blocks of the template")
    end
    check_expression(t, args)
    t.held, t.has_layout = nil, true
    t.files[#t.files + 1] = { name = name, line = t.line + count_lines(lead), what = "layout" }
    emit(t, lead .. string.format("__layout(%q, (", name) .. args .. "), function(__put) ")
end

local function add_statement(t, tag)
    context.statement(t.context)
    local code = tag.code
    if find(code, "^%s*__include") then
        add_value(t, tag, false, "")
        return
    elseif find(code, "^%s*layout%s*[(\"']") then
        add_layout(t, code)
        return
    end
    if #tag.words > 0 then
        release(t)
    end
    for _, word in ipairs(tag.words) do
        read_keyword(t, word)
    end
    emit(t, (find(code, "^%s*%(") and " do end " or " ") .. code .. " ")
end

local closers = { ["{{{"] = "}}}", ["{{"] = "}}", ["{%"] = "%}", ["{#"] = "#}" }

-- The tag at i: what kind it is, its code, and where the template goes on.
local function read_tag(t, text, i)
    local open = match(text, "^{{{", i) or sub(text, i, i + 1)
    if open ~= "{#" then
        return open, read_code(t, text, i + #open, closers[open])
    end
    local _, at = find(text, "#}", i + 2, true)
    if not at then
        fail(t, "\"#}\" is missing")
    end
    return open, { code = breaks(sub(text, i, at)), next_one = at + 1 }
end

-- Statements and comments that stand alone on a line leave none in the page.
local function trim(t, text, literal, tag, is_at_line_start)
    local rest = match(text, "^[ \t]*\r?\n", tag.next_one)
    local lead = rest and (match(literal, "\n([ \t]*)$") or (is_at_line_start and match(literal, "^[ \t]*$")))
    if not lead then
        return literal, ""
    end
    tag.next_one = tag.next_one + #rest
    return sub(literal, 1, #literal - #lead), rest
end

local function compile(t, text)
    local i, is_at_line_start = 1, true
    while true do
        local open_at = find(text, "{[{%%#]", i)
        local literal = sub(text, i, (open_at or #text + 1) - 1)
        if not open_at then
            add_text(t, literal, "")
            return
        end
        local line = t.line
        t.line = line + count_lines(literal)
        local open, tag = read_tag(t, text, open_at)
        t.line = line
        local rest = ""
        if open == "{%" or open == "{#" then
            literal, rest = trim(t, text, literal, tag, is_at_line_start)
        end
        add_text(t, literal, "")
        t.context.line = t.line
        line = t.line
        if open == "{%" then
            add_statement(t, tag)
        elseif open == "{#" then
            context.statement(t.context)
            emit(t, tag.code)
        else
            add_value(t, tag, open == "{{{", literal)
        end
        emit(t, breaks(rest))
        t.line = line + count_lines(tag.code .. rest)
        i, is_at_line_start = tag.next_one, rest ~= ""
    end
end

-- The code of a template, and the files that it names: { { name, line, what } }. places are the names of the functions
-- that write values. Raises "page.html:12: what is wrong".
function shared.template_code(path, text, places)
    local t = { path = path, line = 1, context = context.new(path), blocks = {}, files = {}, out = {}, held = "" }
    emit(t, "local __" .. table.concat(places, ", __") .. " = ... ")
    emit(t, "return function() return function(__put, __include, __layout) ")
    compile(t, text)
    local c, block = t.context, t.blocks[#t.blocks]
    if block then
        t.line = block.line
        fail(t, "the \"%s\" has no \"end\"", block.word)
    elseif c.state ~= "text" then
        fail(t, "the template ends %s", context.describe(c))
    end
    release(t)
    emit(t, t.has_layout and " end) end end" or " end end")
    return table.concat(t.out), t.files
end
