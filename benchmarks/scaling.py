"""How collection in shards scales with worker processes on this machine.

    python benchmarks/scaling.py --workers 1 2 4 --steps 60000

Each collects the same steps in the same shards, through the command line, in turns; the time is
that of the stage, which starts its worker processes too. Prefect's temporary server is not in it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile

_STAGE = re.compile(r"^collect .* ([\d.]+) s$", re.MULTILINE)


def stage_s(task: str, teacher: str, steps: int, shards: int, runner: str, workers: int) -> float:
    """Seconds of a collection's stage."""
    with tempfile.TemporaryDirectory() as folder:
        line = [
            *(sys.executable, "-m", "llm4teach", "collect", "--workspace", folder),
            *("--task", task, "--teacher", teacher, "--collect.steps", str(steps)),
            *("--scale.runner", runner, "--scale.workers", str(workers)),
            *("--scale.shards", str(shards)),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    found = _STAGE.search(done.stderr)
    if done.returncode or not found:
        sys.exit(f"the collection failed:\n{done.stderr}")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", default="MiniGrid-MultiRoom-N4-S5-v0-parsed")
    parser.add_argument("--teacher", default="recorded/qwen2.5-coder-1.5b")
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--runner", default="processes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeat", type=int, default=1, help="the least time of so many")
    given = parser.parse_args()
    best: dict[int, float] = {}
    for _ in range(given.repeat):
        for workers in given.workers:
            seconds = stage_s(
                given.task, given.teacher, given.steps, given.shards, given.runner, workers
            )
            best[workers] = min(seconds, best.get(workers, seconds))
    print(
        f"{given.steps:,} env steps of {given.task}, {given.shards} shards, {os.cpu_count()} cores"
    )
    print("| workers | seconds | env steps a second | times the first |\n| --- | --- | --- | --- |")
    for workers, seconds in best.items():
        ratio = best[given.workers[0]] / seconds
        print(f"| {workers} | {seconds:.1f} | {given.steps / seconds:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
