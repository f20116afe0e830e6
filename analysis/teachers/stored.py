"""The teachers whose answers a workspace holds, each with its advice by state."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llm4teach.analysis.teachers.calibration import entropy
from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import read_parts
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import Mixture, State, Task
from llm4teach.teacher_labeling.questions import JUDGMENTS, SOFTMAX_TEMPERATURE, Judgments


@dataclass(frozen=True)
class StoredTeacher:
    """One teacher (teacher_id and prompt_version) as its stored advice shows it."""

    teacher_id: str
    prompt_version: str
    label: str  # unique among the teachers of a workspace
    rows: list[dict[str, Any]] = field(repr=False)  # of schema.ADVICE, one a question
    # Plans by state key, where there are; of judgments those composed so far (`mixture`).
    advice: dict[str, dict[str, float]] = field(repr=False)
    judgments: Judgments | None = field(default=None, repr=False)

    def plans(self, key: str) -> list[Plan]:
        """Return the plans that it advises in a state."""
        return [named_plan(plan) for plan in self.advice.get(key, ())]

    @cached_property
    def _answers(self) -> dict[str, Mixture]:
        """By question key; empty where it is not valid."""
        return {row["state_key"]: _plans(_shares(row)) for row in self.rows}

    def mixture(self, state: State) -> Mixture:
        """Return its distribution over plans in a state; empty where it has no advice."""
        if self.judgments and state.key not in self.advice:
            if any(q.key not in self._answers for q in self.judgments.of(state)):
                return ()
            if composed := self.judgments.advice(state, self._answers):
                self.advice[state.key] = {str(plan): p for plan, p in composed}
        return _plans(self.advice.get(state.key, {}))

    def facts(self) -> dict[str, Any]:
        """Return who it is, what it said and what that cost, as plain data."""

        def total(column: str) -> float:
            return sum(row[column] or 0 for row in self.rows)

        said = [row for row in self.rows if row["status"] == "ok" and row["options"]]
        entropies = [row["entropy"] or 0 for row in said]
        if self.judgments:
            entropies = [entropy(shares) for shares in self.advice.values()]
        return {
            "label": self.label,
            "teacher_id": self.teacher_id,
            "prompt_version": self.prompt_version,
            "method": self.rows[0]["method"],
            "questions": len(self.rows),
            "states": len(self.advice) if self.judgments else len(self.rows),
            "advised_states": len(self.advice),
            "entropy": sum(entropies) / len(entropies) if entropies else None,
            "coverage": sum(r["coverage"] or 0 for r in said) / len(said) if said else None,
            "tokens": int(total("prompt_tokens") + total("completion_tokens")),
            "seconds": total("latency_s"),
            "usd": total("cost"),
        }


def stored_teachers(
    workspace: Workspace, task: Task, temperature: float = SOFTMAX_TEMPERATURE
) -> list[StoredTeacher]:
    """Return every teacher with answers on a task's family, in the order of their ids.

    Args:
        workspace: holds the answers.
        task: whose questions the teachers with judgments have answered.
        temperature: of the softmax that composes their advice. Faults and ``hard`` are not applied.

    Raises:
        DatasetError: a part is damaged.
    """
    folder = workspace.advice(task.family, "").parent
    advice_of: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in read_parts(folder, schema.ADVICE).sort_by("created_at").to_pylist():
        rows = advice_of.setdefault((row["teacher_id"], row["prompt_version"] or ""), {})
        before = rows.setdefault(row["state_key"], row)  # of two answers the earlier counts
        if (row["attempt"] or 1) > (before["attempt"] or 1):  # unless it was invalid
            rows[row["state_key"]] = row
    names = {who: [_short(rows), who[0], f"{who[0]} {who[1]}"] for who, rows in advice_of.items()}
    teachers = []
    for (teacher_id, version), rows in sorted(advice_of.items()):
        is_judged = next(iter(rows.values()))["method"] == JUDGMENTS
        judgments = Judgments(task, temperature) if is_judged else None
        found = {} if judgments else {key: _shares(row) for key, row in rows.items()}
        advice = {key: shares for key, shares in found.items() if shares}
        label = next(  # the shortest that no other has; the last one always is
            name
            for i, name in enumerate(names[teacher_id, version])
            if [n[i] for n in names.values()].count(name) == 1
        )
        answers = list(rows.values())
        teachers.append(StoredTeacher(teacher_id, version, label, answers, advice, judgments))
    return teachers


def _shares(row: dict[str, Any]) -> dict[str, float]:
    if row["status"] != "ok":
        return {}
    return {o["plan"]: float(o["probability"]) for o in row["options"]}


def _plans(shares: dict[str, float]) -> Mixture:
    return tuple((named_plan(plan), p) for plan, p in shares.items())


def _short(rows: dict[str, dict[str, Any]]) -> str:
    row = next(iter(rows.values()))
    return f"{row['model']}, {row['method']}" if row["model"] else str(row["teacher_id"])
