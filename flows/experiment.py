"""Flow experiment: one of the named experiments, from its variants to a figure and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import ConfigError
from llm4teach.flows.experiments.catalog import find_experiment
from llm4teach.flows.experiments.run import results_folder, run_experiment, write_findings
from llm4teach.flows.runtime.settings import load_settings, merge

LEAST_ONLINE = 1_024  # env steps that a budget must leave for fine-tuning


@flow(name="experiment")
def experiment(
    name: str,
    settings: dict[str, Any] | None = None,
    tasks: list[str] | None = None,
    seeds: int | None = None,
    budget: int | None = None,
    jobs: int = 1,
    output: str | None = None,
    command: str = "",
    config: str | None = None,
) -> dict[str, Any]:
    """Run what is not in the workspace yet, and write figure, table and page.

    Args:
        name: of the experiment.
        settings: those that are not to be the experiment's own, nested by section.
        tasks: to run on; the experiment's own by default.
        seeds: how many; likewise.
        budget: env steps of each student, offline ones included; likewise.
        jobs: processes to train in.
        output: folder for one more copy of the results.
        command: to state as how to make them again.
        config: TOML file of settings.

    Returns:
        ``folder`` of the results and their ``table`` in Markdown.
    """
    chosen = find_experiment(name)
    resolved = load_settings(
        settings or {}, Path(config) if config else None, defaults=chosen.settings
    )
    if budget is not None:
        online = budget - resolved.collect.steps
        if online < LEAST_ONLINE:
            raise ConfigError(
                f"--budget is {budget}: it must exceed the {resolved.collect.steps} offline env "
                f"steps (--collect.steps) by {LEAST_ONLINE} at least"
            )
        resolved = resolved.model_copy(
            update={"finetune": resolved.finetune.model_copy(update={"steps": online})}
        )
    task_names = tasks or list(chosen.tasks)
    findings = run_experiment(
        chosen,
        resolved,
        task_names,
        seeds or chosen.seeds,
        jobs,
        command or f"llm4teach experiment {name}",
    )
    identity = merge(
        {"tasks": task_names, "seeds": findings.comparisons[0].seeds}, resolved.model_dump()
    )
    outcome = {k: v for k, v in identity.items() if k not in ("workspace", "task")}
    folder = results_folder(Workspace(resolved.workspace), name, [str(outcome)])
    write_findings(findings, folder)
    if output:
        write_findings(findings, Path(output))
    return {"folder": str(folder), "table": (folder / "comparison.md").read_text(encoding="utf-8")}
