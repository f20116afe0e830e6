"""Which parts of a dataset folder count, where some have been rewritten into others.

A compaction (`compaction.py`) puts new files beside the parts that they stand for, and then, in one
rename, a record that names both. From that moment readers take the new ones and leave the old ones,
which are deleted later: whoever looked at the folder before still finds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llm4teach.datasets.storage.paths import StoragePath, walk
from llm4teach.errors import DatasetError

# Names that we write; a copy such as "part-… (1).parquet" is none of them.
PART = re.compile(r"part-([0-9a-f]{32}|\d{12}|\d{20}-[0-9a-f]{8})\.parquet")
COMPACTED = re.compile(r"compacted-[0-9a-f]{32}\.parquet")  # counts only if a record names it
RECORD = re.compile(r"compaction-[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class Record:
    """What one compaction did: names of files in its folder."""

    name: str
    parts: frozenset[str]
    replaces: frozenset[str]  # with all that these had replaced and is still there


def current_parts(folder: StoragePath) -> list[StoragePath]:
    """Every part below a folder that counts, sorted; the folder may be missing.

    Raises:
        DatasetError: a compaction's record is damaged.
    """
    paths: list[StoragePath] = []
    for place, names in walk(folder):
        parts = {name for name in names if PART.fullmatch(name)}
        paths += (place / name for name in with_compactions(place, parts, names))
    return sorted(paths, key=str)


def with_compactions(folder: StoragePath, parts: Iterable[str], names: Sequence[str]) -> set[str]:
    """Names of the files that count, of one folder's ``parts`` and what stands for some of them.

    Args:
        folder: where they are.
        parts: names of the parts in it, replaced ones too.
        names: of all files in it.

    Raises:
        DatasetError: a compaction's record is damaged.
    """
    records = read_records(folder, names)
    names_that_count = set(parts).union(*(record.parts for record in records))
    return names_that_count.difference(*(record.replaces for record in records))


def read_records(folder: StoragePath, names: Iterable[str]) -> list[Record]:
    """Read the compactions' records among the names of a folder's files.

    Raises:
        DatasetError: one is damaged.
    """
    records = []
    for name in names:
        if not RECORD.fullmatch(name):
            continue
        try:
            content = json.loads((folder / name).read_text())
            parts, replaces = frozenset(content["parts"]), frozenset(content["replaces"])
        except FileNotFoundError:
            continue  # a later record stands for it, which was there before this one went
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{folder / name} is not a record of a compaction ({error!r}); restore it from a "
                "copy: it says which files stand for which"
            ) from None
        records.append(Record(name, parts, replaces))
    return records
