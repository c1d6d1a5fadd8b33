"""nginx with its Lua module, beside which the module "ngx" is tested: the same Lua code runs in both."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

import evtest
from lua_site import EVSERVE, Client, script

MODULES = "/usr/lib/nginx/modules"
STORES = ("dict",)  # shared dictionaries of both


def require_nginx():
    if not shutil.which("nginx") or not os.path.exists(MODULES + "/ngx_http_lua_module.so"):
        raise unittest.SkipTest("no nginx with Lua here (scripts/setup.sh --tests installs it)")


class Nginx:
    """A running nginx; connect() is that of evtest.Program."""

    def __init__(self, path):
        self.path = path

    def connect(self, timeout=30):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(self.path)
        return sock


@contextlib.contextmanager
def nginx(files, settings=""):
    """nginx with Lua modules (name, text), whose functions handle requests: /NAME/FUNCTION."""
    require_nginx()
    with tempfile.TemporaryDirectory(prefix="evnx") as outer:
        folder = pathlib.Path(outer)
        os.chmod(outer, 0o755)
        for name, text in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        dicts = "".join(f"lua_shared_dict {name} 1m; " for name in STORES)
        (folder / "nginx.conf").write_text(f"""
load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log off; {dicts} {settings}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    lua_package_path "{folder}/?.lua;;"; lua_socket_log_errors off;
    server {{
        listen unix:{folder}/sock;
        location ~ ^/([a-z_]+)/([a-z_0-9]+)$ {{
            content_by_lua_block {{
                local module, name = ngx.var.uri:match("^/([a-z_]+)/([a-z_0-9]+)$")
                ngx.print(require(module)[name]())
            }}
        }}
    }}
}}
""", encoding="utf-8")
        with open(folder / "out", "wb") as out:
            process = subprocess.Popen(["nginx", "-p", outer, "-c", str(folder / "nginx.conf")], stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out, preexec_fn=evtest.end_with_parent)
        try:
            path = str(folder / "sock")

            def is_up():
                if process.poll() is not None:
                    raise AssertionError("nginx does not start: " + (folder / "out").read_text(encoding="utf-8"))
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(path)
                    return True
                return False

            evtest.wait_until(is_up, "nginx")
            yield Nginx(path)
        finally:
            process.terminate()
            process.wait()


SITE = r"""
ngx = require "ngx"
STORES
app.get("/:module{[a-z_]+}/:name{[a-z_0-9]+}", function(req) return require(req.params.module)[req.params.name]() end)
"""


@contextlib.contextmanager
def evserve(files, settings="", more="", options=()):
    """evserve with the same modules."""
    stores = "".join(f'app.store "{name}"\n' for name in STORES)
    text = SITE.replace("STORES", stores + settings) + more
    with script(text, files=files) as path, evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", *options, "site.lua",
                                                         cwd=os.path.dirname(path)) as server:
        yield server


def ask(server, target, headers=()):
    with Client(server) as client:
        return client.ask("GET", target, headers)


class BothCase(unittest.TestCase):
    """Functions of a module that have to return the same text in evserve and, where it is installed, in nginx."""

    MODULE = ""  # returns a table of functions
    FILES = ()  # more modules
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        files = (("cases.lua", cls.MODULE), *cls.FILES)
        try:
            cls.server = cls.stack.enter_context(evserve(files))
            cls.nginx = None
            with contextlib.suppress(unittest.SkipTest):
                cls.nginx = cls.stack.enter_context(nginx(files))
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def check(self, name, headers=(), query=""):
        """What evserve sends for a function; the same as nginx."""
        answer = ask(self.server, f"/cases/{name}{query}", headers)
        self.assertEqual(answer.status, 200, f"{name}: {answer.body} {self.server.lines[-5:]}")
        if self.nginx is not None:
            other = ask(self.nginx, f"/cases/{name}{query}", headers)
            self.assertEqual(other.status, 200, f"nginx: {name}")
            theirs, ours = (body.decode("latin-1").split("\n") for body in (other.body, answer.body))
            self.assertEqual(ours, theirs, f"{name}: evserve, and then nginx")
        return answer
