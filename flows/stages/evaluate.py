"""The stage that plays held-out episodes: student, teacher and a random policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch

from llm4teach.datasets.runs import reweighting_path
from llm4teach.envs.task import Task
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.checkpoints import PRETRAINED, stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.config import EvaluateConfig, Mode
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.evaluation.replay import agreement_rows, filmed
from llm4teach.student.model.network import Student, n_bytes
from llm4teach.student.policies import (
    AdviceSource,
    BehaviorPolicy,
    Policy,
    StudentPolicy,
    teacher_policy,
    uniform_policy,
)
from llm4teach.teacher_labeling.live import LiveTeacher

FILMS = 3  # episodes whose actions the report shows
COMPARED = 100  # episodes in which student and teacher are compared state by state
NO_LLM_STUDENT = "no-llm"  # policy of the control's student
_ASKING = ("teacher", "reweighted")  # policies that ask about the states they meet
Contestant = tuple[str, Policy | BehaviorPolicy, Mode]


def evaluate(
    ctx: Context, config: EvaluateConfig, from_run: str, control_run: str | None = None
) -> None:
    """Play the held-out episodes with student, teacher and a random policy; store every episode.

    The student of ``control_run`` plays as ``no-llm``.
    """
    students = _students(ctx, from_run)
    policy = StudentPolicy(students["student"])
    teachers = [ctx.live_teacher(ask=True)]
    if reweighting_path(ctx.workspace.run(from_run)):
        teachers.append(ctx.live_teacher(ask=True, reweighted_by=from_run))
    others: list[Contestant] = [
        *(("reweighted", _own_policy(ctx, teacher), "sampled") for teacher in teachers[1:]),
        ("teacher", _own_policy(ctx, teachers[0]), "sampled"),
        ("teacher", _own_policy(ctx, teachers[0]), "greedy"),
        ("random", uniform_policy(len(ctx.task.action_names)), "sampled"),
    ]
    if control_run:
        control = StudentPolicy(stored_student(ctx.workspace, ctx.task, control_run))
        others += [(NO_LLM_STUDENT, control, "sampled"), (NO_LLM_STUDENT, control, "greedy")]
    with ExitStack() as stack:
        for one in teachers:
            stack.callback(one.close)
        episodes = play(ctx, config, _contestants(students) + others)
        compared = min(COMPARED, config.of_teacher(ctx.task.many_plans).episodes)
        _compare_choices(ctx, policy, teachers[0], episodes, compared)
        shown = [e for e in episodes if (e["policy"], e["mode"]) == ("student", "sampled")][:FILMS]
        ctx.run.write_films(
            [filmed(ctx.task, one, policy, teachers[0], teachers[0].mixtures) for one in shown]
        )
    ctx.run.note(student_bytes=n_bytes(students["student"]), evaluated_run=from_run)
    reports = [teacher.questions for teacher in teachers]
    ctx.run.count(
        evaluation_questions=sum(report.asked for report in reports),
        evaluation_tokens=sum(r.prompt_tokens + r.completion_tokens for r in reports),
        evaluation_cost=sum(report.cost for report in reports),
    )


def _compare_choices(
    ctx: Context,
    student: Policy,
    teacher: AdviceSource,
    episodes: list[dict[str, Any]],
    compared: int,
) -> None:
    """Store what student and teacher would do in each state, in so many episodes of either."""
    rows: list[dict[str, Any]] = []
    for policy in ("student", "teacher"):
        played = [e for e in episodes if (e["policy"], e["mode"]) == (policy, "sampled")][:compared]
        identity = {"run_id": ctx.run.run_id, "policy": policy, "mode": "sampled"}
        rows += [{**identity, **r} for r in agreement_rows(ctx.task, played, student, teacher)]
    ctx.run.write_agreement(rows)


def evaluate_students(
    ctx: Context,
    config: EvaluateConfig,
    from_run: str,
    policies: Sequence[str] = ("student", "pretrained"),
) -> None:
    """Play the held-out episodes with a run's students alone; store every episode."""
    students = _students(ctx, from_run)
    chosen = {name: student for name, student in students.items() if name in policies}
    play(ctx, config, _contestants(chosen))


def evaluate_teacher(ctx: Context, config: EvaluateConfig) -> None:
    """Play the held-out episodes with the teacher alone; store every episode."""
    modes: tuple[Mode, ...] = ("sampled", "greedy")
    with closing(ctx.live_teacher(ask=True)) as teacher:
        play(ctx, config, [("teacher", _own_policy(ctx, teacher), mode) for mode in modes])


def _own_policy(ctx: Context, teacher: LiveTeacher) -> Policy | BehaviorPolicy:
    return own_policy(ctx.task, teacher, np.random.default_rng(ctx.seed))


def own_policy(
    task: Task, teacher: LiveTeacher, rng: np.random.Generator
) -> Policy | BehaviorPolicy:
    """The teacher's own policy: its plans mixed in every step, or followed where they are many."""
    if not task.many_plans:
        return teacher_policy(teacher)
    return OptionBehavior(task, teacher.mixtures, 0.0, rng)


def _students(ctx: Context, from_run: str) -> dict[str, Student]:
    """Load a run's student and, if it was fine-tuned after a pretraining, the one before that."""
    student = stored_student(ctx.workspace, ctx.task, from_run)
    students = {"student": student}
    if (ctx.workspace.run(from_run) / PRETRAINED).exists():
        before = stored_student(ctx.workspace, ctx.task, from_run, PRETRAINED)
        now = student.state_dict()
        if any(not torch.equal(now[name], value) for name, value in before.state_dict().items()):
            students["pretrained"] = before
    return students


def _contestants(students: Mapping[str, Student]) -> list[Contestant]:
    modes: tuple[Mode, ...] = ("sampled", "greedy", "argmax")
    return [
        (name, StudentPolicy(student), mode)
        for name, student in students.items()
        for mode in modes
        if name == "student" or mode != "argmax"
    ]


def play(
    ctx: Context, config: EvaluateConfig, contestants: Sequence[Contestant]
) -> list[dict[str, Any]]:
    """Let each play the held-out episodes; store every episode in the run, and return them."""
    rows: list[dict[str, Any]] = []
    of_teacher = config.of_teacher(ctx.task.many_plans)
    configs = [of_teacher if name in _ASKING else config for name, _, _ in contestants]
    with stage("evaluate", sum(one.episodes for one in configs), "episodes") as shown:
        for (name, policy, mode), one in zip(contestants, configs, strict=True):
            episodes = evaluate_policy(ctx.task, policy, mode, one, ctx.seed, shown.advance)
            identity = {"run_id": ctx.run.run_id, "task": ctx.task.name}
            rows += [{**identity, "policy": name, "mode": mode, **e} for e in episodes]
        shown.summary = f"{config.episodes} held-out episodes for each of {len(contestants)}"
        if any(one.episodes < config.episodes for one in configs):
            shown.summary += f", {of_teacher.episodes} for a teacher"
    stored = [{**row, "measures": list(row["measures"].items())} for row in rows]  # Arrow's maps
    ctx.run.write_evaluation([{k: v for k, v in row.items() if k != "actions"} for row in stored])
    return rows
