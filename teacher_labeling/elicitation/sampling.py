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
from llm4teach.teacher_labeling.elicitation.parsing import final_words, lone_option, parse_steps


class Sampling(TextElicitation):
    """Counts the plans that free replies end in."""

    method = "sampling"

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Count equal plans."""
        (answer,) = answers
        plans = [self._plan(text, state.options) for text in answer_texts(answer.texts)]
        votes = Counter(plan for plan in plans if plan is not None)
        invalid = [t for t, plan in zip(answer.texts, plans, strict=True) if plan is None]
        return Verdict(
            {plan: count / self._n for plan, count in votes.items()},
            self._n,
            answer.texts,
            invalid=tuple(invalid),
            truncated=answer.truncated,
            is_refused=0 < len(answer.texts) == answer.refused,
        )

    def _plan(self, text: str | None, options: tuple[Plan, ...]) -> Plan | None:
        """Return the plan that an answer ends in; None if there is none."""
        are_listed = self._template.lists_options
        with suppress(PlanSyntaxError):
            try:
                steps = final_words(text)
            except PlanSyntaxError:
                return lone_option(text, options, self._verbs) if are_listed else None
            return parse_steps(steps, options, self._verbs, are_listed)
        return None
