"""Trials of hierarchical RL: PPO over the options that a teacher would advise on, without one."""

from __future__ import annotations

import time
from typing import Any

import torch

from llm4teach.flows.experiments.learning_curve import LearningCurve
from llm4teach.flows.experiments.trial import Trial
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.evaluate import Contestant, play
from llm4teach.student.model.network import Student
from llm4teach.student.training.option_player import MOST_PLANS
from llm4teach.student.training.option_ppo import OptionTrainer


def train_over_options(ctx: Context, trial: Trial) -> None:
    """Train, measure on the way, and play the held-out episodes.

    A trial that was killed starts again, and ends with the same figures.
    """
    task = ctx.task
    torch.manual_seed(ctx.seed)
    student = Student(
        task.student_shape,
        MOST_PLANS,
        ctx.settings.student.encoder,
        record_shape=task.observation_shape,
        reads=task.encoder,
    )
    student = student.to("cuda" if torch.cuda.is_available() else "cpu")
    trainer = OptionTrainer(task, student, trial.sections()["finetune"], ctx.seed)
    curve = LearningCurve(ctx, trial.settings.validation, trial.budget)
    curve.maybe(0, trainer.player(ctx.seed), 0.0)
    spent, since = 0.0, time.process_time()

    def on_update(step: int, losses: dict[str, Any]) -> None:
        nonlocal spent, since
        spent += time.process_time() - since
        ctx.run.log("finetune", step, losses)
        curve.maybe(step, trainer.player(ctx.seed), spent)
        since = time.process_time()

    try:
        steps = trainer.run(on_update)
    finally:
        trainer.close()
    curve.finish(steps, trainer.player(ctx.seed), spent)
    ctx.run.note(finetune_steps=steps, train_cpu_s=spent)
    players: list[Contestant] = [
        ("student", trainer.player(ctx.seed), "sampled"),
        ("student", trainer.player(ctx.seed, greedy=True), "greedy"),
    ]
    play(ctx, trial.settings.evaluate, players)
