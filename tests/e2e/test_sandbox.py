"""--sandbox and --user: what a handler cannot do any more, and that everything else still works.

The sanitizers' search for leaks at the end of a program traces it from a process of its own, which a sandbox rightly
denies, so here they go without."""

import ctypes
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
HEAD = "local app = require 'evserve'\n"
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
LANDLOCK_CREATE, ASK_VERSION = 444, 1


def landlock_version():
    return ctypes.CDLL(None).syscall(LANDLOCK_CREATE, None, 0, ASK_VERSION)


def has_seccomp():
    """Whether this build has the filter."""
    return "libseccomp" in subprocess.run(["ldd", EVSERVE], capture_output=True, text=True, check=False).stdout


def exchange(address, request):
    with evtest.connect(address) as sock:
        sock.sendall(request.encode())
        head, _, body = evtest.receive_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def get(server, path):
    return exchange(server.address, f"GET {path} HTTP/1.0\r\n\r\n")


class Case(unittest.TestCase):
    """A folder with a site, what it may reach, and, beside it, what it may not."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="ev")
        self.addCleanup(shutil.rmtree, self.top)
        os.chmod(self.top, 0o755)
        for name in ("site", "public", "outside", "reports", "uploads"):
            os.mkdir(os.path.join(self.top, name))
        self.write("outside/secret", "secret")
        self.write("public/small", "small")
        self.write("public/large", "x" * 300_000)
        self.write("reports/one", "report")

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, text):
        """Replace a file as editors do, by renaming."""
        with open(self.path(name) + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def exists(self, name):
        return os.path.exists(self.path(name))

    def start(self, *arguments, listen="127.0.0.1:0", **options):
        server = evtest.Program(EVSERVE, "--listen", listen, *arguments, cwd=self.top, env=ENVIRONMENT, **options)
        self.addCleanup(server.kill)
        return server

    def start_site(self, script, *arguments, **options):
        self.write("site/site.lua", HEAD + "app.static('/', 'public')\n" + script)
        return self.start(*arguments, "site/site.lua", **options)

    def wait_for_log(self, server, text):
        evtest.wait_until(lambda: any(text in line for line in server.lines), f"log line {text!r}")


def lua_case(case):
    case = unittest.skipIf(os.environ.get("EVSERVE_LUA") == "0", "this build has no Lua")(case)
    return unittest.skipUnless(landlock_version() > 0, "this kernel has no landlock")(case)


@lua_case
class Denied(Case):
    # Each handler answers with what its function returned: nil, a text and a number where the kernel said no.
    TRIES = {
        "read": "io.open('outside/secret')",
        "above": "io.open('site/../outside/secret')",
        "link": "io.open('site/link')",
        "etc": "io.open('/etc/passwd')",
        "write": "io.open('outside/new', 'w')",
        "write_in_root": "io.open('public/new', 'w')",
        "write_over": "io.open('public/small', 'r+')",
        "truncate": "io.open('site/site.lua', 'w')",
        "remove": "os.remove('outside/secret')",
        "remove_in_root": "os.remove('public/small')",
        "rename": "os.rename('outside/secret', 'outside/other')",
        "rename_out": "os.rename('public/small', 'outside/small')",
        "rename_in": "os.rename('outside/secret', 'public/secret')",
        "dofile": "loadfile('outside/code.lua')",
        "proc": "io.open('/proc/self/mem', 'r+')",
        "tmp": "io.tmpfile()",
    }

    def expect_denied(self, *arguments):
        script = "".join(f"app.get('/{name}', function() local r, why, number = {code}\n"
                         "return { got = r and true or false, why = tostring(why) } end)\n"
                         for name, code in self.TRIES.items())
        os.path.lexists(self.path("site/link")) or os.symlink(self.path("outside/secret"), self.path("site/link"))
        self.write("outside/code.lua", "return 1")
        script += "app.get('/fine', function() return io.open('public/small'):read('*a') end)\n"
        free = self.start_site(script, *arguments)
        self.assertIn(b'"got":true', get(free, "/read")[1])
        self.assertIn(b'"got":true', get(free, "/etc")[1])
        self.assertEqual(free.stop(), 0)

        server = self.start_site(script, "--sandbox", *arguments)
        for name in self.TRIES:
            with self.subTest(name=name, arguments=arguments):
                status, body = get(server, "/" + name)
                self.assertEqual(status, 200)
                self.assertIn(b'"got":false', body)
                self.assertRegex(body.decode(), "ermi(tted|ssion denied)|EXDEV|cross-device")
        self.assertEqual(get(server, "/fine"), (200, b"small"))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(sorted(os.listdir(self.path("outside"))), ["code.lua", "secret"])
        self.assertEqual(sorted(os.listdir(self.path("public"))), ["large", "small"])

    def test_files_outside_are_out_of_reach(self):
        self.expect_denied()

    def test_files_outside_are_out_of_reach_of_every_thread(self):
        self.expect_denied("--reactors", "2")

    def test_nothing_is_executed(self):
        script = ("app.get('/execute', function() return tostring(os.execute('echo x > uploads/executed')) end)\n"
                  "app.get('/popen', function() local p = io.popen('echo x; echo x > uploads/popened')\n"
                  "return p and p:read('*a') or 'nothing' end)\n")
        for arguments in ([], ["--reactors", "2"]):
            server = self.start_site(script, "--sandbox", "--allow-write", "uploads", *arguments)
            self.assertNotEqual(get(server, "/execute"), (200, b"0"))
            self.assertIn(get(server, "/popen")[1], (b"nothing", b""))
            self.assertEqual(server.stop(), 0)
            self.assertEqual(os.listdir(self.path("uploads")), [])
        server = self.start_site(script)
        self.assertEqual(get(server, "/execute"), (200, b"0"))
        self.assertEqual(get(server, "/popen"), (200, b"x\n"))
        self.assertEqual(sorted(os.listdir(self.path("uploads"))), ["executed", "popened"])

    def test_kernel_is_asked_for_nothing_else(self):
        """Through the foreign functions of LuaJIT, since Lua itself has no such calls."""
        if not has_seccomp():
            self.skipTest("this build has no libseccomp")
        script = ("local ffi = require 'ffi'\n"
                  "ffi.cdef 'int fork(void); int socket(int, int, int); int ptrace(int, int, int, int);"
                  " int kill(int, int); void _exit(int); int setuid(int); int chmod(const char *, int);'\n"
                  "local function try(name, ...) local rv = ffi.C[name](...)\n"
                  "if name == 'fork' and rv == 0 then ffi.C._exit(0) end\n"
                  "return name .. '=' .. rv .. '/' .. ffi.errno() end\n"
                  "app.get('/', function() return table.concat({ try('fork'), try('socket', 2, 1, 0),"
                  " try('ptrace', 0, 0, 0, 0), try('kill', 1, 0), try('setuid', 0), try('chmod', 'public', 511)\n"
                  "}, ' ') end)\n")
        for arguments in ([], ["--reactors", "2"]):
            server = self.start_site(script, "--sandbox", *arguments)
            self.assertEqual(get(server, "/"),
                             (200, b"fork=-1/1 socket=-1/1 ptrace=-1/1 kill=-1/1 setuid=-1/1 chmod=-1/1"))
            self.assertEqual(server.stop(), 0)


@lua_case
class Allowed(Case):
    def test_allow_read_and_allow_write(self):
        script = ("app.get('/report/*path', function(req)\n"
                  "return app.file(req.params.path, { root = 'reports' }) end)\n"
                  "app.get('/read', function() return io.open('reports/one'):read('*a') end)\n"
                  "app.get('/change', function() return tostring(io.open('reports/one', 'w')) end)\n"
                  "app.get('/write', function() local f = assert(io.open('uploads/a.part', 'w'))\n"
                  "f:write('text'); f:close()\n"
                  "assert(os.rename('uploads/a.part', 'uploads/a')); return io.open('uploads/a'):read('*a') end)\n"
                  "app.get('/remove', function() return tostring(os.remove('uploads/a')) end)\n")
        server = self.start_site(script, "--sandbox", "--allow-read", "reports", "--allow-read", "/etc/passwd",
                                 "--allow-write", "uploads")
        self.assertEqual(get(server, "/report/one"), (200, b"report"))
        self.assertEqual(get(server, "/read"), (200, b"report"))
        self.assertEqual(get(server, "/change"), (200, b"nil"))
        self.assertEqual(get(server, "/write"), (200, b"text"))
        self.assertEqual(get(server, "/remove"), (200, b"true"))
        self.assertEqual(server.stop(), 0)

        server = self.start_site(script, "--sandbox")
        self.assertNotEqual(get(server, "/report/one")[0], 200)
        self.assertEqual(get(server, "/write")[0], 500)

    def test_libraries_of_ngx_are_there_if_they_were_mentioned(self):
        script = ("local early = ARG; local ngx = require 'ngx'\n"
                  "local md5, match = early and ngx.md5, early and ngx.re.match\n"
                  "app.get('/', function() local m, err = (match or ngx.re.match)('abc', 'b(c)', 'jo')\n"
                  "return (m and m[1] or err) .. ' ' .. tostring(select(2, pcall(md5 or ngx.md5, 'hello'))) end)\n")
        server = self.start_site(script.replace("ARG", "true"), "--sandbox")
        text = get(server, "/")[1].decode()
        if "built without" not in text:
            self.assertEqual(text, "c 5d41402abc4b2a76b9719d911017c592")
        server = self.start_site(script.replace("ARG", "false"), "--sandbox")
        text = get(server, "/")[1].decode()
        if "built without" not in text:
            self.assertIn("in a sandbox, mention ngx.re while the script starts", text)
            self.assertTrue(text.endswith(" 5d41402abc4b2a76b9719d911017c592"), text) # OpenSSL is loaded for app.sha256

    def test_digests_seals_and_passwords_need_no_mention(self):
        script = ("local terms = { secret = ('s'):rep(32) }\n"
                  "app.get('/', function()\n"
                  "local hash = app.password.hash('x', { cost = 1 })\n"
                  "return app.hex(app.sha256('')):sub(1, 8) .. app.open(app.seal('y', terms), terms)\n"
                  ".. tostring(app.password.verify('x', hash)) .. #app.random(9) end)\n")
        server = self.start_site(script, "--sandbox")
        status, text = get(server, "/")
        if not any("built without" in line for line in server.lines):
            self.assertEqual((status, text), (200, b"e3b0c442ytrue9"))

    def test_serving_goes_on(self):
        script = ("local ticks = 0; app.every('10ms', function() ticks = ticks + 1; app.log('info', 'tick') end)\n"
                  "app.get('/sleep', function() app.sleep('20ms'); return 'slept' end)\n"
                  "app.get('/date', function() return os.date('%Z') end)\n"
                  "app.get('/late', function() return require('late').word end)\n"
                  "package.path = package.path .. ';" + self.path("modules") + "/?.lua;relative/?.lua;/?.lua;;x?'\n"
                  "app.get('/module', function() return require('module').word end)\n"
                  "app.get('/fast', { jit = true }, function() local n = 0; for i = 1, 1e6 do n = n + i end\n"
                  "return n .. '' end)\n"
                  "app.get('/stream', function() return 200, function(out)\n"
                  "for i = 1, 3 do out:write(i .. ' '); app.sleep('1ms') end end end)\n")
        self.write("site/late.lua", "return { word = 'late' }")
        os.mkdir(self.path("modules"))
        self.write("modules/module.lua", "return { word = 'module' }")
        for arguments in ([], ["--reactors", "2"]):
            server = self.start_site(script, "--sandbox", *arguments)
            self.assertEqual(get(server, "/small"), (200, b"small"))
            self.assertEqual(get(server, "/large"), (200, b"x" * 300_000))
            self.write("public/new", "new")
            self.assertEqual(get(server, "/new"), (200, b"new"))
            self.assertEqual(get(server, "/sleep"), (200, b"slept"))
            self.assertEqual(get(server, "/late"), (200, b"late"))
            self.assertEqual(get(server, "/module"), (200, b"module"))
            self.assertEqual(get(server, "/fast"), (200, b"500000500000"))
            self.assertEqual(get(server, "/date")[0], 200)
            self.assertEqual(get(server, "/stream")[0], 200)
            self.wait_for_log(server, "info tick")
            self.assertEqual(server.stop(), 0)

    def test_script_is_loaded_anew(self):
        self.write("site/words.lua", "return 'one'")
        os.mkdir(self.path("pages"))
        for arguments in ([], ["--reactors", "2"]):
            self.write("site/words.lua", "return 'one'")
            self.write("pages/page.html", "page {{ word }}")
            server = self.start_site("local word = require 'words'; app.get('/word', function() return word end)\n"
                                     "local page = app.template 'pages/page.html'\n"
                                     "app.get('/page', function() return page { word = word } end)\n",
                                     "--sandbox", "--watch", *arguments)
            self.assertEqual(get(server, "/word"), (200, b"one"))
            self.write("site/words.lua", "return 'two'")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for_log(server, "reloaded site/site.lua")
            self.assertEqual(get(server, "/word"), (200, b"two"))
            self.assertEqual(get(server, "/page"), (200, b"page two"))
            self.assertEqual(server.stop(), 0)

    def test_reload_does_not_reach_further(self):
        server = self.start_site("", "--sandbox")
        self.write("site/site.lua", HEAD + "app.static('/', 'outside')\n")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for_log(server, "not reloaded: outside, to be served at /, is outside the sandbox")
        self.assertEqual(get(server, "/small"), (200, b"small"))
        self.assertEqual(get(server, "/secret")[0], 404)
        self.assertEqual(server.stop(), 0)

    def test_deployment_outside_is_told(self):
        """A link that leads to a new directory: what serves it must be allowed to read the directory above."""
        def deploy(release):
            os.mkdir(self.path(release))
            self.write(release + "/page", release)
            os.symlink(release, self.path("next"))
            os.rename(self.path("next"), self.path("current"))

        deploy("r1")
        server = self.start("--root", "current", "--sandbox")
        self.assertEqual(get(server, "/page"), (200, b"r1"))
        deploy("r2")
        evtest.wait_until(lambda: get(server, "/page")[0] == 403, "the new release")
        self.wait_for_log(server, 'cannot serve files below "current" ("page" first): permission denied by the sandbox '
                                  "(see --allow-read)")
        above = self.start("--root", "current", "--sandbox", "--allow-read", self.top)
        deploy("r3")
        evtest.wait_until(lambda: get(above, "/page") == (200, b"r3"), "the next release")
        self.assertFalse([line for line in above.lines if "cannot serve" in line])

    def test_unix_sockets_are_removed_at_the_end(self):
        os.mkdir(self.path("run"))
        server = self.start_site("app.get('/hello', function() return 'hello' end)\n", "--sandbox",
                                 listen="unix:" + self.path("run/x.sock") + "?mode=660")
        with evtest.connect(self.path("run/x.sock")) as sock:
            sock.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            self.assertTrue(evtest.receive_all(sock).endswith(b"hello"))
        self.assertEqual(server.stop(), 0)
        self.assertFalse(self.exists("run/x.sock"))

    def test_requests_in_flight_finish(self):
        server = self.start_site("app.get('/slow', function() app.sleep('200ms'); return 'slow' end)\n", "--sandbox")
        with server.connect() as sock:
            sock.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            with server.connect() as other:  # the request before it is under way when this is answered
                other.sendall(b"GET /small HTTP/1.0\r\n\r\n")
                evtest.receive_all(other)
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(evtest.receive_all(sock).endswith(b"slow"))
        self.assertEqual(server.stop(), 0)

    def test_service_manager_is_told(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(self.path("notify"))
            manager.settimeout(evtest.LIMIT)
            self.write("site/site.lua", HEAD)
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--sandbox", "site/site.lua", cwd=self.top,
                                    env=dict(ENVIRONMENT, NOTIFY_SOCKET=self.path("notify")))
            self.addCleanup(server.kill)
            self.assertIn(b"READY=1", manager.recv(4096))
            self.assertEqual(server.stop(), 0)
            self.assertIn(b"STOPPING=1", manager.recv(4096))

    def test_out_of_file_descriptors_and_back(self):
        """The fd that is kept in reserve for this is opened again inside the sandbox."""
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        server = self.start_site("", "--sandbox", preexec_fn=few)
        socks = [server.connect() for _ in range(40)]
        for sock in socks:
            sock.close()
        evtest.wait_until(lambda: server.fd_count() < 20, "connections are closed")
        self.assertEqual(get(server, "/small"), (200, b"small"))
        self.assertEqual(server.stop(), 0)


class Documented(unittest.TestCase):
    def test_table_of_system_calls_is_whole(self):
        """core/README.md names each call of the filter, and no other as allowed."""
        root = os.environ["EVSERVE_ROOT"]
        with open(os.path.join(root, "core/sandbox_calls.c"), encoding="utf-8") as file:
            code = set(re.findall(r'"([a-z_0-9]+)"', file.read()))
        with open(os.path.join(root, "core/README.md"), encoding="utf-8") as file:
            section = file.read().partition("## The sandbox's system calls")[2].partition("\n## ")[0]
        rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
        named = set(re.findall(r"`([a-z_0-9]+)`", " ".join(rows)))
        self.assertEqual(code - {"clone3"}, named)


class Files(Case):
    """Without a script."""

    def test_files_are_served(self):
        server = self.start("--sandbox")
        self.assertEqual(get(server, "/small"), (200, b"small"))
        self.assertEqual(get(server, "/large"), (200, b"x" * 300_000))
        self.assertEqual(server.stop(), 0)

    def test_path_that_is_not_there_is_told(self):
        done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "--sandbox", "--allow-read", "nothing", cwd=self.top,
                          env=ENVIRONMENT)
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1]),
                         (1, "cannot allow nothing in the sandbox: No such file or directory"))

    def test_wrong_options(self):
        for arguments in (["--sandbox=maybe"], ["--allow-read", "public"], ["--sandbox", "--allow-write", "a:b"],
                          ["--sandbox", "--allow-read", ""]):
            with self.subTest(arguments=arguments):
                done = evtest.run(EVSERVE, *arguments, cwd=self.top)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_require_starts_where_everything_is_there_and_only_there(self):
        if landlock_version() > 0 and has_seccomp():
            server = self.start("--sandbox=require")
            self.assertEqual(get(server, "/small"), (200, b"small"))
            self.assertFalse([line for line in server.lines if "sandbox without" in line])
        else:
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "--sandbox=require", cwd=self.top, env=ENVIRONMENT)
            self.assertEqual(done.returncode, 1)
            self.assertIn("a sandbox is required, but", done.stderr)


class User(Case):
    def test_root_is_given_up_after_binding(self):
        if os.getuid() != 0:
            self.skipTest("only root can become another user")
        nobody = pwd.getpwnam("nobody")
        for arguments in ([], ["--reactors", "2"], ["--sandbox"]):
            server = self.start("--user", "nobody", *arguments)
            for task in os.listdir(f"/proc/{server.pid}/task"):
                with open(f"/proc/{server.pid}/task/{task}/status", encoding="ascii", errors="replace") as file:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
                self.assertEqual(set(status["Uid"].split()), {str(nobody.pw_uid)})
                self.assertEqual(set(status["Gid"].split()), {str(nobody.pw_gid)})
                self.assertNotIn("0", status["Groups"].split())
                self.assertEqual(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0)
            self.assertEqual(get(server, "/small"), (200, b"small"))
            self.assertEqual(server.stop(), 0)

    def test_file_that_the_user_may_not_read_is_told_once(self):
        if os.getuid() != 0:
            self.skipTest("only root can become another user")
        self.write("public/private", "private")
        os.chmod(self.path("public/private"), 0)
        server = self.start("--root", "public", "--user", "nobody")
        for _ in range(3):
            self.assertEqual(get(server, "/private")[0], 403)
        self.wait_for_log(server, 'cannot serve "public/private": permission denied (mode 0000, owner 0:0); clients get')
        self.assertEqual(len([line for line in server.lines if "cannot serve" in line]), 1)

    def test_user_that_cannot_be_is_told(self):
        for name, text in (("no-such-user", "no such user"), ("root", "this is root")):
            done = evtest.run(EVSERVE, "--listen", "127.0.0.1:0", "--user", name, cwd=self.top, env=ENVIRONMENT)
            self.assertEqual((done.returncode, done.stderr.splitlines()[-1]), (1, f"user {name}: {text}"))

    def test_who_is_not_root_is_told(self):
        def become_nobody():
            if os.getuid() == 0:
                os.setgid(pwd.getpwnam("nobody").pw_gid)
                os.setuid(pwd.getpwnam("nobody").pw_uid)
        program = self.path("evserve")  # a checkout in root's own folder is closed to nobody
        shutil.copy(EVSERVE, program)
        done = evtest.run(program, "--listen", "127.0.0.1:0", "--user", "daemon", cwd=self.top, env=ENVIRONMENT,
                          preexec_fn=become_nobody)
        self.assertEqual(done.returncode, 1)
        self.assertIn("only root can become another user", done.stderr)


if __name__ == "__main__":
    side_by_side.main()
