"""Methods side by side: what their runs, one a seed, come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llm4teach.analysis.statistics import (
    Interval,
    bootstrap_iqm_interval,
    interquartile_mean,
    median,
    wilson_interval,
)
from llm4teach.datasets import schema
from llm4teach.datasets.parts import read_parquet, read_parts
from llm4teach.datasets.runs import ADVICE, EVALUATION, METRICS, read_manifest
from llm4teach.datasets.workspace import Workspace

THRESHOLDS = (0.5, 0.8, 0.95)  # success rates
Curve = dict[int, float]  # success rate on validation episodes by env steps, offline ones included


@dataclass(frozen=True)
class SeedResult:
    """One run: a method with one seed."""

    run_id: str
    seed: int
    success: dict[str, float]  # on held-out episodes, by mode
    episodes: int  # of each mode
    curve: Curve
    env_steps: int
    tokens: dict[str, int]  # that the advice on each state cost, by state_key
    train_cpu_s: float
    validation_cpu_s: float
    # Over the sampled episodes: their lengths, and what else the environment measures.
    means: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """One number a seed, summed up; the interval is the bootstrap's of the IQM (95%)."""

    median: float
    iqm: float
    interval: Interval
    worst: float
    per_seed: list[float]


@dataclass(frozen=True)
class StepsTo:
    """Env steps until the learning curve first reached a success rate."""

    success: float
    median: float | None  # None if a seed never did
    reached: int  # seeds that did
    per_seed: list[int | None]


@dataclass(frozen=True)
class MethodResult:
    """One method over all seeds; what is no `Spread` is a median over the seeds."""

    label: str
    runs: list[str]
    sampled: Spread
    greedy: Spread
    steps_to: list[StepsTo]
    curve_steps: list[int]
    curve: list[Spread]
    env_steps: float
    questions: int  # distinct states, those of all seeds together
    tokens: int
    train_cpu_s: float
    validation_cpu_s: float
    means: dict[str, float] = field(default_factory=dict)  # see `SeedResult.means`


@dataclass(frozen=True)
class TeacherResult:
    """The teacher's own policy, with Wilson's intervals (95%) over the episodes."""

    run: str
    episodes: int
    sampled: float
    sampled_interval: Interval
    greedy: float
    greedy_interval: Interval
    questions: int
    tokens: int
    means: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Methods that had the same budget, and the teacher."""

    task: str
    teacher: str  # backend and model
    teacher_id: str
    prompt_version: str
    seeds: list[int]
    budget: int  # env steps
    offline_steps: int  # of these, those of a method that pretrains
    methods: list[MethodResult]
    reference: TeacherResult


def read_seed(workspace: Workspace, run_id: str) -> SeedResult:
    """Read one complete run.

    Raises:
        DatasetError: it is unfinished, or one of its files is damaged.
    """
    folder = workspace.run(run_id)
    manifest = read_manifest(folder)
    results: Mapping[str, Any] = manifest["results"]
    won: dict[str, list[bool]] = {}
    measured: dict[str, list[float]] = {}
    for e in read_parquet(folder / EVALUATION, schema.EVALUATIONS).to_pylist():
        won.setdefault(e["mode"], []).append(e["success"])
        if e["mode"] == "sampled":
            for name, value in (("length", e["length"]), *(e.get("measures") or ())):
                measured.setdefault(name, []).append(value)
    metrics = read_parquet(folder / METRICS, schema.METRICS).to_pylist()
    wanted = ("validate", "success_rate")
    advice = read_parts(folder / ADVICE, schema.ADVICE).to_pylist()
    return SeedResult(
        run_id=run_id,
        seed=manifest["config"]["seed"],
        success={mode: sum(wins) / len(wins) for mode, wins in won.items()},
        episodes=len(won["sampled"]),
        curve={m["step"]: m["value"] for m in metrics if (m["stage"], m["name"]) == wanted},
        env_steps=results.get("collect_steps", 0) + results.get("finetune_steps", 0),
        tokens={a["state_key"]: a["prompt_tokens"] + a["completion_tokens"] for a in advice},
        train_cpu_s=results.get("train_cpu_s", 0.0),
        validation_cpu_s=results.get("validation_cpu_s", 0.0),
        means={name: fmean(values) for name, values in measured.items()},
    )


def method_result(label: str, seeds: Sequence[SeedResult]) -> MethodResult:
    """Sum up one method's runs."""
    common = sorted(set.intersection(*(set(seed.curve) for seed in seeds)))
    tokens = {key: count for seed in seeds for key, count in seed.tokens.items()}
    return MethodResult(
        label=label,
        runs=[seed.run_id for seed in seeds],
        sampled=spread([seed.success["sampled"] for seed in seeds]),
        greedy=spread([seed.success["greedy"] for seed in seeds]),
        steps_to=[steps_to(level, [seed.curve for seed in seeds]) for level in THRESHOLDS],
        curve_steps=common,
        curve=[spread([seed.curve[step] for seed in seeds]) for step in common],
        env_steps=median([seed.env_steps for seed in seeds]),
        questions=len(tokens),
        tokens=sum(tokens.values()),
        train_cpu_s=median([seed.train_cpu_s for seed in seeds]),
        validation_cpu_s=median([seed.validation_cpu_s for seed in seeds]),
        means={name: median([seed.means[name] for seed in seeds]) for name in seeds[0].means},
    )


def teacher_result(played: SeedResult) -> TeacherResult:
    """Sum up the run in which the teacher itself played."""
    n, rates = played.episodes, played.success
    return TeacherResult(
        run=played.run_id,
        episodes=n,
        sampled=rates["sampled"],
        sampled_interval=wilson_interval(round(n * rates["sampled"]), n),
        greedy=rates["greedy"],
        greedy_interval=wilson_interval(round(n * rates["greedy"]), n),
        questions=len(played.tokens),
        tokens=sum(played.tokens.values()),
        means=played.means,
    )


def spread(values: Sequence[float]) -> Spread:
    """Sum up one number a seed, of which more is better."""
    interval = bootstrap_iqm_interval(values, resamples=2_000)
    return Spread(median(values), interquartile_mean(values), interval, min(values), list(values))


def steps_to(success: float, curves: Sequence[Curve]) -> StepsTo:
    """Return when each curve first reached a success rate."""
    firsts = [
        min((step for step, rate in curve.items() if rate >= success), default=None)
        for curve in curves
    ]
    reached = [step for step in firsts if step is not None]
    all_did = len(reached) == len(firsts)
    return StepsTo(success, median(reached) if all_did else None, len(reached), firsts)
