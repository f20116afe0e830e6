"""Run in the worker's interpreter: prints what seeded episodes of `habitat.Env` come to."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parents[2] / "envs" / "habitat" / "worker"
runpy.run_path(str(WORKER / "__main__.py"), run_name="worker")["stand_in"]()

HELD_OUT_START = 1 << 30
EPISODES = {False: (*range(8), HELD_OUT_START, HELD_OUT_START + 77), True: (3, HELD_OUT_START + 5)}


def action_for(observation: Any, rng: Any) -> int:
    """What leads to the object, as the last observation's bytes say; one in seven is random."""
    flags, targets = observation[24:29], observation[29:45].reshape(4, 4).astype(int)
    if rng.random() < 0.15:
        return int(rng.choice(5, p=(0.7, 0.1, 0.1, 0.05, 0.05)))
    place = next((row for row in targets[[0, 3, 1]] if row[0]), targets[1])
    if abs(place[1] - 128) > 30:
        return 1 if place[1] > 128 else 2
    if not targets[0][0] and targets[3][0]:
        return 4 if flags[1] else 3
    return 0


def main() -> None:
    from llm4teach.envs.habitat.worker.import_stub import import_habitat

    habitat, _ = import_habitat()
    import numpy as np

    from llm4teach.envs.habitat.worker.kinematic.configs import kinematic_config, nav_pick_episode
    from llm4teach.envs.habitat.worker.kinematic.env import KinematicEnv
    from llm4teach.envs.habitat.worker.layout import ACTIONS, DEPTH_SHAPE, VECTOR_SHAPE

    theirs = habitat.Env(kinematic_config(overrides=("habitat.task.measurements.spl.type=SPL",)))
    digests: dict[str, str] = {}
    successes, spls = 0.0, []
    for depth, seeds in EPISODES.items():
        env = KinematicEnv(DEPTH_SHAPE if depth else VECTOR_SHAPE)
        for seed in seeds:
            rng, digest = np.random.default_rng(seed), hashlib.sha256()
            observation = np.zeros(env.observation_shape, np.uint8)
            env.reset(seed, observation)
            theirs.current_episode = nav_pick_episode(seed)
            theirs.reset()
            over = False
            while not over:
                digest.update(observation.tobytes())
                state = observation[-1] if depth else observation
                action = action_for(state[:45], rng)
                reward, terminated, truncated = env.step(action, observation)
                over = terminated or truncated
                digest.update(np.round([reward, *env.measures()], 9).tobytes())
                theirs.step(ACTIONS[action])
                spls.append(env.env.get_metrics()["spl"] == theirs.get_metrics()["spl"])
            digest.update(observation.tobytes())
            digests[f"{'depth' if depth else 'vector'} {seed}"] = digest.hexdigest()[:16]
            successes += env.measures()[0]
    print(json.dumps({"digests": digests, "successes": successes, "same_spl": all(spls)}))


if __name__ == "__main__":
    main()
