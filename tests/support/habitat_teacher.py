"""The written table of Nav & Pick as a policy, on any of its simulators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np

from llm4teach.envs.task import Observations, Task, describe
from llm4teach.student.policies import Policy, teacher_policy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher


@contextmanager
def written_table(task: Task) -> Iterator[Policy]:
    """Yield a policy that follows the grounded advice of ``recorded/handwritten-nav-pick``."""
    config = TeacherConfig(teacher="recorded/handwritten-nav-pick")
    with closing(make_teacher(config, task.family)) as teacher:

        class Advice:
            def teacher_probs(self, observations: Observations) -> np.ndarray:  # type: ignore[type-arg]
                states = describe(task, observations)
                mixtures = [advice.plans for advice in teacher.advise(states)]
                return task.ground(observations, mixtures, np.arange(len(states)))

        yield teacher_policy(Advice())
