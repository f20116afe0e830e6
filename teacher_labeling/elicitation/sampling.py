"""``sampling``: n reasoned replies; P(k | c(s)) is the share that ends in plan k (2311.13373, 3.2).

Replies that are no plan are kept and count against the coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.answer_text import answer_texts
from llm4teach.teacher_labeling.elicitation.base import Answer, TextElicitation, Verdict
from llm4teach.teacher_labeling.elicitation.parsing import final_words, parse_steps


class Sampling(TextElicitation):
    """Counts the plans that free replies end in."""

    method = "sampling"

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Count equal words, and then equal plans."""
        (answer,) = answers
        steps: list[str | None] = []
        for text in answer_texts(answer.texts):
            try:
                steps.append(final_words(text))
            except PlanSyntaxError:
                steps.append(None)
        plans: dict[str, Plan] = {}
        for words in {words for words in steps if words is not None}:
            with suppress(PlanSyntaxError):
                plans[words] = parse_steps(words, state.options)
        votes = Counter(plans[words] for words in steps if words in plans)
        invalid = [t for t, words in zip(answer.texts, steps, strict=True) if words not in plans]
        return Verdict(
            {plan: count / self._n for plan, count in votes.items()},
            self._n,
            answer.texts,
            invalid=tuple(invalid),
            truncated=answer.truncated,
            is_refused=0 < len(answer.texts) == answer.refused,
        )
