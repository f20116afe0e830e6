"""Behavior policies: any policy, or plans that are followed until the state changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import Mixture, Observations, State, Task, describe
from llm4teach.student.policies import Policy

OPTION = "option: "  # prefix of the behavior label of steps that follow a plan
NOISE = "noise"  # behavior label of uniformly random actions
_POOLS = 10_000  # states whose plans are kept ready
_IDLE = 2  # steps that change nothing, after which a plan gives way


class PolicyBehavior:
    """A policy; its steps are labeled with its name."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
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

    Where the task says so (`Task.many_plans`), a plan gives way to another one if it has led
    back to the same state in this episode, or its last actions have changed nothing.

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
        self._pools: dict[str, _Pool] = {}  # by state key
        self._replaced: dict[int, _Replaced] = {}  # by environment, of tasks that replace plans

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Where no plan can act, all actions are equally likely."""
        n, n_actions = len(observations), len(self._task.action_names)
        probs = np.zeros((n, n_actions), np.float32)
        states = describe(self._task, observations) if states is None else states
        distinct = {state.key: state for state in states}
        advice = self._advice(list(distinct.values()))
        pools = {
            key: self._pool(state, mixture)
            for (key, state), mixture in zip(distinct.items(), advice, strict=True)
        }
        ends = np.cumsum([len(pools[state.key].plans) for state in states])  # (n,)
        noise = self._rng.gumbel(size=ends[-1])
        candidates: list[Iterator[Plan]] = []
        for i, (env, state) in enumerate(zip(map(int, envs), states, strict=True)):
            if started[i]:
                for memory in (self._current, self._replaced):
                    memory.pop(env, None)
            pool = pools[state.key]
            drawn = pool.in_order(noise[ends[i] - len(pool.plans) : ends[i]])
            key, plan = self._current.get(env, ("", None))
            continues = plan is not None and key == state.key
            if self._task.many_plans:
                replaced = self._replaced.setdefault(env, _Replaced())
                if replaced.is_stuck(observations[i]) and plan is not None:
                    replaced.follow(state.key, plan, acts=False)
                    continues = False
                drawn = replaced.sort(state.key, drawn, plan if key != state.key else None)
            candidates.append(chain([plan], drawn) if continues and plan else drawn)
        labels = [""] * n
        pending = list(range(n))
        while tried := [(i, plan) for i in pending if (plan := next(candidates[i], None))]:
            pending = [i for i, _ in tried]  # those with another plan to try
            mixtures = [((plan, 1.0),) for _, plan in tried]
            seen = observations if len(pending) == n else observations[pending]
            rows = self._task.ground(seen, mixtures, np.arange(len(pending)))
            for (i, plan), row in zip(tried, rows, strict=True):
                env, key = int(envs[i]), states[i].key
                if env in self._replaced:
                    self._replaced[env].follow(key, plan, acts=bool(row.any()))
                if row.any():
                    probs[i], labels[i] = row, f"{OPTION}{plan}"
                    self._current[env] = (key, plan)
            pending = [i for i in pending if not labels[i]]
        probs[[i for i in range(n) if not labels[i]]] = 1 / n_actions
        return probs, [label or NOISE for label in labels]

    def state(self) -> dict[str, Any]:
        plans = [[env, key, str(plan)] for env, (key, plan) in self._current.items()]
        replaced = [[env, memory.state()] for env, memory in self._replaced.items()]
        return {"rng": self._rng.bit_generator.state, "plans": plans, "replaced": replaced}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._current = {env: (key, named_plan(plan)) for env, key, plan in state["plans"]}
        self._replaced = {env: _Replaced(memory) for env, memory in state.get("replaced", ())}

    def _pool(self, state: State, advice: Mixture) -> _Pool:
        pool = self._pools.get(state.key)
        if pool is None or pool.advice is not advice:
            if len(self._pools) >= _POOLS:
                self._pools.clear()
            weights: dict[str, float] = {}  # by the plans' texts, which hash faster than plans
            plans = {str(plan): plan for plan, _ in advice}
            for plan, share in advice:
                weights[str(plan)] = (1 - self._plan_epsilon) * share
            for plan in state.options:
                text = str(plan)
                plans.setdefault(text, plan)
                weights[text] = weights.get(text, 0.0) + self._plan_epsilon / len(state.options)
            shares = np.array(list(weights.values()), np.float64)
            pool = _Pool(advice, tuple(plans.values()), np.log(np.maximum(shares, 1e-9)))
            self._pools[state.key] = pool
        return pool


class _Pool(NamedTuple):
    """The plans of a state, with the distribution to draw from."""

    advice: Mixture
    plans: tuple[Plan, ...]
    logits: NDArray[np.float64]  # (n_plans,)

    def in_order(self, noise: NDArray[np.float64]) -> Iterator[Plan]:
        """All plans in random order, drawn without replacement (Gumbel top-k)."""
        for i in np.argsort(-(self.logits + noise)):
            yield self.plans[i]


class _Replaced:
    """Which plans have been followed in an episode, and from which states on.

    Args:
        state: of another object.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {"tried": {}, "from": "", "plan": "", "digest": "", "idle": 0}
        self._tried = {key: set(plans) for key, plans in state["tried"].items()}  # by state key
        self._from: str = state["from"]  # the state in which the present plan was drawn
        self._plan: str = state["plan"]
        self._last = b""  # the last observation, of which a restored object has the digest alone
        self._digest: str = state["digest"]
        self._idle: int = state["idle"]  # steps since it changed

    def state(self) -> dict[str, Any]:
        """Return plain JSON."""
        tried = {key: sorted(plans) for key, plans in self._tried.items()}
        digest = _digest(self._last) if self._last else self._digest
        last = {"digest": digest, "idle": self._idle}
        return {"tried": tried, "from": self._from, "plan": self._plan, **last}

    def is_stuck(self, observation: NDArray[np.uint8]) -> bool:
        """Whether the last actions have changed nothing.

        Two of them: one alone may have been a random action, which collection mixes in.
        """
        last, self._last = self._last, observation.tobytes()
        is_same = self._last == last if last else _digest(self._last) == self._digest
        self._idle = self._idle + 1 if is_same else 0
        return self._idle >= _IDLE

    def sort(self, key: str, plans: Iterable[Plan], present: Plan | None) -> Iterator[Plan]:
        """Put plans that were followed from this state on last, but for the present one."""
        tried = self._tried.get(key, set())
        yield from sorted(plans, key=lambda plan: str(plan) in tried and plan != present)

    def follow(self, key: str, plan: Plan, *, acts: bool) -> None:
        """Take note of the plan that is followed in a state, or cannot act there."""
        if not acts:
            self._tried.setdefault(key, set()).add(str(plan))
        elif str(plan) != self._plan:
            if self._plan:
                self._tried.setdefault(self._from, set()).add(self._plan)
            self._from, self._plan = key, str(plan)


def _digest(observation: bytes) -> str:
    return hashlib.blake2b(observation, digest_size=8).hexdigest()


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
