"""Evaluation episodes summed up: one row a policy and mode, every estimate with its interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from llm4teach.analysis.statistics import Interval, bootstrap_mean_interval, wilson_interval

SummaryRow = dict[str, Any]
_ORDER = ("student", "pretrained", "no-llm", "teacher", "random")


class Difference(NamedTuple):
    """How much higher one success rate is than another on the same seeds, in shares of 1."""

    mean: float
    interval: Interval
    episodes: int  # pairs


def summary_table(episodes: pa.Table) -> list[SummaryRow]:
    """Sum up evaluation episodes.

    Args:
        episodes: of schema.EVALUATIONS; may be empty.

    Returns:
        One row for each policy and mode, the student first: policy, mode, episodes, successes,
        success_rate with success_low and success_high (Wilson, 95%), mean_return with return_low
        and return_high, mean_length (env steps) with length_low and length_high (percentile
        bootstrap, 95%).
    """
    rows = episodes.select(["policy", "mode", "success", "return", "length"]).to_pylist()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["policy"], row["mode"]), []).append(row)
    return [_summary(*key, groups[key]) for key in sorted(groups, key=_rank)]


def _rank(key: tuple[str, str]) -> tuple[int, str, bool, str]:
    policy, mode = key
    position = _ORDER.index(policy) if policy in _ORDER else len(_ORDER)
    return position, policy, mode != "sampled", mode


def _summary(policy: str, mode: str, rows: list[dict[str, Any]]) -> SummaryRow:
    n, successes = len(rows), sum(row["success"] for row in rows)
    success = wilson_interval(successes, n)
    returns = np.array([row["return"] for row in rows], np.float64)  # (n,)
    lengths = np.array([row["length"] for row in rows], np.float64)  # (n,), env steps
    return_, length = bootstrap_mean_interval(returns), bootstrap_mean_interval(lengths)
    return {
        "policy": policy,
        "mode": mode,
        "episodes": n,
        "successes": successes,
        "success_rate": successes / n,
        "success_low": success.low,
        "success_high": success.high,
        "mean_return": float(returns.mean()),
        "return_low": return_.low,
        "return_high": return_.high,
        "mean_length": float(lengths.mean()),
        "length_low": length.low,
        "length_high": length.high,
    }


def success_difference(
    episodes: pa.Table,
    ours: tuple[str, str] = ("student", "sampled"),
    theirs: tuple[str, str] = ("teacher", "sampled"),
) -> Difference | None:
    """Return how much more often ``ours`` (policy, mode) succeeds, or None without common seeds.

    The episodes are paired by seed, which narrows the interval: both meet the same grids.
    """
    columns = episodes.select(["policy", "mode", "seed", "success"]).to_pylist()
    by_seed: dict[tuple[str, str], dict[int, bool]] = {ours: {}, theirs: {}}
    for row in columns:
        by_seed.setdefault((row["policy"], row["mode"]), {})[row["seed"]] = row["success"]
    common = sorted(by_seed[ours].keys() & by_seed[theirs].keys())
    if not common:
        return None
    gains = np.array([float(by_seed[ours][s]) - by_seed[theirs][s] for s in common])  # (n,)
    return Difference(float(gains.mean()), bootstrap_mean_interval(gains), len(common))
