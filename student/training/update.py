"""The PPO update: all gradient steps on one rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training.ppo import TERMS, Batch, normalized, student_loss

NEVER = -1e9  # logit of an action that cannot be taken; finite, so that 0 * log 0 is 0


class PPOUpdater:
    """Trains a student in place, one rollout at a time.

    Args:
        student: to train.
        optimizer: of its parameters.
        config: epochs, minibatches, clipping.
        generator: draws the minibatches.
    """

    def __init__(
        self,
        student: Student,
        optimizer: torch.optim.Adam,
        config: FinetuneConfig,
        generator: torch.Generator,
    ) -> None:
        self.student, self.optimizer = student, optimizer
        self.config, self.generator = config, generator

    def update(
        self,
        batch: Batch,
        kl_coef: float,
        learning_rate: float,
        allowed: Tensor | None = None,
    ) -> dict[str, float]:
        """Take ``epochs * minibatches`` gradient steps; return the mean of each loss term.

        Args:
            batch: B steps.
            kl_coef: weight of the KL term.
            learning_rate: of these steps.
            allowed: actions that could be taken, bool (B, n_actions); by default all.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        size = len(batch.actions)
        terms: list[Tensor] = []
        for _ in range(self.config.epochs):
            order = torch.randperm(size, generator=self.generator)  # (B,)
            for rows in order.to(batch.actions.device).chunk(self.config.minibatches):
                terms.append(self._step(batch, rows, kl_coef, allowed))
        means = torch.stack(terms).mean(0).tolist()
        return dict(zip(TERMS, means, strict=True))

    def _step(self, batch: Batch, rows: Tensor, kl_coef: float, allowed: Tensor | None) -> Tensor:
        minibatch = normalized(Batch(*(column[rows] for column in batch)))
        output = self.student.from_inputs(minibatch.inputs)
        if allowed is not None:
            logits = output.logits.masked_fill(~allowed[rows], NEVER)
            output = output._replace(logits=logits)
        loss, terms = student_loss(output, minibatch, self.config, kl_coef)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return terms
