"""`import` of Minari's datasets: each is imported, or rejected with what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow.compute as pc
import pytest
from imports import CASES, TASK, imported, ok, rejected


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM4TEACH_QUIET", "1")


def minari_dataset(
    folder: Path, monkeypatch: pytest.MonkeyPatch, observations: str, seeds: bool, **options: Any
) -> Path:
    """Write ok.parquet's episodes as a Minari dataset."""
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    table, buffers = ok(), []
    maps = gym.spaces.Box(0, 255, TASK.observation_shape, np.uint8)
    for i in range(3):
        rows = table.filter(pc.equal(table.column("episode_id"), i))
        seen = [
            np.frombuffer(o, np.uint8).reshape(TASK.observation_shape)
            for o in rows.column("observation").to_pylist()
        ]
        seen = [*seen, seen[-1]]
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=None,
                seed=rows.column("seed")[0].as_py() if seeds else None,
                observations={"image": seen} if observations == "dict" else seen,
                actions=rows.column("action").to_pylist(),
                rewards=rows.column("reward").to_pylist(),
                terminations=rows.column("terminated").to_pylist(),
                truncations=rows.column("truncated").to_pylist(),
            )
        )
    minari.create_dataset_from_buffers(
        "doorkey/test-v0",
        buffers,
        observation_space=gym.spaces.Dict(image=maps) if observations == "dict" else maps,
        action_space=options.pop("action_space", gym.spaces.Discrete(7)),
        **options,
    )
    return folder / "minari" / "doorkey" / "test-v0"


@pytest.mark.filterwarnings("ignore::UserWarning")  # that it has no author
@pytest.mark.parametrize(("observations", "seeds"), [("dict", True), ("maps", False)])
def test_a_minari_dataset_with_seeds_or_observations(
    observations: str, seeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = minari_dataset(tmp_path, monkeypatch, observations, seeds)
    steps = imported(source, tmp_path)
    assert len(steps) == 141 and steps.column("terminated").sum() == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_minari_dataset_of_dicts_without_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = rejected(minari_dataset(tmp_path, monkeypatch, "dict", False), tmp_path)
    assert "it has no seed, to play it again, and its observations are dicts of image" in message


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minari_actions_that_count_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = gym.spaces.Discrete(7, start=1)
    source = minari_dataset(tmp_path, monkeypatch, "maps", False, action_space=space)
    assert "its actions count from 1, not from 0" in rejected(source, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_minari_dataset_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_dataset(tmp_path, monkeypatch, "maps", True)
    main = source / "data" / "main_data.hdf5"
    with h5py.File(main, "a") as file:
        del file["episode_2"]
    message = rejected(source, tmp_path)
    assert f"the Minari dataset {source} is damaged: {main} cannot be read" in message
    shutil.copyfile(CASES / "truncated.hdf5", main)
    message = rejected(source, tmp_path)
    assert f"the Minari dataset {source} is damaged: {main} cannot be read" in message
    assert "truncated file" in message
    message = rejected(main, tmp_path)
    assert "give the dataset's folder" in message
    (source / "data" / "metadata.json").write_text("{")
    assert f"the Minari dataset {source} is damaged" in rejected(source, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", 276856359.7, "seed is 276856359.7, not a whole number"),
        ("seed", "s1", "seed is 's1', not a whole number"),
        ("seed", float("nan"), "seed is nan, not a whole number"),
        ("terminations", float("nan"), "its terminations are not all true or false"),
    ],
)
def test_minari_values_that_cannot_be(
    name: str, value: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_dataset(tmp_path, monkeypatch, "maps", True)
    with h5py.File(source / "data" / "main_data.hdf5", "a") as file:
        episode = file["episode_0"]
        if name == "seed":
            episode.attrs["seed"] = value
        else:
            values = episode[name][:].astype(np.float64)
            values[3] = value
            del episode[name]
            episode[name] = values
    assert words in rejected(source, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_infos_of_our_own_datasets_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only datasets that are marked as ours have infos with a meaning."""
    h5py = pytest.importorskip("h5py")
    source = minari_dataset(tmp_path, monkeypatch, "maps", True)
    main, metadata = source / "data" / "main_data.hdf5", source / "data" / "metadata.json"
    with h5py.File(main, "a") as file:
        for episode in file.values():
            episode["infos/behavior"] = [b"student"] * len(episode["rewards"])
    assert set(imported(source, tmp_path).column("behavior")) == {"imported"}
    shutil.rmtree(tmp_path / "workspace")
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"llm4teach": {}}))
    assert "its info behavior has 43 rows for 43 steps" in rejected(source, tmp_path)
    with h5py.File(main, "a") as file:
        for episode in file.values():
            del episode["infos/behavior"]
            episode["infos/action_logprob"] = [b"likely"] * (len(episode["rewards"]) + 1)
    assert f"the Minari dataset {source} is damaged" in rejected(source, tmp_path)
