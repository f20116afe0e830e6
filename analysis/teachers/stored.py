"""The teachers whose advice a workspace holds, each with its advice by state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import read_parts
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import Mixture


@dataclass(frozen=True)
class StoredTeacher:
    """One teacher (teacher_id and prompt_version) as its stored advice shows it."""

    teacher_id: str
    prompt_version: str
    label: str  # unique among the teachers of a workspace
    rows: list[dict[str, Any]] = field(repr=False)  # of schema.ADVICE, one a state
    advice: dict[str, dict[str, float]] = field(repr=False)  # plans by state key, where there are

    def plans(self, key: str) -> list[Plan]:
        """Return the plans that it advises in a state."""
        return [named_plan(plan) for plan in self.advice.get(key, ())]

    def mixture(self, key: str) -> Mixture:
        """Return its distribution over plans in a state; empty where it has no advice."""
        return tuple((named_plan(plan), p) for plan, p in self.advice.get(key, {}).items())

    def facts(self) -> dict[str, Any]:
        """Return who it is, what it said and what that cost, as plain data."""

        def total(column: str) -> float:
            return sum(row[column] or 0 for row in self.rows)

        said = [row for row in self.rows if row["state_key"] in self.advice]
        return {
            "label": self.label,
            "teacher_id": self.teacher_id,
            "prompt_version": self.prompt_version,
            "method": self.rows[0]["method"],
            "states": len(self.rows),
            "advised_states": len(said),
            "entropy": sum(r["entropy"] or 0 for r in said) / len(said) if said else None,
            "coverage": sum(r["coverage"] or 0 for r in said) / len(said) if said else None,
            "tokens": int(total("prompt_tokens") + total("completion_tokens")),
            "seconds": total("latency_s"),
            "usd": total("cost"),
        }


def stored_teachers(workspace: Workspace, family: str) -> list[StoredTeacher]:
    """Return every teacher with advice on a task family, in the order of their ids.

    Raises:
        DatasetError: a part is damaged.
    """
    folder = workspace.advice(family, "").parent
    advice_of: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in read_parts(folder, schema.ADVICE).sort_by("created_at").to_pylist():
        rows = advice_of.setdefault((row["teacher_id"], row["prompt_version"] or ""), {})
        before = rows.setdefault(row["state_key"], row)  # of two answers the earlier counts
        if (row["attempt"] or 1) > (before["attempt"] or 1):  # unless it was invalid
            rows[row["state_key"]] = row
    names = {who: [_short(rows), who[0], f"{who[0]} {who[1]}"] for who, rows in advice_of.items()}
    teachers = []
    for (teacher_id, version), rows in sorted(advice_of.items()):
        advice = {
            key: {o["plan"]: float(o["probability"]) for o in row["options"]}
            for key, row in rows.items()
            if row["status"] == "ok" and row["options"]
        }
        label = next(  # the shortest that no other has; the last one always is
            name
            for i, name in enumerate(names[teacher_id, version])
            if [n[i] for n in names.values()].count(name) == 1
        )
        teachers.append(StoredTeacher(teacher_id, version, label, list(rows.values()), advice))
    return teachers


def _short(rows: dict[str, dict[str, Any]]) -> str:
    row = next(iter(rows.values()))
    return f"{row['model']}, {row['method']}" if row["model"] else str(row["teacher_id"])
