"""The processes that train one student together: those that torchrun started, or one alone.

The first (rank 0) runs the command; the others wait for work (`student.follower`). All of them see
the same minibatches, each computes the gradient of its share, and torch's DistributedDataParallel
averages: the student becomes the same as with one process, up to rounding.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn

from llm4teach.student.model.network import Output, Student

OF_STUDENT = "student."  # prefix of a network's tensors among those that are sent
END = "end"  # the kind of work that is none
_FACTS = "facts"
_LONGEST_WAIT = timedelta(days=7)  # of the others, while the first labels or collects


class Work(NamedTuple):
    """What the first process tells the others to do."""

    kind: str
    facts: dict[str, Any]  # JSON
    tensors: dict[str, Tensor]  # on the CPU


class Crew:
    """This process's place among those that train together."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def device(self) -> torch.device:
        """Where this process computes: a GPU of its own, if there are any."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        """This process's rows of a minibatch, and the weight of their mean.

        The mean over processes of weighted means is the mean over the whole minibatch.
        """
        if self.size == 1:
            return rows, 1.0
        own = rows[self.rank :: self.size]
        return (own, len(own) * self.size / len(rows)) if len(own) else (rows[:1], 0.0)

    def trainee(self, student: Student) -> Callable[[Tensor], Output]:
        """Return what to call instead of the student where gradients are wanted."""
        if self.size == 1:
            return student
        return nn.parallel.DistributedDataParallel(student)

    def total(self, values: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if self.size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values.cpu()

    def tell(self, kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Hand work to the others; nothing happens where there are none, or on one of them."""
        if self.size == 1 or self.rank:
            return
        words = json.dumps({"kind": kind, **facts}).encode()
        own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        own[_FACTS] = torch.frombuffer(bytearray(words), dtype=torch.uint8)
        content = torch.frombuffer(bytearray(save(own)), dtype=torch.uint8).to(self.device)
        dist.broadcast(torch.tensor([len(content)], device=self.device), 0)
        dist.broadcast(content, 0)

    def listen(self) -> Work:
        """Wait for work from the first process."""
        length = torch.zeros(1, dtype=torch.int64, device=self.device)
        dist.broadcast(length, 0)
        content = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        dist.broadcast(content, 0)
        tensors = load(content.cpu().numpy().tobytes())
        facts = json.loads(np.asarray(tensors.pop(_FACTS)).tobytes())
        return Work(facts.pop("kind"), facts, tensors)


_crew = Crew()


def crew() -> Crew:
    """Return the processes that train with this one."""
    return _crew


def join() -> Crew:
    """Meet the processes that torchrun has started; without torchrun this one is alone.

    gloo connects CPUs, nccl GPUs.
    """
    global _crew
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size > 1 and _crew.size == 1:
        # DistributedDataParallel imports it. Its functions keep the process group there is by then
        # as a default argument, for ever, and `leave` could not end the group's threads.
        importlib.import_module("torch.distributed.nn.functional")
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_LONGEST_WAIT)
        _crew = Crew(dist.get_rank(), size)
    return _crew


def leave() -> None:
    """Send the others home, and end the connection with its threads.

    One that still let go of its last tensor while the interpreter ends would abort the process.
    """
    global _crew
    if _crew.size > 1:
        _crew.tell(END, {}, {})
        gc.collect()  # trainees that are in cycles hold the process group
        dist.destroy_process_group()
        _crew = Crew()
