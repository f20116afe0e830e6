"""What a run ends with: its report, and its results as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm4teach.analysis.reports.run_report import write_report
from llm4teach.analysis.summary import summary_table
from llm4teach.datasets.runs import EVALUATION, read_manifest
from llm4teach.datasets.schema import EVALUATIONS
from llm4teach.datasets.storage.parquet import read_parquet
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.runtime import artifacts
from llm4teach.flows.stages.context import Context


def report(ctx: Context) -> dict[str, Any]:
    """Write the run's page; return its path, the final table and the results, as plain JSON."""
    ctx.run.flush()
    path = write_report(ctx.workspace, ctx.run.run_id, ctx.run.results)
    artifacts.show_funnel(ctx.run, ctx.task.name)
    artifacts.show_curves(ctx.run, ctx.task.name)
    artifacts.show_report(ctx.run, ctx.task.name, path)
    return {"report": str(path), **outcome(ctx)}


def outcome(ctx: Context) -> dict[str, Any]:
    """Return a run's id and results, with the final table if it was evaluated."""
    results: dict[str, Any] = {"run_id": ctx.run.run_id, **ctx.run.results}
    results.pop("films", None)  # of a run that version 0.1 began
    evaluation = ctx.run.folder / EVALUATION
    if evaluation.exists():
        results["table"] = summary_table(read_parquet(evaluation, EVALUATIONS))
    return results


def sharded_outcome(workspace: str, run_ids: Sequence[str]) -> dict[str, Any]:
    """Return the results of several runs of one labeling as those of one."""
    folders = [Workspace(workspace).run(run_id) for run_id in run_ids]
    results = [read_manifest(folder)["results"] for folder in folders]
    sums = (
        *("questions", "prompt_tokens", "cached_prompt_tokens", "completion_tokens", "cost"),
        *("teacher_s", "replies", "invalid_replies", "truncated_replies"),
        *("valid_states", "invalid_states", "refused_states"),
    )
    total = {name: sum(result.get(name, 0) for result in results) for name in sums}
    total |= {n: sum(f.get(n, 0) for f in results) for n in ("distinct_states", "states_left")}
    stopped = next((f["stopped_by"] for f in results if f.get("stopped_by")), "")
    more = f" and {len(run_ids) - 1} more" if len(run_ids) > 1 else ""
    identity = {"run_id": run_ids[0] + more, "teacher_id": results[0]["teacher_id"]}
    return {**identity, **total, "stopped_by": stopped}
