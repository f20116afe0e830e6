"""Labeling into an object store: shared, killed at any moment, and nothing paid twice for long."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import labeling_children as children
import pytest
from counting_server import counting_server, questions_by_process

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.schema import ADVICE
from llm4teach.datasets.storage.parquet import part_paths, read_parts
from llm4teach.datasets.storage.paths import StoragePath, storage_path

pytestmark = pytest.mark.extended

LABEL = "import labeling_children as c, sys; c.label_through_server(*sys.argv[1:3], "


@pytest.fixture
def place(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoragePath:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(Path(children.__file__).parent), prepend=":")
    return storage_path(f"s3://bucket/{uuid.uuid4().hex}")


def labeling(
    place: StoragePath, url: str, states: str, lease_s: float = 3
) -> subprocess.Popen[bytes]:
    code = f"{LABEL}{states}, lease_s={lease_s}, commit_s=0.2)"
    return subprocess.Popen([sys.executable, "-c", code, str(place), url])


def stored_keys(place: StoragePath) -> list[str]:
    keys: list[str] = read_parts(place / "advice", ADVICE).column("state_key").to_pylist()
    return keys


def test_two_processes_ask_nothing_twice(place: StoragePath, tmp_path: Path) -> None:
    with counting_server(tmp_path / "asked.log", delay_ms=20) as url:
        halves = ("c.in_few_partitions(500)[:400]", "c.in_few_partitions(500)[100:]")
        workers = [labeling(place, url, half, lease_s=60) for half in halves]
        assert [worker.wait(120) for worker in workers] == [0, 0]
    asked = questions_by_process(tmp_path / "asked.log")
    wanted = sorted(state.key for state in children.in_few_partitions(500))
    assert sorted(key for keys in asked.values() for key in keys) == wanted
    assert len(asked) == 2 and min(map(len, asked.values())) > 50, "both did a fair share"
    assert sorted(stored_keys(place)) == wanted
    assert [path.name for path in part_paths(place)] == [
        f"part-{number:012d}.parquet" for number in range(1, 1 + len(part_paths(place)))
    ]


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_in_the_middle(place: StoragePath, tmp_path: Path, kills: int) -> None:
    states, rng, killed = 200 * kills, random.Random(0), []
    with counting_server(tmp_path / "asked.log", delay_ms=20) as url:  # at most 200 states a second
        is_finished = False
        while len(killed) < kills and not is_finished:
            worker, before = (
                labeling(place, url, f"c.in_few_partitions({states})"),
                _asked(tmp_path),
            )
            while len(_asked(tmp_path)) == len(before) and worker.poll() is None:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.8))
            worker.kill()
            is_finished = worker.wait() == 0
            killed.append(worker.pid)
        assert labeling(place, url, f"c.in_few_partitions({states})").wait(200) == 0
    wanted = sorted(state.key for state in children.in_few_partitions(states))
    assert sorted(stored_keys(place)) == wanted, "one row a state, and every part whole"
    asked = questions_by_process(tmp_path / "asked.log")
    times = Counter(_asked(tmp_path))
    last = Counter(k for pid in killed for k in asked.get(pid, [])[-2 * children.IN_FLIGHT :])
    assert set(times) == set(wanted)
    assert all(times[key] <= 1 + last[key] for key in times)


def _asked(folder: Path) -> list[str]:
    log = folder / "asked.log"
    return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []


def test_of_two_that_answer_the_same_state_one_is_stored(place: StoragePath) -> None:
    """As where a lock has expired: both have looked, and only then both commit."""
    stores = [AdviceStore(place / "advice", "t", "p") for _ in range(2)]
    rows = [{"state_key": key, "state_text": key, "status": "ok"} for key in "abc"]
    for store in stores:
        store.refresh()
    assert [store.commit(rows[i : i + 2]) for i, store in enumerate(stores)] == [2, 1]
    assert sorted(stored_keys(place)) == ["a", "b", "c"]
