"""The ``embedded`` teacher: a small real LLM in this process, on the CPU.

By default (``plan-logprobs``) it scores the admissible plans. For each of a few orders of the
worked examples the model reasons greedily up to ``Action:``, unless the examples do not reason.
Then every admissible plan k gets the model's own score of its words, closing brace included, and

    P(k | c(s)) = mean over orders of softmax_k log p(k | prompt, s)

One order alone can be confidently wrong. Where states have many plans, those that share less than
``prune`` of the probability are not told apart (`plan_tree`). With any other method it is asked as
a server would be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.llama_cpp.engine import LlamaEngine
from llm4teach.teacher_labeling.backends.llama_cpp.plan_tree import plan_scores
from llm4teach.teacher_labeling.backends.llama_cpp.weights import embedded_model, find_weights
from llm4teach.teacher_labeling.config import Price, TeacherConfig
from llm4teach.teacher_labeling.elicitation.answer_text import CUT
from llm4teach.teacher_labeling.elicitation.base import Answer, ChatRequest, to_advice
from llm4teach.teacher_labeling.elicitation.factory import PLAN_LOGPROBS, make_elicitation
from llm4teach.teacher_labeling.elicitation.parsing import list_options, render_plan
from llm4teach.teacher_labeling.elicitation.prompts import Message, load_template
from llm4teach.teacher_labeling.elicitation.token_counts import (
    TokenCounts,
    count_requests,
    generated_tokens,
)
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    States,
    TeacherInfo,
    Usage,
    advice_from_weights,
)

MAX_REASONING_TOKENS = 80
_USUAL_REASONING_TOKENS = 45  # of the worked examples
_ACTION = "Action:"
_PRUNE = 0.1  # plans that share less of the probability are not told apart
# Their states have few plans, and advice was stored that was scored exactly.
_FEW_PLANS = {"SimpleDoorKey", "ColoredDoorKey", "DivergedDoorKey", "MiniGrid", "NavPick"}


class EmbeddedTeacher:
    """Deterministic: a state's advice does not depend on what was asked before.

    The weights are loaded when the first question is asked: stored advice needs no model.

    Args:
        config: its method, prompt, orders and threads.
        family: task family, which chooses the prompt.
        model: name of an embedded model.

    Raises:
        TeacherError: no such model or prompt.
    """

    def __init__(self, config: TeacherConfig, family: str, model: str) -> None:
        self._spec, self._threads = embedded_model(model), config.threads
        self._method: _Method
        if config.method in (None, PLAN_LOGPROBS):
            self._method = _PlanScores(family, config)
        else:
            self._method = _Elicited(config, family)
        self.info = TeacherInfo(
            backend="embedded",
            model=self._spec.name,
            model_revision=self._spec.revision,
            method=self._method.method,
            settings=self._method.settings,
            prompt_version=self._method.prompt_version,
        )

    @cached_property
    def _cache(self) -> _PrefixCache:
        weights = find_weights(self._spec)
        return _PrefixCache(LlamaEngine(weights, self._method.slots, self._threads))

    def advise(self, states: States) -> Iterable[Advice]:
        """Yield each state's advice, in the order of the states.

        Raises:
            TeacherError: the weights are not on this machine, or cannot be loaded.
        """
        for state in states:
            if self._method.asks(state):
                yield self._method.advise(self._cache, state)
            else:
                yield Advice(state, AdviceStatus.NO_ADVICE)

    def count_tokens(self, states: Sequence[State]) -> TokenCounts:
        """Count what the model would read, cached tokens included, and generate at most.

        It loads the model. Each request that only reads generates one token.
        """
        return self._method.count_tokens(self._cache.engine, states)

    def close(self) -> None:
        """Free the model."""
        if "_cache" in vars(self):
            self._cache.engine.close()


class _PrefixCache:
    """An engine whose slots start each question from the same cached prefix.

    What is read in one batch differs in the last digits from what is read in two. Starting always
    from the same cached prefix keeps a state's advice the same, whatever came before; the first
    time it is read twice, since its last token is always read anew.
    """

    def __init__(self, engine: LlamaEngine) -> None:
        self.engine = engine
        self._prefixes: dict[int, str] = {}  # by slot

    def reset(self, prefix: str, usage: Usage, slot: int = 0) -> None:
        """Cut a slot's cache back to a prefix.

        The first reading belongs to loading the model, and not to the question that comes first:
        a question counts the same tokens, new and cached ones, whenever it is asked.
        """
        if self._prefixes.get(slot) != prefix:
            self.engine.read(prefix, Usage(), slot)
        self.engine.read(prefix, usage, slot)
        self._prefixes[slot] = prefix


class _Method(Protocol):
    """A way to ask the engine."""

    method: str
    settings: str
    prompt_version: str
    slots: int  # of the engine

    def asks(self, state: State) -> bool: ...

    def advise(self, cache: _PrefixCache, state: State) -> Advice: ...

    def count_tokens(self, engine: LlamaEngine, states: Sequence[State]) -> TokenCounts: ...


class _PlanScores:
    """Scores of whole plans; ``orders`` is bounded by the number of worked examples."""

    method = "logprobs"

    def __init__(self, family: str, config: TeacherConfig) -> None:
        self._template = load_template(family, config.prompt or "embedded")
        self._prune = config.prune
        if config.prune is None:
            self._prune = 0.0 if family in _FEW_PLANS else _PRUNE
        examples = len(self._template.examples)
        answers = [answer for _, answer in self._template.examples]
        self._reasons = not all(answer.startswith(_ACTION) for answer in answers) or not answers
        self.slots = orders = max(1, min(config.orders, examples))
        # Evenly spaced rotations: each has another example last, which weighs the most.
        self._orders = [round(i * examples / orders) for i in range(orders)]
        self.settings, self.prompt_version = f"orders={orders}", self._template.version
        if self._prune:
            self.settings += f",prune={self._prune:g}"

    def asks(self, state: State) -> bool:
        return bool(state.options)

    def advise(self, cache: _PrefixCache, state: State) -> Advice:
        begin, usage = time.perf_counter(), Usage()
        share = dict.fromkeys(state.options, 0.0)  # P(k | c(s))
        coverage = 0.0
        reasonings = []
        for slot in range(self.slots):
            reasoning, scores = self._one_order(cache, slot, state, usage)
            reasonings.append(reasoning)
            coverage += math.fsum(map(math.exp, scores.values())) / self.slots
            top = max(scores.values())
            odds = {plan: math.exp(score - top) for plan, score in scores.items()}
            for plan, odd in odds.items():
                share[plan] += odd / math.fsum(odds.values()) / self.slots
        # advice_from_weights takes the sum of the weights for the coverage.
        coverage = min(max(coverage, 1e-12), 1.0)
        return advice_from_weights(
            state,
            {plan: p * coverage for plan, p in share.items()},
            n_samples=self.slots,
            replies=tuple(reasonings),
            prompt_tokens=usage.prompt_tokens,
            cached_prompt_tokens=usage.cached_prompt_tokens,
            completion_tokens=usage.completion_tokens,
            latency_s=time.perf_counter() - begin,
        )

    def count_tokens(self, engine: LlamaEngine, states: Sequence[State]) -> TokenCounts:
        prompt = completion = 0
        for order in self._orders:
            prefix = engine.count(chatml(self._template.preamble(order), ""))
            for state in filter(self.asks, states):
                whole = engine.count(chatml(self._messages(state, order)))
                prompt += prefix + whole + len(state.options) * (whole + _USUAL_REASONING_TOKENS)
                plans = (engine.tokenize(f" {render_plan(plan)}") for plan in state.options)
                completion += 1 + MAX_REASONING_TOKENS + sum(map(len, plans))
        return TokenCounts(prompt, completion, is_bound=True)

    def _messages(self, state: State, order: int) -> list[Message]:
        options = list_options(state.options) if self._template.lists_options else ""
        return self._template.messages(state.text, order, options)

    def _one_order(
        self, cache: _PrefixCache, slot: int, state: State, usage: Usage
    ) -> tuple[str, dict[Plan, float]]:
        """Return the model's reasoning and its score of each plan, in nats."""
        engine, order = cache.engine, self._orders[slot]
        cache.reset(chatml(self._template.preamble(order), ""), usage, slot)
        prompt = chatml(self._messages(state, order))
        reasoning = ""
        if self._reasons:
            reasoning = engine.generate(prompt, _ACTION, MAX_REASONING_TOKENS, usage, slot)
        start = f"{prompt}{reasoning}{_ACTION}"
        texts = {plan: f" {render_plan(plan)}" for plan in state.options}
        if not self._prune:
            return reasoning, {
                k: engine.score(start, text, usage, slot) for k, text in texts.items()
            }
        return reasoning, plan_scores(
            {plan: tuple(engine.tokenize(text)) for plan, text in texts.items()},
            lambda prefix, paths: engine.likeliest_path(start, prefix, paths, usage, slot),
            self._prune,
        )


class _Elicited:
    """Sampling, verbalized or lettered options: the requests that a server would get."""

    slots = 1

    def __init__(self, config: TeacherConfig, family: str) -> None:
        self._elicitation = make_elicitation(config, family)
        self._shared: dict[str, Answer] = {}  # answers to shared requests
        self.method, self.settings = self._elicitation.method, self._elicitation.settings
        self.prompt_version = self._elicitation.prompt_version

    def asks(self, state: State) -> bool:
        return bool(self._elicitation.requests(state))

    def advise(self, cache: _PrefixCache, state: State) -> Advice:
        begin, usage = time.perf_counter(), Usage()
        requests = self._elicitation.requests(state)
        answers = [self._ask(cache, request, usage) for request in requests]
        verdict = self._elicitation.judge(state, answers)
        seconds, floor = time.perf_counter() - begin, self._elicitation.min_coverage
        return to_advice(state, verdict, usage, seconds, Price(), floor)

    def count_tokens(self, engine: LlamaEngine, states: Sequence[State]) -> TokenCounts:
        def lengths(requests: Sequence[ChatRequest]) -> list[int]:
            counts = []
            for request in requests:
                whole = engine.count(chatml(request.messages))
                examples = engine.count(chatml(request.messages[:-1], ""))
                calls = 1 + len(request.labels) if request.labels else request.n
                counts.append(examples + calls * whole)
            return counts

        def generated(request: ChatRequest) -> int:
            labels = len(request.labels)
            return 1 + (1 + labels if labels else generated_tokens(request))

        return count_requests(self._elicitation, states, lengths, generated)

    def _ask(self, cache: _PrefixCache, request: ChatRequest, usage: Usage) -> Answer:
        if request.shared in self._shared:
            return self._shared[request.shared]
        engine, prompt = cache.engine, chatml(request.messages)
        cache.reset(chatml(request.messages[:-1], ""), usage)
        if request.labels:
            engine.read(prompt, usage)
            scores = {label: engine.score(prompt, label, usage) for label in request.labels}
            answer = Answer(scores=scores, protocol="one token each")
        else:
            max_tokens, temperature = request.max_tokens, request.temperature
            texts = (
                engine.sample(prompt, max_tokens, temperature, request.seed(i), usage)
                for i in range(request.n)
            )
            replies = tuple(texts)
            answer = Answer(replies, truncated=sum(text.endswith(CUT) for text in replies))
        if request.shared:
            self._shared[request.shared] = answer
        return answer


def chatml(messages: Sequence[Message], turn: str = "<|im_start|>assistant\n") -> str:
    """Write messages in ChatML, which all the embedded models were trained on."""
    text = ""
    for message in messages:
        content = message["content"].replace("<|", "< |")  # a text cannot end its own turn
        text += f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"
    return text + turn
