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
import sys
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llm4teach.analysis.rows_file import Row, RowsFile, run_jobs

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "examples"))
TASK, LABELED_STEPS = "SimpleDoorKey", 4_000
NO_TEACHER = "-"
NAMES = {
    "ours": "our fine-tuning",
    "sb3": "Stable-Baselines3 (examples/sb3_trainer.py)",
    "cleanrl": "CleanRL's style (examples/cleanrl_trainer.py)",
}
COLUMNS: dict[str, Any] = {
    **{"trainer": str, "teacher": str, "steps": int, "seed": int, "episodes": int},
    **{"success": float, "cpu_s": float},
}
KEY = ("trainer", "teacher", "seed", "steps", "episodes")


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
    common = (arguments.steps, arguments.episodes)
    trials = [
        (trainer, teacher, seed, *common)
        for seed in range(arguments.seeds)
        for teacher in arguments.teachers
        for trainer in arguments.trainers
    ]
    rows = RowsFile(arguments.csv, COLUMNS, KEY)
    missing = [(*trial, arguments.workspace) for trial in trials if trial not in rows]
    for teacher in sorted({teacher for _, teacher, *_ in missing} - {NO_TEACHER}):
        _label(teacher, arguments.workspace)
    run_jobs(_run, missing, arguments.jobs, rows, _line)
    _report(arguments, [rows[trial] for trial in trials])


def _line(row: Row) -> str:
    told = f"{row['success']:.1%} in {row['cpu_s']:.0f} CPU-s"
    return f"{row['trainer']}, {row['teacher']}, seed {row['seed']}: {told}"


def _label(teacher: str, workspace: str) -> None:
    """Collect steps and have their states labeled; nothing is asked twice."""
    import llm4teach as lt

    lt.collect(TASK, teacher, workspace, collect={"steps": LABELED_STEPS, "rounds": 1})
    labeled = lt.label(TASK, teacher, workspace)
    print(f"{teacher}: {labeled['questions']} states newly labeled", file=sys.stderr, flush=True)


def _run(
    trainer: str, teacher_name: str, seed: int, steps: int, episodes: int, workspace: str
) -> list[Row]:
    """Train once and evaluate; return a row."""
    import torch

    import llm4teach as lt

    torch.set_num_threads(1)
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
    return [dict(zip(COLUMNS, values, strict=True))]


def _ours(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import torch

    from llm4teach.student.config import FinetuneConfig
    from llm4teach.student.model.network import Student
    from llm4teach.student.policies import StudentPolicy
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
    return StudentPolicy(student)


def _sb3(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import sb3_trainer

    return sb3_trainer.learner(teacher, seed, kl_coef).learn(steps).policy.probabilities


def _cleanrl(teacher: Any, steps: int, seed: int, kl_coef: float) -> Any:
    import cleanrl_trainer

    return cleanrl_trainer.train(teacher, steps, seed, kl_coef).probabilities


def _report(arguments: argparse.Namespace, rows: list[Row]) -> None:
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


if __name__ == "__main__":
    main()
