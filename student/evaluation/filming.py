"""What a report needs to show an episode: each step's action beside both choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Task, describe
from llm4teach.student.evaluation.replay import replay_episodes
from llm4teach.student.policies import AdviceSource, Policy

_DIGITS = 3  # of probabilities that are only shown


def filmed(
    task: Task, episode: Mapping[str, Any], student: Policy, teacher: AdviceSource
) -> dict[str, Any]:
    """Return a complete episode's record, as plain JSON.

    Args:
        task: whose episode.
        episode: with ``seed``, ``actions`` and ``success``.
        student: its policy, whoever played.
        teacher: gives its grounded advice.

    Returns:
        ``policy``, ``seed``, ``actions``, ``success``; ``student_probs`` and ``teacher_probs``,
        (T, n_actions) as lists, the teacher's row zero where it has no advice; ``state_texts``,
        the distinct ones, and ``states``, each step's place in these.
    """
    kept = {name: episode[name] for name in ("seed", "actions", "success")}
    observations, _, _ = replay_episodes(task, [dict(episode)])  # (T, *observation_shape)
    texts = [state.text for state in describe(task, observations)]
    distinct = list(dict.fromkeys(texts))
    return {
        **kept,
        "policy": "student",
        "student_probs": _shown(student(observations)),
        "teacher_probs": _shown(teacher.teacher_probs(observations)),
        "state_texts": distinct,
        "states": [distinct.index(text) for text in texts],
    }


def _shown(probs: NDArray[np.float32]) -> list[list[float]]:
    rounded: list[list[float]] = probs.astype(np.float64).round(_DIGITS).tolist()
    return rounded
