"""The examples of the documentation run as they are printed.

An example is an indented block of lua/README.md or lua/EXAMPLES.md that has "app." or a require in it. It is loaded as a
script of its own, behind local app = require "evserve", in a folder with public/hello.txt, public/index.html and what
else is below, and with certificates for app.tls. "https://api.example.org" in it stands for a server that is described
in Api. Lines of this form in it are tried on the running server, one after the other:

    -- GET /users/7 -> 200 {"id":7}
    -- POST /form [content-type: application/x-www-form-urlencoded] a=1&b=2 -> 303 [location: /done]

Before the arrow: method, target, header fields in brackets, body. Behind it: status, header fields that the answer must
have, and the body, if it is to be looked at, without white space at its ends. "\\r" and "\\n" are line ends in both
bodies; the names in a JSON object may come in any order; and "..." at the end of the expected one stands for what may follow.

WS is a WebSocket. Before the arrow are the messages that the client sends, with " | " between them; behind it are those
that it must receive, and perhaps how the server then closes:

    -- WS /echo/ann hello | world -> hello | world
    -- WS /echo/ann -> who are you? | close 4001 wrong password

A block that begins with a line such as "-- slow.lua" or "{# page.html #}" is a file of that name, beside the scripts that
follow it. A file such as greet_test.lua is run by --test against the next script, if there is one on the page. Scripts
that use a file with a database are skipped where the database's module for Lua is not installed.
"""

import contextlib
import json
import os
import re
import unittest

import certificates
import databases
import evtest
import redis_server
import ws_client
from lua_site import EVSERVE, HEAD, ROOT, Client, script
from origin import Origin

FILES = (
    ("public/hello.txt", "hello from a file\n"),
    ("public/index.html", "<h1>hello</h1>\n"),
    ("users.htpasswd", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"),
    ("pages/404.html", "<p>lost\n"),
    ("pages/sorry.html", "<p>sorry\n"),
    ("challenges/some_token", "some_token.thumbprint"),
    ("users.lua", 'return function(users)\n    users.get("", function() return { "ann", "bob" } end)\nend\n'),
)
FIELD = r"(?:\s*\[([\w-]+): ([^\]]*)\])"
FILE = re.compile(r"(?:-- |\{# )([\w/]+\.(?:lua|html))(?: #\})?\n")
ATTEMPT = re.compile(rf"^\s*-- ([A-Z]+) (/\S*)((?:{FIELD})*) ?(.*?) ?-> (\d\d\d)((?:{FIELD})*) ?(.*)$", re.MULTILINE)
SOCKET = re.compile(rf"^\s*-- WS (/\S*)((?:{FIELD})*) ?(.*?) ?-> ?(.*)$", re.MULTILINE)
PEOPLE = ("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO people VALUES (7, 'Ann')")
API = "https://api.example.org"


class Api(Origin):
    """What the examples ask."""

    def __init__(self):
        json_type = [("Content-Type", "application/json")]
        self.archive = {}
        super().__init__({
            "/v1/oslo": lambda c, r: c.respond(200, '{"temperature":-3}', json_type),
            "/orders": lambda c, r: c.respond(201, f"{json.loads(r.read().body)['order']['item']} is ordered\n"),
            "/old": lambda c, r: c.respond(301, "", [("Location", "/one")]),
            "/search": lambda c, r: c.respond(200, f"{r.target} {r.read().body.decode()}\n"),
            "/one": lambda c, r: c.respond(200, "one"),
            "/two": lambda c, r: c.respond(200, "two"),
            "/archive/a": self.keep,
        })

    def keep(self, connection, request):
        if request.method == "PUT":
            self.archive[request.path] = request.read().body
            connection.respond(201)
        else:
            connection.respond(200, self.archive[request.path], [("Content-Type", "text/plain")])


def examples(name):
    """(line, text) of each example in a page."""
    with open(os.path.join(ROOT, "lua", name), encoding="utf-8") as page:
        lines = page.read().split("\n") + ["(the end)"]
    block, found = [], []
    for number, line in enumerate(lines, 1):
        is_inside = line.startswith("    ") or (block and not line.strip())
        if is_inside and (block or not lines[number - 2].strip()):
            block.append(line[4:])
        elif block:
            text = "\n".join(block).rstrip() + "\n"
            if re.search(r"\bapp\.|\brequire\b", text) or FILE.match(text):
                found.append((number - len(block), text))
            block = []
    return found


def fields(text):
    return re.findall(FIELD, text)


class Examples(unittest.TestCase):
    def compare(self, text, wanted):
        if wanted.endswith("..."):
            self.assertEqual(text[:len(wanted) - 3], wanted[:-3])
        elif wanted[:1] in ("{", "["):
            self.assertEqual(json.loads(text), json.loads(wanted))
        elif wanted:
            self.assertEqual(text, wanted)

    def attempt_socket(self, server, groups):
        target, headers, _, _, sent, expected = groups
        headers = fields(headers)
        protocols = [value for name, value in headers if name == "sec-websocket-protocol"]
        others = [(name, value) for name, value in headers if name != "sec-websocket-protocol"]
        expected = expected.split(" | ") if expected else []
        with ws_client.connect(server, target, headers=others, protocols=protocols) as ws:
            for message in sent.split(" | ") if sent else []:
                ws.send(message)
            for message in expected:
                if message.startswith("close "):
                    code, reason = ws.wait_closed()
                    self.assertEqual(f"close {code} {reason}".rstrip(), message)
                    return
                self.compare(ws.receive(), message)
            ws.close()

    def attempt(self, client, groups):
        method, target, headers, _, _, body, status, expected, _, _, content = groups
        unescape = lambda text: text.replace("\\r", "\r").replace("\\n", "\n")
        answer = client.ask(method, target, fields(headers), unescape(body).encode() if body else None)
        self.assertEqual(answer.status, int(status), answer.text)
        for name, value in fields(expected):
            self.assertEqual(answer.headers.get(name.lower()), value)
        text, wanted = answer.text.strip(), unescape(content).strip()
        self.compare(text, wanted)

    @staticmethod
    def make_certificates(folder):
        """The files that examples of app.tls name: keys that others cannot read, so that there are no warnings."""
        authority = certificates.Authority(folder)
        authority.sign("fullchain", "localhost")
        authority.sign("wildcard", "*.example.net")
        os.rename(os.path.join(folder, "fullchain-key.pem"), os.path.join(folder, "privkey.pem"))

    @staticmethod
    def environment(stack, text, files):
        """In which the script runs, with the database that it needs."""
        used = "".join(files.get(name, "") for name in re.findall(r'"([\w/]+\.lua)"', text))
        for module in re.findall(r'require\("(luasql\.\w+)"\)', used):
            databases.require_module(module)
        address = ""
        if "luasql.postgres" in used:
            address = stack.enter_context(databases.postgres(*PEOPLE))
        environment = {**os.environ, "DATABASE": address}
        if '"REDIS"' in text:
            environment["REDIS"] = "unix:" + stack.enter_context(redis_server.running()).path
        if '"POSTGRES"' in text:
            address = stack.enter_context(databases.postgres(*PEOPLE))
            environment["POSTGRES"] = f"unix:{re.search('host=(.*?) ', address).group(1)}/.s.PGSQL.5432"
        return environment

    def run_page(self, page):
        found = examples(page)
        self.assertGreater(len(found), 3)
        files, tests = dict(FILES), []
        for line, text in found:
            if FILE.match(text):
                name = FILE.match(text).group(1)
                files[name] = text
                tests += [name] if name.endswith("_test.lua") else []
                continue
            whole = text if 'require "evserve"' in text else HEAD + text
            with self.subTest(f"lua/{page}:{line}"), contextlib.ExitStack() as stack:
                if API in whole:
                    whole = whole.replace(API, stack.enter_context(Api()).url)
                path = stack.enter_context(script(whole, files=files.items(), prelude=False))
                folder = os.path.dirname(path)
                environment = self.environment(stack, text, files)
                if re.search(r"\bapp\.(tls|session)\b", text):
                    certificates.require_tls(EVSERVE)
                if "app.tls" in text:
                    self.make_certificates(folder)
                done = evtest.run(EVSERVE, "--check", "site.lua", cwd=folder)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                for name in tests:
                    done = evtest.run(EVSERVE, "--test", name, "site.lua", cwd=folder)
                    self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
                tests = []
                attempts = sorted([*ATTEMPT.finditer(text), *SOCKET.finditer(text)], key=re.Match.start)
                self.assertEqual(len(attempts), len(re.findall(r"^\s*-- [A-Z]+ /.*->", text, re.MULTILINE)))
                if attempts:
                    with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "site.lua", cwd=folder,
                                        env=environment) as server:
                        for found_attempt in attempts:
                            groups = found_attempt.groups()
                            with self.subTest(" ".join(groups[:2])), Client(server) as client:
                                if found_attempt.re is SOCKET:
                                    self.attempt_socket(server, groups)
                                else:
                                    self.attempt(client, groups)

    def test_readme(self):
        self.run_page("README.md")

    def test_examples(self):
        self.run_page("EXAMPLES.md")

    def test_each_function_has_an_example(self):
        """Of lua/meta/evserve.lua, which another test holds against the live objects."""
        with open(os.path.join(ROOT, "lua", "meta", "evserve.lua"), encoding="utf-8") as meta:
            annotations = meta.read()
        text = "".join(example for _, example in examples("EXAMPLES.md")).replace("json.", "app.json.")
        uses = {"app": r"\bapp\.", "group": r"\b(?:api|admin)\.", "request": r"\breq[.:]", "response": r"\bres[.:]|\):",
                "fetched": r"\bres[.:]|\):", "stream": r"\bout:", "timer": r"\btimer:", "part": r"\bpart[.:]"}
        for variable, use in uses.items():
            names = re.findall(rf"^function {variable}[.:]([\w.]+)", annotations, re.MULTILINE)
            names += re.findall(rf"^{variable}\.([\w.]+) =", annotations, re.MULTILINE)
            kind = "evserve" if variable == "app" else "evserve." + variable.capitalize()
            fields_of = re.search(rf"^---@class {kind}\n((?:---.*\n)*)", annotations, re.MULTILINE)
            if variable in ("request", "response", "fetched", "part") and fields_of:
                names += re.findall(r"^---@field (\w+)", fields_of.group(1), re.MULTILINE)
            self.assertGreater(len(names), 0, variable)
            for name in names:
                self.assertRegex(text, rf"(?:{use}){re.escape(name)}\b", f"lua/EXAMPLES.md has no {variable} {name}")


if __name__ == "__main__":
    unittest.main()
