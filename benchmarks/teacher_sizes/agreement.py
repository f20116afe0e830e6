"""How often teachers advise the best plan: agreement with the rules, over the same questions.

    python benchmarks/teacher_sizes/agreement.py --workspace workspace comparison.json ... \\
                                                 --csv docs/results/teacher-sizes/agreement.csv

Reads comparison.json of `llm4teach experiment teacher-sizes` and the advice in its workspace. Of
each task only those questions count that all variants have asked, so that every teacher is measured
on the same states: the ones that students were taught with. A teacher agrees where its likeliest
plan is one that the rules allow. The interval is Wilson's.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm4teach.analysis.comparisons.results import read_seed
from llm4teach.analysis.sql.query import run_sql
from llm4teach.analysis.statistics import wilson_interval
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import LLM4TeachError
from llm4teach.flows.runtime.origin import source_commit

RULES = "hand-written rules"  # label of the variant that is always right
Advice = dict[str, dict[str, float]]  # probability by plan, by question key
LEAST = 1e-3  # probability from which a plan counts as advised by the rules


def agreements(comparison: Mapping[str, Any], workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Yield a row per teacher of one task."""
    runs = {one["label"]: one["runs"] for one in comparison["methods"]}
    asked = {
        label: {key for run in ids for key in read_seed(workspace, run).questions}
        for label, ids in runs.items()
    }
    common = set.intersection(*asked.values())
    advice = {label: read_advice(workspace, ids[0], common) for label, ids in runs.items()}
    answered = {key for key in common if all(advice[label].get(key) for label in advice)}
    commit = source_commit()
    for label, answers in advice.items():
        agreed = sum(
            advice[RULES][key].get(max(plans, key=lambda plan: plans[plan]), 0.0) >= LEAST
            for key, plans in answers.items()
            if key in answered
        )
        low, high = wilson_interval(agreed, len(answered))
        rates = (round(x, 4) for x in (agreed / len(answered), low, high))
        yield dict(
            zip(
                ("task", "teacher", "questions", "agreement", "low", "high", "commit"),
                (comparison["task"], label, len(answered), *rates, commit),
                strict=True,
            )
        )


def read_advice(workspace: Workspace, run_id: str, keys: set[str]) -> Advice:
    """Return what the teacher of a run has advised to these questions."""
    teacher = f"(SELECT results->>'teacher_id' FROM runs WHERE run_id = '{run_id}')"
    quoted = ", ".join(f"'{key}'" for key in sorted(keys))
    rows = run_sql(
        workspace,
        f"SELECT question_key, options FROM advice WHERE status = 'ok' AND teacher_id = {teacher} "
        f"AND question_key IN ({quoted})",
    ).to_pylist()
    return {
        row["question_key"]: {plan["plan"]: plan["probability"] for plan in row["options"]}
        for row in rows
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", nargs="+", type=Path, help="comparison.json")
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--csv", type=Path, required=True, help="a row per task and teacher")
    arguments = parser.parse_args()
    try:
        workspace = Workspace(arguments.workspace)
        rows = [
            row
            for path in arguments.comparison
            for comparison in json.loads(path.read_text(encoding="utf-8"))["comparisons"]
            for row in agreements(comparison, workspace)
        ]
    except (OSError, LLM4TeachError) as error:
        sys.exit(f"agreement: {error}")
    with arguments.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        told = f"{row['agreement']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
        print(f"{row['task']}, {row['teacher']}: {told} of {row['questions']} questions")


if __name__ == "__main__":
    main()
