"""Pretraining: distill grounded advice into the student, without touching an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm4teach.envs.task import Observations
from llm4teach.student.config import PretrainConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training.ppo import returns_to_go, soft_cross_entropy

_AT_ONCE = 8_192  # observations that are encoded together


@dataclass(frozen=True)
class Steps:
    """Collected steps, each array of length N, one episode after the other."""

    observations: Observations  # uint8 (N, *observation_shape)
    teacher_probs: NDArray[np.float32]  # (N, n_actions); zeros where there is no advice
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    segment_ends: NDArray[np.bool_]  # the last stored step of each episode


def distill(
    student: Student,
    steps: Steps,
    config: PretrainConfig,
    seed: int,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> None:
    """Minimize the soft cross-entropy to the teacher's grounded advice, in place.

    The critic learns the collected returns alongside, so that fine-tuning starts with advantages
    that mean something.

    Args:
        student: to train; its device is used.
        steps: what was collected and labeled; steps without advice teach the critic only.
        config: epochs, batch size, learning rate (a one-cycle schedule peaks at it), discount.
        seed: of the order of the steps.
        on_epoch: told, after each epoch, the gradient steps so far, the mean ``loss`` (nats), the
            ``agreement`` (share of advised steps whose likeliest action is one of the teacher's
            likeliest) and the critic's ``value_loss``.

    Raises:
        ValueError: no step has advice.
    """
    targets = torch.from_numpy(steps.teacher_probs)  # (N, n_actions)
    n_advised = int((targets.sum(1) > 0).sum())
    if not n_advised:
        raise ValueError("none of the collected steps has advice; label their states first")
    device, n = student.device, len(targets)
    inputs = _encoded(student, steps.observations)  # (N, ...)
    targets = targets.to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        student.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    per_epoch = -(-n // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * per_epoch
    )
    for epoch in range(config.epochs):
        returns = _returns(student, steps, config.gamma).to(device)  # (N,)
        sums = torch.zeros(3, device=device)  # of cross-entropy, agreement and squared value error
        order = torch.randperm(n, generator=generator).to(device)
        for batch in torch.split(order, config.batch_size):
            probs = targets[batch]  # (B, n_actions)
            output = student.from_inputs(inputs[batch])
            losses = soft_cross_entropy(probs, output.logits)  # (B,); 0 without advice
            errors = (output.values - returns[batch]).square()  # (B,)
            optimizer.zero_grad(set_to_none=True)
            loss = losses.mean() + config.value_coef * errors.mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            chosen = probs.gather(1, output.logits.argmax(1, keepdim=True)).squeeze(1)  # (B,)
            agrees = (chosen >= probs.amax(1) - 1e-6) & (chosen > 0)
            with torch.no_grad():
                sums += torch.stack([losses.sum(), agrees.sum(), errors.sum()])
        mean, agreement, value_loss = (
            sums.cpu() / torch.tensor([n_advised, n_advised, n])
        ).tolist()
        values = {"loss": mean, "agreement": agreement, "value_loss": value_loss}
        on_epoch((epoch + 1) * per_epoch, values)


def _encoded(student: Student, observations: Observations) -> Tensor:
    """Return what the student reads of all observations, (N, ...), without holding it twice."""
    n = len(observations)
    one = student.encode(torch.tensor(observations[:1]))
    inputs = one.new_empty((n, *one.shape[1:]))
    for i in range(0, n, _AT_ONCE):
        inputs[i : i + _AT_ONCE] = student.encode(torch.tensor(observations[i : i + _AT_ONCE]))
    return inputs


@torch.no_grad()
def _returns(student: Student, steps: Steps, gamma: float) -> Tensor:
    ends = torch.from_numpy(steps.segment_ends)
    rewards = torch.from_numpy(steps.rewards)
    cut = ends & ~torch.from_numpy(steps.terminated)
    end_values = rewards.clone()
    if cut.any():
        seen = torch.from_numpy(steps.observations[cut.numpy()])
        end_values[cut] = student(seen).values.cpu()
    return returns_to_go(rewards, ends, end_values, gamma)
