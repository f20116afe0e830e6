"""One GGUF model in this process, on the CPU: greedy text, and exact scores of given text.

llama.cpp through ``xllamacpp``. Its scores are the model's own: the log-softmax of the raw logits,
before any sampler. A score of given text is had in one request, by a grammar of token ids that
leaves generation one way to go.
"""

from __future__ import annotations

import atexit
import importlib
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.elicitation.base import reply_text
from llm4teach.teacher_labeling.teacher import Usage

CONTEXT_TOKENS = 2048  # of one slot
_ALTERNATIVES = 100  # tokens that are listed in the place of one
_NOT_FOLLOWED = (
    "the embedded engine did not follow the text that it was to score; install the xllamacpp "
    "release that pyproject.toml names"
)


class LlamaEngine:
    """A loaded model with a few slots, each of which keeps its last prompt in its cache.

    Raises:
        TeacherError: the file is not a model that llama.cpp can load.
    """

    def __init__(self, weights: Path, slots: int = 1, threads: int | None = None) -> None:
        # 34 MB of native code without type stubs: only when a model is wanted.
        xllamacpp: Any = importlib.import_module("xllamacpp")

        # llama.cpp's threads wait for one another by spinning: one core too many, taken by another
        # program, made it 20 times slower; one core fewer costs little.
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        # xllamacpp always starts llama.cpp's web server beside the in-process calls. A Unix socket
        # in a private folder, with a key that nobody knows, leaves no port open.
        self._socket_folder = tempfile.mkdtemp(prefix="llm4teach-")
        atexit.register(shutil.rmtree, self._socket_folder, ignore_errors=True)
        params = xllamacpp.CommonParams()
        params.model.path = str(weights)
        params.n_parallel = slots
        params.n_ctx = CONTEXT_TOKENS * slots
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.hostnames = [f"{self._socket_folder}/s.sock"]
        params.api_keys = [secrets.token_hex(16)]
        self._http = httpx.Client(
            base_url="http://embedded",
            transport=httpx.HTTPTransport(uds=params.hostnames[0]),
            headers={"Authorization": f"Bearer {params.api_keys[0]}"},
        )
        self._ids_of: dict[str, list[int]] = {}
        params.cpuparams.poll = params.cpuparams_batch.poll = 0
        params.ui = False
        params.warmup = False
        params.cache_ram_mib = 0  # the slots' own caches are all that is reused
        params.verbosity = -1  # native logging would go to stdout and stderr
        try:
            self._server = xllamacpp.Server(params)
        except Exception as error:
            self.close()
            raise TeacherError(
                f"the model {weights.name} cannot be loaded ({error}); fetch its weights again"
            ) from error

    def read(self, prompt: str, usage: Usage, slot: int = 0) -> None:
        """Fill a slot's cache with a prompt, so that longer prompts start from it."""
        self._complete(prompt, slot, 1, usage)

    def generate(self, prompt: str, stop: str, max_tokens: int, usage: Usage, slot: int = 0) -> str:
        """Return the greedy continuation up to, and without, ``stop``."""
        reply = self._complete(prompt, slot, max_tokens, usage, stop=[stop])
        return str(reply["choices"][0]["text"])

    def sample(
        self, prompt: str, max_tokens: int, temperature: float, seed: int, usage: Usage
    ) -> str:
        """Return a continuation up to the end of the turn, drawn from the model's own p.

        One that is cut off at ``max_tokens`` ends in `answer_text.CUT`.
        """
        fields = {"temperature": temperature, "seed": seed, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        reply = self._complete(prompt, 0, max_tokens, usage, **fields)
        choice = reply["choices"][0]
        return reply_text(str(choice["text"]), choice["finish_reason"])

    def score(self, prompt: str, text: str, usage: Usage, slot: int = 0) -> float:
        """Return ``log P(text | prompt)`` along the text's own tokens, in nats."""
        ids = self.tokenize(text)
        grammar = "root ::= " + " ".join(f"<[{i}]>" for i in ids)
        reply = self._complete(prompt, slot, len(ids), usage, grammar=grammar, n_probs=1)
        tokens = reply["choices"][0]["logprobs"]["content"]
        if [token["id"] for token in tokens] != ids:
            raise TeacherError(_NOT_FOLLOWED)
        return math.fsum(token["logprob"] for token in tokens)

    def likeliest_path(
        self,
        prompt: str,
        start: Sequence[int],
        paths: Sequence[Sequence[int]],
        usage: Usage,
        slot: int = 0,
    ) -> list[tuple[int, dict[int, float]]]:
        """Return the likeliest tokens of one of the paths, and what could be in their place.

        Args:
            prompt: what comes before.
            start: tokens to follow the prompt with, which are not returned.
            paths: the ways on from there, as tokens; greedy, one token after the other.
            usage: counts the tokens.
            slot: whose cache holds the prompt's start.

        Returns:
            Each token, and log p in nats of the `_ALTERNATIVES` likeliest tokens in its place.
        """
        begin = " ".join(f"<[{i}]>" for i in start)
        ways = " | ".join(" ".join(f"<[{i}]>" for i in path) for path in paths)
        longest = len(start) + max(map(len, paths))
        fields = {"grammar": f"root ::= {begin} ({ways})", "n_probs": _ALTERNATIVES}
        reply = self._complete(prompt, slot, longest, usage, **fields)
        tokens = reply["choices"][0]["logprobs"]["content"]
        if [token["id"] for token in tokens[: len(start)]] != list(start):
            raise TeacherError(_NOT_FOLLOWED)
        return [
            (
                token["id"],
                {other["id"]: other["logprob"] for other in token["top_logprobs"]}
                | {token["id"]: token["logprob"]},
            )
            for token in tokens[len(start) :]
        ]

    def tokenize(self, text: str) -> list[int]:
        """Split text into the model's own token ids (asked over the socket: not in the binding)."""
        if text not in self._ids_of:
            self._ids_of[text] = self._tokens(text)
        return self._ids_of[text]

    def count(self, prompt: str) -> int:
        """Return how many tokens a prompt is."""
        return len(self._tokens(prompt))

    def close(self) -> None:
        """Free the model."""
        self._http.close()
        self._server = None
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _tokens(self, text: str) -> list[int]:
        reply = self._http.post("/tokenize", json={"content": text, "add_special": False})
        tokens: list[int] = reply.raise_for_status().json()["tokens"]
        return tokens

    def _complete(
        self, prompt: str, slot: int, max_tokens: int, usage: Usage, **fields: Any
    ) -> dict[str, Any]:
        request = {"prompt": prompt, "n_predict": max_tokens, "id_slot": slot, "temperature": 0}
        reply = self._server.handle_completions(request | {"cache_prompt": True} | fields)
        if "choices" not in reply:
            reason = reply.get("error", {}).get("message", reply)
            raise TeacherError(f"the embedded model cannot answer: {reason}")
        tokens = reply["usage"]
        cached = tokens.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        usage.add(tokens["prompt_tokens"], tokens["completion_tokens"], cached)
        return dict(reply)
