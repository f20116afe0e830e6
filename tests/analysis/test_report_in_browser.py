"""A real browser opens the report: it fetches nothing, complains of nothing, fits a phone."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")


class Browser:
    """One tab, steered over the DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        client = pytest.importorskip("websockets.sync.client", reason="needs websockets")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        self.process = subprocess.Popen(
            [str(BROWSER), *options, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + 60
        while not (port_file.exists() and len(port_file.read_text().split()) == 2):
            assert self.process.poll() is None and time.monotonic() < deadline, "no browser"
            time.sleep(0.1)
        port, path = port_file.read_text().split()
        self.socket = client.connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        self.calls, self.events = 0, list[dict[str, Any]]()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    session = ""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters}
        self.socket.send(
            json.dumps(message | ({"sessionId": self.session} if self.session else {}))
        )
        while (answer := json.loads(self.socket.recv(timeout=60))).get("id") != self.calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=60)))

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"]["value"]

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def test_nothing_is_fetched_and_nothing_complains(browser: Browser, report: Path) -> None:
    browser.open(report)
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    outside = [url for url in requests if not url.startswith(("data:", report.as_uri()))]
    assert requests and outside == []
    complaints = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in complaints] == []


def test_every_picture_is_there(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.evaluate("document.compatMode") == "CSS1Compat"
    sizes = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(sizes) == 4 and all(size > 0 for size in sizes)
    boxes = "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
    assert all(height > 50 for height in browser.evaluate(boxes))


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_follows_the_scheme(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 500,
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", media="screen", features=[feature])
    browser.open(report)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    style = "getComputedStyle(document.body)"
    colours = browser.evaluate(f"[{style}.color, {style}.backgroundColor]")
    ink, paper = (sum(map(int, c.strip("rgb()").split(","))) for c in colours)
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 400
