"""How fast Nav & Pick is: habitat-lab's Env inside a worker, and what the way to the core costs.

    python benchmarks/habitat/throughput.py --steps 4000
    python benchmarks/habitat/throughput.py --simulator apartments --n-envs 1 2 --depth

The first line is what habitat-lab itself needs: its `Env` with a task that has neither sensors nor
measures, and a robot that only moves its arm. The second steps the real task in the worker's
interpreter, all by itself. Then N of them in turn, still in there, with observations as bytes; and
the same through the protocol, N in a message, with the CPU time of both processes.
Actions are those of a robot under way (60% forward); apartments are generated before the clock
starts. Overheads are in CPU time: over the second line, and of the protocol alone, over the same N
without it. On habitat-sim (``apartments``) each environment has a worker of its own, steps include
the changes of scene, and the CPU time is that of all workers together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from llm4teach.envs.habitat.client import ON_HABITAT_SIM, habitat_python
from llm4teach.envs.habitat.task import habitat_task

WORKER = Path(__file__).resolve().parents[1] / "envs" / "habitat" / "worker"
SHARES = (0.6, 0.17, 0.17, 0.03, 0.03)  # of the actions
TASKS = {"kinematic": "HabitatNavPick", "apartments": "HabitatSimNavPick"}
ENVIRONMENT = {**os.environ, "MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet"}
SEEDS = 64  # episodes in turn, each in an apartment of its own

IMPORTS = f"""
import json, runpy, sys, time
runpy.run_path({str(WORKER / "__main__.py")!r}, run_name="worker")["stand_in"]()
from llm4teach.envs.habitat.worker import simulators
from llm4teach.envs.habitat.worker.kinematic.configs import nav_pick_episode
from llm4teach.envs.habitat.worker.layout import ACTIONS
import numpy as np
steps, repeat, depth = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "depth"
settings = {{"simulator": sys.argv[5], "depth": depth}}
found = []
"""

EMPTY = f"""{IMPORTS}
import habitat
from llm4teach.envs.habitat.worker.kinematic.configs import kinematic_config
config = kinematic_config()
with habitat.config.read_write(config):
    config.habitat.task.measurements, config.habitat.task.lab_sensors = {{}}, {{}}
    config.habitat.simulator.agents.main_agent.sim_sensors = {{}}
    config.habitat.environment.max_episode_steps = 0
env = habitat.Env(config)
env.reset()
for _ in range(repeat):
    began = time.process_time()
    for _ in range(steps):
        env.step("reach")
    found.append(time.process_time() - began)
print(json.dumps(found))
"""

ALONE = f"""{IMPORTS}
env = simulators.make_env(settings).env
rng = np.random.default_rng(0)
actions = [ACTIONS[a] for a in rng.choice(5, steps, p={SHARES!r})]
for seed in range({SEEDS}):
    env.current_episode = nav_pick_episode(seed)
    env.reset()
for _ in range(repeat):
    began, episode, over = time.process_time(), 0, True
    for action in actions:
        if over:
            env.current_episode = nav_pick_episode(episode % {SEEDS})
            env.reset()
            episode += 1
        env.step(action)
        over = env.episode_over
    found.append(time.process_time() - began)
print(json.dumps(found))
"""

BATCH = f"""{IMPORTS}
from llm4teach.envs.habitat.worker.loop import EnvBatch
n_envs = int(sys.argv[4])
batch = EnvBatch(simulators.make_env)
batch.prepare(n_envs, settings)
actions = np.random.default_rng(0).choice(5, (steps // n_envs, n_envs), p={SHARES!r})
numbers = np.arange(n_envs)
for seed in range({SEEDS}):
    batch.reset(numbers[:1], np.array([seed]))
for _ in range(repeat):
    batch.reset(numbers, numbers)
    began, episode = time.process_time(), n_envs
    for row in actions:
        outcome = batch.step(numbers, row)
        over = np.flatnonzero(outcome.terminated | outcome.truncated)
        if len(over):
            batch.reset(over, np.full(len(over), episode % {SEEDS}))
            episode += 1
    found.append(time.process_time() - began)
print(json.dumps(found))
"""


def alone(program: str, given: argparse.Namespace, n_envs: int = 1) -> float:
    """CPU seconds of so many steps in the worker's interpreter, by one of the programs above."""
    kind = "depth" if given.depth else "vector"
    more = [str(given.steps), str(given.repeat), kind, str(n_envs), given.simulator]
    python = habitat_python(habitat_sim=given.simulator in ON_HABITAT_SIM)
    command = [str(python), "-c", program, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return float(min(json.loads(done.stdout.splitlines()[-1])))


def through_the_protocol(n_envs: int, given: argparse.Namespace) -> tuple[float, float]:
    """CPU seconds of both processes together, and wall seconds, of so many steps."""
    task = habitat_task(TASKS[given.simulator] + ("Depth" if given.depth else ""))
    envs: Any = task.make_vector_env(n_envs)
    actions = np.random.default_rng(0).choice(5, (given.steps // n_envs, n_envs), p=SHARES)
    for first in range(0, SEEDS, n_envs):  # have the apartments made
        envs.reset(seed=[(first + i) % SEEDS for i in range(n_envs)])
    pids = [worker.pid for worker in envs._workers]
    found = []
    for _ in range(given.repeat):
        envs.reset(seed=list(range(n_envs)))
        began, episode = (time.process_time() + _cpu_s(pids), time.perf_counter()), n_envs
        for row in actions:
            _, _, ended, cut, _ = envs.step(row)
            over = ended | cut
            if over.any():
                seeds = np.full(n_envs, episode % SEEDS)
                envs.reset(seed=seeds, options={"reset_mask": over})
                episode += 1
        cpu_s = time.process_time() + _cpu_s(pids) - began[0]
        found.append((cpu_s, time.perf_counter() - began[1]))
    envs.close()
    return min(found)


def _cpu_s(pids: list[int]) -> float:
    """CPU seconds that processes have used: their clocks, as Linux numbers them."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4_000, help="of each measurement")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[1, 8, 64], help="a message")
    parser.add_argument("--repeat", type=int, default=10, help="the quickest counts")
    parser.add_argument("--simulator", choices=list(TASKS), default="kinematic")
    parser.add_argument("--depth", action="store_true", help="with the depth camera")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("the worker's CPU time is read from its clock: this benchmark needs Linux")
    best = alone(ALONE, given)
    print(
        "| what | steps a CPU-second | over one | the protocol's | wall steps/s |\n"
        "| --- | ---: | ---: | ---: | ---: |"
    )
    if given.simulator == "kinematic":
        empty = alone(EMPTY, given)
        print(f"| habitat.Env with an empty task | {given.steps / empty:,.0f} |  |  |  |")
    print(f"| habitat.Env in the worker | {given.steps / best:,.0f} |  |  |  |", flush=True)
    for n_envs in given.n_envs:
        in_one = 1 if given.simulator in ON_HABITAT_SIM else n_envs
        inside = alone(BATCH, given, in_one)
        cpu_s, wall_s = through_the_protocol(n_envs, given)
        print(
            f"| {in_one} in turn, in the worker | {given.steps / inside:,.0f} "
            f"| {inside / best - 1:.0%} |  |  |\n"
            f"| {n_envs} a message through the protocol | {given.steps / cpu_s:,.0f} "
            f"| {cpu_s / best - 1:.0%} | {cpu_s / inside - 1:.0%} | {given.steps / wall_s:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
