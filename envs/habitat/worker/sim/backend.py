"""habitat-sim itself: one simulator that enters one apartment after the other.

Places on the floor are (x, y) in meters and headings are in radians, as in the kinematic world;
habitat's own axes are used in here alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import habitat_sim
import numpy as np
from habitat_sim.utils.common import quat_from_angle_axis

from llm4teach.envs.habitat.worker.gpu import gpu_device_id
from llm4teach.envs.habitat.worker.kinematic.apartment import ROBOT_RADIUS_M, Pickable, apartment
from llm4teach.envs.habitat.worker.kinematic.rendering import (
    CAMERA_HEIGHT_M,
    HORIZONTAL_VIEW,
    PITCH,
)
from llm4teach.envs.habitat.worker.kinematic.world import place_of, position_of
from llm4teach.envs.habitat.worker.layout import (
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    FORWARD_M,
    MAX_DEPTH_M,
    TURN_DEGREES,
    Array,
)
from llm4teach.envs.habitat.worker.sim.scene_files import (
    THING_M,
    cache_folder,
    stage_of,
    thing_of,
)

RAY_HEIGHT_M = 0.3  # lower than any furniture
ROBOT_HEIGHT_M = 1.2
_CELL_M, _CLIMB_M = 0.03, 0.1  # of the navmesh
_FEET_M = 0.1  # the navmesh's height above the floor, which the robot stands on
_HELD_AT = (0.0, 0.8, -0.3)  # in the robot's axes: before it, below what its camera sees
_ACTIONS = {"forward": "move_forward", "left": "turn_left", "right": "turn_right"}


class _Simulator(habitat_sim.Simulator):
    """habitat-sim's, without the navmesh that it computes for each scene and that is not used."""

    def _config_pathfinder(self, config: Any) -> None:
        pass


class ApartmentSim:
    """The simulator: robot, camera and things in one apartment at a time.

    Only `depth_image` renders.

    Args:
        name: of the apartment to start in.

    Raises:
        RuntimeError: habitat-sim has no Bullet.
    """

    def __init__(self, name: str) -> None:
        if not habitat_sim.bindings.built_with_bullet:
            raise RuntimeError(
                f"habitat-sim {habitat_sim.__version__} is built without Bullet, which casts the "
                "rays; install the build withbullet (docs/HABITAT.md)"
            )
        self._folder = cache_folder()
        self._apartment = ""
        self._things: list[Any] = []
        self._held = -1
        self._sim = _Simulator(self._configuration(name))
        self._ray = habitat_sim.geo.Ray()
        self._load(name)
        self._scale = _horizontal_scale()

    def close(self) -> None:
        """End the simulator; the process cannot have another one."""
        self._sim.close()

    def _configuration(self, name: str) -> Any:
        sim = habitat_sim.SimulatorConfiguration()
        sim.scene_id = str(stage_of(name, self._folder))
        sim.gpu_device_id = gpu_device_id()
        sim.enable_physics = sim.allow_sliding = True
        agent = habitat_sim.agent.AgentConfiguration()
        agent.height, agent.radius = ROBOT_HEIGHT_M, ROBOT_RADIUS_M
        # Without a camera there is no renderer, and without a renderer no navmesh is computed.
        agent.sensor_specifications = [_camera()]
        spec, amount = habitat_sim.agent.ActionSpec, habitat_sim.agent.ActuationSpec
        agent.action_space = {
            name: spec(stock, amount(FORWARD_M if name == "forward" else float(TURN_DEGREES)))
            for name, stock in _ACTIONS.items()
        }
        return habitat_sim.Configuration(sim, [agent])

    # ---- scenes

    def enter(self, name: str) -> None:
        """Go to the apartment of this name, with everything in its place."""
        if name != self._apartment:
            self._sim.reconfigure(self._configuration(name))
            self._load(name)
        elif self._held >= 0:
            self.put_back()

    def _load(self, name: str) -> None:
        """Load or compute the navmesh, and lay the things on their furniture."""
        navmesh = self._navmesh_file()
        if not navmesh.exists():
            self._compute_navmesh(navmesh)
        # Always from the file, so that the first episode is the same as later ones.
        if not self._sim.pathfinder.load_nav_mesh(str(navmesh)):
            raise RuntimeError(f"habitat-sim cannot read {navmesh}; remove it and start again")
        self._agent = self._sim.get_agent(0)
        templates = self._sim.get_object_template_manager()
        path = str(thing_of(self._folder))
        if not templates.get_template_handles(path):
            templates.load_configs(path)
        (self._template,) = templates.get_template_handles(path)
        self._held, self._apartment = -1, name
        self._lying = apartment(name).things
        self._things = [self._lay(thing) for thing in self._lying]

    def _navmesh_file(self) -> Path:
        stage = Path(self._sim.config.sim_cfg.scene_id)
        made_by = f"{ROBOT_RADIUS_M:g}-{_CELL_M:g}-{habitat_sim.__version__}"
        return stage.with_name(stage.name.replace("stage_config.json", f"{made_by}.navmesh"))

    def _compute_navmesh(self, path: Path) -> None:
        settings = habitat_sim.NavMeshSettings()
        settings.set_defaults()
        settings.agent_radius, settings.agent_height = ROBOT_RADIUS_M, ROBOT_HEIGHT_M
        settings.cell_size, settings.agent_max_climb = _CELL_M, _CLIMB_M
        if not self._sim.recompute_navmesh(self._sim.pathfinder, settings):
            raise RuntimeError(f"habitat-sim computes no navmesh for {path.stem}")
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        self._sim.pathfinder.save_nav_mesh(str(temporary))
        temporary.replace(path)

    # ---- the robot

    def place(self, x: float, y: float, heading: float) -> None:
        """Put the robot on the navmesh's nearest point."""
        state = habitat_sim.AgentState()
        state.position = self.snap(x, y)
        state.rotation = quat_from_angle_axis(heading - math.pi / 2, np.array([0.0, 1.0, 0.0]))
        self._agent.set_state(state)

    def pose(self) -> tuple[float, float, float]:
        """Where the robot is: x, y and heading."""
        node = self._agent.scene_node
        x, y = place_of(node.translation)
        turned = node.rotation
        heading = 2 * math.atan2(turned.vector[1], turned.scalar) + math.pi / 2
        return x, y, math.remainder(heading, 2 * math.pi)

    def act(self, action: str) -> bool:
        """Do one of habitat-sim's stock actions; return whether the robot touched something."""
        return bool(self._agent.act(action))

    # ---- rays, ways and images

    def ray(self, x: float, y: float, angle: float, most: float) -> float:
        """Distance to the nearest hit of a ray along the floor, at most ``most``; meters."""
        self._ray.origin = np.array(position_of(x, y, RAY_HEIGHT_M), np.float32)
        self._ray.direction = np.array([math.cos(angle), 0.0, -math.sin(angle)], np.float32)
        found = self._sim.cast_ray(self._ray, most)
        return min((hit.ray_distance for hit in found.hits), default=most)

    def rays(self, x: float, y: float, directions: Array, most: float) -> Array:
        """As `ray`, for unit vectors float32 (R, 3) in habitat's axes; float (R,)."""
        cast, ray = self._sim.cast_ray, self._ray
        ray.origin = np.array(position_of(x, y, RAY_HEIGHT_M), np.float32)
        distances = np.full(len(directions), most)
        for n, direction in enumerate(directions):
            ray.direction = direction
            found = cast(ray, most)
            if found.has_hits():
                distances[n] = found.hits[0].ray_distance  # sorted by distance
        return distances

    def snap(self, x: float, y: float) -> Array:
        """The navmesh's nearest point, float32 (3,) in habitat's axes."""
        point = np.array(position_of(x, y), np.float32)
        return np.array(self._sim.pathfinder.snap_point(point), np.float32)

    def is_navigable(self, x: float, y: float) -> bool:
        """Whether the navmesh covers this place on the floor."""
        point = np.array(position_of(x, y, _FEET_M), np.float32)
        return bool(self._sim.pathfinder.is_navigable(point, 0.5))

    def way(self, x: float, y: float, ends: Sequence[Array]) -> tuple[float, list[Any]]:
        """Length (m) and points of the shortest way to the nearest of some points; inf if none."""
        path = habitat_sim.MultiGoalShortestPath()
        path.requested_start, path.requested_ends = self.snap(x, y), list(ends)
        if not self._sim.pathfinder.find_path(path):
            return math.inf, []
        return float(path.geodesic_distance), list(path.points)

    def depth_image(self) -> Array:
        """Horizontal distance to what each pixel shows, float32 (DEPTH_ROWS - 1, DEPTH_COLUMNS).

        In meters, at most `MAX_DEPTH_M`, which is also what the open sky has.
        """
        rendered = np.asarray(self._sim.get_sensor_observations()["depth"])
        far = np.where(rendered > 0, rendered * self._scale, MAX_DEPTH_M)  # 0 is nothing
        return np.minimum(far, MAX_DEPTH_M)

    # ---- the things

    def hold(self, number: int) -> None:
        """Attach a thing to the robot, so that it moves along."""
        manager = self._sim.get_rigid_object_manager()
        manager.remove_object_by_id(self._things[number].object_id)
        # A node of its own: habitat-sim would move the robot's along with the thing.
        self._things[number] = self._add(_HELD_AT, self._agent.scene_node.create_child())
        self._held = number

    def put_back(self) -> None:
        """Lay what is held where it was."""
        manager = self._sim.get_rigid_object_manager()
        manager.remove_object_by_id(self._things[self._held].object_id)
        self._things[self._held] = self._lay(self._lying[self._held])
        self._held = -1

    def thing_position(self, number: int) -> tuple[float, float, float]:
        """Where a thing is: x, y and the height of its middle."""
        at = self._things[number].root_scene_node.absolute_translation
        return (*place_of(at), float(at[1]))

    def _lay(self, thing: Pickable) -> Any:
        return self._add(position_of(thing.x, thing.y, thing.z + THING_M / 2), None)

    def _add(self, position: Sequence[float], node: Any) -> Any:
        manager = self._sim.get_rigid_object_manager()
        made = manager.add_object_by_template_handle(self._template, node)
        made.motion_type = habitat_sim.physics.MotionType.KINEMATIC
        made.translation = np.array(position, np.float32)
        return made


def _camera() -> Any:
    camera = habitat_sim.CameraSensorSpec()
    camera.uuid, camera.sensor_type = "depth", habitat_sim.SensorType.DEPTH
    camera.sensor_subtype = habitat_sim.SensorSubType.PINHOLE
    camera.resolution = [DEPTH_ROWS - 1, DEPTH_COLUMNS]
    camera.position = [0.0, CAMERA_HEIGHT_M - _FEET_M, 0.0]
    camera.orientation = [PITCH, 0.0, 0.0]
    camera.hfov = math.degrees(HORIZONTAL_VIEW)
    return camera


def _horizontal_scale() -> Array:
    """Horizontal distance for each meter along the camera's axis, float (rows, columns)."""
    rows, columns = DEPTH_ROWS - 1, DEPTH_COLUMNS
    side = math.tan(HORIZONTAL_VIEW / 2) * (1 - 2 * (np.arange(columns) + 0.5) / columns)
    up = math.tan(HORIZONTAL_VIEW / 2) * rows / columns * (1 - 2 * (np.arange(rows) + 0.5) / rows)
    ahead = math.cos(PITCH) - up * math.sin(PITCH)  # (rows,)
    scale: Array = np.hypot(ahead[:, None], side)
    return scale
