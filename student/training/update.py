"""The gradient steps of one rollout, shared among the processes that train together."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor

from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.checkpoint import optimizer_tensors
from llm4teach.student.model.network import Student
from llm4teach.student.training.distributed import OF_STUDENT, crew
from llm4teach.student.training.ppo import Batch, normalised, student_loss

UPDATE, FINETUNE = "update", "finetune"  # kinds of work for the other processes


class Improver:
    """Takes PPO's gradient steps, in place; the processes of a crew make theirs together.

    Args:
        student: to train.
        optimizer: of its parameters.
        config: epochs, minibatches, clipping.
        generator: of the order of the steps.
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
        weights = {OF_STUDENT + k: v for k, v in student.state_dict().items()}
        facts = {"network": student.settings, "config": config.model_dump(mode="json")}
        crew().tell(FINETUNE, facts, weights | optimizer_tensors(optimizer))
        self._trainee = crew().trainee(student)

    def improve(self, batch: Batch, kl_coef: float, learning_rate: float) -> dict[str, float]:
        """Learn from one rollout; return the mean of each term of the loss."""
        tensors = {**batch._asdict(), "generator": self.generator.get_state()}
        crew().tell(UPDATE, {"kl_coef": kl_coef, "learning_rate": learning_rate}, tensors)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        size = len(batch.actions)
        terms: list[dict[str, float]] = []
        for _ in range(self.config.epochs):
            order = torch.randperm(size, generator=self.generator)
            for rows in order.chunk(self.config.minibatches):
                terms.append(self._step(batch, rows, kl_coef))
        names = list(terms[0])
        means = [fmean(term[name] for term in terms) / crew().size for name in names]
        shared = crew().total(torch.tensor(means, dtype=torch.float64))
        return dict(zip(names, shared.tolist(), strict=True))

    def _step(self, batch: Batch, rows: Tensor, kl_coef: float) -> dict[str, float]:
        whole = normalised(Batch(*(column[rows.to(column.device)] for column in batch)))
        own, weight = crew().share(torch.arange(len(rows)))
        part = Batch(*(column[own.to(column.device)] for column in whole))
        output = self._trainee(part.observations)
        loss, stats = student_loss(output, part, self.config, kl_coef)
        self.optimizer.zero_grad(set_to_none=True)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return {name: weight * value for name, value in stats.items()}
