"""From states to the questions that are asked about them, and from answers to a state's advice.

A question is a `State` of its own: its text is sent to the teacher, its key is what is asked once,
paid for once and stored. Most elicitations ask one question per state, the state itself. With
``judgments`` they are small: one per plan, with only the facts that matter to it and the options
``yes`` and ``no``, so that many states share them:

    P(k | c(s)) = softmax_k( (log P(yes_k) - log P(no_k)) / temperature )

(affordance scores as in SayCan, arXiv 2204.01691, but judged by the language model itself).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import Mixture, State, Task, question_about, state_key

JUDGMENTS = "judgments"  # the method of teachers that are asked so
SOFTMAX_TEMPERATURE = 0.3
YES, NO = named_plan("yes"), named_plan("no")
_LEAST = 1e-9  # probabilities below are not told apart: the log odds stay within ±20.7 nats
Change = Callable[[State, Mixture], Mixture]  # of the advice for a state


class Questions(Protocol):
    """What a state's advice takes."""

    def of(self, state: State) -> Sequence[State]:
        """Return the questions about a state; none if there is nothing to find out."""
        ...

    def advice(self, state: State, answers: Mapping[str, Mixture]) -> Mixture:
        """Compose a state's advice.

        Args:
            state: to advise on.
            answers: by question key, that of each of its questions; empty ones are not valid.

        Returns:
            A distribution over its plans; empty if there is no advice.
        """
        ...


class OneQuestion:
    """The state itself is the question, and the answer to it the advice."""

    def of(self, state: State) -> Sequence[State]:
        return (state,)

    def advice(self, state: State, answers: Mapping[str, Mixture]) -> Mixture:
        return answers[state.key]


class Judgments:
    """One yes/no question per plan.

    A plan that the task asks no question about counts as undecided: log odds of 0. Plans without a
    valid answer get no probability, and where no answer is valid there is no advice. A state with a
    single plan leaves nothing to ask.

    Args:
        task: names the facts that matter to each plan.
        temperature: of the softmax, above 0; low: only the best plan, high: all plans alike.
        changes: what is done to the advice then, such as keeping its likeliest plan only.
    """

    def __init__(
        self,
        task: Task,
        temperature: float = SOFTMAX_TEMPERATURE,
        changes: Sequence[Change] = (),
    ) -> None:
        self._task, self._temperature, self._changes = task, temperature, changes

    def of(self, state: State) -> Sequence[State]:
        return [question for question in self._by_plan(state).values() if question]

    def advice(self, state: State, answers: Mapping[str, Mixture]) -> Mixture:
        scores, n_valid = dict[Plan, float](), 0
        by_plan = self._by_plan(state)
        for plan, question in by_plan.items():
            if question is None:
                scores[plan] = 0.0
            elif answer := dict(answers[question.key]):
                scores[plan] = log_odds(answer)
                n_valid += 1
        if not scores or (not n_valid and any(by_plan.values())):
            return ()
        top = max(scores.values())
        odds = {plan: math.exp((s - top) / self._temperature) for plan, s in scores.items()}
        total = math.fsum(odds.values())
        ranked = sorted(odds.items(), key=lambda item: (-item[1], item[0]))
        plans: Mixture = tuple((plan, odd / total) for plan, odd in ranked if odd > 0)
        for change in self._changes:
            plans = change(state, plans)
        return plans

    def _by_plan(self, state: State) -> dict[Plan, State | None]:
        if len(state.options) < 2:
            return dict.fromkeys(state.options)
        texts = {plan: question_about(self._task, state, plan) for plan in state.options}
        family = self._task.family
        return {
            plan: State(state_key(family, text), text, (YES, NO)) if text else None
            for plan, text in texts.items()
        }


def log_odds(answer: Mapping[Plan, float]) -> float:
    """Return ``log P(yes) - log P(no)``, in nats."""
    yes, no = (max(answer.get(plan, 0.0), _LEAST) for plan in (YES, NO))
    return math.log(yes) - math.log(no)


def questions_by(
    method: str,
    task: Task,
    temperature: float = SOFTMAX_TEMPERATURE,
    changes: Sequence[Change] = (),
) -> Questions:
    """Return the questions of a teacher with this method (`TeacherInfo.method`)."""
    return Judgments(task, temperature, changes) if method == JUDGMENTS else OneQuestion()


def distinct_questions(questions: Questions, states: Iterable[State]) -> list[State]:
    """Return the questions about some states, each once, in their order."""
    return list({q.key: q for state in states for q in questions.of(state)}.values())
