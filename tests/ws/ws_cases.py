"""The cases of tests/ws/*.ws (README.md has the format) for Python: what a client sends, and what it must get back from a
server that echoes messages."""

import pathlib
import re

OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
ESCAPES = {"r": b"\r", "n": b"\n", "\\": b"\\"}
FOLDER = pathlib.Path(__file__).parent


def unescape(text):
    out = bytearray()
    for plain, escape in re.findall(r"([^\\]+)|\\(x..|.)", text):
        if plain:
            out += plain.encode("latin-1")
        else:
            out += bytes([int(escape[1:], 16)]) if escape[0] == "x" else ESCAPES[escape]
    return bytes(out)


def read_line(line):
    """The words of a line, its options as a dictionary, and its payload."""
    left, _, right = line.partition("|")
    words = left.split()
    options = dict(word.partition("=")[::2] for word in words)
    return words, options, unescape(right.removeprefix(" ")) * int(options.get("x", 1))


def frame(words, options, payload):
    """The bytes of a frame."""
    opcode = OPCODES[words[1]] if words[1] in OPCODES else int(words[1])
    if "code" in options:
        payload = int(options["code"]).to_bytes(2, "big") + payload
    first = (0 if "more" in options else 0x80) | opcode
    for bit in (1, 2, 3):
        first |= 0x80 >> bit if f"rsv{bit}" in options else 0
    says = int(options["says"], 0) if "says" in options else len(payload)
    wide = 2 if "len16" in options else 8 if "len64" in options else 8 if says > 65535 else 2 if says > 125 else 0
    is_masked = "unmasked" not in options
    second = (0x80 if is_masked else 0) | {0: says, 2: 126, 8: 127}[wide]
    head = bytes([first, second]) + (says.to_bytes(wide, "big") if wide else b"")
    if not is_masked:
        return head + payload
    mask = bytes.fromhex(options.get("mask", "37fa213d"))
    repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


class Case:
    def __init__(self, name):
        self.name = name
        self.max_message = None  # None: the default
        self.deflate = False
        self.sent = b""
        self.expected = []  # (what, detail, payload), as the lines of the file say

    def __repr__(self):
        return self.name

    @property
    def answers(self):
        """What an echoing server sends: ("text" | "binary" | "pong", payload), and ("close", code) at the end."""
        answers = []
        for what, detail, payload in self.expected:
            if what == "message":
                answers.append((detail, payload))
            elif what == "ping":
                answers.append(("pong", payload))
            elif what in ("close", "fail"):
                answers.append(("close", int(detail)))
        return answers


def read_cases(path):
    """Yields the cases of a file."""
    case = None
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line or line.startswith("#"):
            continue
        words, options, payload = read_line(line)
        if words[0] == "case":
            if case:
                yield case
            case = Case(words[1])
        elif line.startswith(">|"):
            case.sent += payload
        elif words[0] == ">":
            case.sent += frame(words, options, payload)
        elif words[0] == "max_message":
            case.max_message = int(words[1])
        elif words[0] == "deflate":
            case.deflate = True
        else:
            case.expected.append((words[0], words[1] if len(words) > 1 and "=" not in words[1] else "", payload))
    if case:
        yield case


def all_cases():
    return [case for path in sorted(FOLDER.glob("*.ws")) for case in read_cases(path)]
