"""Chromium without a window, for tests of pages. It is driven over its DevTools socket with ws_client.

    with browser.running() as chromium:          # skips the test where there is none
        tab = chromium.open("http://127.0.0.1:8080/")
        tab.wait_for("document.querySelector('h1')")
        assert tab.run("1 + 1") == 2
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import evtest
import ws_client


class Tab:
    def __init__(self, chromium, session):
        self.chromium = chromium
        self.session = session

    def call(self, method, **parameters):
        return self.chromium.call(method, self.session, **parameters)

    def run(self, script):
        """The value of an expression of JavaScript; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, condition):
        evtest.wait_until(lambda: self.run(f"!!({condition})"), condition)

    def screenshot(self, path, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        time.sleep(0.5)
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


class Chromium:
    def __init__(self, socket):
        self.socket = socket
        self.number = 0
        self.errors = []  # what pages have complained of

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.receive())
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(answer["params"])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url=url)["targetId"]
        tab = Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        tab.call("Runtime.enable")
        tab.wait_for("location.protocol !== 'about:' && document.readyState === 'complete'")
        return tab


@contextlib.contextmanager
def running():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        raise unittest.SkipTest("there is no Chromium")
    with tempfile.TemporaryDirectory(prefix="ev", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
             f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            for line in process.stderr:
                match = re.search(r"DevTools listening on ws://([^/]+):(\d+)(/\S+)", line)
                if match:
                    break
            else:
                raise unittest.SkipTest("Chromium does not start here")
            host, port, path = match[1], int(match[2]), match[3]
            with ws_client.connect((host, port), path, host=f"{host}:{port}") as socket:
                yield Chromium(socket)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own group, made for it
            process.wait()
            process.stderr.close()
