"""A teacher whose replies are invalid: the run stops before it trains, and can be repaired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import Scripted, ScriptedServer, chat, good

from llm4teach.flows.cli.main import main

pytestmark = pytest.mark.extended

CUT = "<think>\nIt should look like Action: {go to key, pick up key}. But nothing is seen, so"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(lambda body: Scripted(chat(CUT, body.get("n", 1), finish="length")))
    yield server
    server.close()


def test_it_stops_before_it_trains_until_the_server_is_fixed(
    server: ScriptedServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = ["--teacher", "openai", "--teacher.base-url", server.url, "--teacher.n-samples", "2"]
    teacher += ["--teacher.model", "m", "--workspace", str(tmp_path / "w")]
    assert main(["collect", "--collect.steps", "600", *teacher]) == 0
    capfd.readouterr()

    assert main(["label", *teacher]) == 1
    said = capfd.readouterr().err
    states = len(server.bodies)
    assert f"{2 * states} of {2 * states} replies (100%) are invalid, the first: " in said
    assert f"{2 * states} replies reached max_tokens (200)" in said
    assert f"only 0 of {states} questions (0%) have a valid answer" in said
    assert "label --retry-invalid" in said and "Traceback" not in said
    assert main(["pretrain", "--pretrain.epochs", "1", *teacher]) == 1
    assert f"only 0 of {states} questions (0%) have a valid answer" in capfd.readouterr().err

    server.reply = good
    assert main(["label", *teacher]) == 1, "they are not asked again on their own"
    assert len(server.bodies) == states
    assert main(["label", "--dry-run", "--retry-invalid", *teacher]) == 0
    assert f"{states} (asked again)" in capfd.readouterr().out
    assert main(["label", "--retry-invalid", *teacher]) == 0
    assert len(server.bodies) == 2 * states
    assert main(["pretrain", "--pretrain.epochs", "1", *teacher]) == 0
    assert "no valid advice" not in capfd.readouterr().out


def test_a_threshold_of_0_trains_anyway(server: ScriptedServer, tmp_path: Path) -> None:
    """As far as there is any advice: here in half of the states, which is enough by default."""
    asked: list[str] = []

    def half(body: dict[str, object]) -> Scripted:
        asked.append(str(body["messages"]))
        is_good = len(asked) % 3 == 0
        return good(body) if is_good else Scripted(chat("I cannot say.", 2))

    server.reply = half
    teacher = ["--teacher", "openai", "--teacher.base-url", server.url, "--teacher.n-samples", "2"]
    teacher += ["--teacher.model", "m", "--workspace", str(tmp_path / "w"), "--quiet"]
    assert main(["collect", "--collect.steps", "600", *teacher]) == 0
    assert main(["label", *teacher, "--teacher.max-in-flight", "1"]) == 1
    assert main(["label", *teacher, "--teacher.min-valid-share", "0"]) == 0
    assert main(["pretrain", "--pretrain.epochs", "1", *teacher]) == 1
    relaxed = ["--teacher.min-valid-share", "0.2"]
    assert main(["pretrain", "--pretrain.epochs", "1", *teacher, *relaxed]) == 0
