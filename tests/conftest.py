"""For all tests: small tensors are fastest on one thread; no test changes another's settings."""

import os
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _as_talkative_as_before() -> Iterator[None]:
    """`--quiet`, given to a command in this process, would hold for all tests after it."""
    yield
    os.environ.pop("LLM4TEACH_QUIET", None)
