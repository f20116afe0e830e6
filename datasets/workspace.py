"""A workspace: the folder that holds every dataset and run, and where each thing is in it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path


class DatasetError(ValueError):
    """Something in a workspace is missing, damaged or of another version."""


class Workspace:
    """Paths of a workspace; see the README for the layout.

    Raises:
        DatasetError: the path is a file, or a URL (only local folders can be workspaces so far).
    """

    def __init__(self, path: str | Path) -> None:
        if re.match(r"[a-z][a-z0-9+.-]+://", str(path)):
            raise DatasetError(f"workspace {path}: only local folders are supported so far")
        self.root = Path(path).expanduser().resolve()
        if self.root.exists() and not self.root.is_dir():
            raise DatasetError(f"workspace {self.root} is a file; give a folder (it may be new)")

    def trajectories(self, task: str, run_id: str | None = None) -> Path:
        """Folder of a task's trajectories, of one run or of all."""
        folder = self.root / "trajectories" / f"task={task}"
        return folder / f"run={run_id}" if run_id else folder

    def advice(self, family: str, slug: str) -> Path:
        """Folder of one teacher's advice on a task family."""
        return self.root / "advice" / f"task={family}" / f"teacher={slug}"

    def run(self, run_id: str) -> Path:
        """Folder of a run."""
        return self.root / "runs" / run_id

    def comparison(self, name: str) -> Path:
        """Folder of a comparison's table and figure."""
        return self.root / "comparisons" / name

    def registry(self, task: str) -> Path:
        """Folder of a task's registry of champions."""
        return self.root / "registry" / task

    def existing_run(self, run_id: str) -> Path:
        """Folder of a run that must be there.

        Raises:
            DatasetError: it is not; the message lists the newest runs.
        """
        if "/" in run_id or not (folder := self.run(run_id)).is_dir():
            known = ", ".join(self.run_ids()[-5:]) or "none"
            raise DatasetError(f"no run {run_id!r} in {self.root}; the newest runs: {known}")
        return folder

    def run_ids(self) -> list[str]:
        """Every run's id, oldest first."""
        runs = self.root / "runs"
        if not runs.is_dir():
            return []
        return sorted((p.name for p in runs.iterdir() if p.is_dir()), key=lambda n: n[-20:])


def new_run_id(kind: str) -> str:
    """Return ``<kind>-<UTC time>-<four random hex digits>``; sorts by time within a kind."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
