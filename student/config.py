"""Settings of the student's stages, each with its meaning and unit."""

from __future__ import annotations

import difflib
from typing import Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from llm4teach.envs.custom.loading import KL_SCHEDULES, is_from_elsewhere
from llm4teach.envs.seeds import EpisodeSet

Mode = Literal["sampled", "greedy", "argmax"]  # greedy: argmax that does not run in circles

KLScheduleName = Literal["plateau", "constant", "linear", "stepwise", "cosine", "return-ratio"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _renamed(name: str, earlier: str) -> AliasChoices:
    """A setting's names; the earlier one stays valid for one release."""
    return AliasChoices(name, earlier)


class CollectConfig(_Settings):
    """How trajectories are collected before the student ever learns online."""

    steps: int = Field(4_000, ge=1, description="env steps in all rounds together")
    rounds: int = Field(4, ge=1, description="rounds of collect, label and pretrain (DAgger)")
    n_envs: int = Field(16, ge=1, description="episodes that run side by side")
    workers: int = Field(
        0, ge=0, description="processes that step MiniGrid tasks; 0: only this one"
    )
    teacher_fraction: float = Field(
        0.5,
        ge=0,
        le=1,
        description="fraction of the later rounds' episodes that the teacher controls",
        validation_alias=_renamed("teacher_fraction", "teacher_share"),
    )
    plan_epsilon: float = Field(
        0.3,
        ge=0,
        le=1,
        description="probability of a random admissible plan instead of the advised one",
        validation_alias=_renamed("plan_epsilon", "doubt"),
    )
    action_epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="probability of a uniformly random action",
        validation_alias=_renamed("action_epsilon", "noise"),
    )

    ask: bool | None = Field(
        None,
        description="ask the teacher about new states while collecting, and follow its plans from "
        "the first step (default: in raw MiniGrid tasks, where most plans lead nowhere)",
    )

    @model_validator(mode="after")
    def _some_step(self) -> CollectConfig:
        """Refuse a number of steps of which nothing would be stored."""
        if self.steps < self.n_envs:
            raise ValueError(
                f"{self.steps} steps are fewer than one in each of n_envs = {self.n_envs} "
                f"environments; give {self.n_envs} or more, or lower n_envs"
            )
        return self


class StudentConfig(_Settings):
    """The student's network."""

    encoder: Literal["cells", "convolutions"] = Field(
        "cells",
        description="how maps of cells are read: each cell on its own, or by the convolutions of "
        "version 0.1, which take ten times as long",
    )


class PretrainConfig(_Settings):
    """Distillation from stored advice."""

    epochs: int = Field(20, ge=1, description="passes over the collected steps")
    batch_size: int = Field(128, ge=1, description="minibatch size")
    learning_rate: float = Field(2e-3, gt=0, description="peak of Adam's one-cycle schedule")
    weight_decay: float = Field(0.1, ge=0, description="decoupled weight decay (AdamW)")
    value_coef: float = Field(0.5, ge=0, description="weight of the critic's loss")
    gamma: float = Field(0.99, ge=0, le=1, description="discount factor of the returns")
    reweight_temperature: float = Field(
        0.003,
        ge=0,
        description="temperature of reweighting by return; 0 disables it",
        validation_alias=_renamed("reweight_temperature", "outcome_temperature"),
    )
    advice_error_prior: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="prior probability that the advice is wrong in a state",
        validation_alias=_renamed("advice_error_prior", "outcome_doubt"),
    )


class FinetuneConfig(_Settings):
    """PPO with a decaying KL term to the teacher; the names are PPO's usual ones."""

    steps: int = Field(61_440, ge=0, description="env steps in all")
    n_envs: int = Field(32, ge=1, description="environments that run side by side")
    workers: int = Field(
        0, ge=0, description="processes that step MiniGrid tasks; 0: only this one"
    )
    rollout_length: int = Field(64, ge=1, description="env steps per environment between updates")
    epochs: int = Field(4, ge=1, description="passes over each rollout")
    minibatches: int = Field(8, ge=1, description="gradient steps per pass")
    learning_rate: float = Field(5e-4, gt=0, description="learning rate of Adam, annealed to 0")
    gamma: float = Field(0.99, ge=0, le=1, description="discount factor")
    gae_lambda: float = Field(
        0.95, ge=0, le=1, description="lambda of generalized advantage estimation"
    )
    clip: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio")
    value_coef: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_coef: float = Field(0.005, ge=0, description="weight of the entropy bonus")
    max_grad_norm: float = Field(0.5, gt=0, description="gradients are clipped to this norm")
    kl_coef: float = Field(1.0, ge=0, description="weight of KL(teacher || student) at the start")
    kl_schedule: str = Field(
        "plateau",
        description="how the weight falls until kl_off: plateau, constant, linear, stepwise, "
        "cosine, return-ratio, or your own as module:function",
    )
    kl_plateau: float = Field(0.1, ge=0, description="plateau: weight it falls to, linearly")
    kl_decay: float = Field(
        0.3, ge=0, le=1, description="plateau: fraction of the steps in which it falls"
    )
    kl_target_return: float = Field(
        0.8, gt=0, description="return-ratio: recent return at which the weight is 0"
    )
    kl_off: float = Field(
        0.4, ge=0, le=1, description="fraction of the steps after which the weight is 0"
    )
    checkpoint_every: int = Field(5, ge=1, description="updates between checkpoints")

    @field_validator("kl_schedule")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        """Refuse what is neither a schedule of this package nor one from elsewhere."""
        names = get_args(KLScheduleName)
        if name not in names and not is_from_elsewhere(KL_SCHEDULES, name):
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}? The schedules" if close else "the schedules"
            raise ValueError(
                f"there is no schedule {name!r}; {hint} are {', '.join(names)}, and your own as "
                "module:function"
            )
        return name

    @model_validator(mode="after")
    def _some_update(self) -> FinetuneConfig:
        """Refuse a budget in which nothing would be learned."""
        update = self.n_envs * self.rollout_length
        if 0 < self.steps < update:
            raise ValueError(
                f"{self.steps} steps are less than one update, n_envs x rollout_length = "
                f"{self.n_envs} x {self.rollout_length} = {update}; raise steps or lower these"
            )
        return self


_OF_TEACHER = 100  # episodes, where nearly every one has states that no other has


class EvaluateConfig(_Settings):
    """Evaluation on seeds that no training ever uses."""

    episodes: int = Field(500, ge=1, description="held-out episodes for each policy and mode")
    seeds: EpisodeSet = Field(
        "test-2",
        description="which held-out episodes: those of final tables (test-2), those of earlier "
        "tables (test), or those to choose settings and prompts by (development)",
    )
    n_envs: int = Field(64, ge=1, description="episodes that run side by side")
    teacher_episodes: int | None = Field(
        None,
        ge=1,
        description="the first of these that the teacher plays alone, where every new state is a "
        "question to it (default: all; in raw MiniGrid tasks, which have many states, 100)",
    )

    control: bool = Field(
        False,
        description="teach: also train the same student without an LLM (teacher `none`, same env "
        "steps), and let it play the same episodes",
    )

    def of_teacher(self, many_plans: bool) -> EvaluateConfig:
        """Return the evaluation of a teacher alone, in a task with many plans or with few."""
        wanted = self.teacher_episodes or (_OF_TEACHER if many_plans else self.episodes)
        return self.model_copy(update={"episodes": min(self.episodes, wanted)})


class RetrainConfig(_Settings):
    """Retraining: where the challenger starts, and when it takes the champion's place."""

    start: Literal["scratch", "champion"] = Field(
        "scratch", description="weights that pretraining starts from"
    )
    mode: Mode = Field("sampled", description="how both choose their actions")
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="confidence of the paired test that the challenger is better",
    )
    margin: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="loss of success rate that does not matter: a larger one has to be ruled out "
        "by the paired test",
    )
    gate: bool = Field(
        True,
        description="reject students that are not shown to be better than random play, or are "
        "shown to be worse than the logged behavior",
    )
    gate_steps: int = Field(
        600,
        ge=1,
        description="gradient steps of each critic of the offline report, which decides nothing "
        "and needs the extra offline-rl",
    )


class ValidationConfig(_Settings):
    """Learning curves: development episodes, played on the way, that nothing learns from."""

    points: int = Field(20, ge=1, description="points over the budget of env steps, at most")
    episodes: int = Field(
        200, ge=1, description="episodes per point; 200 or more for a success rate that holds"
    )
