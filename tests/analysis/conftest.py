"""Workspaces as the pipeline leaves them, made of real episodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from llm4teach.datasets import trajectories
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import describe, ground_plan
from llm4teach.student.collection.reweighting import ReweightedPlan, write_reweighting
from llm4teach.student.evaluation.replay import agreement_rows, filmed
from llm4teach.student.policies import uniform_policy

TASK, SLUG, TEACHER, PROMPT = "SimpleDoorKey", "smollm2", "embedded/smollm2/logprobs", "c0ffee12"
RUN = "teach-20261120-120000-ab12"


class Episode(NamedTuple):
    """One real episode of SimpleDoorKey, led by sensible plans with some noise."""

    seed: int
    observations: np.ndarray  # uint8 (T, 10, 10, 4), before each action
    actions: list[int]
    captions: list[str]
    rewards: list[float]
    terminated: bool


def play(seed: int, noise: float = 0.1) -> Episode:
    """Play an episode to its end."""
    task, rng = get_task(TASK), np.random.default_rng(seed)
    env = task.make_env()
    observation, _ = env.reset(seed=seed)
    observations, actions, captions, rewards = [], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        [state] = describe(task, observation[None])
        holds = state.text.endswith("<key>.")
        wanted = "open" if holds else "pick up"
        fitting = [plan for plan in state.options if plan.options[-1].verb == wanted]
        plan = (fitting or state.options)[0]
        probs = ground_plan(task, observation[None], plan)[0]
        lost = probs.sum() == 0 or rng.random() < noise
        action = int(rng.integers(6)) if lost else int(rng.choice(len(probs), p=probs))
        observations.append(observation)
        actions.append(action)
        captions.append(str(plan))
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
    return Episode(seed, np.stack(observations), actions, captions, rewards, terminated)


def write_episode(workspace: Workspace, run_id: str, episode_id: int, episode: Episode) -> Path:
    """Store an episode's steps as one part."""
    n, task = len(episode.actions), get_task(TASK)
    states = describe(task, episode.observations)
    last = [False] * (n - 1)
    steps = {
        "run_id": [run_id] * n,
        "episode_id": [episode_id] * n,
        "t": list(range(n)),
        "seed": [episode.seed] * n,
        "state_key": [s.key for s in states],
        "state_text": [s.text for s in states],
        "action": episode.actions,
        "reward": episode.rewards,
        "terminated": [*last, episode.terminated],
        "truncated": [*last, not episode.terminated],
        "behavior": ["option"] * n,
        "action_logprob": [-1.0] * n,
    }
    folder = workspace.trajectories(TASK, run_id)
    return trajectories.write_steps(folder, steps, episode.observations)


def advice_row(state: Any, status: str = "ok") -> dict[str, Any]:
    """Advice on a state: its last plan most probable."""
    weight = np.arange(1, len(state.options) + 1) ** 2
    probs = weight / weight.sum()
    options = [
        {"plan": str(p), "probability": float(w)} for p, w in zip(state.options, probs, strict=True)
    ]
    return {
        "state_key": state.key,
        "state_text": state.text,
        "status": status,
        "options": options if status == "ok" else [],
        "entropy": -sum(p * math.log(p) for p in probs) if status == "ok" else None,
        "coverage": 0.83,
        "method": "logprobs",
        "n_samples": 3,
        "replies": ["The key is in sight. Action: go to key, pick up key"],
        "model": "smollm2",
        "model_revision": "0.1.2",
        "prompt_tokens": 812,
        "completion_tokens": 40,
        "latency_s": 1.25,
        "cost": 0.0,
    }


def evaluation_rows(run_id: str, episodes: int = 200) -> list[dict[str, Any]]:
    """Made-up results of three policies on the same seeds."""
    rng = np.random.default_rng(0)
    rows = []
    for policy, mode, rate in (
        ("student", "sampled", 0.97),
        ("student", "greedy", 0.93),
        ("teacher", "sampled", 0.88),
        ("random", "sampled", 0.06),
    ):
        for i in range(episodes):
            success = bool(rng.random() < rate)
            length = int(rng.integers(8, 60)) if success else 150
            rows.append(
                {
                    "run_id": run_id,
                    "task": TASK,
                    "policy": policy,
                    "mode": mode,
                    "seed": (1 << 30) + i,
                    "success": success,
                    "return": 1 - 0.9 * length / 150 if success else 0.0,
                    "length": length,
                }
            )
    return rows


class _Explorer:
    """Advises to explore, everywhere."""

    def teacher_probs(self, observations: np.ndarray) -> np.ndarray:
        return ground_plan(get_task(TASK), observations, parse_plan("explore"))


CONFIG: dict[str, Any] = {
    "task": TASK,
    "teacher": {"backend": "embedded", "model": "smollm2", "method": "logprobs"},
    "seed": 0,
    "collect": {"steps": 4000, "rounds": 4},
    "pretrain": {"epochs": 20},
    "finetune": {"steps": 8192, "kl_coef": 1.0},
    "evaluate": {"episodes": 200},
}


def teach_results(films: list[Episode]) -> dict[str, Any]:
    """The results of a teach run."""
    return {
        "task": TASK,
        "teacher_id": TEACHER,
        "prompt_version": PROMPT,
        "advice_family": TASK,
        "teacher_slug": SLUG,
        "collect_steps": 4000,
        "finetune_steps": 8192,
        "distinct_states": 7,
        "questions": 7,
        "live_questions": 1,
        "prompt_tokens": 5684,
        "completion_tokens": 280,
        "teacher_s": 8.75,
        "student_bytes": 41_232,
        "films": [
            filmed(
                get_task(TASK),
                {"seed": e.seed, "actions": e.actions, "success": e.terminated},
                uniform_policy(7),
                _Explorer(),
            )
            for e in films
        ],
    }


def log_metrics(run: Run) -> None:
    """Curves as a good run has them."""
    rng = np.random.default_rng(1)
    for update in range(8):
        step, share = (update + 1) * 1024, (update + 1) / 8
        run.log("collect", update * 500, {"success_rate": 0.4 + 0.05 * update, "episodes": 15})
        run.log(
            "pretrain", update * 90, {"loss": 1.4 * 0.7**update, "agreement": 0.6 + 0.3 * share}
        )
        run.log(
            "finetune",
            step,
            {
                "success_rate": 0.7 + 0.27 * share,
                "episodes": 25 + update,
                "episode_return": 0.5 + 0.35 * share,
                "episode_length": 60 - 35 * share,
                "kl_coef": max(0.1, 1 - 2 * share) if share < 0.8 else 0.0,
                "kl": 0.4 - 0.2 * share,
                "entropy": 1.2 - 0.8 * share,
                "policy_loss": -0.01,
                "value_loss": 0.05 * (1.2 - share),
                "explained_variance": 0.2 + 0.6 * share,
                "advice_rate": 0.98,
                "live_questions": float(update == 2),
                "tokens": 5_000.0 + 400 * (update >= 2),
                "steps_per_s": 700 + 50 * rng.random(),
            },
        )


def write_teach_run(workspace: Workspace, run_id: str = RUN, finish: bool = True) -> dict[str, Any]:
    """Write a teach run with everything that the report can show; return its results."""
    task, run = get_task(TASK), Run(workspace, run_id, "teach")
    run.start(CONFIG)
    episodes = [play(seed) for seed in (1, 9)]
    for episode_id, episode in enumerate(episodes):
        write_episode(workspace, run_id, episode_id, episode)
    states = {s.key: s for e in episodes for s in describe(task, e.observations)}
    store = AdviceStore(workspace.advice(TASK, SLUG), TEACHER, PROMPT)
    rows = [advice_row(state) for state in states.values()]
    store.commit(rows[:-1])
    store.commit([rows[-1] | {"status": "invalid", "options": [], "entropy": None}])
    log_metrics(run)
    run.flush()
    run.write_evaluation(evaluation_rows(run_id))
    plans = {s: [ReweightedPlan(p, 0.5, 0.5, 0.1, 2) for p in s.options] for s in states.values()}
    write_reweighting(run.folder, run_id, plans)
    run.write_agreement(
        [
            {"run_id": run_id, "policy": policy, "mode": "sampled", **row}
            for policy in ("student", "teacher")
            for row in agreement_rows(
                task, [e._asdict() for e in episodes], uniform_policy(7), _Explorer()
            )
        ]
    )
    results = teach_results(episodes)
    if finish:
        run.note(**results)
        run.finish()
    return results


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    (tmp_path / "workspace").mkdir()
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with one complete teach run; tests only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("taught"))
    write_teach_run(workspace)
    return workspace


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a complete teach run."""
    from llm4teach.analysis.reports.run_report import write_report

    workspace = Workspace(tmp_path_factory.mktemp("reported"))
    write_teach_run(workspace)
    return write_report(workspace, RUN)
