"""ngx.re, beside nginx's, whose regular expressions are those of PCRE."""

import unittest

import evtest
from lua_site import EVSERVE, SiteCase, script
from nginx_lua import BothCase, ask

LIST = r"""
local function list(...)
    local texts = {}
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        texts[i] = type(value) == "string" and string.format("%q", value) or tostring(value)
    end
    return table.concat(texts, " ") .. "\n"
end
local function groups(m, err)
    if not m then return list(m, err) end
    local keys, texts = {}, {}
    for key in pairs(m) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(keys) do
        local value = m[key]
        texts[#texts + 1] = tostring(key) .. "=" .. (type(value) == "table" and "{" .. table.concat(value, ",") .. "}" or tostring(value))
    end
    return table.concat(texts, " ") .. "\n"
end
local cases = {}
"""




def setUpModule():
    with script('print(select(2, require("ngx").re.match("a", "a")))\n') as path:
        done = evtest.run(EVSERVE, "--check", path)
    if "built without PCRE2" in done.stderr:
        raise unittest.SkipTest("no PCRE2 in this build (scripts/setup.sh installs libpcre2-dev)")


class Regex(BothCase):
    MODULE = LIST + r"""
    local match, find, gmatch, sub, gsub = ngx.re.match, ngx.re.find, ngx.re.gmatch, ngx.re.sub, ngx.re.gsub
    function cases.match()
        local out = {}
        for _, options in ipairs { "", "j", "jo", "o" } do
            out[#out + 1] = groups(match("hello, 1234", "([0-9])([0-9]+)", options))
            out[#out + 1] = groups(match("hello, 1234", "(?<first>[0-9])(?<rest>[0-9]+)|(?<never>x)", options))
            out[#out + 1] = groups(match("hello", "x", options)) .. groups(match("", "", options)) .. groups(match("a\0b", "\\x00b", options))
        end
        out[#out + 1] = groups(match("aBc", "b", "i")) .. groups(match("aBc", "b")) .. groups(match("xab", "ab", "a"))
        out[#out + 1] = groups(match("a\nb", "^b$", "m")) .. groups(match("a\nb", "a.b", "s")) .. groups(match("a\nb", "a.b"))
        out[#out + 1] = groups(match("ab", "a b # both", "x")) .. groups(match("\xc3\xa4x", "^.x", "u")) .. groups(match("\xc3\xa4x", "^.x"))
        out[#out + 1] = groups(match("ab ba", "(?<n>a)(?<m>b)|(?<n>b)(?<m>a)", "D"))
        out[#out + 1] = list((match("a", "(")), (match("a", "[z-a]")))
        local context = { pos = 2 }
        out[#out + 1] = groups(match("1a2b", "[0-9]", "", context)) .. list(context.pos)
        out[#out + 1] = groups(match("1a2b", "[0-9]", "", context)) .. list(context.pos)
        local given = { [5] = "kept" }
        out[#out + 1] = list(match("ab", "(a)b", "", nil, given) == given, given[0], given[1], given[5])
        return table.concat(out)
    end
    function cases.find()
        local context = { pos = 3 }
        return list(find("hello, 1234", "([0-9])([0-9]+)", "jo")) .. list(find("hello", "x")) .. list(find("ab", "(a)(b)", "", nil, 2))
            .. list(find("ab", "(a)|(b)", "", nil, 2)) .. list(find("abab", "ab", "", context), context.pos) .. list(find("", ""))
            .. list((find("a", "(")))
    end
    function cases.gmatch()
        local out = {}
        for _, case in ipairs { { "hello, world!", "([a-z]+)", "i" }, { "abc", "", "" }, { "aXbX", "X*", "" },
            { "", "a", "" }, { "", "", "" } } do
            for m in gmatch(case[1], case[2], case[3]) do out[#out + 1] = groups(m) end
            out[#out + 1] = "--\n"
        end
        return table.concat(out) .. list((gmatch("a", "(")))
    end
    function cases.sub()
        return list(sub("hello, 1234", "([0-9])[0-9]", "[$0][$1]")) .. list(sub("hello", "x", "y")) .. list(sub("ab", "(a)|(c)", "<$2${1}>$$"))
            .. list(gsub("hello, world", "([a-z])[a-z]+", "[$0,$1]", "i")) .. list(gsub("hello, world", "[a-z]+", string.upper and function(m) return "[" .. m[0] .. "]" end, "i"))
            .. list(gsub("abc", "", "-")) .. list(gsub("abc", "b*", "-")) .. list(gsub("", "", "-")) 
            .. list(gsub("a.b.c", "\\.", 7)) .. list((gsub("a", "(", ""))) .. list(gsub("xay", "a", "$0$0", "jo"))
    end
    function cases.utf() return '"' .. table.concat({ gsub("a\xc3\xa4", "", "-", "u") }, '" ') .. "\n" end
    function cases.many()
        local count = 0
        for i = 1, 1100 do count = count + (match("x" .. i, "^x" .. i .. "$", "o") and 1 or 0) end
        return list(count)
    end
    return cases
    """

    def test_match(self):
        self.assertIn("0=1234 1=1 2=234", self.check("match").body.decode("latin-1"))

    def test_find(self):
        self.assertTrue(self.check("find").text.startswith("8 11"))

    def test_gmatch(self):
        self.check("gmatch")

    def test_sub(self):
        self.check("sub")

    def test_an_empty_match_is_followed_by_the_next_character(self): # in nginx it is an error
        self.assertEqual(ask(self.server, "/cases/utf").text, '"-a-\xe4-" 3\n')

    def test_more_patterns_than_the_cache_has_room_for(self):
        self.assertEqual(self.check("many").text, "1100\n")


class Limits(SiteCase):
    SCRIPT = r"""
    local ngx = require "ngx"
    app.set { handler_cpu = "300ms" }
    local function try(fn, ...)
        local results = { pcall(fn, ...) }
        for i = 1, 4 do results[i] = tostring(results[i]) end
        return results
    end
    local bad = ("a"):rep(60)
    app.get("/slow", function()
        local list = {}
        for _, options in ipairs { "", "jo" } do
            list[#list + 1] = try(ngx.re.match, bad, "^(a+)+[bc]", options)
            list[#list + 1] = try(ngx.re.find, bad, "^(a|aa)+[bc]$", options)
            list[#list + 1] = try(ngx.re.gsub, bad, "(a|aa)*[bc]", "x", options)
        end
        return list
    end)
    app.get("/forever", function() while true do ngx.re.match(bad, "(a|aa)+[bc]") end end)
    app.get("/deep", function() -- nested so deeply that the stack of machine code is too small
        return { try(ngx.re.find, ("("):rep(100000), "^(\\((?1)*)$", "jo"), try(ngx.re.match, ("ab"):rep(200000), "^(?:(a)|(b))*$", "jo") }
    end)
    local long, umlauts = ("a"):rep(300000), ("\xc3\xa4"):rep(20000)
    app.get("/long", function() -- steps that look at the whole text: these would take minutes if steps alone were counted
        local list = {}
        for _, pattern in ipairs { "[ab]*[cd]", "\\w+\\s*[:=]", "^.*?[ab]*[cd]", "(?:x|[ab]*[cd])" } do
            app.sleep(1)
            list[#list + 1] = try(ngx.re.match, long, pattern)
            app.sleep(1)
            list[#list + 1] = try(ngx.re.find, long, pattern, "jo")
        end
        list[#list + 1] = try(ngx.re.find, long .. ":", "a(?=:)")
        return list
    end)
    app.get("/utf", function() -- with one look at the subject for each match, this would take a second
        local text, count = ngx.re.gsub(umlauts, ".", "x", "ju")
        app.sleep(1)
        return { #text, count, #(ngx.re.sub("a", "a", ("$0$$"):rep(50000))) } -- as would a look at the rest of it for each "$"
    end)
    app.get("/args", function() return tostring(ngx.var.arg_x) end)
    app.get("/texts", function()
        return { try(ngx.re.match, "a", "("), try(ngx.re.match, "a", ("x"):rep(70000)), try(ngx.re.match, "a", "(a)(b"),
            try(ngx.re.match, "a", ("()"):rep(201)), try(ngx.re.match, "a", ("()"):rep(200)), try(ngx.re.match, "\xff", ".", "u"),
            try(ngx.re.match, "\xff", ".", "U"), try(ngx.re.match, "a", "a", "q"), try(ngx.re.match, "a", "a", "d"), try(ngx.re.match, nil, "a"),
            try(ngx.re.match, "a", {}), try(ngx.re.sub, "a", "a", "$x"), try(ngx.re.gsub, "a", "a", function() end),
            try(ngx.re.find, "a", "a", "", nil, 1), try(ngx.re.match, "a", "a", "", 5), try(ngx.re.match, "a", "a", "", { pos = 100 }),
            try(ngx.re.match, "ab", "(?=ab\\K)") }
    end)
    """

    def test_steps_are_bounded(self):
        for results in self.ask("/slow").json:
            self.assertTrue(any("more than 1000000 steps" in text for text in results), results)
        self.assertEqual(self.ask("/forever").status, 503)
        self.assertEqual(self.ask("/deep").status, 200)

    def test_long_texts(self):
        *late, found = self.ask("/long").json
        for results in late:
            self.assertRegex(" ".join(results), "^true nil (nil|.*more than 100 ms)")
        self.assertEqual(found, ["true", "300000", "300000", "nil"])
        self.assertEqual(self.ask("/utf").json, [20000, 20000, 100000])
        self.assertEqual(self.ask("/args?" + "a" * 8000).text, "nil")
        self.assertEqual(self.ask("/args?a&b=1&X=2&x=3").text, "2")

    def test_error_texts(self):
        texts = [" ".join(results) for results in self.ask("/texts").json]
        for text, part in zip(texts, [
                'pcre_compile() failed: missing closing parenthesis in "("', "70000 bytes: at most 65536", "missing closing parenthesis",
                "201 groups: at most 200", "true table", "-10 (the subject is not UTF-8)", "true", 'unknown option "q"', "patterns match as Perl's do",
                "the text to look at, got nil", "a regular expression, got table", 'must be followed by the number of a group',
                "must return a string or a number, got nil", "has no group 1", "a context table expected", "true nil", "nil"]):
            self.assertIn(part, text)


if __name__ == "__main__":
    unittest.main()
