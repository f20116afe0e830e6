"""What teachers' own policies (options and advice, no student) reach on tasks, as a table.

    python benchmarks/own_policy.py --task MiniGrid-DoorKey-8x8-v0-parsed BabyAI-GoToObj-v0 \\
                                    --teacher recorded/handwritten --episodes 200

Held-out episodes (`--seeds development`: for tuning), actions sampled from grounded advice;
of raw MiniGrid tasks, plans are followed as in collection. "States" are those told apart in these
episodes, each of which is asked about once; "silent" is the share of steps where no advice could
act, and a random action was taken. Advice is kept in the workspace: a second run asks nothing.

`--csv` writes a row per task and teacher.

Of Crafter also the published measures: achievements of 22, score (the geometric mean of the success
rates), reward as a share of 22, and each achievement's rate, which is what `--csv` then has.
`--follow` draws a plan when the state changes and follows it, as collection does, instead of mixing
all plans in every step.

    python benchmarks/own_policy.py --task Crafter --teacher none expert \\
                                    --follow --csv docs/results/crafter/achievements.csv
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.measures import score
from llm4teach.analysis.statistics import bootstrap_mean_interval, wilson_interval
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import EpisodeSet
from llm4teach.envs.task import Mixture, Observations, State, Task, describe
from llm4teach.flows.runtime.origin import machine, source_commit
from llm4teach.flows.runtime.teacher_access import advice_of
from llm4teach.student.collection.behavior import NOISE, OptionBehavior
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import Policy, teacher_policy
from llm4teach.teacher_labeling.backends.recorded import write_recording
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher, questions_of
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.questions import distinct_questions
from llm4teach.teacher_labeling.teacher import Teacher

ACHIEVEMENTS, SCORE_OF = "achievements", 22  # the measure with their number, and all there are
HEADER = "| task | success [95%] | mean steps | states | silent | questions | env steps/s |"


class Watched:
    """Counts the states that a policy meets, and the steps at which its teacher is silent."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.states: dict[str, State] = {}  # by key
        self.steps = self.silent = 0

    def count(self, states: Sequence[State], silent: int) -> None:
        """Count one step of some episodes."""
        self.states |= {state.key: state for state in states}
        self.steps += len(states)
        self.silent += silent


class WatchedAdvice(Watched):
    """The policy that mixes a teacher's plans in every step."""

    def __init__(self, task: Task, live: LiveTeacher) -> None:
        super().__init__(task)
        self._live = live
        self._policy: Policy = teacher_policy(self)

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        """Grounded advice, as `LiveTeacher.teacher_probs` gives it."""
        probs = self._live.teacher_probs(observations)
        self.count(describe(self._task, observations), int((probs.sum(1) == 0).sum()))
        return probs

    def __call__(self, observations: Observations) -> NDArray[np.float32]:
        """Action probabilities, float32 (N, n_actions)."""
        return self._policy(observations)


class WatchedOptions(Watched, OptionBehavior):
    """The policy that follows a teacher's plans."""

    def __init__(self, task: Task, live: LiveTeacher, hard: bool) -> None:
        def likeliest(states: Sequence[State]) -> list[Mixture]:
            mixtures = live.mixtures(states)
            return [((max(m, key=lambda plan: plan[1])[0], 1.0),) if m else () for m in mixtures]

        advice = likeliest if hard else live.mixtures
        Watched.__init__(self, task)
        OptionBehavior.__init__(self, task, advice, 0.0, np.random.default_rng(0))

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Follow plans; see `OptionBehavior.act`."""
        states = describe(self._task, observations) if states is None else states
        probs, labels = super().act(observations, envs, started, states)
        self.count(states, labels.count(NOISE))
        return probs, labels


def published(played: Sequence[dict[str, Any]]) -> tuple[str, dict[str, float]]:
    """Crafter's measures in a sentence, and each achievement's success rate."""
    n = len(played)
    names = [name for name in played[0]["measures"] if name != ACHIEVEMENTS]
    rates = {name: sum(e["measures"][name] for e in played) / n for name in names}
    unlocked = [episode["measures"][ACHIEVEMENTS] for episode in played]
    lengths = [episode["length"] for episode in played]
    shares = [100 * episode["return"] / SCORE_OF for episode in played]
    measured = {"achievements": unlocked, "reward in % of 22": shares, "length": lengths}
    parts = []
    for name, values in measured.items():
        low, high = bootstrap_mean_interval(values)
        parts.append(f"{name} {np.mean(values):.1f} [{low:.1f}, {high:.1f}]")
    return f"{n} episodes: {', '.join(parts)}; score {score(rates.values()):.1f}%", rates


def play(
    task: Task, live: LiveTeacher, config: EvaluateConfig, follow: bool, hard: bool
) -> tuple[str, dict[str, Any], Watched, list[dict[str, Any]]]:
    """One line of the table, the same as a record, the policy, and the episodes."""
    watched = WatchedOptions(task, live, hard) if follow else WatchedAdvice(task, live)
    began, episodes = time.perf_counter(), config.episodes
    played = evaluate_policy(task, watched, "sampled", config, seed=0)
    seconds = time.perf_counter() - began - live.questions.seconds
    won = sum(episode["success"] for episode in played)
    low, high = wilson_interval(won, episodes)
    steps = sum(episode["length"] for episode in played)
    row = {
        "task": task.name,
        "episodes": episodes,
        "success": round(won / episodes, 4),
        "success_low": round(low, 4),
        "success_high": round(high, 4),
        "mean_steps": round(steps / episodes, 2),
        "states": len(watched.states),
        "seeds": config.seeds,
    }
    line = (
        f"| {task.name} | {won / episodes:.1%} [{low:.1%}, {high:.1%}] | {steps / episodes:.1f} "
        f"| {len(watched.states)} | {watched.silent / watched.steps:.1%} | {live.questions.asked} "
        f"| {steps / seconds:,.0f} |"
    )
    return line, row, watched, played


def origin() -> dict[str, str]:
    """Where a figure comes from, as `compare` states it."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    command = shlex.join(sys.argv)
    return {"date": now, "commit": source_commit(), "machine": machine(), "command": command}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", required=True, help="one or more tasks")
    parser.add_argument("--teacher", nargs="+", default=["recorded/handwritten"])
    parser.add_argument("--prompt", help="name of the teacher's prompt")
    parser.add_argument("--method", help="how the teacher is asked, such as judgments")
    parser.add_argument("--softmax-temperature", type=float, default=0.3, help="of judgments")
    parser.add_argument("--orders", type=int, default=3, help="embedded: orders of the examples")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument(
        "--hard", action="store_true", help="plans that are followed: the likeliest, draw none"
    )
    parser.add_argument("--seeds", choices=get_args(EpisodeSet), default="test-2")
    parser.add_argument("--workspace", type=Path, default=Path("workspace/own_policy"))
    parser.add_argument("--show-states", action="store_true", help="list the states, on stderr")
    parser.add_argument(
        "--follow", action="store_true", help="Crafter: follow plans, do not mix them"
    )
    parser.add_argument("--csv", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--record", type=Path, help="also write what was advised there as a recording (JSON)"
    )
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []  # of the CSV
    for name in arguments.teacher:
        print(f"\n{name}, {arguments.episodes} held-out episodes, sampled\n\n{HEADER}")
        print("|" + " --- |" * (HEADER.count("|") - 1), flush=True)
        teachers: dict[str, Teacher] = {}  # by family: a model is loaded once
        stores: dict[str, AdviceStore] = {}
        met: set[str] = set()  # keys of the questions about all states met
        for task_name in arguments.task:
            task = get_task(task_name)
            if task.family not in teachers:
                config = TeacherConfig(
                    teacher=name,
                    method=arguments.method,
                    prompt=arguments.prompt,
                    orders=arguments.orders,
                    softmax_temperature=arguments.softmax_temperature,
                )
                teachers[task.family] = make_teacher(config, task.family)
            teacher = teachers[task.family]
            info = teacher.info
            store = advice_of(info, Workspace(arguments.workspace), task.family)
            stores[task.family] = store
            episodes = EvaluateConfig(episodes=arguments.episodes, seeds=arguments.seeds)
            questions = questions_of(task, config, info)
            live = LiveTeacher(task, store, teacher, questions=questions)
            follow = arguments.follow or task.many_plans
            line, row, watched, played = play(task, live, episodes, follow, arguments.hard)
            print(line, flush=True)
            if ACHIEVEMENTS in played[0]["measures"]:
                sentence, rates = published(played)
                way = "followed" if follow else "mixed"
                print(f"\nplans {way}, {sentence}", flush=True)
                columns = {"task": task_name, "teacher": name, "plans": way}
                rows += [
                    {**columns, "achievement": a, "rate": f"{r:.3f}"} for a, r in rates.items()
                ]
            else:
                rows.append({"teacher": name, **row, **origin()})
            met |= {q.key for q in distinct_questions(questions, watched.states.values())}
            if arguments.show_states:
                texts = sorted(state.text for state in watched.states.values())
                print(*texts, sep="\n", file=sys.stderr)
        for teacher in teachers.values():
            teacher.close()
        if arguments.record:
            answers = write_recording(arguments.record, info, stores, shlex.join(sys.argv), met)
            print(f"{answers} answers in {arguments.record}", file=sys.stderr)
        if arguments.csv and rows:
            with arguments.csv.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
