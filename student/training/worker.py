"""What the processes beside the first one do: their share of its gradient steps."""

from __future__ import annotations

import numpy as np
import torch

from llm4teach.student.config import FinetuneConfig, PretrainConfig
from llm4teach.student.model.checkpoint import restore_optimizer
from llm4teach.student.model.network import Student
from llm4teach.student.training.distill import DISTIL, Steps, distil
from llm4teach.student.training.distributed import END, OF_STUDENT, Work, crew
from llm4teach.student.training.ppo import Batch
from llm4teach.student.training.update import FINETUNE, UPDATE, Improver


def follow() -> None:
    """Work for the first process until it sends everyone home."""
    improver: Improver | None = None
    while (work := crew().listen()).kind != END:
        if work.kind == DISTIL:
            _distil(work)
        elif work.kind == FINETUNE:
            improver = _improver(work)
        elif work.kind == UPDATE and improver is not None:
            _update(improver, work)


def _student(work: Work) -> Student:
    tensors = work.tensors.items()
    weights = {k.removeprefix(OF_STUDENT): v for k, v in tensors if k.startswith(OF_STUDENT)}
    student = Student(**work.facts["network"])
    student.load_state_dict(weights)
    return student.to(crew().device)


def _distil(work: Work) -> None:
    steps = Steps(**{name: np.asarray(work.tensors[name]) for name in Steps.__dataclass_fields__})
    distil(_student(work), steps, PretrainConfig(**work.facts["config"]), work.facts["seed"])


def _improver(work: Work) -> Improver:
    student, config = _student(work), FinetuneConfig(**work.facts["config"])
    optimizer = torch.optim.Adam(student.parameters(), config.learning_rate, eps=1e-5)
    restore_optimizer(optimizer, work.tensors)
    return Improver(student, optimizer, config, torch.Generator())


def _update(improver: Improver, work: Work) -> None:
    improver.generator.set_state(work.tensors["generator"])
    batch = Batch(*(work.tensors[name].to(crew().device) for name in Batch._fields))
    improver.improve(batch, work.facts["kl_coef"], work.facts["learning_rate"])
