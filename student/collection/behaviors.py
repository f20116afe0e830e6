"""Who leads an episode while trajectories are collected: a policy, or options held on to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.student.policies import Policy

OPTION = "option: "  # a step that an option led has this and its plan as its behaviour


class Leader(Protocol):
    """Chooses actions in some of the environments that are stepped together."""

    def lead(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Return action probabilities (n, n_actions) and each step's behaviour.

        Args:
            observations: uint8 (n, *observation_shape).
            envs: which environments these are, (n,).
            started: where an episode has just begun, (n,).
        """
        ...


class PolicyLeader:
    """A policy under its name."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy

    def lead(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        return self.policy(observations), [self.name] * len(observations)


class OptionLeader:
    """Draws a plan where a state is entered and follows it until the state changes.

    So it becomes known what following a plan leads to, which mixed actions would not tell.

    Args:
        task: grounds the plans.
        advice: gives the distributions to draw from.
        doubt: probability of any admissible plan instead.
        rng: draws.
    """

    def __init__(
        self,
        task: Task,
        advice: Callable[[Sequence[State]], Sequence[Mixture]],
        doubt: float,
        rng: np.random.Generator,
    ) -> None:
        self._task, self._advice, self._doubt, self._rng = task, advice, doubt, rng
        self._following: dict[int, tuple[int, Plan]] = {}  # state id and plan, by environment

    def lead(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        """See Leader.lead; where no plan can act any action is as good."""
        n, n_actions = len(observations), len(self._task.action_names)
        probs = np.zeros((n, n_actions), np.float32)
        state_ids = self._task.identify(observations)
        states = {int(i): self._task.state(int(i)) for i in np.unique(state_ids)}
        advice = dict(zip(states, self._advice(list(states.values())), strict=True))
        candidates: list[list[Plan]] = []
        for i, env in enumerate(envs):
            state_id, plan = self._following.get(int(env), (-1, None))
            kept = plan is not None and state_id == state_ids[i] and not started[i]
            drawn = self._draw(states[int(state_ids[i])], advice[int(state_ids[i])])
            candidates.append([plan, *drawn] if kept and plan else drawn)
        led = [""] * n
        pending = list(range(n))
        while pending:
            plans = [candidates[i].pop(0) for i in pending]
            mixtures = [((plan, 1.0),) for plan in plans]
            rows = self._task.ground(observations[pending], mixtures, np.arange(len(pending)))
            for i, plan, row in zip(pending, plans, rows, strict=True):
                if row.any():
                    probs[i], led[i] = row, f"{OPTION}{plan}"
                    self._following[int(envs[i])] = (int(state_ids[i]), plan)
            pending = [i for i in pending if not led[i] and candidates[i]]
        silent = [i for i in range(n) if not led[i]]
        probs[silent] = 1 / n_actions
        return probs, [label or "noise" for label in led]

    def _draw(self, state: State, advice: Mixture) -> list[Plan]:
        """All plans in the order in which they are drawn without putting back."""
        weights = {plan: (1 - self._doubt) * share for plan, share in advice}
        for plan in state.options:
            weights[plan] = weights.get(plan, 0.0) + self._doubt / len(state.options)
        plans, shares = list(weights), np.array(list(weights.values()))
        keys = np.log(np.maximum(shares, 1e-9)) + self._rng.gumbel(size=len(plans))
        return [plans[i] for i in np.argsort(-keys)]


def plans_followed(
    behaviours: NDArray[np.str_], states: NDArray[np.str_], episode_ends: NDArray[np.bool_]
) -> NDArray[np.str_]:
    """The plan that led each step, "" where none did; noise belongs to the plan it disturbed.

    All arrays are (N,), one episode after the other.
    """
    led = np.char.startswith(behaviours, OPTION)
    plans = np.where(led, np.char.replace(behaviours, OPTION, "", count=1), "")
    goes_on = np.append(False, (states[1:] == states[:-1]) & ~episode_ends[:-1])
    takes_over = goes_on & (behaviours == "noise")
    source = np.where(takes_over, 0, np.arange(len(plans)))
    followed: NDArray[np.str_] = plans[np.maximum.accumulate(source)]
    return followed
