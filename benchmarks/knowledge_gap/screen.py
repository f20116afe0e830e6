"""The knowledge gap: on which tasks knowing what the mission means makes a difference.

    python benchmarks/knowledge_gap/screen.py --jobs 2 --csv docs/results/knowledge-gap/gap.csv
    python benchmarks/knowledge_gap/screen.py --task BabyAI-PutNextLocal-v0 --policy none rules

Plays raw MiniGrid and BabyAI tasks without any LLM, on development episodes:

    none            uniform over the admissible plans
    rules           a reader of the mission, written by hand
    swapped         the same rules, which read the mission of another episode
    bot             MiniGrid's BabyAIBot, on BabyAI's levels
    returns-N       the best plan of a table of returns that N env steps have filled, no LLM

The gap is what the rules (or the bot) have and `none` has not. Where the table of returns closes it
within a budget, trial and error is as good as knowledge. "Texts" are the distinct states met, each
of which is one question to a teacher. With --csv, rows that the file already has are not played
again, so the command can be interrupted and repeated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bot import has_bot, play_bot
from numpy.typing import NDArray
from returns_table import UNTRIED, AdviceOf, ReturnsLearner
from tasks import TASKS

from llm4teach.analysis.rows_file import Row, RowsFile, run_jobs
from llm4teach.analysis.statistics import wilson_interval
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.task import Mixture, Observations, State, Task, describe
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

POLICIES = ("none", "rules", "swapped", "bot", "returns")
BUDGETS = (4_000, 16_000, 64_000)  # env steps that fill the table of returns
COLUMNS: dict[str, Any] = {
    **{"task": str, "policy": str, "episodes": int},
    **{"success": float, "low": float, "high": float, "mean_steps": float},
    **{"texts": lambda text: int(text) if text else "", "cpu_s": float},
}


class CountedPlans(OptionBehavior):
    """Follows plans as collection does, and counts the texts it meets."""

    def __init__(self, task: Task, advice: AdviceOf) -> None:
        super().__init__(task, advice, 0.0, np.random.default_rng(0))
        self.texts: set[str] = set()

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Follow plans; see `OptionBehavior.act`."""
        states = describe(self._task, observations) if states is None else states
        self.texts |= {state.key for state in states}
        return super().act(observations, envs, started, states)


def advice_of(teacher_name: str, family: str) -> AdviceOf:
    """Return the advice of a teacher that runs in this process, as a function that remembers it."""
    teacher = make_teacher(TeacherConfig(teacher=teacher_name), family)
    known: dict[str, Mixture] = {}

    def mixtures(states: Sequence[State]) -> list[Mixture]:
        asked = [state for state in states if state.key not in known]
        known.update((advice.state.key, advice.plans) for advice in teacher.advise(asked))
        return [known[state.key] for state in states]

    return mixtures


def screen(env_id: str, policy: str, episodes: int) -> list[Row]:
    """Play one policy; return a row, or one per budget of the table of returns."""
    began = time.process_time()

    def row(name: str, won: int, steps: int, texts: int | str) -> Row:
        low, high = wilson_interval(won, episodes)
        seconds = round(time.process_time() - began, 1)
        rounded = (round(x, 4) for x in (won / episodes, low, high))
        values = (env_id, name, episodes, *rounded, round(steps / episodes, 1), texts, seconds)
        return dict(zip(COLUMNS, values, strict=True))

    def play(task: Task, advice: AdviceOf, name: str) -> Row:
        plans = CountedPlans(task, advice)
        config = EvaluateConfig(episodes=episodes, seeds="development")
        played = evaluate_policy(task, plans, "sampled", config, seed=0)
        won, steps = (sum(int(e[column]) for e in played) for column in ("success", "length"))
        return row(name, won, steps, len(plans.texts))

    if policy == "bot":
        outcomes = list(play_bot(env_id, episode_seeds("development", episodes)))
        won, steps = (sum(column) for column in zip(*outcomes, strict=True))
        return [row("bot", won, steps, "")]
    if policy == "returns":
        task, rows = get_task(env_id), list[Row]()
        learner = ReturnsLearner(task)
        for budget in BUDGETS:
            learner.learn(budget)
            rows.append(play(task, learner.table.advice(UNTRIED), f"returns-{budget}"))
        return rows
    task = get_task(env_id + "-swapped" if policy == "swapped" else env_id)
    return [play(task, advice_of("none" if policy == "none" else "expert", task.family), policy)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=TASKS, help="gymnasium ids")
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1, help="processes to play in")
    parser.add_argument("--csv", type=Path, help="a row per task and policy")
    arguments = parser.parse_args()
    rows = RowsFile(arguments.csv, COLUMNS, ("task", "policy", "episodes"))
    last = {"returns": f"returns-{BUDGETS[-1]}"}  # rows of one policy are stored together
    missing = [
        (task, policy, arguments.episodes)
        for task in arguments.task
        for policy in arguments.policy
        if (policy != "bot" or has_bot(task))
        and (task, last.get(policy, policy), arguments.episodes) not in rows
    ]
    run_jobs(screen, missing, arguments.jobs, rows, line)
    chosen = {(r["task"], r["policy"]): r for r in rows if r["episodes"] == arguments.episodes}
    print(*table(chosen, arguments.task), sep="\n")


def line(row: Row) -> str:
    """One line about a row."""
    told = f"{row['success']:.1%} in {row['mean_steps']} steps, {row['texts']} texts"
    return f"{row['task']}, {row['policy']}: {told}"


def table(rows: dict[tuple[str, str], Row], tasks: Sequence[str]) -> list[str]:
    """Return the lines of a Markdown table, the largest gap first."""
    policies = ["none", *(f"returns-{budget}" for budget in BUDGETS), "swapped", "rules", "bot"]

    def success(task: str, policy: str) -> float:
        return float(rows[task, policy]["success"]) if (task, policy) in rows else 0.0

    def gap(task: str) -> float:
        return max(success(task, "rules"), success(task, "bot")) - success(task, "none")

    def cell(task: str, policy: str) -> str:
        if (task, policy) not in rows:
            return ""
        r = rows[task, policy]
        return f"{100 * r['success']:.0f} [{100 * r['low']:.0f}, {100 * r['high']:.0f}]"

    def texts(task: str) -> str:
        return " / ".join(str(rows.get((task, p), {}).get("texts", "")) for p in ("none", "rules"))

    lines = [
        f"| task | gap | {' | '.join(policies)} | texts: none / rules |",
        "| --- |" + " ---: |" * (len(policies) + 2),
    ]
    for task in sorted(tasks, key=gap, reverse=True):
        cells = [task, f"{100 * gap(task):.0f}", *(cell(task, p) for p in policies), texts(task)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
