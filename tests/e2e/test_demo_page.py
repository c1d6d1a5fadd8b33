"""The start page in a browser: live numbers, and a chat in two tabs. Skipped where there is no Chromium."""

import unittest

import browser
import evtest
from lua_site import EVSERVE, ROOT

SAY = """document.getElementById("chat-text").value = %r;
         document.getElementById("chat-form").requestSubmit()"""


class DemoPage(unittest.TestCase):
    def test_numbers_and_chat(self):
        with browser.running() as chromium, \
                evtest.Program(EVSERVE, "--listen", "127.0.0.1:0", "scripts/site.lua", cwd=ROOT) as server:
            one = chromium.open("http://{}:{}/".format(*server.address))
            one.wait_for("document.getElementById('panel').dataset.state === 'on'")
            two = chromium.open("http://{}:{}/".format(*server.address))
            for tab in one, two:
                tab.wait_for("document.getElementById('chat-panel').dataset.state === 'on'")
            one.run(SAY % "hello from one")
            two.run(SAY % "<b>hello</b> from two")
            for tab in one, two:
                for text in "hello from one", "<b>hello</b> from two":
                    tab.wait_for(f"document.getElementById('chat-lines').textContent.includes({text!r})")
            self.assertEqual(chromium.errors, [])


if __name__ == "__main__":
    unittest.main()
