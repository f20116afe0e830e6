"""From stored trajectories to episodes with advice, one batch after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np

from llm4teach.analysis.exports.advice import StoredAdvice
from llm4teach.analysis.exports.facts import Facts
from llm4teach.datasets.episodes import StoredEpisode, episodes_of
from llm4teach.datasets.exporters.episode import AdvisedEpisode, Layout, Writer
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.task import Task, describe
from llm4teach.envs.vector.ending import Played, Replayer
from llm4teach.errors import DatasetError
from llm4teach.student.collection.behavior import NOISE, OPTION

_SIDE_BY_SIDE = 16  # episodes that are played again at a time
_BATCH_BYTES = 64 << 20  # of the observations of a batch, at most, if it has several episodes
_ANY_OPTION = "option"  # stands for every plan that a behavior policy may follow


def layout_of(task: Task, plans: tuple[str, ...]) -> Layout:
    """Return what the episodes of a task have in common, with these plans in their advice."""
    student, record = tuple(task.student_shape), tuple(task.observation_shape)
    record_shape = None if student == record else record
    return Layout(student, record_shape, tuple(task.action_names), plans)


def write_episodes(
    writer: Writer,
    workspace: Workspace,
    task: Task,
    runs: Sequence[str],
    advice: StoredAdvice,
    *,
    behaviors: Sequence[str] = (),
    replay: bool = True,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Facts:
    """Write the episodes of runs, in the order of their ids.

    Args:
        writer: gets them.
        workspace: of the runs.
        task: whose trajectories.
        runs: their ids.
        advice: of the teacher.
        behaviors: keep episodes whose steps, apart from noise, are all of these behavior policies;
            ``option`` is any plan; none for all episodes.
        replay: play episodes again for the observation after their last step.
        on_steps: called with the number of steps that were read.

    Raises:
        DatasetError: a part is damaged, or no episode has these behavior policies.
    """
    facts, skipped = Facts(task), set[str]()
    with closing(_Finals(task, replay)) as finals:
        for run in runs:
            folder = workspace.trajectories(task.name, run)
            for batch in _batches(episodes_of(folder, run, task.observation_shape)):
                kept = []
                for episode in batch:
                    found = _behaviors(episode)
                    if behaviors and not found <= set(behaviors):
                        skipped |= found
                    else:
                        kept.append(episode)
                advised = [
                    _advised(task, advice, episode, final)
                    for episode, final in zip(kept, finals.of(kept), strict=True)
                ]
                if advised:
                    writer.write(advised)
                for done in advised:
                    facts.add(done)
                on_steps(sum(len(episode.table) for episode in batch))
    if not facts.episodes:
        raise DatasetError(
            f"no episode has only the behavior {', '.join(behaviors)}: there are "
            f"{', '.join(sorted(skipped)) or 'no steps'}"
        )
    return facts


def _batches(episodes: Iterator[StoredEpisode]) -> Iterator[list[StoredEpisode]]:
    """Group episodes that are worked on together; one that is too large is alone."""
    batch: list[StoredEpisode] = []
    size = 0
    for episode in episodes:
        if batch and (
            len(batch) == _SIDE_BY_SIDE or size + episode.observations.nbytes > _BATCH_BYTES
        ):
            yield batch
            batch, size = [], 0
        batch.append(episode)
        size += episode.observations.nbytes
    if batch:
        yield batch


def _behaviors(episode: StoredEpisode) -> set[str]:
    """Names of an episode's behavior policies: no noise if there is anything else, no plans."""
    names = episode.table.column("behavior").unique().to_pylist()
    kinds = {_ANY_OPTION if name.startswith(OPTION) else name for name in names}
    return kinds - {NOISE} or kinds


class _Finals:
    """The observations after the last steps, as far as they can be known."""

    def __init__(self, task: Task, replay: bool) -> None:
        self._task, self._replay = task, replay
        self._replayer: Replayer | None = None

    def of(self, episodes: Sequence[StoredEpisode]) -> list[np.ndarray | None]:
        """One for each episode, uint8 (*observation_shape); None: unknown."""
        seeds = [int(episode.table.column("seed")[0].as_py()) for episode in episodes]
        played = {
            i: Played(seed, episode.table.column("action").to_numpy(), episode.observations)
            for i, (seed, episode) in enumerate(zip(seeds, episodes, strict=True))
            if self._replay and seed >= 0
        }
        if not played:
            return [None] * len(episodes)
        if self._replayer is None:
            self._replayer = Replayer(self._task, _SIDE_BY_SIDE)
        found = self._replayer.final_observations(list(played.values()))
        by_place = dict(zip(played, found, strict=True))
        return [by_place.get(i) for i in range(len(episodes))]

    def close(self) -> None:
        if self._replayer is not None:
            self._replayer.close()


def _advised(
    task: Task, advice: StoredAdvice, episode: StoredEpisode, final: np.ndarray | None
) -> AdvisedEpisode:
    table, records = episode.table, episode.observations
    keys = table.column("state_key").to_pylist()
    texts = table.column("state_text").to_pylist()
    if final is not None:
        [state] = describe(task, final[None])
        keys, texts = [*keys, state.key], [*texts, state.text]
        records = np.concatenate([records, final[None]])
    plan_probs, teacher_probs = advice.on(keys, texts, records)
    seed = int(table.column("seed")[0].as_py())
    same = tuple(task.student_shape) == tuple(task.observation_shape)
    return AdvisedEpisode(
        episode.run_id,
        episode.episode_id,
        seed if seed >= 0 else None,
        table.column("action").to_numpy(),
        table.column("reward").to_numpy(),
        table.column("terminated").to_numpy(),
        table.column("truncated").to_numpy(),
        table.column("behavior").to_pylist(),
        table.column("action_logprob").to_numpy(),
        task.student_observations(records),
        None if same else records,
        keys,
        texts,
        plan_probs,
        teacher_probs,
    )
