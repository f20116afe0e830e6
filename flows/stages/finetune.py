"""The stage that fine-tunes a student: PPO with a decaying KL term to the live teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing

from torch.utils.tensorboard import SummaryWriter

from llm4teach.datasets.storage.parquet import local_folder
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.checkpoints import RESUME, store_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.label import spent
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import (
    policy_entropy,
)
from llm4teach.student.training.finetune import Finetuner
from llm4teach.teacher_labeling.ask_policy import ask_policy


def finetune(
    ctx: Context,
    config: FinetuneConfig,
    student: Student,
    reweighted_by: str | None = None,
    on_update: Callable[[int], None] = lambda step: None,
) -> None:
    """Train the student online and store it; resume from the run's last checkpoint if it has one.

    The returns of the run ``reweighted_by`` reweight the teacher's advice. ``on_update`` receives
    the env steps so far after each update; its time is not training time.
    """
    policy = ask_policy(ctx.live, policy_entropy(student))
    teacher = ctx.live_teacher(True, reweighted_by, policy, asks_in_background(ctx))
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
        if useless := teacher.questions.invalid + teacher.questions.refused:
            shown.summary += f"; {useless} live questions without valid advice"
        if teacher.waiting:
            shown.summary += f"; {teacher.waiting} states still without an answer"
        if ctx.budget.reached:
            shown.summary += f"; asked no more: {ctx.budget.reached}"
    store_student(ctx.run, ctx.task, student, "finetune", ctx.seed)
    ctx.run.note(finetune_steps=tuner.n_updates * tuner.steps_per_update)
    state.unlink(missing_ok=True)


def asks_in_background(ctx: Context) -> bool:
    """Whether fine-tuning goes on while the teacher thinks."""
    chosen = ctx.live.in_background
    return ctx.teacher.info.remote if chosen is None else chosen
