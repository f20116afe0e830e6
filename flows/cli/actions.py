"""What each sub-command does: settings in, one flow or one query, its result on stdout."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from llm4teach.flows.cli.compact_command import run_compact_command
from llm4teach.flows.cli.data import run_sql_command
from llm4teach.flows.cli.experiments import command_line, run_experiment_command
from llm4teach.flows.cli.parser import given_settings
from llm4teach.flows.cli.play import run_play_command
from llm4teach.flows.cli.service import SERVICE_ACTIONS
from llm4teach.flows.cli.teachers import run_teacher_command
from llm4teach.flows.cli.watch import run_watch_command
from llm4teach.flows.runtime.settings import ConfigError, Settings, load_settings

_FLOWS = {
    "teach": "teach",
    "collect": "collect_trajectories",
    "label": "label_states",
    "pretrain": "pretrain_student",
    "finetune": "finetune_student",
    "evaluate": "evaluate_student",
    "retrain": "retrain",
}


def run(arguments: argparse.Namespace) -> None:
    """Run the command that the arguments name."""
    settings = load_settings(given_settings(arguments), getattr(arguments, "config", None))
    if arguments.command in _FLOWS:
        _run_flow(arguments, settings)
        return
    others = {
        "compare": _compare,
        "experiment": run_experiment_command,
        "export": _export,
        "models": _models,
        "play": run_play_command,
        "report": _report,
        "sql": run_sql_command,
        "compact": run_compact_command,
        "tasks": _tasks,
        "teacher": run_teacher_command,
        "watch": run_watch_command,
        "teachers": _teachers,
        "prompts": _prompts,
        **SERVICE_ACTIONS,
    }
    others[arguments.command](arguments, settings)


def _run_flow(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_task, get_training_task
    from llm4teach.flows.cli.terminal import print_result
    from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment
    from llm4teach.flows.runtime.teacher_access import open_teacher

    if getattr(arguments, "dry_run", False):
        from llm4teach.flows.stages.label import dry_run

        for name, words in dry_run(settings).items():
            print(f"{name:<18} {words}")
        return
    # What is wrong with these is said before Prefect starts, which takes seconds.
    workspace = Workspace(settings.workspace)
    known = get_task if arguments.command == "evaluate" else get_training_task
    task = known(settings.task)
    open_teacher(settings.teacher, task.family).close()
    parameters = {name: getattr(settings, name) for name in arguments._command.settings}
    for name in ("from_run", "resume"):
        if run_id := getattr(arguments, name, None):
            workspace.existing_run(run_id)
            parameters[name] = run_id
    # Without a server to report to, a single stage need not wait for a temporary one.
    own_server = has_own_server()
    spread = settings.scale.runner != "none" and "scale" in arguments._command.settings
    as_flow = own_server or spread or arguments.command in ("teach", "retrain")
    if as_flow and not own_server and sys.stderr.isatty() and not arguments.quiet:
        print("starting a temporary Prefect server …", file=sys.stderr)
    prepare_environment(workspace.root)
    module = import_module(f"llm4teach.flows.{_FLOWS[arguments.command]}")
    flow = getattr(module, _FLOWS[arguments.command])
    print_result(flow(**parameters) if as_flow else flow.fn(**parameters))


def _compare(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_training_task
    from llm4teach.flows.runtime.prefect_env import prepare_environment
    from llm4teach.flows.runtime.teacher_access import open_teacher

    workspace = Workspace(settings.workspace)
    open_teacher(settings.teacher, get_training_task(settings.task).family).close()
    prepare_environment(workspace.root)

    from llm4teach.flows.experiments.run import compare

    seeds, jobs = arguments.seeds, arguments.jobs
    _, folder = compare(settings, seeds, jobs, arguments.methods, command_line())
    if arguments.format == "json":
        print((folder / "comparison.json").read_text(encoding="utf-8"), end="")
    else:
        print((folder / "comparison.md").read_text(encoding="utf-8"))
        print(f"files: {folder}/comparison.md, .json, .png, .svg, .html")


def _export(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_training_task
    from llm4teach.flows.stages.checkpoints import newest_student
    from llm4teach.flows.stages.export import export

    workspace = Workspace(settings.workspace)
    run_id = arguments.run or newest_student(workspace, get_training_task(settings.task))
    output = Path(arguments.output) if arguments.output else None
    print(*export(workspace, run_id, arguments.format, output), sep="\n")


def _models(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.cli import models
    from llm4teach.flows.cli.terminal import print_table

    workspace = Workspace(settings.workspace)
    if (arguments.action == "promote") != (arguments.run is not None):
        example = "llm4teach models promote RUN"
        raise ConfigError(f"promote, and nothing else, takes the run to promote: `{example}`")
    if arguments.action in ("list", "show"):
        listed = arguments.action == "list"
        rows = (
            models.list_models(workspace)
            if listed
            else models.show_models(workspace, settings.task)
        )
        print_table(rows)
        if not rows:
            print(f"no student was ever promoted in {workspace.root}")
        return
    if arguments.action == "promote":
        event = models.promote(workspace, arguments.run, arguments.reason)
    else:
        event = models.rollback(workspace, settings.task, arguments.reason)
    print(f"champion: {event.run_id} (before: {event.replaces or 'none'})")


def _report(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.datasets.workspace import DatasetError, Workspace

    workspace = Workspace(settings.workspace)
    run_id = arguments.run or next(reversed(workspace.run_ids()), None)
    if run_id is None:
        raise DatasetError(f"there are no runs in {workspace.root}; start with `llm4teach teach`")
    workspace.existing_run(run_id)

    from llm4teach.analysis.reports.run_report import write_report

    print(write_report(workspace, run_id))


def _tasks(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.envs.habitat.task import habitat_task_names
    from llm4teach.envs.registry import get_task, task_names
    from llm4teach.flows.cli.terminal import print_table

    rows: list[dict[str, Any]] = []
    for name in [*task_names(), *habitat_task_names()]:
        task = get_task(name)
        shape = " x ".join(map(str, task.observation_shape))
        rows.append(
            {
                "task": name,
                "family": task.family,
                "actions": len(task.action_names),
                "observation": shape,
                "steps at most": task.max_steps,
            }
        )
    print_table(rows)
    shifted = [name for name in task_names(shifted=True) if name not in task_names()]
    print(f"\nShifted variants, for `llm4teach evaluate` only: {', '.join(shifted)}.")
    print("Habitat's tasks need an interpreter of their own: make habitat-env (docs/HABITAT.md).")
    print("Also any MiniGrid or BabyAI environment by its gymnasium id: MiniGrid-FourRooms-v0, …")


def _teachers(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.flows.cli.terminal import print_table

    if arguments.fetch:
        from llm4teach.teacher_labeling.backends.llama_cpp.weights import fetch_weights

        print(fetch_weights(arguments.fetch.removeprefix("embedded/")))
        return
    from llm4teach.teacher_labeling.factory import list_teachers

    choices = list_teachers()
    ready = {True: "ready", False: "not here yet"}
    print_table(
        [
            {"teacher": choice.spec, "": ready[choice.ready], "what it is": choice.description}
            for choice in choices
        ]
    )
    for choice in choices:
        if choice.hint:
            print(f"\n{choice.spec}: {choice.hint}")


def _prompts(arguments: argparse.Namespace, settings: Settings) -> None:
    from llm4teach.flows.cli import prompt_tools

    wanted = {"list": 0, "show": 1, "diff": 2, "test": 0}[arguments.action]
    if len(arguments.names) != wanted:
        raise ConfigError(
            f"prompts {arguments.action} takes {wanted} name(s), not {len(arguments.names)} "
            "(see `llm4teach prompts --help`)"
        )
    if arguments.action == "list":
        prompt_tools.list_prompts()
    elif arguments.action == "show":
        prompt_tools.show_prompt(*arguments.names)
    elif arguments.action == "diff":
        prompt_tools.diff_prompts(*arguments.names)
    else:
        prompt_tools.check_prompts(Path(arguments.golden), arguments.update)
