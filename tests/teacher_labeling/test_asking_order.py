"""The order in which states are asked about, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import AskOrder
from llm4teach.teacher_labeling.labeling.asking_order import ValueAndShare, in_order

STATES = [State(key, key, (named_plan("go"), named_plan("take"))) for key in "abcd"]
STEPS = {"a": 5, "b": 100, "c": 50}  # none in d
PLANS: dict[str, list[ValueAndShare]] = {
    "a": [(0.9, 0.5), (0.1, 0.5)],  # spread 0.8; 5 steps * log 2 = 3.5 nats
    "b": [(0.5, 1.0), (0.4, 0.0)],  # spread 0.1; 100 steps * 0 nats
    "c": [(0.3, 0.5), (0.3, 0.25), (0.3, 0.25)],  # spread 0; 50 steps * 1.04 nats = 52
}


def ordered(order: AskOrder, seed: int = 0) -> str:
    def entropies() -> Mapping[str, float]:
        assert order == "uncertain"
        return {"a": 0.1, "c": 0.2}

    def plans() -> Mapping[str, Sequence[ValueAndShare]]:
        assert order in ("spread", "change"), "the others do without"
        return PLANS

    return "".join(state.key for state in in_order(STATES, order, STEPS, plans, entropies, seed))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        *[("first", "abcd"), ("visits", "bcad"), ("uncertain", "cabd")],
        *[("spread", "abcd"), ("change", "cabd")],
    ],
)
def test_by_hand(order: AskOrder, expected: str) -> None:
    assert ordered(order) == expected


def test_random_follows_the_seed() -> None:
    orders = {ordered("random", seed) for seed in range(50)}
    assert ordered("random", 3) == ordered("random", 3)
    assert len(orders) > 10
    assert {"".join(sorted(order)) for order in orders} == {"abcd"}


def test_no_states() -> None:
    assert in_order([], "visits", {}, dict, dict, 0) == []
