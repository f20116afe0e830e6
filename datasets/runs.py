"""Runs: their configuration at the start, metrics on the way, the manifest last of all."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.datasets.parts import read_json, read_parquet, write_json, write_parquet
from llm4teach.datasets.workspace import DatasetError, Workspace

MANIFEST, CONFIG, METRICS = "manifest.json", "config.json", "metrics.parquet"
CHECKPOINT, EVALUATION, REPORT = "checkpoint.safetensors", "evaluation.parquet", "report.html"
_VERSIONS_OF = ("llm4teach", "torch", "numpy", "gymnasium", "minigrid", "pyarrow", "prefect")


class Run:
    """One run's folder while it is being written."""

    def __init__(self, workspace: Workspace, run_id: str, kind: str) -> None:
        self.workspace, self.run_id, self.kind = workspace, run_id, kind
        self.folder = workspace.run(run_id)
        self._began = time.monotonic()
        self._metrics: list[dict[str, Any]] = []
        if (self.folder / METRICS).exists():  # a resumed run goes on with its own history
            self._metrics = read_parquet(self.folder / METRICS, schema.METRICS).to_pylist()

    def start(self, config: Mapping[str, Any]) -> None:
        """Store the resolved configuration; a run without a manifest is unfinished."""
        write_json(self.folder / CONFIG, {"kind": self.kind, "config": dict(config)})

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Note measurements; `flush` stores them."""
        wall_s = time.monotonic() - self._began
        self._metrics += [
            {
                "run_id": self.run_id,
                "stage": stage,
                "step": step,
                "name": name,
                "value": float(value),
                "wall_s": wall_s,
            }
            for name, value in values.items()
        ]

    def forget_after(self, stage: str, step: int) -> None:
        """Drop what a crashed attempt measured beyond the checkpoint it resumes from."""
        self._metrics = [m for m in self._metrics if m["stage"] != stage or m["step"] <= step]

    def flush(self) -> None:
        """Store all measurements so far."""
        table = pa.Table.from_pylist(self._metrics, schema=schema.METRICS)
        write_parquet(self.folder / METRICS, table)

    def write_evaluation(self, episodes: list[dict[str, Any]]) -> None:
        """Store evaluation episodes, rows of schema.EVALUATIONS."""
        table = pa.Table.from_pylist(episodes, schema=schema.EVALUATIONS)
        write_parquet(self.folder / EVALUATION, table)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the manifest, which makes the run complete."""
        self.flush()
        write_json(
            self.folder / MANIFEST,
            {
                "run_id": self.run_id,
                "kind": self.kind,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(time.monotonic() - self._began, 3),
                "config": read_json(self.folder / CONFIG)["config"],
                "results": dict(results),
                "versions": {name: version(name) for name in _VERSIONS_OF},
                "python": platform.python_version(),
                "platform": platform.platform(terse=True),
                "files": sorted(p.name for p in self.folder.iterdir() if p.name[0] != "."),
            },
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a complete run's manifest.

    Raises:
        DatasetError: the run is unfinished or its manifest damaged.
    """
    if not (folder / MANIFEST).exists():
        raise DatasetError(f"run {folder.name} has no manifest: it is unfinished or was killed")
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    return manifest
