"""The command `llm4teach play`: who plays, with whose advice, and what came of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from llm4teach.flows.cli.parser import Parser, positive
from llm4teach.flows.runtime.settings import ConfigError, Settings

if TYPE_CHECKING:
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.task import Task
    from llm4teach.flows.cli.play_core import Choose, Moment
    from llm4teach.student.policies import Policy
    from llm4teach.teacher_labeling.live import LiveTeacher

AGENTS = ("student", "teacher", "human", "random")
# MiniGrid's action names, and the keys for them; `a` does what the teacher thinks best.
KEYS = {
    "left": "left",
    "right": "right",
    "up": "forward",
    "p": "pickup",
    "d": "drop",
    " ": "toggle",
}
HELP = "keys: ← → turn, ↑ forward, p pick up, d drop, space toggle, a as advised, q quit"


def add_play_arguments(parser: Parser) -> None:
    """Add the arguments that are no settings."""
    parser.add_argument(
        "--agent", choices=AGENTS, default="student", help="who plays (default: student)"
    )
    parser.add_argument(
        "--run", metavar="RUN", help="run whose student plays (default: the task's newest)"
    )
    parser.add_argument(
        "--greedy", action="store_true", help="likeliest actions instead of drawn ones"
    )
    parser.add_argument(
        "--episodes", type=positive, default=1, metavar="N", help="how many (default: 1)"
    )
    parser.add_argument(
        "--delay", type=_seconds, metavar="S", help="seconds between steps (default: 0.3)"
    )
    parser.add_argument(
        "--no-advice", action="store_true", help="ask the teacher nothing, and show no advice"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 60")
    return seconds


def run_play_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Play the episodes from ``--seed`` on."""
    human = arguments.agent == "human"
    if human and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("--agent human needs a terminal; the others play without one")
    if arguments.agent == "teacher" and arguments.no_advice:
        raise ConfigError("--agent teacher plays by its advice: leave --no-advice out")

    from rich.console import Console

    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.registry import get_task
    from llm4teach.flows.cli.keys import single_keys
    from llm4teach.flows.cli.play_core import Ending, QuitError, play_episode

    workspace, task = Workspace(settings.workspace), get_task(settings.task)
    console, ended = Console(highlight=False), list[Ending]()
    delay = arguments.delay
    if delay is None:
        delay = 0.3 if console.is_terminal and not human else 0.0
    with _teacher(arguments, settings, workspace, task) as teacher:
        policy = _policy(arguments, workspace, task, teacher)
        choose = _by_keys(task) if human else _by_chance(settings.seed, arguments)
        if human:
            console.print(HELP)
        keyboard = single_keys() if human else nullcontext()
        with suppress(QuitError), keyboard:
            for seed in range(settings.seed, settings.seed + arguments.episodes):
                ended.append(play_episode(task, seed, choose(), policy, teacher, console, delay))
    solved = sum(ending.success for ending in ended)
    if ended:
        steps = sum(ending.steps for ending in ended) / len(ended)
        print(f"{solved} of {len(ended)} solved by {arguments.agent}, {steps:.1f} steps on average")


@contextmanager
def _teacher(
    arguments: argparse.Namespace, settings: Settings, workspace: Workspace, task: Task
) -> Iterator[LiveTeacher | None]:
    """The teacher with its stored advice; what it is asked now is stored, too."""
    if arguments.no_advice:
        yield None
        return

    from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher
    from llm4teach.teacher_labeling.live import LiveTeacher

    advisor = open_teacher(settings.teacher, task.family)
    try:
        yield LiveTeacher(task, advice_of(advisor.info, workspace, task.family), advisor)
    finally:
        advisor.close()


def _policy(
    arguments: argparse.Namespace, workspace: Workspace, task: Task, teacher: LiveTeacher | None
) -> Policy | None:
    if arguments.agent == "human":
        return None

    from llm4teach.student.policies import student_policy, teacher_policy, uniform_policy

    if arguments.agent == "random":
        return uniform_policy(len(task.action_names))
    if arguments.agent == "teacher":
        assert teacher is not None
        return teacher_policy(teacher)

    from llm4teach.flows.stages.checkpoints import newest_student, stored_student

    run_id = arguments.run or newest_student(workspace, task)
    return student_policy(stored_student(workspace, task, run_id))


def _by_chance(seed: int, arguments: argparse.Namespace) -> Callable[[], Choose]:
    import numpy as np

    from llm4teach.student.policies import GreedyPlay, sample

    rng = np.random.default_rng(seed)

    def of_an_episode() -> Choose:
        greedy, here = GreedyPlay(), np.zeros(1, np.intp)

        def choose(moment: Moment) -> int:
            assert moment.own is not None
            probs = moment.own[None]  # (1, n_actions)
            if arguments.greedy:
                return int(greedy.choose(probs, moment.observation[None], here)[0])
            return int(sample(probs, rng)[0])

        return choose

    return of_an_episode


def _by_keys(task: Task) -> Callable[[], Choose]:
    from llm4teach.flows.cli.keys import read_key
    from llm4teach.flows.cli.play_core import QuitError

    names = list(task.action_names)

    def choose(moment: Moment) -> int:
        while True:
            key = read_key()
            if key in ("q", "escape", ""):
                raise QuitError
            if key == "a" and moment.advised.any():
                return int(moment.advised.argmax())
            if KEYS.get(key) in names:
                return names.index(KEYS[key])

    return lambda: choose
