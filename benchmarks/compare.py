"""Plain PPO, pretraining only and the whole method, side by side over several seeds.

    python benchmarks/compare.py --teacher recorded/vicuna-33b --finetune-steps 8192
    python benchmarks/compare.py --teacher embedded

Every method gets at most the same number of env steps; the offline ones count too. Success is
measured on 500 held-out episodes with the sampled policy, greedy in brackets; the interval is the
bootstrap's over the seeds' rates. Each run stays in the workspace, for `llm4teach sql`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from llm4teach.flows.config import Settings, load_settings
from llm4teach.flows.quiet import prepare_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="SimpleDoorKey")
    parser.add_argument("--teacher", default="recorded/vicuna-33b")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--workspace", type=Path, default=Path("workspace/compare"))
    parser.add_argument("--finetune-steps", type=int, help="of the whole method")
    parser.add_argument("--config", type=Path, help="TOML file with other settings")
    arguments = parser.parse_args()
    prepare_environment(arguments.workspace)
    flags: dict[str, Any] = {
        "task": arguments.task,
        "teacher": {"teacher": arguments.teacher},
        "workspace": str(arguments.workspace),
    }
    if arguments.finetune_steps is not None:
        flags["finetune"] = {"steps": arguments.finetune_steps}
    settings = load_settings(flags, arguments.config)
    rows = []
    for seed in range(arguments.seeds):
        print(f"seed {seed}", file=sys.stderr)
        rows += [_plain_ppo(settings, seed), *_taught(settings, seed)]
    _print(rows, arguments.teacher, arguments.seeds)


def _plain_ppo(settings: Settings, seed: int) -> dict[str, Any]:
    """The same network and PPO on the whole budget, with no teacher at any time."""
    from llm4teach.flows import online_stages, stages

    budget = settings.collect.steps + settings.finetune.steps
    config = settings.finetune.model_copy(update={"steps": budget, "kl_coef": 0.0})
    began = time.process_time()
    with stages.opened(
        "ppo", settings.workspace, settings.task, settings.teacher, seed, finetune=config
    ) as ctx:
        online_stages.finetune(ctx, config, stages.new_student(ctx.task, seed))
        seconds = time.process_time() - began
        rates = online_stages.evaluate_students(ctx, settings.evaluate, ctx.run.run_id)
        used = {"env steps": ctx.run.results["finetune_steps"], "questions": 0, "tokens": 0}
    return {"method": "plain PPO", **rates["student"], **used, "CPU s": seconds}


def _taught(settings: Settings, seed: int) -> list[dict[str, Any]]:
    """The whole method, and what its student could do before it went online."""
    from llm4teach.flows import online_stages, stages

    began = time.process_time()
    collect, finetune = settings.collect, settings.finetune
    with stages.opened(
        "teach",
        settings.workspace,
        settings.task,
        settings.teacher,
        seed,
        collect=collect,
        pretrain=settings.pretrain,
        finetune=finetune,
    ) as ctx:
        student = None
        for number in range(1, collect.rounds + 1):
            stages.collect(ctx, collect, student, collect.steps * number // collect.rounds)
            trajectories = stages.trajectories(ctx, ctx.run.run_id)
            stages.label(ctx, trajectories)
            student = stages.pretrain(ctx, settings.pretrain, trajectories)
        assert student is not None
        offline_s = time.process_time() - began
        before = ctx.run.results
        online_stages.finetune(ctx, finetune, student)
        seconds = time.process_time() - began
        rates = online_stages.evaluate_students(ctx, settings.evaluate, ctx.run.run_id)
        after = ctx.run.results
    return [
        {"method": "pretraining only", **rates["pretrained"], **_used(before), "CPU s": offline_s},
        {"method": "whole method", **rates["student"], **_used(after), "CPU s": seconds},
    ]


def _used(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "env steps": results["collect_steps"] + results.get("finetune_steps", 0),
        "questions": results["questions"],
        "tokens": results["prompt_tokens"] + results["completion_tokens"],
    }


def _print(rows: list[dict[str, Any]], teacher: str, seeds: int) -> None:
    from statistics import median

    from llm4teach.analysis.statistics import bootstrap_mean_interval

    table = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        rates = [row["sampled"] for row in mine]
        interval = bootstrap_mean_interval(rates)
        table.append(
            {
                "method": method,
                "median (greedy)": f"{median(rates):.1%} "
                f"({median(row['greedy'] for row in mine):.1%})",
                "mean [95%]": f"{sum(rates) / len(rates):.1%} "
                f"[{interval.low:.1%}, {interval.high:.1%}]",
                "worst": f"{min(rates):.1%}",
                "env steps": f"{max(row['env steps'] for row in mine):,}",
                "questions": str(max(row["questions"] for row in mine)),
                "tokens": f"{max(row['tokens'] for row in mine):,}",
                "CPU s": f"{median(row['CPU s'] for row in mine):.0f}",
            }
        )
    print(f"\n{teacher}, {seeds} seeds; questions and tokens are those of the first seed, ")
    print("after which every state is known; CPU seconds are the median of training a seed.\n")
    print("| " + " | ".join(table[0]) + " |")
    print("|" + " --- |" * len(table[0]))
    for row in table:
        print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
