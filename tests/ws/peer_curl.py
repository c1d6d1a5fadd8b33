"""curl as a client: see scripts/ws_peers.sh. Argument: ws://host:port. Any curl can do the handshake; only one that was
built with ws:// could do more, and Debian 12's was not."""

import subprocess
import sys

URL = sys.argv[1].replace("ws://", "http://")
FIELDS = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def ask(version):
    options = [argument for name, value in dict(FIELDS, **{"Sec-WebSocket-Version": version}).items()
               for argument in ("-H", f"{name}: {value}")]
    done = subprocess.run(["curl", "-s", "-i", "-N", "--http1.1", "--max-time", "1", *options, URL + "/echo"],
                          capture_output=True, text=True, check=False)
    return done.stdout.lower()


answer = ask("13")
assert answer.startswith("http/1.1 101 "), answer
assert "\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\n" in answer, answer
print("ok handshake")
answer = ask("12")
assert answer.startswith("http/1.1 426 ") and "\nsec-websocket-version: 13\n" in answer, answer
print("ok refusal")
