"""Results on stdout: tables as wide as the terminal, and what a flow returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

MIN_WIDTH = 40  # characters of a table, however narrow the terminal is
MAIN_ROWS = (  # of an evaluation, where the report has them all
    *(("student", "sampled"), ("student", "greedy"), ("teacher", "sampled")),
    *(("no-llm", "sampled"), ("random", "sampled")),
)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records of one shape, numbers to the right."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, value in rows[0].items():
        justify: JustifyMethod = "right" if _is_number(value) else "left"
        table.add_column(Text(name), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value), overflow="fold") for value in row.values()))
    stdout, text = Console(), StringIO()  # written by print: rich exits if nobody reads it
    width = max(stdout.width or 80, MIN_WIDTH)
    Console(file=text, width=width, force_terminal=stdout.is_terminal).print(table)
    print(text.getvalue(), end="")


def print_result(result: Mapping[str, Any]) -> None:
    """Print what a flow returned: its evaluation, if any, its cost, and its run."""
    if table := result.get("table"):
        by_player = {(row["policy"], row["mode"]): row for row in table}
        main = [by_player[player] for player in MAIN_ROWS if player in by_player]
        print_table([_evaluation_row(row) for row in (main if "report" in result else table)])
        print()
    steps = result.get("collect_steps", 0) + result.get("finetune_steps", 0)
    tokens = result.get("prompt_tokens", 0) + result.get("completion_tokens", 0)
    used = []
    if steps:
        used.append(f"{steps:,} env steps")
    if "questions" in result:
        asked = f"{result['questions']} questions to {result['teacher_id']}"
        used.append(f"{asked} ({tokens:,} tokens, {result.get('teacher_s', 0):.0f} s)")
    if "student_bytes" in result:
        used.append(f"a student of {result['student_bytes'] / 1000:.0f} kB")
    if used:
        print(", ".join(used))
    if result.get("stopped_by"):
        print(f"stopped: {result['stopped_by']}; {result['states_left']} states are left")
    if invalid := result.get("invalid_states", 0) + result.get("refused_states", 0):
        replies, useless = result.get("replies", 0), result.get("invalid_replies", 0)
        print(
            f"{invalid} states have no valid advice; {useless} of {replies} replies were invalid, "
            f"{result.get('truncated_replies', 0)} reached max_tokens"
        )
    print(f"run: {result['run_id']}")
    if "decision" in result:
        print(f"{result['decision']}: {result['decision_reason']}")
    if "report" in result:
        print(f"report: {result['report']}")


def _evaluation_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an evaluation with its confidence interval beside the rate."""
    low, high = row["success_low"], row["success_high"]
    return {
        "policy": row["policy"],
        "mode": row["mode"],
        "episodes": row["episodes"],
        "success": f"{row['success_rate']:.1%}",
        "95% interval": f"{low:.1%} to {high:.1%}",
        "return": f"{row['mean_return']:.3f}",
        "length": f"{row['mean_length']:.1f} steps",
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
