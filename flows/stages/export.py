"""Exporting a run's student: the file, and a model card that says what it is and whence it came."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from llm4teach.analysis.summary import summary_table
from llm4teach.datasets.champions import sha256_of
from llm4teach.datasets.runs import CHECKPOINT, CONFIG, EVALUATION, MANIFEST
from llm4teach.datasets.schema import EVALUATIONS
from llm4teach.datasets.storage.parquet import read_json, read_parquet, replacing
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.errors import DatasetError
from llm4teach.student.export.export import SUFFIXES, Format, export_student
from llm4teach.student.model.checkpoint import load_student

CHECKED_ON = 512  # observations
_CARD = "# Student of "  # how a model card begins
_LICENSES = {  # of the teachers' weights, as their publishers state them
    "smollm2": "Apache-2.0",
    "qwen2.5-coder": "Apache-2.0",
    "vicuna-33b": "LLaMA license, non-commercial",
    "handwritten": "none: written by people for this project",
}


def export(
    workspace: Workspace,
    run_id: str,
    kind: Format,
    output: StoragePath | None,
) -> list[StoragePath]:
    """Write a run's student and its model card; return both paths.

    Args:
        workspace: of the run.
        run_id: whose student.
        kind: of file.
        output: the file, or a folder for it; None for the run's folder. The card has the file's
            name and ``.md``, so that no two files share one.

    Raises:
        DatasetError: the run has no student, the exported file does not answer like it, or the
            card would replace another file.
    """
    folder = workspace.existing_run(run_id)
    student, facts = load_student(folder / CHECKPOINT)
    task = get_task(facts["task"])
    path = output or folder
    if output is None or path.is_dir():
        path = path / f"student{SUFFIXES[kind]}"
    card = path.with_name(f"{path.name}.md")
    if card.exists() and not card.read_bytes().startswith(_CARD.encode()):
        raise DatasetError(
            f"{card} exists and is no model card; move it, or give another file with --output"
        )
    about: dict[str, Any] = {
        **{name: facts[name] for name in ("task", "run_id", "after", "seed") if name in facts},
        "action_names": list(task.action_names),
        "observation_shape": list(task.student_shape),
        "checkpoint_sha256": sha256_of(folder / CHECKPOINT),
    }
    difference = export_student(student, path, kind, about, played(task))
    checked = (
        f"Checked against the original on {CHECKED_ON} observations: probabilities differ by "
        f"at most {difference:.1g}."
    )
    with replacing(card) as temporary:
        temporary.write_text(_card(folder, path, about, checked), encoding="utf-8")
    return [path, card]


def played(task: Task) -> Observations:
    """What a student sees in episodes played at random, uint8 (CHECKED_ON, *student_shape)."""
    rng, n = np.random.default_rng(0), 16
    envs = EpisodeVector(task, n, itertools.count())
    seen = []
    for _ in range(CHECKED_ON // n):
        seen.append(task.student_observations(envs.observations).copy())
        envs.step(rng.integers(0, len(task.action_names), n))
    return np.concatenate(seen)


def _card(folder: StoragePath, path: StoragePath, about: dict[str, Any], checked: str) -> str:
    complete = (folder / MANIFEST).exists()
    content = read_json(folder / (MANIFEST if complete else CONFIG))
    results = content.get("results", {})
    teacher = results.get("teacher_id", "unknown")
    license = next((text for name, text in _LICENSES.items() if name in teacher), "see its model")
    steps = {name: results.get(name, 0) for name in ("collect_steps", "finetune_steps")}
    tokens = results.get("prompt_tokens", 0) + results.get("completion_tokens", 0)
    shape = " x ".join(map(str, about["observation_shape"]))
    lines = [
        f"{_CARD}{about['task']}",
        "",
        f"A small policy that an LLM taught and that plays without it. File: `{path.name}`, "
        f"{path.stat().st_size:,} bytes.",
        "",
        f"- Input: observations, uint8 (N, {shape}). Output: probabilities of "
        f"{', '.join(about['action_names'])}; and values.",
        f"- Run: {about['run_id']}, after {about.get('after', '?')}, seed {about.get('seed')}, "
        f"{content.get('created_at', '')}; checkpoint sha256 {about['checkpoint_sha256']}.",
        f"- Teacher: {teacher}, prompt version {results.get('prompt_version') or 'none'}; "
        f"{results.get('questions', 0)} questions, {tokens:,} tokens. "
        f"License of its weights: {license}.",
        f"- Data: {steps['collect_steps']:,} env steps collected, {steps['finetune_steps']:,} "
        "fine-tuned.",
        f"- {checked}",
        "",
        "## Evaluation",
        "",
        *_evaluation(folder),
        "",
    ]
    return "\n".join(lines)


def _evaluation(folder: StoragePath) -> list[str]:
    try:
        rows = summary_table(read_parquet(folder / EVALUATION, EVALUATIONS))
    except DatasetError:
        return ["Not evaluated."]
    lines = ["| policy | mode | held-out episodes | success [95%] |", "| --- | --- | ---: | ---: |"]
    for row in rows:
        interval = f"[{row['success_low']:.1%}, {row['success_high']:.1%}]"
        lines.append(
            f"| {row['policy']} | {row['mode']} | {row['episodes']} "
            f"| {row['success_rate']:.1%} {interval} |"
        )
    return lines
