"""The contract of a task, checked by playing it: what the rest of the code relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from llm4teach.envs.encoding import check_encoder
from llm4teach.envs.plan import Plan, PlanSyntaxError, named_plan
from llm4teach.envs.task import (
    Observations,
    State,
    Task,
    describe,
    ground_plan,
    normalize_rows,
    verbs_of,
    whole_question,
)
from llm4teach.errors import TaskError

SEED, EPISODES, STEPS = 0, 4, 60  # of the episodes that are played by random actions
_OPTIONS_FOLLOWED = 24  # at most
_MANY = 1 << 20  # ids are indices into tables: larger ones waste memory


class Problem(NamedTuple):
    """Something that breaks the contract."""

    member: str  # of the task
    text: str


class Played(NamedTuple):
    """Episodes of random actions, one step after the other."""

    observations: Observations  # (N, *observation_shape), before each action and at each end
    actions: list[list[int]]  # of each episode
    terminated: list[bool]  # whether each episode terminated, rather than being cut off
    returns: list[float]


Check = Callable[[Task, Played], Iterator[Problem]]


def check_task(task: Task) -> list[Problem]:
    """Play a task and return everything that breaks the contract of `envs.task.Task`.

    An exception of the task's own code is a problem of the member that was called.
    """
    problems = list(_guarded("members", lambda: _members(task)))
    if problems:
        return problems
    played: list[Played] = []

    def play_it() -> Iterator[Problem]:
        played.append(_play(task, range(SEED, SEED + EPISODES)))
        yield from ()

    problems = list(_guarded("make_env", play_it))
    if problems:
        return problems
    for member, check in CHECKS.items():
        problems += _guarded(member, lambda check=check: check(task, played[0]))  # type: ignore[misc]
    return problems


def _guarded(member: str, run: Callable[[], Iterator[Problem]]) -> Iterator[Problem]:
    try:
        yield from run()
    except Exception as error:  # code of the user, which may raise anything
        reason = str(error) if isinstance(error, TaskError) else f"{type(error).__name__}: {error}"
        yield Problem(member, f"it failed: {reason}")


def _members(task: Task) -> Iterator[Problem]:
    names = task.action_names
    if not names or len(set(names)) != len(names) or not all(isinstance(n, str) for n in names):
        yield Problem("action_names", f"must be distinct names, at least one; is {names!r}")
    if len(names) > np.iinfo(np.int8).max:
        yield Problem("action_names", f"there can be 127 actions at most, not {len(names)}")
    for member in ("name", "family", "trained_as"):
        value = getattr(task, member, None)
        if not isinstance(value, str) or not value:
            yield Problem(member, f"must be a name; is {value!r}")
        elif "/" in value or "\\" in value or value.startswith("."):
            yield Problem(member, f"must be usable as a folder's name; is {value!r}")
    if not isinstance(task.max_steps, int) or task.max_steps < 1:
        yield Problem("max_steps", f"must be a number of steps, 1 or more; is {task.max_steps!r}")
    shape = task.observation_shape
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        yield Problem("observation_shape", f"must be sizes of 1 or more; is {shape!r}")


def _play(task: Task, seeds: Sequence[int]) -> Played:
    rng, env = np.random.default_rng(SEED), task.make_env()
    seen, actions, terminated, returns = [], [], list[bool](), list[float]()
    try:
        for seed in seeds:
            observation, _ = env.reset(seed=seed)
            seen.append(np.asarray(observation))
            actions.append(list[int]())
            total, ended, cut = 0.0, False, False
            while not (ended or cut) and len(actions[-1]) < STEPS:
                action = int(rng.integers(len(task.action_names)))
                observation, reward, ended, cut, _ = env.step(action)
                seen.append(np.asarray(observation))
                actions[-1].append(action)
                total += float(reward)
            terminated.append(bool(ended))
            returns.append(total)
    finally:
        env.close()  # type: ignore[no-untyped-call]
    for observation in seen:
        if observation.dtype != np.uint8 or observation.shape != task.observation_shape:
            raise TaskError(
                f"its observations must be uint8 of shape {task.observation_shape}; one is "
                f"{observation.dtype} of shape {observation.shape}"
            )
    return Played(np.stack(seen), actions, terminated, returns)


def _seeds(task: Task, played: Played) -> Iterator[Problem]:
    again = _play(task, range(SEED, SEED + EPISODES))
    if again.actions != played.actions or (again.observations != played.observations).any():
        yield Problem(
            "make_env",
            "reset(seed=s) does not determine the episode: the same seeds and actions led to "
            "other observations in a second environment; draw everything from self.np_random",
        )
    first = _play(task, [SEED + 1]).observations
    start = len(played.actions[0]) + 1
    expected = played.observations[start : start + 1]
    if (first[:1] != expected).any():
        yield Problem(
            "make_env", "an episode depends on the one before it; reset must forget everything"
        )


def _vector(task: Task, played: Played) -> Iterator[Problem]:
    yield from _same_episodes("make_vector_env", task, task.make_vector_env(2))


def _workers(task: Task, played: Played) -> Iterator[Problem]:
    try:
        envs = task.make_worker_env(2, 1)
    except Exception as error:
        yield Problem(
            "make_worker_env",
            f"the environments cannot be made in a worker process ({type(error).__name__}: "
            f"{error}); functions must be defined at the top of an importable module, and the "
            "task must be picklable",
        )
        return
    yield from _same_episodes("make_worker_env", task, envs)


def _same_episodes(member: str, task: Task, envs: Any) -> Iterator[Problem]:
    """Compare two environments stepped together with single ones; step on after an end, too."""
    rng, singles = np.random.default_rng(SEED), [task.make_env() for _ in range(2)]
    try:
        seeds = np.array([SEED, SEED + 1])
        seen, _ = envs.reset(seed=seeds)
        last = [
            np.asarray(env.reset(seed=int(s))[0]) for env, s in zip(singles, seeds, strict=True)
        ]
        running = [True, True]
        for t in range(STEPS):
            if (np.asarray(seen) != np.stack(last)).any():
                yield Problem(
                    member, f"step {t} shows another observation than make_env's environment"
                )
                return
            actions = rng.integers(len(task.action_names), size=2)
            seen, rewards, terminated, truncated, _ = envs.step(actions)
            for i, env in enumerate(singles):
                expected: tuple[float, bool, bool] = (0.0, False, False)
                if running[i]:
                    observation, reward, ended, cut, _ = env.step(int(actions[i]))
                    last[i], expected = np.asarray(observation), (float(reward), ended, cut)
                    running[i] = not (ended or cut)
                if (float(rewards[i]), bool(terminated[i]), bool(truncated[i])) != expected:
                    yield Problem(
                        member,
                        f"step {t}: reward, terminated and truncated are {rewards[i]}, "
                        f"{terminated[i]} and {truncated[i]}; make_env's environment has "
                        f"{', '.join(map(str, expected))}; one that has ended stays as it is",
                    )
                    return
    finally:
        envs.close()
        for env in singles:
            env.close()  # type: ignore[no-untyped-call]


def _states(task: Task, played: Played) -> Iterator[Problem]:
    ids = task.identify(played.observations)
    if ids.shape != (len(played.observations),) or ids.dtype.kind not in "iu":
        yield Problem(
            "identify", f"must return int64 ({len(ids)},); returns {ids.dtype} {ids.shape}"
        )
        return
    if ids.min() < 0 or ids.max() > _MANY:
        yield Problem("identify", f"ids must lie in 0 … {_MANY:,}; one is {ids.max()}")
    single = np.concatenate([task.identify(o[None]) for o in played.observations])
    if (single != ids).any():
        yield Problem("identify", "an observation alone has another id than in a batch")
    texts: dict[str, int] = {}
    for state_id in np.unique(ids):
        state = task.state(int(state_id))
        if not state.text.strip() or not state.key:
            yield Problem("state", f"state {state_id} has no text or no key")
        if texts.setdefault(state.text, int(state_id)) != state_id:
            yield Problem("identify", f"two ids have one text: {state.text!r}")
        for plan in state.options:
            try:
                same = named_plan(str(plan)) == plan
            except PlanSyntaxError as error:
                yield Problem("state", f"its option {str(plan)!r} cannot be read back: {error}")
                continue
            if not same:
                yield Problem("state", f"its option {str(plan)!r} reads back as another plan")


def _verbs(task: Task, played: Played) -> Iterator[Problem]:
    verbs = verbs_of(task.family)
    if verbs is None:
        return
    ids = np.unique(task.identify(played.observations))
    for plan in sorted({plan for i in ids for plan in task.state(int(i)).options}):
        try:
            read = verbs.read(str(plan), " > ")
        except PlanSyntaxError as error:
            yield Problem("family", f"its verbs cannot read an option: {error}")
            continue
        if read != plan:
            yield Problem("family", f"its verbs read the option {str(plan)!r} as {str(read)!r}")


def _grounding(task: Task, played: Played) -> Iterator[Problem]:
    n = len(task.action_names)
    ids = task.identify(played.observations)
    silent: list[Plan] = []
    plans = sorted({p for i in np.unique(ids) for p in task.state(int(i)).options})
    for plan in plans:
        probs = ground_plan(task, played.observations, plan)
        if probs.shape != (len(ids), n) or probs.dtype != np.float32:
            yield Problem(
                "ground",
                f"must return float32 {(len(ids), n)}; returns {probs.dtype} {probs.shape}",
            )
            return
        sums = probs.sum(1)
        wrong = ~(np.isclose(sums, 1, atol=1e-4) | (sums == 0)) | (probs < 0).any(1)
        if wrong.any():
            yield Problem(
                "ground",
                f"rows must sum to 1, or to 0; {plan} has one that sums to {sums[wrong][0]}",
            )
        alone = np.concatenate([ground_plan(task, o[None], plan) for o in played.observations])
        if not np.allclose(alone, probs, atol=1e-6):
            yield Problem(
                "ground", f"{plan}: an observation alone is grounded otherwise than in a batch"
            )
        if not probs.any():
            silent.append(plan)
    if plans and len(silent) == len(plans):
        yield Problem("ground", "no option acts in any observation of the episodes played")
    mixture = tuple((plan, 1 / len(plans)) for plan in plans)
    mixed = task.ground(played.observations, [mixture], np.zeros(len(ids), np.int64))
    expected = np.zeros((len(ids), n), np.float32)
    for plan in plans:
        expected += ground_plan(task, played.observations, plan) / len(plans)
    if not np.allclose(mixed, normalize_rows(expected), atol=1e-4):
        yield Problem("ground", "mixed advice is not the mixture of its plans' policies")


def _options_end(task: Task, played: Played) -> Iterator[Problem]:
    """Follow options from the first state; each must end, change the state or end the episode."""
    rng, env = np.random.default_rng(SEED), task.make_env()
    observation, _ = env.reset(seed=SEED)
    (state,) = describe(task, np.asarray(observation)[None])
    try:
        for plan in state.options[:_OPTIONS_FOLLOWED]:
            observation, _ = env.reset(seed=SEED)
            for _ in range(task.max_steps):
                batch = np.asarray(observation)[None]
                probs = ground_plan(task, batch, plan)[0].astype(np.float64)
                (now,) = describe(task, batch)
                if not probs.any() or now.key != state.key:
                    break
                action = int(rng.choice(len(probs), p=probs / probs.sum()))
                observation, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    break
            else:
                yield Problem(
                    "max_steps", f"an episode did not end within max_steps = {task.max_steps} steps"
                )
    finally:
        env.close()  # type: ignore[no-untyped-call]


def _success(task: Task, played: Played) -> Iterator[Problem]:
    terminated, returns = np.array(played.terminated), np.array(played.returns)
    success = task.is_success(terminated, returns)
    if success.shape != terminated.shape or success.dtype != np.bool_:
        yield Problem(
            "is_success",
            f"must return bool {terminated.shape}; returns {success.dtype} {success.shape}",
        )


def _student(task: Task, played: Played) -> Iterator[Problem]:
    seen = task.student_observations(played.observations)
    expected = (len(played.observations), *task.student_shape)
    if seen.shape != expected or seen.dtype != np.uint8:
        yield Problem(
            "student_observations",
            f"must return uint8 {expected}; returns {seen.dtype} {seen.shape}",
        )
        return
    size = int(np.prod(task.student_shape))
    first = played.observations.reshape(len(seen), -1)[:, :size].reshape(seen.shape)
    if (first != seen).any():
        yield Problem("student_observations", "must be the first bytes of the observations")


def _encoder(task: Task, played: Played) -> Iterator[Problem]:
    try:
        check_encoder(task.encoder, tuple(task.student_shape))
    except TaskError as error:
        yield Problem("encoder", str(error))


def _examples(task: Task, played: Played) -> Iterator[Problem]:
    states = task.example_states()
    if not states:
        yield Problem("example_states", "must return at least one state")
    for state in states:
        if not state.options:
            yield Problem("example_states", f"a state has no options: {state.text!r}")


def _questions(task: Task, played: Played) -> Iterator[Problem]:
    """Of the states met: what is asked about a plan follows from the state's text and the plan."""
    question = getattr(task, "question", whole_question)
    for state_id in np.unique(task.identify(played.observations)):
        state = task.state(int(state_id))
        for plan in state.options:
            text = question(state, plan)
            if not isinstance(text, str):
                yield Problem("question", f"must return a text; returns {text!r} about {plan}")
                return
            if question(State("", state.text, ()), plan) != text:
                yield Problem(
                    "question", f"about {plan} it must follow from the state's text alone"
                )
                return


def _frames(task: Task, played: Played) -> Iterator[Problem]:
    try:
        env = task.make_env(render_mode="rgb_array")
        observation, _ = env.reset(seed=SEED)
        frame: Any = env.render()
        env.close()  # type: ignore[no-untyped-call]
    except Exception as error:
        yield Problem(
            "make_env", f"render_mode='rgb_array' fails ({type(error).__name__}: {error})"
        )
        return
    drawn = np.asarray(task.draw(np.asarray(frame), np.asarray(observation)))
    if drawn.ndim != 3 or drawn.shape[2] != 3 or drawn.dtype != np.uint8:
        yield Problem(
            "draw", f"must return uint8 (height, width, 3); returns {drawn.dtype} {drawn.shape}"
        )


CHECKS: dict[str, Check] = {
    "make_env": _seeds,
    "make_vector_env": _vector,
    "make_worker_env": _workers,
    "identify": _states,
    "family": _verbs,
    "ground": _grounding,
    "max_steps": _options_end,
    "is_success": _success,
    "student_observations": _student,
    "encoder": _encoder,
    "example_states": _examples,
    "question": _questions,
    "draw": _frames,
}
