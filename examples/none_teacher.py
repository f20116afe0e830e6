"""A teacher without a model: all options are as likely. --teacher none_teacher:teacher"""

from collections.abc import Iterator

from llm4teach.teacher_labeling.factory import Backend
from llm4teach.teacher_labeling.teacher import Advice, States, TeacherInfo, advice_from_weights


class NoTeacher:
    """Asks nobody; everything that changes its answers belongs into ``info``."""

    info = TeacherInfo(backend="uniform", model="none", model_revision="1", method="uniform")

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield the same share of every option."""
        for state in states:
            shares = dict.fromkeys(state.options, 1 / max(1, len(state.options)))
            yield advice_from_weights(state, shares)

    def close(self) -> None:
        """Free nothing."""


teacher = Backend(lambda *settings: NoTeacher(), "any option", remote=False, priced=False)
