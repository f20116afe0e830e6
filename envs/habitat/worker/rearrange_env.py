"""Nav & Pick on habitat-sim's own RearrangePddlTask-v0, in ReplicaCAD's apartments.

Written against habitat-lab 0.3.3's sources; it has never met a habitat-sim (docs/HABITAT.md). The
robot moves by ``base_velocity``, which is also what ``oracle_nav_action`` does, along the navmesh
paths that the waypoints name; picking is ``pddl_apply_action``, with the domain's own conditions.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from habitat.config.default import get_config

from llm4teach.envs.habitat.worker.layout import (
    ACTIONS,
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    DEPTH_SHAPE,
    FIELD_OF_VIEW,
    FORWARD_M,
    HELD_OUT_START,
    MAX_DEPTH_M,
    MAX_RANGE_M,
    MAX_STEPS,
    RANGES,
    REACH_M,
    TARGETS,
    TURN_DEGREES,
    VECTOR_SHAPE,
    Array,
    encode,
    nav_pick_reward,
)

_RAY_HEIGHT_M, _ROBOT_M = 0.3, 0.35  # rays begin outside of the robot
_ROBOT = "robot_0"
_ARM_M = REACH_M + 1.25  # within the 2 m at which the domain lets a robot pick

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


class RearrangeEnv:
    """Episodes by seed, actions by number; the same bytes as `KinematicEnv`.

    Args:
        data_path: folder of habitat-sim's data, called ``data``: episodes name their files from
            the folder above.
        depth: observe a depth image above the state.

    Raises:
        FileNotFoundError: data is missing; the message says how to get it.
        ImportError: habitat-sim is missing.
    """

    def __init__(self, data_path: str, depth: bool = False) -> None:
        folder = Path(data_path).resolve()
        check_data(folder)
        import habitat
        import habitat_sim

        os.chdir(folder.parent)
        self._sim_module, self._envs = habitat_sim, {}
        for split in ("train", "val"):  # held-out seeds play the val episodes
            config = rearrange_config(folder, split, 1_000_000)
            self._envs[split] = lambda config=config: habitat.Env(config)
        self._env: Any = None
        self._split = ""
        self.observation_shape: tuple[int, ...] = DEPTH_SHAPE if depth else VECTOR_SHAPE

    def reset(self, seed: int, out: Array) -> None:
        split = "val" if seed >= HELD_OUT_START else "train"
        if split != self._split:
            self.close()
            self._env, self._split = self._envs[split](), split
        env = self._env
        env.current_episode = env.episodes[seed % len(env.episodes)]
        env.seed(seed % (1 << 31))
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
        elif self._arm_out:
            self._pick()
        self._steps += 1
        self._collisions += self._blocked
        held = self._held() == 0
        reward, self._touched = nav_pick_reward(self._blocked, held, self._steps, self._touched)
        self._write(out)
        return reward, held, not held and self._steps >= MAX_STEPS

    def measures(self) -> list[float]:
        success = float(self._held() == 0)
        spl = success * self._shortest / max(self._shortest, self._path_m, 1e-9)
        left = self._way(self._object())[1]
        return [success, float(self._collisions), spl, left, self._path_m, float(self._held())]

    def render(self) -> Array:
        """What the robot's camera sees, as grey levels, uint8 (height, width, 3)."""
        depth = np.asarray(self._seen["head_depth"])[..., 0]
        return np.repeat((255 * (1 - depth))[..., None], 3, 2).astype(np.uint8)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    # ---- acting

    def _drive(self, name: str) -> None:
        """Repeat habitat's velocity action until the robot has gone as far as one action."""
        action = self._env.task.actions["base_velocity"]
        frequency = self._env.sim.ctrl_freq
        length = FORWARD_M if name == "forward" else math.radians(TURN_DEGREES)
        speed = action._lin_speed if name == "forward" else action._ang_speed
        times = max(1, math.ceil(length * frequency / speed))
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
        path = self._sim_module.ShortestPath()
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

    def _clear(self, angle: float, most: float) -> float:
        """Distance to what a ray along the floor meets, ``angle`` from straight ahead; meters."""
        heading = float(self._env.sim.articulated_agent.base_rot) + angle
        aim = np.array([math.cos(heading), 0.0, -math.sin(heading)])
        start = np.array(self._base()) + _ROBOT_M * aim + np.array([0.0, _RAY_HEIGHT_M, 0.0])
        ray = self._sim_module.geo.Ray(start, aim)
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
            if thing[3] > _ARM_M:
                points, _ = self._way(self._object())
                targets[0] = self._relative(points[1]) if len(points) > 1 else thing
        targets[1] = self._next_unexplored()
        held = self._held()
        flags = (self._table_seen, self._arm_out, held == 0, held > 0, self._blocked)
        angles = np.arange(RANGES) * (2 * math.pi / RANGES)
        ranges = np.array([self._clear(float(angle), MAX_RANGE_M) for angle in angles])
        image = np.asarray(self._seen["head_depth"])[..., 0] * MAX_DEPTH_M  # (rows, columns)
        rows = np.arange(DEPTH_ROWS - 1) * len(image) // (DEPTH_ROWS - 1)
        columns = np.arange(DEPTH_COLUMNS) * image.shape[1] // DEPTH_COLUMNS
        readings = {"ranges": ranges, "flags": flags, "targets": targets}
        encode({**readings, "depth": np.minimum(image[rows][:, columns], MAX_DEPTH_M)}, out)

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
