"""A task made of a gymnasium environment, a describer and a dictionary of option policies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from threading import Lock
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.custom.recording import Encode, RecordedEnv, Recorder, TeacherView
from llm4teach.envs.encoding import EncoderFactory, EncoderName, check_encoder, encoder_of_shape
from llm4teach.envs.plan import Plan, PlanSyntaxError, named_plan
from llm4teach.envs.task import Family, Mixture, Observations, State, normalize_rows, state_key
from llm4teach.envs.vector.workers import WorkerVectorEnv
from llm4teach.envs.verbs import Verbs
from llm4teach.errors import TaskError

MakeEnv = Callable[..., gym.Env[Any, Any]]  # takes render_mode
# From what the teacher sees to an action or all actions' probabilities; None: cannot act, or done.
OptionPolicy = Callable[[Any], "int | Sequence[float] | NDArray[np.floating[Any]] | None"]
Success = Callable[[NDArray[np.bool_], NDArray[np.floating[Any]]], NDArray[np.bool_]]
_SCALE_EPISODES, _SCALE_STEPS = 3, 1_000  # of random actions, to see how large returns are
_KEPT = 100_000  # observations whose state and actions are remembered


class GymTask(BaseTask):
    """A gymnasium environment with a fixed number of actions as a `Task`.

    The teacher sees the environment's observation, or what ``view`` makes of it; ``describe`` and
    the option policies read that. The student sees the observation as bytes. Both are recorded.

    Args:
        env: an id for `gymnasium.make`, or a function that makes the environment, which accepts
            ``render_mode``.
        describe: returns the text of what the teacher sees; equal texts are one state.
        options: option policies by their names, as in ``{"go to exit": policy}``; each is a plan
            that the teacher can advise. A policy returns an action, the probabilities of all
            actions, or None where it cannot act or is done.
        admissible: returns the names of the options that are possible; a function of the text
            alone. By default all of them are.
        encode: makes the student's observation: uint8 of one shape, or a text of at most
            `TEXT_SIZE` characters. By default bytes and texts stay as they are, bounded numbers are
            scaled to bytes, and choices become one-hot vectors.
        encoder: what reads the student's observation; see `Task.encoder`. By default ``text`` for
            texts, and otherwise the one for observations of this shape.
        view: makes the teacher's memory of one environment; see `TeacherView`.
        success: which episodes succeed: those that terminated, those that also have a positive
            return, or a function as `Task.is_success`.
        action_names: of the actions; by default their numbers.
        max_steps: time limit of an episode; by default the environment's own.
        return_scale: about how large an episode's return is, in units of reward; learning divides
            rewards by it. By default the largest of a few random episodes, at least 1.
        name: of the task; a task that is loaded by name gets that one.
        family: tasks of one family share their advice; by default the name.
        prompts: templates of its own by use (``sampling``, ``logprobs``, …), instead of the
            standard ones; see ``llm4teach prompts show``.
        about: a few sentences for the standard prompts: what the world is, what the options do.
        verbs: what the options are called, as patterns with what they do, for prompts, and to read
            replies by: ``{"drive to <place>": "along the roads", "wait": ""}``; see `Verbs`. By
            default the options' names, as they are.
        facts: from a state's text and the name of an option to the facts that matter to it, for the
            elicitation ``judgments``; None where the option is not worth a question. By default the
            whole text.

    Raises:
        TaskError: a member does not fit the environment; the message names it.
    """

    def __init__(
        self,
        env: str | MakeEnv,
        describe: Callable[[Any], str],
        options: Mapping[str, OptionPolicy],
        *,
        admissible: Callable[[Any], Iterable[str]] | None = None,
        encode: Encode | None = None,
        encoder: EncoderName | EncoderFactory | None = None,
        view: Callable[[], TeacherView] | None = None,
        success: Literal["terminated", "positive return"] | Success = "positive return",
        action_names: Sequence[str] = (),
        max_steps: int | None = None,
        return_scale: float | None = None,
        name: str = "",
        family: str = "",
        prompts: Mapping[str, str] | None = None,
        about: str = "",
        verbs: Mapping[str, str] | None = None,
        facts: Callable[[str, str], str | None] | None = None,
    ) -> None:
        self.name = self.trained_as = name
        self._own_family, self._prompts, self._about = family, prompts, about
        self._describe, self._admissible, self._success = describe, admissible, success
        self._facts_for = facts
        self._policies = _plans(options)
        self._verbs = _verbs(self._policies, verbs)
        self._plans = dict(zip(options, self._policies, strict=True))
        self._names = dict(zip(self._policies, options, strict=True))
        example_env = _limited(env, max_steps, None)
        try:
            actions, limit = example_env.action_space, _time_limit(example_env)
            observation, _ = example_env.reset(seed=0)
        finally:
            example_env.close()  # type: ignore[no-untyped-call]
        if not isinstance(actions, gym.spaces.Discrete) or actions.start:
            raise TaskError(f"env has the actions {actions}; a task has Discrete(n), from 0 on")
        self.action_names = tuple(action_names) or tuple(map(str, range(int(actions.n))))
        if len(self.action_names) != actions.n:
            raise TaskError(
                f"action_names has {len(self.action_names)} names, but env {actions.n} actions"
            )
        self.max_steps = limit
        view_space = view().space if view else None
        self._recorder = Recorder(example_env.observation_space, encode, view_space, observation)
        self.observation_shape = self._recorder.shape
        self._encoder = encoder or ("text" if self._recorder.is_text else None)
        if self._encoder:
            check_encoder(self._encoder, self._recorder.student_shape)
        self._make = partial(_recorded, env, max_steps, self._recorder, view)
        self._return_scale = return_scale
        self._states: list[State] = []
        self._ids: dict[str, int] = {}  # by text
        self._id_of: dict[bytes, int] = {}  # by record
        self._probs: dict[tuple[bytes, Plan], NDArray[np.float32] | None] = {}
        self._lock = Lock()

    @property
    def family(self) -> Family:  # type: ignore[override]
        """Tasks of one family share their state texts, and so their advice."""
        return Family(self._own_family or self.name, self._prompts, self._about, self._verbs)

    @cached_property
    def return_scale(self) -> float:
        """What learning divides rewards by."""
        return self._return_scale or _largest_return(self._make(), len(self.action_names))

    @property
    def student_shape(self) -> tuple[int, ...]:
        return self._recorder.student_shape

    @property
    def encoder(self) -> EncoderName | EncoderFactory:
        return self._encoder or encoder_of_shape(self.student_shape)

    def student_observations(self, observations: Observations) -> Observations:
        return self._recorder.student_part(observations)

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return self._make(render_mode)

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments, stepped by worker processes."""
        return WorkerVectorEnv(CloudpickleWrapper(self._make), n_envs, workers)

    def is_success(
        self, terminated: NDArray[np.bool_], returns: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        if callable(self._success):
            return np.asarray(self._success(terminated, returns), np.bool_)
        return (
            terminated if self._success == "terminated" else super().is_success(terminated, returns)
        )

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), as its position in this task's table.

        Raises:
            TaskError: ``describe`` or ``admissible`` returned what is no text or no options.
        """
        return np.array([self._identify(record) for record in observations], np.int64)

    def _identify(self, record: NDArray[np.uint8]) -> int:
        key = record.tobytes()
        known = self._id_of.get(key)
        if known is not None:
            return known
        view = self._recorder.view(record)
        text = self._describe(view)
        if not isinstance(text, str) or not text.strip():
            raise TaskError(f"describe of {self.name} returned {text!r}, which is no text")
        plans = self._admissible_plans(view)
        with self._lock:  # shards may run in threads
            if len(self._id_of) >= _KEPT:
                self._id_of.clear()
            if text not in self._ids:
                self._ids[text] = len(self._states)
                self._states.append(State(state_key(self.family, text), text, plans))
            state_id = self._id_of[key] = self._ids[text]
        if self._states[state_id].options != plans:
            raise TaskError(
                f"admissible of {self.name} returns other options for one text; options must "
                f"follow from the text alone: {text!r} has "
                f"{', '.join(map(str, self._states[state_id].options))}, and "
                f"{', '.join(map(str, plans))}"
            )
        return state_id

    def _admissible_plans(self, view: Any) -> tuple[Plan, ...]:
        if self._admissible is None:
            return tuple(self._policies)
        names = list(self._admissible(view))
        unknown = [name for name in names if name not in self._plans]
        if unknown:
            raise TaskError(
                f"admissible of {self.name} returned {unknown[0]!r}, which is none of options: "
                f"{', '.join(self._plans)}"
            )
        return tuple(self._plans[name] for name in dict.fromkeys(names))

    def state(self, state_id: int) -> State:
        return self._states[state_id]

    def question(self, state: State, plan: Plan) -> str:
        """Return the facts that matter to an option, and its name; see `Task.question`."""
        if self._facts_for is None:
            return super().question(state, plan)
        facts = self._facts_for(state.text, self._names[plan])
        return "" if facts is None else f"{facts}\nOption: {plan}".lstrip()

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see `Task.ground`.

        Raises:
            TaskError: an option policy returned what is no action and no probabilities.
        """
        probs = np.zeros((len(observations), len(self.action_names)), np.float32)
        for row, record, i in zip(probs, observations, which, strict=True):
            key = record.tobytes()
            for plan, share in mixtures[i]:
                policy = self._policy_of(plan, key, record)
                if policy is not None:
                    row += share * policy
        return normalize_rows(probs)

    def _policy_of(
        self, plan: Plan, key: bytes, record: NDArray[np.uint8]
    ) -> NDArray[np.float32] | None:
        """Return a plan's action probabilities, (n_actions,); None where it does not act."""
        if (key, plan) in self._probs:
            return self._probs[key, plan]
        if len(self._probs) >= _KEPT:
            self._probs.clear()
        policy = self._policies.get(plan)
        choice = policy(self._recorder.view(record)) if policy else None
        probs = None if choice is None else self._as_probs(plan, choice)
        if policy is None and len(plan.options) > 1:  # the first option that is not done acts
            steps = (self._policy_of(Plan((option,)), key, record) for option in plan.options)
            probs = next((step for step in steps if step is not None), None)
        self._probs[key, plan] = probs
        return probs

    def _as_probs(self, plan: Plan, choice: Any) -> NDArray[np.float32]:
        n = len(self.action_names)
        array = np.asarray(choice)
        probs = np.zeros(n, np.float32)
        if array.ndim == 0 and array.dtype.kind in "iu" and 0 <= array < n:
            probs[int(array)] = 1
            return probs
        if array.shape == (n,) and array.dtype.kind in "iuf":
            total = float(array.sum())
            if (array >= 0).all() and np.isclose(total, 1, atol=1e-3):
                probs[:] = array / total
                return probs
        raise TaskError(
            f"the option policy {plan} of {self.name} returned {choice!r}; it must return an "
            f"action from 0 to {n - 1}, {n} probabilities that sum to 1, or None"
        )


def _plans(options: Mapping[str, OptionPolicy]) -> dict[Plan, OptionPolicy]:
    if not options:
        raise TaskError("options is empty; a task has at least one option policy")
    try:
        plans = {named_plan(name): policy for name, policy in options.items()}
    except PlanSyntaxError as error:
        raise TaskError(f"options: {error}") from None
    if len(plans) < len(options):
        raise TaskError(f"two of options have one name but for spaces: {', '.join(options)}")
    return plans


def _verbs(plans: Iterable[Plan], verbs: Mapping[str, str] | None) -> Verbs:
    names = list(dict.fromkeys(str(option) for plan in plans for option in plan.options))
    if verbs is None:
        return Verbs.of(names)
    own = Verbs.of(verbs)
    for name in names:
        try:
            read = own.read(name, ",")
        except PlanSyntaxError as error:
            raise TaskError(f"verbs cannot read the names of options: {error}") from None
        if str(read) != name:
            raise TaskError(f"verbs reads the option {name!r} as {str(read)!r}; call it that")
    return own


def _limited(
    env: str | MakeEnv, max_steps: int | None, render_mode: str | None
) -> gym.Env[Any, Any]:
    """Make the environment, with the time limit if one is set."""
    if render_mode == "rgb_array":  # SDL, which many environments draw with, looks for a screen
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if isinstance(env, str):
        made = gym.make(env, render_mode=render_mode, disable_env_checker=True)
    else:
        made = env(render_mode=render_mode)
    return made if max_steps is None else gym.wrappers.TimeLimit(made, max_steps)


def _time_limit(env: gym.Env[Any, Any]) -> int:
    spec_limit = env.spec.max_episode_steps if env.spec else None
    limit = getattr(env, "_max_episode_steps", None) or spec_limit
    if not limit:
        raise TaskError("max_steps is missing: env has no time limit of its own")
    return int(limit)


def _largest_return(env: gym.Env[Any, int], n_actions: int) -> float:
    """Return the largest size of a return in a few episodes of random actions, at least 1."""
    rng, largest = np.random.default_rng(0), 1.0
    try:
        for seed in range(_SCALE_EPISODES):
            env.reset(seed=seed)
            total, ended, steps = 0.0, False, 0
            while not ended and steps < _SCALE_STEPS:
                _, reward, terminated, truncated, _ = env.step(int(rng.integers(n_actions)))
                total, ended, steps = total + float(reward), terminated or truncated, steps + 1
            largest = max(largest, abs(total))
    finally:
        env.close()  # type: ignore[no-untyped-call]
    return largest


def _recorded(
    env: str | MakeEnv,
    max_steps: int | None,
    recorder: Recorder,
    view: Callable[[], TeacherView] | None,
    render_mode: str | None = None,
) -> RecordedEnv:
    return RecordedEnv(_limited(env, max_steps, render_mode), recorder, view() if view else None)
