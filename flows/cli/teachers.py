"""The command `llm4teach teacher`: what teachers say, and what it is worth, before any training."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable

from llm4teach.flows.cli.parser import Parser, positive
from llm4teach.flows.runtime.settings import ConfigError, Settings

FQE_STEPS = 2000
ACTIONS: dict[str, Callable[[argparse.Namespace, Settings], None]] = {}  # filled below


def add_teacher_arguments(teacher: Parser) -> None:
    """Add the arguments that are no settings."""
    teacher.add_argument(
        "action",
        choices=tuple(ACTIONS),
        help="check: ask one teacher three states; report: write a page that judges every teacher "
        "by its stored advice",
    )
    teacher.add_argument(
        "--replies",
        action="store_true",
        help="check: also print what the model said, word for word",
    )
    teacher.add_argument(
        "--fqe-steps",
        type=positive,
        default=FQE_STEPS,
        metavar="N",
        help=f"report: gradient steps of fitted Q evaluation, each teacher (default: {FQE_STEPS})",
    )
    teacher.add_argument(
        "--no-fqe", action="store_true", help="report: leave fitted Q evaluation out"
    )
    teacher.add_argument("--quiet", action="store_true", help="print nothing but the result")


def run_teacher_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Do what was asked of the teachers."""
    if arguments.action not in ACTIONS:
        raise ConfigError(f"unknown action {arguments.action!r}; known are: {', '.join(ACTIONS)}")
    ACTIONS[arguments.action](arguments, settings)


def _report(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_task

    workspace, task = Workspace(settings.workspace), get_task(settings.task)

    from llm4teach.analysis.teachers.diagnostics import diagnose
    from llm4teach.analysis.teachers.report import write_teacher_report

    def say(what: str) -> None:
        if not arguments.quiet:
            print(f"judging: {what}", file=sys.stderr)

    found = diagnose(
        workspace,
        task,
        settings.evaluate,
        fqe_steps=0 if arguments.no_fqe else arguments.fqe_steps,
        seed=settings.seed,
        on_step=say,
    )
    flags = ["--task", task.name, "--workspace", workspace.name, "--seed", str(settings.seed)]
    flags += ["--evaluate.episodes", str(settings.evaluate.episodes)]
    flags += ["--no-fqe"] if arguments.no_fqe else ["--fqe-steps", str(arguments.fqe_steps)]
    print(
        write_teacher_report(
            workspace, found, shlex.join(["llm4teach", "teacher", "report", *flags])
        )
    )


def _check(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.flows.cli.teacher_check import check_teacher

    check_teacher(settings, arguments.replies)


ACTIONS |= {"check": _check, "report": _report}
