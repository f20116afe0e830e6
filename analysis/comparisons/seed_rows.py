"""Findings as CSV: a row per variant and seed, from which every figure of the tables follows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

from llm4teach.analysis.comparisons.results import (
    THRESHOLDS,
    Comparison,
    Findings,
    MethodResult,
    TeacherResult,
)

_HEADINGS = (
    *("task", "played_task", "policy", "variant", "control", "seed"),
    *("success", "success_low", "success_high", "success_greedy", "episodes"),
    *(f"steps_to_{level:.0%}".rstrip("%") for level in THRESHOLDS),
    *("env_steps", "validation_episodes", "validation_env_steps"),
    *("questions", "tokens", "llm_s", "train_cpu_s"),
    *("date", "commit", "machine", "command"),
)


def findings_csv(findings: Findings) -> str:
    """Return the CSV.

    ``success`` is that of sampled actions; ``steps_to_…`` is empty where the rate is never reached
    and held within the budget; ``control`` names the variant without the LLM that a row is compared
    with. ``played_task`` differs from ``task`` for shifted variants of it. A teacher's row has no
    seed but Wilson's interval over its episodes.
    """
    text = StringIO()
    writer = csv.DictWriter(text, _HEADINGS, lineterminator="\n", restval="")
    writer.writeheader()
    made = {name: getattr(findings, name) for name in ("date", "commit", "machine", "command")}
    for comparison in findings.comparisons:
        task = {"task": comparison.task}
        for method in (*comparison.methods, *comparison.controls):
            writer.writerows({**task, **row, **made} for row in _students(comparison, method))
        for teacher in comparison.teachers:
            writer.writerows({**task, **row, **made} for row in _teachers(comparison, teacher))
    return text.getvalue()


def _students(comparison: Comparison, method: MethodResult) -> Iterator[dict[str, Any]]:
    names = [name for name in _HEADINGS if name.startswith("steps_to_")]
    for i, seed in enumerate(comparison.seeds):
        costs = method.seeds[i]
        common = {
            "policy": "student",
            "variant": method.label,
            "control": method.share.control if method.share else "",
            "seed": seed,
            "episodes": method.episodes,
        }
        yield {
            **common,
            "played_task": comparison.task,
            "success": method.sampled.per_seed[i],
            "success_greedy": method.greedy.per_seed[i],
            **dict(zip(names, costs.steps_to, strict=True)),
            "env_steps": costs.env_steps,
            "validation_episodes": costs.validation_episodes,
            "validation_env_steps": costs.validation_steps,
            "questions": costs.questions,
            "tokens": costs.tokens,
            "llm_s": round(costs.llm_s, 3),
            "train_cpu_s": round(costs.train_cpu_s, 3),
        }
        for name, level in method.shifted.items():
            yield {**common, "played_task": name, "success": level.per_seed[i]}


def _teachers(comparison: Comparison, teacher: TeacherResult) -> Iterator[dict[str, Any]]:
    rates = {comparison.task: (teacher.sampled, teacher.sampled_interval), **teacher.shifted}
    for name, (success, interval) in rates.items():
        is_own = name == comparison.task
        spent = (teacher.questions, teacher.tokens, round(teacher.llm_s, 3))
        yield {
            "played_task": name,
            "policy": "teacher",
            "variant": teacher.label,
            "success": success,
            "success_low": interval.low,
            "success_high": interval.high,
            "success_greedy": teacher.greedy if is_own else "",
            "episodes": teacher.episodes,
            **(dict(zip(("questions", "tokens", "llm_s"), spent, strict=True)) if is_own else {}),
        }
