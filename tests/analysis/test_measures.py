"""What environments measure, summed up: rates, their score, and means."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from llm4teach.analysis.measures import SCORE, measure_table, score
from llm4teach.datasets import schema


def episode(policy: str, measures: dict[str, float], mode: str = "sampled") -> dict[str, Any]:
    row: dict[str, Any] = {field.name: None for field in schema.EVALUATIONS}
    return {**row, "policy": policy, "mode": mode, "measures": list(measures.items())}


def test_rates_come_last_under_their_score_and_missing_measures_stay_empty() -> None:
    rows = [episode("student", {"steps": 3.0 + k, "iron": float(k == 0), "wood": 1.0})
            for k in range(4)]  # fmt: skip
    rows += [episode("random", {"steps": 9.0, "wood": 0.0})] * 2
    rows += [episode("student", {"steps": 99.0, "wood": 0.0, "iron": 0.0}, "greedy")]
    policies, table = measure_table(pa.Table.from_pylist(rows, schema.EVALUATIONS))
    assert policies == ["student", "random"]
    assert [(row.name, row.is_rate) for row in table] == [
        ("steps", False), (SCORE, True), ("wood", True), ("iron", True)
    ]  # fmt: skip
    steps, summed, wood, iron = (row.estimates for row in table)
    assert steps[0] is not None and steps[0].mean == 4.5 and steps[0].low < 4.5 < steps[0].high
    assert wood[0] is not None and wood[0].mean == 100 and wood[0].low < 100
    assert iron[0] is not None and iron[0].mean == 25 and iron[1] is None and summed[1] is None
    assert summed[0] is not None and summed[0].mean == pytest.approx(score([1.0, 0.25]))


def test_the_score_is_a_geometric_mean_of_percent() -> None:
    assert score([0.0, 0.0]) == 0
    assert score([1.0, 1.0]) == pytest.approx(100)
    assert score([0.99, 0.0]) == pytest.approx(9)  # sqrt(100 * 1) - 1


def test_nothing_measured_is_an_empty_table() -> None:
    rows = [episode("student", {})]
    assert measure_table(pa.Table.from_pylist(rows, schema.EVALUATIONS)) == ([], [])
    assert measure_table(schema.EVALUATIONS.empty_table()) == ([], [])
