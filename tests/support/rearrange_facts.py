"""Run in the worker's interpreter: the pieces of `HabitatRearrange` that need no data, as JSON."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

WORKER = Path(__file__).resolve().parents[2] / "envs" / "habitat" / "worker"
runpy.run_path(str(WORKER / "__main__.py"), run_name="worker")["stand_in"]()


def main() -> None:
    from llm4teach.envs.habitat.worker import simulators  # noqa: F401  it imports habitat

    facts = {
        "config": config(),
        "seeding": seeding(),
        "forced_end": forced_end(),
        "drive": drive(),
        "depth": depth(),
        "arm": arm(),
    }
    print(json.dumps(facts))


def config() -> dict[str, Any]:
    """What is composed."""
    from llm4teach.envs.habitat.worker.rearrange.config import rearrange_config

    made = rearrange_config(Path("/somewhere/data"), "val").habitat
    camera = made.simulator.agents.main_agent.sim_sensors.head_depth_sensor
    base, sim = made.task.actions.base_velocity, made.simulator
    return {
        "type": made.task.type,
        "split": made.dataset.split,
        "allow_sliding": sim.habitat_sim_v0.allow_sliding,
        "gpu": sim.habitat_sim_v0.gpu_device_id,
        "camera": [camera.height, camera.width, camera.normalize_depth],
        "measures": list(made.task.measurements),
        "lab_sensors": list(made.task.lab_sensors),
        "actions": sorted(made.task.actions),
        "habitat_step": [base.lin_speed / sim.ctrl_freq, base.ang_speed / sim.ctrl_freq],
        "data_path": made.dataset.data_path,
        "urdf": sim.agents.main_agent.articulated_agent_urdf,
    }


def seeding() -> dict[str, Any]:
    """The task seeds again after the scene has used random numbers up."""
    from habitat.core.registry import registry
    from habitat.tasks.rearrange.multi_task.pddl_task import PddlTask

    from llm4teach.envs.habitat.worker.rearrange import task

    seeded: list[list[Any]] = []
    made = task.SeededPddlTask.__new__(task.SeededPddlTask)
    made._sim = SimpleNamespace(
        seed=lambda seed: seeded.append(["sim", seed]),
        pathfinder=SimpleNamespace(seed=lambda seed: seeded.append(["pathfinder", seed])),
    )
    made.episode_seed = 11
    PddlTask.reset = lambda self, episode: float(np.random.random())  # the robot's start
    first = made.reset(None)
    np.random.random(7)  # another scene
    return {
        "same": first == made.reset(None),
        "seeded": seeded[:2],
        "registered": registry.get_task(task.TASK).__name__,
    }


class FakeHabitat:
    """habitat's Env with a robot at the origin that faces along x, and a world of a few hits."""

    def __init__(self, thing: tuple[float, float, float], hits: list[Any]) -> None:
        self.episode_over, self.end_after = False, 1_000
        self.steps: list[Any] = []
        self.position = np.zeros(3)
        env = self

        class Robot:
            base_pos = property(lambda _: env.position)
            base_rot = 0.0
            sim_obj = SimpleNamespace(link_object_ids={2: 0})

            def get_robot_sim_id(self) -> int:
                return 1

        self.sim = SimpleNamespace(
            articulated_agent=Robot(),
            ctrl_freq=120.0,
            scene_obj_ids=[50],
            get_scene_pos=lambda: np.array([thing]),
            cast_ray=lambda ray, max_distance: SimpleNamespace(hits=hits),
            grasp_mgr=SimpleNamespace(snap_idx=None),
        )
        action = SimpleNamespace(_lin_speed=30.0, _ang_speed=math.radians(30) * 120)
        self.task = SimpleNamespace(actions={"base_velocity": action})

    def step(self, action: dict[str, Any]) -> dict[str, Any]:
        assert not self.episode_over, "Episode over, call reset before calling step"
        self.steps.append([action["action"], action["action_args"]["base_vel"].tolist()])
        self.position = self.position + np.array([0.25, 0, 0])
        self.episode_over = len(self.steps) >= self.end_after
        return {}


def environment(fake: FakeHabitat) -> Any:
    from llm4teach.envs.habitat.worker.rearrange.env import RearrangeEnv

    env = RearrangeEnv.__new__(RearrangeEnv)
    env._env, env._target, env._seen = fake, 0, {}
    env._steps = env._collisions = 0
    env._arm_out = env._blocked = env._table_seen = False
    env._path_m = env._touched = 0.0
    env._write = lambda out: None
    return env


def forced_end() -> list[Any]:
    """habitat ends the episode at the second action; what three steps return."""
    fake = FakeHabitat((5.0, 0.8, 0.0), [])
    fake.end_after = 2
    env = environment(fake)
    return [env.step(0, None)[1:] for _ in range(3)] + [len(fake.steps)]


def drive() -> list[Any]:
    """habitat's steps of one action each: forward, left, right."""
    fake = FakeHabitat((5.0, 0.8, 0.0), [])
    env = environment(fake)
    for action in range(3):
        env.step(action, None)
    return fake.steps


def depth() -> list[float]:
    """Meters stay meters, and nothing is far away."""
    env = environment(FakeHabitat((5.0, 0.8, 0.0), []))
    image = np.full((24, 48, 1), 3.5, np.float32)
    image[0, 0] = 0.0
    env._seen = {"head_depth": image}
    return [float(env._depth()[1, 1]), float(env._depth()[0, 0]), *env.render().shape]


def arm() -> dict[str, bool]:
    """Where the arm takes the object from: distance, side, and what is between."""
    import habitat_sim

    habitat_sim.geo = SimpleNamespace(Ray=lambda origin, direction: None)

    def taken(x: float, side: float, *hits: tuple[int, float]) -> bool:
        found = [SimpleNamespace(object_id=who, ray_distance=far) for who, far in hits]
        env = environment(FakeHabitat((x, 0.8, -side), found))
        return bool(env._in_reach())

    return {
        "near": taken(0.9, 0.0),
        "it is hit itself": taken(0.9, 0.0, (50, 0.9)),
        "own arm": taken(0.9, 0.0, (2, 0.2)),
        "table top under it": taken(0.9, 0.0, (7, 0.98)),
        "wall": taken(0.9, 0.0, (7, 0.5)),
        "two meters": taken(1.9, 0.0),
        "at the side": taken(0.7, 0.7),
    }


if __name__ == "__main__":
    main()
