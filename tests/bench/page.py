"""What a run of the benchmarks found, as text and as one page of HTML with charts drawn in SVG, without anything from
elsewhere."""

import html as markup

COLOURS = {"floor": "#9aa0a6", "evserve": "#1a73e8", "nginx": "#188038", "h2o": "#b06000", "lighttpd": "#a142f4"}
BAR, GAP, LABEL, WIDTH = 18, 6, 90, 640

SINGLE = {
    "syscalls": ("system calls a request, 64 connections", "{:.2f}"),
    "syscalls_pipelined": ("system calls a request, pipelined 16 deep", "{:.3f}"),
    "start_ms": ("from exec to the first answer", "{:.1f} ms"),
    "start_rss": ("resident memory at start", "{:,.0f} bytes"),
}


def ratio(figures):
    return f"{figures['cpu_ratio']:.2f}" if "cpu_ratio" in figures else ""


def text_table(load):
    lines = [load["title"],
             f"  {'':10}{'requests/s':>12}{'CPU us':>9}{'x floor':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9':>9}{'errors':>8}"]
    for name, f in sorted(load["servers"].items(), key=lambda item: item[1]["cpu_us"]):
        lines.append(f"  {name:10}{f['per_second']:12,.0f}{f['cpu_us']:9.2f}{ratio(f):>9}{f['p50_us'] / 1000:9.2f}"
                     f"{f['p99_us'] / 1000:9.2f}{f['p999_us'] / 1000:9.2f}{f['errors']:8.0f}"
                     + (f"  {f['resumed'] / f['requests']:.0%} resumed" if f.get("resumed") else ""))
    if "best_peer" in load:
        lines.append(f"  evserve relative to the best peer ({load['best_peer']['name']}): {load['best_peer']['cpu_ratio']:.2f}")
    if "with" in load:
        low, high = load["with"]["range"]
        lines.append(f"  with other options relative to evserve: {load['with']['cpu_ratio']:.3f} "
                     f"({low:.2f} to {high:.2f} in {load['with']['rounds']} rounds)")
    return "\n".join(lines)


def single_rows(single):
    rows = [(title, form.format(single[key])) for key, (title, form) in SINGLE.items() if key in single]
    rows += [(f"user memory of an idle connection, {name}", f"{each:,.0f} bytes")
             for name, each in single.get("idle_bytes", {}).items()]
    rows += [(f"user memory of an idle HTTPS connection, {name}", f"{each:,.0f} bytes")
             for name, each in single.get("idle_tls_bytes", {}).items()]
    rows += [(f"a request with 19,000 connections against one with 1,000, {name}", f"{growth:.2f}")
             for name, growth in single.get("growth", {}).items()]
    if "reactors" in single:
        rows.append(("CPU a request of two reactors against one", f"{single['reactors']:.2f}"))
    return rows


def text_single(single):
    return "\n".join(f"{title}: {value}" for title, value in single_rows(single))


def chart(load):
    """Bars of the server CPU a request, the shortest first."""
    servers = sorted(load["servers"].items(), key=lambda item: item[1]["cpu_us"])
    most = max(f["cpu_us"] for _, f in servers)
    parts = []
    for i, (name, f) in enumerate(servers):
        y = i * (BAR + GAP)
        length = f["cpu_us"] / most * (WIDTH - LABEL - 150)
        text = f"{f['cpu_us']:.2f} us" + (f" ({ratio(f)})" if ratio(f) else "")
        parts.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{markup.escape(name)}</text>'
                     f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
                     f'fill="{COLOURS.get(name, "#5f6368")}"/>'
                     f'<text x="{LABEL + length + 8:.1f}" y="{y + 13}">{text}</text>')
    height = len(servers) * (BAR + GAP)
    return (f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
            f'aria-label="CPU a request: {markup.escape(load["title"])}">{"".join(parts)}</svg>')


def table(load):
    head = "".join(f"<th>{t}</th>" for t in ("", "requests/s", "CPU us/request", "to the floor", "p50 ms", "p99 ms",
                                             "p99.9 ms", "errors", "memory MiB"))
    rows = []
    for name, f in sorted(load["servers"].items(), key=lambda item: item[1]["cpu_us"]):
        cells = [f"{f['per_second']:,.0f}", f"{f['cpu_us']:.2f}", ratio(f), f"{f['p50_us'] / 1000:.2f}",
                 f"{f['p99_us'] / 1000:.2f}", f"{f['p999_us'] / 1000:.2f}", f"{f['errors']:.0f}", f"{f['rss'] / 2**20:.1f}"]
        rows.append(f"<tr><th>{markup.escape(name)}</th>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def markdown(results):
    """The table for the project's README."""
    machine = results["machine"]
    names = [n for n in ("floor", *results["servers"]) if any(n in load["servers"] for load in results["loads"])]
    lines = [f"Server CPU a request in microseconds, and against the floor; commit {machine['commit']}, {machine['date']}, "
             f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; "
             + ", ".join(f"{n} {s['version']}" for n, s in results["servers"].items()) + ".", "",
             "| load | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for load in results["loads"]:
        cells = []
        for name in names:
            f = load["servers"].get(name)
            own = f is not None and name != "floor" and "cpu_ratio" in f
            cells.append("" if f is None else f"{f['cpu_us']:.2f}" + (f" ({ratio(f)})" if own else ""))
        lines.append(f"| {load['title']} | " + " | ".join(cells) + " |")
    lines += ["", "| figure | measured |", "|---|---|"]
    lines += [f"| {title} | {value} |" for title, value in single_rows(results["single"])]
    return "\n".join(lines) + "\n"


def html(results):
    machine = results["machine"]
    versions = ", ".join(f"{name} {s['version']}" for name, s in results["servers"].items())
    loads = "".join(f"<section><h2>{markup.escape(load['title'])}</h2>{chart(load)}{table(load)}</section>"
                    for load in results["loads"])
    single = "".join(f"<tr><th>{markup.escape(t)}</th><td>{v}</td></tr>" for t, v in single_rows(results["single"]))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>evserve: benchmarks</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #202124 }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .6rem }} svg {{ max-width: 100%; height: auto; font-size: 12px }}
table {{ border-collapse: collapse; font-size: 13px; margin-top: .6rem }}
td, th {{ padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e8eaed; font-variant-numeric: tabular-nums }}
th:first-child {{ text-align: left }}
</style>
<h1>evserve: benchmarks</h1>
<p>Server CPU a request, user and system time of the whole process tree, in microseconds; in brackets against the floor,
a server that parses nothing and answers each request with the same bytes. One worker or thread each, rounds
interleaved.</p>
<p>{markup.escape(machine['cpu'])}, {machine['cores']} cores, Linux {markup.escape(machine['kernel'])};
commit {markup.escape(machine['commit'])}, {machine['date']}; {markup.escape(versions)}.</p>
{loads}
<section><h2>Single figures</h2><table>{single}</table></section>
</html>
"""
