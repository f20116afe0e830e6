"""The advice store: content-addressed and append-only, so that no question is asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm4teach.datasets import schema
from llm4teach.datasets.storage.append import appending
from llm4teach.datasets.storage.parquet import flat_part_names, read_parquet
from llm4teach.datasets.storage.paths import StoragePath

AdviceRow = dict[str, Any]  # one row of schema.ADVICE
_IDENTITY = ("teacher_id", "prompt_version")
_CACHED_PARTS = 8


class AdviceStore:
    """The answers of one teacher (``teacher_id`` and ``prompt_version``) in one folder.

    One row per question. A state whose advice takes one question has that question's key as its
    ``state_key``; so have rows of earlier releases, which had no ``question_key``.

    Other prompt versions may share the folder; they are neither read nor touched. Every process
    may append. Parts never change, so a store reads each once for its keys; the answers themselves
    are read when they are looked up.

    A commit leaves out what has been committed before (`appending`): on a disk that its processes
    share, and in an object store with conditional writes, there is one row per question, whatever
    they do. On a disk that does not keep locks there may be two; readers use the earlier one.
    """

    def __init__(self, folder: StoragePath, teacher_id: str, prompt_version: str) -> None:
        self.folder = folder
        self.teacher_id, self.prompt_version = teacher_id, prompt_version
        self._mutex = RLock()  # a background thread may commit while another looks advice up
        self._parts: set[str] = set()  # names of those whose keys are known
        self._parts_of: dict[str, tuple[str, ...]] = {}  # by question key; nearly always one
        self._cached = lru_cache(maxsize=_CACHED_PARTS)(self._read)

    def __len__(self) -> int:
        """How many questions had an answer at the last `refresh`."""
        return len(self._parts_of)

    def __contains__(self, question_key: str) -> bool:
        """Whether a question had an answer at the last `refresh`."""
        return question_key in self._parts_of

    def refresh(self) -> None:
        """Read the keys that other processes have committed.

        Raises:
            DatasetError: a part is damaged.
        """
        with self._mutex:
            names = flat_part_names(self.folder)
            if not self._parts <= set(names):  # a compaction has replaced some
                self._parts, self._parts_of = set(), {}
            for name in names:
                if name not in self._parts:
                    keys = self._read(name, ("question_key",)).column("question_key")
                    self._add(name, keys.to_pylist())

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """This teacher's answers, one row per question, oldest first; only these columns are read.

        Raises:
            DatasetError: a part is damaged.
        """
        wanted = list(columns or schema.ADVICE.names)
        tables = [self._read(name, _with_order(wanted)) for name in flat_part_names(self.folder)]
        if not tables:
            return schema.ADVICE.empty_table().select(wanted)
        return _earliest(tables).select(wanted)

    def rows(self) -> list[AdviceRow]:
        """All of `table` as Python objects: for stores that are known to be small.

        Raises:
            DatasetError: a part is damaged.
        """
        rows: list[AdviceRow] = self.table().to_pylist()
        return rows

    def lookup(
        self, question_keys: Iterable[str], columns: Sequence[str] | None = None
    ) -> dict[str, AdviceRow]:
        """Return the rows of those questions that have an answer, by question key.

        Raises:
            DatasetError: a part is damaged.
        """
        keys = list(dict.fromkeys(question_keys))
        if not keys:
            return {}
        wanted = list(columns or schema.ADVICE.names)
        with self._mutex:
            self.refresh()
            names = {name: None for key in keys for name in self._parts_of.get(key, ())}
            asked = pa.array(keys, pa.string())
            tables = []
            for name in names:
                part = self._cached(name, _with_order(wanted))
                tables.append(part.filter(pc.is_in(part.column("question_key"), value_set=asked)))
        if not tables:
            return {}
        answers = _earliest(tables)
        rows = answers.select(wanted).to_pylist()
        return dict(zip(answers.column("question_key").to_pylist(), rows, strict=True))

    def missing(self, question_keys: Iterable[str]) -> list[str]:
        """Those of ``question_keys`` that have no answer yet, each once, in their order."""
        self.refresh()
        return [key for key in dict.fromkeys(question_keys) if key not in self]

    def commit(self, rows: Sequence[AdviceRow] | pa.Table) -> int:
        """Append rows durably, as one part; a reader sees all of them or none.

        Args:
            rows: of `schema.ADVICE`, less the columns ``teacher_id``, ``prompt_version`` and
                ``created_at``, which are set here. Without ``question_key`` it is ``state_key``.

        Returns:
            How many were stored: questions that have an answer already are left out.
        """
        if not len(rows):
            return 0
        table = self._complete(rows)
        keys: list[str] = table.column("question_key").to_pylist()
        first = {key: i for i, key in reversed(list(enumerate(keys)))}  # of two rows the first
        with self._mutex, appending(self.folder) as append:
            while True:
                self.refresh()
                new = sorted(i for key, i in first.items() if key not in self)
                if not new:
                    return 0
                if name := append(table.take(pa.array(new)), self._parts):
                    self._add(name, [keys[i] for i in new])
                    return len(new)

    def _complete(self, rows: Sequence[AdviceRow] | pa.Table) -> pa.Table:
        added = {
            "teacher_id": self.teacher_id,
            "prompt_version": self.prompt_version,
            "created_at": datetime.now(UTC),
        }
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pylist(list(rows), schema=schema.ADVICE)
        columns = []
        for field in schema.ADVICE:
            if field.name in added:
                columns.append(pa.repeat(pa.scalar(added[field.name], field.type), len(rows)))
            elif field.name in rows.column_names:
                columns.append(rows.column(field.name).cast(field.type))
            else:
                columns.append(pa.nulls(len(rows), field.type))
        table = pa.Table.from_arrays(columns, schema=schema.ADVICE)
        i = table.schema.get_field_index("question_key")
        keys = pc.coalesce(table.column(i), table.column("state_key"))
        return table.set_column(i, schema.ADVICE.field(i), keys)

    def _add(self, name: str, question_keys: Iterable[str]) -> None:
        self._parts.add(name)
        only = (name,)  # one object for all keys of the part
        for key in question_keys:
            parts = self._parts_of.setdefault(key, only)
            if parts is not only:
                self._parts_of[key] = (*parts, name)

    def _read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """These columns of this teacher's rows in a part."""
        needed = list(dict.fromkeys([*columns, *_IDENTITY]))
        table = read_parquet(self.folder / name, schema.ADVICE, needed, _IDENTITY)
        identity = (self.teacher_id, self.prompt_version)
        for column, value in zip(_IDENTITY, identity, strict=True):
            values = table.column(column)
            if any(set(chunk.dictionary.to_pylist()) - {value} for chunk in values.chunks):
                table = table.filter(pc.equal(values.cast(pa.string()), value))
        for column in set(columns) & set(_IDENTITY):
            i = table.schema.get_field_index(column)
            table = table.set_column(i, column, table.column(column).cast(pa.string()))
        return table.select(list(columns))


def _with_order(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*columns, "question_key", "created_at"]))


def _earliest(tables: Sequence[pa.Table]) -> pa.Table:
    """One row per question, the earliest, and these in the order of their time."""
    table = pa.concat_tables(tables, promote_options="default")
    table = table.take(pc.sort_indices(table, sort_keys=[("created_at", "ascending")]))
    codes = table.column("question_key").combine_chunks().dictionary_encode()
    if isinstance(codes, pa.ChunkedArray):  # what pyarrow returns where there are no rows
        return table
    _, first = np.unique(codes.indices.to_numpy(), return_index=True)
    return table if len(first) == len(table) else table.take(pa.array(np.sort(first)))
