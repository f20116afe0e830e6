"""The registry's commands: who is champion, how it came, and changing it by hand."""

from __future__ import annotations

from typing import Any

from llm4teach.datasets.champions import Event, Registry, champion_of, previous_champion
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.storage.paths import folder_names
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.student.model.checkpoint import load_student


def list_models(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a task that has a registry.

    Raises:
        DatasetError: a registry is damaged.
    """
    rows = []
    for task in folder_names(workspace.root / "registry"):
        events = Registry(workspace.registry(task)).events()
        champion = champion_of(events)
        rows.append(
            {
                "task": task,
                "champion": champion.run_id if champion else "none",
                "since": champion.created_at[:10] if champion else "",
                "success": _success(champion) if champion else "",
                "decisions": len(events),
            }
        )
    return rows


def show_models(workspace: Workspace, task: str) -> list[dict[str, Any]]:
    """One row a decision on the task's champion, oldest first.

    Raises:
        DatasetError: there are none, or the registry is damaged.
    """
    events = Registry(workspace.registry(task)).events()
    if not events:
        raise DatasetError(
            f"no student of {task} was ever promoted in {workspace.root}; `llm4teach retrain` "
            "does it, or `llm4teach models promote RUN`"
        )
    return [
        {
            "": event.number,
            "when": f"{event.created_at[:10]} {event.created_at[11:16]}",
            "decision": event.action,
            "run": event.run_id,
            "reason": event.reason,
        }
        for event in events
    ]


def promote(workspace: Workspace, run_id: str, reason: str) -> Event:
    """Make a run's student the champion of its task, whatever it can.

    Raises:
        DatasetError: it has no student, is champion already, or somebody else decided first.
    """
    checkpoint = workspace.existing_run(run_id) / CHECKPOINT
    _, facts = load_student(checkpoint)
    registry = Registry(workspace.registry(facts["task"]))
    events = registry.events()
    champion = champion_of(events)
    if champion and champion.run_id == run_id:
        raise DatasetError(f"{run_id} is the champion of {facts['task']} already")
    return registry.append("promote", run_id, len(events), reason, checkpoint=checkpoint)


def rollback(workspace: Workspace, task: str, reason: str) -> Event:
    """Bring back the champion before the present one.

    Raises:
        DatasetError: there is none, its student is gone, or somebody else decided first.
    """
    registry = Registry(workspace.registry(task))
    events = registry.events()
    before = previous_champion(events)
    if before is None:
        raise DatasetError(f"{task} has no earlier champion to go back to")
    checkpoint = workspace.existing_run(before.run_id) / CHECKPOINT
    return registry.append("rollback", before.run_id, len(events), reason, checkpoint=checkpoint)


def _success(event: Event) -> str:
    rate = event.evidence.get("challenger_success")
    return f"{rate:.1%}" if isinstance(rate, float) else ""
