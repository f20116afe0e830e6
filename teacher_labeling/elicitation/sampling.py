"""``sampling``: n reasoned replies; P(k | c(s)) is the share that ends in plan k (2311.13373, 3.2).

Replies that are no plan are kept and count against the coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.base import Answer, Question, Verdict
from llm4teach.teacher_labeling.elicitation.parsing import final_words, parse_steps
from llm4teach.teacher_labeling.elicitation.percentages import list_options
from llm4teach.teacher_labeling.elicitation.prompts import PromptTemplate


class Sampling:
    """Asks one question for ``n`` replies; without chance (temperature 0) one is enough."""

    method = "sampling"

    def __init__(
        self, template: PromptTemplate, n: int, temperature: float, seed: int, max_tokens: int
    ) -> None:
        self._template, self._temperature = template, temperature
        self._seed, self._max_tokens = seed, max_tokens
        self._n = n if temperature > 0 else 1  # all replies would be one, and vLLM refuses n > 1
        self.prompt_version = template.version
        self.settings = (
            f"n={self._n},temperature={temperature:g},seed={seed},max_tokens={max_tokens}"
        )

    def questions(self, state: State) -> list[Question]:
        return [
            Question(
                self._template.messages(state.text, options=self._list(state)),
                n=self._n,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                seed_text=f"{self._seed}/{state.key}",
            )
        ]

    def _list(self, state: State) -> str:
        return list_options(state.options) if self._template.lists_options else ""

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Count equal words, and then equal plans."""
        (answer,) = answers
        said: Counter[str] = Counter()
        for reply in answer.texts:
            try:
                said[final_words(reply)] += 1
            except PlanSyntaxError:
                continue
        votes: Counter[Plan] = Counter()
        for words, count in said.items():
            try:
                votes[parse_steps(words)] += count
            except PlanSyntaxError:
                continue
        weights = {plan: count / self._n for plan, count in votes.items()}
        return Verdict(weights, self._n, answer.texts)
