"""What can be set of a teacher, checked and documented in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TeacherConfig(BaseModel):
    """Which teacher, and how it is asked. API keys come from the environment, never from here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str = Field(
        "embedded",
        description="Backend, and after a slash its model: embedded, embedded/<model>, "
        "recorded/<name>, openai",
    )
    recording: Path | None = Field(
        None, description="recorded: a recording of your own (JSON); then teacher is 'recorded'"
    )

    fault: Literal["none", "random", "wrong", "constant", "stale"] = Field(
        "none",
        description="corrupt a share of any teacher's advice: a random admissible plan, the one it "
        "thinks least of, always the same one, or the advice for another state",
    )
    fault_share: float = Field(0.3, ge=0, le=1, description="share of the states, with fault")
    fault_seed: int = Field(0, ge=0, description="which states these are, with fault")
    fault_plan: str = Field("explore", description="the plan that is always advised, with constant")

    prompt: str | None = Field(
        None,
        description="embedded, openai: the template teacher_labeling/prompts/<family>.<prompt>.txt "
        "(by default embedded or sampling)",
    )
    orders: int = Field(
        3, ge=1, le=8, description="embedded: orders of the worked examples to average over"
    )
    threads: int | None = Field(
        None, ge=1, description="embedded: CPU threads; by default one fewer than the cores"
    )

    base_url: str = Field(
        "http://127.0.0.1:8000/v1", description="openai: address of the server, /v1 included"
    )
    model: str = Field(
        "", description="openai: the model's served name; may be left out if there is only one"
    )
    model_revision: str = Field(
        "served", description="openai: which weights these are; part of the teacher's identity"
    )
    n_samples: int = Field(
        10, ge=1, le=1000, description="openai: replies a state; 1 if temperature is 0"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="openai: sampling temperature")
    seed: int = Field(0, ge=0, description="openai: sampling seed, where the server honours it")
    max_tokens: int = Field(200, ge=16, description="openai: longest reply, in tokens")
    max_in_flight: int = Field(16, ge=1, le=1024, description="openai: states asked at a time")
    timeout_s: float = Field(120.0, gt=0, description="openai: longest wait for a reply, seconds")
    max_retries: int = Field(
        6, ge=0, le=20, description="openai: repetitions after a busy or broken answer"
    )
    usd_per_million_prompt_tokens: float = Field(0.0, ge=0, description="openai: price, US dollars")
    usd_per_million_completion_tokens: float = Field(
        0.0, ge=0, description="openai: price, US dollars"
    )
