"""``sampling``: n reasoned replies; P(k | c(s)) is the share that ends in plan k (2311.13373, 3.2).

Replies that are no plan are kept and count against the coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.base import Answer, TextElicitation, Verdict
from llm4teach.teacher_labeling.elicitation.parsing import final_words, parse_steps


class Sampling(TextElicitation):
    """Counts the plans that free replies end in."""

    method = "sampling"

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Count equal words, and then equal plans."""
        (answer,) = answers
        texts: Counter[str] = Counter()
        for reply in answer.texts:
            try:
                texts[final_words(reply)] += 1
            except PlanSyntaxError:
                continue
        votes: Counter[Plan] = Counter()
        for text, count in texts.items():
            try:
                votes[parse_steps(text)] += count
            except PlanSyntaxError:
                continue
        weights = {plan: count / self._n for plan, count in votes.items()}
        return Verdict(weights, self._n, answer.texts)
