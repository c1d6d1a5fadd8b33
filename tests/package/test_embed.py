"""scripts/embed.sh: files in memory of a folder, whatever its files are called, for every compiler."""

import gzip
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ["EVSERVE_ROOT"]
SCRIPT = os.path.join(ROOT, "scripts", "embed.sh")

# Writes each asset: path, tag and length on a line, then the content.
PRINTER = r"""
#include "ui_assets.h"
#include <stdio.h>

int main(void)
{
    const struct evs_asset *asset;
    for (asset = ui_assets; asset->path != NULL; asset++) {
        printf("%s\t%s\t%lu\n", asset->path, asset->etag, (unsigned long)asset->len);
        fwrite(asset->content, 1, asset->len, stdout);
    }
    return 0;
}
"""

BYTES = bytes(range(256))
TEXT = b"a line of text\n" * 1000


def embed(*arguments):
    return subprocess.run(["sh", SCRIPT, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=120)


class Embed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "web")
        self.output = os.path.join(folder.name, 'out "of" \\ here')
        os.mkdir(self.folder)

    def write(self, path, content):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def embed(self):
        done = embed(self.folder, "ui", self.output)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def compile_and_read(self, *command):
        """The assets in their order: (path, tag, content)."""
        if shutil.which(command[0]) is None:
            self.skipTest(f"{command[0]} is not installed")
        program = os.path.join(self.output, "printer")
        with open(program + ".c", "w", encoding="ascii") as file:
            file.write(PRINTER)
        done = subprocess.run([*command, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT}", "-I.", "printer.c",
                               "ui_assets.c", "-o", program], cwd=self.output, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        text = subprocess.run([program], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        assets = []
        while text:
            line, text = text.split(b"\n", 1)
            path, tag, size = line.decode().split("\t")
            assets.append((path, tag, text[:int(size)]))
            text = text[int(size):]
        return assets

    def fill(self):
        self.write("index.html", b"index\n")
        self.write("sub/copy.html", b"index\n")
        self.write("empty.png", b"")
        self.write("bytes.png", BYTES)
        self.write('odd "name" \\n ??/ %s ä;$x.png', b"odd")

    def check_filled(self, assets):
        self.assertEqual([(path, content) for path, _, content in assets],
                         [("bytes.png", BYTES), ("empty.png", b""), ("index.html", b"index\n"),
                          ('odd "name" \\n ??/ %s ä;$x.png', b"odd"), ("sub/copy.html", b"index\n")])
        tags = {path: tag for path, tag, _ in assets}
        self.assertRegex(tags["index.html"], r"\A[0-9a-f]{16}\Z")
        self.assertEqual(tags["index.html"], tags["sub/copy.html"])
        self.assertNotEqual(tags["index.html"], tags["bytes.png"])

    def test_contents_arrive_with_every_compiler(self):
        self.fill()
        self.embed()
        for command in (["gcc", "-std=c99"], ["gcc", "-O2", "-flto"], ["clang", "-std=c11"], ["clang", "-O2", "-flto"],
                        ["g++", "-x", "c++", "-std=c++17"]):
            with self.subTest(command=command):
                self.check_filled(self.compile_and_read(*command))

    def test_hidden_files_stay_out(self):
        self.write(".git/config", b"secret")
        self.write("sub/.env", b"secret")
        self.write("sub/.well-known/x", b"not at the top")
        self.write(".well-known/security.txt", b"known")
        self.embed()
        self.assertEqual([path for path, _, _ in self.compile_and_read("gcc")], [".well-known/security.txt"])

    def test_what_gets_smaller_is_compressed_once(self):
        if shutil.which("gzip") is None:
            self.skipTest("gzip is not installed")
        self.write("text.txt", TEXT)
        self.write("own.txt", TEXT)
        self.write("own.txt.gz", b"the folder's own")
        self.write("noise.bin", os.urandom(2000))
        self.write("photo.JPG", TEXT)
        self.embed()
        contents = {path: content for path, _, content in self.compile_and_read("gcc")}
        self.assertEqual(gzip.decompress(contents["text.txt.gz"]), TEXT)
        self.assertEqual(contents["own.txt.gz"], b"the folder's own")
        self.assertNotIn("noise.bin.gz", contents)
        self.assertNotIn("photo.JPG.gz", contents)
        with open(os.path.join(self.output, "ui_assets.c"), "rb") as file:
            before = file.read()
        self.embed()
        with open(os.path.join(self.output, "ui_assets.c"), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_files_that_went_leave_nothing(self):
        self.write("index.html", b"index\n")
        self.write("old.html", b"old\n")
        self.embed()
        os.unlink(os.path.join(self.folder, "old.html"))
        self.embed()
        self.assertEqual([path for path, _, _ in self.compile_and_read("gcc")], ["index.html"])
        for name in os.listdir(os.path.join(self.output, "ui_assets")):
            with open(os.path.join(self.output, "ui_assets", name), "rb") as file:
                self.assertNotEqual(file.read(), b"old\n")

    def test_mistakes_are_named(self):
        for arguments, text in (([self.folder, "ui"], "usage: embed.sh FOLDER NAME OUTPUT"),
                                ([self.folder + "x", "ui", self.output], "x is not a folder"),
                                ([self.folder, "a-b", self.output], '"a-b" is not a name in C: letters, digits and _, no digit first'),
                                ([self.folder, "", self.output], '"" is not a name in C: letters, digits and _, no digit first')):
            done = embed(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"\Aembed\.sh: .*\n\Z")
            self.assertIn(text, done.stdout)
        self.write("a\nb", b"")
        self.assertIn("line break", embed(self.folder, "ui", self.output).stdout)


if __name__ == "__main__":
    unittest.main()
