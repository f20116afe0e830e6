"""habitat-sim in generated apartments as a habitat-lab Simulator, registered as ``apartments``."""

from __future__ import annotations

from typing import Any

import numpy as np
from gym import spaces
from habitat.core.registry import registry
from habitat.core.simulator import DepthSensor

from llm4teach.envs.habitat.worker.kinematic.apartment import apartment
from llm4teach.envs.habitat.worker.kinematic.simulator import KinematicSim
from llm4teach.envs.habitat.worker.kinematic.world import place_of
from llm4teach.envs.habitat.worker.layout import DEPTH_COLUMNS, DEPTH_ROWS, MAX_DEPTH_M, Array
from llm4teach.envs.habitat.worker.sim.backend import ApartmentSim
from llm4teach.envs.habitat.worker.sim.world import SimWorld

SIMULATOR = "apartments"


@registry.register_sensor(name="ApartmentsDepthSensor")
class ApartmentsDepthSensor(DepthSensor):
    """habitat-sim's depth camera, float64 (DEPTH_ROWS - 1, DEPTH_COLUMNS), in meters."""

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.Box(0.0, MAX_DEPTH_M, (DEPTH_ROWS - 1, DEPTH_COLUMNS), np.float64)

    def get_observation(self, world: SimWorld, *args: Any, **kwargs: Any) -> Array:
        return world.depth()


@registry.register_simulator(name=SIMULATOR)
class ApartmentsSim(KinematicSim):
    """Stock discrete motion, Bullet rays, Recast ways and a rendered depth camera.

    Its agent is moved by the names in `layout.ACTIONS`. `reconfigure` enters the apartment of an
    episode with the same simulator, since a process can have one only.
    """

    world: SimWorld

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.backend = ApartmentSim(config.scene)

    def reset(self) -> Any:
        """Enter the episode's apartment; return the sensors' readings."""
        assert self._start is not None, "reconfigure comes first"
        scene, x, y, heading = self._start
        self.backend.enter(scene)
        self.world = SimWorld(self.backend, apartment(scene), x, y, heading)
        return self.sensor_suite.get_observations(self.world)

    def geodesic_distance(
        self, position_a: Any, position_b: Any = None, episode: Any = None
    ) -> float:
        """Length of the navmesh's shortest way from the robot to where the arm reaches the object.

        It is known for the robot's own position only, whatever the arguments are; meters.
        """
        return self.world.distance_to_goal()

    def get_straight_shortest_path_points(self, position_a: Any, position_b: Any) -> list[Any]:
        """Points of that way."""
        return self.world.way_to_goal()[1]

    def is_navigable(self, point: Any) -> bool:
        return self.backend.is_navigable(*place_of(point))

    def close(self) -> None:
        self.backend.close()
