"""The settings of a teacher, of labeling with it, and of asking it live; checked and documented."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError


def cache_folder() -> Path:
    """Return the user's cache folder: ``LLM4TEACH_CACHE``, else by the XDG rules."""
    if folder := os.environ.get("LLM4TEACH_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "llm4teach"


# Below 1% of the mass on the options the model is about to say something else, and the ratios among
# what is left are noise. Ten replies of which one counts are far above it.
MIN_COVERAGE = 0.01
# A teacher that fails in most states is broken, not weak: a format that it does not keep, replies
# that max_tokens truncates. Small models that are usable have had advice in nearly all states.
MIN_VALID_SHARE = 0.5
SECRET_IN_VALUE = "secret_in_value"  # type of the errors that must not quote their input


_OWN_FIELDS = {  # of chat requests, and what sets them
    **{name: f"set --teacher.{name}" for name in ("model", "temperature", "seed")},
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), "set --teacher.max-tokens"),
    "n": "set --teacher.n-samples",
    "messages": "the prompt is set with --teacher.prompt",
    "stream": "replies are never streamed",
    **dict.fromkeys(("logprobs", "top_logprobs"), "the method logprobs sets it"),
}
_SECRET_NAME = re.compile(r"api_?key|authorization|secret|password|(?:^|_)token$", re.IGNORECASE)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Settings):
    """A model's prices, in US dollars per million tokens."""

    prompt: float = Field(0.0, ge=0, description="US dollars per million prompt tokens")
    completion: float = Field(0.0, ge=0, description="US dollars per million completion tokens")

    @property
    def is_free(self) -> bool:
        """Whether tokens cost nothing, however many there are."""
        return not self.prompt and not self.completion

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


Method = Literal["sampling", "verbalized", "logprobs", "judgments", "plan-logprobs"]


class TeacherConfig(BaseModel):
    """Which teacher to ask, and how. An API key stays in the environment: no setting holds one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    teacher: str = Field(
        "embedded",
        description="backend, and its model after a slash: embedded, embedded/<model>, "
        "recorded/<name>, openai, vllm, expert, none",
    )
    recording: Path | None = Field(
        None, description="recorded: your own recording, a JSON file; with the teacher 'recorded'"
    )

    hard: bool = Field(False, description="keep only the likeliest plan of any teacher's advice")
    fault: Literal["none", "random", "wrong", "constant", "stale"] = Field(
        "none",
        description="corrupt a fraction of any teacher's advice: a random admissible plan, the "
        "least likely one, always the same one, or the advice for another state",
    )
    fault_share: float = Field(
        0.3, ge=0, le=1, description="fraction of states to corrupt, with fault"
    )
    fault_seed: int = Field(0, ge=0, description="random seed that selects these states")
    fault_plan: str = Field("explore", description="plan to advise everywhere, with constant")

    method: Method | None = Field(
        None,
        description="embedded, openai, vllm: how replies become a distribution over plans: shares "
        "of n replies, percentages that the model states, scores of lettered options, a "
        "yes/no question per option, or scores of whole plans (embedded only, its default; the "
        "others: sampling)",
    )
    prompt: str | None = Field(
        None,
        description="embedded, openai, vllm: the template "
        "teacher_labeling/prompts/<family>.<prompt>.txt (default: named like the method)",
    )
    permutations: int = Field(
        4, ge=1, le=24, description="logprobs: orders of the lettered options to average over"
    )
    calibrate: bool = Field(
        False,
        description="logprobs: subtract the scores of a content-free prompt (calibration)",
    )
    scores: bool = Field(
        True,
        description="judgments: use the model's scores of yes and no; off: the shares of n_samples "
        "replies, for servers that give no scores",
    )
    softmax_temperature: float = Field(
        0.3, gt=0, description="judgments: temperature of the softmax over the options"
    )
    min_coverage: float = Field(
        MIN_COVERAGE,
        ge=0,
        le=1,
        description="sampling, verbalized, logprobs, judgments: share of the replies, or of the "
        "probability mass, that must be on plans; below it the answer is invalid",
    )
    min_valid_share: float = Field(
        MIN_VALID_SHARE,
        ge=0,
        le=1,
        description="share of the answers that must be valid: a run with less stops before it "
        "trains (0: never)",
    )
    orders: int = Field(
        3, ge=1, le=8, description="embedded: orders of the worked examples to average over"
    )
    prune: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="embedded: probability below which plans are not told apart, which saves time "
        "(default: 0.1, and 0, every plan exactly, in the tasks with few plans per state)",
    )
    threads: int | None = Field(
        None, ge=1, description="embedded: CPU threads (default: one fewer than the cores)"
    )

    base_url: str = Field(
        "http://127.0.0.1:8000/v1",
        description="openai: address of the server, /v1 included, without any password or key",
    )
    api_key_block: str = Field(
        "",
        description="openai: Prefect secret block that holds the API key; without one it comes "
        "from the environment (LLM4TEACH_API_KEY or OPENAI_API_KEY)",
    )
    model: str = Field(
        "",
        description="openai: the model's served name; if it is empty and the server has only one "
        "model, a new run looks it up and stores it; vllm: its name on the hub, or a folder",
    )
    extra_body: str = Field(
        "{}",
        description="openai: further fields of every chat request as JSON, "
        '{"enable_thinking": false} say; part of the teacher\'s identity',
    )
    vllm_options: str = Field(
        "{}", description='vllm: arguments of vllm.LLM as JSON, {"max_model_len": 2048} say'
    )
    model_revision: str = Field(
        "served",
        description="openai, vllm: which weights these are; part of the teacher's identity",
    )
    n_samples: int = Field(
        10, ge=1, le=1000, description="replies per state; 1 if temperature is 0"
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="of sampling, or of the softmax over scores (default: 1; verbalized: 0)",
    )
    seed: int = Field(0, ge=0, description="sampling seed, if the server honors it")
    max_tokens: int = Field(200, ge=16, description="longest reply, in tokens")
    max_in_flight: int = Field(16, ge=1, le=1024, description="openai, vllm: concurrent requests")
    timeout_s: float = Field(120.0, gt=0, description="openai: timeout of a reply, seconds")
    max_retries: int = Field(
        6, ge=0, le=20, description="openai: retries after a busy or broken answer"
    )
    usd_per_million_prompt_tokens: float | None = Field(
        None, ge=0, description="openai: price, US dollars (default: from label.prices)"
    )
    usd_per_million_completion_tokens: float | None = Field(
        None, ge=0, description="openai: price, US dollars (default: from label.prices)"
    )

    @property
    def has_price(self) -> bool:
        """Whether a price, be it 0, is set here."""
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        return prices != (None, None)

    @property
    def price(self) -> Price:
        """The price that is set here, 0 by default; `labeling.budget.price_of` knows others."""
        return Price(
            prompt=self.usd_per_million_prompt_tokens or 0.0,
            completion=self.usd_per_million_completion_tokens or 0.0,
        )

    @field_validator("base_url")
    @classmethod
    def _has_no_secret(cls, url: str) -> str:
        # By its characters: an address that is no URL is not to be shown or stored either.
        if characters := set("@?#").intersection(url):
            raise PydanticCustomError(
                SECRET_IN_VALUE,
                "an address is written to disk, and this one holds {characters}: give it without "
                "user name, password, query and fragment; a key goes into the environment variable "
                "LLM4TEACH_API_KEY, or into the Prefect secret block that api_key_block names",
                {"characters": " and ".join(sorted(characters))},
            )
        return url

    @field_validator("vllm_options", "extra_body", mode="before")
    @classmethod
    def _is_json_object(cls, value: Any) -> str:
        parsed = value  # a table of a TOML file
        if isinstance(value, str):
            try:
                parsed = json.loads(value)
            except ValueError as error:
                raise ValueError(f"is not JSON ({error})") from None
        if not isinstance(parsed, dict):
            raise ValueError("must be a JSON object: arguments and their values")
        return value if isinstance(value, str) else json.dumps(value)

    @field_validator("extra_body")
    @classmethod
    def _is_not_ours(cls, text: str) -> str:
        fields = json.loads(text)
        if own := sorted(_OWN_FIELDS.keys() & fields.keys()):
            raise ValueError(f"{own[0]} is not an extra field; {_OWN_FIELDS[own[0]]}")
        if secret := sorted(name for name in fields if _SECRET_NAME.search(name)):
            raise PydanticCustomError(
                SECRET_IN_VALUE,
                "settings are written to disk, and {name} may be a secret: a key goes into the "
                "environment variable LLM4TEACH_API_KEY",
                {"name": secret[0]},
            )
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


AskOrder = Literal["first", "random", "visits", "uncertain", "spread", "change"]


class LabelConfig(_Settings):
    """Budgets of labeling and fine-tuning together, prices, and how runs share their work."""

    max_requests: int | None = Field(None, ge=0, description="questions to ask, at most")
    max_tokens: int | None = Field(
        None, ge=0, description="tokens to spend at most, prompts and completions together"
    )
    max_cost: float | None = Field(None, ge=0, description="US dollars to spend, at most")
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the questions about collected states that get an answer, at most; "
        "what fine-tuning asks is up to live.ask",
    )
    order: AskOrder = Field(
        "first",
        description="which states to ask about first, where max_requests or share ends before all "
        "have advice: those collected first, any, those of the most steps, those in which "
        "the last round's student is most uncertain, those whose plans' returns differ most, or "
        "those of the most steps times the entropy of the plans",
    )
    retry_invalid: bool = Field(
        False, description="ask questions again whose stored answer is invalid"
    )
    prices: dict[str, Price] = Field(
        {}, description="prompt and completion price by model, US dollars per million tokens"
    )
    lease_s: float = Field(
        60.0,
        gt=0,
        description="in an object store: seconds after which the lock of a run that hangs or was "
        "killed expires",
    )


class LiveConfig(_Settings):
    """Questions to the teacher while the student is fine-tuned."""

    ask: Literal["unseen", "budgeted", "uncertain", "never"] = Field(
        "unseen",
        description="which states without advice to ask about: all, the commonest ones up to a "
        "budget, those in which the student is uncertain, or none",
    )
    questions_per_1000_steps: float = Field(
        10.0, ge=0, description="budgeted: questions for each 1,000 env steps, at most"
    )
    min_entropy: float = Field(
        1.0, ge=0, description="uncertain: entropy of the student's policy from which to ask, nats"
    )
    in_background: bool | None = Field(
        None,
        description="train on while the teacher answers (default: with servers only, because the "
        "same seed then no longer gives the same student)",
    )
