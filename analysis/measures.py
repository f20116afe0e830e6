"""What an environment measures besides return and success, summed up by measure and policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from llm4teach.analysis.statistics import bootstrap_mean_interval, wilson_interval

SCORE = "score"  # the name of the row that sums up the rates


class Estimate(NamedTuple):
    """A mean over episodes with its 95% interval; of rates and scores all three are in percent."""

    mean: float
    low: float
    high: float


class MeasureRow(NamedTuple):
    """One measure of all policies."""

    name: str
    is_rate: bool
    estimates: list[Estimate | None]  # by policy; None where it was not measured


def score(rates: Iterable[float]) -> float:
    """Return the score of success rates, 0 to 1, in percent: exp(mean(ln(1 + percent))) - 1.

    The geometric mean of Crafter (arXiv 2109.06780): rare achievements count as much as common.
    """
    return float(np.expm1(np.mean([np.log1p(100 * rate) for rate in rates])))


def measure_table(episodes: pa.Table) -> tuple[list[str], list[MeasureRow]]:
    """Sum up the measures of sampled episodes.

    Args:
        episodes: of schema.EVALUATIONS; may be empty.

    Returns:
        The policies, and a row for each measure: the rates (measures that are 0 or 1) last, most
        frequent first, after their score if there are several. No rows if nothing was measured.
    """
    values: dict[str, dict[str, list[float]]] = {}  # by policy and measure
    for row in episodes.select(["policy", "mode", "measures"]).to_pylist():
        if row["mode"] == "sampled":
            of_policy = values.setdefault(row["policy"], {})
            for name, value in row["measures"] or ():
                of_policy.setdefault(name, []).append(value)
    policies = [policy for policy, measured in values.items() if measured]
    names = dict.fromkeys(name for policy in policies for name in values[policy])
    rates = [n for n in names if all(_is_rate(values[policy].get(n, [])) for policy in policies)]
    rows = [_row(n, n in rates, policies, values) for n in names]
    rows.sort(key=lambda row: (row.is_rate, -(row.estimates[0].mean if row.estimates[0] else 0)))
    if len(rates) > 1:
        scores = [_score([values[policy].get(name, []) for name in rates]) for policy in policies]
        first = next(i for i, row in enumerate(rows) if row.is_rate)
        rows.insert(first, MeasureRow(SCORE, True, scores))
    return policies, rows


def _is_rate(values: list[float]) -> bool:
    return set(values) <= {0.0, 1.0}


def _row(
    name: str,
    is_rate: bool,
    policies: list[str],
    values: Mapping[str, Mapping[str, list[float]]],
) -> MeasureRow:
    estimates: list[Estimate | None] = []
    for policy in policies:
        measured = values[policy].get(name, [])
        if not measured:
            estimates.append(None)
        elif is_rate:
            rate = np.mean(measured)
            interval = wilson_interval(int(sum(measured)), len(measured))
            estimates.append(Estimate(*(100 * float(x) for x in (rate, *interval))))
        else:
            estimates.append(Estimate(float(np.mean(measured)), *bootstrap_mean_interval(measured)))
    return MeasureRow(name, is_rate, estimates)


def _score(measured: list[list[float]]) -> Estimate | None:
    """The score of one policy's episodes with a bootstrap interval over them."""
    if not all(measured):
        return None
    outcomes = np.array(measured)  # (n_rates, n_episodes)
    n = outcomes.shape[1]
    drawn = np.random.default_rng(0).integers(0, n, (1_000, n))
    scores = [score(outcomes[:, rows].mean(1)) for rows in drawn]
    low, high = np.percentile(scores, [2.5, 97.5])
    return Estimate(score(outcomes.mean(1)), float(low), float(high))
