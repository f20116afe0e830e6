"""Rollouts: what the student does for a while in many environments, with the teacher's advice."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from llm4teach.envs.task import episode_success
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import AdviceSource
from llm4teach.student.training.ppo import Batch, generalized_advantages


@dataclass
class EpisodeStats:
    """Episodes that ended during a rollout, while the student drove."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    successes: int = 0


@torch.no_grad()
def collect_rollout(
    student: Student,
    teacher: AdviceSource | None,
    envs: EpisodeVector,
    config: FinetuneConfig,
    generator: torch.Generator,
    running_returns: Tensor,
) -> tuple[Batch, EpisodeStats]:
    """Step every environment ``config.rollout_length`` times with the student's sampled actions.

    Args:
        student: acts, and values what it sees.
        teacher: asked for advice on every observation; None where nobody needs it.
        envs: N environments, stepped on from where they are.
        config: rollout length T, discounts.
        generator: draws the actions.
        running_returns: undiscounted return so far of each running episode, (N,); updated.

    Returns:
        The T*N steps as one batch on the student's device, and the episodes that ended.
    """
    n, device = len(envs), student.device
    rows: list[tuple[Tensor, ...]] = []
    advice: list[Tensor] = []
    stats = EpisodeStats()
    for _ in range(config.rollout_length):
        seen = torch.from_numpy(envs.observations.copy())  # (N, *shape)
        output = student(seen.to(device))
        log_probs = output.logits.log_softmax(-1).cpu()  # (N, n_actions)
        actions = torch.multinomial(log_probs.exp(), 1, generator=generator)  # (N, 1)
        advice.append(
            torch.from_numpy(teacher.teacher_probs(seen.numpy()))
            if teacher is not None
            else torch.zeros_like(log_probs)
        )
        lengths = envs.steps_in_episode + 1
        step = envs.step(actions.squeeze(1).numpy())
        terminated, truncated = torch.from_numpy(step.terminated), torch.from_numpy(step.truncated)
        rewards = torch.from_numpy(step.rewards)
        cut_values = torch.zeros(n)  # V of where the time limit cut an episode
        if truncated.any():
            cut = torch.from_numpy(step.final_observations[step.truncated])
            cut_values[truncated] = student(cut.to(device)).values.cpu()
        logprobs = log_probs.gather(1, actions).squeeze(1)
        values = output.values.cpu()
        rows.append(
            (seen, actions.squeeze(1), logprobs, rewards, values, cut_values, terminated, truncated)
        )
        running_returns += rewards
        succeeded = episode_success(envs.task, step.terminated, running_returns.numpy())  # (N,)
        for i in torch.nonzero(terminated | truncated).flatten().tolist():
            stats.returns.append(running_returns[i].item())
            stats.lengths.append(int(lengths[i]))
            stats.successes += bool(succeeded[i])
            running_returns[i] = 0
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]  # each (T, N, ...)
    observations, acted, logprobs, rewards, values, cut_values, terminated, truncated = columns
    last = student(torch.from_numpy(envs.observations).to(device)).values.cpu()  # (N,)
    following = torch.cat([values[1:], last[None]])  # (T, N)
    next_values = torch.where(truncated, cut_values, following)
    advantages = generalized_advantages(
        rewards, values, next_values, terminated, truncated, config.gamma, config.gae_lambda
    )
    steps = (observations, acted, logprobs, advantages, advantages + values, torch.stack(advice))
    return Batch(*(x.flatten(0, 1).to(device) for x in steps)), stats
