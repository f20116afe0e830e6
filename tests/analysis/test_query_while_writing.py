"""SQL while a run is writing: every answer is of some moment, and none is an error."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from busy_workspace import STEPS, write_a_run

from llm4teach.analysis.sql.query import connect, run_sql
from llm4teach.datasets.workspace import Workspace

pytestmark = pytest.mark.extended

SECONDS = 4.0


def test_answers_never_fail_while_a_run_writes(workspace: Workspace) -> None:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=write_a_run, args=(workspace.root, stop))
    writer.start()
    try:
        while not list((workspace.root / "runs").glob("*/evaluation.parquet")):
            assert writer.is_alive()
            time.sleep(0.05)
        seen, asked = 0, 0
        with connect(workspace) as kept:  # a notebook's connection, opened once
            until = time.monotonic() + SECONDS
            while time.monotonic() < until or seen < 10 * STEPS or asked <= 20:
                assert writer.is_alive() and time.monotonic() < until + 500
                [row] = run_sql(workspace, "SELECT count(*) AS n FROM trajectories").to_pylist()
                assert row["n"] >= seen and row["n"] % STEPS == 0
                seen = row["n"]
                for table in ("metrics", "evaluations"):
                    for answer in (
                        run_sql(workspace, f"SELECT count(*) AS n FROM {table}").to_pylist(),
                        kept.sql(f"SELECT count(*) AS n FROM {table}").to_arrow_table().to_pylist(),
                    ):
                        assert answer[0]["n"] > 0
                        asked += 1
                run_sql(workspace, "FROM runs")
    finally:
        stop.set()
        writer.join(300)
    assert writer.exitcode == 0
