"""The data card of exported trajectories: Hugging Face's form, Markdown below a YAML header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from llm4teach.analysis.exports.facts import Facts
from llm4teach.analysis.statistics import wilson_interval
from llm4teach.datasets.exporters.episode import Layout
from llm4teach.datasets.exporters.parquet_files import DATA, steps_schema
from llm4teach.teacher_labeling.teacher import TeacherInfo

NO_LICENSE = "unknown"  # the Hub's name for a license that nobody stated
_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)  # limits of the Hub's size categories
_SIZE_NAMES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")


def card(
    facts: Facts,
    layout: Layout,
    teacher: TeacherInfo | None,
    spent: Mapping[str, float],
    license_id: str,
) -> str:
    """Return the README of a Parquet export."""
    header: dict[str, Any] = {
        "pretty_name": f"{facts.task.name} trajectories"
        + (" with a teacher's advice" if teacher else ""),
        "license": license_id or NO_LICENSE,
        "task_categories": ["reinforcement-learning"],
        "tags": ["reinforcement-learning", "offline-rl", "llm4teach"],
        "size_categories": [_size_category(facts.steps)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"{DATA}/*.parquet"}],
            }
        ],
    }
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {header['pretty_name']}",
        "One row per step. Rows of an episode follow each other in the order of `t`; `terminated` "
        "and `truncated` are never both true, and an episode whose last row has neither was still "
        "running when its collection stopped.",
        _columns(layout),
        _numbers(facts),
        _made(facts, teacher, spent),
        _loading(layout, facts),
        _license(license_id),
    ]
    return "\n\n".join(parts) + "\n"


def _columns(layout: Layout) -> str:
    lines = ["## Columns", "", "| column | type | meaning |", "| --- | --- | --- |"]
    for field in steps_schema(layout):
        text = field.metadata[b"description"].decode().replace("|", "\\|")
        lines.append(f"| `{field.name}` | {_type(field.type)} | {text} |")
    return "\n".join(lines)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return "list of " + ", ".join(
            f"{part.name} ({_type(part.type)})" for part in kind.value_type
        )
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _numbers(facts: Facts) -> str:
    rows = {
        "steps": f"{facts.steps:,}",
        "episodes": f"{facts.episodes:,}",
        "terminated": f"{facts.terminated:,}",
        "truncated by the time limit": f"{facts.truncated:,}",
        "still running when collection stopped": f"{facts.unfinished:,}",
        "with a final observation": f"{facts.finals:,}",
        "distinct states": f"{len(facts.states):,}",
        "steps with advice": _share(facts.advised_steps, facts.steps),
        "steps with a plan that can act": _share(facts.grounded_steps, facts.steps),
    }
    if facts.returns:
        returns, n = np.array(facts.returns), len(facts.returns)
        low, high = wilson_interval(facts.successes, n)
        rows["return of ended episodes"] = (
            f"mean {returns.mean():.4g}, standard deviation {returns.std():.4g}, "
            f"from {returns.min():.4g} to {returns.max():.4g}"
        )
        rows["success of ended episodes"] = (
            f"{facts.successes / n:.1%} [{low:.1%}, {high:.1%}], n = {n:,}"
        )
    for name, steps in facts.behaviors.most_common():
        rows[f"steps of behavior `{name}`"] = _share(steps, facts.steps)
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["## Numbers", "", "| | |", "| --- | --- |", *table])


def _share(part: int, total: int) -> str:
    return f"{part:,} ({part / max(1, total):.1%})"


def _made(facts: Facts, teacher: TeacherInfo | None, spent: Mapping[str, float]) -> str:
    task = facts.task
    lines = [
        "## How it was made",
        "",
        f"- Task `{task.name}` of the family `{task.family}`, at most {task.max_steps} steps per "
        "episode. A final observation comes from playing the episode again from its seed.",
        *(f"- Run `{run}`: {steps:,} steps." for run, steps in sorted(facts.steps_of.items())),
    ]
    if teacher is None:
        lines.append("- No advice was exported.")
        return "\n".join(lines)
    settings = f", {teacher.settings}" if teacher.settings else ""
    lines += [
        f"- Teacher `{teacher.teacher_id}`: model `{teacher.model}`, revision "
        f"`{teacher.model_revision}`, method {teacher.method}{settings}.",
        f"- Prompt version `{teacher.prompt_version or 'none'}` (a hash of its template).",
        f"- {int(spent['questions']):,} questions about the {len(facts.states):,} distinct states "
        f"were answered, each once: {int(spent['prompt_tokens']):,} prompt tokens and "
        f"{int(spent['completion_tokens']):,} completion tokens"
        + (f", ${spent['cost']:.4g}." if spent["cost"] else "."),
        "- `advice` is what the teacher answered, or what is composed of its judgments; "
        "`teacher_probs` mixes the plans' own policies by "
        "these probabilities.",
    ]
    return "\n".join(lines)


def _loading(layout: Layout, facts: Facts) -> str:
    again = f"llm4teach import FOLDER --task {facts.task.name}"
    return f"""## Loading it

```python
import duckdb
import numpy as np
import pandas as pd

steps = pd.read_parquet("data")
observations = np.stack(steps["observation"]).reshape(-1, {_numbers_of(layout)})
duckdb.sql("SELECT state_text, advice FROM 'data/*.parquet' WHERE has_advice LIMIT 5").show()
```

Hugging Face's `datasets.load_dataset` reads this folder, too. `{again}` makes trajectories of it
again."""


def _numbers_of(layout: Layout) -> str:
    return ", ".join(map(str, layout.observation_shape))


def _license(license_id: str) -> str:
    if license_id and license_id != NO_LICENSE:
        return f"## License\n\n{license_id}"
    return (
        "## License\n\nNot stated. State one above and here before this is published; a model's "
        "terms may bind what it has answered."
    )


def _size_category(steps: int) -> str:
    for i, limit in enumerate(_SIZES):
        if steps < limit:
            return f"n<{_SIZE_NAMES[0]}" if i == 0 else f"{_SIZE_NAMES[i - 1]}<n<{_SIZE_NAMES[i]}"
    return f"n>{_SIZE_NAMES[-1]}"


def summary_line(facts: Facts) -> str:
    """Return what was written, in a line for people."""
    line = f"{facts.episodes:,} episodes, {facts.steps:,} steps"
    line += f", {_share(facts.advised_steps, facts.steps)} of them with advice"
    if facts.finals < facts.episodes:
        line += (
            f"; the observation after the last step is unknown in "
            f"{facts.episodes - facts.finals:,} episodes"
        )
    return line
