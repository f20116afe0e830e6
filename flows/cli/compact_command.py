"""The command `llm4teach compact`: many small Parquet parts rewritten into few."""

from __future__ import annotations

import argparse

from llm4teach.flows.cli.parser import Parser
from llm4teach.flows.runtime.settings import Settings

GRACE_S = 3600


def add_compact_arguments(compact: Parser) -> None:
    """Add the arguments that are no settings."""
    compact.add_argument(
        "--grace",
        type=_seconds,
        default=GRACE_S,
        metavar="SECONDS",
        help="keep replaced files so long for who is reading them; the next compaction then "
        f"deletes them (default: {GRACE_S}; 0: delete now, if nothing is reading)",
    )


def _seconds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds, 0 or more")
    return int(text)


def run_compact_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Compact the workspace and print what was done in each folder."""
    from llm4teach.datasets.compaction import compact_workspace
    from llm4teach.datasets.storage.paths import below
    from llm4teach.datasets.workspace import DatasetError, Workspace

    workspace = Workspace(settings.workspace)
    if not workspace.exists:
        raise DatasetError(f"there is no workspace {workspace.root}; give an earlier run's folder")
    found = False
    for done in compact_workspace(workspace, arguments.grace):
        found = True
        print(
            f"{below(done.folder, workspace.root)}: {done.parts_before} parts, now "
            f"{done.parts_after}; {done.bytes_before / 1e6:.2f} MB, now "
            f"{done.bytes_after / 1e6:.2f} MB; {done.deleted} replaced files deleted"
        )
    if not found:
        print("nothing to compact")
