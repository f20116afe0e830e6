"""How many tokens questions would take, told by a teacher that does not ask them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.base import Elicitation, Question
from llm4teach.teacher_labeling.teacher import Teacher

CHARACTERS_PER_TOKEN = 4  # of English, where no tokenizer can be asked


@dataclass(frozen=True)
class TokenCounts:
    """Tokens that asking about some states would take, all their questions together."""

    prompt: int
    completion: int
    prompt_once: int = 0  # besides, however many states there are: questions of a memo
    completion_once: int = 0
    is_bound: bool = False  # the replies may be shorter than ``completion``
    is_guess: bool = False  # the prompts were not counted by the model's own tokenizer
    how: str = "the model's tokenizer"  # in words for people


@runtime_checkable
class CountsTokens(Protocol):
    """A teacher that knows how long its questions are without asking them."""

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        """Count the questions about these states; None if it cannot after all.

        Raises:
            TeacherError: the model cannot be loaded.
        """
        ...


def tokens_of(teacher: Teacher, states: Sequence[State]) -> TokenCounts | None:
    """Return what the questions would take, None if the teacher cannot tell."""
    return teacher.count_tokens(states) if isinstance(teacher, CountsTokens) else None


def generated_tokens(question: Question) -> int:
    """Return the most tokens that the replies to a question have; exact where it is for scores."""
    return 1 if question.labels else question.n * question.max_tokens


def count_questions(
    elicitation: Elicitation,
    states: Sequence[State],
    lengths: Callable[[Sequence[Question]], Sequence[int]],
    generated: Callable[[Question], int] = generated_tokens,
) -> TokenCounts:
    """Count what an elicitation asks: every order of the options, and what calibrates them.

    Args:
        elicitation: says what is asked.
        states: to ask about.
        lengths: tells the prompt tokens of each question.
        generated: tells the most completion tokens of a question.
    """
    own: list[Question] = []
    shared: dict[str, Question] = {}  # by memo: asked once for all states
    for state in states:
        for question in elicitation.questions(state):
            if question.memo:
                shared.setdefault(question.memo, question)
            else:
                own.append(question)
    counted = list(lengths([*own, *shared.values()]))
    return TokenCounts(
        prompt=sum(counted[: len(own)]),
        completion=sum(map(generated, own)),
        prompt_once=sum(counted[len(own) :]),
        completion_once=sum(map(generated, shared.values())),
        is_bound=not all(question.labels for question in own),
    )
