"""Advice to and from rows of the advice store."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import Mixture
from llm4teach.teacher_labeling.teacher import Advice, TeacherInfo

_text = lru_cache(maxsize=4096)(str)  # teachers say the same few plans again and again


def to_row(advice: Advice, info: TeacherInfo) -> dict[str, Any]:
    """One row of `datasets.schema.ADVICE`, less what the store adds itself."""
    return {
        "state_key": advice.state.key,
        "state_text": advice.state.text,
        "status": advice.status.value,
        "options": [{"plan": _text(plan), "probability": p} for plan, p in advice.plans],
        "entropy": advice.entropy,
        "coverage": advice.coverage,
        "raw_sum": advice.raw_sum,
        "method": info.method,
        "settings": info.settings,
        "n_samples": advice.n_samples,
        "replies": list(advice.replies),
        "model": info.model,
        "model_revision": info.model_revision,
        "prompt_tokens": advice.prompt_tokens,
        "completion_tokens": advice.completion_tokens,
        "latency_s": advice.latency_s,
        "cost": advice.cost,
    }


def plans_of(row: dict[str, Any]) -> Mixture:
    """The distribution over plans that a row holds; empty unless its status is ok."""
    return tuple((parse_plan(o["plan"]), float(o["probability"])) for o in row["options"])
