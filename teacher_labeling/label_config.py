"""What can be set of labelling: budgets, prices, leases; and of asking while the student learns."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Settings):
    """What a model's tokens cost, in US dollars a million."""

    prompt: float = Field(0.0, ge=0, description="US dollars a million prompt tokens")
    completion: float = Field(0.0, ge=0, description="US dollars a million completion tokens")

    @property
    def is_free(self) -> bool:
        """Whether tokens cost nothing, however many there are."""
        return not self.prompt and not self.completion

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class LabelConfig(_Settings):
    """Budgets of labelling and fine-tuning together, prices, and how runs share their work."""

    max_requests: int | None = Field(None, ge=0, description="states to ask about, at most")
    max_tokens: int | None = Field(
        None, ge=0, description="tokens to spend, prompts and completions together"
    )
    max_cost: float | None = Field(None, ge=0, description="US dollars to spend")
    prices: dict[str, Price] = Field(
        {}, description="prompt and completion price by model, US dollars a million tokens"
    )
    lease_s: float = Field(
        60.0, gt=0, description="seconds after which the work of a run that hangs is taken over"
    )


class LiveConfig(_Settings):
    """Questions to the teacher while the student is fine-tuned."""

    ask: Literal["unseen", "budgeted", "uncertain"] = Field(
        "unseen",
        description="which states without advice: all, the commonest of them up to a number, or "
        "those in which the student is undecided",
    )
    questions_per_1000_steps: float = Field(
        10.0, ge=0, description="budgeted: questions for each 1,000 env steps, at most"
    )
    min_entropy: float = Field(
        1.0, ge=0, description="uncertain: nats of the student's policy from which on to ask"
    )
    in_background: bool | None = Field(
        None,
        description="go on while the teacher thinks; by default with servers only, since the same "
        "seed then no longer gives the same student",
    )
