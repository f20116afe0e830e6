"""The learning curves of a run, from whatever it measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
from markupsafe import Markup

from llm4teach.analysis.reports.figures import curve_figure
from llm4teach.analysis.statistics import wilson_interval

Series = tuple[list[float], list[float]]  # steps and values, of one length


class Chapter(NamedTuple):
    """One stage's figures."""

    title: str
    figures: list[Markup]


class _Stage(NamedTuple):
    title: str
    x_label: str
    names: dict[str, str]  # metric name to title, in the order of the page
    percent: frozenset[str]


_STAGES = {
    "validate": _Stage(
        "On episodes that nothing learns from",
        "env steps",
        {
            "success_rate": "Success rate on validation episodes",
            "episode_return": "Episode return on validation episodes",
        },
        frozenset({"success_rate"}),
    ),
    "finetune": _Stage(
        "Fine-tuning with PPO and the KL term",
        "env steps",
        {
            "success_rate": "Success rate while training",
            "kl_coef": "Weight of the KL term (kl_coef)",
            "episode_return": "Episode return",
            "episode_length": "Episode length, env steps",
            "kl": "KL(teacher || student), nats",
            "entropy": "Student's entropy, nats",
            "policy_loss": "Policy loss",
            "value_loss": "Value loss",
            "explained_variance": "Explained variance of the value",
            "advice_rate": "Steps with advice",
            "live_questions": "Live questions",
            "steps_per_s": "Env steps a second",
        },
        frozenset({"success_rate", "advice_rate"}),
    ),
    "pretrain": _Stage(
        "Distillation from stored advice",
        "gradient steps",
        {"loss": "Distillation loss", "agreement": "Agreement with the teacher"},
        frozenset({"agreement"}),
    ),
    "collect": _Stage(
        "Collecting",
        "env steps",
        {"success_rate": "Success rate of ended episodes while collecting"},
        frozenset({"success_rate"}),
    ),
}


def learning_curves(metrics: pa.Table, teacher_success: float | None = None) -> list[Chapter]:
    """Draw every metric that is there, by stage; stages without any are left out.

    Args:
        metrics: of schema.METRICS.
        teacher_success: the teacher's evaluated success rate, to compare the student's with.
    """
    by_stage: dict[str, dict[str, Series]] = {}
    for row in metrics.select(["stage", "step", "name", "value"]).sort_by("step").to_pylist():
        if row["value"] is not None and math.isfinite(row["value"]):
            series = by_stage.setdefault(row["stage"], {}).setdefault(row["name"], ([], []))
            series[0].append(row["step"])
            series[1].append(row["value"])
    chapters = []
    for name, stage in _STAGES.items():
        if figures := _figures(stage, by_stage.get(name, {}), name, teacher_success):
            chapters.append(Chapter(stage.title, figures))
    return chapters


def _figures(
    stage: _Stage, series: dict[str, Series], name: str, teacher_success: float | None
) -> list[Markup]:
    figures = []
    for metric, title in stage.names.items():
        if metric not in series:
            continue
        steps, values = series[metric]
        band, reference = None, None
        if metric == "success_rate" and "episodes" in series:
            steps, successes, episodes = pooled_success(series[metric], series["episodes"])
            pairs = list(zip(successes, episodes, strict=True))
            values = [k / n for k, n in pairs]
            band = [wilson_interval(k, n) for k, n in pairs]
            if name in ("finetune", "validate"):
                reference = teacher_success
        if steps:
            percent = metric in stage.percent
            figures.append(
                curve_figure(title, steps, values, stage.x_label, band, percent, reference)
            )
            if metric == "success_rate" and any(series.get("tokens", ((), ()))[1]):
                spent = dict(zip(*series["tokens"], strict=True))
                figures.append(
                    curve_figure(
                        f"{title}, by tokens",
                        [spent[step] for step in steps],
                        values,
                        "LLM tokens",
                        band,
                        percent,
                        reference,
                    )
                )
    return figures


def pooled_success(
    rates: Series, episodes: Series, windows: int = 24
) -> tuple[list[float], list[int], list[int]]:
    """Pool update windows into at most ``windows``, so that each holds enough episodes to tell.

    Args:
        rates: success rates by step.
        episodes: how many episodes ended in the window of that step.
        windows: at most so many are returned.

    Returns:
        Each pooled window's last step, its successes and its episodes; windows in which no
        episode ended are left out.
    """
    ended = dict(zip(*episodes, strict=True))
    kept = [
        (step, round(rate * ended[step]), round(ended[step]))
        for step, rate in zip(*rates, strict=True)
        if ended.get(step, 0) >= 1
    ]
    size = max(1, math.ceil(len(kept) / windows))
    pools: list[Sequence[tuple[float, int, int]]] = [
        kept[i : i + size] for i in range(0, len(kept), size)
    ]
    return (
        [pool[-1][0] for pool in pools],
        [sum(k for _, k, _ in pool) for pool in pools],
        [sum(n for *_, n in pool) for pool in pools],
    )
