"""Run in the worker's interpreter: plays habitat-lab's own Env, and prints what it is as JSON."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

WORKER = Path(__file__).resolve().parents[2] / "envs" / "habitat" / "worker"
runpy.run_path(str(WORKER / "__main__.py"), run_name="worker")["stand_in"]()


def main() -> None:
    from llm4teach.envs.habitat.worker.import_stub import NAMES, import_habitat

    habitat, real = import_habitat()
    from llm4teach.envs.habitat.worker.kinematic.configs import kinematic_config, nav_pick_episode
    from llm4teach.envs.habitat.worker.kinematic.env import KinematicEnv

    facts = {"habitat_sim": real, "version": habitat.__version__}
    try:
        sys.modules["habitat_sim"].Simulator()  # type: ignore[attr-defined]
    except ImportError as error:
        facts["stub"] = str(error)
    facts["names"] = list(NAMES)

    env = KinematicEnv().env
    task = env.task
    facts["env"] = [type(env).__module__, type(env).__name__]
    facts["bases"] = [
        issubclass(type(task), habitat.EmbodiedTask),
        issubclass(type(env.sim), habitat.Simulator),
        all(isinstance(m, habitat.Measure) for m in task.measurements.measures.values()),
        all(isinstance(s, habitat.Sensor) for s in task.sensor_suite.sensors.values()),
        issubclass(type(env._dataset), habitat.Dataset),
        env._config is not None and type(env._config).__name__ == "DictConfig",
    ]
    facts["actions"] = list(task.actions)
    facts["observation_space"] = sorted(env.observation_space.spaces)
    facts["registered"] = [
        habitat.registry.get_simulator("kinematic").__name__,
        habitat.registry.get_task("NavPick-v0").__name__,
    ]

    # An episode by hand: turn once, then walk into something, through habitat's own dataset.
    env.current_episode = nav_pick_episode(3)
    env.reset()
    start = env.get_metrics()
    shortest = env.sim.geodesic_distance(env.sim.get_agent_state().position)
    walked, bumps, x = 0.0, 0, env.sim.get_agent_state().position
    for _ in range(30):
        env.step("forward")
        bumps += env.sim.previous_step_collided
        now = env.sim.get_agent_state().position
        walked += float(((now - x) ** 2).sum() ** 0.5)
        x = now
    metrics = env.get_metrics()
    facts["start"] = [start["distance_to_goal"], shortest, start["success"], start["spl"]]
    facts["collisions"] = [metrics["collisions"]["count"], int(bumps)]
    facts["path_length"] = [metrics["path_length"], walked]
    facts["state_rotation"] = abs(env.sim.get_agent_state().rotation)

    short = kinematic_config(overrides=("habitat.environment.max_episode_steps=4",))
    other = habitat.Env(short)
    other.reset()
    steps = 0
    while not other.episode_over:
        other.step("left")
        steps += 1
    facts["time_limit"] = steps
    facts["dataset"] = [len(other.episodes), other.episodes[0].episode_id]
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
