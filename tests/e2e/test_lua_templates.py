"""Templates: what is escaped how, that no value changes the structure of a page, errors and their lines, limits."""

import html.parser
import json
import os
import re
import unittest

import evtest

from lua_site import EVSERVE, Client, SiteCase, script

HOSTILE = (
    "</script>", "</SCRIPT >", "</title>", "</textarea/>", "<!--", "-->", "<script>alert(1)</script>",
    "javascript:alert(1)", " JavaScript:x", "java\nscript:x", "data:text/html,x", "vbscript:x", "//evil.example",
    "http://x/\"'<>", '"', "'", "`", "\\", '" onload="x', "' onload='x", "\\'; alert(1); //", '\\"', "${alert(1)}",
    "{alert(1)}", "$", "/", "*/", "//", "&quot;", "&#39;", "&lt;b&gt;", "\n", "\r\n", "\0", "\u2028\u2029", "é€😀", "=",
    "a=b&c=d", "#x", "?x", "%2e%", "]]>", "<![CDATA[", "--!>", " ", "x y", "script>", "/script ", "!--", "u0022",
    "expression(1)", "red; background: url(x)", "{{ x }}",
)

# The template around {{ v }}, the value, and what stands in its place.
TABLE = (
    # Between tags.
    ("<p>{{ v }}</p>", "<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;"),
    ("<p>{{ v }}</p>", "a\0b", "a\ufffdb"),
    ("<p>{{ v }}</p>", "é€😀\u2028", "é€😀\u2028"),
    ("<p>{{ v }}</p>", 5, "5"),
    ("<p>{{ v }}</p>", 1234567890123456, "1234567890123456"),
    ("<p>{{ v }}</p>", True, "true"),
    ("<p>{{ v }}</p>", "", ""),
    ("a < b {{ v }}", "&amp;", "&amp;amp;"),
    ("<noscript>{{ v }}</noscript>", "</noscript>", "&lt;/noscript&gt;"),
    # Elements whose content is text.
    ("<title>{{ v }}</title>", "</title><b>", "&lt;/title&gt;&lt;b&gt;"),
    ("<textarea>{{ v }}</textarea>", "</textarea>&", "&lt;/textarea&gt;&amp;"),
    # Attributes.
    ('<p title="{{ v }}">', "\"'<>&", "&quot;&#39;&lt;&gt;&amp;"),
    ("<p title='{{ v }}'>", "\"'<>&", "&quot;&#39;&lt;&gt;&amp;"),
    ('<p data-x = "a{{ v }}b">', "javascript:x", "javascript:x"),
    ('<input value="{{ v }}" checked>', "\n\t", "\n\t"),
    # URLs.
    ('<a href="{{ v }}">', "/a b?c=d&e#f", "/a%20b?c=d&amp;e#f"),
    ('<a href="{{ v }}">', "https://x.example/é", "https://x.example/%C3%A9"),
    ('<a href="{{ v }}">', "MAILTO:ann@example.org", "MAILTO:ann@example.org"),
    ('<a href="{{ v }}">', "javascript:alert(1)", "#"),
    ('<a href="{{ v }}">', "JaVaScRiPt:alert(1)", "#"),
    ('<a href="{{ v }}">', "\x01javascript:alert(1)", "#"),
    ('<a href="{{ v }}">', "java\tscript:alert(1)", "#"),
    ('<a href="{{ v }}">', "data:text/html,x", "#"),
    ('<a href="{{ v }}">', "tel:123", "#"),
    ('<a href="{{ v }}">', "a/b:c", "a/b:c"),
    ('<a href="{{ v }}">', "?a:b", "?a:b"),
    ('<a href="{{ v }}">', "a%20b%zz", "a%20b%25zz"),
    ('<a href="{{ v }}">', "\\\\evil", "%5C%5Cevil"),
    ('<a href="{{ v }}">', "\0", "%00"),
    ('<a href="/users/{{ v }}/x">', "a/b?c#d%e:f", "a/b%3Fc%23d%25e:f"),
    ('<a href="{{ "" }}{{ v }}">', "javascript:x", "javascript%3Ax"),
    ('<a href="page-{{ v }}">', "1:2", "1%3A2"),
    ('<a href="/?q={{ v }}&amp;r=1">', "a b&c=d/e+f", "a%20b%26c%3Dd%2Fe%2Bf"),
    ('<a href="#{{ v }}">', "a b", "a%20b"),
    ('<a href="https://example.org{{ v }}">', "/a?b=c", "/a?b=c"),
    ('<a href="mailto:{{ v }}">', "a?b", "a%3Fb"),
    ('<form action="{{ v }}">', "javascript:x", "#"),
    ('<button formaction="{{ v }}">', "javascript:x", "#"),
    ('<img src="{{ v }}">', "data:image/png;base64,x", "#"),
    ('<img data-src="{{ v }}">', "javascript:x", "#"),
    ('<svg><a xlink:href="{{ v }}">', "javascript:x", "#"),
    ('<img srcset="{{ v }} 1x, /b 2x">', "/a,b c", "/a%2Cb%20c"),
    ('<img srcset="/a 1x, {{ v }} 2x">', "javascript:x", "#"),
    ('<meta http-equiv="refresh" content="0; url={{ v }}">', "javascript:x", "#"),
    ("<meta name=\"x\" content=\"{{ v }}\">", "javascript:x", "javascript:x"),
    # Scripts.
    ("<script>var a = {{ v }};</script>", "</script>", '"\\u003c\\/script\\u003e"'),
    ("<script>var a = {{ v }};</script>", "\u2028\u2029", '"\\u2028\\u2029"'),
    ("<script>var a = {{ v }};</script>", "\"\\\n&'", '"\\"\\\\\\n\\u0026\'"'),
    ("<script>var a = {{ v }};</script>", "\0", '"\\u0000"'),
    ("<script>var a = {{ v }};</script>", 7, "7"),
    ("<script>var a = {{ v }};</script>", True, "true"),
    ("<script>var a = {{ v }};</script>", ["<", {"a": 1}], '["\\u003c",{"a":1}]'),
    ("<script>return{{ v }}</script>", 7, " 7"),
    ("<script>a = b / c / {{ v }}</script>", "x", '"x"'),
    ("<script>a = /[/\"]'/.test({{ v }})</script>", "x", '"x"'),
    ("<script>a = {{ v }} / 2 + '/'; f({{ v }})</script>", "x", '"x"'),
    ("<script>f(a.return / 2 + '/', {{ v }})</script>", "x", '"x"'),
    ("<script>// it's\nf({{ v }})</script>", "x", '"x"'),
    ("<script>/* it's */ f({{ v }})</script>", "x", '"x"'),
    ("<script>f('it\\'s', {{ v }})</script>", "x", '"x"'),
    ("<script>`a ${ {b: `}`} } ${ {{ v }} }`</script>", "`", '"`"'),
    ('<script type="application/json">{"a": {{ v }} }</script>', "</", '"\\u003c\\/"'),
    ('<script type="application/ld+json">{"a": "{{ v }}"}</script>', "'\"", "\\u0027\\u0022"),
    ("<script type=module>f({{ v }})</script>", "x", '"x"'),
    ("<SCRIPT>f({{ v }})</SCRIPT>", "<", '"\\u003c"'),
    # Strings in scripts.
    ("<script>f('{{ v }}')</script>", "'\"`\\</script>\n$",
     "\\u0027\\u0022\\u0060\\\\\\u003c\\/script\\u003e\\u000a\\u0024"),
    ('<script>f("{{ v }}")</script>', "\u2028é\0\x7f", "\\u2028é\\u0000\\u007f"),
    ("<script>f(`{{ v }}`)</script>", "${x}`", "\\u0024{x}\\u0060"),
    ("<script>f(`${a}{{ v }}`)</script>", "`", "\\u0060"),
    # Code in attributes.
    ('<p onclick="f({{ v }})">', "a\"'<", "&quot;a\\&quot;&#39;\\u003c&quot;"),
    ("<p onclick='f(\"{{ v }}\")'>", "a\"'&", "a\\u0022\\u0027\\u0026"),
    ('<p onclick="f(&quot;{{ v }}&quot;)">', "\")", "\\u0022)"),
    ('<p onclick="f(&#39;{{ v }}&#x27;, {{ 1 }})">', "')", "\\u0027)"),
    ('<p x-data="{ a: {{ v }} }">', "x", "&quot;x&quot;"),
    ('<p @click="f({{ v }})">', 5, "5"),
    # Styles.
    ('<p style="width: {{ v }}%">', 5.5, "5.5"),
    ('<p style="color: {{ v }}">', "#ffaa00", "#ffaa00"),
    ('<p style="color: {{ v }}">', "red; x: url(y)", "unsafe"),
    ('<p style="{{ v }}">', "expression(1)", "unsafe"),
    ('<svg><a><animate attributeName="href" values="#;{{ v }}">', "javascript:x", "unsafe"),
    # Not escaped.
    ("<p>{{{ v }}}</p>", "<b>", "<b>"),
    ("<!-- {{{ v }}} -->", "x", "x"),
    ("<style>{{{ v }}}</style>", "a{}", "a{}"),
    ("<p {{{ v }}}>", "hidden", "hidden"),
    ("<p>{{ html(v) }}</p>", "<b>&", "<b>&"),
    ('<p title="{{ html(v) }}">', "<b>", "&lt;b&gt;"),
)

# A template, and the error that it makes at start-up, behind "page.html:".
MISTAKES = (
    ("<p title={{ v }}>", '1: a value stands as the value of an attribute without quotes: write title="{{ }}"'),
    ("<p\ntitle=x{{ v }}>", "2: a value stands as the value of an attribute without quotes"),
    ("<p {{ v }}>", "1: a value stands between attributes"),
    ("<p a{{ v }}=x>", "1: a value stands in the name of an attribute"),
    ("<{{ v }}>", "1: the text before it ends with \"<\""),
    ("<p{{ v }}>", "1: a value stands as the name of a tag"),
    ("</{{ v }}>", "1: the text before it ends with \"<\""),
    ("a\n<!-- {{ v }} -->", "2: a value stands in an HTML comment: use {# #}"),
    ("<!DOCTYPE {{ v }}>", "1: the text before it ends with \"<!\""),
    ("<style>{{ v }}</style>", "1: a value stands in <style>: use a class"),
    ('<iframe srcdoc="{{ v }}">', "1: a value stands in srcdoc"),
    ("<iframe>{{ v }}</iframe>", "1: a value stands in <iframe>"),
    ("<script>// {{ v }}\n</script>", "1: a value stands in a comment of a script"),
    ("<script>/* {{ v }} */</script>", "1: a value stands in a comment of a script"),
    ("<script>a = /{{ v }}/</script>", "1: a value stands in a regular expression"),
    ("<script>a = b /{% if v then %}/c{% end %}</script>", "1: the text before it ends with \"/\""),
    ("<script>a = /x{{ v }}/</script>", "1: a value stands in a regular expression"),
    ("<script>if (a) /\"/.test(b); f({{ v }})</script>", "1: a value stands in a script in which \"/\" may divide"),
    ("<script>a = b{% if v then %}{% end %} / 2 + '/'; f({{ v }})</script>",
     "1: a value stands in a script in which \"/\" may divide"),
    ("<!--{% if v then %}>{% end %}", "1: the text before it ends with \"--\""),
    ("<script type=\"text/x-handlebars\">{{ v }}</script>",
     "1: a value stands in a <script> of the type text/x-handlebars"),
    ('<script type="{{ v }}"></script>', "1: a value stands in the type of a <script>"),
    ("<script>\n\n<!-- x\n</script>", "3: \"<!--\" in a <script>"),
    ("<script>'</scr{{ v }}'</script>", "1: the text before it ends with \"</scr\""),
    ("<script>'<{{ v }}'</script>", "1: the text before it ends with \"<\""),
    ("<script>'\\{{ v }}'</script>", "1: the text before it ends with \"\\\""),
    ("<script>`${{ v }}`</script>", "1: the text before it ends with \"$\""),
    ("<title></ti{{ v }}</title>", "1: the text before it ends with \"</ti\""),
    ('<a href="javascript:f({{ v }})">', "1: a value stands in a javascript: or data: URL"),
    ('<a href="java&#115;cript:f({{ v }})">', "1: a value stands in a javascript: or data: URL"),
    ('<p onclick="f(&lsquo;{{ v }}&lsquo;)">', "1: a value stands in a script behind &lsquo;"),
    ('<p onclick="f(&quot{{ v }})">', "1: the text before it ends with \"&quot\""),
    ("<script>", "1: the template ends in <script>"),
    ("a\n<p", "2: the template ends in a tag"),
    ("<a href=\"", "1: the template ends in the attribute href"),
    ("\n{% if v then %}<a href='{% end %}x",
     "2: the \"if\" of line 2 began between tags, and this would be in the attribute href"),
    ("{% if v then %}<script>{% else %}</script>{% end %}",
     "1: the \"if\" of line 1 began between tags, and this would be in <script>"),
    ("<script>{% if v then %}'{% end %}{{ v }}</script>", "1: the \"if\" of line 1 began in <script>"),
    ('<a href="{% if v then %}/?{% end %}{{ v }}">', "1: a value stands behind branches that end in different parts"),
    ('<a href="{% for i = 1, 2 do %}{{ v }}?{% end %}">', "1: the \"for\" of line 1 began in another part of a URL"),
    ("{% for i = 1, 2 do %}<p {% break %}>{% end %}",
     "1: the \"for\" of line 1 began between tags, and this would be in a tag"),
    ("<p {% return %}>", "1: \"return\" in a tag would leave out the end of it"),
    ("<p class={% if v then %}a{% end %}>", "1: a statement stands in the value of an attribute without quotes"),
    ("<p a{% if v then %}b{% end %}>", "1: a name continues after a statement"),
    ("{% local function f() %}<b>{% end %}", "1: text and values cannot stand in a function"),
    ("\n{{ v +* 2 }}", "2: unexpected symbol near '*'"),
    ("{{ a, b }}", "1: ')' expected near ','"),
    ("{{\n\nv v }}", "3: ')' expected near 'v'"),
    ("{{ }}", "1: a value without an expression"),
    ("\n\n{% for %}", "3: the \"for\" has no \"end\""),
    ("\n{% if v then %}\n\n", "2: the \"if\" has no \"end\""),
    ("\n{% end %}", "2: \"end\" without a block"),
    ("{% else %}", "1: \"else\" without an \"if\""),
    ("a\n{{ v", "2: \"}}\" is missing"),
    ("{% v = 'x %}", "1: unfinished string"),
    ("\n{# a\n", "2: \"#}\" is missing"),
    ("{% __put('x') %}", "1: __put: names that begin with two underscores"),
    ("\n{% include('nowhere.html') %}", "2: include: cannot open nowhere.html: No such file"),
    ("{% include(v) %}", "1: include: the name of a file in quotes expected"),
    ("<p title='{{ include(\"a.html\") }}'>",
     "1: an included template can stand only between tags, not in the attribute"),
    ("<script>{% include('a.html') %}</script>",
     "1: an included template can stand only between tags, not in <script>"),
    ("<p>\n{% layout('a.html') %}", "2: layout must stand before all text"),
    ("{% layout(v) %}", "1: layout(\"file\", values) expected"),
    ("\n{{ include('page.html') }}", "2: include: page.html > page.html: a template cannot contain itself"),
)


def lua(value):
    """A Lua expression for a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return "app.json.decode(" + lua(json.dumps(value)) + ")"
    if not isinstance(value, str):
        return "%.17g" % value
    return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'


class Structure(html.parser.HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag):
        self.seen.append("/" + tag)

    def handle_comment(self, data):
        self.seen.append("comment")

    def handle_decl(self, decl):
        self.seen.append("declaration")

    def unknown_decl(self, data):
        self.seen.append("declaration")

    def handle_pi(self, data):
        self.seen.append("instruction")


class Escaping(SiteCase):
    CASES = sorted({template for template, _, _ in TABLE})
    FILES = [(f"{number}.html", template) for number, template in enumerate(CASES)]
    SCRIPT = "local values = { " + ", ".join(lua(value) for _, value, _ in TABLE) + " }\n" + \
        "local hostile = { " + ", ".join(lua(value) for value in HOSTILE) + " }\n" + r"""
    local pages = {}
    for i = 0, COUNT - 1 do pages[i] = app.template(i .. ".html") end
    app.get("/value/:page{int}/:value{int}", function(req)
        return pages[tonumber(req.params.page)] { v = values[tonumber(req.params.value)] }
    end)
    app.get("/hostile/:page{int}", function(req)
        local texts = {}
        for i, value in ipairs(hostile) do
            texts[i] = pages[tonumber(req.params.page)]:render { v = value }
        end
        return texts
    end)
    app.get("/bytes/:page{int}", function(req)
        return pages[tonumber(req.params.page)] { v = "a\255\192<\226\128" }
    end)
    """.replace("COUNT", str(len(CASES)))

    def test_table(self):
        with Client(self.server) as client:
            for number, (template, value, expected) in enumerate(TABLE):
                with self.subTest(template, value=value):
                    answer = client.ask("GET", f"/value/{self.CASES.index(template)}/{number + 1}")
                    whole = re.sub(r"\{\{\{?[^}]*\bv\b[^}]*\}\}\}?", lambda _: expected, template)
                    whole = whole.replace('{{ "" }}', "").replace("{{ 1 }}", "1")
                    self.assertEqual((answer.status, answer.text), (200, whole))
                    self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")

    def test_no_value_changes_the_structure(self):
        with Client(self.server) as client:
            for number, template in enumerate(self.CASES):
                if "{{{" in template or "html(v)" in template:
                    continue
                texts = client.ask("GET", f"/hostile/{number}").json
                expected = Structure(re.sub(r"\{\{.*?\}\}", "x", template)).seen
                for value, text in zip(HOSTILE, texts):
                    with self.subTest(template, value=value):
                        self.assertEqual(Structure(text).seen, expected, text)

    def test_what_is_not_utf_8_becomes_it(self):
        with Client(self.server) as client:
            for number in range(len(self.CASES)):
                if "{{{" not in self.CASES[number] and "html(v)" not in self.CASES[number]:
                    client.ask("GET", f"/bytes/{number}").body.decode()
        self.assertIn("a\ufffd\ufffd&lt;\ufffd\ufffd", self.ask(f"/bytes/{self.CASES.index('<p>{{ v }}</p>')}").text)


class Pages(SiteCase):
    FILES = [
        ("page.html", "{# A page. #}\n{% local title = \"A & B\" %}\n{% layout(\"sub/layout.html\", { title = title,\n"
                      "    side = html(\"<hr>\") }) %}\n<ul>\n{% for i, row in ipairs(rows) do %}\n"
                      "  {% include(\"sub/row.html\", { row = row }) %}\n{% end %}\n</ul>\n"
                      "{% if user then %}<p>{{ user }}{% else %}nobody{% end %}\n"),
        ("sub/layout.html", "<title>{{ title }}</title>\n{{ content }}\n{{ side }}{{ user or '-' }}\n"
                            "{{ include 'foot.html' }}"),
        ("sub/row.html", "<li>{{ row }}\n"),
        ("sub/foot.html", "<footer>{{ title }}\n"),
        ("code.html", "{% -- a comment %}{% x = { a = '%}' } %}{{ x.a }}{{ ('}}'):upper() }}{{ #({ {}, {} }) }}"
                      "{{ [[\"]] }}{{ string.format('%d', 5 % 3) }}{% --[[ long\n]] %}{{ \"{{\" }}{{ 'a\\'b' }}"
                      "{% local function f(n) if n > 0 then return n + f(n - 1) end return 0 end %}{{ f(3) }}"
                      "{% while true do if x then break end end %}{{ v -- the value\n }}"
                      "{% y = f %}{% (f or x)(1) %}{{ type(y) }}{% goto out %}no{% ::out:: %}{{ os.date('!%Y', 0) }}{{ type(print) }}"),
        ("branches.html", '<option{% if v then %} selected{% end %}><a href="/x{% if v then %}?a=b{% end %}" '
                          'class="a {% if v then %}b{% else %}c{% end %}">'
                          '<script>{% if v then %}f({{ v }});{% else %}g();{% end %}'
                          '{% for i = 1, 2 do %}{{ i }};{% end %}'
                          "</script>{% if v then return end %}rest"),
        ("wrong.html", "<p>\n{{ naem }}\n"),
        ("deeper.html", "{% include 'wrong.html' %}"),
        ("table.html", "\n\n<p>{{ v }}"), ("json.html", "<script>\nf({{ v }})</script>"),
        ("call.html", "<p>\n\n{% local x = v.a.b %}"),
        ("attribute.html", '{% local part = include("sub/foot.html") %}\n<p title="{{ part }}">'),
        ("text.html", '{% local part = tostring(include("sub/foot.html", { title = "<" })) %}{{ #part }}{{ part }}'),
        ("big.html", "<table>\n{% for i = 1, count do %}\n<tr><td>{{ i }}\n{% end %}\n</table>\n"),
        ("waits.html", "a\n{% flush() %}\n{% wait() %}\nb"),
        ("endless.html", "{% while true do %}<p>{{ tick() }}{% end %}"),
        ("values.html", "{{ table }}{{ v.x }}{{ set }}"),
        ("int.html", "{{ v }}"),
    ]
    SCRIPT = r"""
    local pages = {}
    for name in ("page code branches wrong deeper table json call attribute text big waits values int endless"):gmatch("%a+") do
        pages[name] = app.template(name .. ".html")
    end
    app.get("/page", function(req)
        return pages.page { rows = { "a", "<b>" }, user = req.query.user }
    end)
    app.get("/status", function() return 404, pages.page { rows = {} }, { ["cache-control"] = "no-store" } end)
    app.get("/code", function() return pages.code { v = "<" } end)
    app.get("/branches", function(req) return pages.branches { v = req.query.v } end)
    app.get("/wrong/:page", function(req) return pages[req.params.page] { title = "" } end)
    app.get("/table", function() return pages.table { v = {} } end)
    app.get("/json", function() return pages.json { v = print } end)
    app.get("/rendered", function() return pages.text:render() end)
    app.get("/stream-of-page", function() return pages.page:stream { rows = { "a" }, user = "ann" } end)
    app.get("/big", function(req)
        local page = pages.big
        local values = { count = tonumber(req.query.count) }
        return req.query.whole and page(values) or page:stream(values)
    end)
    app.get("/waits", function() return pages.waits:stream { wait = function() app.sleep "1ms" end } end)
    local ticks = 0
    local function tick() ticks = ticks + 1 return ("x"):rep(1000) end
    app.get("/endless", function() return pages.endless:stream { tick = tick } end)
    app.get("/ticks", function() return { ticks } end)
    app.get("/fails", function() return pages.wrong:stream() end)
    app.get("/values", function()
        local meta = { __index = function() return "meta" end }
        return pages.values(setmetatable({ table = "own ", v = { x = "field " } }, meta))
    end)
    app.get("/int", function() return pages.int { v = require("ffi").new("int64_t", -5) } end)
    local wrong = {
        values = function() return pages.page "x" end,
        dot = function() return pages.page.render {} end,
        late = function() return app.template "page.html" end,
    }
    app.get("/misuse/:what", function(req) return wrong[req.params.what]() end)
    app.get("/memory", function() collectgarbage() return { kib = collectgarbage "count" } end)
    """

    def test_layouts_and_includes(self):
        page = "<title>A &amp; B</title>\n<ul>\n<li>a\n<li>&lt;b&gt;\n</ul>\n{}\n\n<hr>{}\n<footer>A &amp; B\n"
        self.assertEqual(self.ask("/page").text, page.format("nobody", "-"))
        answer = self.ask("/page?user=%3Cann%3E")
        self.assertEqual(answer.text, page.format("<p>&lt;ann&gt;", "&lt;ann&gt;"))
        self.assertEqual((answer.status, answer.headers["content-length"]), (200, str(len(answer.body))))

    def test_pages_are_responses(self):
        answer = self.ask("/status")
        self.assertEqual((answer.status, answer.headers["cache-control"]), (404, "no-store"))
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        head = self.ask("/page", method="HEAD")
        self.assertEqual((head.status, head.headers["content-length"]), (200, str(len(self.ask("/page").body))))
        head = self.ask("/stream-of-page", method="HEAD")
        self.assertEqual((head.status, head.headers["content-type"]), (200, "text/html; charset=utf-8"))

    def test_code(self):
        self.assertEqual(self.ask("/code").text, "%}}}2&quot;2{{a&#39;b6&lt;function1970nil")

    def test_branches(self):
        self.assertEqual(self.ask("/branches?v=1").text, '<option selected><a href="/x?a=b" class="a b"><script>f("1");'
                                                         "1;2;</script>")
        self.assertEqual(self.ask("/branches").text, '<option><a href="/x" class="a c"><script>g();1;2;</script>rest')

    def test_values(self):
        self.assertEqual(self.ask("/values").text, "own field meta")
        self.assertEqual(self.ask("/int").text, "-5")
        self.assertEqual(self.ask("/rendered").text, "13&lt;footer&gt;&amp;lt;\n")

    def test_errors_have_the_line(self):
        for path, text in (
                ("/wrong/wrong", 'wrong.html:2: naem is nil: write {{ naem or "" }} if it may be absent'),
                ("/wrong/deeper", "wrong.html:2: naem is nil"),
                ("/table", "table.html:3: v is a table: a text or a number expected"),
                ("/json", "json.html:2: JSON: cannot encode a function"),
                ("/wrong/call", "call.html:3: attempt to index global 'v' (a nil value)"),
                ("/wrong/attribute", "attribute.html:2: part is a part of a page: it can stand only between tags"),
                ("/misuse/values", "page.html: a table of values expected, got \"x\""),
                ("/misuse/dot", "page:render: call it as a method, with a colon"),
                ("/misuse/late", "app.template works only while the script starts"),
                ("/fails", "wrong.html:2: naem is nil")):
            with self.subTest(path):
                self.assertEqual(self.ask(path).status, 500)
                self.wait_for_log(re.escape(text))

    def test_streams(self):
        whole = self.ask("/page?user=ann").body.replace(b"<li>&lt;b&gt;\n", b"")
        self.assertEqual(self.ask("/stream-of-page").body, whole)
        answer = self.ask("/waits")
        self.assertEqual(answer.text, "a\nb")
        whole, streamed = self.ask("/big?count=1000&whole=1"), self.ask("/big?count=1000")
        self.assertEqual(whole.body, streamed.body)
        self.assertNotIn("content-length", streamed.headers)

    def test_the_client_leaves(self):
        with Client(self.server) as client:
            client.send("GET", "/endless")
            self.assertIn(b"200 OK", client.sock.recv(4096))
        ticks = []

        def is_over():
            ticks.append(self.ask("/ticks").json[0])
            return len(ticks) > 1 and ticks[-1] == ticks[-2] > 0
        evtest.wait_until(is_over, "the end of the page")
        self.assertEqual(self.log_count("error.*/endless"), 0)

    def test_a_large_page_takes_little_memory(self):
        before = self.ask("/memory").json["kib"]
        with Client(self.server) as client:
            answer = client.ask("GET", "/big?count=100000", version="1.0")
        self.assertEqual(answer.body.count(b"<tr>"), 100000)
        self.assertTrue(answer.whole)
        self.assertLess(self.ask("/memory").json["kib"], before + 1000)


class AtStartUp(unittest.TestCase):
    def check(self, files, text, code='app.template "page.html"'):
        with script(code + '\napp.get("/", function() end)\n', files=files) as path:
            done = evtest.run(EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
        if text is None:
            self.assertEqual(done.returncode, 0, done.stderr)
        else:
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr)

    def test_mistakes(self):
        said = self.try_all([[("page.html", template), ("a.html", "")] for template, _ in MISTAKES])
        for (template, expected), text in zip(MISTAKES, said):
            with self.subTest(template):
                self.assertTrue(text.startswith("page.html:" + expected), text)

    def test_a_mistake_ends_the_start(self):
        self.check([("page.html", "<p>\n<p {{ v }}>")], "page.html:2: a value stands between attributes")
        self.check([], "site.lua:2: app.template: cannot open page.html: No such file or directory")
        self.check([], "site.lua:2: app.template: a path expected, got 7", "app.template(7)")

    def test_circles(self):
        files = [("page.html", "\n{% layout 'a.html' %}"), ("a.html", "{{ include 'b.html' }}"),
                 ("b.html", "\n\n{{ include('page.html') }}")]
        text = "b.html:3: include: page.html > a.html > b.html > page.html: a template cannot contain itself"
        self.check(files, text)

    def try_all(self, folders):
        """What app.template "page.html" says in each of the folders, which are lists of files."""
        code = "".join(f'app.log("warn", select(2, pcall(app.template, "{number}/page.html")))\n'
                       for number in range(len(folders)))
        files = [(f"{number}/{name}", text) for number, folder in enumerate(folders) for name, text in folder]
        with script(code, files=files) as path:
            done = evtest.run(EVSERVE, "--check", "site.lua", cwd=os.path.dirname(path))
        lines = re.findall(r" warn (\d+)/(.*)", done.stderr)
        said = {int(number): text.replace(f"{number}/", "").replace("\\\\", "\\") for number, text in lines}
        return [said.get(number, "") for number in range(len(folders))]

    def test_limits(self):
        chain = [("page.html", "{{ include '2.html' }}")]
        chain += [(f"{i}.html", f"{{{{ include '{i + 1}.html' }}}}") for i in range(2, 17)]
        large = "x" * (256 << 10)
        cases = (
            (chain[:15] + [("16.html", "x")], ""),
            (chain + [("17.html", "x")], "16.html:1: include: more than 16 templates in each other"),
            ([("page.html", "{{ include '9.html' }}{{ include '2.html' }}")] + chain[1:] + [("17.html", "x")],
             "8.html:1: include: more than 16 templates in each other"),
            ([("page.html", large)], ""),
            ([("page.html", large + "x")], "page.html:1: the template has more than 262144 bytes"),
            ([("page.html", "{% do %}" * 100 + "{% end %}" * 100)], ""),
            ([("page.html", "{% do %}" * 101)], "page.html:1: more than 100 blocks in each other"),
        )
        self.assertEqual(self.try_all([files for files, _ in cases]), [text for _, text in cases])
        many = """
        local function add(i)
            local path = ""
            for bit = 0, 9 do path = path .. (math.floor(i / 2 ^ bit) % 2 == 0 and "./" or ".//") end
            app.template(path .. "page.html")
        end
        for i = 1, 1000 do add(i) end
        assert(false, select(2, pcall(add, 0)))"""
        self.check([("page.html", "x")], "site.lua:6: app.template: more than 1000 templates", many)


if __name__ == "__main__":
    unittest.main()
