"""``verbalized``: the model states a percentage for every admissible plan (2311.13373, 3.2).

A reply counts if it states each plan's; then ``P(k | c(s)) = stated_k / sum_j stated_j``, averaged
over the replies that count. The sum that was stated is kept as ``raw_sum`` (1.0 is 100%).
"""

from __future__ import annotations

from collections.abc import Sequence

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.base import Answer, Question, Verdict, mean_weights
from llm4teach.teacher_labeling.elicitation.percentages import (
    PercentagesError,
    list_options,
    parse_percentages,
)
from llm4teach.teacher_labeling.elicitation.prompts import PromptTemplate


class Verbalized:
    """Asks one question for ``n`` lists of percentages; at temperature 0 one list is enough."""

    method = "verbalized"

    def __init__(
        self, template: PromptTemplate, n: int, temperature: float, seed: int, max_tokens: int
    ) -> None:
        self._template, self._temperature = template, temperature
        self._seed, self._max_tokens = seed, max_tokens
        self._n = n if temperature > 0 else 1
        self.prompt_version = template.version
        self.settings = (
            f"n={self._n},temperature={temperature:g},seed={seed},max_tokens={max_tokens}"
        )

    def questions(self, state: State) -> list[Question]:
        if not state.options:
            return []
        return [
            Question(
                self._template.messages(state.text, options=list_options(state.options)),
                n=self._n,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                seed_text=f"{self._seed}/{state.key}",
            )
        ]

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Normalise and average the replies that state every plan's percentage."""
        (answer,) = answers
        shares: list[dict[Plan, float]] = []
        sums: list[float] = []
        for reply in answer.texts:
            try:
                stated = parse_percentages(reply, state.options)
            except PercentagesError:
                continue
            total = sum(stated.values())
            sums.append(total / 100)
            shares.append({plan: percent / total for plan, percent in stated.items()})
        raw_sum = sum(sums) / len(sums) if sums else None
        return Verdict(mean_weights(shares, self._n), self._n, answer.texts, raw_sum)
