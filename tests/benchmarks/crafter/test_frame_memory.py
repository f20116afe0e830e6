"""The benchmark of a memory for Crafter's student: what is compared is what it says."""

from __future__ import annotations

import importlib
import importlib.util
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm4teach.envs.crafter.symbols import ACHIEVEMENTS, ACTIONS, DONE, PIXELS, RECORD

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "crafter"
EPISODES = [(0, 20), (20, 21), (21, 58)]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("frame_memory")


@pytest.fixture
def records() -> np.ndarray[Any, Any]:
    """Random records of the steps of `EPISODES`, uint8 (58, RECORD)."""
    records = np.random.default_rng(0).integers(0, 256, (EPISODES[-1][1], RECORD), np.uint8)
    records[:, PIXELS + DONE : PIXELS + DONE + len(ACHIEVEMENTS)] %= 2
    return records


def steps_of(benchmark: Any, records: np.ndarray[Any, Any]) -> Any:
    firsts = torch.cat([torch.full((end - start,), start) for start, end in EPISODES])
    advice = torch.softmax(torch.randn(len(firsts), len(ACTIONS)), 1)
    return benchmark.Steps(*benchmark.read(records), advice, firsts)


def of_form(benchmark: Any, name: str) -> Any:
    """A student of random weights, also those that a grown one starts without."""
    torch.manual_seed(0)
    student = benchmark.MemoryStudent(benchmark.FORMS[name])
    torch.nn.init.normal_(student.policy.weight)
    return student


@pytest.mark.parametrize("name", ["one frame", "four frames", "GRU"])
def test_a_student_plays_with_the_memory_that_it_was_trained_with(
    benchmark: Any, records: np.ndarray[Any, Any], name: str
) -> None:
    """Two episodes side by side, and a third that starts where the shorter one ended."""
    student, steps = of_form(benchmark, name), steps_of(benchmark, records)
    play, running = benchmark.StudentPlay(student, 2), {0: 0, 1: 20}
    acted = torch.zeros(len(records), len(ACTIONS))
    for t in range(38):
        running = {0: t if t < 20 else -1, 1: 20 + t}
        envs = np.array([env for env, step in running.items() if step >= 0])
        places = [running[int(env)] for env in envs]
        started = np.array([place in (0, 20, 21) for place in places])
        probs, _ = play.act(records[places], envs, started)
        acted[places] = torch.from_numpy(probs)
    for start, end in EPISODES:
        places = torch.arange(start, end)[:, None]
        images = steps.images(places, student.form.frames)
        with torch.no_grad():
            logits, _ = student(images, steps.done[places], torch.zeros(1, 1, benchmark.HIDDEN))
        torch.testing.assert_close(acted[start:end], logits[:, 0].softmax(-1))


def test_students_start_alike_whatever_they_read(
    benchmark: Any, records: np.ndarray[Any, Any]
) -> None:
    common, steps = of_form(benchmark, "one frame"), steps_of(benchmark, records)
    places, hidden = torch.arange(21, 58)[:, None], torch.zeros(1, 1, benchmark.HIDDEN)
    expected, _ = common(steps.images(places, 1), steps.done[places], hidden)
    for form in benchmark.FORMS.values():
        student = benchmark.grown(common, form)
        logits, _ = student(steps.images(places, form.frames), steps.done[places], hidden)
        torch.testing.assert_close(logits, expected)


def test_sequences_lead_through_each_episode_in_order(benchmark: Any) -> None:
    """Each lane reads whole episodes, and marks the first step of each."""
    episodes = {start: list(range(start, end)) for start, end in EPISODES}
    walked: list[list[int]] = [[] for _ in range(benchmark.LANES)]
    finished = 0
    for places, counts, starting in islice(
        benchmark.sequences(EPISODES, np.random.default_rng(0)), 20
    ):
        for lane, walk in enumerate(walked):
            if starting[lane]:
                finished += bool(walk)
                assert not walk or walk == episodes[walk[0]]
                walk.clear()
            walk += places[counts[:, lane], lane].tolist()
    assert finished > 20


@pytest.mark.skipif(
    importlib.util.find_spec("craftax") is None,
    reason="craftax is not installed: pip install 'llm4teach[crafter]'",
)
@pytest.mark.timeout(1800)  # the first test of a machine compiles the engine
@pytest.mark.slow
def test_it_prints_a_row_for_each_student(
    benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(["--steps", "1024", "--updates", "20", "--seeds", "1", "--episodes", "2"])
    text = capsys.readouterr().out
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == list(benchmark.FORMS)
    assert all(len(row) == len(rows[0]) for row in rows)
