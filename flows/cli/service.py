"""The sub-commands that run something for others: services, deployments, and what they need."""

from __future__ import annotations

import argparse

from llm4teach.flows.cli.import_arguments import add_import_arguments, column_map
from llm4teach.flows.cli.parser import Command, Parser, positive
from llm4teach.flows.cli.serve_student import add_serve_student_arguments
from llm4teach.flows.runtime.settings import ConfigError, Settings

_DEPLOYED = tuple(name for name in Settings.model_fields if name != "validation")
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
        "up",
        "Start a Prefect server, a worker and the deployments on this machine.",
        ("llm4teach up", 'llm4teach up --service.retrain-cron "0 3 * * 0" --port 4300'),
        _DEPLOYED,
    ),
    Command("down", "Stop what `llm4teach up` has started.", ("llm4teach down",), ("workspace",)),
    Command(
        "serve",
        "Run every deployment from this one process; needs a Prefect server.",
        ("llm4teach serve", "llm4teach serve --service.retrain-every-s 86400"),
        _DEPLOYED,
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
    parsers["up"].add_argument(
        "--port", type=positive, default=4200, help="of the server (default: %(default)s)"
    )


def _import(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.cli.terminal import print_result
    from llm4teach.flows.stages.import_episodes import import_episodes

    columns = column_map(arguments.columns)
    place = Workspace(settings.workspace)
    taken = import_episodes(place, settings.task, arguments.source, columns, arguments.skip)
    print_result(taken)


def _serve_student(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.cli.serve_student import exported, serve_student

    path = exported(Workspace(settings.workspace), settings.task, arguments.student)
    serve_student(path, arguments.host, arguments.port, arguments.max_batch)


def _up(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.runtime.prefect_env import prepare_environment

    prepare_environment(Workspace(settings.workspace).root)

    from llm4teach.flows.service.deployments import schedule_of
    from llm4teach.flows.service.local_server import up

    for name in ("retrain", "check-champion"):
        schedule_of(name, settings.service)  # what is wrong with it is said before anything starts
    told = up(settings, arguments.port)
    print(f"UI: {told['ui']}\nlogs: {told['logs']}")
    print(f"here: export PREFECT_API_URL={told['api']}")
    print("then: prefect deployment run label-states   (llm4teach down ends all of it)")


def _down(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.flows.service.local_server import down

    print("stopped:", ", ".join(down(settings)) or "nothing, it was gone already")


def _serve(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment

    if not has_own_server():
        hint = "llm4teach up starts one; another's address goes into PREFECT_API_URL"
        raise ConfigError(f"there is no Prefect server to serve for: {hint}")
    prepare_environment(Workspace(settings.workspace).root)

    from llm4teach.flows.service.deployments import serve_all

    serve_all(settings)


SERVICE_ACTIONS = {  # of `SERVICE_COMMANDS`, by name
    "import": _import,
    "up": _up,
    "down": _down,
    "serve": _serve,
    "serve-student": _serve_student,
}
