"""For all tests: small tensors are fastest on one thread; no test changes another's settings."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from s3_server import BUCKET, s3_server

from llm4teach.datasets.storage.paths import StoragePath, storage_path

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restore_quiet() -> Iterator[None]:
    """`--quiet`, given to a command in this process, would hold for all tests after it."""
    yield
    os.environ.pop("LLM4TEACH_QUIET", None)


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """A local S3-compatible server with an empty bucket; the environment names it."""
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    """An empty folder on a disk, and a prefix in an object store."""
    if request.param == "disk":
        (tmp_path / "folder").mkdir()
        return tmp_path / "folder"
    request.getfixturevalue("s3")
    return storage_path(f"s3://{BUCKET}/{uuid.uuid4().hex}")
