"""The stages that meet the environment again: fine-tuning and evaluation, as plain functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from llm4teach.analysis.reports.run_report import write_report
from llm4teach.analysis.summary import summary_table
from llm4teach.datasets.runs import CHECKPOINT, EVALUATION, OUTCOMES, read_manifest
from llm4teach.datasets.schema import EVALUATIONS
from llm4teach.datasets.storage.parquet import local_folder, read_parquet
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.runtime import artifacts
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.checkpoints import PRETRAINED, RESUME, store_student, stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.label import spent
from llm4teach.student.config import EvaluateConfig, FinetuneConfig, Mode
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.evaluation.replay import agreement_rows, filmed
from llm4teach.student.model.network import Student, n_bytes
from llm4teach.student.policies import (
    AdviceSource,
    Policy,
    policy_entropy,
    student_policy,
    teacher_policy,
    uniform_policy,
)
from llm4teach.student.training.finetune import Finetuner
from llm4teach.teacher_labeling.ask_policy import ask_policy

FILMS = 3  # episodes whose actions the report shows
COMPARED = 100  # episodes in which student and teacher are compared state by state


def finetune(
    ctx: Context,
    config: FinetuneConfig,
    student: Student,
    weighed_by: str | None = None,
    on_update: Callable[[int], None] = lambda step: None,
) -> None:
    """Train the student online and store it; go on from the run's last checkpoint if it has one.

    The teacher's advice counts as the outcomes of the run ``weighed_by`` have weighed it.
    ``on_update`` is told the env steps so far after each update; its time is not training time.
    """
    policy = ask_policy(ctx.live, policy_entropy(student))
    teacher = ctx.live_teacher(True, weighed_by, policy, asks_in_background(ctx))
    tuner = Finetuner(ctx.task, student, teacher, config, ctx.seed)
    state = ctx.run.folder / RESUME
    if state.exists():
        tuner.restore(state)
        ctx.run.forget_after("finetune", tuner.update * tuner.steps_per_update)
    before = ctx.run.results
    earlier_questions = before.get("live_questions", 0)  # of attempts that were killed
    earlier_tokens = before.get("prompt_tokens", 0) + before.get("completion_tokens", 0)
    counted: dict[str, float] = {}
    began, begun_at = time.monotonic(), tuner.update * tuner.steps_per_update

    with (
        local_folder(ctx.run.folder / "tensorboard") as logs,
        closing(SummaryWriter(str(logs))) as board,
        stage("finetune", tuner.n_updates * tuner.steps_per_update, "env steps") as shown,
    ):
        shown.at(begun_at)

        def log(step: int, values: Mapping[str, float]) -> None:
            nonlocal began
            live = teacher.questions
            asked = earlier_questions + live.asked
            tokens = earlier_tokens + live.prompt_tokens + live.completion_tokens
            speed = (step - begun_at) / (time.monotonic() - began)
            values = {**values, "live_questions": asked, "tokens": tokens, "steps_per_s": speed}
            ctx.run.log("finetune", step, values)
            for name, value in values.items():
                board.add_scalar(name, value, step)
            shown.at(step)
            rate = values.get("success_rate")
            last = f", {rate:.1%} of the last rollout's episodes solved" if rate is not None else ""
            shown.summary = f"{step:,} env steps, {asked} live questions{last}"
            paused = time.monotonic()
            on_update(step)
            began += time.monotonic() - paused

        def count() -> None:
            nonlocal counted
            live = teacher.questions
            now = {"live_questions": live.asked, **spent(live)}
            ctx.run.count(**{name: n - counted.get(name, 0) for name, n in now.items()})
            counted = now

        def checkpoint() -> None:
            ctx.run.flush()
            count()
            tuner.save(state)

        try:
            tuner.run(log, checkpoint)
        finally:
            teacher.close()
            count()
            tuner.close()
        shown.summary = shown.summary or "0 env steps"
        if teacher.waiting:
            shown.summary += f"; {teacher.waiting} states still without an answer"
        if ctx.spending.reached:
            shown.summary += f"; asked no more: {ctx.spending.reached}"
    store_student(ctx.run, ctx.task, student, "finetune", ctx.seed)
    ctx.run.note(finetune_steps=tuner.n_updates * tuner.steps_per_update)
    state.unlink(missing_ok=True)


def asks_in_background(ctx: Context) -> bool:
    """Whether fine-tuning goes on while the teacher thinks."""
    chosen = ctx.live.in_background
    return "openai" in ctx.teacher.info.backend if chosen is None else chosen


Contestant = tuple[str, Policy, Mode]


def evaluate(ctx: Context, config: EvaluateConfig, from_run: str) -> None:
    """Play the held-out episodes with student, teacher and a random policy; store every episode."""
    teacher = ctx.live_teacher(ask=True)
    random = uniform_policy(len(ctx.task.action_names))
    asked = [teacher]
    others: list[Contestant] = [
        ("teacher", teacher_policy(teacher), "sampled"),
        ("teacher", teacher_policy(teacher), "greedy"),
        ("random", random, "sampled"),
    ]
    if (ctx.workspace.run(from_run) / OUTCOMES).exists():
        weighed = ctx.live_teacher(ask=True, weighed_by=from_run)
        asked.append(weighed)
        others.insert(0, ("weighed", teacher_policy(weighed), "sampled"))
    episodes = play(ctx, config, _students(ctx, from_run) + others)
    shown = [e for e in episodes if (e["policy"], e["mode"]) == ("student", "sampled")][:FILMS]
    _compare_choices(ctx, from_run, teacher, episodes)
    student = stored_student(ctx.workspace, ctx.task, from_run)
    pupil = student_policy(student)
    ctx.run.note(
        films=[filmed(ctx.task, episode, pupil, teacher) for episode in shown],
        student_bytes=n_bytes(student),
        evaluated_run=from_run,
    )
    reports = [source.questions for source in asked]
    ctx.run.count(
        evaluation_questions=sum(report.asked for report in reports),
        evaluation_tokens=sum(r.prompt_tokens + r.completion_tokens for r in reports),
        evaluation_cost=sum(report.cost for report in reports),
    )


def _compare_choices(
    ctx: Context, from_run: str, teacher: AdviceSource, played: list[dict[str, Any]]
) -> None:
    """Store what student and teacher would do in each state, in the episodes of either."""
    student = student_policy(stored_student(ctx.workspace, ctx.task, from_run))
    rows: list[dict[str, Any]] = []
    for policy in ("student", "teacher"):
        theirs = [e for e in played if (e["policy"], e["mode"]) == (policy, "sampled")][:COMPARED]
        identity = {"run_id": ctx.run.run_id, "policy": policy, "mode": "sampled"}
        rows += [{**identity, **r} for r in agreement_rows(ctx.task, theirs, student, teacher)]
    ctx.run.write_agreement(rows)


def evaluate_students(
    ctx: Context,
    config: EvaluateConfig,
    from_run: str,
    policies: Sequence[str] = ("student", "pretrained"),
) -> None:
    """Play the held-out episodes with a run's students alone; store every episode."""
    play(ctx, config, [c for c in _students(ctx, from_run) if c[0] in policies])


def evaluate_teacher(ctx: Context, config: EvaluateConfig) -> None:
    """Play the held-out episodes with the teacher alone; store every episode."""
    policy = teacher_policy(ctx.live_teacher(ask=True))
    play(ctx, config, [("teacher", policy, "sampled"), ("teacher", policy, "greedy")])


def _students(ctx: Context, from_run: str) -> list[Contestant]:
    names = {"student": CHECKPOINT, "pretrained": PRETRAINED}
    modes: tuple[Mode, ...] = ("sampled", "greedy", "argmax")
    return [
        (name, student_policy(stored_student(ctx.workspace, ctx.task, from_run, file)), mode)
        for name, file in names.items()
        if name == "student" or (ctx.workspace.run(from_run) / file).exists()
        for mode in modes
        if name == "student" or mode != "argmax"
    ]


def play(
    ctx: Context, config: EvaluateConfig, contestants: Sequence[Contestant]
) -> list[dict[str, Any]]:
    """Let each play the held-out episodes; store every episode in the run, and return them."""
    rows: list[dict[str, Any]] = []
    with stage("evaluate", config.episodes * len(contestants), "episodes") as shown:
        for name, policy, mode in contestants:
            episodes = evaluate_policy(ctx.task, policy, mode, config, ctx.seed, shown.advance)
            identity = {"run_id": ctx.run.run_id, "task": ctx.task.name}
            rows += [{**identity, "policy": name, "mode": mode, **e} for e in episodes]
        shown.summary = f"{config.episodes} held-out episodes for each of {len(contestants)}"
    stored = [{**row, "measures": list(row["measures"].items())} for row in rows]  # Arrow's maps
    ctx.run.write_evaluation([{k: v for k, v in row.items() if k != "actions"} for row in stored])
    return rows


def report(ctx: Context) -> dict[str, Any]:
    """Write the run's page; return its path, the final table and the results, as plain JSON."""
    ctx.run.flush()
    path = write_report(ctx.workspace, ctx.run.run_id, ctx.run.results)
    artifacts.show_funnel(ctx.run, ctx.task.name)
    artifacts.show_curves(ctx.run, ctx.task.name)
    artifacts.show_report(ctx.run, ctx.task.name, path)
    return {"report": str(path), **outcome(ctx)}


def outcome(ctx: Context) -> dict[str, Any]:
    """Return a run's id and results, with the final table if it was evaluated."""
    found: dict[str, Any] = {"run_id": ctx.run.run_id}
    found |= {k: v for k, v in ctx.run.results.items() if k != "films"}
    evaluation = ctx.run.folder / EVALUATION
    if evaluation.exists():
        found["table"] = summary_table(read_parquet(evaluation, EVALUATIONS))
    return found


def sharded_outcome(workspace: str, run_ids: Sequence[str]) -> dict[str, Any]:
    """Return the results of several runs of one labelling as those of one."""
    folders = [Workspace(workspace).run(run_id) for run_id in run_ids]
    results = [read_manifest(folder)["results"] for folder in folders]
    sums = ("questions", "prompt_tokens", "completion_tokens", "cost", "teacher_s")
    total = {name: sum(found.get(name, 0) for found in results) for name in sums}
    total |= {n: sum(f.get(n, 0) for f in results) for n in ("distinct_states", "states_left")}
    stopped = next((f["stopped_by"] for f in results if f.get("stopped_by")), "")
    more = f" and {len(run_ids) - 1} more" if len(run_ids) > 1 else ""
    known = {"run_id": run_ids[0] + more, "teacher_id": results[0]["teacher_id"]}
    return {**known, **total, "stopped_by": stopped}
