"""Recorded episodes as trajectories of a task: checked, and completed by playing them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.importers import Episode
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.envs.task import Observations, State, Task, describe
from llm4teach.student.model.maps import COLORS, HEADING, NO_HEADING, OBJECTS, STATES

IMPORTED = "imported"  # behavior of steps whose source names none
_REWARD_TOLERANCE = 1e-4  # float32 logs, rounded CSV
Steps = tuple[dict[str, Any], Observations]  # as `datasets.trajectories.write_steps` takes them


class Importer:
    """Checks one episode after the other, and turns those that fit into steps.

    An episode with a seed is played again in the task's own environment: its rewards and its end
    have to be the same, and observations that the source lacks come from there. One without a seed
    needs observations.

    Args:
        task: that the episodes are of.
        run_id: of the steps.
    """

    def __init__(self, task: Task, run_id: str) -> None:
        self._task, self._run_id = task, run_id
        self._env = task.make_env()
        seen, _ = self._env.reset(seed=0)
        self._has_maps = seen.ndim == 3 and _no_maps(seen[None]) is None
        self._next = 0
        self.states: dict[str, State] = {}  # of all episodes so far, by key

    def problems(self, episode: Episode) -> Iterator[str]:
        """Why it does not fit, in words; nothing if it does. Only then may `steps` be called."""
        if episode.problems:
            yield from episode.problems
            return
        n, n_actions = len(episode.actions), len(self._task.action_names)
        if n == 0 or any(
            len(column) != n for column in (episode.rewards, episode.terminated, episode.truncated)
        ):
            yield "its columns have different lengths, or none"
            return
        actions = episode.actions
        if actions.shape != (n,) or actions.dtype.kind not in "iu":
            yield f"its actions are no whole numbers ({actions.dtype} of shape {actions.shape})"
            return
        wrong = np.flatnonzero((actions < 0) | (actions >= n_actions))
        if len(wrong):
            at = _at(episode, int(wrong[0]))
            yield f"action {actions[wrong[0]]}: {self._task.name} has 0 to {n_actions - 1} ({at})"
            return
        if episode.rewards.dtype.kind not in "fiu" or not np.isfinite(episode.rewards).all():
            yield "its rewards are not all finite numbers"
            return
        ended = episode.terminated | episode.truncated
        both = np.flatnonzero(episode.terminated & episode.truncated)
        if len(both):
            yield f"a step is both terminated and truncated ({_at(episode, int(both[0]))})"
        if ended[:-1].any():
            t = int(np.flatnonzero(ended)[0])
            yield f"it ends at step {t}, and goes on{_in_row(episode, t)}"
        if n > self._task.max_steps:
            yield f"it has {n} steps; {self._task.name} has at most {self._task.max_steps}"
        yield from self._wrong_source(episode)

    def _wrong_source(self, episode: Episode) -> Iterator[str]:
        if episode.seed is None and episode.observations is None:
            if episode.unusable:
                yield (
                    f"it has no seed, to play it again, and its observations are "
                    f"{episode.unusable}; {self._task.name} has arrays of "
                    f"{self._task.observation_shape}"
                )
            else:
                yield "it has neither a seed, to play it again, nor observations"
        if episode.observations is not None:
            shape, codes = self._task.observation_shape, episode.observations
            if len(codes) != len(episode.actions):
                yield f"it has {len(codes)} observations for {len(episode.actions)} steps"
            elif codes[0].size != int(np.prod(shape)):
                yield f"observations of {codes[0].size} numbers; {self._task.name} has {shape}"
            elif codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() > 255:
                yield "its observations are not whole numbers from 0 to 255"
            elif self._has_maps and (wrong := _no_maps(_shaped(episode, self._task))) is not None:
                yield f"observation of {_at(episode, wrong)} is no map of cells with one agent"
        if episode.seed is not None:
            if not 0 <= episode.seed < HELD_OUT_START:
                yield (
                    f"seed {episode.seed}: those from {HELD_OUT_START} on are kept for evaluation, "
                    "and there are none below 0"
                )
            elif episode.observations is None or _shaped(episode, self._task) is not None:
                yield from self._differences(episode)

    def _differences(self, episode: Episode) -> Iterator[str]:
        """The first step at which the task's own environment does something else."""
        assert episode.seed is not None
        shaped = _shaped(episode, self._task)
        seen, _ = self._env.reset(seed=episode.seed)
        for t, action in enumerate(episode.actions):
            if shaped is not None and not np.array_equal(shaped[t], seen):
                yield (
                    f"played again from seed {episode.seed}, step {t} has another observation"
                    f"{_in_row(episode, t)}"
                )
                return
            seen, reward, terminated, truncated, _ = self._env.step(int(action))
            for name, ours, theirs in (
                ("terminated", terminated, bool(episode.terminated[t])),
                ("truncated", truncated, bool(episode.truncated[t])),
            ):
                if ours != theirs:
                    yield (
                        f"played again from seed {episode.seed}, step {t} has {name} {ours}"
                        f"{_in_row(episode, t)}"
                    )
                    return
            if abs(float(reward) - float(episode.rewards[t])) > _REWARD_TOLERANCE:
                yield (
                    f"played again from seed {episode.seed}, step {t} has reward {reward:.4f}, "
                    f"not {float(episode.rewards[t]):.4f}{_in_row(episode, t)}"
                )
                return

    def steps(self, episode: Episode) -> Steps:
        """The episode's steps, columns of the trajectories' schema, and their observations."""
        n = len(episode.actions)
        shaped = _shaped(episode, self._task)
        observations = self._played(episode) if shaped is None else shaped
        states = describe(self._task, observations)
        self.states.update({state.key: state for state in states})
        number, self._next = self._next, self._next + 1
        seed = -1 if episode.seed is None else episode.seed
        unknown = np.full(n, np.nan, np.float32)
        columns = {
            "run_id": [self._run_id] * n,
            "episode_id": [number] * n,
            "t": list(range(n)),
            "seed": [seed] * n,
            "state_key": [state.key for state in states],
            "state_text": [state.text for state in states],
            "action": episode.actions.astype(np.int8),
            "reward": episode.rewards.astype(np.float32),
            "terminated": episode.terminated,
            "truncated": episode.truncated,
            "behavior": [name or IMPORTED for name in episode.behaviors or [""] * n],
            "action_logprob": unknown if episode.logprobs is None else episode.logprobs,
        }
        return columns, observations

    def _played(self, episode: Episode) -> Observations:
        seen, _ = self._env.reset(seed=episode.seed)
        observations = []
        for action in episode.actions:
            observations.append(seen)
            seen, *_ = self._env.step(int(action))
        return np.stack(observations)


def _shaped(episode: Episode, task: Task) -> NDArray[np.uint8] | None:
    """The source's observations, uint8 (T, *observation_shape); None where they are no such."""
    codes = episode.observations
    if codes is None or codes[0].size != int(np.prod(task.observation_shape)):
        return None
    return np.asarray(codes, np.uint8).reshape(-1, *task.observation_shape)


def _at(episode: Episode, t: int) -> str:
    return f"step {t}{_in_row(episode, t)}"


def _in_row(episode: Episode, t: int) -> str:
    return "" if episode.rows is None else f", row {episode.rows[t]}"


def _no_maps(observations: NDArray[np.uint8] | None) -> int | None:
    """Index of the first observation that is no map of cells with one agent; None if all are.

    Args:
        observations: uint8 (N, width, height, channels).
    """
    if observations is None or observations.shape[-1] <= HEADING:
        return 0
    codes = observations[..., :HEADING] < (OBJECTS, COLORS, STATES)  # (N, width, height, 3)
    headings = observations[..., HEADING]
    agents = (headings < NO_HEADING).sum((1, 2))  # (N,)
    fine = codes.all((1, 2, 3)) & (headings <= NO_HEADING).all((1, 2)) & (agents == 1)
    wrong = np.flatnonzero(~fine)
    return int(wrong[0]) if len(wrong) else None
