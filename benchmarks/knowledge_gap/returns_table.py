"""A table of returns: what an agent without an LLM finds out about plans by trying them.

It has what the teacher has, the texts and their plans, and learns each plan's mean return from
episodes. Where it plays as well as the LLM within a budget, the LLM's knowledge buys nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Mixture, State, Task, describe
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.collection.behavior import OPTION, OptionBehavior
from llm4teach.student.policies import sample

UNTRIED_WHILE_LEARNING = 0.3  # return that a plan is credited with before it was tried
UNTRIED = 0.05  # the same, when the table is played
EXPLORES = 0.5  # share of plans drawn uniformly while it learns
_TEMPERATURE = 0.01  # of returns: the best plan first, then the next ones in their order
Decision = tuple[str, str]  # state key and plan
AdviceOf = Callable[[Sequence[State]], list[Mixture]]


class ReturnsTable:
    """Mean return of the episodes in which a plan was chosen in a state."""

    def __init__(self) -> None:
        self._sums: dict[Decision, float] = defaultdict(float)
        self._counts: dict[Decision, int] = defaultdict(int)

    def add(self, decisions: Sequence[Decision], episode_return: float) -> None:
        """Count an episode for each of its decisions."""
        for decision in decisions:
            self._sums[decision] += episode_return
            self._counts[decision] += 1

    def mean_return(self, decision: Decision, untried: float) -> float:
        """Mean return of a decision; ``untried`` if it was never made."""
        count = self._counts.get(decision, 0)
        return self._sums[decision] / count if count else untried

    def advice(self, untried: float) -> AdviceOf:
        """Return a function that advises the plan of the highest mean return in each state."""

        def best_first(state: State) -> Mixture:
            values = np.array(
                [self.mean_return((state.key, str(p)), untried) for p in state.options]
            )
            odds = np.exp((values - values.max()) / _TEMPERATURE)
            return tuple(zip(state.options, (odds / odds.sum()).tolist(), strict=True))

        return lambda states: [best_first(state) for state in states]


class ReturnsLearner:
    """Fills a table by playing training episodes: half of the plans uniform, half the best so far.

    Args:
        task: whose episodes; its plans are followed as in collection.
        seed: of the episodes, the drawn plans and actions.
        n_envs: episodes side by side.
    """

    def __init__(self, task: Task, seed: int = 0, n_envs: int = 16) -> None:
        self.table, self.steps = ReturnsTable(), 0
        self._task, self._rng = task, np.random.default_rng(seed)
        self._policy = OptionBehavior(
            task, self.table.advice(UNTRIED_WHILE_LEARNING), EXPLORES, self._rng
        )
        self._envs = EpisodeVector(task, n_envs, training_seeds(seed, "returns"))
        self._decisions: list[list[Decision]] = [[] for _ in range(n_envs)]  # of running episodes
        self._returns = np.zeros(n_envs)

    def learn(self, steps: int) -> None:
        """Play until ``steps`` env steps have been made in all."""
        n = len(self._envs)
        everyone = np.arange(n)
        while self.steps < steps:
            observations, started = self._envs.observations, self._envs.steps_in_episode == 0
            states = describe(self._task, observations)
            probs, labels = self._policy.act(observations, everyone, started, states)
            for made, state, label in zip(self._decisions, states, labels, strict=True):
                decision = (state.key, label.removeprefix(OPTION))
                if label.startswith(OPTION) and (not made or made[-1] != decision):
                    made.append(decision)
            step = self._envs.step(sample(probs, self._rng))
            self._returns += step.rewards
            for i in np.flatnonzero(step.terminated | step.truncated):
                self.table.add(self._decisions[i], float(self._returns[i]))
                self._decisions[i], self._returns[i] = [], 0.0
            self.steps += n
