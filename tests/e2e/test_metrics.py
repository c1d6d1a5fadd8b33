"""Metrics of the program: both formats, and promtool's opinion of them where it is installed (Debian: prometheus)."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import evtest
import side_by_side

EVSERVE = evtest.binary("EVSERVE_BIN")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
HEAD = "local app = require 'evserve'\n"


def ask(address, path, more=""):
    """Head and content of a response, as text."""
    with evtest.connect(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n{more}\r\n".encode())
        head, _, content = evtest.receive_all(sock).decode().partition("\r\n\r\n")
        return head, content


def samples(text):
    """The samples of a response by name and labels."""
    return dict((name, float(value)) for name, value in re.findall(r"^([a-z].*) (\S+)$", text, re.M))


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ev")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, script, *arguments):
        self.write("site.lua", HEAD + script)
        server = evtest.Program(EVSERVE, *arguments, "--listen", "127.0.0.1:0", "site.lua", cwd=self.folder)
        self.addCleanup(server.kill)
        return server


class Text(Case):
    def test_formats(self):
        server = self.start("app.metrics '/metrics'\napp.use(function() return 401 end)\n")
        head, content = ask(server.address, "/metrics")
        self.assertIn("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8", head)
        self.assertIn("\r\nCache-Control: no-store", head)
        self.assertIn("# TYPE evserve_timeouts_total counter\n", content)
        self.assertNotIn("# EOF", content)
        head, content = ask(server.address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0, */*;q=0.1\r\n")
        self.assertIn("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8", head)
        self.assertIn("# TYPE evserve_timeouts counter\nevserve_timeouts_total{kind=\"idle\"} 0\n", content)
        self.assertTrue(content.endswith("\n# EOF\n"))

    def test_each_family_is_there_once(self):
        server = self.start("app.metrics '/metrics'\n")
        names = re.findall(r"^# TYPE (\S+) ", ask(server.address, "/metrics")[1], re.M)
        self.assertEqual(len(names), len(set(names)))

    def test_mistakes(self):
        for call, error in (("app.metrics()", 'app.metrics: a path such as "/metrics" expected, got nil'),
                            ("app:metrics '/metrics'", "app.metrics: call it with a dot, not with a colon"),
                            ("app.metrics 'metrics'", "metrics"),
                            ("app.metrics '/m' app.metrics '/m'", "already registered at site.lua:2"),
                            ("app.metrics('/m', 'a')", 'app.metrics: a table of options such as { hosts = { "example.org" } } '
                             'expected, got "a"'),
                            ("app.metrics('/m', { host = 'a' })", "app.metrics: unknown option"),
                            ("app.metrics('/m', { hosts = 'a' })",
                             'app.metrics: hosts: a list such as { "example.org" } expected, got string'),
                            ("app.metrics('/m', { hosts = { 1 } })",
                             "app.metrics: hosts: text expected as a name, got number"),
                            ("app.metrics('/m', { hosts = { 'a:80' } })", 'app.metrics: hosts: "a:80" is no host name'),
                            ("app.counter()", 'app.counter: a name such as "orders_total" expected, got nil'),
                            ("app.counter('a_total')", "app.counter: a help text, which says what is counted, expected"),
                            ("app.counter('a', 'A.')", "a: the name of a counter ends in _total, as in a_total"),
                            ("app.gauge('a_total', 'A.')", "a_total: only a counter, or a part of a histogram, ends in"),
                            ("app.gauge('1a', 'A.')", 'the name "1a" must be up to 128 letters'),
                            ("app.gauge('a', 'A.', 'b')", 'a list of labels such as { "kind" } expected, got string'),
                            ("app.gauge('a', 'A.', { 'le' })", 'a: the label "le" must be'),
                            ("app.gauge('a', 'A.', { 'b', 'b' })", "a: the label b is there twice"),
                            ("app.histogram('a', 'A.', nil, { 2, 1 })", "a: bounds of buckets must be finite"),
                            ("app.histogram('a', 'A.', nil, {})", "a: 1 to 32 bounds of buckets expected, got 0"),
                            ("app.gauge('a', 'A.') app.gauge('a', 'A.', { 'b' })",
                             "there is a gauge of this name already, with no labels")):
            self.write("site.lua", HEAD + call + "\n")
            run = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.folder)
            self.assertEqual(run.returncode, 1, call)
            self.assertIn(error, run.stderr, call)

    def test_a_warning_if_no_route_shows_them(self):
        script = 'local app = require "evserve"\napp.counter("orders_total", "Orders.")\n'
        for more, is_hidden in ("", True), ('app.metrics "/metrics"\n', False):
            self.write("site.lua", script + more)
            run = evtest.run(EVSERVE, "--check", "site.lua", cwd=self.folder)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual("warn there are metrics, but no route that shows them" in run.stderr, is_hidden, run.stderr)

    def test_routes(self):
        server = self.start("app.metrics '/metrics'\napp.static('/files', '.')\n"
                            "app.get('/users/:id', function() return 'hi' end)\n"
                            "app.get('/slow', function() app.sleep '120ms' return 'hi' end)\n", "--reactors", "2")
        for path in ("/users/1", "/users/2", "/slow", "/files/site.lua", "/files/none", "/none"):
            ask(server.address, path)
        values = {}

        def has_all():  # durations of another thread come with its next turn
            values.update(samples(ask(server.address, "/metrics")[1]))
            return values['evserve_request_duration_seconds_count{method="GET",route="/slow"}'] == 1

        evtest.wait_until(has_all, "the duration")
        for labels, wanted in (('method="GET",route="/users/:id",code="200"', 2), ('route="files",code="200"', 1),
                               ('route="files",code="404"', 1), ('route="none",code="404"', 1)):
            self.assertEqual(values[f"evserve_requests_total{{{labels}}}"], wanted, labels)
        name = 'evserve_request_duration_seconds_bucket{method="GET",route="/slow",le="%s"}'
        self.assertEqual(values[name % "0.1"], 0)
        self.assertEqual(values[name % "+Inf"], 1)

    def test_hosts(self):
        script = "app.metrics('/metrics', { hosts = { %s } })\napp.get('/', function() return 'hi' end)\n"
        server = self.start(script % "'example.org', 'www.example.org'")
        name = 'evserve_requests_total{host="%s",method="GET",route="/",code="200"}'
        for host in ("example.org", "EXAMPLE.org:80", "www.example.org", "evil.test"):
            ask(server.address, "/", f"Host: {host}\r\n")
        values = samples(ask(server.address, "/metrics")[1])
        self.assertEqual((values[name % "example.org"], values[name % "www.example.org"]), (2, 1))
        self.assertEqual(values['evserve_requests_total{method="GET",route="/",code="200"}'], 1)
        self.assertEqual(values['evserve_request_duration_seconds_count{method="GET",route="/"}'], 4)
        self.assertNotIn("evil.test", " ".join(values))
        self.write("site.lua", HEAD + script % "'evil.test'")
        server.process.send_signal(signal.SIGHUP)
        success = 'evserve_reloads_total{result="success"}'
        evtest.wait_until(lambda: samples(ask(server.address, "/metrics")[1])[success] == 1, "the reload")
        for host in ("example.org", "evil.test"):
            ask(server.address, "/", f"Host: {host}\r\n")
        values = samples(ask(server.address, "/metrics")[1])
        self.assertEqual((values[name % "example.org"], values[name % "evil.test"]), (2, 1))

    def test_timeouts_by_kind(self):
        server = self.start("app.metrics '/metrics'\napp.set { header_timeout = '50ms' }\n")
        with evtest.connect(server.address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n")
            self.assertIn(b" 408 ", evtest.receive_all(sock))
        values = samples(ask(server.address, "/metrics")[1])
        self.assertEqual(values['evserve_timeouts_total{kind="header"}'], 1)
        self.assertEqual(values['evserve_timeouts_total{kind="idle"}'], 0)

    def test_files(self):
        server = self.start("app.metrics '/metrics'\napp.static('/', '.')\n")
        self.write("a.txt", "hello")
        for _ in range(2):
            ask(server.address, "/a.txt")
        values = {}

        def has_looked():  # once a second
            values.update(samples(ask(server.address, "/metrics")[1]))
            return sum(values[f'evserve_file_cache_looks_total{{result="{result}"}}'] for result in ("hit", "miss")) == 2

        evtest.wait_until(has_looked, "the look at the cache")
        self.assertGreaterEqual(values['evserve_file_cache_looks_total{result="miss"}'], 1)
        self.assertEqual(values["evserve_file_cache_files"], 1)
        self.assertEqual(values["evserve_file_cache_bytes"], 5)

    def test_fds(self):
        server = self.start("app.metrics '/metrics'\n")
        values = samples(ask(server.address, "/metrics")[1])
        self.assertGreaterEqual(values["evserve_fds_limit"], 64)
        if "evserve_fds_open" in values:  # from Linux 6.2 on
            now = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            self.assertIn(values["evserve_fds_open"] - now, (0, 1))  # the connection that asked may be closed by now

    def test_connections_by_state(self):
        server = self.start("app.metrics '/metrics'\n"
                            "app.get('/slow', function() app.sleep '1h' return 'hi' end)\n"
                            "app.post('/', function() return 'hi' end)\n"
                            "local big = ('x'):rep(20000000)\n"  # here, since it takes a busy machine more than handler_cpu
                            "app.get('/big', { handler_cpu = '10s' }, function() return big end)\n")
        # A small buffer, since some kernels would take all of /big.
        open_ones = [evtest.connect(server.address, receive_buffer=4096) for _ in range(6)]
        for sock, sent in zip(open_ones, (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
                                          b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
                                          b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")):
            self.addCleanup(sock.close)
            sock.sendall(sent)
        wanted = {"idle": 2, "reading": 2, "handling": 2, "sending": 1, "tls_handshake": 0}  # this request is handled, too
        seen = {}

        def has_all():
            values = samples(ask(server.address, "/metrics")[1])
            seen.update((state, values[f'evserve_connections{{state="{state}"}}']) for state in wanted)
            return seen == wanted

        evtest.wait_until(has_all, seen)  # which is shown as it is then

    def test_sums_of_all_threads(self):
        server = self.start("app.get('/', function() return app.stats() end)\n", "--reactors", "2")
        accepted = {}
        for i in range(20):
            accepted = json.loads(ask(server.address, "/")[1])
        self.assertEqual(accepted["total"]["accepted"], 20)
        self.assertLessEqual(accepted["accepted"], 20)
        self.assertGreaterEqual(accepted["total"]["by_class"]["2xx"], 19)

    def test_metrics_of_a_script(self):
        server = self.start("app.metrics '/metrics'\n"
                            "local orders = app.counter('orders_total', 'Orders.', { 'kind', 'country' })\n"
                            "local queue = app.gauge('queue', 'Jobs.')\n"
                            "local sizes = app.histogram('sizes_bytes', 'Sizes.', {}, { 10, 100 })\n"
                            "app.get('/', function() orders:inc() end)\n"
                            "app.get('/good', function()\n"
                            "    orders:inc(2, 'book', 'de') orders:inc(nil, 'book', 7)\n"
                            "    queue:set(5) queue:inc(-2) sizes:observe(10)\n"
                            "    return 'hi'\n"
                            "end)\n")
        self.assertEqual(samples(ask(server.address, "/metrics")[1])["queue"], 0)
        ask(server.address, "/good")
        values = samples(ask(server.address, "/metrics")[1])
        self.assertEqual(values['orders_total{kind="book",country="de"}'], 2)
        self.assertEqual(values['orders_total{kind="book",country="7"}'], 1)
        self.assertEqual(values["queue"], 3)
        self.assertEqual(values['sizes_bytes_bucket{le="10.0"}'], 1)
        self.assertIn(" 500 ", ask(server.address, "/")[0])
        evtest.wait_until(lambda: any("metric:inc: orders_total has 2 labels, whose values are expected after the "
                                      "number; got 0" in line
                                      for line in server.lines), "the error")

    def test_metrics_survive_a_reload(self):
        server = self.start("app.metrics '/metrics'\nlocal hits = app.counter('hits_total', 'Hits.')\n"
                            "app.get('/a', function() hits:inc() return 'hi' end)\n")
        ask(server.address, "/a")
        self.write("site.lua", HEAD + "app.metrics '/metrics'\nlocal hits = app.counter('hits_total', 'Hits.')\n"
                   "app.get('/b', function() return 'hi' end)\n"
                   "app.get('/a', function() hits:inc() return 'ho' end)\n")
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: ask(server.address, "/a")[1] == "ho", "the reload")
        ask(server.address, "/b")
        values = samples(ask(server.address, "/metrics")[1])
        of_a = values['evserve_requests_total{method="GET",route="/a",code="200"}']
        self.assertGreaterEqual(of_a, 2)
        self.assertEqual(values["hits_total"], of_a)
        self.assertEqual(values['evserve_requests_total{method="GET",route="/b",code="200"}'], 1)
        success = 'evserve_reloads_total{result="success"}'
        evtest.wait_until(lambda: samples(ask(server.address, "/metrics")[1])[success] == 1, "the count of reloads")
        self.write("site.lua", "broken(")
        server.process.send_signal(signal.SIGHUP)
        evtest.wait_until(lambda: samples(ask(server.address, "/metrics")[1])["evserve_last_reload_successful"] == 0,
                          "the reload that fails")
        values = samples(ask(server.address, "/metrics")[1])
        self.assertEqual(values['evserve_reloads_total{result="failure"}'], 1)

    @unittest.skipUnless(PROMTOOL, "promtool is not installed (Debian: prometheus)")
    def test_promtool_finds_nothing(self):
        server = self.start("app.metrics('/metrics', { hosts = { 'example.org' } })\n"
                            "local orders = app.counter('orders_total', 'Orders.', { 'kind' })\n"
                            "local sizes = app.histogram('sizes_bytes', 'Sizes.', {}, { 10, 100 })\n"
                            "app.get('/', function() orders:inc(1, 'a\"\\\\b\\n') sizes:observe(7) return 'hi' end)\n")
        ask(server.address, "/", "Host: example.org\r\n")
        text = ask(server.address, "/metrics")[1]
        self.assertIn('host="example.org"', text)
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))


if __name__ == "__main__":
    side_by_side.main()
