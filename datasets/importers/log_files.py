"""Logs as tables: CSV in its usual dialects, and Parquet in one file or many."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from llm4teach.errors import DatasetError

_CSV, _PARQUET = (".csv", ".tsv"), (".parquet", ".pq", ".parq")
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
_DELIMITERS = (",", ";", "\t", "|")
_HEAD = 1 << 16  # bytes that hold a header
_MAGIC = {  # how other files begin
    b"PAR1": "a Parquet file: name it .parquet",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: unpack it, or save it as CSV",
    b"\x89HDF": "an HDF5 file: give a Minari dataset's folder",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"SQLite": "a SQLite database: export the table as CSV",
}
_BYTE_ORDER_MARKS = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def is_log(path: Path) -> bool:
    """Whether a path names a log, rather than a Minari dataset."""
    if _kind(path):
        return True
    if not path.is_dir() or any((path / at / "metadata.json").exists() for at in ("", "data")):
        return False
    within = (file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth))
    return any(_kind(file) == "Parquet" for file in within)


def read_log(path: Path) -> pa.Table:
    """Read a log's columns. Those of CSV are text: what they mean is decided by their use.

    Raises:
        DatasetError: it is missing, damaged, of another format, or has no rows.
    """
    kind = _kind(path) or "Parquet"
    try:
        table = _read_csv(path) if kind == "CSV" else _read_parquet(path)
        table.validate()
        _ = table.column_names  # of a damaged file they are not UTF-8
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (PermissionError, IsADirectoryError) as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if kind == "CSV" and isinstance(error, UnicodeError):
            raise DatasetError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        what = "is damaged" if _is_parquet(path) else f"is damaged, or no {kind} file"
        raise DatasetError(f"{path} {what}: {reason}; write it again, or restore a copy") from None
    if not len(table):
        raise DatasetError(f"{path} has no rows")
    return table


def _kind(path: Path) -> str | None:
    """CSV or Parquet by the name's end, in either case; None if it is neither."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in _PARQUET:
        return "Parquet"
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return "CSV" if suffixes and suffixes[-1] in _CSV else None


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path) -> pa.Table:
    if not path.is_dir():
        if not path.stat().st_size:
            raise DatasetError(f"{path} is empty")
        return pq.read_table(path, page_checksum_verification=True)
    files = sorted(
        file
        for file in path.rglob("*")
        if _kind(file) == "Parquet"
        and file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    )
    if not files:
        raise DatasetError(f"{path} has no Parquet files")
    # Values in folder names stay text, too: as numbers, 007 and 7 would be one episode.
    parts = {part for file in files for part in file.relative_to(path).parts[:-1]}
    names = sorted({part.partition("=")[0] for part in parts if "=" in part})
    partitioning = pads.partitioning(pa.schema([(n, pa.string()) for n in names]), flavor="hive")
    return pads.dataset(
        [str(file) for file in files],
        format="parquet",
        partitioning=partitioning,
        partition_base_dir=str(path),
    ).to_table()


def _read_csv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        compression = _compression(file.read(8))
    with pa.input_stream(str(path), compression=compression) as stream:
        head = stream.read(_HEAD)
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DatasetError(f"{path} is {what}")
    marks = (name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark))
    encoding = next(marks, "utf-8")
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{path} is empty")
    delimiter = max(_DELIMITERS, key=lambda mark: _fields(lines[0], mark))
    names = next(csv.reader([lines[0]], delimiter=delimiter))
    if len(lines) == 1 and len(head) < _HEAD:
        raise DatasetError(f"{path} has no rows")
    with pa.input_stream(str(path), compression=compression) as stream:
        table = pacsv.read_csv(
            stream,
            read_options=pacsv.ReadOptions(
                encoding="utf-8" if encoding == "utf-8-sig" else encoding
            ),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    return table.rename_columns([name.strip() for name in table.column_names])


def _fields(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter)))


def _compression(head: bytes) -> Any:
    """By what is in the file, whatever its name is."""
    magic = {
        b"\x1f\x8b": "gzip",
        b"BZh": "bz2",
        b"\x28\xb5\x2f\xfd": "zstd",
        b"\x04\x22M\x18": "lz4",
    }
    return next((name for mark, name in magic.items() if head.startswith(mark)), None)
