"""The files that habitat-sim reads: each apartment as a stage, the thing to pick up, navmeshes.

They are written once into the user's cache. Their names hold a hash of their content, so changed
apartments are other files, and several workers can write the same ones at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.apartment import Apartment, apartment
from llm4teach.envs.habitat.worker.layout import Array
from llm4teach.envs.habitat.worker.sim.glb import Part, glb

THING_M = 0.08  # side of the cube that is picked up
_FLOOR_M = 0.1  # thickness; the floor's top is at 0
_TALL_M = 2.0  # walls are taller, furniture is lower
_FLOOR, _WALL, _FURNITURE = (0.59, 0.59, 0.55), (0.84, 0.82, 0.78), (0.35, 0.47, 0.67)
_TABLE, _THING = (0.78, 0.24, 0.2), (0.94, 0.78, 0.16)


def cache_folder() -> Path:
    """Return the folder of the scenes: ``LLM4TEACH_CACHE``/habitat, else by the XDG rules.

    A folder that cannot be written is replaced by a temporary one of this process.
    """
    named, base = os.environ.get("LLM4TEACH_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    folder = (Path(named).expanduser() if named else root / "llm4teach") / "habitat"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary_folder()


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="llm4teach-habitat-"))


@lru_cache(maxsize=512)
def stage_of(name: str, folder: Path) -> Path:
    """Write the apartment of this name, unless it is there; return its stage configuration."""
    scene = apartment(name)
    mesh = glb(_parts(scene))
    stem = f"{name}-{hashlib.sha256(mesh).hexdigest()[:12]}"
    # Without a stage configuration habitat-sim takes a .glb for z-up: everything is on its side.
    config = {
        "render_asset": f"{stem}.glb",
        "collision_asset": f"{stem}.glb",
        "up": [0, 1, 0],
        "front": [0, 0, -1],
        "is_collidable": True,
    }
    return _write_pair(mesh, config, folder / f"{stem}.stage_config.json")


@lru_cache(maxsize=1)
def thing_of(folder: Path) -> Path:
    """Write the thing that is picked up, unless it is there; return its object configuration."""
    half = np.full((1, 3), THING_M / 2)
    mesh = glb([Part("thing", -half, half, _THING)])
    stem = f"thing-{hashlib.sha256(mesh).hexdigest()[:12]}"
    config = {"render_asset": f"{stem}.glb", "mass": 0.2, "use_bounding_box_for_collision": True}
    return _write_pair(mesh, config, folder / f"{stem}.object_config.json")


def _write_pair(mesh: bytes, config: dict[str, object], path: Path) -> Path:
    if not path.exists():
        write_new(path.parent / str(config["render_asset"]), mesh)
        write_new(path, json.dumps(config).encode())  # last: it means that the mesh is complete
    return path


def write_new(path: Path, content: bytes) -> None:
    """Write a file under its name only when it is complete."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(temporary).replace(path)


def _parts(scene: Apartment) -> list[Part]:
    """The apartment's boxes in habitat's axes: the floor's (x, y) is (x, -z), and y is up."""
    bounds, heights = scene.boxes.bounds, scene.boxes.heights
    margin = 0.1
    floor = np.array([[-margin, -margin, scene.width + margin, scene.depth + margin]])
    table = np.arange(len(bounds)) == scene.table
    walls = (heights > _TALL_M) & ~table
    kinds = (
        ("walls", walls, _WALL),
        ("furniture", ~walls & ~table, _FURNITURE),
        ("table", table, _TABLE),
    )
    parts = [_part("floor", floor, np.zeros(1), _FLOOR, -_FLOOR_M)]
    for name, which, color in kinds:
        if which.any():
            parts.append(_part(name, bounds[which], heights[which], color, 0.0))
    return parts


def _part(
    name: str, bounds: Array, tops: Array, color: tuple[float, float, float], bottom: float
) -> Part:
    x0, y0, x1, y1 = bounds.T
    low = np.stack([x0, np.full_like(x0, bottom), -y1], 1)  # (B, 3)
    return Part(name, low, np.stack([x1, tops, -y0], 1), color)
