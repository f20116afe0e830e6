"""What a report says, as plain data: costs, advice, settings and command of one run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from llm4teach.datasets.runs import with_earlier_settings

MAX_ADVICE = 200
_SECRET = re.compile(r"(api_?key|secret|password|passwd|credential|authorization|token)s?$", re.I)
_COUNTING = re.compile(r"(max|prompt|completion)_?\w*tokens$", re.I)  # amounts, not secrets


class Fact(NamedTuple):
    """One number with what it counts."""

    label: str
    value: str
    note: str = ""


def costs(results: Mapping[str, Any], metrics: pa.Table) -> list[Fact]:
    """What the run took, from the environment's steps down to the teacher's seconds."""
    collected = results.get("collect_steps") or _last_step(metrics, "collect")
    tuned = results.get("finetune_steps") or _last_step(metrics, "finetune")
    steps, questions = (collected or 0) + (tuned or 0), results.get("questions")
    live = results.get("live_questions")
    seconds = results.get("teacher_s")
    rate = f"one in {steps / questions:,.0f} steps" if questions and steps else ""
    each = f"{seconds / questions:.2f} s a question" if questions and seconds else ""
    size = results.get("student_bytes")
    facts = [
        ("env steps collected", _count(collected), ""),
        ("env steps of fine-tuning", _count(tuned), ""),
        ("distinct states", _count(results.get("distinct_states")), "as the teacher sees them"),
        ("questions about them", _count(results.get("distinct_questions")), "known ones included"),
        ("questions to the teacher", _count(questions), rate),
        ("of them live", _count(live), "for states first met in fine-tuning"),
        ("prompt tokens", _count(results.get("prompt_tokens")), ""),
        ("of these from a cache", _count(results.get("cached_prompt_tokens")), ""),
        ("completion tokens", _count(results.get("completion_tokens")), ""),
        ("of the teacher's time", None if seconds is None else f"{seconds:,.1f} s", each),
        ("size of the student", None if size is None else f"{size / 1000:,.0f} kB", "no LLM in it"),
    ]
    return [Fact(label, value, note) for label, value, note in facts if value is not None]


def _count(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _last_step(metrics: pa.Table, stage: str) -> int | None:
    steps = [row["step"] for row in metrics.to_pylist() if row["stage"] == stage]
    return max(steps, default=None)


def advice_view(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of schema.ADVICE for the page: plans by falling probability, sorted by state."""
    shown = sorted(rows, key=lambda row: (row["state_text"] or "", row["state_key"]))
    return [
        {
            **row,
            "plans": sorted(row["options"] or [], key=lambda o: -o["probability"]),
            "tokens": (row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0),
        }
        for row in shown
    ]


def settings(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The configuration as titled lists of names and values, without secrets."""
    flat = list(_flatten(config))
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in flat:
        section, _, rest = name.partition(".") if "." in name else ("run", "", name)
        text = "–" if value is None else str(value)
        sections.setdefault(section, []).append((rest, text))
    return list(sections.items())


def command(kind: str, workspace: str, config: Mapping[str, Any]) -> str:
    """The command line that starts this run again, every setting spelled out but the secrets."""
    flat = _flatten({"workspace": workspace, **with_earlier_settings(config)})
    flags = [_given(name, v) for name, v in flat if v is not None and v != _HIDDEN]
    return " \\\n  ".join([f"llm4teach {kind}", *flags])


def _given(path: str, value: Any) -> str:
    flag = _flag(path)
    if isinstance(value, bool):
        return flag if value else f"--no-{flag.removeprefix('--')}"
    return f"{flag} {shlex.quote(str(value))}"


def _flag(path: str) -> str:
    """A setting's flag; the command line writes ``teacher.teacher`` as ``--teacher``."""
    section, _, name = path.partition(".")
    return f"--{section if section == name else path}"


_HIDDEN = "(not shown)"


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{path}.")
        elif value and _SECRET.search(name) and not _COUNTING.search(name):
            yield path, _HIDDEN
        elif isinstance(value, str):
            yield path, re.sub(r"(?<=://)[^/@\s]+@", "", value)  # a URL's user and password
        else:
            yield path, value
