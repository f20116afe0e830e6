"""The whole pipeline with a teacher that is asked small questions, and what people see of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from counter_task import counter
from scripted_server import Body, Scripted, ScriptedServer, chat

import llm4teach as lt
from llm4teach.analysis.sql.named_queries import named_query
from llm4teach.analysis.sql.query import run_sql
from llm4teach.analysis.teachers.diagnostics import diagnose
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task, register_task
from llm4teach.flows.cli.teachers import check_teacher, show_prompt
from llm4teach.flows.export_trajectories import Export, export_trajectories
from llm4teach.flows.runtime.settings import load_settings
from llm4teach.flows.stages.label import dry_run
from llm4teach.student.config import EvaluateConfig

pytestmark = pytest.mark.extended
SMALL: dict[str, Any] = {
    "collect": {"steps": 160, "rounds": 2, "n_envs": 4},
    "pretrain": {"epochs": 1},
    "finetune": {"steps": 256, "n_envs": 4, "rollout_length": 16},
    "evaluate": {"episodes": 4},
}


def facts(text: str, option: str) -> str | None:
    """Only counting up depends on the count: whether it is low; flying is not worth a question."""
    if option == "fly":
        return None
    return "The count is low." if option == "count up" and text[-1] in "01" else ""


def reply(body: Body) -> Scripted:
    """Yes to counting up."""
    yes = 0.9 if "Option: count up" in body["messages"][-1]["content"] else 0.1
    content = chat("Yes")
    scores = {"Yes": math.log(yes), "No": math.log(1 - yes)}
    top = [{"token": token, "logprob": score} for token, score in scores.items()]
    content["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return Scripted(content)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(reply)
    yield server
    server.close()


@pytest.fixture(scope="module")
def teacher(server: ScriptedServer) -> dict[str, Any]:
    return {"teacher": "openai", "base_url": server.url, "model": "m", "method": "judgments"}


@pytest.fixture(scope="module")
def taught(
    server: ScriptedServer, teacher: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    task = register_task(counter(facts=facts, name="JudgedCounter"))
    place = str(tmp_path_factory.mktemp("judged"))
    return place, lt.teach(task, teacher, place, **SMALL)


def test_a_few_questions_teach(server: ScriptedServer, taught: tuple[str, dict[str, Any]]) -> None:
    place, result = taught
    asked = {body["messages"][-1]["content"] for body in server.bodies}
    assert len(asked) == len(server.bodies) == result["questions"] == 3, "none twice"
    assert result["distinct_states"] >= 2 and result["states_left"] == 0
    page = Path(result["report"]).read_text()
    assert "one small yes/no question" in page and "Option: count up" in page
    assert "questions about them" in page
    query = named_query("judgments")
    rows = run_sql(Workspace(place), query.sql, query.bind({}))
    found = {row["question"]: row["log_odds"] for row in rows.to_pylist()}
    assert found["The count is low.\nOption: count up"] == pytest.approx(math.log(9))
    assert len(found) == 3


def test_nothing_is_left_to_ask(
    server: ScriptedServer, teacher: dict[str, Any], taught: tuple[str, dict[str, Any]]
) -> None:
    place, _ = taught
    settings = {"task": "JudgedCounter", "workspace": place, "teacher": teacher}
    forecast = dry_run(load_settings(settings))
    assert (forecast["questions about them"], forecast["without an answer"]) == ("3", "0")
    told = len(server.bodies)
    assert lt.label("JudgedCounter", teacher, place)["questions"] == 0
    task = get_task("JudgedCounter")
    policy = lt.TeacherPolicy(place, "JudgedCounter", teacher)
    observation, _ = task.make_env().reset(seed=0)
    probs = policy.teacher_probs(observation[None])[0]
    policy.close()
    # Log odds ln 9, -ln 9 and, of flying, which cannot act, 0; at 0.3 counting up is all but sure.
    assert probs[1] > 0.99
    soft = lt.TeacherPolicy(place, "JudgedCounter", {**teacher, "softmax_temperature": 2.0})
    up, wait = math.exp(math.log(9) / 2), math.exp(-math.log(9) / 2)
    expected = (up + 0.5 * wait) / (up + wait)
    assert soft.teacher_probs(observation[None])[0, 1] == pytest.approx(expected, abs=1e-3)
    soft.close()
    assert len(server.bodies) == told
    found = diagnose(Workspace(place), task, EvaluateConfig(episodes=4), fqe_steps=0)
    (judged,) = found["teachers"]
    assert judged["questions"] == 3 and judged["unknown_states"] == 0
    assert judged["advised_states"] == judged["states"] == len(found["states"])


def test_a_check_shows_answers_and_what_is_composed_of_them(
    teacher: dict[str, Any],
    taught: tuple[str, dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, _ = taught
    settings = {"task": "JudgedCounter", "workspace": place, "teacher": teacher}
    check_teacher(load_settings(settings))
    said = capsys.readouterr().out
    assert "composed of the answers to 3 questions" in said and "90% yes" in said
    shown = show_prompt("JudgedCounter.judgments")
    assert "Option: wait or count up" in shown and "the right thing" in shown


def test_exported_steps_carry_the_composed_advice(
    teacher: dict[str, Any], taught: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    place, _ = taught
    settings = {"task": "JudgedCounter", "workspace": place, "teacher": teacher}
    folder = export_trajectories(
        str(tmp_path / "data"), load_settings(settings), Export(format="parquet")
    )
    assert "3 questions about the 3 distinct states" in (folder / "README.md").read_text()
    steps = pq.read_table(folder / "data").to_pylist()
    assert all(step["has_advice"] for step in steps)
    found = {o["plan"]: o["probability"] for o in steps[0]["advice"]}
    assert found["count up"] > 0.99 and found.keys() == {"count up", "wait or count up", "fly"}
