"""Questions about what was stored: SQL views, statistics, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm4teach.analysis.sql.query import connect as connect

__all__ = ["connect"]


def __getattr__(name: str) -> Any:
    """Import `connect` when it is first used: DuckDB and Arrow take a third of a second."""
    if name == "connect":
        from llm4teach.analysis.sql.query import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
