"""Results on stdout: tables for people, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records of one shape, numbers to the right."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, value in rows[0].items():
        table.add_column(Text(name), justify="right" if _is_number(value) else "left")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    Console().print(table)


def print_result(result: Mapping[str, Any]) -> None:
    """Print what a flow returned: its evaluation, if any, and then the rest line by line."""
    if table := result.get("table"):
        print_table([_evaluation_row(row) for row in table])
        print()
    rest = {name: value for name, value in result.items() if name != "table" and value is not None}
    for name, value in rest.items():
        print(f"{name.replace('_', ' ')}: {_cell(value)}")


def _evaluation_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation with its confidence interval beside the rate."""
    low, high = row["success_low"], row["success_high"]
    return {
        "policy": row["policy"],
        "mode": row["mode"],
        "episodes": row["episodes"],
        "success": f"{row['success_rate']:.1%}",
        "95% interval": f"{low:.1%} to {high:.1%}",
        "return": row["mean_return"],
        "length": f"{row['mean_length']:.1f} steps",
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
