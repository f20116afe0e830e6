"""Progress on stderr: a bar on a terminal, one line a finished stage everywhere; and in the UI.

``LLM4TEACH_QUIET=1``, which the flag ``--quiet`` sets, silences both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from llm4teach.flows.runtime.artifacts import ProgressArtifact

_silent = ContextVar("silent", default=False)


@contextmanager
def silenced() -> Iterator[None]:
    """Let the stages inside say nothing, where whoever runs them shows a progress of its own."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def is_quiet() -> bool:
    """Whether nothing is to be said."""
    return bool(os.environ.get("LLM4TEACH_QUIET")) or _silent.get()


def say(line: str) -> None:
    """Tell what a person should know while a stage goes on."""
    if not is_quiet():
        print(line, file=sys.stderr, flush=True)


class Stage:
    """Handed to the stage that is running."""

    def __init__(self, progress: Progress, title: str, total: float, unit: str) -> None:
        self._progress = progress
        self._artifact = None if _silent.get() else ProgressArtifact(title, unit)
        self._task = progress.add_task(title, total=total, detail="")
        self.summary = ""  # printed when the stage is finished

    def advance(self, amount: float = 1) -> None:
        """Move the bar."""
        self._progress.advance(self._task, amount)
        self.tell()

    def detail(self, text: str) -> None:
        """Say more beside the bar."""
        self._progress.update(self._task, detail=text)

    def at(self, done: float, total: float | None = None) -> None:
        """Set the bar."""
        self._progress.update(self._task, completed=done, total=total)
        self.tell()

    def tell(self) -> None:
        """Let the server's page know, if there is one."""
        if self._artifact is not None:
            task = self._progress.tasks[0]
            self._artifact.show(task.completed, task.total, task.fields["detail"])

    def finish(self) -> None:
        """Likewise, that the stage is done."""
        if self._artifact is not None:
            self._artifact.finish(self.summary)


@contextmanager
def stage(title: str, total: float, unit: str = "") -> Iterator[Stage]:
    """Show a stage's progress; ``summary``, set inside, becomes its one lasting line."""
    console = Console(file=sys.stderr, soft_wrap=True, highlight=False, quiet=is_quiet())
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    began = time.monotonic()
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        running = Stage(progress, title, total, unit)
        running.tell()
        yield running
        running.finish()
    seconds = time.monotonic() - began
    console.print(f"{title:<10} {running.summary}  [dim]{seconds:.1f} s[/dim]")
    with suppress(MissingContextError):  # not inside a flow
        get_run_logger().info("%s: %s (%.1f s)", title, running.summary, seconds)
