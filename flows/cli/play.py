"""The command play: episodes in the terminal, played by a policy or a person, with advice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from llm4teach.errors import ConfigError
from llm4teach.flows.cli.parser import Argument, SettingsCommand
from llm4teach.flows.runtime.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console, RenderableType

    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.plan import Plan
    from llm4teach.envs.task import Task
    from llm4teach.student.policies import Policy
    from llm4teach.teacher_labeling.live import LiveTeacher

    Probs = NDArray[np.float32]

BARS = 20  # characters of a probability of 1
# MiniGrid's action names and the keys for them; a number is the action's number on any task.
KEYS = {
    "left": "left",
    "right": "right",
    "up": "forward",
    "p": "pickup",
    "d": "drop",
    " ": "toggle",
}
MINIGRID_HELP = "keys: ← → turn, ↑ forward, p pick up, d drop, space toggle, a as advised, q quit"


class QuitError(Exception):
    """The person at the keyboard quits."""


@dataclass(frozen=True)
class Moment:
    """What is shown before an action."""

    observation: NDArray[np.uint8]  # the student's, (*student_shape)
    state_text: str
    plans: tuple[tuple[Plan, float], ...]  # the teacher's advice; empty if it has none
    advised: Probs  # (n_actions,), grounded; zeros without advice
    policy_probs: Probs | None  # (n_actions,), of the policy that plays; None for a person


@dataclass(frozen=True)
class Ending:
    """How an episode went."""

    seed: int
    success: bool
    steps: int
    total_return: float  # undiscounted


Choose = Callable[[Moment], int]  # returns an action; raises QuitError


class Play(SettingsCommand):
    """Watch episodes in the terminal, or play them, with the teacher's advice beside."""

    command = "play"
    examples = (
        "llm4teach play --agent student --episodes 3",
        "llm4teach play --agent human --teacher recorded/vicuna-33b",
        "llm4teach play --task LavaDoorKey --agent teacher --seed 7 --delay 0.1",
    )
    uses = ("task", "workspace", "seed", "teacher")

    agent: Literal["student", "teacher", "human", "random"] = Field(
        "student", description="who plays"
    )
    run_id: Annotated[str | None, Argument(flags=("--run",), metavar="RUN")] = Field(
        None, description="run whose student plays (default: the task's newest)"
    )
    greedy: bool = Field(False, description="choose the likeliest actions instead of sampling")
    episodes: PositiveInt = Field(1, description="number of episodes, from --seed on")
    delay: Annotated[float | None, Argument(metavar="S")] = Field(
        None, ge=0, lt=60, description="seconds between steps (default: 0.3 on a terminal)"
    )
    no_advice: bool = Field(False, description="ask the teacher nothing, and show no advice")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        is_human = self.agent == "human"
        if is_human and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigError("--agent human needs a terminal; the others play without one")
        if self.agent == "teacher" and self.no_advice:
            raise ConfigError("--agent teacher plays by its advice: leave --no-advice out")

        from rich.console import Console

        from llm4teach.datasets.workspace import Workspace
        from llm4teach.envs.registry import get_task
        from llm4teach.flows.cli.terminal import single_keys

        workspace, task = Workspace(settings.workspace), get_task(settings.task)
        console, endings = Console(highlight=False), list[Ending]()
        delay = self.delay
        if delay is None:
            delay = 0.3 if console.is_terminal and not is_human else 0.0
        with self._teacher(settings, workspace, task) as teacher:
            start_policy = self._policy(workspace, task, teacher)
            start = _choose_by_keys(task) if is_human else self._choose_by_policy(settings.seed)
            if is_human:
                console.print(keys_help(task))
            keyboard = single_keys() if is_human else nullcontext()
            with suppress(QuitError), keyboard:
                for seed in range(settings.seed, settings.seed + self.episodes):
                    policy = start_policy()
                    ending = play_episode(task, seed, start(), policy, teacher, console, delay)
                    endings.append(ending)
        if endings:
            solved = sum(ending.success for ending in endings)
            steps = sum(ending.steps for ending in endings) / len(endings)
            print(
                f"{solved} of {len(endings)} solved by {self.agent}, {steps:.1f} steps on average"
            )

    @contextmanager
    def _teacher(
        self, settings: Settings, workspace: Workspace, task: Task
    ) -> Iterator[LiveTeacher | None]:
        """The teacher with its stored advice; new answers are stored, too."""
        if self.no_advice:
            yield None
            return

        from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher
        from llm4teach.teacher_labeling.factory import questions_of
        from llm4teach.teacher_labeling.live import LiveTeacher

        advisor = open_teacher(settings.teacher, task.family)
        store = advice_of(advisor.info, workspace, task.family)
        questions = questions_of(task, settings.teacher, advisor.info)
        try:
            with closing(LiveTeacher(task, store, advisor, questions=questions)) as teacher:
                yield teacher
        finally:
            advisor.close()

    def _policy(
        self, workspace: Workspace, task: Task, teacher: LiveTeacher | None
    ) -> Callable[[], Policy | None]:
        """Return what gives the player's policy for an episode."""
        if self.agent == "human":
            return lambda: None

        from llm4teach.student.policies import StudentPolicy, uniform_policy

        if self.agent == "random":
            return lambda: uniform_policy(len(task.action_names))
        if self.agent == "teacher":
            assert teacher is not None
            return _teacher_policy(task, teacher)

        from llm4teach.flows.stages.checkpoints import newest_student, stored_student

        run_id = self.run_id or newest_student(workspace, task)
        policy = StudentPolicy(stored_student(workspace, task, run_id))
        return lambda: policy

    def _choose_by_policy(self, seed: int) -> Callable[[], Choose]:
        import numpy as np

        from llm4teach.student.policies import GreedyPlay, sample

        rng = np.random.default_rng(seed)

        def start_episode() -> Choose:
            greedy, indices = GreedyPlay(), np.zeros(1, np.intp)

            def choose(moment: Moment) -> int:
                assert moment.policy_probs is not None
                probs = moment.policy_probs[None]  # (1, n_actions)
                if self.greedy:
                    return int(greedy.choose(probs, moment.observation[None], indices)[0])
                return int(sample(probs, rng)[0])

            return choose

        return start_episode


def _teacher_policy(task: Task, teacher: LiveTeacher) -> Callable[[], Policy]:
    import numpy as np

    from llm4teach.flows.stages.evaluate import own_policy
    from llm4teach.student.policies import in_one_environment

    rng = np.random.default_rng(0)

    def start() -> Policy:
        policy = own_policy(task, teacher, rng)
        return policy if callable(policy) else in_one_environment(policy)

    return start


def keys_help(task: Task) -> str:
    """Return the line that says which key does what."""
    if set(KEYS.values()) & set(task.action_names):
        return MINIGRID_HELP
    actions = ", ".join(f"{i} {name}" for i, name in enumerate(task.action_names))
    return f"keys: {actions}, a as advised, q quit"


def _choose_by_keys(task: Task) -> Callable[[], Choose]:
    from llm4teach.flows.cli.terminal import read_key

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
            if key.isdecimal() and int(key) < len(names):
                return int(key)

    return lambda: choose


def play_episode(
    task: Task,
    seed: int,
    choose: Choose,
    policy: Policy | None,
    teacher: LiveTeacher | None,
    console: Console,
    delay: float,
) -> Ending:
    """Play one episode and show it, in place on a terminal, frame after frame elsewhere.

    Args:
        task: to play.
        seed: determines the whole episode, except for the actions.
        choose: returns the actions.
        policy: whose probabilities are shown, (1, *shape) -> (1, n_actions); None for a person.
        teacher: whose advice is shown; None shows none.
        console: to show it on.
        delay: seconds between steps.

    Raises:
        QuitError: ``choose`` raised it.
        TeacherError: the teacher had to be asked and cannot answer.
    """
    import numpy as np
    from rich.live import Live

    env: Any = task.make_env()
    observation, _ = env.reset(seed=seed)
    total, steps, terminated, truncated = 0.0, 0, False, False
    is_animated = console.is_terminal and not console.is_dumb_terminal
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def show(shown: RenderableType) -> None:
            if is_animated:
                live.update(shown, refresh=True)
            else:
                console.print(shown)

        while not (terminated or truncated):
            moment = _moment(task, np.asarray(observation), policy, teacher)
            show(frame(task, moment, f"seed {seed}, step {steps}, return {total:.2f}"))
            action = choose(moment)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, steps = total + float(reward), steps + 1
            if not is_animated:
                console.print(f"→ {task.action_names[action]}")
            time.sleep(delay)
        success = bool(task.is_success(np.array([terminated]), np.array([total]))[0])
        how = "solved" if success else "failed" if terminated else "out of time"
        last = _moment(task, np.asarray(observation), None, None)
        show(frame(task, last, f"seed {seed}, {how} after {steps} steps, return {total:.2f}"))
    env.close()
    return Ending(seed, success, steps, total)


def _moment(
    task: Task,
    observation: NDArray[np.uint8],
    policy: Policy | None,
    teacher: LiveTeacher | None,
) -> Moment:
    import numpy as np

    from llm4teach.envs.task import describe

    batch = observation[None]  # (1, *observation_shape)
    [state] = describe(task, batch)
    plans: Any = ()
    advised = np.zeros(len(task.action_names), np.float32)
    if teacher is not None:
        [plans] = teacher.mixtures([state])
        advised = teacher.teacher_probs(batch)[0]  # (n_actions,)
    policy_probs = policy(batch)[0] if policy is not None else None
    seen = task.student_observations(batch)[0]
    return Moment(seen, state.text, tuple(plans), advised, policy_probs)


def frame(task: Task, moment: Moment, title: str) -> RenderableType:
    """Return the drawn observation, if it can be drawn, beside the state, advice and actions."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    from llm4teach.flows.cli.terminal import carried, draw, is_map

    facts = Text()
    facts.append(f"{moment.state_text}\n", "bold")
    if is_map(moment.observation):
        facts.append(f"holds: {carried(moment.observation)}\n")
    facts.append("\n")
    for plan, share in sorted(moment.plans, key=lambda option: -option[1]):
        facts.append(f"{share:>4.0%} {plan}\n", "yellow")
    if moment.plans:
        facts.append("\n")
    sides = [("teacher", moment.advised, "yellow"), ("player", moment.policy_probs, "blue")]
    shown = [side for side in sides if side[1] is not None and side[1].any()]
    width = max(9, *map(len, task.action_names)) + 1
    for action, name in enumerate(task.action_names):
        for i, (who, probs, style) in enumerate(shown):
            assert probs is not None
            facts.append(f"{name if i == 0 else '':<{width}}{who:<8}")
            bar = "━" * round(BARS * float(probs[action]))
            facts.append(f"{bar:<{BARS}}", style)
            facts.append(f" {probs[action]:>4.0%}\n")
    drawn = draw(moment.observation)
    body = Columns([drawn, facts], padding=(0, 3)) if drawn is not None else facts
    return Group(Text(title, "bold underline"), body)
