"""The screening of tasks for a knowledge gap: its table of returns, its bot, its resumable rows."""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llm4teach.envs.plan import named_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "knowledge_gap"
GO, TAKE, WAIT = (named_plan(name) for name in ("go", "take", "wait"))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules, by name."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in ("screen", "returns_table", "bot", "tasks"):
        sys.modules.pop(name, None)


def test_the_table_advises_the_plan_of_the_highest_mean_return(modules: Any) -> None:
    table = modules("returns_table").ReturnsTable()
    table.add([("s", "go"), ("t", "go")], 0.8)
    table.add([("s", "go")], 0.2)
    table.add([("s", "take")], 0.4)
    assert table.mean_return(("s", "go"), 0.1) == pytest.approx(0.5)
    assert table.mean_return(("t", "take"), 0.1) == 0.1

    state = State("s", "text", (GO, TAKE, WAIT))
    (cautious,) = table.advice(0.1)([state])
    (curious,) = table.advice(0.9)([state])
    assert max(cautious, key=lambda plan: plan[1])[0] == GO
    assert max(curious, key=lambda plan: plan[1])[0] == WAIT
    assert sum(share for _, share in cautious) == pytest.approx(1)


def test_learning_counts_each_decision_of_an_ended_episode_once(modules: Any) -> None:
    returns_table = modules("returns_table")
    learner = returns_table.ReturnsLearner(get_task("BabyAI-GoToObj-v0"), n_envs=2)
    added: list[tuple[list[tuple[str, str]], float]] = []
    learner.table.add = lambda decisions, value: added.append((list(decisions), value))
    learner.learn(300)
    assert learner.steps == 300
    assert len(added) > 5
    for decisions, value in added:
        assert decisions and 0 <= value <= 1
        assert all(one != other for one, other in pairwise(decisions))


def test_returns_alone_solve_a_task_of_few_texts(
    modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = modules("screen")
    monkeypatch.setattr(screen, "BUDGETS", (200, 2_000))
    rows = screen.screen("BabyAI-GoToRedBallNoDists-v0", "returns", 40)
    assert [row["policy"] for row in rows] == ["returns-200", "returns-2000"]
    assert rows[-1]["success"] > 0.9


def test_the_bot_solves_what_chance_does_not(modules: Any) -> None:
    bot = modules("bot")
    assert bot.has_bot("BabyAI-PutNextLocal-v0")
    assert not bot.has_bot("MiniGrid-GoToDoor-8x8-v0")
    outcomes = list(bot.play_bot("BabyAI-PutNextLocal-v0", range(5)))
    assert all(won and 1 <= steps < 40 for won, steps in outcomes)


@pytest.mark.extended
def test_rows_of_the_file_are_not_played_again(
    modules: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen, path = modules("screen"), tmp_path / "gap.csv"
    command = ["screen.py", "--task", "BabyAI-PickupDist-v0", "--episodes", "4"]
    command += ["--csv", str(path), "--policy"]
    monkeypatch.setattr(sys, "argv", [*command, "rules"])
    screen.main()
    first = path.read_text()
    monkeypatch.setattr(sys, "argv", [*command, "none", "rules"])
    screen.main()
    printed = capsys.readouterr()
    assert printed.err.count("rules") == 1
    assert printed.err.count("none") == 1
    rows = path.read_text().splitlines()
    assert len(rows) == 3
    assert set(first.splitlines()) < set(rows)
    assert "| BabyAI-PickupDist-v0 |" in printed.out


def test_the_largest_gap_comes_first(modules: Any) -> None:
    def row(task: str, policy: str, success: float) -> dict[str, Any]:
        return {"task": task, "policy": policy, "success": success, "low": 0, "high": 1, "texts": 7}

    rows = [row("a", "none", 0.5), row("a", "rules", 0.6), row("b", "none", 0.1)]
    rows += [row("b", "rules", 0.3), row("b", "bot", 1.0)]
    lines = modules("screen").table({(r["task"], r["policy"]): r for r in rows}, ["a", "b"])
    assert [line.split(" | ")[:2] for line in lines[2:]] == [["| b", "90"], ["| a", "10"]]
