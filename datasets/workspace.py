"""A workspace: the folder that holds every dataset and run, and where each thing is in it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from llm4teach.datasets.storage.paths import StoragePath, files_in_each, names_in, storage_path
from llm4teach.errors import DatasetError

CONTROL = "control"  # kind of the runs that train a student without an LLM, to compare with
CONFIG, PROGRESS = "config.json", "progress.json"  # what a run has from its first moment on
_TIME = re.compile(r"\d{8}-\d{6}-.*$")
_RUN_ID = re.compile(r"[a-z][a-z-]*-\d{8}-\d{6}(-\d{6})?-[0-9a-f]{4}")


class Workspace:
    """Paths of a workspace; the README has the layout, docs/STORAGE.md what holds where.

    Args:
        path: a folder, or the URL of one (``s3://bucket/prefix``).

    Raises:
        DatasetError: the path is a file, or the URL's store cannot be reached or used.
    """

    def __init__(self, path: str | StoragePath) -> None:
        self.root = storage_path(path)
        if isinstance(self.root, Path) and self.root.exists() and not self.root.is_dir():
            raise DatasetError(f"workspace {self.root} is a file; give a folder (it may be new)")

    @property
    def exists(self) -> bool:
        """Whether anything is there."""
        return self.root.is_dir()

    @property
    def name(self) -> str:
        """What a command that is printed for people calls it: its folder's name, or its URL."""
        return self.root.name if isinstance(self.root, Path) else str(self.root)

    def trajectories(self, task: str, run_id: str | None = None) -> StoragePath:
        """Folder of a task's trajectories, of one run or of all."""
        folder = self.root / "trajectories" / f"task={task}"
        return folder / f"run={run_id}" if run_id else folder

    def advice(self, family: str, slug: str) -> StoragePath:
        """Folder of one teacher's advice on a task family."""
        return self.root / "advice" / f"task={family}" / f"teacher={slug}"

    def run(self, run_id: str) -> StoragePath:
        """Folder of a run."""
        return self.root / "runs" / run_id

    def comparison(self, name: str) -> StoragePath:
        """Folder of a comparison's table and figure."""
        return self.root / "comparisons" / name

    def registry(self, task: str) -> StoragePath:
        """Folder of a task's registry of champions."""
        return self.root / "registry" / task

    def existing_run(self, run_id: str) -> StoragePath:
        """Folder of a run that must be there.

        Raises:
            DatasetError: it is not; the message lists the newest runs.
        """
        folder = self.run(run_id)
        if not re.fullmatch(r"[\w-]+", run_id) or not folder.is_dir():
            newest = ", ".join(self.run_ids()[-5:]) or "none"
            raise DatasetError(f"no run {run_id!r} in {self.root}; the newest runs: {newest}")
        return folder

    def run_ids(self, *, controls: bool = True) -> list[str]:
        """Every run's id, oldest first; other folders beside them, and empty ones, are no runs.

        Without ``controls``, those of `CONTROL` runs are left out.
        """
        configs = files_in_each(self.root / "runs", CONFIG)
        names = (path.parent.name for path in configs)
        kept = (name for name in names if controls or not name.startswith(f"{CONTROL}-"))
        return sorted(filter(is_run_id, kept), key=_start_time)

    def newest_run(self) -> str | None:
        """The newest run that has stored anything, controls aside; one that failed has not."""
        for run_id in reversed(self.run_ids(controls=False)):
            if set(names_in(self.run(run_id))) - {CONFIG, PROGRESS}:
                return run_id
        return None


def is_run_id(name: str) -> bool:
    """Whether a folder's name has the form of a run's id, in this release or an earlier one."""
    return _RUN_ID.fullmatch(name) is not None


def new_run_id(kind: str) -> str:
    """Return ``<kind>-<UTC date>-<time>-<microseconds>-<four random hex digits>``."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"


def _start_time(run_id: str) -> str:
    """The part of a run's id that sorts by time; ids of earlier releases lack microseconds."""
    time = _TIME.search(run_id)
    return time[0] if time else run_id[-20:]
