"""The ``embedded`` engine with an elicitation: the small LLM asked as a server would be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.llama_cpp.engine import LlamaEngine, Usage
from llm4teach.teacher_labeling.backends.llama_cpp.teacher import chatml
from llm4teach.teacher_labeling.backends.llama_cpp.weights import embedded_model, find_weights
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Answer, Prices, Question, Spent, to_advice
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.token_counts import (
    TokenCounts,
    count_questions,
    generated_tokens,
)
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo


class EmbeddedElicitedTeacher:
    """Sampling, verbalized or lettered options, in this process and on the CPU.

    Raises:
        TeacherError: no such model or prompt.
    """

    def __init__(self, config: TeacherConfig, family: str, model: str) -> None:
        spec = embedded_model(model)
        self._elicitation = make_elicitation(config, family)
        self._spec, self._threads = spec, config.threads
        self._memos: dict[str, Answer] = {}
        self._primed = ""  # what the engine's cache begins with
        self.info = TeacherInfo(
            backend="embedded",
            model=spec.name,
            model_revision=spec.revision,
            method=self._elicitation.method,
            settings=self._elicitation.settings,
            prompt_version=self._elicitation.prompt_version,
        )

    @cached_property
    def _engine(self) -> LlamaEngine:
        """Loaded when the first question is asked: stored advice needs no model."""
        return LlamaEngine(find_weights(self._spec), threads=self._threads)

    def advise(self, states: States) -> Iterable[Advice]:
        for state in states:
            questions = self._elicitation.questions(state)
            if not questions:
                yield Advice(state, AdviceStatus.NO_ADVICE)
                continue
            begin, spent = time.perf_counter(), Spent()
            answers = [self._ask(question, spent) for question in questions]
            verdict = self._elicitation.judge(state, answers)
            yield to_advice(state, verdict, spent, time.perf_counter() - begin, Prices())

    def count_tokens(self, states: Sequence[State]) -> TokenCounts:
        """Count what the model would read anew and generate; loads the model.

        As in its advice, tokens that the cache holds do not count. Each request reads one again,
        and each that only reads generates one.
        """
        examples = 0  # read once, when the first question is asked

        def lengths(questions: Sequence[Question]) -> list[int]:
            nonlocal examples
            counts = []
            for question in questions:
                whole = self._engine.count(chatml(question.messages))
                examples = self._engine.count(chatml(question.messages[:-1], ""))
                requests = 1 + len(question.labels) if question.labels else question.n
                counts.append(whole - examples + requests)
            return counts

        def generated(question: Question) -> int:
            labels = len(question.labels)
            return 1 + (1 + labels if labels else generated_tokens(question))

        counts = count_questions(self._elicitation, states, lengths, generated)
        return replace(counts, prompt_once=counts.prompt_once + examples)

    def close(self) -> None:
        if "_engine" in vars(self):
            self._engine.close()

    def _ask(self, question: Question, spent: Spent) -> Answer:
        if question.memo in self._memos:
            return self._memos[question.memo]
        prompt, usage = chatml(question.messages), Usage()
        self._cut_back(chatml(question.messages[:-1], ""), usage)
        if question.labels:
            self._engine.read(prompt, usage)
            scores = {label: self._engine.score(prompt, label, usage) for label in question.labels}
            answer = Answer(scores=scores, protocol="one token each")
        else:
            texts = (
                self._engine.sample(
                    prompt, question.max_tokens, question.temperature, question.seed(i), usage
                )
                for i in range(question.n)
            )
            answer = Answer(tuple(texts))
        spent.add(usage.prompt_tokens, usage.completion_tokens)
        if question.memo:
            self._memos[question.memo] = answer
        return answer

    def _cut_back(self, examples: str, usage: Usage) -> None:
        """Let the engine's cache end with the worked examples.

        Its last digits depend on where it was cut. Starting each question from the same place keeps
        a state's advice the same, whatever came before (as `EmbeddedTeacher` does).
        """
        for _ in range(1 if self._primed == examples else 2):
            self._engine.read(examples, usage)
        self._primed = examples
