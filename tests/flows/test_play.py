"""`llm4teach play`: what is drawn is what was seen, and what is played is what was asked for."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from minigrid.core.constants import IDX_TO_OBJECT
from toy_habitat import LENGTH, write_interpreter

from llm4teach.envs.habitat.client import PYTHON, close_idle
from llm4teach.envs.registry import get_task
from llm4teach.flows.cli.main import main
from llm4teach.flows.cli.terminal import carried, draw, draw_map

TASK = "SimpleDoorKey"
VICUNA = ("--teacher", "recorded/vicuna-33b")


def test_the_map_shows_what_was_seen_and_nothing_else() -> None:
    env = get_task(TASK).make_env()
    observation, _ = env.reset(seed=3)
    for action in (1, 2, 2, 0, 2, 3, 2):
        lines = draw_map(observation).plain.splitlines()
        assert len(lines) == 10 and {len(line) for line in lines} == {20}
        for x, y in np.ndindex(10, 10):
            sign, name = lines[y][2 * x], IDX_TO_OBJECT[int(observation[x, y, 0])]
            if observation[x, y, 3] != 4:
                assert sign == "▶▼◀▲"[observation[x, y, 3]]
            else:
                expected = {"unseen": "░", "empty": "·", "wall": "█", "key": "k", "door": "D"}
                assert sign == expected[name]
        observation, *_ = env.step(action)


def test_what_is_carried_stands_under_the_agent() -> None:
    observation = np.zeros((3, 3, 4), np.uint8)
    observation[..., 3] = 4
    observation[1, 1] = (5, 4, 0, 2)  # a yellow key, facing west
    assert carried(observation) == "yellow key"
    observation[1, 1, 0] = 1
    assert carried(observation) == "nothing"


def test_the_teacher_plays_and_its_advice_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("play", "--task", TASK, *VICUNA, "--agent", "teacher", "--episodes", "2")
    assert main([*words, "--workspace", str(tmp_path), "--delay", "0"]) == 0
    first = capsys.readouterr().out
    assert "2 of 2 solved by teacher" in first and "seed 1, solved after" in first
    assert "Agent sees <" in first and "holds: " in first and "→ forward" in first
    assert "% go to key > pick up key" in first or "% explore" in first
    assert main([*words, "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out == first, "the same seed, the same episodes"


def test_a_random_policy_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("play", "--agent", "random", "--no-advice", "--workspace", str(tmp_path))
    assert main([*words, "--delay", "0"]) == 0
    said = capsys.readouterr().out
    assert "solved by random" in said and "teacher" not in said and "14%" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--agent", "random"), ("--agent", "human")])
def test_a_task_without_maps_is_played_as_text(
    words: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(PYTHON, str(write_interpreter(tmp_path)))
    monkeypatch.setattr("llm4teach.flows.cli.terminal.read_key", lambda: "0")
    monkeypatch.setattr("llm4teach.flows.cli.terminal.single_keys", nullcontext)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    more = ("--task", "HabitatNavPick", "--no-advice", "--delay", "0", "--seed", "2")
    try:
        status = main(["play", *words, *more, "--workspace", str(tmp_path)])
    finally:
        close_idle()
    shown = capsys.readouterr()
    assert (status, shown.err) == (0, "")
    assert f"1 of 1 solved by {words[1]}, {LENGTH:.1f} steps" in shown.out
    assert "holds: " not in shown.out


def test_what_can_be_drawn_is_drawn() -> None:
    image = np.array([[0, 255], [128, 60]], np.uint8)
    shades = draw(image)
    assert shades is not None and shades.plain == "  ██\n▒▒░░"
    assert draw(np.zeros(30, np.uint8)) is None
    assert draw(np.zeros((8, 8, 3), np.uint8)) is None
    assert draw(np.full((3, 3, 4), 200, np.uint8)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "human"), "--agent human needs a terminal"),
        (("--agent", "teacher", "--no-advice"), "leave --no-advice out"),
        (("--agent", "student", "--no-advice"), "no student for SimpleDoorKey"),
        (("--delay", "soon"), "--delay is 'soon': Input should be a valid number"),
    ],
)
def test_what_cannot_be_played_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["play", *words, "--workspace", str(tmp_path)]) != 0
    assert said in capsys.readouterr().err


def test_a_person_plays_with_keys(tmp_path: Path) -> None:
    """In a real terminal: two turns to the right, as the teacher says till it is over."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "llm4teach", "play", "--agent", "human"),
            *(*VICUNA, "--workspace", str(tmp_path), "--seed", "1"),
        ],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    said = ""

    def until(*words: str) -> None:
        nonlocal said
        while not any(word in said for word in words):
            readable, _, _ = select.select([ours], [], [], 60)
            assert readable, said[-2000:]
            said += os.read(ours, 65536).decode(errors="ignore")

    until("step 0,")
    os.write(ours, b"\x1b[C")
    until("step 1,")
    os.write(ours, b"\x1b[C")
    until("step 2,")
    for step in range(3, 150):
        os.write(ours, b"a")
        until(f"step {step},", "solved after")
        if "solved after" in said:
            break
    until("1 of 1 solved by human")
    assert child.wait(timeout=300) == 0
    os.close(ours)
