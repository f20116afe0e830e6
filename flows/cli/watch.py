"""The command `llm4teach watch`: a run's curves, live in the terminal, until it is complete."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from llm4teach.flows.cli.parser import Parser
from llm4teach.flows.runtime.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from llm4teach.flows.cli.watch_core import Snapshot

EVERY_S = 2.0
_ROWS_AROUND = 3  # lines that are not the curves'


def add_watch_arguments(parser: Parser) -> None:
    """Add the arguments that are no settings."""
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="run to watch (default: the newest of the workspace)"
    )
    parser.add_argument("--once", action="store_true", help="show it as it is now, and end")


def run_watch_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show the run until it is complete."""
    from llm4teach.datasets.workspace import DatasetError, Workspace
    from llm4teach.flows.cli.watch_core import snapshot

    workspace = Workspace(settings.workspace)
    run_id = arguments.run or next(reversed(workspace.run_ids()), None)
    if run_id is None:
        raise DatasetError(f"there are no runs in {workspace.root}; start with `llm4teach teach`")
    folder = workspace.existing_run(run_id)
    if sys.stdout.isatty():
        _on_screen(run_id, lambda: snapshot(folder), arguments.once)
        return
    before = ""
    while True:
        now = snapshot(folder)
        if now.line != before:
            print(f"{run_id}: {now.line}", flush=True)
            before = now.line
        if now.complete or arguments.once:
            print(f"{run_id}: {_state(now)}")
            return
        time.sleep(EVERY_S)


def _state(now: Snapshot) -> str:
    return "complete" if now.complete else "not complete"


def _on_screen(run_id: str, read: Callable[[], Snapshot], once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            now = read()
            live.update(page(run_id, now, console.width, console.height), refresh=True)
            if now.complete or once:
                return
            time.sleep(EVERY_S)


def page(run_id: str, now: Snapshot, width: int, height: int) -> RenderableType:
    """Return the curves, two beside each other where there is room, for a terminal of this size."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from llm4teach.flows.cli.watch_core import CURVES

    shown = [name for name in CURVES if now.curves.get(name)]
    columns = 1 if len(shown) == 1 or width < 80 else 2
    rows = max(1, -(-len(shown) // columns))
    high = max(7, min((height - _ROWS_AROUND) // rows, 16))
    charts = [_chart(name, *now.curves[name], width // columns - 1, high) for name in shown]
    grid = Table.grid(padding=(0, 1, 0, 0))
    for start in range(0, len(charts), columns):
        grid.add_row(*charts[start : start + columns])
    return Group(Text(f"{run_id}: {_state(now)}", "bold"), grid, Text(now.line, "dim"))


def _chart(name: str, steps: list[float], values: list[float], width: int, height: int) -> Text:
    plotext: Any = import_module("plotext")  # which has no types
    from rich.text import Text

    from llm4teach.flows.cli.watch_core import CURVES

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.title(CURVES[name])
    percent = name == "success_rate"
    plotext.plot(steps, [100 * v for v in values] if percent else values, marker="braille")
    if percent:
        plotext.ylim(0, 100)
    return Text.from_ansi(plotext.build().rstrip("\n"))
