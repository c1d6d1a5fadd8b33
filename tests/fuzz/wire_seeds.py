#!/usr/bin/env python3
"""Seeds from the wire cases: wire_seeds.py FOLDER writes what the cases of tests/wire send below FOLDER/conn, with the
actions of conn_play.c between, the same below FOLDER/conn_tls, and as it is below FOLDER/parser; and what the servers of
tests/replies send below FOLDER/reply; and what the clients of tests/ws send below FOLDER/ws_reader."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "ws"))
import ws_cases  # noqa: E402 (its folder comes first)

SCHEMES = {b"{scheme}": b"http", b"{SCHEME}": b"HTTP", b"{other_scheme}": b"https"}
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


def unescape(text):
    out = bytearray()
    for plain, escape, code in re.findall(r"([^\\]+)|\\(x..|.)|(\\$)", text):
        if plain or code:
            out += (plain or code).encode()
        elif escape[0] == "x":
            out.append(int(escape[1:], 16))
        else:
            out += ESCAPES[escape]
    return bytes(out)


def quarters(milliseconds):
    """Time passes in steps of at most 255 quarters of a second."""
    count = (milliseconds + 249) // 250
    return b"".join(b"\x01t" + bytes([min(255, count - at)]) for at in range(0, count, 255))


def read_cases(path, mark=">"):
    """Yields (name, actions and bytes, bytes alone) of each case. mark begins the lines that are sent."""
    name, played, sent = None, b"", b""
    for line in path.read_text(encoding="latin-1").splitlines() + ["case end"]:
        word, _, rest = line.partition(" ")
        if word == "case":
            if name:
                yield name, played, sent
            name, played, sent = rest.split()[0], b"", b""
            continue
        data = b""
        if word == mark:
            data = rest.encode("latin-1") + b"\r\n"
        elif word == mark + "|":
            data = unescape(rest)
        elif word == mark + "*":
            count, _, text = rest.partition(" ")
            data = unescape(text) * int(count)
        elif word == "~":
            played += quarters(int(rest))
        elif word == "$":
            played += b"\x01f"
        elif word == "take":
            played += b"\x01o" + (b"\xff" if rest == "all" else b"\x02")
        for name_in_text, value in SCHEMES.items():
            data = data.replace(name_in_text, value)
        played += data
        sent += data


def main():
    out = pathlib.Path(sys.argv[1])
    for folder in ("conn", "conn_tls", "parser", "reply", "ws_reader"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for path in sorted((pathlib.Path(__file__).parents[1] / "wire").glob("*.wire")):
        for name, played, sent in read_cases(path):
            if len(played) <= 4096:
                (out / "conn" / name).write_bytes(played)
                (out / "conn_tls" / name).write_bytes(played)
                (out / "parser" / name).write_bytes(sent)
    for path in sorted((pathlib.Path(__file__).parents[1] / "replies").glob("*.reply")):
        for name, _, sent in read_cases(path, "<"):
            if len(sent) <= 4096:
                (out / "reply" / name).write_bytes(sent)
    for case in ws_cases.all_cases():
        if len(case.sent) <= 4000:
            settings = 5 | (8 if case.deflate else 0)  # fuzz_ws_reader.c: max_message is 4096
            (out / "ws_reader" / case.name).write_bytes(bytes([settings]) + case.sent)


if __name__ == "__main__":
    main()
