"""Scores of policies of known success: does an offline estimate tell useless ones from good ones?

    python benchmarks/offline_gate/scores.py

Each task gets one collection of admissible random plans, as a first `llm4teach retrain` makes it,
and a dozen policies from nothing to good, whose success is measured in development episodes. Every
estimate is then made of every policy from the logged steps alone, and written to
docs/results/gate as scores.csv and scores.md. "AUC" is the probability that a useful policy scores
higher than a useless one; "common threshold" asks whether one number has every useful policy above
it and every useless one below it, on all tasks. Tasks may be run one at a time: rows of others
stay. Takes ten minutes of CPU.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.offline_rl.critics import conservative_q, fitted_q
from llm4teach.analysis.offline_rl.off_policy import (
    Logged,
    discounted_returns,
    logged_episodes,
    weighted_importance_sampling,
)
from llm4teach.analysis.statistics import wilson_interval
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.task import Observations, Task
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.checkpoints import PRETRAINED, new_student, stored_student
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.pipeline import Hooks, Stages, run_pipeline
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    StudentConfig,
)
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import Policy, StudentPolicy, uniform_policy
from llm4teach.teacher_labeling.config import TeacherConfig

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "gate"
COMMAND = "python benchmarks/offline_gate/scores.py"
TASKS = ["SimpleDoorKey", "ColoredDoorKey", "LavaDoorKey"]
GAMMA = 0.99
USELESS, USEFUL = 0.1, 0.8  # success at most and at least
ONLINE = FinetuneConfig(
    steps=24_576, n_envs=16, rollout_length=32, minibatches=4, learning_rate=1e-3
)
ESTIMATES = {
    "cql lead": "(V(student) - V(random)) / (V(logged) - V(random)) under DiscreteCQL",
    "cql match": "share of logged steps where student and DiscreteCQL like the same action best",
    "cql start": "DiscreteCQL's value of the student at the episodes' starts (initial value)",
    "cql agreement": "mean advantage of logged actions under DiscreteCQL, weighted by the "
    "student's probabilities of them",
    "fqe start": "DiscreteFQE's initial value over the logged mean discounted return",
    "fqe soft opc": "DiscreteFQE's mean value of logged steps in solved episodes less that of all",
    "fqe advantage": "mean of V(s) - Q(s, a) over the logged steps, under DiscreteFQE",
    "success agreement": "mean log-probability of logged actions in solved episodes less that in "
    "unsolved ones",
    "wis": "weighted importance sampling over the logged mean discounted return (no d3rlpy)",
}


class Candidate(NamedTuple):
    """A policy, and what it does in the environment."""

    name: str
    policy: Policy
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        return self.successes / self.episodes


def blended(policy: Policy, chance: float) -> Policy:
    """A policy that takes a random action with this probability."""

    def act(observations: Observations) -> NDArray[np.float32]:
        probs = policy(observations)
        return (1 - chance) * probs + np.float32(chance / probs.shape[1])

    return act


def without(policy: Policy, action: int) -> Policy:
    """A policy that never takes one action."""

    def act(observations: Observations) -> NDArray[np.float32]:
        probs = policy(observations) + np.float32(1e-6)
        probs[:, action] = 0
        return probs / probs.sum(1, keepdims=True)

    return act


def teacher_of(task: str) -> str:
    """The recorded LLM where it knows the task, else none."""
    return "recorded/vicuna-33b" if task.endswith("DoorKey") else "none"


def train(task: str, workspace: Path, seed: int, steps: int, epochs: int, online: bool) -> Any:
    """Collect, pretrain, and fine-tune if ``online``; students by name, and what was logged."""
    settings = Settings(
        task=task,
        workspace=str(workspace),
        seed=seed,
        teacher=TeacherConfig(teacher=teacher_of(task)),
        collect=CollectConfig(steps=steps, rounds=1),
        pretrain=PretrainConfig(epochs=epochs),
        finetune=ONLINE,
    )
    students: dict[str, Student] = {}
    with opened("teach", settings) as ctx:

        def snapshot(step: int, student: Student) -> None:
            if step in (4_096, 12_288):
                students[f"fine-tuned for {step:,} steps"] = copy.deepcopy(student)

        stages = Stages(settings.collect, settings.pretrain, settings.finetune if online else None)
        run_pipeline(ctx, stages, Hooks(on_update=snapshot))
        run_id = ctx.run.run_id
        pretrained = stored_student(ctx.workspace, ctx.task, run_id, PRETRAINED)
        students[f"pretrained on {steps:,} steps, {epochs} epochs"] = pretrained
        if online:
            students["fine-tuned to the end"] = stored_student(ctx.workspace, ctx.task, run_id)
        return students, trajectories(ctx, run_id)


def candidates(task: Task, episodes: int, seed: int) -> tuple[list[Candidate], Logged]:
    """Policies from nothing to good with their success, and the steps to judge them by."""
    n_actions = len(task.action_names)
    policies: dict[str, Policy] = {"uniform": uniform_policy(n_actions)}
    for number in (0, 1):
        student = new_student(task, StudentConfig(), 100 + number)
        policies[f"untrained, seed {number}"] = StudentPolicy(student)
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):
            students, _ = train(
                task.name, Path(folder, str(number)), seed + number, 1_000, 3, False
            )
            for name, student in students.items():
                policies[f"{name}, seed {number}"] = StudentPolicy(student)
        students, steps = train(task.name, Path(folder, "long"), seed, 6_000, 20, True)
    policies |= {name: StudentPolicy(student) for name, student in students.items()}
    good = policies["fine-tuned to the end"]
    policies["good, every second action random"] = blended(good, 0.5)
    policies["good, every tenth action random"] = blended(good, 0.1)
    policies["good, never opens"] = without(good, task.action_names.index("toggle"))
    logged = logged_episodes(steps)
    assert logged is not None
    return [measured(task, *named, episodes) for named in policies.items()], logged


def measured(task: Task, name: str, policy: Policy, episodes: int) -> Candidate:
    seeds = episode_seeds("development", episodes)
    config = EvaluateConfig(episodes=episodes)
    played = evaluate_policy(task, policy, "sampled", config, 0, seeds=seeds)
    return Candidate(name, policy, sum(e["success"] for e in played), episodes)


def estimates_of(
    logged: Logged, policies: list[Policy], n_actions: int, steps: int, seed: int
) -> Iterator[dict[str, float]]:
    """Every estimate of every policy by one critic seed."""
    rows = np.arange(len(logged.actions))
    behavior = discounted_returns(logged.rewards, logged.starts, GAMMA)
    paid = np.add.reduceat(logged.rewards, logged.starts) > 0  # (E,)
    in_solved = np.repeat(paid, logged.lengths)  # (N,)
    q = conservative_q(logged, n_actions, GAMMA, steps, seed)
    assert q is not None, "needs d3rlpy: pip install 'llm4teach[offline-rl]'"
    cql = q(logged.observations)  # (N, n_actions)
    taken = cql[rows, logged.actions]  # (N,)
    first = logged.observations[logged.starts]  # (E, *observation_shape)
    for policy in policies:
        probs = policy(logged.observations)  # (N, n_actions)
        values = (probs * cql).sum(1)  # (N,)
        chosen = probs[rows, logged.actions]  # (N,)
        fqe = fitted_q(logged, policy, n_actions, GAMMA, steps, seed)
        assert fqe is not None
        own = fqe(logged.observations)  # (N, n_actions)
        own_values, own_taken = (probs * own).sum(1), own[rows, logged.actions]  # (N,)
        own_start = (probs[logged.starts] * fqe(first)).sum(1).mean()
        surprise = np.log(np.maximum(chosen, 1e-6))  # (N,)
        weighted = weighted_importance_sampling(logged, probs, GAMMA)
        whole_return = behavior[logged.whole].mean()
        yield {
            "cql lead": (values.mean() - cql.mean()) / (taken.mean() - cql.mean()),
            "cql match": (probs.argmax(1) == cql.argmax(1)).mean(),
            "cql start": values[logged.starts].mean(),
            "cql agreement": (chosen * (taken - cql.mean(1))).sum() / chosen.sum() / cql.std(),
            "fqe start": own_start / whole_return,
            "fqe soft opc": own_taken[in_solved].mean() - own_taken.mean(),
            "fqe advantage": (own_values - own_taken).mean() / own.std(),
            "success agreement": surprise[in_solved].mean() - surprise[~in_solved].mean()
            if (~in_solved).any()
            else float("nan"),
            "wis": weighted.value / whole_return if weighted else float("nan"),
        }


def auc(useful: NDArray[np.float64], useless: NDArray[np.float64]) -> float:
    """Share of pairs in which the useful policy scores higher; ties count half."""
    differences = useful[:, None] - useless[None, :]
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def kind_of(row: Mapping[str, Any]) -> str:
    rate = row["successes"] / row["episodes"]
    return "useless" if rate <= USELESS else "useful" if rate >= USEFUL else "between"


def split(rows: list[dict[str, Any]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the useful and of the useless policies."""
    by_kind = (
        np.array([row[name] for row in rows if kind_of(row) == kind], np.float64)
        for kind in ("useful", "useless")
    )
    useful, useless = by_kind
    return useful, useless


def auc_interval(rows: list[dict[str, Any]], name: str) -> tuple[float, float, float]:
    """AUC with a 95% bootstrap interval that draws policies, each with all of its critic seeds."""
    policies: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        policies.setdefault((row["task"], row["policy"]), []).append(row)
    groups = {kind: [p for p in policies.values() if kind_of(p[0]) == kind] for kind in KINDS}
    rng, drawn = np.random.default_rng(0), []
    for _ in range(1_000):
        sample = [row for kind in KINDS for i in draw(rng, groups[kind]) for row in groups[kind][i]]
        drawn.append(auc(*split(sample, name)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return auc(*split(rows, name)), float(low), float(high)


KINDS = ("useful", "useless")


def draw(rng: np.random.Generator, group: list[Any]) -> list[int]:
    picked: list[int] = rng.integers(len(group), size=len(group)).tolist()
    return picked


def summary(rows: list[dict[str, Any]]) -> str:
    """The page: one table of estimates, one of policies."""
    first, tasks = rows[0], list(dict.fromkeys(row["task"] for row in rows))
    seeds = len({row["critic seed"] for row in rows})
    lines = [
        "# Does an offline estimate tell useless students from good ones?",
        "",
        f"    {COMMAND}",
        "",
        f"{first['logged steps']:,} logged steps per task, {seeds} critic "
        f"seed{'s' * (seeds > 1)}, {first['gradient steps']:,} gradient steps per critic, "
        f"{first['episodes']} development episodes per policy. Useful: at least {USEFUL:.0%} "
        f"success; useless: at most {USELESS:.0%}. AUC: probability that a useful policy scores "
        "higher than a useless one, with a 95% bootstrap interval over policies; per task without "
        "one.",
        "",
        f"| estimate | AUC [95%] | {' | '.join(tasks)} | lowest useful | highest useless | "
        "common threshold |",
        f"| --- | ---: | {'---: | ' * len(tasks)}---: | ---: | --- |",
    ]
    for name in ESTIMATES:
        useful, useless = split(rows, name)
        if np.isnan(np.append(useful, useless)).any():
            known = [row for row in rows if not np.isnan(row[name])]
            cells = [f"not defined for {len(rows) - len(known)} of {len(rows)}"]
            lines.append(f"| {name} | {cells[0]} |{' |' * len(tasks)} | | no |")
            continue
        value, low, high = auc_interval(rows, name)
        per_task = [auc(*split([r for r in rows if r["task"] == t], name)) for t in tasks]
        lines.append(
            f"| {name} | {value:.2f} [{low:.2f}, {high:.2f}] | "
            f"{' | '.join(f'{x:.2f}' for x in per_task)} | {useful.min():.3g} | "
            f"{useless.max():.3g} | {'yes' if useful.min() > useless.max() else 'no'} |"
        )
    separating = [line.split(" | ")[0][2:] for line in lines if line.endswith("| yes |")]
    lines += ["", f"With a common threshold: {', '.join(separating) or 'none'}."]
    lines += ["", *(f"- {name}: {what}." for name, what in ESTIMATES.items()), ""]
    for task in tasks:
        lines += policy_table([row for row in rows if row["task"] == task], task)
    return "\n".join(lines)


def policy_table(rows: list[dict[str, Any]], task: str) -> list[str]:
    shown = list(ESTIMATES)
    lines = [
        f"## {task}",
        "",
        f"| policy | success [95%] | {' | '.join(shown)} |",
        f"| --- | --- | {' | '.join('---:' for _ in shown)} |",
    ]
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy]
        n, k = own[0]["episodes"], own[0]["successes"]
        low, high = wilson_interval(k, n)
        cells = []
        for name in shown:
            scores = [row[name] for row in own]
            low_score, high_score = f"{min(scores):.3f}", f"{max(scores):.3f}"
            cells.append(low_score if len(own) == 1 else f"{low_score} to {high_score}")
        lines.append(f"| {policy} | {k / n:.1%} [{low:.1%}, {high:.1%}] | {' | '.join(cells)} |")
    return [*lines, ""]


def report(what: str) -> None:
    print(f"{what} ({time.process_time():.0f} s of CPU)", file=sys.stderr, flush=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of earlier calls; numbers as numbers."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        whole = ("successes", "episodes", "logged steps", "gradient steps", "critic seed")
        return [
            {
                name: value
                if name in ("task", "policy")
                else int(value)
                if name in whole
                else float(value)
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=TASKS)
    parser.add_argument("--seed", type=int, default=0, help="of collections and students")
    parser.add_argument("--critic-seeds", type=int, default=1)
    parser.add_argument("--gradient-steps", type=int, default=600, help="of each critic")
    parser.add_argument("--episodes", type=int, default=200, help="to measure success by")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "scores.csv"
    for name in options.task:
        task = get_task(name)
        policies, logged = candidates(task, options.episodes, options.seed)
        for seed in range(options.critic_seeds):
            scores = estimates_of(
                logged,
                [candidate.policy for candidate in policies],
                len(task.action_names),
                options.gradient_steps,
                seed,
            )
            new = []
            for candidate, values in zip(policies, scores, strict=True):
                new.append(
                    {
                        "task": name,
                        "policy": candidate.name,
                        "successes": candidate.successes,
                        "episodes": candidate.episodes,
                        "logged steps": len(logged.actions),
                        "gradient steps": options.gradient_steps,
                        "critic seed": seed,
                        **{key: round(float(value), 5) for key, value in values.items()},
                    }
                )
                report(f"{name}, critic seed {seed}: {candidate.name}, {candidate.rate:.1%}")
            kept = [r for r in read_rows(path) if (r["task"], r["critic seed"]) != (name, seed)]
            write(options.output, kept + new)
    print((options.output / "scores.md").read_text(encoding="utf-8"))


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table and the page, in the order of the tasks."""
    rows = sorted(rows, key=lambda row: (row["task"], row["critic seed"]))
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "scores.md").write_text(summary(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
