"""Episodes in the terminal: a policy or a person plays, and the teacher's advice stands beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Task, describe
from llm4teach.flows.cli.grid_view import carried, draw_map
from llm4teach.teacher_labeling.live import LiveTeacher

BARS = 20  # characters of a probability of 1
Probs = NDArray[np.float32]


class QuitError(Exception):
    """The person at the keyboard has had enough."""


@dataclass(frozen=True)
class Moment:
    """What there is to see before an action."""

    observation: NDArray[np.uint8]  # (*observation_shape)
    state_text: str
    plans: tuple[tuple[Plan, float], ...]  # the teacher's advice; empty if it has none
    advised: Probs  # (n_actions,), grounded; zeros without advice
    own: Probs | None  # (n_actions,), of the policy that plays; None for a person


Choose = Callable[[Moment], int]  # an action; raises QuitError


@dataclass(frozen=True)
class Ending:
    """How an episode went."""

    seed: int
    success: bool
    steps: int
    total_return: float  # undiscounted


def play_episode(
    task: Task,
    seed: int,
    choose: Choose,
    policy: Callable[[NDArray[np.uint8]], Probs] | None,
    teacher: LiveTeacher | None,
    console: Console,
    delay: float,
) -> Ending:
    """Play one episode and show it, moving on a terminal, frame after frame elsewhere.

    Args:
        task: to play.
        seed: determines the whole episode, but for the actions.
        choose: gives the actions.
        policy: whose probabilities are shown, (1, *shape) -> (1, n_actions); None for a person.
        teacher: whose advice is shown; None for nobody's.
        console: to show it on.
        delay: seconds between steps.

    Raises:
        QuitError: ``choose`` raised it.
        TeacherError: the teacher had to be asked and cannot answer.
    """
    env: Any = task.make_env()
    observation, _ = env.reset(seed=seed)
    total, steps, terminated, truncated = 0.0, 0, False, False
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def show(shown: RenderableType) -> None:
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)

        while not (terminated or truncated):
            moment = _moment(task, np.asarray(observation), policy, teacher)
            show(frame(task, moment, f"seed {seed}, step {steps}, return {total:.2f}"))
            action = choose(moment)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, steps = total + float(reward), steps + 1
            if not console.is_terminal:
                console.print(f"→ {task.action_names[action]}")
            time.sleep(delay)
        success = bool(terminated and total > 0)
        how = "solved" if success else "failed" if terminated else "out of time"
        last = _moment(task, np.asarray(observation), None, None)
        show(frame(task, last, f"seed {seed}, {how} after {steps} steps, return {total:.2f}"))
    env.close()
    return Ending(seed, success, steps, total)


def _moment(
    task: Task,
    observation: NDArray[np.uint8],
    policy: Callable[[NDArray[np.uint8]], Probs] | None,
    teacher: LiveTeacher | None,
) -> Moment:
    batch = observation[None]  # (1, *observation_shape)
    [state] = describe(task, batch)
    plans: Any = ()
    advised = np.zeros(len(task.action_names), np.float32)
    if teacher is not None:
        [plans] = teacher.mixtures([state])
        advised = teacher.teacher_probs(batch)[0]  # (n_actions,)
    own = policy(batch)[0] if policy is not None else None
    return Moment(observation, state.text, tuple(plans), advised, own)


def frame(task: Task, moment: Moment, title: str) -> RenderableType:
    """Return the map, and beside it what is known, advised and likely."""
    beside = Text()
    beside.append(f"{moment.state_text}\n", "bold")
    beside.append(f"holds: {carried(moment.observation)}\n\n")
    for plan, share in sorted(moment.plans, key=lambda option: -option[1]):
        beside.append(f"{share:>4.0%} {plan}\n", "yellow")
    if moment.plans:
        beside.append("\n")
    sides = [("teacher", moment.advised, "yellow"), ("player", moment.own, "blue")]
    known = [(name, probs, style) for name, probs, style in sides if probs is not None]
    known = [side for side in known if side[1].any()]
    for action, name in enumerate(task.action_names):
        for i, (who, probs, style) in enumerate(known):
            beside.append(f"{name if i == 0 else '':<10}{who:<8}")
            bar = "━" * round(BARS * float(probs[action]))
            beside.append(f"{bar:<{BARS}}", style)
            beside.append(f" {probs[action]:>4.0%}\n")
    columns = Columns([draw_map(moment.observation), beside], padding=(0, 3))
    return Group(Text(title, "bold underline"), columns)
