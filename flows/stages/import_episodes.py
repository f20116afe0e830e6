"""Importing: recorded episodes become a run's trajectories, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm4teach.datasets.importers import read_episodes
from llm4teach.datasets.runs import Run
from llm4teach.datasets.trajectories import write_steps
from llm4teach.datasets.workspace import Workspace, new_run_id
from llm4teach.envs.registry import get_training_task
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime.progress import stage
from llm4teach.student.collection.importing import Importer
from llm4teach.student.collection.states import StateTable

WRITE_EVERY = 50_000  # steps a part
LISTED = 20  # problems


def import_episodes(
    workspace: Workspace, task_name: str, source: str, columns: Mapping[str, str], skip: bool
) -> dict[str, Any]:
    """Store the episodes of a source as a new run; return what was summary.

    Raises:
        DatasetError: the source cannot be read, or episodes do not fit and ``skip`` is off: the
            message lists them. Then nothing is written.
    """
    task, run_id = get_training_task(task_name), new_run_id("import")
    importer = Importer(task, run_id)
    episodes, refused = [], []
    with stage("check", 0, "episodes") as shown:
        for episode in read_episodes(source, columns):
            problems = list(importer.problems(episode))
            if problems:
                refused.append(f"  episode {episode.name}: {'; '.join(problems)}")
            else:
                episodes.append(episode)
            shown.advance()
        shown.summary = f"{len(episodes):,} fit {task_name}, {len(refused):,} do not"
    if (refused and not skip) or not episodes:
        more = [f"  … and {len(refused) - LISTED:,} more"] if len(refused) > LISTED else []
        total = len(refused) + len(episodes)
        head = f"{len(refused):,} of {total:,} episodes do not fit {task_name}"
        hint = "nothing was imported" + ("; --skip leaves them out" if episodes else "")
        raise DatasetError("\n".join([f"{head}; {hint}:", *refused[:LISTED], *more]))
    run = Run(workspace, run_id, "import")
    run.start({"task": task_name, "source": Path(source).name, "columns": dict(columns)})
    folder, n = workspace.trajectories(task_name, run_id), 0
    table = StateTable(folder)
    written, pending = 0, list[tuple[dict[str, Any], Any]]()  # steps; episodes to be written
    for i, episode in enumerate(episodes):
        pending.append(importer.steps(episode))
        n += len(episode.actions)
        if n - written >= WRITE_EVERY or i == len(episodes) - 1:
            parts, seen = zip(*pending, strict=True)
            merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            table.add(importer.states.values())
            write_steps(folder, merged, np.concatenate(seen))
            written, pending = n, []
    summary = {"episodes": len(episodes), "collect_steps": n, "refused": len(refused)}
    run.note(task=task_name, **summary)
    run.finish()
    return {"run_id": run_id, **summary}
