"""Rollouts: what the student does for a while in many environments, with the teacher's advice."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

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


class RolloutBuffer:
    """Room for the T steps of N environments, on the student's device, filled again and again.

    Args:
        student: whose steps; an observation is encoded once, when it is seen.
        envs: N environments.
        length: T, in env steps per environment.
    """

    def __init__(self, student: Student, envs: EpisodeVector, length: int) -> None:
        n, n_actions = len(envs), len(envs.task.action_names)
        inputs = student.encode(torch.from_numpy(envs.observations[:1]))

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(length, n, *shape, dtype=dtype, device=student.device)

        self.inputs = room(*inputs.shape[1:], dtype=inputs.dtype)
        self.actions = room(dtype=torch.int64)
        self.logprobs, self.rewards, self.values = room(), room(), room()
        self.cut_values = room()  # V of where the time limit cut an episode
        self.terminated, self.truncated = room(dtype=torch.bool), room(dtype=torch.bool)
        self.teacher_probs = room(n_actions)

    def batch(self, last_values: Tensor, config: FinetuneConfig) -> Batch:
        """Return the T*N steps as one batch, which shares the buffer's memory.

        Args:
            last_values: V of the observations after the last step, (N,).
            config: discounts.
        """
        following = torch.cat([self.values[1:], last_values[None]])  # (T, N)
        advantages = generalized_advantages(
            self.rewards,
            self.values,
            torch.where(self.truncated, self.cut_values, following),
            self.terminated,
            self.truncated,
            config.gamma,
            config.gae_lambda,
        )
        returns = advantages + self.values
        columns = (self.inputs, self.actions, self.logprobs, advantages, returns)
        return Batch(*(column.flatten(0, 1) for column in (*columns, self.teacher_probs)))


@torch.no_grad()
def collect_rollout(
    student: Student,
    teacher: AdviceSource | None,
    envs: EpisodeVector,
    buffer: RolloutBuffer,
    config: FinetuneConfig,
    generator: torch.Generator,
    running_returns: Tensor,
) -> tuple[Batch, EpisodeStats]:
    """Step every environment with the student's sampled actions until the buffer is full.

    Args:
        student: acts, and values what it sees.
        teacher: asked for advice on every observation; None where nobody needs it.
        envs: N environments, stepped on from where they are.
        buffer: of T steps in these environments; overwritten.
        config: discounts.
        generator: draws the actions.
        running_returns: undiscounted return so far of each running episode, (N,); updated.

    Returns:
        The T*N steps as one batch on the student's device, and the episodes that ended.
    """
    device, stats = student.device, EpisodeStats()
    if teacher is None:
        buffer.teacher_probs.zero_()
    with student.encoder.fixed():
        inputs = student.encode(torch.from_numpy(envs.observations))
        for t in range(len(buffer.inputs)):
            output = student.from_inputs(inputs)
            log_probs = output.logits.log_softmax(-1)  # (N, n_actions)
            probs = log_probs.exp().cpu()
            actions = torch.multinomial(probs, 1, generator=generator)  # (N, 1)
            if teacher is not None:
                buffer.teacher_probs[t] = torch.from_numpy(teacher.teacher_probs(envs.observations))
            lengths = envs.steps_in_episode + 1
            step = envs.step(actions.squeeze(1).numpy())
            rewards = torch.from_numpy(step.rewards)
            buffer.inputs[t], buffer.values[t] = inputs, output.values
            chosen = actions.to(device)
            buffer.actions[t] = chosen.squeeze(1)
            buffer.logprobs[t] = log_probs.gather(1, chosen).squeeze(1)
            buffer.rewards[t] = rewards / envs.task.return_scale
            buffer.terminated[t] = torch.from_numpy(step.terminated)
            buffer.truncated[t] = torch.from_numpy(step.truncated)
            running_returns += rewards
            ended = (step.terminated | step.truncated).nonzero()[0]
            if len(ended):
                if step.truncated.any():
                    cut = torch.from_numpy(step.final_observations[step.truncated])
                    buffer.cut_values[t, buffer.truncated[t]] = student(cut).values
                succeeded = envs.task.is_success(step.terminated, running_returns.numpy())
                stats.returns += running_returns[ended].tolist()
                stats.lengths += lengths[ended].tolist()
                stats.successes += int(succeeded[ended].sum())
                running_returns[ended] = 0
            inputs = student.encode(torch.from_numpy(envs.observations))
        return buffer.batch(student.from_inputs(inputs).values, config), stats
