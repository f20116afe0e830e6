"""Episodes that others recorded: Minari datasets, and Parquet or CSV logs with a map of columns."""

from llm4teach.datasets.importers.episode import Episode
from llm4teach.datasets.importers.read import read_episodes

__all__ = ["Episode", "read_episodes"]
