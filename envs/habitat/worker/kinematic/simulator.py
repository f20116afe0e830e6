"""The kinematic world as a habitat-lab Simulator, registered as ``kinematic``."""

from __future__ import annotations

from typing import Any

import numpy as np
import quaternion
from gym import spaces
from habitat.core.registry import registry
from habitat.core.simulator import (
    AgentState,
    DepthSensor,
    Sensor,
    SensorSuite,
    SensorTypes,
    Simulator,
)

from llm4teach.envs.habitat.worker.kinematic.apartment import apartment
from llm4teach.envs.habitat.worker.kinematic.rendering import depth_image, draw
from llm4teach.envs.habitat.worker.kinematic.world import (
    World,
    heading_of,
    place_of,
    position_of,
    rotation_list,
)
from llm4teach.envs.habitat.worker.layout import (
    ACTIONS,
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    MAX_DEPTH_M,
    MAX_RANGE_M,
    RANGES,
    Array,
)

SIMULATOR = "kinematic"


@registry.register_sensor(name="KinematicRangeSensor")
class RangeSensor(Sensor):
    """Distances to the nearest obstacle all round, float64 (RANGES,), in meters."""

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return "ranges"

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return SensorTypes.TENSOR

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.Box(0.0, MAX_RANGE_M, (RANGES,), np.float64)

    def get_observation(self, world: World, *args: Any, **kwargs: Any) -> Array:
        return world.ranges()


@registry.register_sensor(name="KinematicDepthSensor")
class KinematicDepthSensor(DepthSensor):
    """A depth image, float64 (DEPTH_ROWS - 1, DEPTH_COLUMNS), in meters."""

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.Box(0.0, MAX_DEPTH_M, (DEPTH_ROWS - 1, DEPTH_COLUMNS), np.float64)

    def get_observation(self, world: World, *args: Any, **kwargs: Any) -> Array:
        return depth_image(world.scene.boxes, world.x, world.y, world.heading)


@registry.register_simulator(name=SIMULATOR)
class KinematicSim(Simulator):
    """Moves and senses by geometry alone: no physics, no dynamics, no images but depth.

    Its scenes are generated; `reconfigure` enters that of an episode. Its agent is moved by the
    names in `layout.ACTIONS`.
    """

    def __init__(self, config: Any) -> None:
        self.habitat_config = config
        (agent,) = config.agents.values()
        self._suite = SensorSuite(
            [
                registry.get_sensor(sensor.type)(config=sensor)
                for sensor in agent.sim_sensors.values()
            ]
        )
        self._start: tuple[str, float, float, float] | None = None
        self.world: World

    @property
    def sensor_suite(self) -> SensorSuite:
        return self._suite

    @property
    def action_space(self) -> Any:
        """One number for each of `layout.ACTIONS`."""
        return spaces.Discrete(len(ACTIONS))

    def reconfigure(self, config: Any, episode: Any = None) -> None:
        if episode is not None:
            place = place_of(episode.start_position)
            self._start = episode.scene_id, *place, heading_of(episode.start_rotation)

    def reset(self) -> Any:
        """Put everything back to the start of the episode; return the sensors' readings."""
        assert self._start is not None, "reconfigure comes first"
        scene, x, y, heading = self._start
        self.world = World(apartment(scene), x, y, heading)
        return self._suite.get_observations(self.world)

    def step(self, action: Any, *args: Any, **kwargs: Any) -> Any:
        """Act, ``None`` does nothing; return the sensors' readings."""
        if action == "forward":
            self.world.forward()
        elif action in ("left", "right"):
            self.world.turn(1 if action == "left" else -1)
        elif action == "reach":
            self.world.reach()
        elif action == "grip":
            self.world.grip()
        elif action is not None:
            raise ValueError(f"{action!r} is none of the robot's actions {ACTIONS}")
        return self._suite.get_observations(self.world)

    def step_physics(self, seconds: float) -> None:
        """Nothing moves by itself."""

    def seed(self, seed: int) -> None:
        """Nothing is random but the episodes."""

    @property
    def previous_step_collided(self) -> bool:
        return self.world.blocked

    def get_agent_state(self, agent_id: int = 0) -> AgentState:
        """Where the robot is, in habitat's coordinates."""
        x, y, z, w = rotation_list(self.world.heading)
        position = np.array(position_of(self.world.x, self.world.y))
        return AgentState(position, quaternion.quaternion(w, x, y, z))

    def geodesic_distance(
        self, position_a: Any, position_b: Any = None, episode: Any = None
    ) -> float:
        """Length of the shortest way to where the arm reaches the object, in meters.

        It is known for this goal only, whatever ``position_b`` says.
        """
        return self.world.scene.area.distance_to_goal(*place_of(position_a))

    def get_straight_shortest_path_points(self, position_a: Any, position_b: Any) -> list[Any]:
        """Places on that way."""
        path = self.world.scene.area.shortest_path(*place_of(position_a))
        return [position_of(*place) for place in path]

    def is_navigable(self, point: Any) -> bool:
        return self.world.scene.area.is_navigable(*place_of(point))

    def sample_navigable_point(self) -> list[float]:
        """A place where the robot can stand, drawn with numpy's global generator."""
        places = self.world.scene.area.starts(0.0)
        return position_of(*places[np.random.randint(len(places))])

    def render(self, mode: str = "rgb") -> Array:
        """The world from above, uint8 (height, width, 3)."""
        return draw(self.world)

    @property
    def up_vector(self) -> Array:
        return np.array([0.0, 1.0, 0.0])

    @property
    def forward_vector(self) -> Array:
        return np.array([0.0, 0.0, -1.0])
