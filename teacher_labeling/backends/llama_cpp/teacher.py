"""The ``embedded`` teacher: a small real LLM in this process, scored over the admissible plans.

For each of a few orders of the worked examples the model reasons greedily up to ``Action:``; then
every admissible plan k gets the model's own score of its words, closing brace included, and

    P(k | c(s)) = mean over orders of softmax_k log p(k | prompt, s)

One order alone can be confidently wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.llama_cpp.engine import LlamaEngine, Usage
from llm4teach.teacher_labeling.backends.llama_cpp.weights import (
    DEFAULT_MODEL,
    embedded_model,
    find_weights,
)
from llm4teach.teacher_labeling.elicitation.parsing import render_plan
from llm4teach.teacher_labeling.elicitation.prompts import Message, load_template
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    States,
    TeacherInfo,
    advice_from_weights,
)

MAX_REASONING_TOKENS = 80  # the worked examples take about 45
_ACTION = "Action:"


class EmbeddedTeacher:
    """Deterministic: a state's advice does not depend on what was asked before.

    Args:
        family: task family, which chooses the prompt.
        model: name of an embedded model.
        orders: at most so many orders of the worked examples (one example has one order).
        prompt: name of the template, of those for the family.
        threads: CPU threads; by default one fewer than the cores, at least one.

    Raises:
        TeacherError: no such model or prompt.
    """

    def __init__(
        self,
        family: str,
        model: str = DEFAULT_MODEL,
        orders: int = 3,
        threads: int | None = None,
        prompt: str = "embedded",
    ) -> None:
        spec = embedded_model(model)
        self._template = load_template(family, prompt)
        examples = len(self._template.examples)
        orders = max(1, min(orders, examples))
        # Evenly spaced rotations: each has another example last, which weighs the most.
        self._orders = [round(i * examples / orders) for i in range(orders)]
        self._primed: set[int] = set()  # slots whose cache begins with the examples
        self._spec, self._threads = spec, threads
        self.info = TeacherInfo(
            backend="embedded",
            model=spec.name,
            model_revision=spec.revision,
            method="logprobs",
            settings=f"orders={orders}",
            prompt_version=self._template.version,
        )

    @cached_property
    def _engine(self) -> LlamaEngine:
        """Loaded when the first question is asked: stored advice needs no model."""
        return LlamaEngine(find_weights(self._spec), slots=len(self._orders), threads=self._threads)

    def advise(self, states: States) -> Iterable[Advice]:
        for state in states:
            yield self._advise(state) if state.options else Advice(state, AdviceStatus.NO_ADVICE)

    def count_tokens(self, states: Sequence[State]) -> TokenCounts:
        """Count what the model would read anew and generate at most; loads the model.

        As in its advice, tokens that the cache holds do not count. Each request reads one again,
        and the one that only reads generates one.
        """
        count, prompt, completion, examples = self._engine.count, 0, 0, 0
        for order in self._orders:
            prefix = count(chatml(self._template.preamble(order), ""))
            examples += prefix
            for state in states:
                if not state.options:
                    continue
                whole = count(chatml(self._template.messages(state.text, order)))
                prompt += 1 + whole - prefix + len(state.options)
                plans = (self._engine.tokenize(f" {render_plan(plan)}") for plan in state.options)
                completion += 1 + MAX_REASONING_TOKENS + sum(map(len, plans))
        return TokenCounts(prompt, completion, prompt_once=examples, is_bound=True)

    def close(self) -> None:
        if "_engine" in vars(self):
            self._engine.close()

    def _advise(self, state: State) -> Advice:
        begin = time.perf_counter()
        spent = Usage()
        share = dict.fromkeys(state.options, 0.0)  # P(k | c(s))
        coverage = 0.0
        reasonings = []
        for slot in range(len(self._orders)):
            reasoning, scores = self._one_order(slot, state, spent)
            reasonings.append(reasoning)
            coverage += math.fsum(map(math.exp, scores.values())) / len(self._orders)
            top = max(scores.values())
            odds = {plan: math.exp(score - top) for plan, score in scores.items()}
            for plan, odd in odds.items():
                share[plan] += odd / math.fsum(odds.values()) / len(self._orders)
        # advice_from_weights takes the sum of the weights for the coverage.
        coverage = min(max(coverage, 1e-12), 1.0)
        return advice_from_weights(
            state,
            {plan: p * coverage for plan, p in share.items()},
            n_samples=len(self._orders),
            replies=tuple(reasonings),
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            latency_s=time.perf_counter() - begin,
        )

    def _one_order(self, slot: int, state: State, spent: Usage) -> tuple[str, dict[Plan, float]]:
        """Return the model's reasoning and its score of each plan, in nats."""
        messages = self._template.messages(state.text, self._orders[slot])
        prompt = chatml(messages)
        self._reset(slot, spent)
        reasoning = self._engine.generate(prompt, _ACTION, MAX_REASONING_TOKENS, spent, slot)
        return reasoning, self._score_plans(slot, prompt + reasoning, state.options, spent)

    def _score_plans(
        self, slot: int, prompt: str, plans: Sequence[Plan], spent: Usage
    ) -> dict[Plan, float]:
        return {
            plan: self._engine.score(f"{prompt}{_ACTION}", f" {render_plan(plan)}", spent, slot)
            for plan in plans
        }

    def _reset(self, slot: int, spent: Usage) -> None:
        """Cut a slot's cache back to the examples.

        What is read in one batch differs in the last digits from what is read in two. Starting
        always from the same cached prefix keeps a state's advice the same, whatever came before;
        the first time it is read twice, since its last token is always read anew.
        """
        prefix = chatml(self._template.preamble(self._orders[slot]), "")
        for _ in range(1 if slot in self._primed else 2):
            self._engine.read(prefix, spent, slot)
        self._primed.add(slot)


def chatml(messages: Sequence[Message], turn: str = "<|im_start|>assistant\n") -> str:
    """Write messages in ChatML, which all the embedded models were trained on."""
    text = ""
    for message in messages:
        content = message["content"].replace("<|", "< |")  # a text cannot end its own turn
        text += f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"
    return text + turn
