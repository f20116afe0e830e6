"""``verbalized``: the model states a percentage for every admissible plan (2311.13373, 3.2).

A reply counts if it states each plan's; then ``P(k | c(s)) = stated_k / sum_j stated_j``, averaged
over the replies that count. The sum that was stated is kept as ``raw_sum`` (1.0 is 100%).
"""

from __future__ import annotations

from collections.abc import Sequence

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.answer_text import answer_texts
from llm4teach.teacher_labeling.elicitation.base import (
    Answer,
    ChatRequest,
    TextElicitation,
    Verdict,
    mean_weights,
)
from llm4teach.teacher_labeling.elicitation.parsing import PercentagesError, parse_percentages


class Verbalized(TextElicitation):
    """Averages lists of percentages."""

    method = "verbalized"

    def requests(self, state: State) -> list[ChatRequest]:
        """Return the one request, or none where there is nothing to choose from."""
        return super().requests(state) if state.options else []

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Normalize and average the replies that state every plan's percentage."""
        (answer,) = answers
        shares: list[dict[Plan, float]] = []
        sums: list[float] = []
        invalid: list[str] = []
        for reply, text in zip(answer.texts, answer_texts(answer.texts), strict=True):
            try:
                stated = parse_percentages(text, state.options, self._verbs)
            except PercentagesError:
                invalid.append(reply)
                continue
            total = sum(stated.values())
            sums.append(total / 100)
            shares.append({plan: percent / total for plan, percent in stated.items()})
        return Verdict(
            mean_weights(shares, self._n),
            self._n,
            answer.texts,
            sum(sums) / len(sums) if sums else None,
            invalid=tuple(invalid),
            truncated=answer.truncated,
            is_refused=0 < len(answer.texts) == answer.refused,
        )
