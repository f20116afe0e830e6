"""The cache of tables: the latest stay, the oldest make room, nothing is read twice in between."""

import pyarrow as pa

from llm4teach.datasets.storage.table_cache import TableCache


def test_the_tables_used_last_stay() -> None:
    reads: list[int] = []

    def table(i: int) -> pa.Table:
        reads.append(i)
        return pa.table({"x": pa.array([i] * 100, pa.int64())})  # 800 bytes

    cache = TableCache(max_bytes=2_000)
    for i in (1, 2, 1, 3, 1, 2):
        kept = cache.get(i, lambda i=i: table(i))
        assert kept.column("x")[0].as_py() == i
    assert reads == [1, 2, 3, 2], "2 had to go when 3 came, as 1 was used later"
    large = TableCache(max_bytes=10)
    assert len(large.get(1, lambda: table(1))) == 100, "one table is kept, however large"
