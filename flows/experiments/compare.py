"""The comparison: plain PPO, the parts of the method and the whole, as one more experiment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm4teach.analysis.comparisons.results import Findings
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.experiments import trial as cells
from llm4teach.flows.experiments.run import run_experiment, write_findings
from llm4teach.flows.experiments.spec import Arm, Experiment
from llm4teach.flows.experiments.trial import Cell, teacher_of
from llm4teach.flows.runtime.settings import Settings

METHODS = {  # by what the table calls them
    "plain PPO": cells.PPO,
    "pretraining only": cells.PRETRAIN,
    "PPO + KL, no pretraining": cells.PPO_KL,
    "whole method": cells.TEACH,
}


def compare(
    settings: Settings, seeds: int, jobs: int, only: Sequence[str] = (), command: str = ""
) -> tuple[Findings, StoragePath]:
    """Train whatever is not in the workspace yet; write table and figure into a folder of it.

    Args:
        settings: of the whole method; its ``seed`` is the first one.
        seeds: how many.
        jobs: processes to train in.
        only: names of the methods to compare (`Method.name`); none for all.
        command: that makes the comparison again.

    Returns:
        The findings, and the folder of ``comparison.md``, ``.json``, ``.png``, ``.svg`` and
        ``.html``.

    Raises:
        TrialError: training failed. What is complete stays, what is not is taken up again.
    """
    methods = {k: m for k, m in METHODS.items() if not only or m.name in only}
    arms = tuple(Arm(label, method) for label, method in methods.items())
    experiment = Experiment("compare", "", arms, baseline=arms[0].label)
    findings = run_experiment(experiment, settings, [settings.task], seeds, jobs, command)
    info = teacher_of(settings)
    identity = [Cell(cells.TEACH, settings).identity(info), seeds, *sorted(only)]
    name = f"{settings.task}-{info.backend}/{info.model}-{seeds}-seeds"
    folder = results_folder(Workspace(settings.workspace), name, identity)
    write_findings(findings, folder)
    return findings, folder


def results_folder(
    workspace: Workspace, name: str, identity: Sequence[Mapping[str, Any] | Any]
) -> StoragePath:
    """Return the same folder for the same comparison, another one for any other."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return workspace.comparison(re.sub(r"[^A-Za-z0-9.]+", "-", f"{name}-{digest}"))
