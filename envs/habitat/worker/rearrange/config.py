"""habitat-lab's configuration of the rearrangement task, with what Nav & Pick needs and no more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from habitat.config import read_write
from habitat.config.default import get_config

from llm4teach.envs.habitat.worker.gpu import gpu_device_id
from llm4teach.envs.habitat.worker.layout import (
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    FORWARD_M,
    TURN_DEGREES,
)
from llm4teach.envs.habitat.worker.rearrange.data import EPISODES

TASK = "SeededRearrangePddlTask-v0"
BASE = "benchmark/rearrange/multi_task/rearrange_easy.yaml"
CAMERA = "head_depth"
MEASURES = ("articulated_agent_force", "force_terminate")  # what can end habitat's episode
_CONTROL_HZ = 120.0  # habitat's steps in a second of its time
NO_TIME_LIMIT = 1_000_000  # habitat's own, in its steps; Nav & Pick has its own


def rearrange_config(folder: Path, split: str) -> Any:
    """Return the configuration, read-only.

    The robot slides along what it touches, as its skills expect. One action of Nav & Pick is one
    step of habitat, which moves by the whole length. The camera has the observation's resolution
    and measures meters. Sensors and measures that nothing reads are left out.

    Args:
        folder: of the data.
        split: "train" or "val".
    """
    simulator = "habitat.simulator"
    agent, camera = f"{simulator}.agents.main_agent", "sim_sensors.head_depth_sensor"
    base = "habitat.task.actions.base_velocity"
    overrides = [
        "+habitat/task/actions@habitat.task.actions.pddl_apply_action=pddl_apply_action",
        f"habitat.task.type={TASK}",
        f"habitat.environment.max_episode_steps={NO_TIME_LIMIT}",
        f"{simulator}.habitat_sim_v0.gpu_device_id={gpu_device_id()}",
        f"{simulator}.habitat_sim_v0.allow_sliding=true",
        f"{simulator}.additional_object_paths=[{folder}/objects/ycb/configs/]",
        f"{simulator}.ctrl_freq={_CONTROL_HZ}",
        f"{base}.lin_speed={FORWARD_M * _CONTROL_HZ}",
        f"{base}.ang_speed={math.radians(TURN_DEGREES) * _CONTROL_HZ}",
        f"{agent}.{camera}.height={DEPTH_ROWS - 1}",
        f"{agent}.{camera}.width={DEPTH_COLUMNS}",
        f"{agent}.{camera}.normalize_depth=false",
        f"{agent}.articulated_agent_urdf={folder}/robots/hab_fetch/robots/hab_suction.urdf",
        f"{agent}.ik_arm_urdf={folder}/robots/hab_fetch/robots/fetch_onlyarm.urdf",
        f"habitat.dataset.scenes_dir={folder}/replica_cad/",
        f"habitat.dataset.split={split}",
        "habitat.dataset.data_path="
        + str(folder / EPISODES).replace("{", "\\{").replace("}", "\\}"),
    ]
    config = get_config(BASE, overrides)
    with read_write(config):
        task = config.habitat.task
        task.lab_sensors = {}
        task.measurements = {name: task.measurements[name] for name in MEASURES}
    return config
