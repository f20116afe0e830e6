"""Processes that write, or read, in a workspace all the while; spawned by tests."""

from __future__ import annotations

from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run
from llm4teach.datasets.trajectories import write_steps
from llm4teach.datasets.workspace import Workspace

TASK, RUN = "SimpleDoorKey", "teach-20261120-120000-ab12"
STEPS, SHAPE = 20, (3, 3, 4)  # of an episode


def write_one_episode(workspace: Workspace, episode: int, run_id: str = RUN) -> Path:
    """Store an episode of STEPS steps, each told by its numbers, as one part."""
    t = np.arange(STEPS)
    steps: dict[str, Any] = {
        "run_id": [run_id] * STEPS,
        "episode_id": [episode] * STEPS,
        "t": t,
        "seed": [episode] * STEPS,
        "state_key": [f"key{i % 5}" for i in t],
        "state_text": [f"text {i % 5}" for i in t],
        "action": t % 7,
        "reward": np.where(t == STEPS - 1, 1.0, 0.0),
        "terminated": t == STEPS - 1,
        "truncated": t < 0,
        "behavior": ["option: explore"] * STEPS,
        "action_logprob": np.full(STEPS, -1.0),
    }
    observations = np.full((STEPS, *SHAPE), episode % 251, np.uint8)
    return write_steps(workspace.trajectories(TASK, run_id), steps, observations)


def advice_store(workspace: Workspace) -> AdviceStore:
    """The store that these processes share."""
    return AdviceStore(workspace.advice(TASK, "teacher"), "teacher", "p1")


def advise(store: AdviceStore, first: int, count: int) -> None:
    """Commit advice on ``count`` states as one part."""
    options = [{"plan": "explore", "probability": 1.0}]
    keys = [f"state{i:06d}" for i in range(first, first + count)]
    row = {"status": "ok", "options": options, "entropy": 0.0}
    store.commit([{"state_key": key, "state_text": key, **row} for key in keys])


def write_a_run(root: Path, stop: Event) -> None:
    """Do what a run does, as fast as it goes."""
    workspace = Workspace(root)
    run = Run(workspace, RUN, "teach")
    run.start({"task": TASK})
    number = 0
    while not stop.is_set():
        write_one_episode(workspace, number)
        run.log("finetune", number, {f"name{i}": float(number) for i in range(number % 50 + 1)})
        run.flush()
        run.write_evaluation(
            [
                {"run_id": RUN, "task": TASK, "policy": "student", "mode": "sampled", "seed": i}
                | {"success": True, "return": 1.0, "length": 9}
                for i in range(1 + number % 7)
            ]
        )
        run.note(episodes=number)
        number += 1


def write_parts(root: Path, stop: Event, written: Any) -> None:
    """Append episodes and advice, part by part; ``written`` counts what readers must see."""
    workspace = Workspace(root)
    store = advice_store(workspace)
    number = written.value
    while not stop.is_set():
        write_one_episode(workspace, number)
        advise(store, number, 1)
        number += 1
        written.value = number


def read_all_the_while(root: Path, stop: Event, written: Any, readings: Any, results: Any) -> None:
    """Read by every way there is, counting ``readings``; report what is wrong, "" if nothing is."""
    from llm4teach.analysis.sql.query import run_sql
    from llm4teach.datasets.trajectories import read_steps

    workspace = Workspace(root)
    ways = {
        "trajectories": lambda: (
            read_steps(workspace.trajectories(TASK), SHAPE).column("episode_id")[::STEPS].tolist()
        ),
        "store": lambda: sorted(
            int(row["state_key"].removeprefix("state")) for row in advice_store(workspace).rows()
        ),
        "sql steps": lambda: [
            row["episode_id"]
            for row in run_sql(
                workspace,
                "SELECT episode_id, count(*) AS n FROM trajectories GROUP BY 1 "
                f"HAVING n = {STEPS} ORDER BY 1",
            ).to_pylist()
        ],
        "sql advice": lambda: [
            int(row["state_key"].removeprefix("state"))
            for row in run_sql(workspace, "SELECT state_key FROM advice ORDER BY 1").to_pylist()
        ],
    }
    try:
        while not stop.is_set():
            for name, way in ways.items():
                least = written.value
                found = way()
                wanted = list(range(len(found)))
                assert found == wanted, f"{name}: {found[:50]} … of {len(found)}"
                assert len(found) >= least, f"{name}: {len(found)} of at least {least}"
                readings.value += 1
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")
        return
    results.put("")
