"""Methods side by side: what their runs, one a seed, come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from llm4teach.analysis.comparisons.crossings import (
    ENOUGH_SEEDS,
    Curve,
    Steps,
    StepsRatio,
    StepsTo,
    first_held,
    steps_ratio,
    steps_to,
)
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
from llm4teach.teacher_labeling.teacher import NO_LLM

MODES = ("sampled", "greedy")
THRESHOLDS = (0.5, 0.8, 0.95)  # success rates


@dataclass(frozen=True)
class Spent:
    """What one question to the LLM took."""

    tokens: int
    seconds: float


@dataclass(frozen=True)
class SeedResult:
    """One run: a method with one seed."""

    run_id: str
    seed: int
    success: dict[str, float]  # on held-out episodes, by mode
    episodes: int  # of each mode
    curve: Curve
    env_steps: int
    questions: dict[str, Spent]  # that the LLM was asked, by question_key
    token_curve: Curve  # tokens spent so far, by env steps
    cpu_curve: Curve  # CPU-seconds of training so far, by env steps
    train_cpu_s: float
    validation_cpu_s: float
    confirmation: float | None = None  # second success rate of the curve's last point
    validation_episodes: int = 0  # of the whole curve; they are no part of the budget
    validation_steps: int = 0  # env steps of these
    # Over the sampled episodes: their lengths, and what else the environment measures.
    means: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """One number per seed, summed up.

    Of `ENOUGH_SEEDS` or more: the interquartile mean with its 95% bootstrap interval; of fewer, of
    which a bootstrap would be too narrow: the median with the range.
    """

    median: float
    middle: float  # interquartile mean, or median
    interval: Interval  # bootstrap, or range
    worst: float
    per_seed: list[float]


@dataclass(frozen=True)
class SeedCosts:
    """What one run came to, for the row of its seed."""

    run_id: str
    steps_to: list[Steps]  # of each of `THRESHOLDS`; None: > budget
    env_steps: int
    validation_episodes: int
    validation_steps: int
    questions: int
    tokens: int
    llm_s: float
    train_cpu_s: float


@dataclass(frozen=True)
class LLMShare:
    """A method beside the same one with the teacher `none`, seed by seed."""

    control: str  # label of the latter
    steps: list[StepsRatio]  # of each of `THRESHOLDS`
    difference: Spread  # of the success rates at the budget, sampled, paired by seed


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
    llm_s: float  # answering all these questions
    train_cpu_s: float
    validation_cpu_s: float
    validation_episodes: float  # of a seed's learning curve
    validation_steps: float  # env steps of these
    seeds: list[SeedCosts]
    teacher: str | None = None  # label of its `TeacherResult`
    share: LLMShare | None = None  # of a method that asks an LLM
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
    llm_s: float = 0.0
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
    controls: list[MethodResult] = field(default_factory=list)  # without the LLM, if no method

    @property
    def main_teachers(self) -> list[TeacherResult]:
        """The teachers to compare: without `none`, the control, unless it is the only one."""
        others = [t for t in self.teachers if not t.label.startswith(NO_LLM)]
        return others or self.teachers

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
    commit: str = ""  # of the source, if it is a checkout
    machine: str = ""


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
    confirmation, played = None, {"episodes": 0, "env_steps": 0}
    for m in metrics:
        if m["stage"] == "validate" and m["name"] in curves:
            curves[m["name"]][m["step"]] = m["value"]
        elif m["stage"] == "confirm" and m["name"] == "success_rate":
            confirmation = m["value"]
        if m["stage"] in ("validate", "confirm") and m["name"] in played:
            played[m["name"]] += round(m["value"])
    return SeedResult(
        run_id=run_id,
        seed=manifest["config"]["seed"],
        success={mode: sum(wins) / len(wins) for mode, wins in won.items()},
        episodes=len(won["sampled"]),
        curve=curves["success_rate"],
        token_curve=curves["tokens"],
        cpu_curve=curves["train_cpu_s"],
        env_steps=results.get("collect_steps", 0) + results.get("finetune_steps", 0),
        questions={
            a["question_key"]: Spent(
                a["prompt_tokens"] + a["completion_tokens"], a["latency_s"] or 0
            )
            for a in advice
            if not a["teacher_id"].startswith(NO_LLM)
        },
        train_cpu_s=results.get("train_cpu_s", 0.0),
        validation_cpu_s=results.get("validation_cpu_s", 0.0),
        confirmation=confirmation,
        validation_episodes=played["episodes"],
        validation_steps=played["env_steps"],
        means={name: fmean(values) for name, values in measured.items()},
    )


def method_result(label: str, seeds: Sequence[SeedResult]) -> MethodResult:
    """Sum up one method's runs."""
    common = sorted(set.intersection(*(set(seed.curve) for seed in seeds)))
    spent = {key: one for seed in seeds for key, one in seed.questions.items()}
    costs = [_costs(seed) for seed in seeds]
    return MethodResult(
        label=label,
        runs=[seed.run_id for seed in seeds],
        episodes=min(seed.episodes for seed in seeds),
        sampled=spread([seed.success["sampled"] for seed in seeds]),
        greedy=spread([seed.success["greedy"] for seed in seeds]),
        steps_to=[_steps_to(i, seeds, costs) for i in range(len(THRESHOLDS))],
        curve_steps=common,
        curve=[spread([seed.curve[step] for seed in seeds]) for step in common],
        token_curve=[median([seed.token_curve[step] for seed in seeds]) for step in common]
        if all(set(common) <= set(seed.token_curve) for seed in seeds)
        else [],
        env_steps=median([seed.env_steps for seed in seeds]),
        questions=len(spent),
        tokens=sum(one.tokens for one in spent.values()),
        llm_s=sum(one.seconds for one in spent.values()),
        train_cpu_s=median([seed.train_cpu_s for seed in seeds]),
        validation_cpu_s=median([seed.validation_cpu_s for seed in seeds]),
        validation_episodes=median([seed.validation_episodes for seed in seeds]),
        validation_steps=median([seed.validation_steps for seed in seeds]),
        seeds=costs,
        means={name: median([seed.means[name] for seed in seeds]) for name in seeds[0].means},
    )


def _costs(seed: SeedResult) -> SeedCosts:
    return SeedCosts(
        run_id=seed.run_id,
        steps_to=[first_held(seed.curve, level, seed.confirmation) for level in THRESHOLDS],
        env_steps=seed.env_steps,
        validation_episodes=seed.validation_episodes,
        validation_steps=seed.validation_steps,
        questions=len(seed.questions),
        tokens=sum(one.tokens for one in seed.questions.values()),
        llm_s=sum(one.seconds for one in seed.questions.values()),
        train_cpu_s=seed.train_cpu_s,
    )


def _steps_to(level: int, seeds: Sequence[SeedResult], costs: Sequence[SeedCosts]) -> StepsTo:
    per_seed = [cost.steps_to[level] for cost in costs]
    cpu_s = [
        None if steps is None else seed.cpu_curve.get(steps)
        for seed, steps in zip(seeds, per_seed, strict=True)
    ]
    return steps_to(THRESHOLDS[level], per_seed, cpu_s)


def llm_share(method: MethodResult, control: MethodResult) -> LLMShare:
    """Compare a method with the same one without the LLM, whose seeds are the same."""
    pairs = zip(method.sampled.per_seed, control.sampled.per_seed, strict=True)
    return LLMShare(
        control=control.label,
        steps=[
            steps_ratio(ours.success, ours.per_seed, theirs.per_seed)
            for ours, theirs in zip(method.steps_to, control.steps_to, strict=True)
        ],
        difference=spread([ours - theirs for ours, theirs in pairs]),
    )


def teacher_result(label: str, played: Sequence[SeedResult]) -> TeacherResult:
    """Sum up the runs in which a teacher itself played, one run for each teacher if several."""
    spent = {key: question for one in played for key, question in one.questions.items()}
    sampled, greedy = (rate([one.success[m] for one in played], played) for m in MODES)
    return TeacherResult(
        label=label,
        runs=[one.run_id for one in played],
        episodes=sum(one.episodes for one in played),
        sampled=sampled[0],
        sampled_interval=sampled[1],
        greedy=greedy[0],
        greedy_interval=greedy[1],
        questions=len(spent),
        tokens=sum(one.tokens for one in spent.values()),
        llm_s=sum(one.seconds for one in spent.values()),
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


def middle_of(seeds: int) -> str:
    """What `Spread` and figures show of so many seeds."""
    return "IQM [95%]" if seeds >= ENOUGH_SEEDS else "median [range]"


def spread(values: Sequence[float]) -> Spread:
    """Sum up one number per seed, of which more is better."""
    if len(values) >= ENOUGH_SEEDS:
        middle = interquartile_mean(values)
        interval = bootstrap_iqm_interval(values, resamples=2_000)
    else:
        middle, interval = median(values), Interval(min(values), max(values))
    return Spread(median(values), middle, interval, min(values), list(values))
