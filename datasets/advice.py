"""The advice store: content-addressed and append-only, so that no state is asked about twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.datasets.parts import read_parts, write_part

AdviceRow = dict[str, Any]  # one row of schema.ADVICE


class AdviceStore:
    """The advice of one teacher (``teacher_id`` and ``prompt_version``) in one folder.

    Other prompt versions may share the folder; they are neither read nor touched. Every process
    may append; of two answers for one state the earlier counts.
    """

    def __init__(self, folder: Path, teacher_id: str, prompt_version: str) -> None:
        self.folder = folder
        self.teacher_id, self.prompt_version = teacher_id, prompt_version

    def rows(self) -> list[AdviceRow]:
        """This teacher's rows, one a state, oldest first.

        Raises:
            DatasetError: a part is damaged.
        """
        table = read_parts(self.folder, schema.ADVICE)
        mine = [
            row
            for row in table.sort_by("created_at").to_pylist()
            if (row["teacher_id"], row["prompt_version"]) == (self.teacher_id, self.prompt_version)
        ]
        first: dict[str, AdviceRow] = {}
        for row in mine:
            first.setdefault(row["state_key"], row)
        return list(first.values())

    def missing(self, state_keys: Iterable[str]) -> list[str]:
        """Those of ``state_keys`` that have no advice yet, each once, in their order."""
        known = {row["state_key"] for row in self.rows()}
        return [key for key in dict.fromkeys(state_keys) if key not in known]

    def commit(self, rows: Sequence[AdviceRow]) -> None:
        """Append rows durably, as one part; a reader sees all of them or none."""
        if not rows:
            return
        now = datetime.now(UTC)
        mine = {"teacher_id": self.teacher_id, "prompt_version": self.prompt_version}
        complete = [{**row, **mine, "created_at": now} for row in rows]
        write_part(self.folder, pa.Table.from_pylist(complete, schema=schema.ADVICE))
