"""The commands that compare methods and show results: compare, experiment, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from llm4teach.errors import ConfigError
from llm4teach.flows.cli.parser import Argument, QuietCommand, RunArgument, SettingsCommand
from llm4teach.flows.runtime.settings import Settings

Name = Literal[
    "ppo",
    "hrl",
    "bc",
    "discrete-bc",
    "discrete-cql",
    "pretrain",
    "ppo-kl",
    "paper-no-llm",
    "paper",
    "no-llm",
    "teach",
]  # of `baselines.VARIANTS`, which takes torch to import

Output = Annotated[str | None, Argument(flags=("-o", "--output"), metavar="FOLDER")]
_COPIED = "also copy the figure, table, CSV and page to this folder"
_TRIAL = (
    *("label.share", "label.order", "live.ask", "live.questions_per_1000_steps"),
    *("live.min_entropy", "student", "collect", "pretrain", "finetune"),
    *("evaluate", "validation"),
)


class Compare(QuietCommand):
    """Compare the method with controls without an LLM and with baselines: one table, one figure."""

    command = "compare"
    examples = (
        "llm4teach compare --seeds 5",
        "llm4teach compare --teacher recorded/vicuna-33b --finetune.steps 8192 --jobs 2",
        "llm4teach compare --methods teach no-llm ppo --seeds 3 --format json > comparison.json",
        "llm4teach compare --jobs 2 -o docs/results/mine",
    )
    uses = ("task", "workspace", "seed", "teacher", *_TRIAL)

    seeds: PositiveInt = Field(5, description="number of seeds, from --seed on")
    jobs: PositiveInt = Field(1, description="processes to train in")
    methods: list[Name] = Field(
        [],
        description="only these: plain PPO; hierarchical RL (PPO over options, no LLM); behavior "
        "cloning, by distillation or d3rlpy's DiscreteBC; d3rlpy's DiscreteCQL; pretraining only; "
        "PPO + KL alone; the paper's method (no reweighting), without an LLM or with it; the whole "
        "method, likewise",
    )
    output: Output = Field(None, description=_COPIED)
    format: Literal["markdown", "json"] = Field("markdown", description="format of the result")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.envs.registry import get_training_task
        from llm4teach.flows.runtime.prefect_env import prepare_environment
        from llm4teach.flows.runtime.teacher_access import resolve_teacher
        from llm4teach.teacher_labeling.factory import teacher_info

        workspace = Workspace(settings.workspace)
        settings = settings.model_copy(update={"teacher": resolve_teacher(settings.teacher)})
        teacher_info(settings.teacher, get_training_task(settings.task).family)
        prepare_environment(workspace.root)

        from llm4teach.flows.experiments.run import compare

        _, folder = compare(
            settings, self.seeds, self.jobs, self.methods, command_line(), self.output
        )
        if self.format == "json":
            print((folder / "comparison.json").read_text(encoding="utf-8"), end="")
        else:
            print((folder / "comparison.md").read_text(encoding="utf-8"))
            print(f"files: {folder}/comparison.md, .csv, .json, .png, .svg, .html")


class Experiment(QuietCommand):
    """Answer one of the paper's questions: trials by seed and variant, one figure, one table."""

    command = "experiment"
    examples = (
        "llm4teach experiment --list",
        "llm4teach experiment ablation",
        "llm4teach experiment schedules --task LavaDoorKey --seeds 5 --budget 100000 --jobs 2",
        "llm4teach experiment teacher-noise --task SimpleDoorKey ColoredDoorKey",
    )
    uses = ("workspace", "seed", "teacher", *_TRIAL)

    name: Annotated[str | None, Argument(metavar="NAME", is_positional=True)] = Field(
        None, description="which experiment, see --list"
    )
    list_all: Annotated[bool, Argument(flags=("--list",))] = Field(
        False, description="list the experiments and what each answers"
    )
    task: list[str] = Field([], description="tasks (default: the experiment's own)")
    seeds: PositiveInt | None = Field(
        None, description="number of seeds, from --seed on (default: the experiment's own)"
    )
    budget: Annotated[PositiveInt | None, Argument(metavar="STEPS")] = Field(
        None,
        description="env steps of each student, offline ones included (default: the experiment's "
        "own)",
    )
    jobs: PositiveInt = Field(1, description="processes to train in")
    output: Output = Field(None, description=_COPIED)

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.envs.registry import get_training_task
        from llm4teach.flows.experiments.catalog import EXPERIMENTS, find_experiment
        from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment

        if self.list_all:
            self._print_list()
            return
        if self.name is None:
            names = ", ".join(one.name for one in EXPERIMENTS)
            raise ConfigError(f"choose one of {names} (`--list` explains them)")
        chosen = find_experiment(self.name)
        for task in self.task:
            get_training_task(task)
        own_server = has_own_server()
        prepare_environment(Workspace(settings.workspace).root)

        from llm4teach.flows.experiment import experiment

        result = (experiment if own_server else experiment.fn)(
            name=chosen.name,
            settings=dict(flags),
            tasks=self.task or None,
            seeds=self.seeds,
            budget=self.budget,
            jobs=self.jobs,
            output=self.output,
            command=command_line(),
            config=str(self.config) if self.config else None,
        )
        print(result["table"])
        print(f"files: {result['folder']}/comparison.md, .csv, .json, .png, .svg, .html")

    def _print_list(self) -> None:
        from llm4teach.flows.cli.tables import print_table
        from llm4teach.flows.experiments.catalog import EXPERIMENTS

        print_table(
            [
                {
                    "experiment": one.name,
                    "variants": len(one.variants),
                    "seeds": one.seeds,
                    "tasks": ", ".join(one.tasks),
                    "what it answers": one.question,
                }
                for one in EXPERIMENTS
            ]
        )


class Report(SettingsCommand):
    """Write a run's report, an HTML file, and print its path."""

    command = "report"
    examples = ("llm4teach report", "llm4teach report teach-20261120-101500-a1b2")
    uses = ("workspace",)

    run_id: RunArgument = Field(None, description="run to report (default: the newest)")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.errors import DatasetError

        workspace = Workspace(settings.workspace)
        run_id = self.run_id or workspace.newest_run()
        if run_id is None:
            raise DatasetError(
                f"there are no runs in {workspace.root}; start with `llm4teach teach`"
            )
        workspace.existing_run(run_id)

        from llm4teach.analysis.reports.run_report import write_report

        print(write_report(workspace, run_id))


_IRRELEVANT = {"--workspace": 1, "--jobs": 1, "--output": 1, "-o": 1, "--format": 1, "--quiet": 0}


def command_line() -> str:
    """Return the running command, less what its results do not depend on."""
    words, kept = iter(["llm4teach", *sys.argv[1:]]), []
    for word in words:
        flag, has_value, _ = word.partition("=")
        if flag not in _IRRELEVANT:
            kept.append(word)
        elif not has_value:
            for _ in range(_IRRELEVANT[flag]):
                next(words, None)
    return shlex.join(kept)
