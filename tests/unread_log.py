"""10,000 lines a second into a log that nobody reads: see scripts/unread_log.sh. Exit status 0 if it delays nobody."""

import contextlib
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import evtest  # pylint: disable=wrong-import-position

EVSERVE = evtest.binary("EVSERVE_BIN")
ROUNDS = int(os.environ.get("EVSERVE_ROUNDS", "7"))
ROUND_S = 3
LINES_A_SECOND = 10_000
BATCH = 50           # requests that are sent at once
ASK_EACH_S = 0.002   # of the client whose times are measured
WORSE = 1.25         # what the median of the rounds may differ by, and
WORSE_S = 0.001      # by so much at least: below that, the scheduler of this machine is measured
SITE = """
local app = require "evserve"
app.static("/", "public")
app.get("/told", function() app.log("error", "a line of the error log"); return "told" end)
app.get("/untold", function() return "told" end)
"""


def request(target):
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def read_responses(sock, count):
    while count > 0:
        data = sock.recv(1 << 20)
        if not data:
            raise EOFError("the server has closed the connection")
        count -= data.count(b"HTTP/1.1 200 ")


def flood(address, target, seconds):
    """Ask LINES_A_SECOND times a second. Ends with status 1 if the server cannot keep up."""
    begun = time.monotonic()
    done = 0
    with socket.create_connection(address, timeout=60) as sock:
        while (now := time.monotonic() - begun) < seconds:
            if done > now * LINES_A_SECOND:
                time.sleep(0.001)
                continue
            sock.sendall(request(target) * BATCH)
            read_responses(sock, BATCH)
            done += BATCH
    sys.exit(0 if done >= 0.9 * seconds * LINES_A_SECOND else 1)


def measure(address, seconds):
    """The 99th percentile of the times of a client that asks for a small file."""
    times = []
    ends = time.monotonic() + seconds
    with socket.create_connection(address, timeout=60) as sock:
        while time.monotonic() < ends:
            begun = time.monotonic()
            sock.sendall(request("/small"))
            read_responses(sock, 1)
            times.append(time.monotonic() - begun)
            time.sleep(ASK_EACH_S)
    times.sort()
    return times[len(times) * 99 // 100]


def run_round(folder, target, options):
    """One server whose standard output and error are pipes that nobody reads, under the flood."""
    out_reader, out_writer = os.pipe()
    error_reader, error_writer = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, out_reader)
        stack.callback(os.close, error_reader)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            process = subprocess.Popen([EVSERVE, "site.lua", "--listen", f"fd:{listener.fileno()}", *options],
                                       cwd=folder, stdin=subprocess.DEVNULL, stdout=out_writer, stderr=error_writer,
                                       pass_fds=[listener.fileno()])
        os.close(out_writer)
        os.close(error_writer)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        measure(address, 0.2)
        other = multiprocessing.Process(target=flood, args=(address, target, ROUND_S))
        other.start()
        p99 = measure(address, ROUND_S)
        other.join()
        if other.exitcode != 0:
            print(f"fewer than {LINES_A_SECOND} requests a second", flush=True)
        return p99


def compare(folder, name, without, with_log):
    """Rounds in turn, of (target, options). Returns whether the log is not noticed."""
    times = ([], [])
    for _ in range(ROUNDS):
        for which, (target, options) in enumerate((without, with_log)):
            times[which].append(run_round(folder, target, options))
    before, after = map(statistics.median, times)
    is_good = after <= max(before * WORSE, before + WORSE_S)
    print(f"{name}: p99 {before * 1000:.2f} ms without, {after * 1000:.2f} ms with {LINES_A_SECOND} lines a second "
          f"into a pipe that nobody reads, medians of {ROUNDS} rounds: {'good' if is_good else 'WORSE'}", flush=True)
    return is_good


def main():
    with tempfile.TemporaryDirectory(prefix="ev") as folder:
        os.mkdir(os.path.join(folder, "public"))
        for name, text in (("public/small", "small\n"), ("site.lua", SITE)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(text)
        results = [
            compare(folder, "access log", ("/small", []), ("/small", ["--access-log", "stdout"])),
            compare(folder, "access log in JSON, two threads", ("/small", ["--reactors", "2"]),
                    ("/small", ["--reactors", "2", "--access-log", "stdout", "--access-log-format", "json"])),
            compare(folder, "error log", ("/untold", []), ("/told", [])),
        ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
