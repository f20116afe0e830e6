"""The registry: its history, two who decide at once, and what damage does to it."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from llm4teach.datasets.registry import (
    Registry,
    RegistryConflictError,
    previous_champion,
    sha256_of,
)
from llm4teach.datasets.workspace import DatasetError


def test_history(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry" / "SimpleDoorKey")
    assert registry.champion() is None and registry.events() == []
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"weights")
    registry.append("promote", "a", 0, "the first", {"success": 0.9}, checkpoint)
    registry.append("reject", "b", 1, "worse")
    registry.append("promote", "c", 2, "better")
    events = registry.events()
    assert [(e.number, e.action, e.run_id, e.replaces) for e in events] == [
        (1, "promote", "a", None),
        (2, "reject", "b", "a"),
        (3, "promote", "c", "a"),
    ]
    assert events[0].checkpoint_sha256 == sha256_of(checkpoint) and events[0].evidence
    champion = registry.champion()
    assert champion is not None and champion.run_id == "c"


def test_going_back_twice_goes_two_champions_back(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for i, run_id in enumerate("abc"):
        registry.append("promote", run_id, i, "better")
    for number, expected in ((3, "b"), (4, "a")):
        back = previous_champion(registry.events())
        assert back is not None and back.run_id == expected
        registry.append("rollback", back.run_id, number, "it fell")
    assert previous_champion(registry.events()) is None
    registry.append("promote", "d", 5, "better")
    back = previous_champion(registry.events())
    assert back is not None and back.run_id == "a", "b and c were taken back"


def decide(folder: Path, run_id: str) -> bool:
    try:
        Registry(folder).append("promote", run_id, 0, "I was first")
    except RegistryConflictError:
        return False
    return True


def test_of_many_at_once_one_is_promoted(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        won = list(pool.map(decide, [tmp_path] * 16, [f"run-{i}" for i in range(16)]))
    assert sum(won) == 1
    (event,) = Registry(tmp_path).events()
    assert event.run_id == f"run-{won.index(True)}"
    assert [p.name for p in tmp_path.iterdir()] == ["000001.json"], "nothing temporary is left"


def test_a_decision_on_old_grounds_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.append("promote", "a", 0, "the first")
    with pytest.raises(RegistryConflictError, match="promote a"):
        registry.append("promote", "b", 0, "did not know of a")


def test_damage_is_told(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for i, run_id in enumerate("ab"):
        registry.append("promote", run_id, i, "better")
    (tmp_path / "000001.json").unlink()
    with pytest.raises(DatasetError, match="event 1 is missing"):
        registry.champion()
    (tmp_path / "000001.json").write_text('{"number": 1, "who": "me"}')
    with pytest.raises(DatasetError, match="is no event"):
        registry.champion()
    with pytest.raises(DatasetError, match="cannot read"):
        sha256_of(tmp_path / "none")
