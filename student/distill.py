"""Pretraining: distil grounded advice into the student, without touching an environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from llm4teach.envs.task import Observations
from llm4teach.student.config import PretrainConfig
from llm4teach.student.network import Student
from llm4teach.student.ppo import soft_cross_entropy


def distil(
    student: Student,
    observations: Observations,
    teacher_probs: NDArray[np.float32],
    config: PretrainConfig,
    seed: int,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> None:
    """Minimise the soft cross-entropy to the teacher's grounded advice, in place.

    Args:
        student: to train; its device is used.
        observations: uint8 (N, *observation_shape).
        teacher_probs: float32 (N, n_actions); rows of zeros, without advice, are left out.
        config: epochs, batch size, learning rate (a one-cycle schedule peaks at it).
        seed: of the order of the steps.
        on_epoch: told, after each epoch, the gradient steps so far, the mean ``loss`` (nats) and
            the ``agreement`` (share of steps whose likeliest actions are the same).

    Raises:
        ValueError: no observation has advice.
    """
    advised = teacher_probs.sum(1) > 0
    if not advised.any():
        raise ValueError("none of the collected steps has advice; label their states first")
    device = student.device
    inputs = torch.from_numpy(observations[advised])
    targets = torch.from_numpy(teacher_probs[advised])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(student.parameters(), config.learning_rate)
    per_epoch = -(-len(inputs) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * per_epoch
    )
    for epoch in range(config.epochs):
        loss_sum, agreed = 0.0, 0.0
        for rows in torch.randperm(len(inputs), generator=generator).split(config.batch_size):
            probs = targets[rows].to(device)  # (B, n_actions)
            logits = student(inputs[rows].to(device)).logits  # (B, n_actions)
            losses = soft_cross_entropy(probs, logits)  # (B,)
            optimizer.zero_grad(set_to_none=True)
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += losses.detach().sum().item()
            chosen = probs.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
            agreed += (chosen >= probs.amax(1) - 1e-6).float().sum().item()
        n = len(inputs)
        on_epoch((epoch + 1) * per_epoch, {"loss": loss_sum / n, "agreement": agreed / n})
