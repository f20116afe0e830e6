"""Outcomes to and from a run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.datasets.runs import OUTCOMES
from llm4teach.datasets.storage.parquet import read_parquet, write_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.envs.plan import Plan, parse_plan
from llm4teach.envs.task import Mixture, State
from llm4teach.student.collection.reweighting import Outcome


def write_outcomes(
    folder: StoragePath, run_id: str, outcomes: Mapping[State, Sequence[Outcome]]
) -> None:
    """Store what following each plan has led to, rows of schema.OUTCOMES."""
    rows = [
        {
            "run_id": run_id,
            "state_key": state.key,
            "state_text": state.text,
            "plan": str(o.plan),
            "advised": o.advised,
            "weighed": o.weighed,
            "value": o.value,
            "segments": o.n,
        }
        for state, known in outcomes.items()
        for o in known
    ]
    write_parquet(folder / OUTCOMES, pa.Table.from_pylist(rows, schema=schema.OUTCOMES))


def read_weighed(folder: StoragePath) -> dict[str, Mixture]:
    """Read a run's weighed advice by state key; empty where the run has weighed none.

    Raises:
        DatasetError: the file is damaged.
    """
    if not (folder / OUTCOMES).exists():
        return {}
    plans: dict[str, list[tuple[Plan, float]]] = {}
    for row in read_parquet(folder / OUTCOMES, schema.OUTCOMES).to_pylist():
        plans.setdefault(row["state_key"], []).append((parse_plan(row["plan"]), row["weighed"]))
    return {key: tuple(mixture) for key, mixture in plans.items()}
