"""Lets habitat-lab import where habitat-sim is not installed; inert where it is.

habitat-lab's pure-Python parts (registry, config, Env, EmbodiedTask) import ``habitat_sim`` and
``magnum`` on the way. The stand-ins below take part in such imports, as base classes, decorators
and annotations. Whoever uses one for anything else gets an ImportError that says what to install.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAMES = ("habitat_sim", "magnum", "corrade")

_importing: list[bool] = []  # not empty while habitat is being imported


class _Absent(type):
    """Class of the stand-ins: whatever is looked up in one is another."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(f"{cls.__name__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__module__ != __name__:  # a subclass, which is habitat-lab's own
            return super().__call__(*args, **kwargs)
        if _importing:  # a default value, or a decorator
            return _absent(f"{cls.__name__}()")
        raise ImportError(
            f"{cls.__name__} is part of habitat-sim, which is not installed in this interpreter; "
            "the kinematic simulator needs none, the others do (docs/HABITAT.md)"
        )

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


def _absent(name: str) -> Any:
    return _Absent(name, (), {"__module__": __name__})


class _AbsentModule(ModuleType):
    """A module of which every public name is a stand-in."""

    __path__: list[str] = []  # noqa: RUF012  what makes it a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        member = _absent(f"{self.__name__}.{name}")
        setattr(self, name, member)
        return member


class _Finder(MetaPathFinder, Loader):
    """Finds the absent packages and anything in them, after everything else has failed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in NAMES:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def import_habitat() -> tuple[Any, bool]:
    """Import habitat; return the module, and whether habitat-sim is there."""
    real = all(importlib.util.find_spec(name) is not None for name in NAMES)
    if not real and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    _importing.append(True)
    try:
        return importlib.import_module("habitat"), real
    finally:
        _importing.pop()
