"""The advice store: content-addressed and append-only, so that no state is asked about twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from llm4teach.datasets import schema
from llm4teach.datasets.storage.append import appending
from llm4teach.datasets.storage.key_index import KeyCodes, KeyIndex, key_codes
from llm4teach.datasets.storage.parquet import flat_part_names, read_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.storage.table_cache import TableCache

AdviceRow = dict[str, Any]  # one row of schema.ADVICE
_IDENTITY = ("teacher_id", "prompt_version")


class AdviceStore:
    """The advice of one teacher (``teacher_id`` and ``prompt_version``) in one folder.

    Other prompt versions may share the folder; they are neither read nor touched. Every process
    may append. Parts never change, so each is read once by a store: for an index of its keys, 12
    bytes each; the advice itself is read when it is looked up.

    A commit leaves out what has been committed before (`appending`): on a disk that its processes
    share, and in an object store with conditional writes, there is one row a state, whatever they
    do. On a disk that does not keep locks there may be two; then the earlier one counts for every
    reader.
    """

    def __init__(self, folder: StoragePath, teacher_id: str, prompt_version: str) -> None:
        self.folder = folder
        self.teacher_id, self.prompt_version = teacher_id, prompt_version
        self._mutex = RLock()  # a background thread may commit while another looks advice up
        self._index = KeyIndex()
        self._parts: dict[str, int] = {}  # a part's name and its place in the index
        self._cache = TableCache()

    def __len__(self) -> int:
        """How many rows were known at the last look."""
        return len(self._index)

    def refresh(self) -> None:
        """Learn of what other processes have committed.

        Raises:
            DatasetError: a part is damaged.
        """
        with self._mutex:
            names = flat_part_names(self.folder)
            if not self._parts.keys() <= set(names):  # a compaction has put others in their place
                self._index, self._parts, self._cache = KeyIndex(), {}, TableCache()
            new = [name for name in names if name not in self._parts]
            codes = [self._codes_in(name) for name in new]
            if new:
                places = [self._place(name) for name in new]
                each = np.repeat(np.array(places, np.int32), [len(part) for part in codes])
                self._index.add(np.concatenate(codes), each)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """This teacher's advice, one row a state, oldest first; only these columns are read.

        Raises:
            DatasetError: a part is damaged.
        """
        wanted = list(columns or schema.ADVICE.names)
        needed = list(dict.fromkeys([*wanted, "state_key", "created_at"]))
        names = flat_part_names(self.folder)
        tables = [self._mine(name, needed) for name in names]
        if not tables:
            return schema.ADVICE.empty_table().select(wanted)
        return _earliest(pa.concat_tables(tables, promote_options="default")).select(wanted)

    def rows(self) -> list[AdviceRow]:
        """All of `table` as Python objects: for stores that are known to be small.

        Raises:
            DatasetError: a part is damaged.
        """
        rows: list[AdviceRow] = self.table().to_pylist()
        return rows

    def lookup(
        self, state_keys: Iterable[str], columns: Sequence[str] | None = None
    ) -> dict[str, AdviceRow]:
        """Return the rows of those states that have advice, by state key.

        Raises:
            DatasetError: a part is damaged.
        """
        keys = list(dict.fromkeys(state_keys))
        if not keys:
            return {}
        wanted = list(columns or schema.ADVICE.names)
        needed = list(dict.fromkeys([*wanted, "state_key", "created_at"]))
        with self._mutex:
            self.refresh()
            names = list(self._parts)  # in the order of their places
            held = [names[place] for place in self._index.places(key_codes(keys))]
            asked = pa.array(keys, pa.string())
            tables = []
            for name in held:
                part = self._cache.get((name, *needed), partial(self._mine, name, needed))
                tables.append(part.filter(pc.is_in(part.column("state_key"), value_set=asked)))
        if not tables:
            return {}
        found = _earliest(pa.concat_tables(tables, promote_options="default"))
        rows = found.select(wanted).to_pylist()
        return dict(zip(found.column("state_key").to_pylist(), rows, strict=True))

    def missing(self, state_keys: Iterable[str]) -> list[str]:
        """Those of ``state_keys`` that have no advice yet, each once, in their order."""
        keys = list(state_keys)
        codes = key_codes(keys)
        self.refresh()
        _, first = np.unique(codes, return_index=True)
        first.sort()
        return [keys[i] for i in first[~self.known(codes[first])]]

    def known(self, codes: KeyCodes) -> NDArray[np.bool_]:
        """Whether there was advice for each key at the last `refresh`, bool (N,)."""
        with self._mutex:
            return self._index.contains(codes)

    def commit(self, rows: Sequence[AdviceRow] | pa.Table) -> int:
        """Append rows durably, as one part; a reader sees all of them or none.

        Args:
            rows: of `schema.ADVICE`, less the columns ``teacher_id``, ``prompt_version`` and
                ``created_at``, which are set here.

        Returns:
            How many were stored: states that have advice already are left out.
        """
        if not len(rows):
            return 0
        table = self._complete(rows)
        codes = key_codes(table.column("state_key"))
        _, first = np.unique(codes, return_index=True)
        new = np.zeros(len(codes), np.bool_)
        new[first] = True  # of two rows of a state the first
        with self._mutex, appending(self.folder) as append:
            while True:
                self.refresh()
                new &= ~self.known(codes)  # (N,)
                if not new.all():
                    table, codes, new = table.filter(pa.array(new)), codes[new], new[new]
                if not len(codes):
                    return 0
                if name := append(table, self._parts):
                    self._index.add(codes, np.full(len(codes), self._place(name), np.int32))
                    return len(codes)

    def _complete(self, rows: Sequence[AdviceRow] | pa.Table) -> pa.Table:
        own = {
            "teacher_id": self.teacher_id,
            "prompt_version": self.prompt_version,
            "created_at": datetime.now(UTC),
        }
        if not isinstance(rows, pa.Table):
            return pa.Table.from_pylist([{**row, **own} for row in rows], schema=schema.ADVICE)
        columns = [
            pa.repeat(pa.scalar(own[field.name], field.type), len(rows))
            if field.name in own
            else rows.column(field.name).cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(len(rows), field.type)
            for field in schema.ADVICE
        ]
        return pa.Table.from_arrays(columns, schema=schema.ADVICE)

    def _place(self, name: str) -> int:
        return self._parts.setdefault(name, len(self._parts))

    def _codes_in(self, name: str) -> KeyCodes:
        return key_codes(self._mine(name, ["state_key"]).column("state_key"))

    def _mine(self, name: str, columns: Sequence[str]) -> pa.Table:
        """These columns of this teacher's rows in a part."""
        needed = list(dict.fromkeys([*columns, *_IDENTITY]))
        table = read_parquet(self.folder / name, schema.ADVICE, needed, _IDENTITY)
        own = (self.teacher_id, self.prompt_version)
        for column, value in zip(_IDENTITY, own, strict=True):
            values = table.column(column)
            if any(set(chunk.dictionary.to_pylist()) - {value} for chunk in values.chunks):
                table = table.filter(pc.equal(values.cast(pa.string()), value))
        for column in set(columns) & set(_IDENTITY):
            i = table.schema.get_field_index(column)
            table = table.set_column(i, column, table.column(column).cast(pa.string()))
        return table.select(list(columns))


def _earliest(table: pa.Table) -> pa.Table:
    """One row a state, the earliest, and these in the order of their time."""
    table = table.take(pc.sort_indices(table, sort_keys=[("created_at", "ascending")]))
    codes = key_codes(table.column("state_key"))
    _, first = np.unique(codes, return_index=True)
    return table if len(first) == len(codes) else table.take(pa.array(np.sort(first)))
