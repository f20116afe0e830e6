"""A training run as it is being written: what its files say now, in numbers and in one line."""

from __future__ import annotations

from dataclasses import dataclass

from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import MANIFEST
from llm4teach.datasets.storage.paths import StoragePath

Series = tuple[list[float], list[float]]  # env steps and values, of one length
CURVES = {  # what is drawn, by what it is called
    "success_rate": "success while training",
    "ask_rate": "questions a thousand steps",
    "kl_coef": "kl_coef",
    "steps_per_s": "env steps a second",
}


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    complete: bool
    stage: str  # the last one that has measured anything; "" if none has
    step: int  # of that stage: env steps, or gradient steps in pretrain
    curves: dict[str, Series]  # of fine-tuning, by the names of `CURVES`; validation, if measured

    @property
    def line(self) -> str:
        """The newest figures in one line."""
        if not self.stage:
            return "nothing measured yet"
        unit = "gradient steps" if self.stage == "pretrain" else "env steps"
        parts = [f"{self.stage} {self.step:,} {unit}"]
        for name, title in CURVES.items():
            _, values = self.curves.get(name, ([], []))
            if values and self.stage in ("finetune", "validate"):
                shown = f"{values[-1]:.1%}" if name == "success_rate" else f"{values[-1]:.3g}"
                parts.append(f"{title} {shown}")
        return ", ".join(parts)


def snapshot(folder: StoragePath) -> Snapshot:
    """Read a run's folder, complete or not.

    Raises:
        DatasetError: its measurements are damaged.
    """
    complete = (folder / MANIFEST).exists()  # looked up first: what is read next is then all
    rows = read_metrics(folder).to_pylist()
    if not rows:
        return Snapshot(complete, "", 0, {})
    newest = max(rows, key=lambda row: (row["wall_s"], row["step"]))
    curves: dict[str, Series] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        name = row["name"]
        if row["stage"] == "finetune" and name in (*CURVES, "live_questions"):
            steps, values = curves.setdefault(name, ([], []))
            steps.append(row["step"])
            values.append(row["value"])
    if "live_questions" in curves:
        curves["ask_rate"] = _rate(curves.pop("live_questions"))
    return Snapshot(complete, newest["stage"], newest["step"], curves)


def _rate(counted: Series) -> Series:
    """Questions a thousand env steps, from how many there were by then.

    A run that was taken up again counts from 0 again.
    """
    steps, questions = counted
    before = zip([0.0, *steps], [0.0, *questions], strict=False)
    rates = [
        1000 * (q - q_before if q >= q_before else q) / (s - s_before) if s > s_before else 0.0
        for (s_before, q_before), s, q in zip(before, steps, questions, strict=False)
    ]
    return steps, rates
