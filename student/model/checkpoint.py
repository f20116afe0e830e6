"""Checkpoints: safetensors with JSON beside the tensors, written atomically, never pickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from llm4teach.datasets.storage.parquet import local_copy, replacing, write_json
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError, TaskError
from llm4teach.student.model.network import OF_TASK, Student

_META = "llm4teach"


def save_tensors(path: StoragePath, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able facts as one safetensors file, so that they cannot disagree."""
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    content = save(copies, metadata={_META: json.dumps(meta)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # save_file would make it unreadable for others


def load_tensors(path: StoragePath) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        DatasetError: the file is missing, unreadable, damaged, or not a checkpoint of this project.
    """
    with _opened(path) as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, _facts(file)


def load_facts(path: StoragePath) -> dict[str, Any]:
    """Read the facts that `save_tensors` wrote, without the tensors.

    Raises:
        DatasetError: as in `load_tensors`.
    """
    with _opened(path) as file:
        return _facts(file)


def _facts(file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((file.metadata() or {})[_META])
    return facts


@contextmanager
def _opened(path: StoragePath) -> Iterator[Any]:
    """Open a safetensors file; every failure, also while it is read, becomes a DatasetError."""
    try:
        with local_copy(path) as local:
            local.open("rb").close()  # safe_open reports any failure to open as a missing file
            with safe_open(local, framework="pt") as file:
                yield file
    except FileNotFoundError:
        raise DatasetError(f"no checkpoint at {path}") from None
    except OSError as error:
        raise DatasetError(f"checkpoint {path} cannot be read: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} is not a checkpoint of llm4teach ({error!r})") from None


def save_student(path: StoragePath, student: Student, facts: Mapping[str, Any]) -> None:
    """Write a student's weights, and the same facts as JSON beside them for people."""
    meta = {"network": student.settings, **facts}
    save_tensors(path, student.state_dict(), meta)
    write_json(path.with_suffix(".json"), meta)


def load_student(path: StoragePath) -> tuple[Student, dict[str, Any]]:
    """Read a student and the facts stored with it.

    A student with an encoder of its task's own is made by the task that the facts name.

    Raises:
        DatasetError: the file is missing or damaged, or its weights do not fit the network, or the
            task cannot be loaded.
    """
    tensors, meta = load_tensors(path)
    try:
        student = Student(**_with_encoder(_present_network(meta["network"]), path, meta))
        student.load_state_dict(present_names(tensors))
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{path} does not fit this release's network ({reason})") from None
    return student, meta


def present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A student's tensors by their present names; version 0.1 had those of maps in no encoder."""
    earlier = ("embedding.", "marks.", "blocks.", "far.")
    return {f"encoder.{n}" if n.startswith(earlier) else n: t for n, t in tensors.items()}


def _present_network(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The network's settings as today's; version 0.1 knew convolutions only."""
    present = dict(settings)
    if "channels" in present:
        del present["blocks"]
        present |= {"encoder": "convolutions", "width": present.pop("channels")}
    return present


def _with_encoder(
    settings: dict[str, Any], path: StoragePath, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The network's settings, with the task's own encoder if it was made by that."""
    if settings.get("reads") != OF_TASK:
        return settings
    try:
        factory = get_task(facts["task"]).encoder
    except TaskError as error:
        raise DatasetError(
            f"the student at {path} has the encoder of its task {facts['task']}, which cannot be "
            f"loaded: {error}"
        ) from None
    if not callable(factory):
        raise DatasetError(
            f"the student at {path} has an encoder of its task's own, but the encoder of "
            f"{facts['task']} is {factory!r} now"
        )
    return {**settings, "reads": factory}


def optimizer_tensors(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Adam's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Give Adam back the state that `optimizer_tensors` took."""
    whole = optimizer.state_dict()
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            whole["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(whole)
