"""Other people's trainers with the same advice: success on SimpleDoorKey beside our fine-tuning.

    python benchmarks/training/trainers.py --jobs 2 --csv docs/results/trainers/trainers.csv
    python benchmarks/training/trainers.py --trainers ours sb3 --teachers none --seeds 5

Trains our own fine-tuning, examples/sb3_trainer.py (Stable-Baselines3's PPO) and
examples/cleanrl_trainer.py (PPO in one file), each from random weights, with the same env steps,
PPO settings, schedule of kl_coef and encoder. Advice is labeled once, before any training, and read
from the workspace by all of them; nobody is asked during training. The controls are the teacher
`none`, which knows nothing, and `-`, no KL term at all (kl_coef 0). Success is that of development
episodes, sampled. With --csv, rows that the file already has are not trained again.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean, median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "examples"))
TASK, LABELED_STEPS = "SimpleDoorKey", 4_000
NO_TEACHER = "-"
NAMES = {
    "ours": "our fine-tuning",
    "sb3": "Stable-Baselines3 (examples/sb3_trainer.py)",
    "cleanrl": "CleanRL's style (examples/cleanrl_trainer.py)",
}
COLUMNS = ("trainer", "teacher", "steps", "seed", "episodes", "success", "cpu_s")
Trial = tuple[str, str, int]  # trainer, teacher, seed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainers", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--teachers", nargs="+", default=["recorded/vicuna-33b", "none", "-"])
    parser.add_argument("--steps", type=int, default=65_536, help="env steps of each training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=500, help="held-out ones, per seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes to train in")
    parser.add_argument("--workspace", default="workspace/trainers", help="of the advice")
    parser.add_argument("--csv", type=Path, help="a row per trainer, teacher and seed")
    arguments = parser.parse_args()
    trials = [
        (trainer, teacher, seed)
        for seed in range(arguments.seeds)
        for teacher in arguments.teachers
        for trainer in arguments.trainers
    ]
    rows = _read(arguments.csv, arguments.steps, arguments.episodes)
    missing = [trial for trial in trials if trial not in rows]
    for teacher in sorted({teacher for _, teacher, _ in missing} - {NO_TEACHER}):
        _label(teacher, arguments.workspace)
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        common = (arguments.steps, arguments.episodes, arguments.workspace)
        running = [pool.submit(_run, trial, *common) for trial in missing]
        for ended, future in enumerate(as_completed(running), 1):
            row = future.result()
            rows[row["trainer"], row["teacher"], row["seed"]] = row
            if arguments.csv:
                _write(arguments.csv, rows)
            print(
                f"{ended}/{len(missing)}: {row['trainer']}, {row['teacher']}, seed {row['seed']}: "
                f"{row['success']:.1%} in {row['cpu_s']:.0f} CPU-s",
                file=sys.stderr,
                flush=True,
            )
    _report(arguments, [rows[trial] for trial in trials])


def _label(teacher: str, workspace: str) -> None:
    """Collect steps and have their states labeled; nothing is asked twice."""
    import llm4teach as lt

    lt.collect(TASK, teacher, workspace, collect={"steps": LABELED_STEPS, "rounds": 1})
    labeled = lt.label(TASK, teacher, workspace)
    print(f"{teacher}: {labeled['questions']} states newly labeled", file=sys.stderr, flush=True)


def _run(trial: Trial, steps: int, episodes: int, workspace: str) -> dict[str, Any]:
    """Train once and evaluate; return a row."""
    import torch

    import llm4teach as lt

    torch.set_num_threads(1)
    trainer, teacher_name, seed = trial
    taught = teacher_name != NO_TEACHER
    # Without a KL term nobody is asked; the teacher only says which task it is.
    teacher = lt.TeacherPolicy(workspace, TASK, teacher_name if taught else "none", ask=not taught)
    train = {"ours": _ours, "sb3": _sb3, "cleanrl": _cleanrl}[trainer]
    began = time.process_time()
    policy = train(teacher, steps, seed, 1.0 if taught else 0.0)
    cpu_s = time.process_time() - began
    result = lt.evaluate(TASK, policy, episodes, seeds="development", seed=seed)
    teacher.close()
    values = (trainer, teacher_name, steps, seed, episodes, result["success_rate"], round(cpu_s, 1))
    return dict(zip(COLUMNS, values, strict=True))


def _ours(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import torch

    from llm4teach.student.config import FinetuneConfig
    from llm4teach.student.model.network import Student
    from llm4teach.student.policies import student_policy
    from llm4teach.student.training.finetune import Finetuner

    torch.manual_seed(seed)
    student = Student(teacher.task.observation_shape, len(teacher.task.action_names))
    config = FinetuneConfig(
        steps=steps,
        n_envs=16,
        rollout_length=64,
        minibatches=4,
        learning_rate=1e-3,
        kl_coef=kl_coef,
        kl_schedule="linear",
        kl_off=0.8,
    )
    Finetuner(teacher.task, student, teacher, config, seed).run(lambda step, values: None)
    return student_policy(student)


def _sb3(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import sb3_trainer

    return sb3_trainer.learner(teacher, seed, kl_coef).learn(steps).policy.probabilities


def _cleanrl(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import cleanrl_trainer

    return cleanrl_trainer.train(teacher, steps, seed, kl_coef).probabilities


def _report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print a line per trainer and teacher, and each trainer less ours."""
    from llm4teach.analysis.statistics import bootstrap_mean_interval, mean_difference

    def rates(trainer: str, teacher: str) -> list[float]:
        return [r["success"] for r in rows if (r["trainer"], r["teacher"]) == (trainer, teacher)]

    print("| trainer | teacher | success [95%] | worst | less ours, points [95%] | CPU s |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for teacher in arguments.teachers:
        for trainer in arguments.trainers:
            own = rates(trainer, teacher)
            low, high = bootstrap_mean_interval(own)
            less = ""
            if trainer != "ours" and "ours" in arguments.trainers and len(own) > 1:
                mean, (least, most) = mean_difference([own], [rates("ours", teacher)])
                less = f"{100 * mean:+.1f} [{100 * least:+.1f}, {100 * most:+.1f}]"
            cpu_s = median(
                r["cpu_s"] for r in rows if (r["trainer"], r["teacher"]) == (trainer, teacher)
            )
            cells = [NAMES[trainer], teacher, f"{fmean(own):.1%} [{low:.1%}, {high:.1%}]"]
            print("| " + " | ".join([*cells, f"{min(own):.1%}", less, f"{cpu_s:,.0f}"]) + " |")
    print(
        f"\n{arguments.steps:,} env steps, {arguments.seeds} seeds, {arguments.episodes} held-out "
        "episodes each. Success: mean over the seeds with the bootstrap's interval; less ours: "
        "Welch's interval; CPU-seconds of training: medians."
    )


def _read(path: Path | None, steps: int, episodes: int) -> dict[Trial, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    types = (str, str, int, int, int, float, float)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            {name: type_(row[name]) for name, type_ in zip(COLUMNS, types, strict=True)}
            for row in csv.DictReader(file)
        ]
    same = [row for row in rows if (row["steps"], row["episodes"]) == (steps, episodes)]
    return {(row["trainer"], row["teacher"], row["seed"]): row for row in same}


def _write(path: Path, rows: dict[Trial, dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[trial] for trial in sorted(rows))
    beside.replace(path)


if __name__ == "__main__":
    main()
