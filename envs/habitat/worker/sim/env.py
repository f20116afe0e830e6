"""One Nav & Pick on habitat-sim in a generated apartment."""

from __future__ import annotations

from dataclasses import dataclass

from habitat.config.default_structured_configs import SimulatorSensorConfig
from hydra.core.config_store import ConfigStore

from llm4teach.envs.habitat.worker.kinematic.configs import kinematic_config
from llm4teach.envs.habitat.worker.kinematic.env import NavPickEnv
from llm4teach.envs.habitat.worker.layout import VECTOR_SHAPE
from llm4teach.envs.habitat.worker.sim.simulator import SIMULATOR

_SENSORS = "habitat/simulator/sim_sensors"


@dataclass
class ApartmentsDepthSensorConfig(SimulatorSensorConfig):
    """The rendered depth camera."""

    type: str = "ApartmentsDepthSensor"


ConfigStore.instance().store(
    group=_SENSORS, name="apartments_depth", node=ApartmentsDepthSensorConfig
)


class ApartmentsEnv(NavPickEnv):
    """The kinematic simulator's task, sensors and measures on habitat-sim.

    Making one starts the simulator. A process can have one only.

    Args:
        shape: of an observation, one of `layout`'s; for the state alone nothing is rendered.
    """

    def __init__(self, shape: tuple[int, ...] = VECTOR_SHAPE) -> None:
        agent = "habitat.simulator.agents.main_agent.sim_sensors"
        camera = [f"+{_SENSORS}@{agent}.depth=apartments_depth"] if shape != VECTOR_SHAPE else []
        config = kinematic_config(overrides=(f"habitat.simulator.type={SIMULATOR}", *camera))
        super().__init__(config, shape)
