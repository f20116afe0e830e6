"""The commands about students as products: models (the registry of champions) and export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.cli.parser import Argument, RunArgument, SettingsCommand
from llm4teach.flows.runtime.settings import Settings

if TYPE_CHECKING:
    from llm4teach.datasets.champions import Event
    from llm4teach.datasets.storage.paths import StoragePath
    from llm4teach.datasets.workspace import Workspace


class Models(SettingsCommand):
    """List champions, show a champion's history, promote a run, or roll back."""

    command = "models"
    examples = (
        "llm4teach models list",
        "llm4teach models show --task LavaDoorKey",
        'llm4teach models promote teach-20261120-101500-a1b2 --reason "first release"',
        "llm4teach models rollback --task LavaDoorKey",
    )
    uses = ("task", "workspace")

    action: Annotated[
        Literal["list", "show", "promote", "rollback"], Argument(is_positional=True)
    ] = Field(description="what to do")
    run_id: RunArgument = Field(None, description="run whose student to promote")
    reason: str = Field("by hand", description="stored with the decision")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.flows.cli.tables import print_table

        workspace = Workspace(settings.workspace)
        if (self.action == "promote") != (self.run_id is not None):
            example = "llm4teach models promote RUN"
            raise ConfigError(f"promote, and nothing else, takes the run to promote: `{example}`")
        if self.action == "list":
            rows = list_models(workspace)
            print_table(rows)
            if not rows:
                print(f"no student was ever promoted in {workspace.root}")
        elif self.action == "show":
            print_table(show_models(workspace, settings.task))
        else:
            event = (
                promote(workspace, self.run_id, self.reason)
                if self.run_id is not None
                else rollback(workspace, settings.task, self.reason)
            )
            print(f"champion: {event.run_id} (before: {event.replaces or 'none'})")


def list_models(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a task that has a registry.

    Raises:
        DatasetError: a registry is damaged.
    """
    from llm4teach.datasets.champions import ChampionRegistry, champion_of
    from llm4teach.datasets.storage.paths import folder_names

    rows = []
    for task in folder_names(workspace.root / "registry"):
        events = ChampionRegistry(workspace.registry(task)).events()
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
    from llm4teach.datasets.champions import ChampionRegistry

    events = ChampionRegistry(workspace.registry(task)).events()
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
    from llm4teach.datasets.champions import ChampionRegistry, champion_of
    from llm4teach.datasets.runs import CHECKPOINT
    from llm4teach.student.model.checkpoint import load_student

    checkpoint = workspace.existing_run(run_id) / CHECKPOINT
    _, facts = load_student(checkpoint)
    registry = ChampionRegistry(workspace.registry(facts["task"]))
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
    from llm4teach.datasets.champions import ChampionRegistry, previous_champion
    from llm4teach.datasets.runs import CHECKPOINT

    registry = ChampionRegistry(workspace.registry(task))
    events = registry.events()
    before = previous_champion(events)
    if before is None:
        raise DatasetError(f"{task} has no earlier champion to go back to")
    checkpoint = workspace.existing_run(before.run_id) / CHECKPOINT
    return registry.append("rollback", before.run_id, len(events), reason, checkpoint=checkpoint)


def _success(event: Event) -> str:
    rate = event.evidence.get("challenger_success")
    return f"{rate:.1%}" if isinstance(rate, float) else ""


class Export(SettingsCommand):
    """Write a run's student for other programs, with a model card beside it."""

    command = "export"
    examples = (
        "llm4teach export",
        "llm4teach export teach-20261120-101500-a1b2 --format onnx --output student.onnx",
    )
    uses = ("task", "workspace")

    run_id: RunArgument = Field(
        None, description="run whose student to export (default: the task's newest)"
    )
    format: Literal["onnx", "torchscript"] = Field("onnx", description="format of the file")
    output: Annotated[str | None, Argument(flags=("-o", "--output"), metavar="FILE")] = Field(
        None, description="file to write, or a folder for it (default: in the run's folder)"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.envs.registry import get_training_task
        from llm4teach.flows.stages.checkpoints import newest_student
        from llm4teach.flows.stages.export import export

        workspace = Workspace(settings.workspace)
        run_id = self.run_id or newest_student(workspace, get_training_task(settings.task))
        output = None if self.output is None else self._path(self.output)
        print(*export(workspace, run_id, self.format, output), sep="\n")

    def _path(self, output: str) -> StoragePath:
        """Return the file; ``folder/`` is a folder, even if it does not exist yet."""
        from llm4teach.datasets.storage.paths import storage_path
        from llm4teach.student.export.export import SUFFIXES

        path = storage_path(output) if "://" in output else Path(output)
        return path / f"student{SUFFIXES[self.format]}" if output.endswith("/") else path
