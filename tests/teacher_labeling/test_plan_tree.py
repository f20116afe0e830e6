"""Scores of plans in a tree of tokens: exact where asked for, bounded where pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.teacher_labeling.backends.llama_cpp.plan_tree import Tokens, plan_scores

END = 0


class Model:
    """Next tokens' probabilities by a table of seeds; it counts what it is asked."""

    def __init__(self, seed: int, listed: int = 100) -> None:
        self.seed, self.listed, self.requests = seed, listed, 0

    def next(self, prefix: Tokens) -> dict[int, float]:
        weights = {t: 1.0 + hash((self.seed, prefix, t)) % 997 for t in range(6)}
        total = math.fsum(weights.values()) * 1.5  # a third of the mass is on other tokens
        return {t: math.log(w / total) for t, w in weights.items()}

    def score(self, plan: Tokens) -> float:
        return math.fsum(self.next(plan[:i])[t] for i, t in enumerate(plan))

    def likeliest_path(
        self, prefix: Tokens, paths: Sequence[Tokens]
    ) -> list[tuple[int, dict[int, float]]]:
        self.requests += 1
        found, ways = [], list(paths)
        while any(ways):
            scores = self.next(prefix)
            token = max({way[0] for way in ways if way}, key=scores.__getitem__)
            top = sorted(scores, key=scores.__getitem__, reverse=True)[: self.listed]
            found.append((token, {t: scores[t] for t in (*top, token)}))
            prefix = (*prefix, token)
            ways = [way[1:] for way in ways if way and way[0] == token]
        return found


plans_of = st.sets(
    st.lists(st.integers(1, 5), min_size=1, max_size=5).map(lambda t: (*t, END)),
    min_size=1,
    max_size=20,
)


@given(plans_of, st.integers(0, 50))
def test_without_pruning_every_plan_is_exact(paths: set[Tokens], seed: int) -> None:
    model = Model(seed)
    scores = plan_scores({p: p for p in paths}, model.likeliest_path, 0.0)
    assert scores == {p: pytest.approx(model.score(p)) for p in paths}


@given(plans_of, st.integers(0, 50), st.sampled_from([0.01, 0.1, 0.5]))
def test_pruned_plans_weigh_no_more_than_their_branch(
    paths: set[Tokens], seed: int, prune: float
) -> None:
    """What is scored is exact; a pruned plan has at most the share that was given up."""
    model = Model(seed)
    scores = plan_scores({p: p for p in paths}, model.likeliest_path, prune)
    exact = {p: model.score(p) for p in paths}
    scored = [p for p in paths if scores[p] == pytest.approx(exact[p])]
    found = math.fsum(math.exp(scores[p]) for p in scored)
    best = max(paths, key=exact.__getitem__)
    for p in set(paths) - set(scored):
        assert math.exp(scores[p]) <= prune * found * (1 + 1e-9)
        assert math.exp(exact[p]) <= prune * found * (1 + 1e-9)
    assert best in scored or math.exp(exact[best]) <= prune * found


def test_a_sure_model_takes_one_request() -> None:
    sure = {(): {1: math.log(0.97), 2: math.log(0.001)}, (1,): {3: -0.01, 4: -9.0}}

    def path(prefix: Tokens, paths: Sequence[Tokens]) -> list[tuple[int, dict[int, float]]]:
        assert prefix == ()
        return [(1, sure[()]), (3, sure[(1,)]), (END, {END: 0.0})]

    scores = plan_scores(
        {"a": (1, 3, 0), "b": (1, 4, 0), "c": (2, 5, 0), "d": (2, 6, 0)}, path, 0.01
    )
    assert scores["a"] == pytest.approx(math.log(0.97) - 0.01)
    assert scores["c"] == scores["d"] == pytest.approx(math.log(0.001 / 2))


def test_what_the_list_lacks_is_as_likely_as_its_last() -> None:
    model = Model(3, listed=1)
    paths = [(1, 0), (2, 0), (3, 0)]
    scores = plan_scores({p: p for p in paths}, model.likeliest_path, 0.9)
    assert all(math.isfinite(score) for score in scores.values())
