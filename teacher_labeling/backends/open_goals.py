"""The teacher ``none/open-goals``: a control for Crafter that knows what is done, and no more."""

from __future__ import annotations

from collections.abc import Iterator

from llm4teach.envs.crafter.describe import FAMILY as CRAFTER
from llm4teach.envs.crafter.describe import PLANS, parse_text
from llm4teach.envs.crafter.symbols import ACHIEVEMENTS
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.uniform import OPEN_GOALS
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo

_ACHIEVEMENT_OF = {  # of options that are not called like theirs
    "drink water": "collect drink",
    "sleep": "wake up",
    "fight zombie": "defeat zombie",
    "fight skeleton": "defeat skeleton",
}


class OpenGoalsTeacher:
    """Crafter's stronger control: uniform over the options whose achievement is still open.

    Exploring is always among them, so that something new can be found; a sleeper sleeps on. What
    an option needs, and which ones are urgent, it does not know.

    Args:
        family: of the tasks.

    Raises:
        TeacherError: it is not Crafter.
    """

    info = TeacherInfo("none", OPEN_GOALS, model_revision="1", method="uniform", instant=True)

    def __init__(self, family: str) -> None:
        if family != CRAFTER:
            raise TeacherError(
                f"the teacher 'none/{OPEN_GOALS}' is for {CRAFTER} only, not for {family}; "
                "the control of all tasks is the teacher 'none'"
            )

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield the same probability for every option that can still unlock something."""
        for state in states:
            done = parse_text(state.text).done
            names = {n for n, flag in zip(ACHIEVEMENTS, done, strict=True) if not flag}
            names |= {option for option, name in _ACHIEVEMENT_OF.items() if name in names}
            possible = set(state.options)
            chosen = sorted(possible & {PLANS[n] for n in (*names, "explore") if n in PLANS})
            plans = tuple((plan, 1 / len(chosen)) for plan in chosen)
            yield Advice(state, AdviceStatus.OK, plans, coverage=1.0)

    def close(self) -> None:
        """Free nothing."""
