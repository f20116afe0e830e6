"""What habitat-sim's rearrangement task needs on disk, and the configuration that uses it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from habitat.config.default import get_config

BASE = "benchmark/rearrange/multi_task/rearrange_easy.yaml"
_EPISODES = "datasets/replica_cad/rearrange/v2/{split}/rearrange_easy.json.gz"
NEEDED = (
    "replica_cad/replicaCAD.scene_dataset_config.json",
    "objects/ycb/configs",
    "robots/hab_fetch/robots/hab_suction.urdf",
    _EPISODES.format(split="train"),
    _EPISODES.format(split="val"),
)
DOWNLOAD = (
    "python -m habitat_sim.utils.datasets_download --uids rearrange_task_assets --data-path {}"
)


def check_data(folder: Path) -> None:
    """Look for the data before anything is built.

    Raises:
        FileNotFoundError: some of it is missing; the message says what, and how to get it.
    """
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"the rearrange simulator needs ReplicaCAD's data, and {folder} lacks "
            f"{', '.join(missing)}. Get it (CC BY-NC, some GB) with the worker's interpreter: "
            f"{DOWNLOAD.format(folder)}; or say where it is: LLM4TEACH_HABITAT_DATA=/path/to/data"
        )


def has_gpu() -> bool:
    """Whether there is a graphics card to render on."""
    return any(os.path.exists(f"/dev/{name}") for name in ("nvidia0", "dri/renderD128"))  # noqa: PTH110


def rearrange_config(folder: Path, split: str, max_steps: int) -> Any:
    """Return habitat-lab's rearrangement task with the two oracle actions beside its own.

    Args:
        folder: of the data.
        split: "train" or "val".
        max_steps: habitat's own time limit, in its steps.
    """
    agent = "habitat.simulator.agents.main_agent"
    overrides = [
        "+habitat/task/actions@habitat.task.actions.oracle_nav_action=oracle_nav_action",
        "+habitat/task/actions@habitat.task.actions.pddl_apply_action=pddl_apply_action",
        "+habitat/task/lab_sensors@habitat.task.lab_sensors.has_finished_oracle_nav="
        "has_finished_oracle_nav",
        f"habitat.environment.max_episode_steps={max_steps}",
        f"habitat.simulator.habitat_sim_v0.gpu_device_id={0 if has_gpu() else -1}",
        f"habitat.simulator.additional_object_paths=[{folder}/objects/ycb/configs/]",
        f"{agent}.articulated_agent_urdf={folder}/robots/hab_fetch/robots/hab_suction.urdf",
        f"{agent}.ik_arm_urdf={folder}/robots/hab_fetch/robots/fetch_onlyarm.urdf",
        f"habitat.dataset.scenes_dir={folder}/replica_cad/",
        f"habitat.dataset.split={split}",
        "habitat.dataset.data_path="
        + str(folder / _EPISODES).replace("{", "\\{").replace("}", "\\}"),
    ]
    return get_config(BASE, overrides)
