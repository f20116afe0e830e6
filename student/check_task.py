"""A task's contract, with what only torch can check: that a student reads its observations."""

from __future__ import annotations

import numpy as np
import torch

from llm4teach.envs.custom.check import SEED, Problem
from llm4teach.envs.custom.check import check_task as check_without_student
from llm4teach.envs.task import Task
from llm4teach.errors import TaskError
from llm4teach.student.model.network import Student


def check_task(task: Task) -> list[Problem]:
    """Play a task and return everything that breaks the contract of `envs.task.Task`.

    An exception of the task's own code is a problem of the member that was called.
    """
    return check_without_student(task) or _problems_of_a_student(task)


def _problems_of_a_student(task: Task) -> list[Problem]:
    env = task.make_env()
    try:
        observation, _ = env.reset(seed=SEED)
    finally:
        env.close()  # type: ignore[no-untyped-call]
    try:
        student = Student(
            task.student_shape,
            len(task.action_names),
            record_shape=task.observation_shape,
            reads=task.encoder,
        )
        with torch.no_grad():
            student(torch.from_numpy(np.asarray(observation)[None]))
    except TaskError as error:
        return [Problem("encoder", str(error))]
    return []
