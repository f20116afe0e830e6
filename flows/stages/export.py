"""Exporting a run's student: the file, and a model card that says what it is and whence it came."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from llm4teach.analysis.summary import summary_table
from llm4teach.datasets.champions import sha256_of
from llm4teach.datasets.runs import CHECKPOINT, CONFIG, EVALUATION, MANIFEST
from llm4teach.datasets.schema import EVALUATIONS
from llm4teach.datasets.storage.parquet import read_json, read_parquet, replacing
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.export.export import SUFFIXES, Format, export_student
from llm4teach.student.model.checkpoint import load_student
from llm4teach.student.model.network import Student

CHECKED_ON = 512  # observations
_LICENCES = {  # of the teachers' weights, as their publishers state them
    "smollm2": "Apache-2.0",
    "qwen2.5-coder-1.5b": "Apache-2.0",
    "vicuna-33b": "LLaMA licence, non-commercial",
    "handwritten": "none: written by people for this project",
}


def export(
    workspace: Workspace,
    run_id: str,
    kind: Format,
    output: StoragePath | None,
    int8_episodes: int = 0,
) -> list[StoragePath]:
    """Write a run's student and its model card; return both paths.

    Args:
        workspace: of the run.
        run_id: whose student.
        kind: of file.
        output: the file; None for one in the run's folder.
        int8_episodes: 0 keeps float32. Else the weights have 8 bits, and both students play as many
            held-out episodes; what that changes stands in the card.

    Raises:
        DatasetError: the run has no student, or the exported file does not answer like it.
    """
    folder = workspace.existing_run(run_id)
    student, facts = load_student(folder / CHECKPOINT)
    task = get_task(facts["task"])
    if int8_episodes and kind != "onnx":
        raise DatasetError(f"--quantize int8 writes ONNX, not {kind}; leave --format out")
    path = output or folder / f"student{'-int8' if int8_episodes else ''}{SUFFIXES[kind]}"
    known: dict[str, Any] = {
        **{name: facts[name] for name in ("task", "run_id", "after", "seed") if name in facts},
        "action_names": list(task.action_names),
        "observation_shape": list(task.observation_shape),
        "checkpoint_sha256": sha256_of(folder / CHECKPOINT),
    }
    seen = played(task)
    if int8_episodes:
        checked = _export_int8(student, path, known, seen, task, int8_episodes)
    else:
        difference = export_student(student, path, kind, known, seen)
        checked = (
            f"Checked against the original on {CHECKED_ON} observations: probabilities differ by "
            f"at most {difference:.1g}."
        )
    card = path.with_suffix(".md")
    with replacing(card) as temporary:
        temporary.write_text(_card(folder, path, known, checked), encoding="utf-8")
    return [path, card]


def _export_int8(
    student: Student,
    path: StoragePath,
    known: dict[str, Any],
    seen: Observations,
    task: Task,
    episodes: int,
) -> str:
    """Write the file in 8 bits; say what that changes in play."""
    from llm4teach.student.export.onnx_policy import OnnxStudent
    from llm4teach.student.export.quantize import quantize_int8

    known["weights"] = "int8"
    with TemporaryDirectory() as folder:
        whole, small = Path(folder) / "student.onnx", Path(folder) / "int8.onnx"
        export_student(student, whole, "onnx", known, seen)
        quantize_int8(whole, small, seen)
        with replacing(path) as temporary:
            shutil.copyfile(small, temporary)
        players = {"float32": OnnxStudent(whole), "int8": OnnxStudent(small)}
        size = small.stat().st_size / whole.stat().st_size
    play = EvaluateConfig(episodes=episodes)
    rates = {
        name: [
            fmean(e["success"] for e in evaluate_policy(task, player.probabilities, mode, play, 0))
            for mode in ("sampled", "greedy")
        ]
        for name, player in players.items()
    }
    told = {name: f"{sampled:.1%} ({greedy:.1%})" for name, (sampled, greedy) in rates.items()}
    return (
        f"Weights and activations in 8 bits, {size:.0%} of float32's size. Success on the same "
        f"{episodes} held-out episodes, sampled (greedy): {told['int8']}; in float32 "
        f"{told['float32']}."
    )


def played(task: Task) -> Observations:
    """Observations of episodes played at random, uint8 (CHECKED_ON, *observation_shape)."""
    rng, n = np.random.default_rng(0), 16
    envs = EpisodeVector(task, n, itertools.count())
    seen = []
    for _ in range(CHECKED_ON // n):
        seen.append(envs.observations.copy())
        envs.step(rng.integers(0, len(task.action_names), n))
    return np.concatenate(seen)


def _card(folder: StoragePath, path: StoragePath, known: dict[str, Any], checked: str) -> str:
    complete = (folder / MANIFEST).exists()
    content = read_json(folder / (MANIFEST if complete else CONFIG))
    results = content.get("results", {})
    teacher = results.get("teacher_id", "unknown")
    licence = next((text for name, text in _LICENCES.items() if name in teacher), "see its model")
    steps = {name: results.get(name, 0) for name in ("collect_steps", "finetune_steps")}
    tokens = results.get("prompt_tokens", 0) + results.get("completion_tokens", 0)
    shape = " x ".join(map(str, known["observation_shape"]))
    lines = [
        f"# Student of {known['task']}",
        "",
        f"A small policy that an LLM taught and that plays without it. File: `{path.name}`, "
        f"{path.stat().st_size:,} bytes.",
        "",
        f"- Input: observations, uint8 (N, {shape}). Output: probabilities of "
        f"{', '.join(known['action_names'])}; and values.",
        f"- Run: {known['run_id']}, after {known.get('after', '?')}, seed {known.get('seed')}, "
        f"{content.get('created_at', '')}; checkpoint sha256 {known['checkpoint_sha256']}.",
        f"- Teacher: {teacher}, prompt version {results.get('prompt_version') or 'none'}; "
        f"{results.get('questions', 0)} questions, {tokens:,} tokens. "
        f"Licence of its weights: {licence}.",
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
