"""Trials of d3rlpy's algorithms, which are fitted to what the teacher's own policy has played."""

from __future__ import annotations

import time
from dataclasses import replace

from llm4teach.analysis.offline_rl.critics import cloned_policy, conservative_q, greedy_policy
from llm4teach.analysis.offline_rl.off_policy import Logged, logged_episodes
from llm4teach.errors import DatasetError
from llm4teach.flows.experiments.learning_curve import LearningCurve
from llm4teach.flows.experiments.trial import Trial
from llm4teach.flows.stages.collect import collect
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.evaluate import play
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.student.policies import Policy, uniform_policy


def fit(ctx: Context, trial: Trial) -> None:
    """Collect in rounds; after each one fit the algorithm to all that was collected, and play.

    A resumed trial collects nothing again and fits again. With the settings of behavior cloning the
    trajectories are those of behavior cloning, step by step.

    Raises:
        TeacherError: a state had to be asked about and the teacher cannot answer.
        DatasetError: no episode was collected to its end, so nothing can be fitted.
    """
    config = trial.sections()["collect"]
    curve = LearningCurve(ctx, trial.settings.validation, trial.budget)
    policy = uniform_policy(len(ctx.task.action_names))
    curve.maybe(0, policy, 0.0)
    spent = 0.0  # CPU-seconds
    for number in range(1, config.rounds + 1):
        began = time.process_time()
        collect(ctx, config, None, config.steps * number // config.rounds)
        policy = _fitted(ctx, trial)
        spent += time.process_time() - began
        curve.measure(ctx.run.results["collect_steps"], policy, spent)
    curve.finish(ctx.run.results["collect_steps"], policy, spent)
    ctx.run.note(train_cpu_s=spent)
    play(
        ctx,
        trial.settings.evaluate,
        [("student", policy, "sampled"), ("student", policy, "greedy")],
    )


def _fitted(ctx: Context, trial: Trial) -> Policy:
    """Return the policy after as many passes over the steps as distillation makes."""
    task, config = ctx.task, trial.settings.pretrain
    logged = logged_episodes(trajectories(ctx, ctx.run.run_id))
    if logged is None:
        raise DatasetError(
            f"no episode of {task.name} ended in {ctx.run.results['collect_steps']} collected "
            "steps, so d3rlpy has nothing to learn from; raise --collect.steps"
        )
    logged = _as_students_see(ctx, logged)
    n_actions = len(task.action_names)
    updates = config.epochs * -(-len(logged.actions) // config.batch_size)
    reads = None if callable(task.encoder) else task.encoder  # d3rlpy cannot store modules
    common = {"steps": updates, "batch_size": config.batch_size, "seed": ctx.seed}
    if trial.method.algorithm == "DiscreteBC":
        policy = cloned_policy(logged, n_actions, reads=reads, **common)
    else:
        q = conservative_q(logged, n_actions, config.gamma, reads=reads, **common)
        policy = q and greedy_policy(q)
    assert policy is not None, "checked before any trial starts"
    return lambda observations: policy(task.student_observations(observations))


def _as_students_see(ctx: Context, logged: Logged) -> Logged:
    observations = ctx.task.student_observations(logged.observations)
    rewards = logged.rewards / ctx.task.return_scale
    return replace(logged, observations=observations, rewards=rewards)
