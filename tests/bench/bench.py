#!/usr/bin/env python3
"""Measure evserve, the floor and the peers that are installed, in one run: scripts/bench.sh calls this.

Rounds are interleaved: each round runs one load against one server after the other, so that a slow minute of the machine
hits all of them. Each round starts the server anew: where its memory happens to lie makes one start up to a tenth
slower than the next, as long as it runs. A figure is the median over the rounds; a ratio is the median of each round's ratio. Server CPU a
request (user and system time of the whole process tree) is the figure to trust on a machine that others use too."""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import page     # noqa: E402
import servers  # noqa: E402

HERE = pathlib.Path(__file__).parent
MANY = 10000         # connections of the C10K loads
FEW, MOST = 1000, 19000  # connections between which the cost of a request must not grow
WARM_UP_SECONDS = 4  # in which h2load's connections are made
START_SECONDS = 3    # over which they are made evenly for a fixed rate
STARTS_TOGETHER = 10 # of them at a time
FIXED_RATE = 40000   # requests a second of the load with a fixed rate
CLOSE = "Connection: close"
WITH = "with"        # the name of evserve with the arguments and lines of --with and --with-line

# What is asked for, over how many connections, how deep it is pipelined, with what fields, and by whom it is answered;
# how many times the usual rounds, where hundredths matter.
LOADS = [
    dict(id="small64", title="1300-byte file, 64 connections", path="/small.txt", conns=64, rounds=2),
    dict(id="small1000", title="1300-byte file, 1,000 connections", path="/small.txt", conns=1000),
    dict(id="pipelined", title="1300-byte file, pipelined 16 deep", path="/small.txt", conns=64, depth=16),
    dict(id="closing", title="1300-byte file, one connection a request", path="/small.txt", conns=64, fields=[CLOSE]),
    dict(id="medium", title="100 KiB file", path="/medium.bin", conns=64, floor=False),
    dict(id="large", title="10 MiB file", path="/large.bin", conns=16, floor=False),
    dict(id="304", title="conditional GET, 304", path="/small.txt", conns=64, conditional=True,
         rounds=2),
    dict(id="lua", title="Lua route, a short string", path="/lua", conns=64, without=("h2o", "lighttpd")),
]

# The same over TLS, with the kind of key that the certificate has. handshakes: each request has a connection of its own,
# made by handshakes.c with these options. file_bytes: so many bytes that came count as a request, finished or not.
TLS_LOADS = [
    dict(id="tls_small64", title="HTTPS: 1300-byte file, 64 connections", path="/small.txt", conns=64, tls="ecdsa", rounds=2),
    dict(id="tls_medium", title="HTTPS: 100 KiB file", path="/medium.bin", conns=64, tls="ecdsa", floor=False),
    dict(id="tls_large", title="HTTPS: 10 MiB file", path="/large.bin", conns=4, tls="ecdsa", floor=False, seconds=2,
         file_bytes=servers.LARGE_BYTES),
    dict(id="tls_full", title="HTTPS: full handshake, ECDSA P-256", path="/small.txt", conns=32, tls="ecdsa",
         fields=[CLOSE], handshakes=[]),
    dict(id="tls_full_rsa", title="HTTPS: full handshake, RSA 2048", path="/small.txt", conns=32, tls="rsa",
         fields=[CLOSE], handshakes=[]),
    dict(id="tls_resumed", title="HTTPS: resumed handshake, ECDSA P-256", path="/small.txt", conns=32, tls="ecdsa",
         fields=[CLOSE], handshakes=["--resume"]),
]
TLS_IDLE = 2000      # connections whose memory is measured: each costs the client more than the server


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="evserve-bench-"))
        self.folder.chmod(0o755)
        servers.make_site(self.folder)
        if servers.has_tls():
            servers.make_certificates(self.folder)
        self.client_environment = servers.client_environment(self.folder)
        cores = sorted(os.sched_getaffinity(0))
        self.server_core = cores[0] if len(cores) > 1 else None
        self.load_core = cores[1] if len(cores) > 1 else None
        self.running, self.programs = {}, {}
        self.peers = [] if options.no_peers else servers.peers_here()
        self.results = {"machine": self.machine(), "servers": {}, "loads": [], "single": {}}

    @staticmethod
    def machine():
        model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True,
                                check=False).stdout.strip()
        return {"cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
                "kernel": platform.release(), "commit": commit, "date": time.strftime("%Y-%m-%d")}

    # Servers.

    def start(self, name, tls=None):
        program = self.programs.get(name)
        if program is None:
            more = {} if tls is None else {"tls": tls}
            return servers.PEERS[name](self.folder, self.server_core, **more)
        arguments, lines = (shlex.split(self.options.with_arguments or ""), self.options.with_line) if name == WITH else ([], [])
        server = servers.start_evserve(self.folder, self.server_core, program, arguments, tls, lines)
        server.name = name
        return server

    def start_all(self):
        """One of each, for what they say of themselves and for the figures of their own."""
        self.programs["evserve"] = self.options.program or str(servers.ROOT / "evserve")
        for program in self.options.against or []:
            self.programs[pathlib.Path(program).name] = program
        if self.options.with_arguments or self.options.with_line:
            self.programs[WITH] = self.programs["evserve"]
        for name in [*self.programs, *self.peers]:
            try:
                self.running[name] = self.start(name)
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
        for name, server in self.running.items():
            self.results["servers"][name] = {"version": server.version, "rss_at_start": server.memory_bytes()}

    def start_floor(self, load, request=None):
        """The floor for a load of wrk's, or of another generator that sends this request."""
        evserve = self.running["evserve"]
        fields = self.fields(load, evserve)
        answer = servers.fetch(evserve.port, load["path"], fields)
        request = request or servers.request_bytes(evserve.port, load["path"], fields)
        return servers.start_floor(answer, request, self.server_core, CLOSE in fields, self.folder, load.get("tls"))

    def stop_all(self):
        for server in self.running.values():
            server.stop()
        self.running = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def fields(self, load, server):
        fields = list(load.get("fields", []))
        if load.get("conditional"):
            head = servers.fetch(server.port, load["path"])
            tag = re.search(rb"(?i)\r\netag: *([^\r]*)", head)
            fields.append("If-None-Match: " + tag.group(1).decode())
        return fields

    # Loads.

    def wrk(self, server, load, seconds):
        if "handshakes" in load:
            argv = [str(servers.PROGRAMS / "handshakes"), "--port", str(server.port), "--conns", str(load["conns"]),
                    "--seconds", str(seconds), "--path", load["path"], *load["handshakes"]]
        else:
            scheme = "https" if "tls" in load else "http"
            argv = ["wrk", "-t1", f"-c{load['conns']}", f"-d{seconds}s", "-s", str(HERE / "load.lua"),
                    f"{scheme}://127.0.0.1:{server.port}{load['path']}", "--", str(load.get("depth", 1)),
                    *self.fields_of(server, load)]
        pin = (lambda: os.sched_setaffinity(0, {self.load_core})) if self.load_core is not None else None
        before = server.cpu_us()
        run = subprocess.run(argv, capture_output=True, text=True, preexec_fn=pin, timeout=seconds + 60, check=False,
                             env=self.client_environment)
        cpu = server.cpu_us() - before
        found = re.search(r"^RESULT (.*)$", run.stdout, re.M)
        if found is None:
            raise RuntimeError(f"{argv[0]} against {server.name}: {run.stdout}{run.stderr}")
        result = json.loads(found.group(1))
        if "file_bytes" in load:
            result["requests"] = result["bytes"] / load["file_bytes"]
        result["per_second"] = result["requests"] / result["seconds"]
        result["cpu_us"] = cpu / max(1, result["requests"])
        result["errors"] = sum(result["errors"].values())
        result["rss"] = server.memory_bytes()
        return result

    def fields_of(self, server, load):
        """Each server has an entity tag of its own; the floor gets evserve's, it is as long as what it was told."""
        return self.fields(load, self.running["evserve"] if server.name == "floor" else server)

    def run_load(self, load, rounds, seconds):
        here = [name for name, server in self.running.items()
                if name not in load.get("without", ()) and (load["id"] != "lua" or getattr(server, "has_lua", True))
                and ("tls" not in load or name in self.programs or name in servers.TLS_PEERS)]
        here += ["floor"] if load.get("floor", True) else []
        taken, agreed = {name: [] for name in here}, set()
        for round_ in range(rounds * load.get("rounds", 1)):
            for i in range(len(here)):  # another one begins each round
                name = here[(i + round_) % len(here)]
                server = self.start_floor(load) if name == "floor" else self.start(name, load.get("tls"))
                try:
                    if "tls" in load and "handshakes" not in load:
                        agreed.add(servers.agreed_on(server, self.client_environment))
                    taken[name].append(self.wrk(server, load, load.get("seconds", seconds)))
                    agreed |= {taken[name][-1].pop("agreed", None)} - {None}
                finally:
                    server.stop()
        if not agreed <= {f"TLSv1.3 {servers.CIPHER}"}:
            raise RuntimeError(f"not all servers agree on TLS 1.3 with {servers.CIPHER}: {', '.join(agreed)}")
        self.add_load(load["id"], load["title"], taken)

    def add_load(self, id_, title, taken):
        entry = {"id": id_, "title": title, "servers": {}}
        for name, rounds in taken.items():
            keys = [k for k in rounds[0] if k != "errors"]
            figures = {k: statistics.median(r[k] for r in rounds) for k in keys}
            figures["errors"] = sum(r["errors"] for r in rounds)
            if "floor" in taken and "cpu_us" in figures:
                ratios = [r["cpu_us"] / f["cpu_us"] for r, f in zip(rounds, taken["floor"])]
                figures["cpu_ratio"] = statistics.median(ratios)
                figures["cpu_ratio_range"] = [min(ratios), max(ratios)]
            if "floor" in taken:
                figures["p99_ratio"] = statistics.median(
                    r["p99_us"] / max(1, f["p99_us"]) for r, f in zip(rounds, taken["floor"]))
            entry["servers"][name] = figures
        self.compare_with_peers(entry, taken)
        self.compare_with_itself(entry, taken)
        self.results["loads"].append(entry)
        print(page.text_table(entry), flush=True)

    @staticmethod
    def compare_with_peers(entry, taken):
        """evserve's CPU a request relative to that of the peer that needs least."""
        peers = [name for name in taken if name in servers.PEERS]
        if peers:
            best = min(peers, key=lambda name: entry["servers"][name]["cpu_us"])
            ratios = [r["cpu_us"] / f["cpu_us"] for r, f in zip(taken["evserve"], taken[best])]
            entry["best_peer"] = {"name": best, "cpu_ratio": statistics.median(ratios)}

    @staticmethod
    def compare_with_itself(entry, taken):
        """CPU a request of the same evserve with other options."""
        if WITH in taken:
            ratios = [r["cpu_us"] / f["cpu_us"] for r, f in zip(taken[WITH], taken["evserve"])]
            entry["with"] = {"cpu_ratio": statistics.median(ratios), "range": [min(ratios), max(ratios)],
                             "rounds": len(ratios)}

    # 10,000 connections.

    def h2load(self, server, conns, seconds):
        """As fast as they can; the connections are there before the measurement begins."""
        cpu = []

        def watch(process):
            text = ""
            for line in process.stdout:
                text += line
                if "duration is started" in line or "duration is over" in line:
                    cpu.append(server.cpu_us())
            return text

        options = [f"-D{seconds}", f"--warm-up-time={WARM_UP_SECONDS}"]
        return self.h2load_figures(server, conns, options, seconds, watch, cpu, lambda sent_us: True)

    def h2load_at_rate(self, server, conns, seconds, rate):
        """Each connection sends its share of the rate, however long its last answer took. h2load lets it send every
        conns / rate seconds after it was made, so the connections are made evenly: all at once would send at once, and
        the figure would be the length of the queue. What is measured begins when all are there and ends before the
        first has sent its last."""
        begin = time.time() + START_SECONDS + 0.5
        cpu, share = [], rate / conns

        def watch(process):
            for moment in (begin, begin + seconds):
                time.sleep(max(0, moment - time.time()))
                cpu.append(server.cpu_us())
            return process.communicate()[0]

        options = [f"-n{int(rate * (START_SECONDS + seconds + 1))}", f"--rps={share}",
                   f"-r{STARTS_TOGETHER}", f"--rate-period={round(1000 * START_SECONDS * STARTS_TOGETHER / conns)}ms"]
        return self.h2load_figures(server, conns, options, seconds, watch, cpu,
                                   lambda sent_us: begin <= sent_us / 1e6 < begin + seconds)

    def h2load_figures(self, server, conns, options, seconds, watch, cpu, counts_at):
        """Runs h2load; watch() waits for its end, returns what it printed, and notes server CPU at both ends of what is
        measured. counts_at() says of the moment a request was sent whether it belongs to that."""
        with tempfile.NamedTemporaryFile() as log:
            argv = ["stdbuf", "-oL", "h2load", "--h1", f"-c{conns}", *options, f"--log-file={log.name}",
                    f"http://127.0.0.1:{server.port}/small.txt"]
            pin = (lambda: os.sched_setaffinity(0, {self.load_core})) if self.load_core is not None else None
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=pin)
            text = watch(process)
            process.wait()
            rows = [line.split() for line in open(log.name, encoding="ascii")]
        times = sorted(int(row[2]) for row in rows if counts_at(int(row[0])))
        ended = re.search(r"requests: .* (\d+) failed, (\d+) errored, (\d+) timeout", text)
        if ended is None or not times or len(cpu) != 2:
            raise RuntimeError(f"h2load against {server.name}: {text[-1000:]}")
        at = lambda p: times[min(len(times) - 1, int(len(times) * p))]  # noqa: E731
        return {"requests": len(times), "per_second": len(times) / seconds, "cpu_us": (cpu[1] - cpu[0]) / len(times),
                "p50_us": at(.5), "p99_us": at(.99), "p999_us": at(.999), "rss": server.memory_bytes(),
                "errors": sum(int(n) for n in ended.groups())}

    def run_many(self, seconds):
        """wrk shows whether all are served; h2load, at a rate that both sides can keep, how long a request takes."""
        load = dict(path="/small.txt", conns=MANY)
        floor = self.start_floor(load)
        try:
            taken = {s.name: [self.wrk(s, load, seconds)] for s in (floor, self.running["evserve"])}
        finally:
            floor.stop()
        self.add_load("c10k", f"{MANY:,} connections, as fast as they can", taken)
        floor = self.start_floor(load, servers.h2load_request("/small.txt"))
        try:
            taken = {s.name: [self.h2load_at_rate(s, MANY, seconds, FIXED_RATE)] for s in (floor, self.running["evserve"])}
        finally:
            floor.stop()
        self.add_load("c10k_rate", f"{MANY:,} connections, {FIXED_RATE:,} requests/s", taken)

    def run_growth(self, rounds, seconds):
        """How the cost of a request grows with the connections that are open, all of them busy."""
        request = servers.h2load_request("/small.txt")
        growth = {}
        for _ in range(rounds):
            for name in ("floor", "evserve"):
                server = self.start_floor(dict(path="/small.txt"), request) if name == "floor" else self.start(name)
                try:
                    few, most = (self.h2load(server, n, seconds)["cpu_us"] for n in (FEW, MOST))
                finally:
                    server.stop()
                growth.setdefault(name, []).append(most / few)
        self.results["single"]["growth"] = {name: statistics.median(g) for name, g in growth.items()}

    def run_reactors(self, rounds, seconds):
        """CPU a request of two reactors against one: what they cost each other. The load shares their two cores, and has
        connections enough to keep both in work."""
        load = dict(path="/small.txt", conns=256)
        ratios = []
        for _ in range(rounds):
            cpu = {}
            for n in (1, 2):
                server = servers.start_evserve(self.folder, None, self.options.program, ["--reactors", str(n)])
                try:
                    cpu[n] = self.wrk(server, load, seconds)["cpu_us"]
                finally:
                    server.stop()
            ratios.append(cpu[2] / cpu[1])
        self.results["single"]["reactors"] = statistics.median(ratios)

    # Figures of their own.

    def idle_memory(self):
        """What a kept-alive connection that waits costs in user memory."""
        for name in ["evserve", *self.peers]:
            start = servers.PEERS.get(name, servers.start_evserve)
            server = start(self.folder, self.server_core)
            held = []
            try:
                request = servers.request_bytes(server.port, "/small.txt")
                servers.fetch(server.port, "/small.txt")
                before = server.memory_bytes("RssAnon")
                for _ in range(MANY):
                    s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                    held.append(s)
                    s.sendall(request)
                    got = 0
                    while got < servers.SMALL_BYTES:
                        got += len(s.recv(65536)) or servers.SMALL_BYTES
                time.sleep(0.2)
                each = (server.memory_bytes("RssAnon") - before) / MANY
                self.results["single"].setdefault("idle_bytes", {})[name] = each
            finally:
                for s in held:
                    s.close()
                server.stop()

    def idle_memory_tls(self):
        """The same over TLS. The floor holds OpenSSL's objects and nothing else."""
        load = TLS_LOADS[0]
        for name in ["floor", "evserve", *(name for name in self.peers if name in servers.TLS_PEERS)]:
            server = self.start_floor(load) if name == "floor" else self.start(name, load["tls"])
            try:
                servers.agreed_on(server, self.client_environment)
                before = server.memory_bytes("RssAnon")
                with servers.HeldConnections(server, TLS_IDLE, self.client_environment):
                    time.sleep(0.2)
                    each = (server.memory_bytes("RssAnon") - before) / TLS_IDLE
                self.results["single"].setdefault("idle_tls_bytes", {})[name] = each
            finally:
                server.stop()

    def system_calls(self):
        if not shutil.which("strace"):
            return
        for id_, depth in (("syscalls", 1), ("syscalls_pipelined", 16)):
            server = self.running["evserve"]
            load = dict(path="/small.txt", conns=64, depth=depth)
            with tempfile.NamedTemporaryFile() as out:
                trace = subprocess.Popen(["strace", "-c", "-f", "-o", out.name, "-p", str(server.process.pid)],
                                         stderr=subprocess.DEVNULL)
                time.sleep(0.5)
                result = self.wrk(server, load, 2)
                trace.send_signal(signal.SIGINT)
                trace.wait()
                total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)?\s+total", open(out.name).read(), re.M)
            if total:
                self.results["single"][id_] = int(total.group(1)) / result["requests"]

    def start_up(self):
        """From exec to the first answer, and resident memory then."""
        program = self.options.program or str(servers.ROOT / "evserve")
        times = []
        for _ in range(11):
            begin = time.monotonic()
            process = subprocess.Popen([program, "--listen", "127.0.0.1:0", str(self.folder / "site.lua")],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            port = int(re.search(rb"(\d+)\s*$", process.stderr.readline()).group(1))
            servers.fetch(port, "/small.txt")
            times.append((time.monotonic() - begin) * 1000)
            process.kill()
            process.wait()
            process.stderr.close()
        self.results["single"]["start_ms"] = statistics.median(times)
        self.results["single"]["start_rss"] = self.results["servers"]["evserve"]["rss_at_start"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="one short round of each load without TLS (--https: with); under a minute")
    parser.add_argument("--load", action="append", help="this load only (may be repeated): " + ", ".join(
        [load["id"] for load in LOADS + TLS_LOADS] + ["c10k", "growth", "reactors", "single", "tls_idle"]))
    parser.add_argument("--https", action="store_true", help="the loads over TLS only")
    parser.add_argument("--rounds", type=int, help="rounds of each load")
    parser.add_argument("--seconds", type=int, help="seconds of each measurement")
    parser.add_argument("--no-peers", action="store_true", help="evserve and the floor alone")
    parser.add_argument("--against", action="append", help="another evserve, named by its file name, beside the first")
    parser.add_argument("--program", help="the evserve to measure")
    parser.add_argument("--with", dest="with_arguments", metavar="ARGUMENTS",
                        help="the same evserve with more arguments, beside the first: --with='--access-log /tmp/access.log'")
    parser.add_argument("--with-line", action="append", default=[], metavar="LUA",
                        help="one more line in its script, such as 'app.metrics \"/metrics\"'; may be repeated")
    parser.add_argument("--out", default=str(servers.ROOT / "build/bench"), help="folder of results.json and results.html")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    many_fit = limit == resource.RLIM_INFINITY or limit >= MOST + 100
    if options.https:
        options.load = (options.load or []) + [load["id"] for load in TLS_LOADS] + ["tls_idle"]
    wanted = lambda id_: not options.load or id_ in options.load  # noqa: E731
    bench = Bench(options)
    try:
        bench.start_all()
        for load in LOADS:
            if wanted(load["id"]):
                bench.run_load(load, rounds, seconds)
        if not servers.has_tls():
            print("left out: HTTPS; evserve was built without it, or there is no openssl", file=sys.stderr)
        elif options.load or not options.quick:
            for load in TLS_LOADS:
                if wanted(load["id"]):
                    bench.run_load(load, rounds if options.load else (rounds + 1) // 2, seconds)
            if wanted("tls_idle") and not options.quick:
                bench.idle_memory_tls()
        if not many_fit:
            print(f"left out: {MANY:,} and more connections; a process may open {limit:,} files only", file=sys.stderr)
        if wanted("c10k") and many_fit and not (options.quick and not options.load):
            bench.run_many(options.seconds or (5 if options.quick else 15))
        if wanted("growth") and many_fit and not (options.quick and not options.load):
            bench.run_growth(min(rounds, 2), seconds)
        if wanted("reactors") and not (options.quick and not options.load):
            bench.run_reactors(rounds, seconds)
        if wanted("single"):
            bench.system_calls()
            bench.start_up()
            if not options.quick:
                bench.idle_memory()
    finally:
        bench.stop_all()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(bench.results, indent=1))
    (out / "results.html").write_text(page.html(bench.results))
    (out / "results.md").write_text(page.markdown(bench.results))
    print(page.text_single(bench.results["single"]))
    print(f"written: {out}/results.html, .json, .md")


if __name__ == "__main__":
    main()
