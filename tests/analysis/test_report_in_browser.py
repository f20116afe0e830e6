"""A real browser opens the report: it fetches nothing, complains of nothing, fits a phone."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
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
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + 300
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
        while (answer := json.loads(self.socket.recv(timeout=300))).get("id") != self.calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=300)))

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event for event in self.events if event["method"] in kinds]

    def screen(self, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[feature])

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "ArrowRight": 39, "End": 35}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=300)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an experiment on three tasks, one with the table of the LLM's share."""
    from llm4teach.analysis.comparisons.page import write_findings_page

    from .test_comparison import findings, with_shares

    path = tmp_path_factory.mktemp("compared") / "comparison.html"
    found = findings("levels")
    shared = replace(with_shares(), task="ColoredDoorKey")
    write_findings_page(replace(found, comparisons=[*found.comparisons, shared]), path)
    return path


@pytest.fixture(params=["report", "compared"])
def page(request: pytest.FixtureRequest) -> Path:
    """Every kind of page."""
    path: Path = request.getfixturevalue(request.param)
    return path


def test_nothing_is_fetched_and_nothing_complains(browser: Browser, page: Path) -> None:
    browser.open(page)
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    outside = [url for url in requests if not url.startswith(("data:", page.as_uri()))]
    assert requests and outside == []
    assert browser.complaints() == []


def test_every_picture_is_there(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate("document.compatMode") == "CSS1Compat"
    sizes = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(sizes) == (4 if page.name == "report.html" else 0) and all(s > 0 for s in sizes)
    boxes = "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
    heights = browser.evaluate(boxes)
    assert len(heights) > 5 and all(height > 50 for height in heights)


def test_links_lead_somewhere(browser: Browser, page: Path) -> None:
    browser.open(page)
    links = browser.evaluate("[...document.links].map(l => l.getAttribute('href'))")
    assert links
    for link in links:
        browser.evaluate(f"document.querySelector('a[href=\"{link}\"]').click()")
        top = f"document.querySelector('{link}').getBoundingClientRect().top"
        assert browser.evaluate("location.hash") == link
        assert browser.evaluate(f"{top} < innerHeight"), f"{link} is not shown"


@pytest.mark.parametrize("width", [360, 390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_follows_the_scheme(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.screen(width, scheme)
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    style = "getComputedStyle(document.body)"
    colors = browser.evaluate(f"[{style}.color, {style}.backgroundColor]")
    ink, paper = (sum(map(int, c.strip("rgb()").split(","))) for c in colors)
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 400


def test_a_film_is_stepped_through_with_the_keyboard(browser: Browser, report: Path) -> None:
    browser.screen(390, "light")
    browser.open(report)
    film = "document.querySelector('[data-film]')"

    def shown(part: str) -> str:
        words: str = browser.evaluate(f"{film}.querySelector('[data-part={part}]').textContent")
        return words

    def place() -> list[str]:
        where = f"{film}.querySelector('[data-part=sheet]').style"
        found: list[str] = browser.evaluate(f"[{where}.left, {where}.top]")
        return found

    assert shown("step").startswith("Step 0 of ") and place() == ["0%", "0%"]
    assert shown("state").startswith("Agent sees") and "Teacher: " in shown("plans")
    assert "14%" in shown("choices"), "the student is as likely to do one thing as another"
    browser.evaluate(f"{film}.querySelector('[data-part=slider]').focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    assert shown("step").startswith("Step 3 of ") and place() == ["-300%", "0%"]
    browser.evaluate(f"{film}.querySelector('[data-part=back]').focus()")
    browser.press("Enter")
    assert shown("step").startswith("Step 2 of ")
    browser.evaluate(f"{film}.querySelector('[data-part=slider]').focus()")
    browser.press("End")
    assert shown("step").endswith(": success") and shown("plans") == ""
    browser.evaluate(f"{film}.querySelector('[data-part=play]').focus()")
    browser.press("Enter")
    assert shown("play") == "Pause" and shown("step").startswith("Step 0 of ")
    deadline = time.monotonic() + 300
    while shown("step").startswith("Step 0 of "):
        assert time.monotonic() < deadline, "it does not play"
        time.sleep(0.1)
    assert browser.complaints() == []


def test_in_print_a_strip_stands_for_the_film(browser: Browser, report: Path) -> None:
    browser.open(report)
    hidden = "[...document.querySelectorAll('.still, .player')].map(e => e.offsetHeight > 0)"
    assert browser.evaluate(hidden) == [True, False] * 2
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(hidden) == [False, True] * 2
