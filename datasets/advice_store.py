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
WITHOUT = "/without "  # in a teacher_id: before what the server made it leave out
_IDENTITY = ("teacher_id", "prompt_version")
_KEYS = ("question_key", "status", "attempt")  # columns that say which questions have an answer
_CACHED_PARTS = 8


class AdviceStore:
    """The answers of one teacher (``teacher_id`` and ``prompt_version``) in one folder.

    One row per question, and one more for each time that an invalid answer was asked again
    (``attempt``): of these the last counts. A teacher that has to ask without some setting, since
    its server refuses the field, has `WITHOUT` in the ``teacher_id`` of its rows.

    A state whose advice takes one question has that question's key as its ``state_key``; so have
    rows of earlier releases, which had no ``question_key``.

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
        self._not_ok: dict[str, str] = {}  # status of the last answer, where it is no advice
        self._attempts: dict[str, int] = {}  # by question key, where there was more than one
        self._cached = lru_cache(maxsize=_CACHED_PARTS)(self._read)

    def __len__(self) -> int:
        """How many questions had an answer at the last `refresh`."""
        return len(self._parts_of)

    def __contains__(self, question_key: str) -> bool:
        """Whether a question had an answer at the last `refresh`."""
        return question_key in self._parts_of

    def attempts(self, question_key: str) -> int:
        """How often a question was answered, as of the last `refresh`; 0 if it has no answer."""
        return self._attempts.get(question_key, int(question_key in self._parts_of))

    def status(self, question_key: str) -> str:
        """The status of a question's last answer, as of the last `refresh`; "" if it has none."""
        ok = "ok" if question_key in self._parts_of else ""
        return self._not_ok.get(question_key, ok)

    def is_invalid(self, question_key: str) -> bool:
        """Whether a question's last answer was invalid, as of the last `refresh`."""
        return self._not_ok.get(question_key) == "invalid"

    def refresh(self) -> None:
        """Read the keys that other processes have committed.

        Raises:
            DatasetError: a part is damaged.
        """
        with self._mutex:
            names = flat_part_names(self.folder)
            if not self._parts <= set(names):  # a compaction has replaced some
                self._parts, self._parts_of = set(), {}
                self._not_ok, self._attempts = {}, {}
            for name in names:
                if name not in self._parts:
                    self._add(name, self._read(name, _KEYS))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """This teacher's answers, one row per question, oldest first; only these columns are read.

        Of a question that was asked again, since its answer was invalid, it is the last one.

        Raises:
            DatasetError: a part is damaged.
        """
        wanted = list(columns or schema.ADVICE.names)
        tables = [self._read(name, _with_order(wanted)) for name in flat_part_names(self.folder)]
        if not tables:
            return schema.ADVICE.empty_table().select(wanted)
        return _counting(tables).select(wanted)

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
        answers = _counting(tables)
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
            How many were stored: questions that have an answer already are left out, unless the
            row's ``attempt`` is a later one.
        """
        if not len(rows):
            return 0
        table = self._complete(rows)
        keys: list[str] = table.column("question_key").to_pylist()
        attempts = [1 if n is None else int(n) for n in table.column("attempt").to_pylist()]
        first = {(keys[i], attempts[i]): i for i in reversed(range(len(keys)))}  # of two, the first
        with self._mutex, appending(self.folder) as append:
            while True:
                self.refresh()
                new = sorted(i for (key, n), i in first.items() if n > self.attempts(key))
                if not new:
                    return 0
                part = table.take(pa.array(new))
                if name := append(part, self._parts):
                    self._add(name, part)
                    return len(new)

    def _complete(self, rows: Sequence[AdviceRow] | pa.Table) -> pa.Table:
        added = {
            "teacher_id": self.teacher_id,
            "prompt_version": self.prompt_version,
            "created_at": datetime.now(UTC),
        }
        if not isinstance(rows, pa.Table):
            rows = [row | {"teacher_id": self._row_identity(row)} for row in rows]
            rows = pa.Table.from_pylist(rows, schema=schema.ADVICE)
            del added["teacher_id"]
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

    def _row_identity(self, row: AdviceRow) -> str:
        """The teacher of a row: this one, or this one without what its server refuses."""
        missing = [name for name in row.get("dropped") or () if name in schema.IDENTITY_FIELDS]
        return self.teacher_id + (WITHOUT + ",".join(sorted(missing)) if missing else "")

    def _is_own(self, teacher_id: str) -> bool:
        return teacher_id == self.teacher_id or teacher_id.startswith(self.teacher_id + WITHOUT)

    def _add(self, name: str, rows: pa.Table) -> None:
        self._parts.add(name)
        only = (name,)  # one object for all keys of the part
        for key in rows.column("question_key").to_pylist():
            parts = self._parts_of.setdefault(key, only)
            if parts is not only:
                self._parts_of[key] = (*parts, name)
        is_first = pc.less_equal(pc.fill_null(rows.column("attempt"), 1), 1)
        is_ok = pc.fill_null(pc.equal(rows.column("status"), "ok"), True)
        rows = rows.filter(pc.invert(pc.and_(is_first, is_ok)))  # few, or none
        for key, status, attempt in sorted(
            zip(*(rows.column(name).to_pylist() for name in _KEYS), strict=True),
            key=lambda row: row[2] or 1,
        ):
            before, attempt = self._attempts.get(key, 1), attempt or 1
            if attempt < before:
                continue
            if attempt > before:
                self._attempts[key] = attempt
                self._not_ok.pop(key, None)
            if status != "ok":
                self._not_ok.setdefault(key, status)

    def _read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """These columns of this teacher's rows in a part."""
        needed = list(dict.fromkeys([*columns, *_IDENTITY]))
        table = read_parquet(self.folder / name, schema.ADVICE, needed, _IDENTITY)
        is_own = {"teacher_id": self._is_own, "prompt_version": self.prompt_version.__eq__}
        for column in _IDENTITY:
            values = table.column(column)
            found = {v for chunk in values.chunks for v in chunk.dictionary.to_pylist()}
            own = [value for value in found if value is not None and is_own[column](value)]
            if len(own) < len(found):
                is_in = pc.is_in(values.cast(pa.string()), value_set=pa.array(own, pa.string()))
                table = table.filter(is_in)
        for column in set(columns) & set(_IDENTITY):
            i = table.schema.get_field_index(column)
            table = table.set_column(i, column, table.column(column).cast(pa.string()))
        return table.select(list(columns))


def _with_order(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*columns, "question_key", "attempt", "created_at"]))


def _counting(tables: Sequence[pa.Table]) -> pa.Table:
    """The row of each question that counts, and these in the order of their time.

    It is the one with the highest attempt, and of those the earliest.
    """
    table = pa.concat_tables(tables, promote_options="default")
    table = table.take(pc.sort_indices(table, sort_keys=[("created_at", "ascending")]))
    codes = table.column("question_key").combine_chunks().dictionary_encode()
    if isinstance(codes, pa.ChunkedArray):  # what pyarrow returns where there are no rows
        return table
    keys = codes.indices.to_numpy()  # (N,)
    attempts = pc.fill_null(table.column("attempt"), 1).to_numpy()  # (N,)
    order = np.argsort(-attempts, kind="stable")  # (N,): later attempts first, then by time
    _, first = np.unique(keys[order], return_index=True)
    counting = np.sort(order[first])
    return table if len(counting) == len(table) else table.take(pa.array(counting))
