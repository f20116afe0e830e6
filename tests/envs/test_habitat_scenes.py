"""The files that habitat-sim reads, without habitat-sim."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from llm4teach.envs.habitat.worker.gpu import CPU, gpu_device_id
from llm4teach.envs.habitat.worker.kinematic.apartment import apartment
from llm4teach.envs.habitat.worker.sim.glb import Part, glb
from llm4teach.envs.habitat.worker.sim.scene_files import cache_folder, stage_of, thing_of


def parsed(data: bytes) -> tuple[dict, bytes]:  # type: ignore[type-arg]
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and size % 4 == 0
    binary_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0" and 28 + size + binary_size == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_a_box_has_closed_faces_that_look_outside() -> None:
    content, binary = parsed(glb([Part("box", [[0, 0, 0]], [[1, 2, 3]], (1, 0, 0))]))
    arrays = []
    for accessor in content["accessors"]:
        view = content["bufferViews"][accessor["bufferView"]]
        dtype = np.uint32 if accessor["type"] == "SCALAR" else np.float32
        part = np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], dtype)
        arrays.append(part if dtype is np.uint32 else part.reshape(-1, 3))
    positions, normals, indices = arrays
    a, b, c = (positions[indices.reshape(-1, 3)[:, i]] for i in range(3))  # each (12, 3)
    areas = np.cross(b - a, c - a) / 2
    assert np.linalg.norm(areas, axis=1).sum() == pytest.approx(2 * (2 + 3 + 6))
    outside = (a + b + c) / 3 - (0.5, 1, 1.5)
    assert ((areas * outside).sum(1) > 0).all()
    assert ((areas * normals[indices.reshape(-1, 3)[:, 0]]).sum(1) > 0).all()
    assert content["accessors"][0]["max"] == [1, 2, 3]


def test_an_apartment_is_written_once_with_y_up(tmp_path: Path) -> None:
    path = stage_of("apartment-0003", tmp_path)
    config = json.loads(path.read_text())
    assert config["up"] == [0, 1, 0] and config["front"] == [0, 0, -1]
    content, _ = parsed((tmp_path / config["render_asset"]).read_bytes())
    assert [node["name"] for node in content["nodes"]] == ["floor", "walls", "furniture", "table"]
    table = content["accessors"][content["meshes"][3]["primitives"][0]["attributes"]["POSITION"]]
    x0, y0, x1, y1 = apartment("apartment-0003").boxes.bounds[apartment("apartment-0003").table]
    assert table["min"] == pytest.approx([x0, 0, -y1]) and table["max"] == pytest.approx(
        [x1, 0.75, -y0]
    )
    before = path.stat().st_mtime_ns
    stage_of.cache_clear()
    assert stage_of("apartment-0003", tmp_path) == path and path.stat().st_mtime_ns == before
    assert thing_of(tmp_path).name.endswith(".object_config.json")
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".")]


def test_scenes_are_cached_where_the_user_says_or_in_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "habitat"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "file"))
    folder = cache_folder()
    assert folder.is_dir() and folder != tmp_path / "file" / "habitat"


def test_only_an_nvidia_card_with_its_library_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "nvidia0"
    libraries: list[str] = []
    monkeypatch.setattr(
        "llm4teach.envs.habitat.worker.gpu.find_library",
        lambda name: name if name in libraries else None,
    )
    assert gpu_device_id(card) == CPU == -1, "whatever is in /dev/dri"
    card.touch()
    assert gpu_device_id(card) == CPU, "a card for computing alone"
    libraries.append("EGL_nvidia")
    assert gpu_device_id(card) == 0
