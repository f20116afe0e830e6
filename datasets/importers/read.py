"""Reading recorded episodes, whatever the source is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from llm4teach.datasets.importers.episode import Episode
from llm4teach.datasets.importers.log_episodes import episodes_in
from llm4teach.datasets.importers.log_files import is_log, read_log
from llm4teach.datasets.importers.minari_datasets import minari_episodes
from llm4teach.errors import DatasetError


def read_episodes(source: str, columns: Mapping[str, str]) -> Iterator[Episode]:
    """Read a CSV or Parquet log, or a Minari dataset by its folder or local id.

    Args:
        source: where it is. A log is a ``.csv`` or ``.tsv`` file, compressed or not, a ``.parquet``
            file, or a folder of Parquet files, whose names may hold columns (``episode_id=3/``).
        columns: a log's name for each column that has another name here.

    Raises:
        DatasetError: it is missing, damaged or empty, lacks columns, or a row belongs to no
            episode; the message says which. What is wrong with single episodes stands in their
            ``problems``.
    """
    path = Path(source)
    if is_log(path):
        return episodes_in(read_log(path), path, columns)
    if columns:
        raise DatasetError(f"a column map is for .csv and .parquet files; {source} is neither")
    return minari_episodes(source)
