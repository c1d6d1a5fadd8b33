"""How Lua sites end, by a stop or a reload: who learns of it and when, what is waited for, and what is cut."""

import signal
import unittest

import evtest
import side_by_side
from lua_site import EVSERVE, HEAD, Client, script

# A stream that ends when the script hears that it should; "last" tells what it heard.
SITE = """
local stopping = false
app.on("stopping", function() stopping = true; app.log("info", "stopping") end)
app.on("stop", function() app.log("info", "stop") end)
app.get("/follow", function()
    return 200, function(out)
        repeat out:write("on\\n"); app.sleep "20ms" until stopping
        out:write("last\\n")
        app.log("info", "followed")
    end
end)
app.get("/word", function() return "WORD" end)
"""


def serve(path):
    return evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", path)


def replace(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD + text)


def wait_for(server, text, count=1):
    evtest.wait_until(lambda: sum(text in line for line in server.lines) >= count, f"log line {text!r}")


def said(server):
    """What scripts have logged, in order."""
    return [line.split(" ", 2)[2] for line in server.lines if " info " in line or " warn " in line or " error " in line]


class Stop(unittest.TestCase):
    def test_stopping_comes_first_so_streams_end_by_themselves_and_stop_comes_last(self):
        with script(SITE) as path:
            server = serve(path)
            with Client(server) as client:
                client.send("GET", "/follow")
                self.assertEqual(client.file.readline(), b"HTTP/1.1 200 OK\r\n")
                self.assertEqual(server.stop(), 0)
                self.assertTrue(client.file.read().endswith(b"5\r\nlast\n\r\n0\r\n\r\n"))
            self.assertEqual(said(server), ["stopping", "followed", "stop"])

    def test_deferred_work_and_timers_that_wait_are_finished(self):
        with script('app.on("stop", function() app.log("info", "stop") end)\n'
                    'app.post("/", function()\n'
                    '    app.defer(function() app.sleep "300ms" app.log("info", "first") end)\n'
                    '    app.defer(function() app.sleep "100ms" app.log("info", "second") end)\n'
                    '    return 202\n'
                    'end)\n'
                    'app.after(1, function() app.log("info", "begun") app.sleep "700ms" app.log("info", "timer") end)\n'
                    ) as path:
            server = serve(path)
            wait_for(server, "begun")
            with Client(server) as client:
                self.assertEqual(client.ask("POST", "/").status, 202)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(said(server), ["begun", "first", "second", "timer", "stop"])

    def test_what_sleeps_beyond_the_deadline_is_cut_at_once_with_its_place(self):
        with script('app.post("/", function()\n'
                    '    app.defer(function() app.sleep "1h" end)\n'
                    '    app.defer(function() end)\n'
                    '    return 202\n'
                    'end)\n'
                    'app.after(1, function()\n'
                    '    app.log("info", "begun")\n'
                    '    app.sleep "1h"\n'
                    'end)\n'
                    'app.on("stop", function() app.log("info", "stop") end)\n') as path:
            server = serve(path)
            wait_for(server, "begun")
            with Client(server) as client:
                self.assertEqual(client.ask("POST", "/").status, 202)
            self.assertEqual(server.stop(), 0)
            why = "where it waits, because the script ends"
            self.assertEqual(sorted(said(server)[1:3]), [
                f"app.defer of the route at {path}:2: cut at {path}:3, {why}; 1 more of that request have not begun",
                f"timer: cut at {path}:9, {why}"])
            self.assertEqual(said(server)[3:], ["stop"])

    def test_second_signal_cuts_what_would_go_on(self):
        with script('app.after(1, function()\n'
                    '    app.log("info", "begun")\n'
                    '    while true do app.sleep "50ms" end\n'
                    'end)\n'
                    'app.on("stopping", function() app.log("info", "stopping") end)\n') as path:
            server = serve(path)
            wait_for(server, "begun")
            server.process.send_signal(signal.SIGTERM)
            wait_for(server, "stopping")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(said(server), [
                "begun", "stopping", f"timer: cut at {path}:4, where it waits, because the script ends"])

    def test_many_that_are_cut_take_a_bounded_number_of_lines(self):
        with script('for i = 1, 20 do app.after(1, function() app.sleep "1h" end) end\n'
                    'app.after("50ms", function() app.log("info", "begun") end)\n') as path:
            server = serve(path)
            wait_for(server, "begun")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(len([line for line in said(server) if line.startswith("timer: cut")]), 16)
            self.assertEqual(said(server)[-1], "4 more are cut")

    def test_failing_stopping_function_is_logged_and_does_not_stop_the_others(self):
        with script('app.on("stopping", function() error("no end") end)\n'
                    'app.on("stopping", function() while true do end end)\n'
                    'app.on("stopping", function() app.log("info", "the last") end)') as path:
            server = serve(path)
            self.assertEqual(server.stop(), 0)
            log = "\n".join(said(server))
            self.assertRegex(log, r"(?s):2: no end.*:3: stopped: .*the last$")

    def test_timer_that_stopping_sets_has_its_run(self):
        with script('app.on("stopping", function()\n'
                    '    app.after(0, function() app.sleep "100ms" app.log("info", "saved") end)\n'
                    'end)\n') as path:
            server = serve(path)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(said(server), ["saved"])

    def test_every_thread_hears_of_it(self):
        with script('app.on("stopping", function() app.log("info", "stopping") end)\n'
                    'app.on("stop", function() app.log("info", "stop") end)\n') as path:
            server = evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "--reactors", "2", path)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(sorted(said(server)), ["stop", "stop", "stopping", "stopping"])


class Reload(unittest.TestCase):
    def test_old_script_hears_stopping_at_once_and_stop_after_its_last_request(self):
        with script(SITE.replace("WORD", "old")) as path, serve(path) as server:
            with Client(server) as follower, Client(server) as other:
                follower.send("GET", "/follow")
                self.assertEqual(follower.file.readline(), b"HTTP/1.1 200 OK\r\n")
                self.assertEqual(other.ask("GET", "/word").text, "old")
                replace(path, 'app.get("/word", function() return "new" end)\n')
                server.process.send_signal(signal.SIGHUP)
                while follower.file.readline() != b"\r\n":
                    pass
                content, is_whole = follower.read_chunks()
                self.assertTrue(is_whole and content.endswith(b"on\nlast\n"), content)
                wait_for(server, " info stop", 2)
                self.assertEqual([line for line in said(server) if "reload" not in line][:3],
                                 ["stopping", "followed", "stop"])
                self.assertEqual(other.ask("GET", "/word").text, "new")
                self.assertEqual(follower.ask("GET", "/word").text, "new")  # the stream's end was a proper one

    def test_what_the_old_script_has_begun_is_finished_before_its_stop(self):
        with script('app.on("stop", function() app.log("info", "stop") end)\n'
                    'app.after(1, function() app.log("info", "begun") app.sleep "300ms" app.log("info", "timer") end)\n'
                    ) as path, serve(path) as server:
            wait_for(server, "begun")
            replace(path, "")
            server.process.send_signal(signal.SIGHUP)
            wait_for(server, " info stop")
            self.assertEqual([line for line in said(server) if "reload" not in line], ["begun", "timer", "stop"])

    def test_stop_of_the_server_stops_scripts_that_still_serve_an_old_request(self):
        with script(SITE.replace("until stopping", "until false") +
                    'app.on("stopping", function() app.log("info", "old stopping") end)\n'
                    'app.on("stop", function() app.log("info", "old stop") end)\n') as path:
            server = serve(path)
            with Client(server) as client:
                client.send("GET", "/follow")
                client.file.readline()
                replace(path, 'app.on("stop", function() app.log("info", "new stop") end)\n')
                server.process.send_signal(signal.SIGHUP)
                wait_for(server, "old stopping")
                server.process.send_signal(signal.SIGTERM)
                client.close()
                self.assertEqual(server.stop(), 0)
            self.assertEqual(sum("old stop" == line for line in said(server)), 1)
            self.assertEqual(sum("old stopping" == line for line in said(server)), 1)
            self.assertEqual(sum("new stop" == line for line in said(server)), 1)


if __name__ == "__main__":
    side_by_side.main()
