"""The probabilities of many plans, told apart only as far as they matter.

Plans share their first words, so their tokens form a tree. The model's greedy path through it, made
in one request, shows the scores of all branches beside it. Branches are followed the likeliest
first; when all that are left weigh less than a share of what was found, each keeps the weight of
its branching, spread evenly over its plans. With a share of 0 every plan is scored exactly.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

_P = TypeVar("_P")
Tokens = tuple[int, ...]
# From the tokens so far and the paths on from there: of each token of the likeliest path, that
# token and the scores (nats) of the likeliest tokens in its place.
LikeliestPath = Callable[[Tokens, Sequence[Tokens]], Sequence[tuple[int, Mapping[int, float]]]]


def plan_scores(
    plans: Mapping[_P, Tokens], likeliest_path: LikeliestPath, prune: float
) -> dict[_P, float]:
    """Return each plan's score, log p in nats.

    Args:
        plans: tokens of each plan; none is the start of another.
        likeliest_path: asks the model.
        prune: share of the weight found, from 0 to 1, below which branches are not followed.
    """
    scores: dict[Tokens, float] = {}
    branches = [(0.0, Tokens())]  # a heap of minus the score, and the tokens so far
    while branches:
        if scores and -branches[0][0] < _log_sum(list(scores.values())) + _log(prune):
            break
        score, prefix = heapq.heappop(branches)
        score = -score
        beyond = [path for path in plans.values() if path[: len(prefix)] == prefix]
        if prefix in beyond:
            scores[prefix] = score
            continue
        for token, others in likeliest_path(prefix, [path[len(prefix) :] for path in beyond]):
            least = min(others.values())  # what is not listed is no likelier than this
            nexts = {path[len(prefix)] for path in beyond if path[: len(prefix)] == prefix}
            for other in nexts - {token}:
                branch = (*prefix, other)
                heapq.heappush(branches, (-(score + others.get(other, least)), branch))
            score, prefix = score + others[token], (*prefix, token)
            beyond = [path for path in beyond if path[: len(prefix)] == prefix]
            if prefix in beyond:
                scores[prefix] = score
                break
    for score, prefix in branches:
        beneath = [path for path in plans.values() if path[: len(prefix)] == prefix]
        scores |= dict.fromkeys(beneath, -score - math.log(len(beneath)))
    return {plan: scores[path] for plan, path in plans.items()}


def _log_sum(scores: Sequence[float]) -> float:
    top = max(scores)
    return top + math.log(math.fsum(math.exp(score - top) for score in scores))


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf
