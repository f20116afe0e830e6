"""Nav & Pick's parts in habitat-lab's configuration system, and the configurations made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from habitat.config.default import get_config
from habitat.config.default_structured_configs import (
    ActionConfig,
    DatasetConfig,
    LabSensorConfig,
    MeasurementConfig,
    SimulatorSensorConfig,
)
from hydra.core.config_store import ConfigStore

from llm4teach.envs.habitat.worker.episodes import DATASET
from llm4teach.envs.habitat.worker.layout import ACTIONS

CONFIG = Path(__file__).with_name("nav_pick.yaml")


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
