"""WebSocket clients of others against the program, in short; scripts/ws_peers.sh has more of them, and proxies."""

import ctypes
import os
import subprocess
import sys
import unittest

import evtest

ROOT = os.environ.get("EVSERVE_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import ws_peers  # pylint: disable=wrong-import-position

SHORT = dict(ws_peers.NODE_ENV, WS_PEERS="short")


class Peers(unittest.TestCase):
    def test_clients_agree(self):
        try:
            ctypes.CDLL("libz.so.1")
        except OSError:
            self.skipTest("zlib is not installed (Debian: zlib1g)")
        site = os.path.join(ROOT, "tests", "ws", "peers.lua")
        with evtest.Program(evtest.binary("EVSERVE_BIN"), site, "--listen", "127.0.0.1:0") as server:
            address = f"{server.address[0]}:{server.address[1]}"
            for name, command, scheme, missing in ws_peers.find_peers(short=True):
                with self.subTest(name):
                    if missing:
                        self.skipTest(f"{missing} is not installed")
                    done = subprocess.run(command + [f"{scheme}://{address}"], env=SHORT, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, timeout=evtest.LIMIT, check=False)
                    self.assertEqual(done.returncode, 0, done.stdout)
                    self.assertIn("ok ", done.stdout)
            self.assertEqual(server.lines[1:], [])


if __name__ == "__main__":
    unittest.main()
