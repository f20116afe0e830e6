"""The simulators by name, in an interpreter that has habitat-lab."""

from __future__ import annotations

import contextlib
from typing import Any

from llm4teach.envs.habitat.worker.import_stub import import_habitat
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
        settings: ``simulator`` ("kinematic" or "rearrange"), ``depth``, and for "rearrange" the
            folder of its data, ``data_path``.

    Raises:
        ValueError: there is no such simulator.
        FileNotFoundError: data is missing; the message says how to get it.
        ImportError: habitat-sim is missing.
    """
    simulator, depth = settings.get("simulator"), bool(settings.get("depth"))
    if simulator == "kinematic":
        from llm4teach.envs.habitat.worker.kinematic.env import KinematicEnv

        return KinematicEnv(depth)
    if simulator == "rearrange":
        from llm4teach.envs.habitat.worker.rearrange_env import RearrangeEnv

        return RearrangeEnv(settings.get("data_path") or "data", depth)
    raise ValueError(f"unknown simulator {simulator!r}; there are kinematic and rearrange")
