"""Random templates with hostile values, looked at by Chromium: see scripts/template_fuzz.sh.

Templates are put together from pieces of HTML, scripts and statements, most of which do not belong together. Those that
evserve takes are rendered with a harmless value, and with values that try to get out of each place. In the browser the
two pages must have the same elements with the same attributes, nothing of a value may run (pwn() is called by none,
neither by scripts nor by the handlers of events), and no URL may get a scheme that only the value has.
"""

import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))

import browser
import evtest
from lua_site import EVSERVE, script

A_SITE = 900  # templates of one script, which may have 1,000
HOSTILE = (
    "pwn()", "');pwn();//", '");pwn();//', "`+pwn()+`", "${pwn()}", "{pwn()}", "{pwn()",
    "</script><script>pwn()</script>", "javascript:pwn()", "script:pwn()", ":pwn()", 'x" onclick="pwn()" x="',
    "x' onclick='pwn()' x='", "><img src=x onerror=pwn()>", "*/pwn()/*", "\npwn()\n", "\u2028pwn()\u2028", "/pwn()/",
    "/;pwn();/", "/+pwn()+/", "--><script>pwn()</script>", "&quot;);pwn();//", "&#39;);pwn();//", "\\", "'", '"', "`",
    "+pwn()+", ";pwn();", "</title><script>pwn()</script>", "</textarea><script>pwn()</script>", "(pwn())", "=pwn()",
    "onclick=pwn() ", "script>pwn()", "/script><script>pwn()</script>", "!--", "-", "/", "*", "$", "{", "<", "&", ">",
    "#", "n", "u0027", "title><script>pwn()</script>", "/title ><script>pwn()</script>", "x\x00pwn()", "\r\npwn()",
    "Tab;script:pwn()", "style onload=pwn() ", "quot;);pwn();//",
)
PIECES = (
    "<p>", "</p>", '<a href="', "<a href='", '<a href="/', '<a href="/?x=', '<a href="javascript:', '"', "'", ">",
    "<", "</", ' title="', " title='", ' onclick="f(', ')"', ' onclick="', " onclick='", "<script>", "</script>",
    "<p ", "<b", "/>", '<script type="module">', "var a = ", ";", "`", "${", "}", "{ ", "/", "//", "/*", "*/", "\\",
    "\n", "<!--", "-->", "<title>", "</title>", "<textarea>", "</textarea>", "<style>", "</style>", ' style="',
    "&quot;", "&#39;", "&", "&#x27;", "=", " ", "x", "f(", ")", "(", "[", "]", "?", "#", ":", "javascript", "a",
    "<svg>", "</svg>", "<noscript>", "<math>", "</noscript>", '<iframe srcdoc="', "return ", "if (x) ", "++", "--",
    "!", "-", "1", ",", "+", "<!", "<?", "<![CDATA[", "]]>", ' srcset="', ' src="', "<img", " a", "<form",
    ' action="', "java", "script", "style", ' class="', "typeof ", "{% if c then %}", "{% else %}", "{% end %}",
    "{% for i = 1, 2 do %}", "{# #}", "{% break %}", "\t", "$", "'\\'",
)
WHOLE = (
    "<p>{{ v }}</p>", '<p title="{{ v }}">', "<p title='a{{ v }}b'>", '<a href="{{ v }}">', '<a href="/x/{{ v }}">',
    '<a href="{{ v }}{{ v }}">', '<a href="/?a={{ v }}">', '<p onclick="f({{ v }})">', '<p onclick=\'f("{{ v }}")\'>',
    '<p onclick="f(\'{{ v }}\')">', "<script>f({{ v }});</script>", "<script>f('{{ v }}');</script>",
    '<script>f("{{ v }}");</script>', "<script>f(`{{ v }}`);</script>",
    "<script>f(`a${ {{ v }} }b{{ v }}`);</script>", "<title>{{ v }}</title>", "<textarea>{{ v }}</textarea>",
    '<p style="width: {{ v }}">', "<script>/* x */ f(a / {{ v }});</script>",
    "<script>var a = /x/; f({{ v }});</script>", '<img srcset="{{ v }}, {{ v }} 2x">',
    '<p class="{% if c then %}a{% end %}{{ v }}">', "<option{% if c then %} selected{% end %}>{{ v }}</option>",
    "<svg><a xlink:href='{{ v }}'></a></svg>", "<script>{% for i = 1, 2 do %}f({{ v }});{% end %}</script>",
    "<noscript>{{ v }}</noscript>", "<!-- {# #} -->", '<p onclick="f(&quot;{{ v }}&quot;)">',
    "<script>// {# #}\nf({{ v }});</script>", "<p x='{% if c then %}{{ v }}{% else %}y{% end %}'>",
)

LOOK = r"""
(async () => {
    const schemes = ["", "http:", "https:", "mailto:", "about:"];
    function open(text) {
        return new Promise(done => {
            const frame = document.createElement("iframe");
            frame.onload = () => {
                const inside = frame.contentWindow, seen = [], urls = [];
                for (const element of inside.document.querySelectorAll("*")) {
                    const names = element.getAttributeNames().sort();
                    seen.push(element.tagName + " " + names.join(" "));
                    for (const name of names) {
                        if (name.startsWith("on") && typeof element[name] === "function") {
                            try { element[name](); } catch (error) {}
                        }
                        if (/href|src|action/.test(name) && name !== "srcset" && name !== "srcdoc") {
                            let scheme = "";
                            try { scheme = new URL(element.getAttribute(name), "http://x/").protocol; } catch (error) {}
                            urls.push(scheme);
                        }
                    }
                }
                const result = { seen: seen.join("\n"), urls, pwned: inside.pwned };
                frame.remove();
                done(result);
            };
            frame.srcdoc = "<!DOCTYPE html><script>var pwned = 0, x = 1, a = 1, c; function f() {}" +
                "function pwn() { pwned++; return 1 } window.onerror = () => true;" +
                "window.print = window.alert = f<\/script>" + text;
            document.body.append(frame);
        });
    }
    const found = [];
    for (const [template, plain, hostile] of PAGES) {
        const [expected, ...opened] = await Promise.all([plain, ...hostile].map(open));
        for (const [i, got] of opened.entries()) {
            const text = hostile[i];
            const bad = got.pwned > 0 ? "ran" : got.seen !== expected.seen ? "structure" :
                got.urls.some((scheme, at) => scheme !== expected.urls[at] && !schemes.includes(scheme)) ?
                    "scheme" : null;
            if (bad) {
                found.push([bad, template, text]);
            }
        }
    }
    return found;
})()
"""


def make_template(chance):
    parts = []
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.7:
            parts.append(chance.choice(WHOLE))
        else:
            parts += [chance.choice(PIECES + ("{{ v }}",) * 12) for _ in range(chance.randint(1, 8))]
    text = "".join(parts)
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        at = chance.randint(0, len(text))
        if chance.random() < 0.25:
            text = text[:at] + text[at + chance.randint(1, 4):]
        else:
            text = text[:at] + chance.choice(PIECES + ("{{ v }}",) * 12) + text[at:]
    return text


def render(chance, templates):
    """(template, page with a harmless value, pages with some hostile ones) of those that are taken."""
    code = "local wanted = app.json.decode(io.open('wanted.json'):read('*a'))\nlocal made = {}\n" + r"""
    for i, one in ipairs(wanted) do
        local ok, page = pcall(app.template, i .. ".html")
        if ok then
            local texts = app.json.array()
            local all_ok = true
            for j, value in ipairs(one) do
                local is_made, text = pcall(page.render, page, { v = value, c = i % 2 == 0 })
                if not is_made then all_ok = false break end
                texts[j] = text
            end
            made[#made + 1] = all_ok and { i, texts } or nil
        end
    end
    local file = io.open("made.json", "w")
    file:write(app.json.encode(app.json.array(made)))
    file:close()
    app.get("/", function() end)
    """
    wanted = [["x"] + chance.sample(HOSTILE, 4) for _ in templates]
    files = [(f"{number}.html", text) for number, text in enumerate(templates, 1)]
    with script(code, files=files + [("wanted.json", json.dumps(wanted))]) as path:
        folder = os.path.dirname(path)
        done = evtest.run(EVSERVE, "--check", "site.lua", cwd=folder)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        with open(os.path.join(folder, "made.json"), encoding="utf-8") as file:
            made = json.load(file) or []
    return [(templates[number - 1], texts[0], texts[1:]) for number, texts in made]


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(1 << 32))
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    tried = taken = looked_at = 0
    found = []
    with script('app.get("/", function() return app.html("<body>") end)\n') as path, \
            evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path) as server, browser.running() as chromium:
        tab = chromium.open("http://127.0.0.1:%d/" % server.address[1])
        while time.monotonic() < end and not found:
            templates = [make_template(chance) for _ in range(A_SITE)]
            pages = [page for page in render(chance, templates) if "{{" in page[0]]
            tried, taken = tried + len(templates), taken + len(pages)
            for at in range(0, len(pages), 20):
                if time.monotonic() < end:
                    some = pages[at:at + 20]
                    found += tab.run(LOOK.replace("PAGES", json.dumps(some)))
                    looked_at += sum(len(hostile) for _, _, hostile in some)
    print(f"seed {seed}: {tried} templates, {taken} taken, {looked_at} pages with hostile values looked at")
    for kind, template, text in found:
        print(f"{kind}:\n    {template!r}\n    {text!r}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
