"""How fast SQL is over a large generated workspace, and which layout of the files serves it best.

    python benchmarks/sql.py --rows 10000000 --workspace /tmp/large      # the questions
    python benchmarks/sql.py --layouts --workspace /tmp/layouts          # the layouts, at 2M rows

The workspace is generated once and then used again. Episodes are real ones of SimpleDoorKey, played
by random actions, told over and over; their states are relabeled with 20,000 made-up ones, popular
ones more often, of which two teachers have advised on nine in ten.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llm4teach.analysis.sql.named_queries import named_query
from llm4teach.analysis.sql.query import connect
from llm4teach.datasets import schema
from llm4teach.datasets.compaction import ROW_GROUP, write_compacted
from llm4teach.datasets.storage.parquet import write_part
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.vector.episodes import EpisodeVector

TASK, STATES, PART, POOL, REPEATS = "SimpleDoorKey", 20_000, 1_000_000, 250_000, 3
TEACHERS = ("embedded/a@1/logprobs", "openai/b@1/sampling")
QUESTIONS = {
    "count": "SELECT count(*) FROM trajectories",
    "actions": "SELECT action, count(*), avg(reward) FROM trajectories GROUP BY action",
    "success by run": "SELECT run_id, count(*) FILTER (terminated AND reward > 0) "
    "/ count(*) FILTER (terminated OR truncated) FROM trajectories GROUP BY run_id",
    "behavior": "SELECT behavior, count(*), avg(action_logprob) FROM trajectories GROUP BY 1",
    "steps by state": "SELECT state_key, count(*) FROM trajectories GROUP BY state_key",
    "one episode": "SELECT t, action, observation FROM trajectories WHERE episode_id = 12345",
    "one state": "SELECT count(*), avg(reward) FROM trajectories WHERE state_key = "
    "(SELECT max(state_key) FROM advice)",
    "join: entropy met": "SELECT teacher_id, avg(entropy) FROM trajectories JOIN advice "
    "USING (state_key) GROUP BY teacher_id",
    "join: chosen action by advice": "SELECT a.options[1].plan, t.action, count(*) "
    "FROM trajectories t JOIN advice a USING (state_key) "
    f"WHERE a.teacher_id = '{TEACHERS[0]}' GROUP BY ALL",
}
ONE_PASS = ("count", "actions", "success by run", "behavior", "steps by state")
LIBRARY = ("missing", "advice-by-state", "cost", "asked-twice", "disagreement")
GIVEN = {"disagreement": {"a": "embedded", "b": "openai"}}


def pool() -> dict[str, np.ndarray[Any, Any]]:
    """Real steps, episode after episode: arrays of POOL rows."""
    task, rng, n = get_task(TASK), np.random.default_rng(0), 500
    envs = EpisodeVector(task, n, training_seeds(0, "benchmark"))
    found: dict[str, list[Any]] = {}
    episode, next_episode = np.arange(n), n
    for _ in range(POOL // n):
        actions = rng.integers(0, len(task.action_names), n)
        before = {"observation": envs.observations, "t": envs.steps_in_episode, "episode": episode}
        step = envs.step(actions)
        ended = step.terminated | step.truncated
        after = {"reward": step.rewards, "terminated": step.terminated, "truncated": step.truncated}
        for name, value in {**before, **after, "action": actions}.items():
            found.setdefault(name, []).append(value)
        episode = episode.copy()
        episode[ended] = next_episode + np.arange(ended.sum())
        next_episode += int(ended.sum())
    columns = {name: np.concatenate(values) for name, values in found.items()}
    order = np.lexsort((columns["t"], columns["episode"]))
    return {name: values[order] for name, values in columns.items()}


def state_keys() -> list[str]:
    """Made-up keys, the most popular first."""
    return [f"{i * 11400714819323198485 % 2**64:016x}" for i in range(STATES)]


def steps_table(steps: dict[str, np.ndarray[Any, Any]], part: int, rows: int) -> pa.Table:
    """``rows`` steps of run ``part``, with its own states and numbers."""
    rng, n = np.random.default_rng(part), len(steps["t"])
    index = np.arange(rows) % n
    changes = (steps["t"][index] == 0) | (rng.random(rows) < 0.1)  # a state lasts ten steps
    popular = np.minimum(rng.zipf(1.2, rows), STATES) - 1
    state = popular[np.maximum.accumulate(np.where(changes, np.arange(rows), 0))]
    keys = pa.array(state_keys())
    texts = pa.array(
        [f"Agent sees <key {i}>, <door {i % 97}>, holds <nothing>." for i in range(STATES)]
    )
    kind = schema.trajectories(steps["observation"].shape[1:])
    size = kind.field("observation").type.byte_width
    raw = np.ascontiguousarray(steps["observation"].reshape(n, -1)[index])
    plans = pa.array(["student", "noise", "option: explore", "option: go to key > pick up key"])
    columns: dict[str, Any] = {
        "run_id": pa.array([run_name(part)]).take(pa.array(np.zeros(rows, np.int64))),
        "episode_id": steps["episode"][index] + index.size // n * (np.arange(rows) // n) * n,
        "t": steps["t"][index],
        "seed": steps["episode"][index],
        "observation": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(size), rows, [None, pa.py_buffer(raw)]
        ),
        "state_key": keys.take(pa.array(state)),
        "state_text": texts.take(pa.array(state)),
        "action": steps["action"][index],
        "reward": steps["reward"][index],
        "terminated": steps["terminated"][index],
        "truncated": steps["truncated"][index],
        "behavior": plans.take(pa.array(rng.integers(0, 4, rows))),
        "action_logprob": np.log(rng.choice([0.014, 0.914, 0.3, 0.16], rows)),
    }
    arrays = [
        value if isinstance(value := columns[f.name], pa.Array) else pa.array(value).cast(f.type)
        for f in kind
    ]
    return pa.Table.from_arrays(arrays, schema=kind)


def run_name(part: int) -> str:
    return f"teach-20261120-{part:06d}-ab12"


def generate(workspace: Workspace, rows: int) -> None:
    """Write what the workspace still lacks."""
    steps = None
    for part in range(-(-rows // PART)):
        path = workspace.trajectories(TASK, run_name(part)) / "part-0.parquet"
        if not path.exists():
            steps = steps or pool()
            write_compacted(path, steps_table(steps, part, min(PART, rows - part * PART)))
    rng = np.random.default_rng(1)
    for teacher in TEACHERS:
        folder = workspace.advice(TASK, teacher[:8].replace("/", "-"))
        if folder.exists():
            continue
        shares = rng.dirichlet(np.ones(3), STATES)
        advice = [
            {
                "state_key": key,
                "state_text": f"state {i}",
                "teacher_id": teacher,
                "prompt_version": "p1",
                "status": "ok",
                "options": [
                    {"plan": plan, "probability": float(p)}
                    for plan, p in zip(("explore", "go to key", "open door"), share, strict=True)
                ],
                "entropy": float(-(share * np.log(share)).sum()),
                "created_at": datetime.now(UTC),
            }
            for i, (key, share) in enumerate(zip(state_keys(), shares, strict=True))
            if i % 10
        ]
        write_part(folder, pa.Table.from_pylist(advice, schema=schema.ADVICE))


def best_ms(question: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds, and CPU milliseconds of all threads, each the least of REPEATS."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter(), time.process_time()
        question()
        times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return 1000 * min(wall for wall, _ in times), 1000 * min(cpu for _, cpu in times)


def ask_all(workspace: Workspace, threads: int | None) -> None:
    """Print one line per question, those of one pass beside DuckDB's own scan of the same files."""
    # Only with external access are settings not locked; else the connection is as everybody's.
    began = time.perf_counter()
    with (
        connect(workspace, allow_external=threads is not None) as connection,
        duckdb.connect() as plain,
    ):
        print(f"| connect | {1000 * (time.perf_counter() - began):,.0f} | | | |")
        files = f"{workspace.root}/trajectories/*/*/*.parquet"
        plain.execute(f"CREATE VIEW trajectories AS FROM read_parquet('{files}')")
        for each in (connection, plain) if threads is not None else ():
            each.execute(f"SET threads = {threads}")
        for name in (*QUESTIONS, *LIBRARY):
            sql, values = QUESTIONS.get(name), None
            if sql is None:
                sql, values = named_query(name).sql, named_query(name).bind(GIVEN.get(name, {}))
            ms, cpu = best_ms(lambda s=sql, v=values: connection.sql(s, params=v).fetchall())
            beside = ["", ""]
            if name in ONE_PASS:
                own, _ = best_ms(lambda s=sql: plain.sql(s).fetchall())
                beside = [f"{own:,.0f}", f"{ms / own:.2f}"]
            print(
                "| " + " | ".join([name, f"{ms:,.0f}", f"{cpu:,.0f}", *beside]) + " |", flush=True
            )


def compare_layouts(folder: Path, rows: int, threads: int | None) -> None:
    """Print size and CPU milliseconds of the same rows in several layouts."""
    table = steps_table(pool(), 0, rows)
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(rows)))
    interleaved = table.sort_by([("t", "ascending"), ("episode_id", "ascending")])
    everything = table.column_names
    fewer = [name for name in everything if name not in ("observation", "action_logprob")]
    layouts: dict[str, tuple[pa.Table, int, list[str]]] = {
        "ours": (table, ROW_GROUP, everything),
        "row groups of 16k": (table, 1 << 14, everything),
        "row groups of 1M": (table, 1 << 20, everything),
        "dictionary: not for observations": (table, ROW_GROUP, fewer),
        "dictionary: none": (table, ROW_GROUP, []),
        "as collected (16 episodes side by side)": (interleaved, ROW_GROUP, everything),
        "by state_key": (table.sort_by("state_key"), ROW_GROUP, everything),
        "in no order": (shuffled, ROW_GROUP, everything),
    }
    asked = ("actions", "steps by state", "one episode", "one state", "join: entropy met")
    print(f"| layout | MB | {' | '.join(asked)} |\n|{' --- |' * (len(asked) + 2)}")
    for name, (content, row_group, dictionary) in layouts.items():
        place = Workspace(folder / name.replace(" ", "-").replace(":", ""))
        generate(place, 0)
        path = place.trajectories(TASK, run_name(0)) / "part-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            content,
            path,
            compression="zstd",
            compression_level=3,
            row_group_size=row_group,
            use_dictionary=dictionary or False,
        )
        with connect(place, allow_external=True) as connection:
            connection.execute(f"SET threads = {threads or os.cpu_count()}")
            times = [best_ms(lambda s=QUESTIONS[q]: connection.sql(s).fetchall()) for q in asked]
        shown = " | ".join(f"{cpu:,.0f}" for _, cpu in times)
        print(f"| {name} | {path.stat().st_size / 1e6:,.0f} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="steps in the workspace")
    parser.add_argument("--workspace", type=Path, required=True, help="a folder of its own")
    parser.add_argument("--threads", type=int, help="of DuckDB (default: the cores)")
    parser.add_argument("--layouts", action="store_true", help="compare layouts of the files")
    arguments = parser.parse_args()
    if arguments.layouts:
        compare_layouts(arguments.workspace, min(arguments.rows, 2_000_000), arguments.threads)
        return
    workspace = Workspace(arguments.workspace)
    generate(workspace, arguments.rows)
    size = sum(path.stat().st_size for path in workspace.root.rglob("*.parquet"))
    threads = arguments.threads or os.cpu_count()
    print(f"{arguments.rows:,} steps, {size / 1e9:.2f} GB, {threads} threads\n")
    print("| question | ms | CPU ms | DuckDB's own scan, ms | ratio |\n|" + " --- |" * 5)
    ask_all(workspace, arguments.threads)


if __name__ == "__main__":
    main()
