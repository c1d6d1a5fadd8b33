"""Databases for tests: a PostgreSQL of the test's own, and whether a Lua module for one is here."""

import contextlib
import functools
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import evtest
import lua_site

USER = "nobody"  # PostgreSQL does not run as root


@functools.lru_cache(maxsize=None)
def require_module(name):
    """Skip the test if Lua has no module of this name."""
    with lua_site.script(f'require "{name}"') as path:
        done = evtest.run(lua_site.EVSERVE, "--check", path)
    if "not found" in done.stderr:
        raise unittest.SkipTest(f"no module {name} here (scripts/setup.sh --tests installs it)")


def programs():
    """Where the newest PostgreSQL's programs are."""
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if found:
        return os.path.dirname(max(found, key=lambda path: float(path.split("/")[4])))
    path = shutil.which("postgres")
    if path is None:
        raise unittest.SkipTest("no PostgreSQL here (scripts/setup.sh --tests installs it)")
    return os.path.dirname(os.path.realpath(path))


def is_ready(folder):
    with contextlib.suppress(OSError), open(os.path.join(folder, "postmaster.pid"), encoding="ascii") as file:
        return file.read().rstrip().endswith("ready")
    return False


@contextlib.contextmanager
def postgres(*statements):
    """A PostgreSQL that listens on a Unix socket in a folder of its own, and ends with the test. Gives what to connect to.
    statements: what is run before.
    """
    where = programs()
    other_user = {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="evpg") as outer:
        folder = os.path.join(outer, "db")
        os.mkdir(folder)
        if other_user:
            os.chmod(outer, 0o711)
            shutil.chown(folder, USER)
        made = subprocess.run([os.path.join(where, "initdb"), "-D", folder, "-U", "test", "--auth=trust", "--no-sync",
                               "--no-instructions", "--locale=C", "--encoding=UTF8"],
                              cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **other_user)
        if made.returncode != 0:
            raise AssertionError(f"initdb: {made.stderr}")
        with open(os.path.join(outer, "log"), "wb") as log:
            server = subprocess.Popen(
                [os.path.join(where, "postgres"), "-D", folder, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off",
                 "-c", "autovacuum=off", "-c", "shared_buffers=1MB", "-c", "max_connections=20"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=evtest.end_with_parent, **other_user)
        try:
            evtest.wait_until(lambda: is_ready(folder) or server.poll() is not None, "PostgreSQL")
            if server.poll() is not None:
                with open(os.path.join(outer, "log"), encoding="utf-8", errors="replace") as log:
                    raise AssertionError(f"PostgreSQL does not start: {log.read()}")
            for statement in statements:
                subprocess.run([os.path.join(where, "psql"), "-qXh", folder, "-U", "test", "-c", statement, "postgres"],
                               stdin=subprocess.DEVNULL, check=True)
            yield f"host={folder} user=test dbname=postgres"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once
            server.wait()
