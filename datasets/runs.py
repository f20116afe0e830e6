"""Runs: their configuration at the start, metrics on the way, the manifest last of all."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.datasets.metrics import append_metrics, merge_metrics
from llm4teach.datasets.storage.parquet import (
    read_json,
    remove_folder,
    write_json,
    write_parquet,
)
from llm4teach.datasets.storage.paths import StoragePath, names_in
from llm4teach.datasets.workspace import CONFIG as CONFIG
from llm4teach.datasets.workspace import PROGRESS as PROGRESS  # results so far, without a manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError

MANIFEST = "manifest.json"
CHECKPOINT, EVALUATION, REPORT = "checkpoint.safetensors", "evaluation.parquet", "report.html"
REWEIGHTING, AGREEMENT = "reweighting.parquet", "agreement.parquet"
_EARLIER_SETTINGS: dict[
    str, dict[str, Any]
] = {  # by section: what runs of version 0.1 used without storing it
    "student": {"encoder": "convolutions"},
    "collect": {"ask": None},
    "pretrain": {"weight_decay": 0.0},
    "evaluate": {"seeds": "test"},
}
EARLIER_REWEIGHTING = "outcomes.parquet"  # name of REWEIGHTING until version 0.1
FILMS = "films.json"  # recorded episodes that the report shows
ADVICE = "advice"  # folder of the advice that a run needed, where it keeps its own count
_VERSIONS_OF = ("llm4teach", "torch", "numpy", "gymnasium", "minigrid", "pyarrow", "prefect")


def with_earlier_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration with what version 0.1 used without storing it.

    What that version called ``student``, the run whose student plays, is ``student_run``.
    """
    if isinstance(student := config.get("student"), str):
        config = {n: v for n, v in config.items() if n != "student"} | {"student_run": student}
    makes_student = "pretrain" in config or ("method" in config and "finetune" in config)
    names = [n for n in _EARLIER_SETTINGS if n in config or (n == "student" and makes_student)]
    completed = {n: {**_EARLIER_SETTINGS[n], **config.get(n, {})} for n in names}
    return {**config, **completed}


class Run:
    """One run's folder while it is being written.

    Nothing is kept in memory but measurements not yet flushed, so that several stages, in turn, can
    each open the same run.
    """

    def __init__(self, workspace: Workspace, run_id: str, kind: str) -> None:
        self.run_id, self.kind = run_id, kind
        self.folder = workspace.run(run_id)
        self._began: datetime | None = None  # the run's beginning, once it is known
        self._unflushed: list[dict[str, Any]] = []

    def start(self, config: Mapping[str, Any]) -> None:
        """Store the resolved configuration; a run without a manifest is unfinished."""
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = {"kind": self.kind, "created_at": created_at, "config": dict(config)}
        write_json(self.folder / CONFIG, content)

    @property
    def results(self) -> dict[str, Any]:
        """What the stages so far have noted."""
        path = self.folder / PROGRESS
        results: dict[str, Any] = read_json(path) if path.exists() else {}
        return results

    def note(self, **results: Any) -> None:
        """Set results that the manifest will hold; durable at once."""
        write_json(self.folder / PROGRESS, self.results | results)

    def count(self, **amounts: float) -> None:
        """Add to results that are sums over the run's stages."""
        before = self.results
        self.note(**{name: before.get(name, 0) + value for name, value in amounts.items()})

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Keep measurements for the next `flush`."""
        common = {"run_id": self.run_id, "stage": stage, "step": step}
        wall_s = self._seconds()
        self._unflushed += [
            {**common, "name": name, "value": float(value), "wall_s": wall_s}
            for name, value in values.items()
        ]

    def _seconds(self) -> float:
        """Time since the run began, in whichever stage and process that was."""
        now = datetime.now(UTC)
        if self._began is None:
            is_started = (self.folder / CONFIG).exists()
            began = read_json(self.folder / CONFIG)["created_at"] if is_started else None
            self._began = datetime.fromisoformat(began) if began else now
        return max(0.0, (now - self._began).total_seconds())

    def flush(self) -> None:
        """Store the measurements, beside those that are stored already."""
        if self._unflushed:
            append_metrics(self.folder, self._unflushed)
        self._unflushed = []

    def forget_after(self, stage: str, step: int) -> None:
        """Drop what a killed attempt measured after the checkpoint from which the run resumes."""
        merge_metrics(self.folder, lambda row: row["stage"] != stage or row["step"] <= step)

    def write_evaluation(self, episodes: list[dict[str, Any]]) -> None:
        """Store evaluation episodes, rows of schema.EVALUATIONS."""
        table = pa.Table.from_pylist(episodes, schema=schema.EVALUATIONS)
        write_parquet(self.folder / EVALUATION, table)

    def write_agreement(self, rows: list[dict[str, Any]]) -> None:
        """Store how student and teacher compare by state, rows of schema.AGREEMENT."""
        table = pa.Table.from_pylist(rows, schema=schema.AGREEMENT)
        write_parquet(self.folder / AGREEMENT, table)

    def write_films(self, films: list[dict[str, Any]]) -> None:
        """Store the recorded episodes that the report shows; see `read_films`."""
        write_json(self.folder / FILMS, {"films": films})

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that failed before it had anything to keep or resume."""
        if set(names_in(self.folder)) <= {CONFIG, PROGRESS}:
            remove_folder(self.folder)
            if isinstance(self.folder, Path):  # an object store has no empty folders
                with suppress(OSError):  # other runs are there
                    self.folder.parent.rmdir()

    def finish(self) -> None:
        """Write the manifest, which makes the run complete."""
        self.flush()
        merge_metrics(self.folder)
        started = read_json(self.folder / CONFIG)
        write_json(
            self.folder / MANIFEST,
            {
                "run_id": self.run_id,
                "kind": self.kind,
                "created_at": started["created_at"],
                "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(self._seconds(), 3),
                "config": started["config"],
                "results": self.results,
                "versions": {name: version(name) for name in _VERSIONS_OF},
                "python": platform.python_version(),
                "platform": platform.platform(terse=True),
                "files": sorted(name for name in names_in(self.folder) if name[0] != "."),
            },
        )


def reweighting_path(folder: StoragePath) -> StoragePath | None:
    """Return the file of a run's reweighted advice under its present or earlier name, if any."""
    for name in (REWEIGHTING, EARLIER_REWEIGHTING):
        if (folder / name).exists():
            return folder / name
    return None


def read_films(folder: StoragePath, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the run's recorded episodes; until version 0.1 they were among its results.

    Raises:
        DatasetError: the file is damaged.
    """
    path = folder / FILMS
    films: list[dict[str, Any]] = (
        read_json(path)["films"] if path.exists() else results.get("films") or []
    )
    return films


def read_config(folder: StoragePath) -> dict[str, Any]:
    """Read the configuration that a run, complete or not, was started with.

    Raises:
        DatasetError: it is missing or damaged.
    """
    config: dict[str, Any] = read_json(folder / CONFIG)["config"]
    return config


def read_manifest(folder: StoragePath) -> dict[str, Any]:
    """Read a complete run's manifest.

    Raises:
        DatasetError: the run is unfinished or its manifest damaged.
    """
    if not (folder / MANIFEST).exists():
        raise DatasetError(f"run {folder.name} has no manifest: it is unfinished or was killed")
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    return manifest
