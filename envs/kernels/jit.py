"""Compiling the ``*_kernel.py`` modules with numba, once a machine.

Importing this imports numba (half a second), so the kernels are imported where they are first run.
Compiled code is kept beside the sources or, where that folder is not writable, in the user's cache
folder; ``NUMBA_CACHE_DIR`` names another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


_SHARED = sorted(Path(__file__).parents[1].rglob("*_kernel.py"))  # kernels that others may call


@cache
def _stamp(source: Path) -> str:
    """Hash of the kernels that a module may call, and of all beside it, whose constants it has."""
    paths = sorted({*source.parent.glob("*.py"), *_SHARED})
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile on the first call, or load what an earlier process compiled."""
    try:
        dispatcher = numba.njit(cache=True)(function)
    except RuntimeError:  # no folder that can be written: compile in every process
        return cast("Callable[_P, _R]", numba.njit(function))
    # numba looks at a function's own file only; it would go on using old code of the functions
    # that this one calls in other modules.
    source = Path(function.__code__.co_filename)
    dispatcher._cache._cache_file._source_stamp = _stamp(source)  # type: ignore[attr-defined]
    return cast("Callable[_P, _R]", dispatcher)
