"""The tables' schemas: a version in the metadata, a unit and a meaning on every column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa

from llm4teach.datasets.storage.parquet import DEFAULT_COLUMN, EARLIER_NAME

VERSION = 1
_EARLIER = {"behavior": "behaviour", "reweighted": "weighed"}  # names in files of version 0.1
IDENTITY_FIELDS = {"temperature", "system"}  # without which a teacher is another one (`dropped`)
_DEFAULTS = {"question_key": "state_key"}  # files of version 0.1 lack the first


def _table(
    name: str, columns: Sequence[tuple[str, pa.DataType, str, str]], version: int = VERSION
) -> pa.Schema:
    fields = []
    for column, kind, unit, text in columns:
        metadata: dict[str | bytes, str | bytes] = {"unit": unit, "description": text}
        if column in _EARLIER:
            metadata[EARLIER_NAME] = _EARLIER[column]
        if column in _DEFAULTS:
            metadata[DEFAULT_COLUMN] = _DEFAULTS[column]
        fields.append(pa.field(column, kind, metadata=metadata))
    return pa.schema(fields, metadata={"table": name, "schema_version": str(version)})


def trajectories(observation_shape: Sequence[int]) -> pa.Schema:
    """One row a step; ``observation`` is the uint8 array of this shape, in C order."""
    schema = _table(
        "trajectories",
        [
            ("run_id", pa.string(), "", "run that collected the step"),
            ("episode_id", pa.int64(), "", "counts the run's episodes from 0"),
            ("t", pa.int32(), "env steps", "position in the episode, from 0"),
            ("seed", pa.int64(), "", "the episode's seed"),
            ("observation", pa.binary(math.prod(observation_shape)), "", "before the action"),
            ("state_key", pa.string(), "", "content hash of task family and state_text"),
            ("state_text", pa.string(), "", "what the teacher is told"),
            ("action", pa.int8(), "", "index into the task's actions"),
            ("reward", pa.float32(), "", "for this step"),
            ("terminated", pa.bool_(), "", "the episode ended at this step"),
            ("truncated", pa.bool_(), "", "the time limit ended it at this step"),
            (
                "behavior",
                pa.string(),
                "",
                "behavior policy: student, noise, or 'option: ' and the plan that was followed",
            ),
            ("action_logprob", pa.float32(), "nats", "under the behavior policy, with its noise"),
        ],
        version=2,
    )
    shape = ",".join(map(str, observation_shape))
    return schema.with_metadata({**schema.metadata, b"observation_shape": shape.encode()})


STATES = _table(
    "states",
    [
        ("state_key", pa.string(), "", "content hash of task family and state_text"),
        ("state_text", pa.string(), "", "what the teacher reads"),
        ("options", pa.list_(pa.string()), "", "the plans that are admissible in this state"),
    ],
)

ADVICE = _table(
    "advice",
    [
        ("state_key", pa.string(), "", "content hash of task family and state_text"),
        ("state_text", pa.string(), "", "what the teacher read; of judgments the question"),
        ("question_key", pa.string(), "", "content hash of the question; by default state_key"),
        ("teacher_id", pa.string(), "", "backend, model, revision, method and settings"),
        ("prompt_version", pa.string(), "", "content hash of the prompt template"),
        ("status", pa.string(), "", "ok, no_advice, invalid or refused"),
        (
            "options",
            pa.list_(pa.struct([("plan", pa.string()), ("probability", pa.float64())])),
            "",
            "the advice: a distribution over plans, of judgments over yes and no; empty unless ok",
        ),
        ("entropy", pa.float64(), "nats", "of that distribution"),
        ("coverage", pa.float64(), "", "mass on valid plans before normalizing"),
        ("min_coverage", pa.float64(), "", "the coverage below which the row is invalid"),
        ("raw_sum", pa.float64(), "", "verbalized: sum of the shares stated; 1 is 100%"),
        ("method", pa.string(), "", "logprobs, sampling, verbalized, judgments or recorded"),
        ("settings", pa.string(), "", "of the method"),
        ("n_samples", pa.int32(), "replies", "that the distribution rests on"),
        ("replies", pa.list_(pa.string()), "", "raw text of the model, parsed or not"),
        ("invalid_replies", pa.int32(), "replies", "that say nothing usable"),
        ("truncated_replies", pa.int32(), "replies", "that max_tokens ended"),
        (
            "dropped",
            pa.list_(pa.string()),
            "",
            "request fields that the server refuses: left out, or renamed (old=new)",
        ),
        ("model", pa.string(), "", ""),
        ("model_revision", pa.string(), "", ""),
        ("prompt_tokens", pa.int64(), "tokens", "of all requests, those in a cache included"),
        ("cached_prompt_tokens", pa.int64(), "tokens", "of these, those that a cache held"),
        ("completion_tokens", pa.int64(), "tokens", ""),
        ("latency_s", pa.float64(), "seconds", ""),
        ("cost", pa.float64(), "USD", ""),
        (
            "attempt",
            pa.int32(),
            "",
            "1, or null: the first; of a question's rows the one with the highest counts",
        ),
        ("created_at", pa.timestamp("us", tz="UTC"), "UTC", ""),
    ],
)

REWEIGHTING = _table(
    "reweighting",
    [
        ("run_id", pa.string(), "", "run whose trajectories these returns come from"),
        ("state_key", pa.string(), "", "content hash of task family and state_text"),
        ("state_text", pa.string(), "", "what the teacher was told"),
        ("plan", pa.string(), "", "advised or admissible in this state"),
        ("advised", pa.float64(), "", "the teacher's probability"),
        ("reweighted", pa.float64(), "", "the probability after reweighting by returns"),
        ("value", pa.float64(), "reward", "expected discounted return of following it"),
        ("segments", pa.int64(), "segments", "how often it was followed"),
    ],
    version=2,
)

METRICS = _table(
    "metrics",
    [
        ("run_id", pa.string(), "", ""),
        ("stage", pa.string(), "", "collect, pretrain, finetune or validate"),
        (
            "step",
            pa.int64(),
            "",
            "gradient steps in pretrain, else env steps (in validate the offline ones too)",
        ),
        ("name", pa.string(), "", "what was measured"),
        ("value", pa.float64(), "", ""),
        ("wall_s", pa.float64(), "seconds", "since the run began"),
    ],
)

EVALUATIONS = _table(
    "evaluations",
    [
        ("run_id", pa.string(), "", ""),
        ("task", pa.string(), "", ""),
        ("policy", pa.string(), "", "student, pretrained, reweighted (advice), teacher or random"),
        ("mode", pa.string(), "", "sampled or greedy"),
        ("seed", pa.int64(), "", "held-out seed of the episode"),
        (
            "success",
            pa.bool_(),
            "",
            "as the task defines it (default: positive return)",
        ),
        ("return", pa.float64(), "", "undiscounted sum of rewards"),
        ("length", pa.int32(), "env steps", ""),
        (
            "measures",
            pa.map_(pa.string(), pa.float64()),
            "",
            "what else the environment says of the episode, by name; habitat's collisions, spl, …",
        ),
    ],
)

AGREEMENT = _table(
    "agreement",
    [
        ("run_id", pa.string(), "", "evaluation that played the episodes"),
        ("task", pa.string(), "", ""),
        ("policy", pa.string(), "", "who played: student or teacher"),
        ("mode", pa.string(), "", "sampled or greedy"),
        ("state_key", pa.string(), "", "content hash of task family and state_text"),
        ("state_text", pa.string(), "", "what the teacher is told"),
        ("steps", pa.int64(), "env steps", "spent in this state by whoever played"),
        ("episodes", pa.int64(), "episodes", "in which it was met"),
        ("student_probs", pa.list_(pa.float64()), "", "of each action, mean over the steps"),
        ("teacher_probs", pa.list_(pa.float64()), "", "grounded advice, likewise; zeros: none"),
        ("kl", pa.float64(), "nats", "KL(teacher || student), mean over the advised steps"),
        ("differs", pa.float64(), "", "share of these whose likeliest action is not the teacher's"),
        ("return_after", pa.float64(), "", "undiscounted return from the step on, mean"),
        ("steps_after", pa.float64(), "env steps", "from the step to the episode's end, mean"),
    ],
)
