"""The simulators by name, in an interpreter that has habitat-lab."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm4teach.envs.habitat.worker.import_stub import import_habitat
from llm4teach.envs.habitat.worker.layout import shape_of
from llm4teach.envs.habitat.worker.loop import WorkerEnv

with contextlib.suppress(ImportError):  # an old gym prints on import that it is unmaintained
    from gym_notices import notices

    notices.notices.clear()
_habitat, HAS_HABITAT_SIM = import_habitat()


def facts() -> dict[str, Any]:
    """Facts about this interpreter, for the core."""
    return {"habitat_lab": _habitat.__version__, "habitat_sim": HAS_HABITAT_SIM}


def make_env(settings: dict[str, Any]) -> WorkerEnv:
    """Make an environment.

    Args:
        settings: ``simulator`` ("kinematic", "apartments" or "rearrange"), ``depth`` and
            ``camera`` (see `layout`), and for "rearrange" the folder of its data, ``data_path``.

    Raises:
        ValueError: there is no such simulator.
        FileNotFoundError: data is missing; the message says how to get it.
        ImportError: habitat-sim is missing, or it does not go with this habitat-lab.
        RuntimeError: this process has a habitat-sim simulator already.
    """
    simulator, shape = settings.get("simulator"), shape_of(settings)
    if simulator == "kinematic":
        from llm4teach.envs.habitat.worker.kinematic.env import KinematicEnv

        return KinematicEnv(shape)
    if simulator == "apartments":
        _require_habitat_sim()
        from llm4teach.envs.habitat.worker.sim.env import ApartmentsEnv

        return _only_one(lambda: ApartmentsEnv(shape))
    if simulator == "rearrange":
        return _rearrange_env(settings.get("data_path") or "data", shape)
    raise ValueError(
        f"unknown simulator {simulator!r}; there are kinematic, apartments and rearrange"
    )


def _rearrange_env(data_path: str, shape: tuple[int, ...]) -> WorkerEnv:
    from llm4teach.envs.habitat.worker.rearrange.data import check_data
    from llm4teach.envs.habitat.worker.rearrange.versions import check_versions, installed_lab

    folder = Path(data_path).resolve()
    check_data(folder)  # first: what is missing can be downloaded meanwhile
    _require_habitat_sim()
    import habitat_sim

    check_versions(installed_lab(), habitat_sim.__version__)
    from llm4teach.envs.habitat.worker.rearrange.env import RearrangeEnv

    return _only_one(lambda: RearrangeEnv(folder, shape))


def _require_habitat_sim() -> None:
    if not HAS_HABITAT_SIM:
        raise ImportError(
            f"this simulator needs habitat-sim, and {sys.executable} has none; name an interpreter "
            "that has it: LLM4TEACH_HABITAT_SIM_PYTHON=/path/to/python (docs/HABITAT.md)"
        )


_simulators: list[WorkerEnv] = []


def _only_one(make: Callable[[], WorkerEnv]) -> WorkerEnv:
    """Make an environment on habitat-sim: a second simulator would end the process."""
    if _simulators:
        raise RuntimeError(
            "habitat-sim allows one simulator in a process, and this worker has had one; use one "
            "worker for each environment"
        )
    _simulators.append(make())
    return _simulators[0]
