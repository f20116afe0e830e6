"""Behavior policies: any policy, or plans that are followed until the state changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan, parse_plan
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.student.policies import Policy

OPTION = "option: "  # prefix of the behavior label of steps that follow a plan
NOISE = "noise"  # behavior label of uniformly random actions


class BehaviorPolicy(Protocol):
    """Chooses actions in some of the environments that are stepped together."""

    def act(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Return action probabilities (n, n_actions) and the behavior label of each step.

        Args:
            observations: uint8 (n, *observation_shape).
            envs: index of the environment of each row, (n,).
            started: whether the row is the first step of an episode, (n,).
        """
        ...

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue as the policy whose `state` this is."""
        ...


class PolicyBehavior:
    """A policy; its steps are labeled with its name."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy

    def act(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        return self.policy(observations), [self.name] * len(observations)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """A policy keeps nothing between steps."""


class OptionBehavior:
    """Draws a plan when the state changes, and follows it until the state changes again.

    So the return of following a plan can be estimated, which a mixture of plans in every step
    would not allow.

    Args:
        task: grounds the plans.
        advice: returns the distributions to draw from, one for each state.
        plan_epsilon: probability of a uniformly random admissible plan instead of an advised one.
        rng: draws the plans.
    """

    def __init__(
        self,
        task: Task,
        advice: Callable[[Sequence[State]], Sequence[Mixture]],
        plan_epsilon: float,
        rng: np.random.Generator,
    ) -> None:
        self._task, self._advice, self._plan_epsilon, self._rng = task, advice, plan_epsilon, rng
        self._current: dict[int, tuple[str, Plan]] = {}  # state key and plan, by environment

    def act(
        self, observations: Observations, envs: NDArray[np.intp], started: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Where no plan can act, all actions are equally likely."""
        n, n_actions = len(observations), len(self._task.action_names)
        probs = np.zeros((n, n_actions), np.float32)
        state_ids = self._task.identify(observations)  # (n,)
        states = {int(i): self._task.state(int(i)) for i in np.unique(state_ids)}
        advice = dict(zip(states, self._advice(list(states.values())), strict=True))
        candidates: list[list[Plan]] = []
        for i, env in enumerate(envs):
            key, plan = self._current.get(int(env), ("", None))
            state = states[int(state_ids[i])]
            continues = plan is not None and key == state.key and not started[i]
            drawn = self._draw(state, advice[int(state_ids[i])])
            candidates.append([plan, *drawn] if continues and plan else drawn)
        labels = [""] * n
        pending = [i for i in range(n) if candidates[i]]  # a state may have no plan at all
        while pending:
            plans = [candidates[i].pop(0) for i in pending]
            mixtures = [((plan, 1.0),) for plan in plans]
            rows = self._task.ground(observations[pending], mixtures, np.arange(len(pending)))
            for i, plan, row in zip(pending, plans, rows, strict=True):
                if row.any():
                    probs[i], labels[i] = row, f"{OPTION}{plan}"
                    self._current[int(envs[i])] = (states[int(state_ids[i])].key, plan)
            pending = [i for i in pending if not labels[i] and candidates[i]]
        probs[[i for i in range(n) if not labels[i]]] = 1 / n_actions
        return probs, [label or NOISE for label in labels]

    def state(self) -> dict[str, Any]:
        plans = [[env, key, str(plan)] for env, (key, plan) in self._current.items()]
        return {"rng": self._rng.bit_generator.state, "plans": plans}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._current = {env: (key, parse_plan(plan)) for env, key, plan in state["plans"]}

    def _draw(self, state: State, advice: Mixture) -> list[Plan]:
        """All plans of a state in random order, drawn without replacement (Gumbel top-k)."""
        weights = {plan: (1 - self._plan_epsilon) * share for plan, share in advice}
        for plan in state.options:
            weights[plan] = weights.get(plan, 0.0) + self._plan_epsilon / len(state.options)
        plans, shares = list(weights), np.array(list(weights.values()), np.float64)
        keys = np.log(np.maximum(shares, 1e-9)) + self._rng.gumbel(size=len(plans))
        return [plans[i] for i in np.argsort(-keys)]


def plans_followed(
    behaviors: NDArray[np.str_], states: NDArray[np.str_], episode_ends: NDArray[np.bool_]
) -> NDArray[np.str_]:
    """The plan that each step follows, (N,); "" where it follows none.

    A noisy step counts for the plan that it interrupts. All arrays are (N,), one episode after the
    other.
    """
    follows = np.char.startswith(behaviors, OPTION)
    plans = np.where(follows, np.char.replace(behaviors, OPTION, "", count=1), "")
    same_state = np.append(False, (states[1:] == states[:-1]) & ~episode_ends[:-1])
    interrupted = same_state & (behaviors == NOISE)
    source = np.where(interrupted, 0, np.arange(len(plans)))
    followed: NDArray[np.str_] = plans[np.maximum.accumulate(source)]
    return followed
