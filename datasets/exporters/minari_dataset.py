"""Minari datasets with advice, which is in each episode's ``infos``."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.exporters.episode import AdvisedEpisode, Layout
from llm4teach.errors import ConfigError, DatasetError

MARK = "llm4teach"  # key of the dataset's metadata that says what is in its infos
INFOS = {  # L = T + 1 rows each, aligned with the observations
    "state_key": "bytes, hash of task family and state_text",
    "state_text": "bytes (UTF-8), what the teacher reads",
    "has_advice": "bool, whether the teacher gave advice on this state",
    "plan_probs": "float64 (n_plans,), the advice: probabilities of metadata['llm4teach']['plans']",
    "teacher_probs": "float32 (n_actions,), the advice grounded; zeros: none, or none can act",
    "behavior": "bytes, behavior policy of the action that follows; the last one is empty",
    "action_logprob": "float32, nats, of that action under it; nan: unknown",
}
_SPARE_BYTES, _EPISODE_BYTES, _STEP_BYTES, _TEXT_BYTES = 1 << 20, 1 << 16, 64, 32  # of HDF5's own
RECORD = "record"  # in the infos, where the student sees only a part of what is recorded
RECORD_MEANS = "uint8, what student and teacher see, recorded together; needed to import it again"


def dataset_folder(dataset_id: str) -> Path:
    """Return where Minari keeps a dataset: below ``MINARI_DATASETS_PATH``, or ~/.minari/datasets.

    Raises:
        ConfigError: it is no id with a version, such as ``doorkey/advice-v0``.
        DatasetError: Minari is not installed.
    """
    _minari()
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):  # the latter where there is no version
        raise ConfigError(
            f"{dataset_id!r} is no id of a Minari dataset: NAME-v0 or NAMESPACE/NAME-v0, of "
            "letters, digits, - and _, such as doorkey/advice-v0"
        ) from None
    root = os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
    return Path(root).resolve() / dataset_id


def register_namespace(dataset_id: str) -> None:
    """Let Minari list the namespace of a dataset, as its own functions do."""
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = dataset_id.rpartition("/")[0]
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)


class MinariWriter:
    """Writes a Minari dataset in HDF5, without loss.

    Args:
        folder: the dataset's.
        dataset_id: its id.
        layout: of the episodes.
    """

    def __init__(self, folder: Path, dataset_id: str, layout: Layout) -> None:
        _minari()
        from minari.dataset.minari_storage import MinariStorage

        self._layout, self._id, self._episodes = layout, dataset_id, 0
        self._storage: Any = MinariStorage.new(
            folder / "data",
            observation_space=gym.spaces.Box(0, 255, layout.observation_shape, np.uint8),
            action_space=gym.spaces.Discrete(len(layout.action_names)),
            jpeg_encoding=False,  # which changes the pixels
        )

    def write(self, episodes: Sequence[AdvisedEpisode]) -> None:
        self._check_space(episodes)
        self._storage.update_episodes(map(_buffer, episodes))
        first, self._episodes = self._episodes, self._episodes + len(episodes)
        facts = [
            {
                "run_id": episode.run_id,
                "run_episode_id": episode.number,
                "final_observation": "replayed" if episode.has_final else "unknown",
            }
            for episode in episodes
        ]
        self._storage.update_episode_metadata(facts, range(first, self._episodes))

    def _check_space(self, episodes: Sequence[AdvisedEpisode]) -> None:
        """Raise an OSError where the disk is about to be full: HDF5 crashes when it is."""
        needed = sum(map(_bytes_of, episodes)) + _SPARE_BYTES
        if shutil.disk_usage(self._storage.data_path).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def describe(self, metadata: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Write the dataset's metadata.

        Args:
            metadata: Minari's own, such as ``author`` and ``description``.
            facts: plain JSON under `MARK`.
        """
        layout = self._layout
        held = INFOS | ({RECORD: RECORD_MEANS} if layout.record_shape else {})
        described = {
            **facts,
            "action_names": list(layout.action_names),
            "plans": list(layout.plans),
            "infos": held,
        }
        self._storage.update_metadata(
            {
                "dataset_id": self._id,
                "minari_version": _minari().__version__,
                **metadata,
                MARK: described,
            }
        )

    def close(self) -> None:
        """Nothing is kept open."""


def _bytes_of(episode: AdvisedEpisode) -> int:
    """At most as many bytes as an episode takes on the disk."""
    arrays = (episode.observations, episode.records, episode.plan_probs, episode.teacher_probs)
    size = sum(array.nbytes for array in arrays if array is not None)
    texts = (*episode.state_keys, *episode.state_texts, *episode.behaviors)
    size += sum(4 * len(text) + _TEXT_BYTES for text in texts) + _STEP_BYTES * len(episode)
    return 2 * size + _EPISODE_BYTES


def _buffer(episode: AdvisedEpisode) -> Any:
    from minari.data_collector import EpisodeBuffer

    infos: dict[str, Any] = {
        "state_key": _padded(episode, episode.state_keys),
        "state_text": _padded(episode, episode.state_texts),
        "has_advice": _extended(episode, episode.plan_probs).any(1),
        "plan_probs": _extended(episode, episode.plan_probs),
        "teacher_probs": _extended(episode, episode.teacher_probs),
        "behavior": [*episode.behaviors, ""],
        "action_logprob": np.append(episode.action_logprobs, np.float32(np.nan)),
    }
    if episode.records is not None:
        infos[RECORD] = _repeated(episode, episode.records)
    return EpisodeBuffer(
        seed=episode.seed,
        observations=_repeated(episode, episode.observations),
        actions=episode.actions.astype(np.int64),
        rewards=episode.rewards,
        terminations=episode.terminated,
        truncations=episode.truncated,
        infos=infos,
    )


def _repeated(episode: AdvisedEpisode, rows: NDArray[Any]) -> NDArray[Any]:
    """Return T + 1 rows; where the last one is unknown it is the one before, again."""
    return rows if episode.has_final else np.concatenate([rows, rows[-1:]])


def _extended(episode: AdvisedEpisode, rows: NDArray[Any]) -> NDArray[Any]:
    """Return T + 1 rows; where the last one is unknown it is zeros."""
    return rows if episode.has_final else np.concatenate([rows, np.zeros_like(rows[-1:])])


def _padded(episode: AdvisedEpisode, texts: Sequence[str]) -> list[str]:
    return [*texts] if episode.has_final else [*texts, ""]


def _minari() -> Any:
    try:
        import h5py  # noqa: F401  which Minari's storage needs
        import minari
    except ImportError:
        message = "Minari datasets need the import extra: pip install 'llm4teach[import]'"
        raise DatasetError(message) from None
    return minari
