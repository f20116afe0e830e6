"""Minari datasets, by their folder or local id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.exporters.minari_dataset import MARK, RECORD
from llm4teach.datasets.importers.episode import Episode
from llm4teach.errors import DatasetError

_MAIN_FILE = "main_data.hdf5"  # of datasets in HDF5, which most are


def minari_episodes(source: str) -> Iterator[Episode]:
    """Yield a dataset's episodes.

    Raises:
        DatasetError: there is none, or it is damaged; the message names the dataset and the file.
    """
    dataset, data = _open(source)
    start = int(getattr(dataset.action_space, "start", 0))
    is_own = isinstance(dataset.storage.metadata.get(MARK), dict)
    is_lossy = _is_lossy(dataset)
    episodes = dataset.iterate_episodes()
    while True:
        try:
            episode = next(episodes, None)
            if episode is None:
                return
            seed = _seed(dataset, data, episode.id)
            found = _episode(episode, seed, start, is_lossy)
            found = _with_infos(found, episode.infos) if is_own else found
        except Exception as error:  # h5py's and Arrow's, assertions, missing keys
            raise _damaged(source, data, error) from None
        yield found


def _with_infos(episode: Episode, infos: dict[str, Any]) -> Episode:
    """Add what `exporters.minari_dataset` put into the infos, T + 1 rows each."""
    if episode.problems:
        return episode
    n = len(episode.rewards)
    held = {
        name: infos[name][:-1] for name in (RECORD, "behavior", "action_logprob") if name in infos
    }
    wrong = [name for name, rows in held.items() if len(rows) != n]
    if wrong:
        problem = f"its info {wrong[0]} has {len(held[wrong[0]]) + 1} rows for {n} steps"
        return replace(episode, problems=(problem,))
    behaviors, logprobs = held.get("behavior"), held.get("action_logprob")
    return replace(
        episode,
        observations=held.get(RECORD, episode.observations),
        behaviors=None if behaviors is None else [_text(name) for name in behaviors],
        logprobs=None if logprobs is None else logprobs.astype(np.float32),
    )


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _seed(dataset: Any, data: Path, episode_id: int) -> Any:
    """Return an episode's seed as it is stored: Minari rounds those of HDF5 files."""
    if (data / _MAIN_FILE).is_file():
        import h5py

        with h5py.File(data / _MAIN_FILE, "r") as file:
            seed = file[f"episode_{episode_id}"].attrs.get("seed")
    else:
        [facts] = dataset.storage.get_episode_metadata([episode_id])
        seed = facts.get("seed")
    return seed.item() if isinstance(seed, np.generic) else seed


def _open(source: str) -> tuple[Any, Path]:
    """Return the dataset and the folder of its data."""
    try:
        import minari
    except ImportError:
        message = "Minari datasets need the import extra: pip install 'llm4teach[import]'"
        raise DatasetError(message) from None
    folder = Path(source)
    data = folder / "data" if (folder / "data").is_dir() else folder
    try:
        if folder.is_dir():
            return minari.MinariDataset(data), data
        dataset = minari.load_dataset(source)
        return dataset, Path(dataset.storage.data_path)
    except Exception as error:  # it has many, some of them bare
        if (data / "metadata.json").is_file():
            raise _damaged(source, data, error) from None
        hint = "; give the dataset's folder" if folder.suffix in (".hdf5", ".h5") else ""
        message = (
            f"{source} is no .csv or .parquet file, and no Minari dataset here ({_reason(error)})"
        )
        raise DatasetError(message + hint) from None


def _damaged(source: str, data: Path, error: Exception) -> DatasetError:
    main = data / _MAIN_FILE
    file = main if main.exists() else data
    return DatasetError(
        f"the Minari dataset {source} is damaged: {file} cannot be read ({_reason(error)}); "
        "download or copy it again"
    )


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _is_lossy(dataset: Any) -> bool:
    """Whether observations are stored as JPEG, which changes their numbers."""
    try:
        from minari.dataset.minari_storage import is_image_space
    except ImportError:  # an earlier Minari, which stores them unchanged
        return False
    return bool(dataset.storage.jpeg_encoding and is_image_space(dataset.observation_space))


def _episode(episode: Any, seed: Any, start: int, is_lossy: bool) -> Episode:
    problems, unusable = [], ""
    actions, rewards = np.asarray(episode.actions), np.asarray(episode.rewards)
    flags = []
    for name, stored in (
        ("terminations", episode.terminations),
        ("truncations", episode.truncations),
    ):
        values = np.asarray(stored)
        if not np.isin(values, [0, 1]).all():
            problems.append(f"its {name} are not all true or false")
        flags.append(values == 1)
    if start:
        problems.append(f"its actions count from {start}, not from 0")
    seen = episode.observations  # T + 1 of them
    observations: NDArray[Any] | None = None
    if isinstance(seen, dict):
        unusable = f"dicts of {', '.join(seen)}"
    elif not isinstance(seen, np.ndarray):
        unusable = f"{type(seen).__name__}s"
    elif is_lossy:
        unusable = "images, stored as JPEG with a loss"
    elif len(seen) != len(rewards) + 1:
        problems.append(f"it has {len(seen)} observations for {len(rewards)} steps, not one more")
    else:
        observations = seen[:-1]
    number = isinstance(seed, int) and not isinstance(seed, bool)
    if seed is not None and not number:
        problems.append(f"its seed is {seed!r}, not a whole number")
    return Episode(
        str(episode.id),
        actions,
        rewards,
        flags[0],
        flags[1],
        int(seed) if number else None,
        observations,
        problems=tuple(problems),
        unusable=unusable,
    )
