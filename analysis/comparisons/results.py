"""Methods side by side: what their runs, one a seed, come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from llm4teach.analysis.statistics import (
    Improvement,
    Interval,
    bootstrap_iqm_interval,
    bootstrap_mean_interval,
    interquartile_mean,
    median,
    probability_of_improvement,
    wilson_interval,
)
from llm4teach.datasets import schema
from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import ADVICE, EVALUATION, read_manifest
from llm4teach.datasets.storage.parquet import read_parquet, read_parts
from llm4teach.datasets.workspace import Workspace

MODES = ("sampled", "greedy")
THRESHOLDS = (0.5, 0.8, 0.95)  # success rates
NO_LLM = "none/"  # teacher ids of the control, which asks nothing
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
    tokens: dict[str, int]  # that the LLM's advice on each state cost, by state_key
    token_curve: Curve  # tokens spent so far, by env steps
    cpu_curve: Curve  # CPU-seconds of training so far, by env steps
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
    cpu_s: float | None = None  # of training until then, median; None where it was not measured


@dataclass(frozen=True)
class MethodResult:
    """One method over all seeds; what is no `Spread` is a median over the seeds."""

    label: str
    runs: list[str]
    episodes: int  # held-out, of each seed and mode
    sampled: Spread
    greedy: Spread
    steps_to: list[StepsTo]
    curve_steps: list[int]
    curve: list[Spread]
    token_curve: list[float]  # tokens spent by then, median over the seeds; empty if not counted
    env_steps: float
    questions: int  # distinct states, those of all seeds together
    tokens: int
    train_cpu_s: float
    validation_cpu_s: float
    teacher: str | None = None  # label of its `TeacherResult`
    improvement: Improvement | None = None  # over the baseline, sampled
    shifted: dict[str, Spread] = field(default_factory=dict)  # sampled, by variant of the task
    shifted_improvement: dict[str, Improvement] = field(default_factory=dict)  # there, likewise
    means: dict[str, float] = field(default_factory=dict)  # see `SeedResult.means`


@dataclass(frozen=True)
class TeacherResult:
    """A teacher's own policy.

    The intervals (95%) are Wilson's over the episodes; where each seed had another teacher, the
    bootstrap's of the mean over these.
    """

    label: str
    runs: list[str]
    episodes: int
    sampled: float
    sampled_interval: Interval
    greedy: float
    greedy_interval: Interval
    questions: int
    tokens: int
    shifted: dict[str, tuple[float, Interval]] = field(default_factory=dict)  # sampled, by variant
    means: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Methods that had the same budget on one task, and their teachers."""

    task: str
    seeds: list[int]
    budget: int  # env steps
    offline_steps: int  # of these, those of a method that pretrains
    methods: list[MethodResult]
    teachers: list[TeacherResult]
    baseline: str  # label of the method that the others are compared with

    def teacher_of(self, method: MethodResult) -> TeacherResult | None:
        """Return the teacher of a method, if it has one."""
        return next((t for t in self.teachers if t.label == method.teacher), None)


@dataclass(frozen=True)
class Findings:
    """An experiment's outcome: one comparison a task, and the variants over all of these."""

    name: str
    question: str
    figure: str  # what it shows: "curves", "levels" or "shifts"
    command: str  # that makes it again
    date: str  # when the last of its runs was complete, UTC
    comparisons: list[Comparison]
    overall: dict[str, Improvement]  # over the baseline on all tasks; empty for one task


def overall_improvements(comparisons: Sequence[Comparison]) -> dict[str, Improvement]:
    """Return each method's probability of improvement over the baseline, averaged over tasks."""
    if len(comparisons) < 2:
        return {}
    scores: dict[str, list[list[float]]] = {}
    for comparison in comparisons:
        for method in comparison.methods:
            scores.setdefault(method.label, []).append(method.sampled.per_seed)
    baseline = scores[comparisons[0].baseline]
    return {
        label: probability_of_improvement(rates, baseline)
        for label, rates in scores.items()
        if label != comparisons[0].baseline
    }


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
    metrics = read_metrics(folder).to_pylist()
    advice = read_parts(folder / ADVICE, schema.ADVICE).to_pylist()
    curves: dict[str, Curve] = {"success_rate": {}, "tokens": {}, "train_cpu_s": {}}
    for m in metrics:
        if m["stage"] == "validate" and m["name"] in curves:
            curves[m["name"]][m["step"]] = m["value"]
    return SeedResult(
        run_id=run_id,
        seed=manifest["config"]["seed"],
        success={mode: sum(wins) / len(wins) for mode, wins in won.items()},
        episodes=len(won["sampled"]),
        curve=curves["success_rate"],
        token_curve=curves["tokens"],
        cpu_curve=curves["train_cpu_s"],
        env_steps=results.get("collect_steps", 0) + results.get("finetune_steps", 0),
        tokens={
            a["state_key"]: a["prompt_tokens"] + a["completion_tokens"]
            for a in advice
            if not a["teacher_id"].startswith(NO_LLM)
        },
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
        episodes=min(seed.episodes for seed in seeds),
        sampled=spread([seed.success["sampled"] for seed in seeds]),
        greedy=spread([seed.success["greedy"] for seed in seeds]),
        steps_to=[steps_to(level, seeds) for level in THRESHOLDS],
        curve_steps=common,
        curve=[spread([seed.curve[step] for seed in seeds]) for step in common],
        token_curve=[median([seed.token_curve[step] for seed in seeds]) for step in common]
        if all(set(common) <= set(seed.token_curve) for seed in seeds)
        else [],
        env_steps=median([seed.env_steps for seed in seeds]),
        questions=len(tokens),
        tokens=sum(tokens.values()),
        train_cpu_s=median([seed.train_cpu_s for seed in seeds]),
        validation_cpu_s=median([seed.validation_cpu_s for seed in seeds]),
        means={name: median([seed.means[name] for seed in seeds]) for name in seeds[0].means},
    )


def teacher_result(label: str, played: Sequence[SeedResult]) -> TeacherResult:
    """Sum up the runs in which a teacher itself played, one run for each teacher if several."""
    tokens = {key: count for one in played for key, count in one.tokens.items()}
    sampled, greedy = (rate([one.success[m] for one in played], played) for m in MODES)
    return TeacherResult(
        label=label,
        runs=[one.run_id for one in played],
        episodes=sum(one.episodes for one in played),
        sampled=sampled[0],
        sampled_interval=sampled[1],
        greedy=greedy[0],
        greedy_interval=greedy[1],
        questions=len(tokens),
        tokens=sum(tokens.values()),
        means={name: fmean(one.means[name] for one in played) for name in played[0].means},
    )


def rate(rates: Sequence[float], played: Sequence[SeedResult]) -> tuple[float, Interval]:
    """Return a teacher's success rate with its interval; see `TeacherResult`."""
    if len(rates) > 1:
        return sum(rates) / len(rates), bootstrap_mean_interval(rates, resamples=2_000)
    n = played[0].episodes
    return rates[0], wilson_interval(round(n * rates[0]), n)


def with_improvements(methods: Sequence[MethodResult], baseline: str) -> list[MethodResult]:
    """Return the methods, each but the baseline with its probability of improvement over it."""
    reference = next((method for method in methods if method.label == baseline), None)
    if reference is None:
        return list(methods)

    def over(ours: Spread, theirs: Spread) -> Improvement:
        return probability_of_improvement([ours.per_seed], [theirs.per_seed])

    return [
        method
        if method is reference
        else replace(
            method,
            improvement=over(method.sampled, reference.sampled),
            shifted_improvement={
                name: over(there, reference.shifted[name]) for name, there in method.shifted.items()
            },
        )
        for method in methods
    ]


def spread(values: Sequence[float]) -> Spread:
    """Sum up one number a seed, of which more is better."""
    interval = bootstrap_iqm_interval(values, resamples=2_000)
    return Spread(median(values), interquartile_mean(values), interval, min(values), list(values))


def steps_to(success: float, seeds: Sequence[SeedResult]) -> StepsTo:
    """Return when each learning curve first reached a success rate."""
    firsts = [
        min((step for step, rate in seed.curve.items() if rate >= success), default=None)
        for seed in seeds
    ]
    reached = [(seed, step) for seed, step in zip(seeds, firsts, strict=True) if step is not None]
    if len(reached) < len(seeds):
        return StepsTo(success, None, len(reached), firsts)
    spent = [seed.cpu_curve[step] for seed, step in reached if step in seed.cpu_curve]
    cpu_s = median(spent) if len(spent) == len(seeds) else None
    return StepsTo(success, median([step for _, step in reached]), len(reached), firsts, cpu_s)
