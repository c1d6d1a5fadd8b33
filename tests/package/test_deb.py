"""The Debian package that cpack makes: what it says about itself, what is in it, and that it runs unpacked."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import evtest  # pylint: disable=wrong-import-position

BUILD = os.environ["EVSERVE_BUILD"]
CPACK = os.path.join(os.path.dirname(os.environ["EVSERVE_CMAKE"]), "cpack")


def run(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=240, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


@unittest.skipUnless(shutil.which("dpkg-shlibdeps") and shutil.which("dpkg-deb"), "dpkg-dev is not installed")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        run(CPACK, "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", folder.name)
        cls.names = [name for name in os.listdir(folder.name) if name.endswith(".deb")]
        cls.package = os.path.join(folder.name, cls.names[0])
        cls.root = os.path.join(folder.name, "root")
        run("dpkg-deb", "-x", cls.package, cls.root)

    def field(self, name):
        return run("dpkg-deb", "--field", self.package, name).strip()

    def test_one_package_named_as_debian_names_them(self):
        version = run(os.environ["EVSERVE_BIN"], "--version").split()[1]
        architecture = run("dpkg", "--print-architecture").strip()
        self.assertEqual(self.names, [f"evserve_{version}_{architecture}.deb"])
        self.assertEqual((self.field("Package"), self.field("Version"), self.field("Architecture")),
                         ("evserve", version, architecture))

    def test_depends_on_what_the_binaries_need(self):
        depends = self.field("Depends")
        self.assertRegex(depends, r"\blibc6 \(>= 2\.\d+\)")
        self.assertRegex(depends, r"\blibluajit(2)?-5\.1-2\b")
        linked = run("ldd", os.environ["EVSERVE_BIN"])
        self.assertEqual("libseccomp2" in depends, "libseccomp.so" in linked)
        self.assertEqual("libgcc-s1" in depends, "libgcc_s.so" in linked)  # for a host's exceptions
        optional = sum(name in linked for name in ("libseccomp.so", "libgcc_s.so"))
        self.assertEqual(len(depends.split(",")), 2 + optional, depends)

    def test_recommends_openssl_which_is_loaded(self):
        with open(os.environ["EVSERVE_BIN"], "rb") as file:
            loads = b"libssl.so." in file.read()
        self.assertEqual(self.field("Recommends"), "libssl3 | libssl3t64" if loads else "")

    def test_tells_the_linker_of_its_library(self):
        control = os.path.join(self.folder, "control")
        run("dpkg-deb", "-e", self.package, control)
        self.assertEqual(sorted(set(os.listdir(control)) - {"md5sums"}), ["conffiles", "control", "postinst", "postrm",
                                                                        "prerm", "shlibs"])
        for name, content in (("shlibs", r"^libevserve 0 evserve "), ("postinst", "ldconfig"), ("postrm", "ldconfig")):
            with open(os.path.join(control, name), encoding="ascii") as file:
                self.assertRegex(file.read(), content)

    def test_files_are_owned_by_root_and_writable_by_nobody_else(self):
        for line in run("dpkg-deb", "-c", self.package).splitlines():
            mode, owner = line.split()[:2]
            self.assertEqual(owner, "root/root", line)
            self.assertTrue(mode[0] == "l" or (mode[5] != "w" and mode[8] != "w"), line)
            self.assertRegex(line, r" \./((usr|etc)/.*)?$")

    def test_settings_are_kept_when_the_package_is_updated(self):
        control = os.path.join(self.folder, "control")
        run("dpkg-deb", "-e", self.package, control)
        with open(os.path.join(control, "conffiles"), encoding="ascii") as file:
            kept = file.read().split()
        found = [os.path.join(folder, name)[len(self.root):] for folder, _, names in os.walk(self.root + "/etc")
                 for name in names]
        self.assertEqual(sorted(kept), sorted(found))
        for name in ("postinst", "prerm", "postrm"):
            run("sh", "-n", os.path.join(control, name))

    def test_unit_exposes_little(self):
        """`systemd-analyze security` below 2.0, of 10; and a reload asks the process that the unit has started."""
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        unit = os.path.join(self.root, "usr", "lib", "systemd", "system", "evserve.service")
        with open(unit, encoding="ascii") as file:
            text = file.read()
        self.assertEqual(re.search(r"^ExecStart=.* --pid-file=(\S+) ", text, re.M).group(1),
                         re.search(r"^ExecReload=.* --reload (\S+)$", text, re.M).group(1))
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=19", unit)
        self.assertNotRegex(done, "Unknown|ignoring|Failed")

    def test_unit_without_the_package_names_the_program_and_keeps_what_was_changed(self):
        root = os.path.join(self.folder, "local")
        environment = dict(os.environ, DESTDIR=root)
        site = os.path.join(root, "etc", "evserve", "site.lua")
        for _ in range(2):
            run(os.environ["EVSERVE_CMAKE"], "--install", BUILD, "--component", "service", "--prefix", "/opt/ev",
                env=environment)
            for name in "default/evserve", "logrotate.d/evserve":
                self.assertTrue(os.path.exists(os.path.join(root, "etc", name)))
            with open(site, "a", encoding="ascii") as file:
                file.write("-- mine\n")
        with open(site, encoding="ascii") as file:
            self.assertEqual(file.read().count("-- mine\n"), 2)
        with open(os.path.join(root, "opt/ev/lib/systemd/system/evserve.service"), encoding="ascii") as file:
            text = file.read()
        self.assertEqual(len(re.findall(r"^Exec\w+=/opt/ev/bin/evserve ", text, re.M)), 2, text)
        self.assertNotIn("/usr/", text)

    def test_site_of_the_unit_starts(self):
        site = os.path.join(self.root, "etc", "evserve", "site.lua")
        with open(site, encoding="ascii") as file:
            text = file.read().replace("/var/log/evserve", self.folder)
        here = os.path.join(self.folder, "unit.lua")
        with open(here, "w", encoding="ascii") as file:
            file.write(text)
        with evtest.Program(os.path.join(self.root, "usr", "bin", "evserve"), "--listen", "127.0.0.1:0",
                            here) as server, server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertIn(b"evserve works", evtest.receive_all(sock))

    def test_logrotate_reads_its_file(self):
        if not shutil.which("logrotate") or os.geteuid() != 0:
            self.skipTest("logrotate is not installed, or not root")
        with open(os.path.join(self.root, "etc", "logrotate.d", "evserve"), encoding="ascii") as file:
            text = file.read().replace("su evserve evserve", "su root root").replace("/var/log/evserve", self.folder)
        path = os.path.join(self.folder, "logrotate")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        self.assertNotIn("error", run("logrotate", "--debug", path))

    def complete(self, *words):
        """What bash offers for the last word."""
        file = os.path.join(self.root, "usr", "share", "bash-completion", "completions", "evserve")
        script = (f"source {file}; shift 0; COMP_WORDS=(\"$0\" \"$@\"); COMP_CWORD=$#; _evserve \"$0\"; "
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        return run("bash", "-c", script, os.path.join(self.root, "usr", "bin", "evserve"), *words).split()

    def test_bash_completes_options_and_files(self):
        self.assertEqual(self.complete("--sand"), ["--sandbox"])
        self.assertIn("--access-log-format", self.complete("--acc"))
        self.assertEqual(self.complete("--access-log-format", "j"), ["json"])
        self.assertEqual(self.complete("--root", self.root + "/et"), [self.root + "/etc"])
        self.assertEqual(self.complete("--tls-cert", "=", self.root + "/et"), [self.root + "/etc"])
        self.assertEqual(self.complete("--listen", "x"), [])
        self.assertEqual(self.complete(self.root + "/etc/evserve/s"), [self.root + "/etc/evserve/site.lua"])

    def test_binaries_are_stripped_and_remember_no_folder(self):
        for path in ("usr/bin/evserve", "usr/lib/libevserve.so.0"):
            dump = run("readelf", "-d", "-S", os.path.join(self.root, path))
            self.assertNotIn(".symtab", dump)
            self.assertNotRegex(dump, "RPATH|RUNPATH")

    def test_unpacked_program_serves(self):
        with open(os.path.join(self.folder, "site.lua"), "w", encoding="ascii") as file:
            file.write('require("evserve").get("/", function() return "lua\\n" end)\n')
        with evtest.Program(os.path.join(self.root, "usr", "bin", "evserve"), "--listen", "127.0.0.1:0",
                            os.path.join(self.folder, "site.lua")) as server, server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(re.search(rb"\r\n\r\nlua\n\Z", evtest.receive_all(sock)))


if __name__ == "__main__":
    unittest.main()
