"""`llm4teach play`: what is drawn is what was seen, and what is played is what was asked for."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from minigrid.core.constants import IDX_TO_OBJECT

from llm4teach.envs.registry import get_task
from llm4teach.flows.cli.grid_view import carried, draw_map
from llm4teach.flows.cli.main import main

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "human"), "--agent human needs a terminal"),
        (("--agent", "teacher", "--no-advice"), "leave --no-advice out"),
        (("--agent", "student", "--no-advice"), "no student for SimpleDoorKey"),
        (("--delay", "soon"), "'soon' is not a number of seconds"),
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
    assert child.wait(timeout=30) == 0
    os.close(ours)
