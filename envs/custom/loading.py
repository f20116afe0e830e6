"""Objects by their import path, and by the entry points of installed packages."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import MutableMapping
from functools import cache
from importlib import metadata
from typing import Any

from llm4teach.errors import TaskError

# Groups of entry points.
TASKS, TEACHERS = "llm4teach.tasks", "llm4teach.teachers"
KL_SCHEDULES = "llm4teach.kl_schedules"
PATH = "LLM4TEACH_PATH"  # folders of modules, for processes that run in another folder


def load_object(path: str) -> Any:
    """Return what ``module:attribute`` names; modules in the current folder are found, too.

    Raises:
        TaskError: the module cannot be imported, or has no such attribute.
    """
    module_name, _, attribute = path.partition(":")
    found: Any = import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name in vars(found) if not name.startswith("_")]
            raise TaskError(
                f"{path}: {module_name} has no {attribute!r}; it has {', '.join(public[:20])}"
            )
        found = getattr(found, part)
    return found


def import_module(name: str) -> Any:
    """Import a module, from the current folder, or those of ``LLM4TEACH_PATH``, if nowhere else.

    Raises:
        TaskError: there is none, or its code fails.
    """
    here = os.getcwd()  # noqa: PTH109  entries of sys.path are strings
    for folder in (here, *filter(None, os.environ.get(PATH, "").split(os.pathsep))):
        if folder not in sys.path and not (folder == here and "" in sys.path):
            sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0] or error.name == name:
            raise TaskError(
                f"there is no module {name!r}, neither installed nor in {here}; set {PATH} to "
                "the folder that has it"
            ) from None
        raise TaskError(f"the module {name!r} needs {error.name!r}, which is missing") from None
    except TaskError as error:  # of a member that the message names
        raise TaskError(f"importing {name!r} failed: {error}") from error
    except Exception as error:  # code of the user, which may raise anything
        raise TaskError(f"importing {name!r} failed: {type(error).__name__}: {error}") from error


@cache
def entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    """Return the entry points of installed packages in a group, by name."""
    return {point.name: point for point in metadata.entry_points(group=group)}


def load_entry_point(group: str, name: str) -> Any:
    """Return what an entry point names.

    Raises:
        TaskError: it cannot be imported.
    """
    point = entry_points(group)[name]
    try:
        return load_object(point.value)
    except TaskError as error:
        package = point.dist.name if point.dist else "an unknown package"
        raise TaskError(f"{name} of the package {package}: {error}") from None


def hand_on_path(environment: MutableMapping[str, str]) -> None:
    """Let child processes find the modules of the current folder, wherever they run."""
    here = os.getcwd()  # noqa: PTH109
    folders = [folder for folder in environment.get(PATH, "").split(os.pathsep) if folder]
    if here not in folders:
        environment[PATH] = os.pathsep.join([*folders, here])


def is_from_elsewhere(group: str, name: str) -> bool:
    """Whether a name is ``module:attribute`` or an entry point of a group."""
    return ":" in name or name in entry_points(group)


def load_from_elsewhere(group: str, name: str) -> Any:
    """Return what a name means for which `is_from_elsewhere` is true.

    Raises:
        TaskError: it cannot be imported.
    """
    return load_object(name) if ":" in name else load_entry_point(group, name)
