"""Stored advice for recorded steps: plans with their probabilities, and grounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, Observations, State, Task, describe
from llm4teach.teacher_labeling.labeling.writer import plans_of
from llm4teach.teacher_labeling.questions import Judgments, OneQuestion, Questions

_SPENT = ("prompt_tokens", "completion_tokens", "cost")


class StoredAdvice:
    """One teacher's advice by state key; nothing is asked.

    Args:
        task: grounds the plans.
        store: of the teacher's answers; None for no advice anywhere.
        questions: that a state's advice takes.
        options: of judgments, which name no plans: names of those of all states.
    """

    def __init__(
        self,
        task: Task,
        store: AdviceStore | None,
        questions: Questions | None = None,
        options: Iterable[str] = (),
    ) -> None:
        self._task, self._store, self._questions = task, store, questions or OneQuestion()
        self._is_judged = isinstance(self._questions, Judgments)
        # The columns of `plan_probs`.
        self.plans = tuple(sorted(set(options))) if self._is_judged else _all_plans(store)
        self._column = {plan: i for i, plan in enumerate(self.plans)}
        self._place: dict[str, int] = {}  # of a state's advice among the mixtures, by key
        self._about: dict[str, list[str]] = {}  # keys of the questions about a state, by its key
        self._mixtures: tuple[Mixture, ...] = ((),)

    def on(
        self, keys: Sequence[str], texts: Sequence[str], observations: Observations
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the advice on N moments.

        Args:
            keys: state keys, as they are stored with the steps.
            texts: the states' texts.
            observations: uint8 (N, *observation_shape), all that was recorded.

        Returns:
            Probabilities of `plans`, float64 (N, n_plans), and the grounded advice, float32
            (N, n_actions). A row of zeros says that there is no advice; in the second also that
            none of its plans can act.
        """
        self._look_up(keys, texts, observations)
        places = np.array([self._place[key] for key in keys], np.int64)  # (N,)
        plan_probs = np.zeros((len(keys), len(self.plans)))
        for place in np.unique(places):
            rows = places == place
            for plan, probability in self._mixtures[place]:
                plan_probs[rows, self._column[str(plan)]] += probability
        grounded = self._task.ground(observations, self._mixtures, places)
        return plan_probs, grounded

    def spent_on(self, keys: Iterable[str]) -> dict[str, float]:
        """Return how many questions about these states were asked, their tokens and US dollars."""
        names = ("questions", *_SPENT)
        if self._store is None:
            return dict.fromkeys(names, 0)
        questions = {question for key in keys for question in self._about.get(key, [key])}
        rows = self._store.lookup(questions, _SPENT).values()
        sums = {name: sum(row[name] or 0 for row in rows) for name in _SPENT}
        return {"questions": len(rows), **sums}

    def _look_up(
        self, keys: Sequence[str], texts: Sequence[str], observations: Observations
    ) -> None:
        new = {key: i for i, key in enumerate(keys) if key not in self._place}
        states = {key: State(key, texts[i], ()) for key, i in new.items()}
        if self._is_judged and new:  # whose questions follow from the options
            described = describe(self._task, observations[list(new.values())])
            states = dict(zip(new, described, strict=True))
        for key, state in states.items():
            self._about[key] = [question.key for question in self._questions.of(state)]
        asked = {question for key in new for question in self._about[key]}
        rows: dict[str, dict[str, Any]] = (
            self._store.lookup(asked, ["options"]) if self._store is not None else {}
        )
        answers = {question: plans_of(row) for question, row in rows.items()}
        for key, state in states.items():
            mixture: Mixture = ()
            if self._store is not None and answers.keys() >= {*self._about[key]}:
                mixture = self._questions.advice(state, answers)
            if any(str(plan) not in self._column for plan, _ in mixture):
                mixture = ()  # of a state behind the last step, with an option of no other
            self._place[key] = len(self._mixtures) if mixture else 0
            self._mixtures += (mixture,) if mixture else ()


def _all_plans(store: AdviceStore | None) -> tuple[str, ...]:
    """Names of all plans that a teacher gives any probability to, sorted."""
    if store is None:
        return ()
    stored = pc.list_flatten(store.table(["options"]).column("options"))
    mixture = plans_of({"options": [{"plan": p, "probability": 1.0} for p in _distinct(stored)]})
    return tuple(sorted({str(plan) for plan, _ in mixture}))


def _distinct(options: Any) -> list[str]:
    plans: list[str] = pc.unique(pc.struct_field(options, "plan")).to_pylist()
    return plans
