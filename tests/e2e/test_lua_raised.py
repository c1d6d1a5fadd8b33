"""Errors that are answers: app.error in handlers, middleware, streams and timers."""

import unittest

from lua_site import SiteCase


class Raised(SiteCase):
    SCRIPT = r"""
    app.use(function(req, nxt)
        if req.headers["x-refuse"] then app.error(401, "who are you?\n", { ["www-authenticate"] = "Basic" }) end
        if req.headers["x-catch"] then
            local ok, err = pcall(nxt)
            if not ok then return 200, { status = err.status, body = err.body, text = tostring(err) } end
        end
        local res = nxt()
        res.headers["x-through"] = "yes"
        return res
    end)
    local function find(id) return id == "7" and "seven\n" or app.error(404, "no such thing\n") end
    app.get("/things/:id", function(req) return find(req.params.id) end)
    app.get("/status", function() app.error(410) end)
    app.get("/table", function() app.error(422, { field = "name" }) end)
    app.get("/again", function() local ok, err = pcall(app.error, 409, "x\n") error(err) end)
    app.get("/late", function() app.sleep(1) app.error(503, "later\n") end)
    app.get("/cleared", function() return "x", { ["x-a"] = "1", ["bad name"] = "2" } end)
    app.get("/stream", function() return function(out) app.error(404, "not begun\n") end, { ["x-a"] = "1" } end)
    app.get("/streaming", function() return function(out) out:write("x") app.sleep(1) app.error(404) end end)
    app.get("/badheader", function() app.error(404, "x", { ["bad name"] = "x" }) end)
    app.get("/status200", function() app.error(200) end)
    app.get("/timer", function() app.after(0, function() app.error(404, "nobody to answer") end) return "set\n" end)
    app.get("/fault", function() error("fault") end)
    app.on("error", function(req, err)
        if req.path == "/fault" then app.error(418, "raised in turn\n") end
        return 500, "handled\n"
    end)
    """

    def test_it_is_the_answer(self):
        self.assertEqual(self.ask("/things/7").text, "seven\n")
        answer = self.ask("/things/8")
        self.assertEqual((answer.status, answer.text), (404, "no such thing\n"))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(self.ask("/status").text, "410 Gone\n")
        self.assertEqual(self.ask("/table").json, {"field": "name"})
        self.assertEqual(self.ask("/late").text, "later\n")
        self.assertEqual(self.log_count("no such thing|GET /late"), 0)

    def test_middleware_may_raise_it_with_fields(self):
        answer = self.ask("/things/7", headers=[("X-Refuse", "1")])
        self.assertEqual((answer.status, answer.text), (401, "who are you?\n"))
        self.assertEqual(answer.headers["www-authenticate"], "Basic")

    def test_it_passes_through_middleware_and_can_be_caught_there(self):
        self.assertNotIn("x-through", self.ask("/things/8").headers)
        self.assertEqual(self.ask("/things/8", headers=[("X-Catch", "1")]).json,
                         {"status": 404, "body": "no such thing\n", "text": "404: no such thing"})

    def test_who_caught_it_may_hand_it_on(self):
        answer = self.ask("/again")
        self.assertEqual((answer.status, answer.text), (409, "x\n"))

    def test_a_stream_that_has_not_begun_becomes_the_answer(self):
        answer = self.ask("/stream")
        self.assertEqual((answer.status, answer.text), (404, "not begun\n"))
        self.assertNotIn("x-a", answer.headers)

    def test_in_a_stream_that_has_begun_it_is_an_error_like_others(self):
        self.check_cut("/streaming")
        self.wait_for_log(r"GET /streaming \(route at site\.lua:\d+\): 404")

    def test_in_a_timer_it_is_an_error_like_others(self):
        self.ask("/timer")
        self.wait_for_log(r"timer: 404: nobody to answer")

    def test_mistakes_in_it_are_faults(self):
        for target in ("/badheader", "/status200"):
            self.assertEqual(self.ask(target).text, "handled\n")
        self.wait_for_log(r"app\.error: the status must be a whole number from 400 to 599, not 200")
        self.wait_for_log(r'header "bad name"')

    def test_the_error_function_may_raise_it(self):
        answer = self.ask("/fault")
        self.assertEqual((answer.status, answer.text), (418, "raised in turn\n"))
        self.wait_for_log("fault")


if __name__ == "__main__":
    unittest.main()
