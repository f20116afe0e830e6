"""The student's networks side by side: success at the same env steps, and CPU-seconds.

    python benchmarks/training/networks.py --seeds 5 --jobs 2 --workspace networks
    python benchmarks/training/networks.py --task SimpleDoorKey ColoredDoorKey --csv networks.csv

Trains the README's students with the encoder of cells, with the convolutions of version 0.1 as they
were trained then, and, with cells, under the teacher `none`, which knows nothing. Success is that
of 500 development episodes, sampled; nothing is trained again that the workspace has.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from statistics import fmean
from typing import Any

VICUNA, QWEN = "recorded/vicuna-33b", "recorded/qwen2.5-coder-1.5b"
SHORT = {"n_envs": 16, "rollout_length": 32, "minibatches": 4, "learning_rate": 1e-3}
OFFLINE: dict[str, Any] = {"steps": 0}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {  # teacher, and settings as in the README
    "SimpleDoorKey": (VICUNA, {"finetune": {**SHORT, "steps": 8_192}}),
    "ColoredDoorKey": (
        VICUNA,
        {"collect": {"steps": 8_000}, "finetune": {**SHORT, "steps": 24_576}},
    ),
    "LavaDoorKey": (VICUNA, {"finetune": {**SHORT, "steps": 94_208}}),
    "DivergedDoorKey": (
        VICUNA,
        {
            "collect": {"steps": 30_000, "rounds": 2},
            "pretrain": {"epochs": 6},
            "finetune": {
                "steps": 180_224,
                "kl_decay": 0.15,
                "kl_off": 0.25,
                "learning_rate": 2e-3,
            },
        },
    ),
    "MiniGrid-MultiRoom-N4-S5-v0-parsed": (
        QWEN,
        {
            "collect": {"steps": 12_000, "rounds": 2},
            "pretrain": {"epochs": 8},
            "finetune": OFFLINE,
        },
    ),
    "MiniGrid-LockedRoom-v0-parsed": (
        QWEN,
        {
            "collect": {"steps": 24_000, "rounds": 2},
            "pretrain": {"epochs": 8},
            "finetune": OFFLINE,
        },
    ),
    "HabitatNavPick": (
        "recorded/handwritten-nav-pick",
        {
            "collect": {"steps": 12_000, "rounds": 2, "n_envs": 32},
            "pretrain": {"epochs": 5},
            "finetune": {
                "steps": 49_152,
                "n_envs": 64,
                "rollout_length": 32,
                "minibatches": 8,
                "learning_rate": 1e-3,
                "entropy_coef": 0.02,
                "kl_decay": 0.1,
                "kl_off": 0.15,
            },
        },
    ),
}
CELLS, EARLIER, CONTROL = "cells", "convolutions", "cells, no LLM"
CHANGES: dict[str, dict[str, Any]] = {
    CELLS: {"student": {"encoder": "cells"}},
    EARLIER: {"student": {"encoder": "convolutions"}, "pretrain": {"weight_decay": 0.0}},
    CONTROL: {"student": {"encoder": "cells"}, "teacher": {"teacher": "none"}},
}
EARLIER_RATE = {"DivergedDoorKey": 5e-4}  # version 0.1's, where today's differs
HEADINGS = ("task", "env steps", "network", "success [95%]", "worst", "CPU s", "CPU s to 95%")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes to train in")
    parser.add_argument("--workspace", default="networks")
    parser.add_argument("--variants", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--csv", type=Path, help="also write a row per task, network and seed")
    arguments = parser.parse_args()
    from llm4teach.analysis.statistics import bootstrap_mean_interval, mean_difference
    from llm4teach.flows.runtime.prefect_env import prepare_environment

    prepare_environment(Path(arguments.workspace))
    measured = {task: _measure(task, arguments) for task in arguments.task}
    print("| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS))
    for task, methods in measured.items():
        for label, method in methods.items():
            low, high = bootstrap_mean_interval(method.sampled.per_seed)
            to = method.steps_to[-1].cpu_s
            cells = [task, f"{method.env_steps:,.0f}", label]
            cells += [f"{fmean(method.sampled.per_seed):.1%} [{low:.1%}, {high:.1%}]"]
            cells += [f"{method.sampled.worst:.1%}", f"{method.train_cpu_s:,.1f}"]
            print("| " + " | ".join([*cells, "–" if to is None else f"{to:,.1f}"]) + " |")
    print(
        "\nMean over the seeds with the bootstrap's interval; CPU-seconds: medians of training.\n"
    )
    if {CELLS, EARLIER} <= set(arguments.variants) and arguments.seeds > 1:
        rates = {
            label: [methods[label].sampled.per_seed for methods in measured.values()]
            for label in (CELLS, EARLIER)
        }
        for task, ours, theirs in zip(measured, rates[CELLS], rates[EARLIER], strict=True):
            print(f"- {task}: {_points(*mean_difference([ours], [theirs]))}")
        print(f"- mean over the tasks: {_points(*mean_difference(rates[CELLS], rates[EARLIER]))}")
        print(f"\n{CELLS} less {EARLIER}, in points, with Welch's 95% interval over the seeds.")
    if arguments.csv:
        _write(arguments.csv, measured)


def _measure(task: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train all variants on a task; return what each comes to."""
    from llm4teach.analysis.comparisons.results import method_result, read_seed
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.flows.experiments.scheduler import run_trials
    from llm4teach.flows.experiments.spec import Variant
    from llm4teach.flows.runtime.settings import load_settings, merge

    teacher, changes = TASKS[task]
    base: dict[str, Any] = {
        "task": task,
        "workspace": arguments.workspace,
        "teacher": {"teacher": teacher},
        "evaluate": {"seeds": "development"},
    }
    settings = load_settings({}, defaults=merge(base, changes))
    workspace = Workspace(settings.workspace)
    methods = {}
    for label in arguments.variants:
        own = CHANGES[label]
        if label == EARLIER and task in EARLIER_RATE:
            own = merge(own, {"finetune": {"learning_rate": EARLIER_RATE[task]}})
        variant = Variant(label, changes=own)
        trials = [variant.trial(settings, task, seed) for seed in range(arguments.seeds)]
        runs = run_trials(f"{task}, {label}", trials, workspace, arguments.jobs)
        methods[label] = method_result(label, [read_seed(workspace, run_id) for run_id in runs])
    return methods


def _points(difference: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * difference:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _write(path: Path, measured: dict[str, dict[str, Any]]) -> None:
    """Write the success rates, a row per task, network and seed."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "network", "seed", "success", "steps_to_95"])
        for task, methods in measured.items():
            for label, method in methods.items():
                firsts = method.steps_to[-1].per_seed
                for seed, success in enumerate(method.sampled.per_seed):
                    writer.writerow([task, label, seed, success, firsts[seed]])


if __name__ == "__main__":
    main()
