"""Student beside teacher, state by state: what each would do, and what came of who played."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Mixture, Observations, State, Task, describe
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.policies import AdviceSource, Policy

_AT_ONCE = 1024  # observations that the student looks at together
_TIE = 1e-6  # probabilities closer than this are equally likely
_DIGITS = 3  # of probabilities in a film


def replay_episodes(
    task: Task, episodes: Sequence[dict[str, Any]]
) -> tuple[Observations, NDArray[np.float64], NDArray[np.int64]]:
    """Play the actions of episodes again.

    Args:
        task: whose episodes.
        episodes: each with its ``seed`` and ``actions``, from its start to its end.

    Returns:
        Every step's observation, uint8 (N, *observation_shape), and reward (N,), one episode after
        the other, and each step's episode, a place in ``episodes``, (N,).
    """
    played = [episode["actions"] for episode in episodes]
    lengths = np.array([len(actions) for actions in played])
    starts = np.cumsum(lengths) - lengths
    observations = np.empty((lengths.sum(), *task.observation_shape), np.uint8)
    rewards = np.zeros(lengths.sum())
    envs = EpisodeVector(task, len(episodes), iter([episode["seed"] for episode in episodes]))
    for t in range(lengths.max(initial=0)):
        running = np.flatnonzero(t < lengths)
        actions = np.zeros(len(episodes), np.int64)
        actions[running] = [played[i][t] for i in running.tolist()]
        observations[starts[running] + t] = envs.observations[running]
        rewards[starts[running] + t] = envs.step(actions).rewards[running]
    return observations, rewards, np.repeat(np.arange(len(episodes)), lengths)


def agreement_rows(
    task: Task, episodes: Sequence[dict[str, Any]], student: Policy, teacher: AdviceSource
) -> list[dict[str, Any]]:
    """Compare student and teacher over the steps of played episodes.

    Args:
        task: whose episodes.
        episodes: complete ones, with ``seed`` and ``actions``.
        student: its policy, whoever played.
        teacher: gives its grounded advice.

    Returns:
        Rows of schema.AGREEMENT without ``run_id``, ``policy`` and ``mode``, one a state, the most
        frequent first.
    """
    if not episodes:
        return []
    observations, rewards, episode = replay_episodes(task, episodes)
    theirs = teacher.teacher_probs(observations).astype(np.float64)  # (N, n_actions)
    batches = np.array_split(observations, -(-len(observations) // _AT_ONCE))
    ours = np.concatenate([student(batch) for batch in batches]).astype(
        np.float64
    )  # (N, n_actions)
    advised = theirs.sum(1) > 0
    kl = np.where(theirs > 0, theirs * np.log(np.maximum(theirs, 1e-12) / ours), 0).sum(1)  # (N,)
    chosen = theirs[np.arange(len(ours)), ours.argmax(1)]
    differs = chosen < theirs.max(1) - _TIE
    total = np.bincount(episode, rewards)  # (E,) an episode's return
    before = np.cumsum(rewards) - rewards
    starts = np.searchsorted(episode, np.arange(len(episodes)))
    return_after = total[episode] - (before - before[starts][episode])  # (N,)
    ends = np.searchsorted(episode, np.arange(len(episodes)), side="right")
    steps_after = ends[episode] - np.arange(len(episode))
    rows = []
    state_ids = task.identify(observations)
    for state_id, steps in zip(*np.unique(state_ids, return_counts=True), strict=True):
        in_state = state_ids == state_id
        said = in_state & advised
        state = task.state(int(state_id))
        rows.append(
            {
                "task": task.name,
                "state_key": state.key,
                "state_text": state.text,
                "steps": int(steps),
                "episodes": len(np.unique(episode[in_state])),
                "student_probs": ours[in_state].mean(0).tolist(),
                "teacher_probs": theirs[in_state].mean(0).tolist(),
                "kl": float(kl[said].mean()) if said.any() else None,
                "differs": float(differs[said].mean()) if said.any() else None,
                "return_after": float(return_after[in_state].mean()),
                "steps_after": float(steps_after[in_state].mean()),
            }
        )
    return sorted(rows, key=lambda row: -row["steps"])


def filmed(
    task: Task,
    episode: Mapping[str, Any],
    student: Policy,
    teacher: AdviceSource,
    advice: Callable[[Sequence[State]], Sequence[Mixture]] | None = None,
) -> dict[str, Any]:
    """Return a complete episode's record, as plain JSON.

    Args:
        task: whose episode.
        episode: with ``seed``, ``actions`` and ``success``.
        student: its policy, whoever played.
        teacher: gives its grounded advice.
        advice: returns its distributions over plans, one for each state; None leaves them out.

    Returns:
        ``policy``, ``seed``, ``actions``, ``success``; ``student_probs`` and ``teacher_probs``,
        (T, n_actions) as lists, the teacher's row zero where it has no advice; ``state_texts``,
        the distinct ones, ``plans``, the advice for each of these as names and probabilities, and
        ``states``, each step's place in these.
    """
    kept = {name: episode[name] for name in ("seed", "actions", "success")}
    observations, _, _ = replay_episodes(task, [dict(episode)])  # (T, *observation_shape)
    states = describe(task, observations)
    texts, by_text = [state.text for state in states], {state.text: state for state in states}
    distinct = list(by_text)
    plans = {"plans": [_named(m) for m in advice(list(by_text.values()))]} if advice else {}
    return {
        **kept,
        **plans,
        "policy": "student",
        "student_probs": _shown(student(observations)),
        "teacher_probs": _shown(teacher.teacher_probs(observations)),
        "state_texts": distinct,
        "states": [distinct.index(text) for text in texts],
    }


def _named(plans: Mixture) -> list[list[str | float]]:
    ranked = sorted(plans, key=lambda option: -option[1])
    return [[str(plan), round(p, _DIGITS)] for plan, p in ranked]


def _shown(probs: NDArray[np.float32]) -> list[list[float]]:
    rounded: list[list[float]] = probs.astype(np.float64).round(_DIGITS).tolist()
    return rounded
