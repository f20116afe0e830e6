"""A policy over options: the network chooses an admissible plan, which acts until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Observations, State, Task
from llm4teach.errors import TaskError
from llm4teach.student.model.network import Output, Student
from llm4teach.student.policies import sample
from llm4teach.student.training.update import NEVER

MOST_PLANS = 1_024  # outputs of the network; plans are numbered as they are met
_IDLE = 2  # steps that change nothing, after which a plan ends, as in `OptionBehavior`


class Decision(NamedTuple):
    """One choice of a plan."""

    env: int
    observation: NDArray[np.uint8]
    plan: int
    logprob: float
    value: float  # V of the observation
    admissible: list[int]


@dataclass
class _Followed:
    """The plan that one environment follows."""

    state_id: int
    plan: int
    observation: bytes = b""  # the last one
    idle: int = 0  # steps in which it has not changed
    is_over: bool = False  # it could not act
    chosen: dict[tuple[int, int], int] = field(default_factory=dict)  # times, by state and plan


class OptionPlayer:
    """Chooses a plan when the state changes, the plan cannot act, or its steps change nothing.

    These are the options that the teacher advises on; here nobody advises. A plan that cannot act
    takes a random action.

    Args:
        task: whose plans.
        student: a network with `MOST_PLANS` outputs.
        numbers: of the plans met so far; new ones are added.
        rng: draws the plans.
        greedy: take the likeliest plan; one that was taken n times in this state and episode counts
            p / (1 + n), so that play does not run in circles.
    """

    def __init__(
        self,
        task: Task,
        student: Student,
        numbers: dict[Plan, int],
        rng: np.random.Generator,
        greedy: bool = False,
    ) -> None:
        self._task, self._student, self._numbers, self._rng = task, student, numbers, rng
        self._greedy = greedy
        self._followed: dict[int, _Followed] = {}
        self.decisions: list[Decision] = []  # of the last call of `act`

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Return the followed plans' action probabilities; see `BehaviorPolicy.act`."""
        state_ids = self._task.identify(observations)  # (n,)
        choosing = [
            i
            for i, env in enumerate(map(int, envs))
            if self._ends(env, int(state_ids[i]), observations[i], bool(started[i]))
        ]
        self.decisions = self._choose(observations, envs, state_ids, choosing)
        return self._probs(observations, envs), ["option"] * len(observations)

    def state(self) -> dict[str, Any]:
        """A trial that is killed starts again; nothing is kept."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """See `state`."""

    @torch.no_grad()
    def values(self, observations: Observations) -> NDArray[np.float32]:
        """Return V of observations, (N,)."""
        values: NDArray[np.float32] = self._output(observations).values.cpu().numpy()
        return values

    def _output(self, observations: Observations) -> Output:
        output: Output = self._student(torch.from_numpy(observations))
        return output

    def _ends(self, env: int, state_id: int, observation: NDArray[np.uint8], started: bool) -> bool:
        """Whether a plan has to be chosen."""
        if started:
            self._followed.pop(env, None)
        followed = self._followed.get(env)
        if followed is None:
            return True
        seen = observation.tobytes()
        followed.idle = followed.idle + 1 if seen == followed.observation else 0
        followed.observation = seen
        return followed.is_over or followed.idle >= _IDLE or followed.state_id != state_id

    @torch.no_grad()
    def _choose(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        state_ids: NDArray[np.int64],
        rows: list[int],
    ) -> list[Decision]:
        if not rows:
            return []
        admissible = [self._admissible(int(state_ids[i])) for i in rows]
        output = self._output(observations[rows])
        allowed = masks(admissible).to(output.logits.device)
        log_probs = output.logits.masked_fill(~allowed, NEVER).log_softmax(-1).cpu().numpy()
        probs, values = np.exp(log_probs), output.values.cpu().numpy()
        decisions = []
        drawn = None if self._greedy else sample(probs, self._rng)
        for j, i in enumerate(rows):
            env, state_id = int(envs[i]), int(state_ids[i])
            old = self._followed.get(env)
            counts = old.chosen if old else {}
            if drawn is None:
                tried = [probs[j, k] / (1 + counts.get((state_id, k), 0)) for k in admissible[j]]
                plan = admissible[j][int(np.argmax(tried))]
            else:
                plan = int(drawn[j])
            counts[state_id, plan] = counts.get((state_id, plan), 0) + 1
            seen = observations[i].tobytes()
            self._followed[env] = _Followed(state_id, plan, seen, chosen=counts)
            chosen = (plan, float(log_probs[j, plan]), float(values[j]), admissible[j])
            decisions.append(Decision(env, observations[i], *chosen))
        return decisions

    def _admissible(self, state_id: int) -> list[int]:
        numbers = self._numbers
        plans = self._task.state(state_id).options
        chosen = [numbers.setdefault(plan, len(numbers)) for plan in plans]
        if len(numbers) > MOST_PLANS:
            raise TaskError(
                f"{self._task.name} has more than {MOST_PLANS} plans: too many for a policy over "
                "options; leave hierarchical RL out (`compare --methods`)"
            )
        return chosen or [0]  # a state without plans: whatever is chosen cannot act

    def _probs(self, observations: Observations, envs: NDArray[np.intp]) -> NDArray[np.float32]:
        plans = list(self._numbers)
        followed = [self._followed[int(env)] for env in envs]
        mixtures = [((plans[one.plan], 1.0),) if plans else () for one in followed]
        probs = self._task.ground(observations, mixtures, np.arange(len(followed)))
        for one, row in zip(followed, probs, strict=True):
            one.is_over = not row.any()
        probs[[one.is_over for one in followed]] = 1 / probs.shape[1]
        return probs


def masks(admissible: list[list[int]]) -> torch.Tensor:
    """Return which plans are admissible, bool (B, `MOST_PLANS`)."""
    allowed = torch.zeros(len(admissible), MOST_PLANS, dtype=torch.bool)
    for row, plans in zip(allowed, admissible, strict=True):
        row[plans] = True
    return allowed
