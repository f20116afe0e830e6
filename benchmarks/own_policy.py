"""What teachers' own policies (options and advice, no student) reach on tasks, as a table.

    python benchmarks/own_policy.py --task MiniGrid-DoorKey-8x8-v0 MiniGrid-Unlock-v0 \\
                                    --teacher recorded/handwritten --episodes 200

Held-out episodes, actions sampled from the grounded advice. "States" are those told apart in these
episodes, each of which is asked about once; "silent" is the share of steps where no advice could
act, and a random action was taken. Advice is kept in the workspace: a second run asks nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.statistics import wilson_interval
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, Task, describe
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import Policy, teacher_policy
from llm4teach.teacher_labeling.backends.recorded import write_recording
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.teacher import Teacher

HEADER = "| task | success [95%] | mean steps | states | silent | questions | env steps/s |"


class Watched:
    """A policy that counts the states it meets and the steps at which its teacher is silent."""

    def __init__(self, task: Task, live: LiveTeacher) -> None:
        self._task, self._live = task, live
        self._policy: Policy = teacher_policy(self)
        self.states: dict[str, str] = {}  # texts by key
        self.steps = self.silent = 0

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        """Grounded advice, as `LiveTeacher.teacher_probs` gives it."""
        probs = self._live.teacher_probs(observations)
        self.states |= {s.key: s.text for s in describe(self._task, observations)}
        self.steps += len(observations)
        self.silent += int((probs.sum(1) == 0).sum())
        return probs

    def __call__(self, observations: Observations) -> NDArray[np.float32]:
        """Action probabilities, float32 (N, n_actions)."""
        return self._policy(observations)


def play(task: Task, teacher: Teacher, store: AdviceStore, episodes: int) -> tuple[str, Watched]:
    """One line of the table, and the policy with what it met."""
    live = LiveTeacher(task, store, teacher)
    watched = Watched(task, live)
    began = time.perf_counter()
    played = evaluate_policy(task, watched, "sampled", EvaluateConfig(episodes=episodes), seed=0)
    seconds = time.perf_counter() - began - live.questions.seconds
    won = sum(episode["success"] for episode in played)
    low, high = wilson_interval(won, episodes)
    steps = sum(episode["length"] for episode in played)
    return (
        f"| {task.name} | {won / episodes:.1%} [{low:.1%}, {high:.1%}] | {steps / episodes:.1f} "
        f"| {len(watched.states)} | {watched.silent / watched.steps:.1%} | {live.questions.asked} "
        f"| {steps / seconds:,.0f} |"
    ), watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", required=True, help="one or more tasks")
    parser.add_argument("--teacher", nargs="+", default=["recorded/handwritten"])
    parser.add_argument("--prompt", help="name of the teacher's prompt")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--workspace", type=Path, default=Path("workspace/own_policy"))
    parser.add_argument("--show-states", action="store_true", help="list the states, on stderr")
    parser.add_argument("--record", type=Path, help="also write the advice as a recording (JSON)")
    arguments = parser.parse_args()
    for name in arguments.teacher:
        print(f"\n{name}, {arguments.episodes} held-out episodes, sampled\n\n{HEADER}")
        print("|" + " --- |" * (HEADER.count("|") - 1), flush=True)
        teachers: dict[str, Teacher] = {}  # by family: a model is loaded once
        stores: dict[str, AdviceStore] = {}
        for task_name in arguments.task:
            task = get_task(task_name)
            if task.family not in teachers:
                config = TeacherConfig(teacher=name, prompt=arguments.prompt)
                teachers[task.family] = make_teacher(config, task.family)
            teacher = teachers[task.family]
            folder = Workspace(arguments.workspace).advice(task.family, teacher.info.slug)
            info = teacher.info
            store = AdviceStore(folder, info.teacher_id, info.prompt_version)
            stores[task.family] = store
            line, watched = play(task, teacher, store, arguments.episodes)
            print(line, flush=True)
            if arguments.show_states:
                print(*sorted(watched.states.values()), sep="\n", file=sys.stderr)
        for teacher in teachers.values():
            teacher.close()
        if arguments.record:
            command = f"benchmarks/own_policy.py --teacher {name} --task {' '.join(arguments.task)}"
            states = write_recording(arguments.record, info, stores, command)
            print(f"{states} states in {arguments.record}", file=sys.stderr)


if __name__ == "__main__":
    main()
