"""The read-only file system under DuckDB: right with many threads, and for reading only."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from llm4teach.analysis.sql.part_files import PartFiles, part_url
from llm4teach.analysis.sql.views import select_parts
from llm4teach.datasets.compaction import write_compacted

ROWS = 60_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of many row groups, in which nothing is like its neighbour."""
    root = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    for part in range(2):
        numbers = rng.integers(0, 1 << 40, ROWS)
        table = pa.table({"n": numbers, "text": [f"{n:x}" for n in numbers]})
        folder = root / "kind=a"
        write_compacted(folder / f"part-{part}.parquet", table, row_group=1000)
    return root


def opened(root: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    paths = sorted(root.rglob("*.parquet"))
    connection.register_filesystem(PartFiles(root, paths))
    table = pa.schema([("kind", pa.string()), ("n", pa.int64()), ("text", pa.string())])
    urls = [part_url(path, root) for path in paths]
    select = select_parts(connection, table, urls, {"kind": "kind"})
    connection.execute(f"CREATE VIEW numbers AS {select}")
    return connection


def test_many_threads_that_share_a_file_read_it_right(root: Path) -> None:
    rng = np.random.default_rng(0)
    everything = np.concatenate([rng.integers(0, 1 << 40, ROWS) for _ in range(2)])
    sql = "SELECT sum(n), sum(length(text)), max(text), count(DISTINCT kind) FROM numbers"
    right = (
        int(everything.sum()),
        sum(len(f"{n:x}") for n in everything),
        max(f"{n:x}" for n in everything),
        1,
    )
    with opened(root) as connection:
        connection.execute("SET threads = 8")
        for _ in range(20):
            assert connection.sql(sql).fetchall() == [right]
        joined = "SELECT count(*) FROM numbers a JOIN numbers b USING (n, text)"
        for _ in range(5):
            [(found,)] = connection.sql(joined).fetchall()
            assert found >= 2 * ROWS


def test_what_the_folder_says_skips_parts(tmp_path: Path) -> None:
    """A column that is stored and stands in the folder's name, too, is the folder's."""
    for run in ("x", "y"):
        table = pa.table({"run_id": [run] * 10, "n": list(range(10))})
        write_compacted(tmp_path / f"run={run}" / "part-0.parquet", table)
    wanted = pa.schema([("n", pa.float64()), ("run_id", pa.string()), ("new", pa.int8())])
    paths = sorted(tmp_path.rglob("*.parquet"))
    with duckdb.connect() as connection:
        connection.register_filesystem(PartFiles(tmp_path, paths))
        urls = [part_url(path, tmp_path) for path in paths]
        select = select_parts(connection, wanted, urls, {"run": "run_id"})
        connection.execute(f"CREATE VIEW steps AS {select}")
        rows = connection.sql("FROM steps ORDER BY run_id, n").fetchall()
        assert rows == [(float(n), run, None) for run in ("x", "y") for n in range(10)]
        sql = "EXPLAIN ANALYZE SELECT sum(n) FROM steps WHERE run_id = 'y'"
        [(_, plan)] = connection.sql(sql).fetchall()
        assert "Total Files Read: 1" in plan


def test_each_thread_has_its_own_position(root: Path) -> None:
    path = next(root.rglob("*.parquet"))
    content = path.read_bytes()
    files = PartFiles(root, [path])
    part = files.open(f"llm4teach://{path.relative_to(root)}")
    gate = threading.Barrier(4)

    def read(thread: int) -> bool:
        rng = np.random.default_rng(thread)
        for at in rng.integers(0, len(content) - 50, 200).tolist():
            part.seek(at)
            gate.wait()
            if part.read(50) != content[at : at + 50] or part.tell() != at + 50:
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(4)))
    part.seek(-4, 2)
    assert part.read() == content[-4:] == b"PAR1"
    part.seek(0)
    part.seek(4, 1)
    assert part.read(3) == content[4:7]
    part.close()


def test_only_parts_and_only_for_reading(root: Path) -> None:
    [first, second] = sorted(root.rglob("*.parquet"))
    files = PartFiles(root, [first])
    url = "llm4teach://kind=a/part-0.parquet"
    assert files.exists(url) and files.glob(url) == [url]
    assert files.info(url)["size"] == first.stat().st_size
    for mode in ("wb", "ab", "r+b"):
        with pytest.raises(PermissionError):
            files.open(url, mode)
    other = f"llm4teach://kind=a/{second.name}"
    assert not files.exists(other) and files.glob("llm4teach://kind=a/*") == []
    with pytest.raises(FileNotFoundError):
        files.open(other)
