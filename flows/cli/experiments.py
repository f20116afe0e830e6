"""The command `llm4teach experiment`: its arguments, and the flow that it runs."""

from __future__ import annotations

import argparse
import shlex
import sys

from llm4teach.flows.cli.parser import Parser, given_settings, positive
from llm4teach.flows.runtime.settings import ConfigError, Settings


def add_experiment_arguments(parser: Parser) -> None:
    """Add the arguments that are no settings."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="which experiment; see --list")
    parser.add_argument("--list", action="store_true", help="say what each experiment answers")
    parser.add_argument(
        "--task", nargs="+", metavar="TASK", help="tasks (default: the experiment's own)"
    )
    parser.add_argument(
        "--seeds", type=positive, metavar="N", help="how many, from --seed on (default: its own)"
    )
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="STEPS",
        help="env steps of each student, offline ones included (default: its own)",
    )
    parser.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="processes to train in (default: 1)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", help="copy figure, table and page there, too"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but the result")


def run_experiment_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """List the experiments, or run one."""
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_training_task
    from llm4teach.flows.cli.terminal import print_table
    from llm4teach.flows.experiments.catalog import EXPERIMENTS
    from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment

    names = [one.name for one in EXPERIMENTS]
    if not arguments.list and arguments.name not in names:
        wrong = f"there is no experiment {arguments.name!r}; " if arguments.name else ""
        choices = f"choose one of {', '.join(names)} (`--list` tells more)"
        raise ConfigError(f"{wrong}{choices}")
    if arguments.list:
        rows = [
            {
                "experiment": one.name,
                "variants": len(one.variants),
                "seeds": one.seeds,
                "tasks": ", ".join(one.tasks),
                "what it answers": one.question,
            }
            for one in EXPERIMENTS
        ]
        print_table(rows)
        return
    for task in arguments.task or ():
        get_training_task(task)
    own_server = has_own_server()
    prepare_environment(Workspace(settings.workspace).root)

    from llm4teach.flows.experiment import experiment

    found = (experiment if own_server else experiment.fn)(
        name=arguments.name,
        settings=given_settings(arguments),
        tasks=arguments.task,
        seeds=arguments.seeds,
        budget=arguments.budget,
        jobs=arguments.jobs,
        output=arguments.output,
        command=command_line(),
        config=str(arguments.config) if arguments.config else None,
    )
    print(found["table"])
    print(f"files: {found['folder']}/comparison.md, .json, .png, .svg, .html")


_IRRELEVANT = {"--workspace": 1, "--jobs": 1, "--output": 1, "-o": 1, "--format": 1, "--quiet": 0}


def command_line() -> str:
    """Return the running command, less what its findings do not depend on."""
    words, kept = iter(["llm4teach", *sys.argv[1:]]), []
    for word in words:
        flag, has_value, _ = word.partition("=")
        if flag not in _IRRELEVANT:
            kept.append(word)
        elif not has_value:
            for _ in range(_IRRELEVANT[flag]):
                next(words, None)
    return shlex.join(kept)
