"""The sub-commands that run something for others: services, deployments, and what they need."""

from __future__ import annotations

import argparse

from llm4teach.flows.arguments import Command, Parser
from llm4teach.flows.config import Settings
from llm4teach.flows.import_arguments import add_import_arguments, column_map
from llm4teach.flows.serve_student import add_serve_student_arguments

SERVICE_COMMANDS = (
    Command(
        "import",
        "Take recorded episodes, Minari's or a log's, as trajectories to label and train on.",
        (
            "llm4teach import log.csv --task SimpleDoorKey",
            "llm4teach import log.parquet --columns action=act episode_id=ep reward=r",
            "llm4teach import ~/.minari/datasets/doorkey/human-v0 --skip",
        ),
        ("task", "workspace"),
    ),
    Command(
        "serve-student",
        "Answer over HTTP: observations in, action probabilities out; no LLM, no torch.",
        (
            "llm4teach serve-student",
            "llm4teach serve-student student.onnx --port 9000",
            "curl -s http://127.0.0.1:8080/health",
        ),
        ("task", "workspace"),
    ),
)


def add_service_arguments(parsers: dict[str, Parser]) -> None:
    """Add the arguments that are no settings."""
    add_import_arguments(parsers["import"])
    add_serve_student_arguments(parsers["serve-student"])


def run_service_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run one of `SERVICE_COMMANDS`."""
    chosen = {"import": _import, "serve-student": _serve_student}
    chosen[arguments.command](arguments, settings)


def _import(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.import_command import import_episodes
    from llm4teach.flows.output import print_result

    columns = column_map(arguments.columns)
    place = Workspace(settings.workspace)
    taken = import_episodes(place, settings.task, arguments.source, columns, arguments.skip)
    print_result(taken)


def _serve_student(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.serve_student import exported, serve_student

    path = exported(Workspace(settings.workspace), settings.task, arguments.student)
    serve_student(path, arguments.host, arguments.port, arguments.max_batch)
