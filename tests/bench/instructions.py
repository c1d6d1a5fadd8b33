"""User-mode instructions a request. tests/bench/instructions.sh is how to run it.

Valgrind's callgrind counts every instruction of a run, from exec to exit. Two runs differ only in how many requests one
keep-alive client sends, so the difference divided by the additional requests is what one of them costs: the program and
the libraries it calls, without the kernel. Likewise for messages that a WebSocket echoes."""

import argparse
import collections
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import time

FEW, MANY = 2000, 22000 # so many that garbage collection has its share
FILE_BYTES = 1300
RUN_SECONDS = 120  # for a whole run under valgrind; it takes about ten
TABLE_LEAST = 3    # instructions a request from which a function is in the table

# What a site without hosts, rules, limits and proxies may spend on them, in functions of their own. What is inlined into
# others, such as a look at a pointer, is part of their figures.
IDLE_BAR = 60
IDLE = re.compile(r"(rules?|vhosts?|host_name|limiter|decide|basic_auth|credentials|forwarded|trusted_proxies|proxy|"
                  r"proxied|passage|upstream|error_pages)_")

SHORT_HEAD = ("Host: 127.0.0.1",)
BROWSER_HEAD = (
    "Host: 127.0.0.1:8080",
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-US,en;q=0.9",
)
LOADS = (
    (f"{FILE_BYTES}-byte file, short head", "/page.html", SHORT_HEAD),
    (f"{FILE_BYTES}-byte file, a browser's head of {len(BROWSER_HEAD)} fields", "/page.html", BROWSER_HEAD),
    ('Lua route "hello", short head', "/hello", SHORT_HEAD),
)
WEBSOCKET_HEAD = ("Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
MASK, TEXT = bytes(range(1, 5)), b"x" * 64


def make_site(folder, lines):
    """The file and the script. The file is older than the few seconds in which it would be read again and again."""
    root = folder / "root"
    root.mkdir()
    page = root / "page.html"
    page.write_bytes((b"0123456789abcde\n" * (FILE_BYTES // 16 + 1))[:FILE_BYTES])
    script = folder / "site.lua"
    script.write_text(
        'local app = require "evserve"\n'
        f'app.static("/", "{root}")\n'
        'app.get("/hello", function() return "hello" end)\n'
        'app.websocket("/echo", function(ws) for text in ws:messages() do ws:send(text) end end)\n'
        + "".join(line + "\n" for line in lines))
    time.sleep(3)
    return script


def find_port(process):
    """The port of the line "listening on http://127.0.0.1:PORT"."""
    deadline = time.monotonic() + RUN_SECONDS
    text = b""
    while time.monotonic() < deadline:
        if not select.select([process.stderr], [], [], 1)[0]:
            continue
        piece = process.stderr.read1(4096)
        text += piece
        found = re.search(rb"127\.0\.0\.1:(\d+)\b", text)
        if found and b"\n" in text[found.end():]:
            return int(found.group(1))
        if not piece:
            break
    raise RuntimeError("the server did not start:\n" + text.decode(errors="replace"))


def read_response(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError("the server closed the connection")
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(head.decode(errors="replace"))
    left = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head).group(1)) - len(content)
    while left > 0:
        piece = connection.recv(left)
        if not piece:
            raise RuntimeError("the server closed the connection")
        left -= len(piece)


def make_request(path, head):
    return "\r\n".join((f"GET {path} HTTP/1.1", *head, "", "")).encode()


def be_client(path, head):
    """A function that sends a number of requests."""
    def send(connection, count):
        for _ in range(count):
            connection.sendall(make_request(path, head))
            read_response(connection)
    return send


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise RuntimeError("the server closed the connection")
        data += piece
    return data


def be_websocket(connection, count):
    """Send a number of messages, each after the one before it has come back."""
    connection.sendall(make_request("/echo", WEBSOCKET_HEAD))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(connection, 1)
    frame = bytes((0x81, 0x80 | len(TEXT))) + MASK + bytes(c ^ MASK[i % 4] for i, c in enumerate(TEXT))
    for _ in range(count):
        connection.sendall(frame)
        if read_exactly(connection, 2 + len(TEXT))[2:] != TEXT:
            raise RuntimeError("another message came back")


def run(program, arguments, script, send, count, profile):
    """Have send() send so much under callgrind, whose profile goes to the file of that name."""
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={profile}", program,
               "--listen", "127.0.0.1:0", *arguments, script]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with socket.create_connection(("127.0.0.1", find_port(process)), timeout=RUN_SECONDS) as connection:
            send(connection, count)
        process.terminate()
        process.communicate(timeout=RUN_SECONDS)
    finally:
        process.kill()
        process.wait()


def total(profile):
    return int(re.search(r"^(?:totals|summary): (\d+)", profile.read_text(), re.M).group(1))


def by_function(profile):
    """Instructions of each function itself, without those it calls."""
    text = subprocess.run(["callgrind_annotate", "--threshold=100", profile], check=True, capture_output=True,
                          text=True, timeout=RUN_SECONDS).stdout
    counts = collections.Counter()
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \([^)]*\)\s+\S*?:(\S+)", line)
        if found:
            name = re.sub(r"(\.(lto_priv|constprop|isra|part|cold)(\.\d+)*)+$", "", found.group(2))
            counts[name] += int(found.group(1).replace(",", ""))
    return counts


def each_function(few, many):
    extra = by_function(many)
    extra.subtract(by_function(few))
    return extra


def check_idle(extra, title):
    idle = sum(count for name, count in extra.items() if IDLE.match(name)) / (MANY - FEW)
    if idle > IDLE_BAR:
        raise RuntimeError(f"{title}: {idle:.0f} instructions for what is not configured; the bar is {IDLE_BAR}")


def print_functions(extra):
    for name, count in extra.most_common():
        if count / (MANY - FEW) >= TABLE_LEAST:
            print(f"    {count / (MANY - FEW):8.1f}  {name}")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/instructions.sh", description="User-mode instructions a request.")
    parser.add_argument("--program", required=True, metavar="FILE", help="the evserve to count; built when not given")
    parser.add_argument("--argument", action="append", default=[], metavar="TEXT",
                        help="one more argument of it, such as --argument=--access-log=/dev/null; may be repeated")
    parser.add_argument("--line", action="append", default=[], metavar="LUA",
                        help="one more line of its script, such as 'app.metrics \"/metrics\"'; may be repeated")
    parser.add_argument("--functions", action="store_true", help="a table of functions under each figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        script = make_site(folder, options.line)
        loads = [(title, be_client(path, head)) for title, path, head in LOADS]
        loads.append((f"message of {len(TEXT)} bytes that a Lua WebSocket echoes", be_websocket))
        for title, send in loads:
            few, many = folder / "few", folder / "many"
            run(options.program, options.argument, script, send, FEW, few)
            run(options.program, options.argument, script, send, MANY, many)
            print(f"{(total(many) - total(few)) / (MANY - FEW):8,.0f}  {title}", flush=True)
            extra = each_function(few, many)
            if not options.line:
                check_idle(extra, title)
            if options.functions:
                print_functions(extra)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"instructions.sh: {error}")
