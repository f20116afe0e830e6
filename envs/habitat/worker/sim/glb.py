"""Boxes as a binary glTF file, which habitat-sim loads as a stage or as an object."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llm4teach.envs.habitat.worker.layout import Array

# Corners of a unit cube's six faces, counterclockwise from outside; (normal, four corners).
_FACES = (
    ((1, 0, 0), ((1, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1))),
    ((-1, 0, 0), ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0))),
    ((0, 1, 0), ((0, 1, 1), (1, 1, 1), (1, 1, 0), (0, 1, 0))),
    ((0, -1, 0), ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1))),
    ((0, 0, 1), ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))),
    ((0, 0, -1), ((1, 0, 0), (0, 0, 0), (0, 1, 0), (1, 1, 0))),
)
_CORNERS = np.array([corners for _, corners in _FACES], np.float32)  # (6, 4, 3)
_NORMALS = np.repeat(np.array([n for n, _ in _FACES], np.float32)[:, None], 4, 1)  # (6, 4, 3)
_TRIANGLES = np.array([0, 1, 2, 0, 2, 3])
_FLOAT, _UINT32, _VERTICES, _INDICES = 5126, 5125, 34962, 34963  # glTF's constants


class Part(NamedTuple):
    """Boxes of one color."""

    name: str
    low: Array  # float (B, 3), meters, y is up
    high: Array  # float (B, 3)
    color: tuple[float, float, float]  # each from 0 to 1


def glb(parts: Sequence[Part]) -> bytes:
    """Return a binary glTF 2.0 file with one mesh for each part."""
    binary = bytearray()
    views: list[dict[str, int]] = []
    accessors: list[dict[str, object]] = []
    meshes: list[dict[str, object]] = []
    materials: list[dict[str, object]] = []

    def store(values: Array, kind: str, component: int, target: int) -> int:
        accessor: dict[str, object] = {
            "bufferView": len(views),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if kind == "VEC3":  # glTF wants the bounds of positions
            accessor["min"], accessor["max"] = values.min(0).tolist(), values.max(0).tolist()
        data = values.tobytes()  # a multiple of 4 bytes
        views.append(
            {"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target}
        )
        binary.extend(data)
        accessors.append(accessor)
        return len(accessors) - 1

    for part in parts:
        low = np.asarray(part.low, np.float32).reshape(-1, 1, 1, 3)
        high = np.asarray(part.high, np.float32).reshape(-1, 1, 1, 3)
        positions = (low + _CORNERS * (high - low)).reshape(-1, 3)  # (B * 24, 3)
        normals = np.broadcast_to(_NORMALS, (len(low), 6, 4, 3)).reshape(-1, 3)
        faces = np.arange(len(low) * 6)[:, None] * 4
        indices = (faces + _TRIANGLES).astype(np.uint32).ravel()  # (B * 36,)
        primitive = {
            "attributes": {
                "POSITION": store(positions, "VEC3", _FLOAT, _VERTICES),
                "NORMAL": store(np.ascontiguousarray(normals), "VEC3", _FLOAT, _VERTICES),
            },
            "indices": store(indices, "SCALAR", _UINT32, _INDICES),
            "material": len(materials),
        }
        meshes.append({"name": part.name, "primitives": [primitive]})
        color = {"baseColorFactor": [*part.color, 1.0], "metallicFactor": 0.0}
        materials.append({"name": part.name, "pbrMetallicRoughness": color})
    text = json.dumps(
        {
            "asset": {"version": "2.0", "generator": "llm4teach"},
            "scene": 0,
            "scenes": [{"nodes": list(range(len(meshes)))}],
            "nodes": [{"name": part.name, "mesh": n} for n, part in enumerate(parts)],
            "meshes": meshes,
            "materials": materials,
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": len(binary)}],
        }
    ).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            bytes(binary),
        ]
    )
