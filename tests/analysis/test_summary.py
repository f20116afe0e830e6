"""The final comparison: rows, order, intervals, and pairs by seed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from llm4teach.analysis.statistics import bootstrap_mean_interval, wilson_interval
from llm4teach.analysis.summary import success_difference, summary_table
from llm4teach.datasets import schema

from .conftest import RUN, TASK, evaluation_rows


def episodes(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema.EVALUATIONS)


def outcome(policy: str, seed: int, success: bool, length: int = 10) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "task": TASK,
        "policy": policy,
        "mode": "sampled",
        "seed": seed,
        "success": success,
        "return": float(success),
        "length": length,
    }


def test_a_row_by_hand() -> None:
    rows = [outcome("student", seed, seed < 3, length=10 * (seed + 1)) for seed in range(4)]
    [row] = summary_table(episodes(rows))
    assert (row["policy"], row["mode"], row["episodes"], row["successes"]) == (
        "student",
        "sampled",
        4,
        3,
    )
    assert (row["success_rate"], row["mean_return"], row["mean_length"]) == (0.75, 0.75, 25.0)
    assert (row["success_low"], row["success_high"]) == wilson_interval(3, 4)
    assert (row["length_low"], row["length_high"]) == bootstrap_mean_interval([10, 20, 30, 40])


def test_the_student_comes_first_and_sampled_before_greedy() -> None:
    rows = [*evaluation_rows(RUN, episodes=5), outcome("imitator", 1, True)]
    table = summary_table(episodes(rows[::-1]))
    assert [(row["policy"], row["mode"]) for row in table] == [
        ("student", "sampled"),
        ("student", "greedy"),
        ("teacher", "sampled"),
        ("random", "sampled"),
        ("imitator", "sampled"),
    ]


def test_nothing_evaluated() -> None:
    assert summary_table(schema.EVALUATIONS.empty_table()) == []
    assert success_difference(schema.EVALUATIONS.empty_table()) is None


def test_the_difference_pairs_by_seed() -> None:
    student = [outcome("student", seed, True) for seed in range(8)]
    teacher = [outcome("teacher", seed, seed % 2 == 0) for seed in range(4, 12)]
    difference = success_difference(episodes(student + teacher))
    assert difference is not None
    assert difference.episodes == 4  # seeds 4 to 7
    assert difference.mean == 0.5
    assert difference.interval == bootstrap_mean_interval([0, 1, 0, 1])


def test_pairs_of_equal_outcomes_leave_no_doubt() -> None:
    rows = [outcome(policy, s, s % 3 > 0) for policy in ("student", "teacher") for s in range(30)]
    difference = success_difference(episodes(rows))
    assert difference is not None
    assert difference.interval == pytest.approx((0.0, 0.0))
