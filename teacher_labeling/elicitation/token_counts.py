"""How many tokens a teacher's requests would take, counted without sending them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.base import ChatRequest, Elicitation
from llm4teach.teacher_labeling.teacher import Teacher

CHARACTERS_PER_TOKEN = 4  # of English, where no tokenizer can be asked


@dataclass(frozen=True)
class TokenCounts:
    """Tokens that asking about some states would take, all their requests together."""

    prompt: int
    completion: int
    prompt_once: int = 0  # besides, however many states there are: shared requests
    completion_once: int = 0
    is_bound: bool = False  # the replies may be shorter than ``completion``
    is_guess: bool = False  # the prompts were not counted by the model's own tokenizer
    how: str = "the model's tokenizer"  # in words for people


@runtime_checkable
class CountsTokens(Protocol):
    """A teacher that can count the tokens of its requests without sending them."""

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        """Count the requests about these states; None if it cannot after all.

        Raises:
            TeacherError: the model cannot be loaded.
        """
        ...


def tokens_of(teacher: Teacher, states: Sequence[State]) -> TokenCounts | None:
    """Return what the requests would take, None if the teacher cannot count them."""
    return teacher.count_tokens(states) if isinstance(teacher, CountsTokens) else None


def generated_tokens(request: ChatRequest) -> int:
    """Return the most tokens that the replies to a request have; exact where it is for scores."""
    return 1 if request.labels else request.n * request.max_tokens


def count_requests(
    elicitation: Elicitation,
    states: Sequence[State],
    lengths: Callable[[Sequence[ChatRequest]], Sequence[int]],
    generated: Callable[[ChatRequest], int] = generated_tokens,
) -> TokenCounts:
    """Count what an elicitation sends: every order of the options, and what calibrates them.

    Args:
        elicitation: writes the requests.
        states: to ask about.
        lengths: returns the prompt tokens of each request.
        generated: returns the most completion tokens of a request.
    """
    single: list[ChatRequest] = []
    shared: dict[str, ChatRequest] = {}  # sent once for all states
    for state in states:
        for request in elicitation.requests(state):
            if request.shared:
                shared.setdefault(request.shared, request)
            else:
                single.append(request)
    counts = list(lengths([*single, *shared.values()]))
    return TokenCounts(
        prompt=sum(counts[: len(single)]),
        completion=sum(map(generated, single)),
        prompt_once=sum(counts[len(single) :]),
        completion_once=sum(map(generated, shared.values())),
        is_bound=not all(request.labels for request in single),
    )
