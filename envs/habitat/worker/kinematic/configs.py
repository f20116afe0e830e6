"""Nav & Pick's episodes, and its parts in habitat-lab's configuration system."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from habitat.config.default import get_config
from habitat.config.default_structured_configs import (
    ActionConfig,
    DatasetConfig,
    LabSensorConfig,
    MeasurementConfig,
    SimulatorSensorConfig,
)
from habitat.core.dataset import Dataset
from habitat.core.registry import registry
from habitat.tasks.nav.nav import NavigationEpisode, NavigationGoal
from hydra.core.config_store import ConfigStore

from llm4teach.envs.habitat.worker.kinematic.apartment import apartment, scene_name
from llm4teach.envs.habitat.worker.kinematic.world import position_of, rotation_list
from llm4teach.envs.habitat.worker.layout import ACTIONS, HELD_OUT_START, TURN_DEGREES

CONFIG = Path(__file__).with_name("nav_pick.yaml")
DATASET = "NavPickDataset-v0"
LEAST_WAY_M = 3.0  # from the start to where the object can be picked up


@registry.register_dataset(name=DATASET)
class NavPickDataset(Dataset):
    """The first episodes of a split; others are made by `nav_pick_episode` when they are wanted."""

    def __init__(self, config: Any = None) -> None:
        first = 0 if config is None or config.split == "train" else HELD_OUT_START
        count = 1 if config is None else config.n_episodes
        self.config = config
        self.episodes = [nav_pick_episode(first + i) for i in range(count)]


def nav_pick_episode(seed: int) -> NavigationEpisode:
    """Return the episode of this seed: an apartment, where the robot starts, and the goal."""
    name = scene_name(seed)
    scene = apartment(name)
    rng = np.random.default_rng(seed)
    places = scene.area.starts(LEAST_WAY_M)  # (N, 2)
    x, y = places[int(rng.integers(len(places)))]
    heading = math.radians(TURN_DEGREES * int(rng.integers(360 // TURN_DEGREES)))
    target = scene.things[0]
    return NavigationEpisode(
        episode_id=str(seed),
        scene_id=name,
        start_position=position_of(x, y),
        start_rotation=rotation_list(heading),
        goals=[NavigationGoal(position=position_of(target.x, target.y, target.z), radius=None)],
    )


@dataclass
class NavPickDatasetConfig(DatasetConfig):
    """Generated episodes; ``data_path`` and ``scenes_dir`` are not used."""

    type: str = DATASET
    data_path: str = ""
    scenes_dir: str = ""
    n_episodes: int = 1


@dataclass
class KinematicActionConfig(ActionConfig):
    """One of the robot's actions."""

    type: str = "KinematicAction"


@dataclass
class RangeSensorConfig(SimulatorSensorConfig):
    """Distances all round."""

    type: str = "KinematicRangeSensor"


@dataclass
class KinematicDepthSensorConfig(SimulatorSensorConfig):
    """The depth camera."""

    type: str = "KinematicDepthSensor"


@dataclass
class FlagsSensorConfig(LabSensorConfig):
    """What the robot knows of itself."""

    type: str = "NavPickFlagsSensor"


@dataclass
class TargetsSensorConfig(LabSensorConfig):
    """Where things are."""

    type: str = "NavPickTargetsSensor"


def _measure(kind: str) -> Any:
    @dataclass
    class Config(MeasurementConfig):
        type: str = kind

    return Config


def _register() -> None:
    store = ConfigStore.instance()
    store.store(
        group="habitat/dataset",
        package="habitat.dataset",
        name="nav_pick",
        node=NavPickDatasetConfig,
    )
    for action in ACTIONS:
        store.store(
            group="habitat/task/actions",
            package=f"habitat.task.actions.{action}",
            name=f"kinematic_{action}",
            node=KinematicActionConfig,
        )
    sensors: dict[str, Any] = {"flags": FlagsSensorConfig, "targets": TargetsSensorConfig}
    for name, node in sensors.items():
        group = "habitat/task/lab_sensors"
        package = f"habitat.task.lab_sensors.{name}"
        store.store(group=group, package=package, name=f"nav_pick_{name}", node=node)
    sensors = {"ranges": RangeSensorConfig, "depth": KinematicDepthSensorConfig}
    for name, node in sensors.items():
        store.store(group="habitat/simulator/sim_sensors", name=f"kinematic_{name}", node=node)
    measures = {
        "success": "NavPickSuccess",
        "path_length": "PathLength",
        "pick_held": "PickHeld",
        "nav_pick_reward": "NavPickReward",
    }
    for name, kind in measures.items():
        store.store(
            group="habitat/task/measurements",
            package=f"habitat.task.measurements.{name}",
            name=f"nav_pick_{name}",
            node=_measure(kind),
        )


def kinematic_config(depth: bool = False, overrides: tuple[str, ...] = ()) -> Any:
    """Return the configuration of the kinematic Nav & Pick, read-only.

    Args:
        depth: with the depth camera.
        overrides: in hydra's form, such as ``habitat.environment.max_episode_steps=100``.
    """
    camera = "+habitat/simulator/sim_sensors@habitat.simulator.agents.main_agent.sim_sensors.depth"
    more = [f"{camera}=kinematic_depth"] if depth else []
    return get_config(str(CONFIG), [*more, *overrides])


_register()
