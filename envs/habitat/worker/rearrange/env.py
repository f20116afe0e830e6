"""Nav & Pick on habitat-sim's RearrangePddlTask-v0: actions, readings and reward.

It has met stand-in data in ReplicaCAD's format, and not ReplicaCAD itself (docs/HABITAT.md). The
robot moves by ``base_velocity``, which is also what habitat-lab's oracle navigation does, along the
navmesh paths that the waypoints name. Picking is ``pddl_apply_action``, with the domain's own
conditions, and only where the arm reaches and nothing is in its way.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import habitat
import habitat_sim
import numpy as np
from habitat.datasets import make_dataset

from llm4teach.envs.habitat.worker.layout import (
    ACTIONS,
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    FIELD_OF_VIEW,
    FORWARD_M,
    HELD_OUT_START,
    MAX_DEPTH_M,
    MAX_RANGE_M,
    MAX_STEPS,
    RANGES,
    REACH_DEGREES,
    TARGETS,
    TURN_DEGREES,
    Array,
    encode,
    nav_pick_reward,
)
from llm4teach.envs.habitat.worker.rearrange import task  # noqa: F401  it registers
from llm4teach.envs.habitat.worker.rearrange.config import CAMERA, rearrange_config

_RAY_HEIGHT_M, _ROBOT_M = 0.3, 0.35  # rays begin outside of the robot
_EYES_M = 1.25  # height of the head's camera
_ROBOT = "robot_0"
ARM_M = 1.25  # what Fetch's arm reaches, from the middle of its base
_TOUCH_M = 0.1  # a ray that ends this near to the object's middle meets the object


class RearrangeEnv:
    """Episodes by seed, actions by number; the same bytes as `KinematicEnv`.

    Making one starts the simulator and loads the first scene, which takes up to a minute without
    a GPU. A process can have one only.

    Args:
        folder: habitat-sim's data, a folder called ``data``: episodes name their files from the
            folder above. It is complete (`check_data`).
        shape: of an observation, one of `layout`'s.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        os.chdir(folder.parent)
        config = rearrange_config(folder, "train")
        held_out = rearrange_config(folder, "val").habitat.dataset  # held-out seeds play these
        self._env = habitat.Env(config)
        self._episodes = {
            False: self._env.episodes,
            True: make_dataset(held_out.type, config=held_out).episodes,
        }
        self.observation_shape = shape

    def reset(self, seed: int, out: Array) -> None:
        env, episodes = self._env, self._episodes[seed >= HELD_OUT_START]
        env.current_episode = episodes[seed % len(episodes)]
        env.task.episode_seed = seed % (1 << 31)
        env.seed(env.task.episode_seed)
        self._seen = env.reset()
        self._steps = self._collisions = 0
        self._arm_out = self._blocked = self._table_seen = False
        self._path_m, self._touched = 0.0, 0.0
        self._rng = np.random.default_rng(seed)
        self._unexplored: Any = None
        self._target = env.sim.get_targets()[0][0]
        self._shortest = self._way(self._object())[1]
        self._write(out)

    def step(self, action: int, out: Array) -> tuple[float, bool, bool]:
        name = ACTIONS[action]
        before = np.array(self._base())
        self._blocked = False
        if name in ("forward", "left", "right"):
            self._arm_out = False
            self._drive(name)
            moved = float(np.linalg.norm((np.array(self._base()) - before)[[0, 2]]))
            self._path_m += moved
            self._blocked = name == "forward" and moved < 0.9 * FORWARD_M
        elif name == "reach":
            self._arm_out = not self._arm_out
        elif self._arm_out and self._in_reach():
            self._pick()
        self._steps += 1
        self._collisions += self._blocked
        held = self._held() == 0
        reward, self._touched = nav_pick_reward(self._blocked, held, self._steps, self._touched)
        self._write(out)
        # habitat ends an episode itself when the robot pushes too hard: a failure, no time limit.
        ended = held or bool(self._env.episode_over)
        return reward, ended, not ended and self._steps >= MAX_STEPS

    def measures(self) -> list[float]:
        success = float(self._held() == 0)
        spl = success * self._shortest / max(self._shortest, self._path_m, 1e-9)
        left = self._way(self._object())[1]
        return [success, float(self._collisions), spl, left, self._path_m, float(self._held())]

    def render(self) -> Array:
        """What the robot's camera sees, as grey levels, uint8 (height, width, 3)."""
        near = 1 - np.clip(self._depth() / MAX_DEPTH_M, 0, 1)
        pixels: Array = np.repeat((255 * near)[..., None], 3, 2).astype(np.uint8)
        return pixels.repeat(8, 0).repeat(8, 1)

    def close(self) -> None:
        self._env.close()

    # ---- acting

    def _drive(self, name: str) -> None:
        """Repeat habitat's velocity action until the robot has gone as far as one action."""
        action = self._env.task.actions["base_velocity"]
        frequency = self._env.sim.ctrl_freq
        length = FORWARD_M if name == "forward" else math.radians(TURN_DEGREES)
        speed = action._lin_speed if name == "forward" else action._ang_speed
        times = max(1, math.ceil(length * frequency / speed - 1e-6))
        share = length * frequency / speed / times  # of the full speed
        linear = share if name == "forward" else 0.0
        angular = {"forward": 0.0, "left": share, "right": -share}[name]
        for _ in range(times):
            self._do("base_velocity", base_vel=np.array([linear, angular], np.float32))

    def _pick(self) -> None:
        """Apply the domain's pick action to the object; it does nothing unless it may."""
        action = self._env.task.actions["pddl_apply_action"]
        problem = self._env.task.pddl_problem
        ordered, entities = problem.get_ordered_actions(), problem.get_ordered_entities_list()
        number = next(i for i, candidate in enumerate(ordered) if candidate.name == "pick")
        object_id = self._env.sim.scene_obj_ids[self._target]
        names = {"robot": _ROBOT, "obj": self._entity_of(object_id)}
        arguments = np.zeros(sum(candidate.n_args for candidate in ordered), np.float32)
        start = action.get_pddl_action_start(number)
        places = {entity.name: i + 1 for i, entity in enumerate(entities)}
        arguments[start : start + 2] = places[names["obj"]], places[names["robot"]]
        self._do("pddl_apply_action", pddl_action=arguments)

    def _entity_of(self, object_id: int) -> str:
        sim, info = self._env.sim, self._env.task.pddl_problem.sim_info
        for entity in self._env.task.pddl_problem.get_ordered_entities_list():
            found = info.search_for_entity(entity)
            movable = entity.expr_type.name == "movable_entity_type"
            if movable and isinstance(found, int) and sim.scene_obj_ids[found] == object_id:
                return str(entity.name)
        raise RuntimeError("the episode's object is none of the domain's entities")

    def _do(self, name: str, **arguments: Array) -> None:
        if self._env.episode_over:  # habitat takes no more actions
            return
        self._seen = self._env.step({"action": name, "action_args": arguments})

    # ---- sensing

    def _base(self) -> Any:
        return self._env.sim.articulated_agent.base_pos

    def _object(self) -> Array:
        return np.array(self._env.sim.get_scene_pos()[self._target])

    def _held(self) -> int:
        """-1 nothing, 0 the object, 1 something else."""
        snapped = self._env.sim.grasp_mgr.snap_idx
        if snapped is None:
            return -1
        return int(snapped != self._env.sim.scene_obj_ids[self._target])

    def _way(self, place: Array) -> tuple[list[Any], float]:
        """Points of the navmesh's shortest path to next to a place, and its length in meters."""
        path = habitat_sim.ShortestPath()
        path.requested_start = self._base()
        path.requested_end = self._env.sim.safe_snap_point(place)
        found = self._env.sim.pathfinder.find_path(path)
        return (list(path.points), float(path.geodesic_distance)) if found else ([], 1e3)

    def _relative(self, place: Any) -> tuple[float, float, float, float]:
        """Present, sine and cosine of the bearing, distance (m)."""
        base = self._base()
        x, y = float(place[0] - base[0]), -float(place[2] - base[2])
        bearing = math.atan2(y, x) - float(self._env.sim.articulated_agent.base_rot)
        return 1.0, math.sin(bearing), math.cos(bearing), math.hypot(x, y)

    def _in_reach(self) -> bool:
        """Whether the arm reaches the object, with nothing in its way."""
        thing = self._object()
        _, sine, cosine, distance = self._relative(thing)
        ahead = abs(math.atan2(sine, cosine)) <= math.radians(REACH_DEGREES)
        return distance <= ARM_M and ahead and self._sees(thing)

    def _sees(self, place: Array) -> bool:
        """Whether a ray from the head to the object's place meets nothing before it."""
        eyes = np.array(self._base()) + np.array([0.0, _EYES_M, 0.0])
        aim = np.asarray(place) - eyes
        length = float(np.linalg.norm(aim))
        ray = habitat_sim.geo.Ray(eyes, aim / length)
        robot = self._env.sim.articulated_agent
        own = {robot.get_robot_sim_id(), *getattr(robot.sim_obj, "link_object_ids", {})}
        own.add(self._env.sim.scene_obj_ids[self._target])
        hits = self._env.sim.cast_ray(ray, max_distance=length).hits
        return all(hit.object_id in own or hit.ray_distance > length - _TOUCH_M for hit in hits)

    def _clear(self, angle: float, most: float) -> float:
        """Distance to what a ray along the floor meets, ``angle`` from straight ahead; meters."""
        heading = float(self._env.sim.articulated_agent.base_rot) + angle
        aim = np.array([math.cos(heading), 0.0, -math.sin(heading)])
        start = np.array(self._base()) + _ROBOT_M * aim + np.array([0.0, _RAY_HEIGHT_M, 0.0])
        ray = habitat_sim.geo.Ray(start, aim)
        hits = self._env.sim.cast_ray(ray, max_distance=most).hits
        return min([_ROBOT_M + hit.ray_distance for hit in hits] + [most])

    def _write(self, out: Array) -> None:
        targets = np.zeros((len(TARGETS), 4))
        thing = self._relative(self._object())
        bearing = math.atan2(thing[1], thing[2])
        if not self._table_seen and abs(bearing) <= FIELD_OF_VIEW / 2 and thing[3] <= 5.0:
            self._table_seen = self._clear(bearing, thing[3]) > thing[3] - 1.0
        if self._table_seen:
            targets[2] = targets[3] = thing  # the object stands for what it lies on
            if thing[3] > ARM_M:
                points, _ = self._way(self._object())
                targets[0] = self._relative(points[1]) if len(points) > 1 else thing
        targets[1] = self._next_unexplored()
        held = self._held()
        flags = (self._table_seen, self._arm_out, held == 0, held > 0, self._blocked)
        angles = np.arange(RANGES) * (2 * math.pi / RANGES)
        ranges = np.array([self._clear(float(angle), MAX_RANGE_M) for angle in angles])
        readings = {"ranges": ranges, "flags": flags, "targets": targets}
        encode({**readings, "depth": np.minimum(self._depth(), MAX_DEPTH_M)}, out)

    def _depth(self) -> Array:
        """The camera's image, float (DEPTH_ROWS - 1, DEPTH_COLUMNS), in meters; 0 is nothing."""
        image = np.asarray(self._seen[CAMERA])[..., 0]
        return np.where(image > 0, image, MAX_DEPTH_M).reshape(DEPTH_ROWS - 1, DEPTH_COLUMNS)

    def _next_unexplored(self) -> tuple[float, float, float, float]:
        """The next point on the way to a place drawn at random, a new one when it is near."""
        for _ in range(8):
            if self._unexplored is not None:
                points, length = self._way(self._unexplored)
                if len(points) > 1 and length > 1.0:
                    return self._relative(points[1])
            self._env.sim.pathfinder.seed(int(self._rng.integers(1 << 30)))
            self._unexplored = np.array(self._env.sim.pathfinder.get_random_navigable_point())
        return 0.0, 0.0, 0.0, 0.0
