"""The registry: its history, two who decide at once, and what damage does to it."""

import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from llm4teach.datasets.champions import (
    ChampionRegistry,
    RegistryConflictError,
    previous_champion,
    sha256_of,
)
from llm4teach.datasets.storage.paths import StoragePath, storage_path
from llm4teach.errors import DatasetError


def test_history(folder: StoragePath) -> None:
    registry = ChampionRegistry(folder / "registry" / "SimpleDoorKey")
    assert registry.champion() is None and registry.events() == []
    checkpoint = folder / "checkpoint.safetensors"
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


def test_going_back_twice_goes_two_champions_back(folder: StoragePath) -> None:
    registry = ChampionRegistry(folder)
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


def decide(folder: StoragePath, run_id: str) -> bool:
    try:
        ChampionRegistry(folder).append("promote", run_id, 0, "I was first")
    except RegistryConflictError:
        return False
    return True


def test_of_many_at_once_one_is_promoted(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        won = list(pool.map(decide, [tmp_path] * 16, [f"run-{i}" for i in range(16)]))
    assert sum(won) == 1
    (event,) = ChampionRegistry(tmp_path).events()
    assert event.run_id == f"run-{won.index(True)}"
    assert [p.name for p in tmp_path.iterdir()] == ["000001.json"], "nothing temporary is left"


def test_of_many_at_once_one_is_promoted_in_an_object_store(s3: object) -> None:
    """Threads with connections of their own: a promotion conflict is decided by the store."""
    place = storage_path(f"s3://bucket/{uuid.uuid4().hex}")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(decide, [place] * 16, ["the same run"] * 16))
    assert sum(won) == 1 and len(ChampionRegistry(place).events()) == 1


def test_a_decision_on_old_grounds_is_refused(folder: StoragePath) -> None:
    registry = ChampionRegistry(folder)
    registry.append("promote", "a", 0, "the first")
    with pytest.raises(RegistryConflictError, match="promote a"):
        registry.append("promote", "b", 0, "did not know of a")


def test_damage_is_told(folder: StoragePath) -> None:
    registry = ChampionRegistry(folder)
    for i, run_id in enumerate("ab"):
        registry.append("promote", run_id, i, "better")
    (folder / "000001.json").unlink()
    with pytest.raises(DatasetError, match="event 1 is missing"):
        registry.champion()
    (folder / "000001.json").write_text('{"number": 1, "who": "me"}')
    with pytest.raises(DatasetError, match="is no event"):
        registry.champion()
    with pytest.raises(DatasetError, match="cannot read"):
        sha256_of(folder / "none")
