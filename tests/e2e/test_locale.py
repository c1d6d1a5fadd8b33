"""The locale of the process is the host's. Whatever it is, requests are understood and answered as in the C locale."""

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
import unittest

import evtest
from lua_site import EVSERVE, ROOT, Client, script

# In Turkish "i" and "I" are letters of their own, and one of them is a single byte in ISO-8859-9. German writes 1,5.
LOCALES = (("tr_TR", "UTF-8"), ("tr_TR", "ISO-8859-9"), ("de_DE", "UTF-8"))

# A host that sets its locale stands for every host: a script may not.
SITE = """
local ffi = require "ffi"
ffi.cdef "char *setlocale(int category, const char *locale); int tolower(int c); double strtod(const char *, char **);"
local LC_ALL = 6
app.on("start", function()
    assert(ffi.C.setlocale(LC_ALL, "LOCALE") ~= nil, "LOCALE is not there")
    local changes = ffi.C.tolower(0x49) ~= 0x69 or ffi.C.strtod("1.5", nil) ~= 1.5
    assert(changes, "LOCALE changes nothing")
end)
app.static("/", "public")
app.get("/peer", function(req)
    return { req:header("x-real-ip") or "none", req.headers["x-real-ip"] or "none", req.headers["X-REAL-IP"] or "none" }
end)
app.post("/json", function(req) return req:json() end)
app.post("/parts", function(req)
    for part in req:parts() do return { part.name, part.filename, part.type } end
end)
app.get("/framed", function() return "x", { ["TRANSFER-ENCODING"] = "chunked" } end)
app.get("/dated", function() return "x", { ["DATE"] = "today" } end)
app.get("/typed", function() return "x", { ["CONTENT-TYPE"] = "text/x-own" } end)
app.get("/long", function() return function(out) out:write("12345") end, { ["CONTENT-LENGTH"] = 5 } end)
app.get("/stream", function() return function(out) out:write(1.5, " ", 2^53, "\\n") end, { ["x-number"] = 0.25 } end)
app.get("/text", function()
    return { ("QUIET I"):lower(), ("quiet i"):upper(), tostring(1.5), tostring(tonumber("2.5")),
             tostring(("\\253\\221\\228"):find("%a") or false), string.format("%.2f", 0.5) }
end)
app.get("/cookie", function() return app.html("x"):set_cookie("a", "b", { expires = 951782400 }) end)
app.get("/fraction", function() app.sleep(0.5) end)
app.get("/locale", function() return os.setlocale() end)
app.get("/set", function() os.setlocale("C") end)
"""


def build_locales(folder):
    """Build them into a folder. Returns why they cannot be built, or None."""
    for name, charset in LOCALES:
        try:
            subprocess.run(["localedef", "-i", name, "-f", charset, os.path.join(folder, f"{name}.{charset}")],
                           check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            return f"no locale {name}.{charset} can be built (apt install locales?): {error}"
    return None


# That takes seconds, so what was built is kept for the next build's tests.
LOCALE_FOLDER = os.path.join(ROOT, "build", "locales " + os.confstr("CS_GNU_LIBC_VERSION"))


def setUpModule():
    evtest.skip_without_lua(["site.lua"])
    if os.path.isdir(LOCALE_FOLDER):
        return
    os.makedirs(os.path.dirname(LOCALE_FOLDER), exist_ok=True)
    made = tempfile.mkdtemp(prefix="locales-", dir=os.path.dirname(LOCALE_FOLDER))
    why = build_locales(made)
    if why is None:
        with contextlib.suppress(OSError):  # another one was quicker
            os.rename(made, LOCALE_FOLDER)
    shutil.rmtree(made, ignore_errors=True)
    if why is not None:
        raise unittest.SkipTest(why)


class AnyLocale(unittest.TestCase):
    """Cases that run on a site under each of the locales."""

    def each_site(self, check):
        for name, charset in LOCALES:
            locale = f"{name}.{charset}"
            with self.subTest(locale=locale), tempfile.TemporaryDirectory(prefix="ev") as folder, \
                    script(SITE.replace("LOCALE", locale)) as path:
                os.mkdir(os.path.join(folder, "public"))
                with open(os.path.join(folder, "public", "TINY.GIF"), "wb") as file:
                    file.write(b"GIF89a")
                with open(os.path.join(folder, "public", "index.html"), "wb") as file:
                    file.write(b"index")
                with open(os.path.join(folder, "public", "index.html.gz"), "wb") as file:
                    file.write(gzip.compress(b"index"))
                for name_of_file in os.listdir(os.path.join(folder, "public")):
                    os.utime(os.path.join(folder, "public", name_of_file), (1e9, 1e9))  # one date for all
                with evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path, cwd=folder,
                                    env=dict(os.environ, LOCPATH=LOCALE_FOLDER)) as server:
                    with Client(server) as client:
                        check(server, client, locale)

    def wait_for_lines(self, server, text, count=1):
        evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"log line {text!r}")


class Fields(AnyLocale):
    def test_names_are_the_same_in_any_case(self):
        self.each_site(self.check_names)

    def check_names(self, server, client, locale):
        for name in ("X-Real-IP", "x-real-ip", "X-REAL-IP"):
            self.assertEqual(client.ask("GET", "/peer", [(name, "10.0.0.1")]).json, ["10.0.0.1"] * 3)
        for kind in ("APPLICATION/JSON", "application/json", "Application/Vnd.API+JSON"):
            self.assertEqual(client.ask("POST", "/json", [("CONTENT-TYPE", kind)], b"[1.5,2e3]").text, "[1.5,2000]")
        body = b'--I\r\nCONTENT-DISPOSITION: FORM-DATA; NAME="i"; FILENAME="I"\r\nCONTENT-TYPE: A/I\r\n\r\nx\r\n--I--\r\n'
        answer = client.ask("POST", "/parts", [("Content-Type", "MULTIPART/FORM-DATA; BOUNDARY=I")], body)
        self.assertEqual(answer.json, ["i", "I", "A/I"])

    def test_fields_of_the_server_stay_its_own(self):
        self.each_site(self.check_own_fields)

    def check_own_fields(self, server, client, locale):
        for path in ("/framed", "/dated"):
            self.assertEqual(client.ask("GET", path).status, 500)
        self.assertEqual([value for name, value in client.ask("GET", "/typed").lines if name.lower() == "content-type"],
                         ["text/x-own"])
        self.assertEqual(client.ask("GET", "/long").headers["content-length"], "5")
        self.wait_for_lines(server, "is set by the server itself", 2)


class Files(AnyLocale):
    def test_files_are_served_as_ever(self):
        self.each_site(self.check_files)

    def check_files(self, server, client, locale):
        self.assertEqual(client.ask("GET", "/TINY.GIF").headers["content-type"], "image/gif")
        answer = client.ask("GET", "/TINY.GIF", [("RANGE", "BYTES=0-2"), ("IF-RANGE", "")])
        self.assertIn(answer.status, (200, 206))
        answer = client.ask("GET", "/TINY.GIF", [("RANGE", "BYTES=0-2")])
        self.assertEqual((answer.status, answer.text), (206, "GIF"))
        answer = client.ask("GET", "/", [("ACCEPT-ENCODING", "GZIP;Q=0.5, IDENTITY;Q=0")])
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        date = answer.headers["last-modified"]
        self.assertRegex(date, r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} ")
        self.assertEqual(client.ask("GET", "/TINY.GIF", [("IF-MODIFIED-SINCE", date)]).status, 304)


class Text(AnyLocale):
    def test_numbers_and_letters_of_scripts_are_those_of_the_c_locale(self):
        self.each_site(self.check_text)

    def check_text(self, server, client, locale):
        answer = client.ask("GET", "/stream")
        self.assertEqual((answer.text.split()[0], answer.headers["x-number"]), ("1.5", "0.25"))
        self.assertEqual(client.ask("GET", "/text").json, ["quiet i", "QUIET I", "1.5", "2.5", "false", "0.50"])
        cookie = client.ask("GET", "/cookie").headers["set-cookie"]
        self.assertEqual(cookie, "a=b; Path=/; Expires=Tue, 29 Feb 2000 00:00:00 GMT")
        self.assertEqual(client.ask("GET", "/fraction").status, 500)
        self.wait_for_lines(server, "app.sleep: 0.5 is not a whole number")

    def test_script_sees_the_locale_and_cannot_change_it(self):
        self.each_site(self.check_setlocale)

    def check_setlocale(self, server, client, locale):
        self.assertEqual(client.ask("GET", "/locale").text, locale)
        self.assertEqual(client.ask("GET", "/set").status, 500)
        self.wait_for_lines(server, "os.setlocale would change the locale of the whole process")
        self.assertEqual(client.ask("GET", "/locale").text, locale)


if __name__ == "__main__":
    unittest.main()
