"""``judgments``: a yes or no to each small question, by the model's scores or by its replies.

With scores P(yes) and P(no) are the model's own, of the reply's first token; coverage is their sum.
Without, n replies are counted, with half a reply added to either side (Jeffreys' prior): ten times
yes out of ten is no certainty, and the log odds that a state's advice is composed of stay finite.
`questions.Judgments` composes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import MIN_COVERAGE
from llm4teach.teacher_labeling.elicitation.answer_text import CUT, answer_texts
from llm4teach.teacher_labeling.elicitation.base import (
    Answer,
    ChatRequest,
    TextElicitation,
    Verdict,
    floor_setting,
)
from llm4teach.teacher_labeling.elicitation.prompts import PromptTemplate
from llm4teach.teacher_labeling.questions import JUDGMENTS, NO, YES

_LABELS = {"Yes": YES, "No": NO}  # as the examples answer; a single token in the usual vocabularies
_WORD = re.compile(r"[^\W\d_]+")


class ScoredJudgments:
    """Asks for one token, and for the scores of yes and no."""

    method = JUDGMENTS
    labels = tuple(_LABELS)

    def __init__(self, template: PromptTemplate, min_coverage: float = MIN_COVERAGE) -> None:
        self._template, self.min_coverage = template, min_coverage
        self.prompt_version = template.version
        self.settings = f"scores{floor_setting(min_coverage)}"

    def requests(self, state: State) -> list[ChatRequest]:
        """Return the one request."""
        return [ChatRequest(self._template.messages(state.text), labels=self.labels)]

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Read the two scores."""
        (answer,) = answers
        scores = answer.scores
        shown = "; ".join(f"{k} {scores.get(k, -math.inf):.6f}" for k in _LABELS)
        shown += f" [{answer.protocol}]" if answer.protocol else ""
        weights = {_LABELS[label]: math.exp(score) for label, score in scores.items()}
        above_one = max(1.0, math.fsum(weights.values()))  # by rounding
        weights = {plan: weight / above_one for plan, weight in weights.items()}
        return Verdict(weights, 1, (shown,), is_refused=answer.refused > 0)


class SampledJudgments(TextElicitation):
    """Counts replies that begin or end with yes or no."""

    method = JUDGMENTS

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Count the replies; those that say neither, or both, are invalid."""
        (answer,) = answers
        said = [None if text is None else yes_or_no(text) for text in answer_texts(answer.texts)]
        yes, no = said.count(True), said.count(False)
        weights = {}
        if yes + no:
            # ((yes + 1/2) / (valid + 1)) of the valid replies' share
            each = (yes + no) / (yes + no + 1) / self._n
            weights = {YES: (yes + 0.5) * each, NO: (no + 0.5) * each}
        return Verdict(
            weights,
            self._n,
            answer.texts,
            invalid=tuple(t for t, word in zip(answer.texts, said, strict=True) if word is None),
            truncated=answer.truncated,
            is_refused=0 < len(answer.texts) == answer.refused,
        )


def yes_or_no(text: str) -> bool | None:
    """Read a reply whose first or last word is yes or no; None if neither is, or they differ."""
    words = [word.lower() for word in _WORD.findall(text)]
    if text.endswith(CUT) and len(words) > 1:
        words.pop()  # it may be half a word
    ends = {word for word in words[:1] + words[-1:] if word in ("yes", "no")}
    return ends == {"yes"} if len(ends) == 1 else None
