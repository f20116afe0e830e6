"""Lets habitat-lab import where habitat-sim is not installed; inert where it is.

habitat-lab's pure-Python parts (registry, config, Env, EmbodiedTask) import ``habitat_sim`` and
``magnum`` on the way. The stand-ins below take part in such imports, as base classes, decorators
and annotations. Whoever uses one for anything else gets an ImportError that says what to install.
"""

import importlib.machinery
import importlib.util
import sys
import types

NAMES = ("habitat_sim", "magnum", "corrade")
MESSAGE = (
    "{} is part of habitat-sim, which is not installed in this interpreter; the kinematic "
    "simulator needs none, the others do (docs/HABITAT.md)"
)


_importing = []  # not empty while habitat is being imported


class _Absent(type):
    """Class of the stand-ins: whatever is looked up in one is another."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent("%s.%s" % (cls.__name__, name))

    def __call__(cls, *args, **kwargs):
        if cls.__module__ != __name__:  # a subclass, which is habitat-lab's own
            return super().__call__(*args, **kwargs)
        if _importing:  # a default value, or a decorator
            return _absent("%s()" % cls.__name__)
        raise ImportError(MESSAGE.format(cls.__name__))

    def __or__(cls, other):
        return cls

    __ror__ = __or__


def _absent(name):
    return _Absent(name, (), {"__module__": __name__})


class _AbsentModule(types.ModuleType):
    """A module of which every public name is a stand-in."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = _absent("%s.%s" % (self.__name__, name))
        setattr(self, name, found)
        return found


class _Finder:
    """Finds the absent packages and anything in them, after everything else has failed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname.partition(".")[0] in NAMES:
            return importlib.machinery.ModuleSpec(fullname, _Finder, is_package=True)
        return None

    @staticmethod
    def create_module(spec):
        return _AbsentModule(spec.name)

    @staticmethod
    def exec_module(module):
        pass


def import_habitat():
    """Import habitat; return the module, and whether habitat-sim is there."""
    real = all(importlib.util.find_spec(name) is not None for name in NAMES)
    if not real and _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
    _importing.append(True)
    try:
        return importlib.import_module("habitat"), real
    finally:
        _importing.pop()
