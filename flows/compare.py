"""The comparison: every method with every seed, then one table and one figure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict

from llm4teach.analysis.comparison import Comparison, method_result, read_seed, teacher_result
from llm4teach.analysis.comparison_figure import write_comparison_figure
from llm4teach.analysis.comparison_table import comparison_markdown
from llm4teach.datasets.parts import replacing, write_json
from llm4teach.datasets.places import Place
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.flows import cells
from llm4teach.flows.cell_runner import run_cells
from llm4teach.flows.cells import Cell
from llm4teach.flows.config import Settings
from llm4teach.flows.teachers import open_teacher

METHODS = {  # by what the table calls them
    "plain PPO": cells.PPO,
    "pretraining only": cells.PRETRAIN,
    "PPO + KL, no pretraining": cells.PPO_KL,
    "whole method": cells.TEACH,
}


def compare(
    settings: Settings, seeds: int, jobs: int, only: Sequence[str] = ()
) -> tuple[Comparison, Place]:
    """Train whatever is not in the workspace yet; write table and figure into a folder of it.

    Args:
        settings: of the whole method; its ``seed`` is the first one.
        seeds: how many.
        jobs: processes to train in.
        only: names of the methods to compare (`Method.name`); none for all.

    Returns:
        The comparison, and the folder of ``comparison.md``, ``.json``, ``.png`` and ``.svg``.

    Raises:
        CellError: training failed. What is complete stays, what is not is taken up again.
    """
    workspace = Workspace(settings.workspace)
    advisor = open_teacher(settings.teacher, get_task(settings.task).family)
    advisor.close()
    info = advisor.info
    methods = {k: m for k, m in METHODS.items() if not only or m.name in only}
    numbers = [settings.seed + i for i in range(seeds)]
    reference, whole = Cell(cells.TEACHER, settings), Cell(cells.TEACH, settings)
    grid = [
        Cell(method, settings.model_copy(update={"seed": n}))
        for n in numbers
        for method in methods.values()
    ]
    run_ids = run_cells("compare", [reference, *grid], info, workspace, jobs)
    played, *trained = [read_seed(workspace, run_id) for run_id in run_ids]
    comparison = Comparison(
        task=settings.task,
        teacher=f"{info.backend}/{info.model}",
        teacher_id=info.teacher_id,
        prompt_version=info.prompt_version,
        seeds=numbers,
        budget=whole.budget,
        offline_steps=settings.collect.steps,
        methods=[
            method_result(label, trained[i :: len(methods)]) for i, label in enumerate(methods)
        ],
        reference=teacher_result(played),
    )
    # The same folder for the same comparison, another one for any other.
    identity = json.dumps([whole.identity(info), seeds, *sorted(only)], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    name = f"{comparison.task}-{comparison.teacher}-{seeds}-seeds-{digest}"
    folder = workspace.comparison(re.sub(r"[^A-Za-z0-9.]+", "-", name))
    _write(comparison, folder)
    return comparison, folder


def _write(comparison: Comparison, folder: Place) -> None:
    write_comparison_figure(comparison, folder / "comparison.png", folder / "comparison.svg")
    write_json(folder / "comparison.json", asdict(comparison))
    with replacing(folder / "comparison.md") as temporary:
        temporary.write_text(comparison_markdown(comparison), encoding="utf-8")
