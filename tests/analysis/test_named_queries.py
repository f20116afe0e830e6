"""The library of named queries: each on a small workspace, with answers found by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from llm4teach.analysis.sql.named_queries import named_queries, parse_query
from llm4teach.analysis.sql.query import run_query, run_sql
from llm4teach.datasets import schema
from llm4teach.datasets.runs import REWEIGHTING, Run
from llm4teach.datasets.storage.parquet import write_parquet, write_part
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import QueryError

from .conftest import TASK, advice_row, play, write_episode

A, B = "embedded/a@1/logprobs", "openai/b@1/sampling"
DAY, NEXT_DAY = datetime(2026, 11, 20, 23, 59, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
RUN = "teach-20261120-120000-ab12"


class _State:
    def __init__(self, key: str) -> None:
        self.key, self.text, self.options = key, f"state {key}", ("explore",)


def answer(
    key: str,
    options: dict[str, float],
    teacher: str = A,
    prompt: str = "p1",
    at: datetime = DAY,
    **other: Any,
) -> dict[str, Any]:
    entropy = -sum(p * math.log(p) for p in options.values())
    return advice_row(_State(key)) | {
        "teacher_id": teacher,
        "prompt_version": prompt,
        "created_at": at,
        "options": [{"plan": k, "probability": p} for k, p in options.items()],
        "entropy": entropy,
        "status": "ok" if options else "invalid",
        **other,
    }


def store(workspace: Workspace, rows: Sequence[dict[str, Any]], slug: str = "a") -> None:
    table = pa.Table.from_pylist(list(rows), schema=schema.ADVICE)
    write_part(workspace.advice(TASK, slug), table)


def ask(workspace: Workspace, name: str, **parameters: str) -> list[dict[str, Any]]:
    return run_query(workspace, name, parameters).to_pylist()


def test_advice_by_state(workspace: Workspace) -> None:
    write_episode(workspace, RUN, 0, episode := play(9))
    [met] = run_sql(workspace, "FROM states ORDER BY steps DESC LIMIT 1").to_pylist()
    store(
        workspace,
        [
            answer(met["state_key"], {"explore": 0.25, "open door": 0.75}),
            answer("unmet", {"explore": 1.0}, coverage=0.5),
            answer("unmet", {"open door": 1.0}, at=NEXT_DAY),  # the earlier answer counts
            answer("useless", {}, entropy=None),
        ],
    )
    rows = ask(workspace, "advice-by-state")
    assert [(r["state_key"], r["first_choice"], r["plans"], r["steps"]) for r in rows] == [
        (met["state_key"], "open door", 2, met["steps"]),
        ("unmet", "explore", 1, 0),
        ("useless", None, 0, 0),
    ]
    assert 0 < met["steps"] <= len(episode.actions)
    assert (rows[0]["probability"], rows[1]["coverage"]) == (0.75, 0.5)
    assert rows[0]["entropy"] == pytest.approx(0.5623, abs=1e-4)
    assert ask(workspace, "advice-by-state", teacher="openai") == []
    assert len(ask(workspace, "advice-by-state", family="Simple")) == 3


def test_disagreement(workspace: Workspace) -> None:
    store(
        workspace,
        [
            answer("s", {"x": 0.5, "y": 0.5}),
            answer("t", {"x": 1.0}),
            answer("u", {"x": 1.0}),
            answer("v", {}),
        ],
    )
    other = [answer("s", {"x": 0.75, "y": 0.25}, B), answer("t", {"z": 1.0}, B)]
    store(workspace, [*other, answer("v", {"x": 1.0}, B)], "b")
    rows = ask(workspace, "disagreement", a="embedded/a", b="openai/b", smoothing="0.1")
    t, s = rows  # u has one answer, v one that says nothing
    assert (t["state_key"], t["a_chooses"], t["b_chooses"]) == ("t", "x", "z")
    assert not t["same_choice"] and s["same_choice"], "s: x is among the first of both"
    assert t["kl"] == pytest.approx(math.log(1 / 0.05)), "x has half of the 10% that are uniform"
    assert t["js"] == pytest.approx(math.log(2))
    p, q = 0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05
    assert s["kl"] == pytest.approx(0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / q))
    m1, m2 = 0.625, 0.375
    js = 0.25 * math.log(0.5 / m1) + 0.25 * math.log(0.5 / m2)
    js += 0.375 * math.log(0.75 / m1) + 0.125 * math.log(0.25 / m2)
    assert s["js"] == pytest.approx(js)
    assert ask(workspace, "disagreement", a="embedded/a", b="embedded/a") == []


def test_cost(workspace: Workspace) -> None:
    tokens = {"prompt_tokens": 100, "completion_tokens": 7, "latency_s": 0.5, "cost": 0.25}
    store(
        workspace,
        [
            answer("s", {"x": 1.0}, **tokens),
            answer("t", {}, **tokens),
            answer("u", {"x": 1.0}, at=NEXT_DAY, **tokens),
        ],
    )
    store(workspace, [answer("s", {"x": 1.0}, B, **tokens)], "b")
    rows = ask(workspace, "cost")
    assert [tuple(r.values())[1:] for r in rows] == [
        (TASK, A, 2, 200, 14, 1.0, 0.5, 1),
        (TASK, B, 1, 100, 7, 0.5, 0.25, 0),
        (TASK, A, 1, 100, 7, 0.5, 0.25, 0),
    ]
    assert [str(r["day"]) for r in rows] == ["2026-11-20", "2026-11-20", "2026-11-21"]
    assert len(ask(workspace, "cost", teacher="openai")) == 1


def test_missing(workspace: Workspace) -> None:
    write_episode(workspace, RUN, 0, play(9))
    states = run_sql(workspace, "FROM states ORDER BY steps DESC").to_pylist()
    assert len(states) > 2
    known, useless, *left = states
    store(workspace, [answer(known["state_key"], {"x": 1.0}), answer(useless["state_key"], {})])
    assert [r["state_key"] for r in ask(workspace, "missing")] == [s["state_key"] for s in left]
    assert len(ask(workspace, "missing", teacher="openai")) == len(states)
    assert ask(workspace, "missing", task="Lava") == []


def test_asked_twice(workspace: Workspace) -> None:
    store(workspace, [answer("s", {"x": 1.0}), answer("s", {"x": 1.0}, prompt="p2")])
    store(workspace, [answer("s", {"x": 1.0}, B), answer("t", {"x": 1.0}, B)], "b")
    assert ask(workspace, "asked-twice") == []
    store(workspace, [answer("t", {"x": 1.0}, B, at=NEXT_DAY)], "b")
    [row] = ask(workspace, "asked-twice")
    assert (row["state_key"], row["teacher_id"], row["times"]) == ("t", B, 2)
    assert (row["first_asked"], row["last_asked"]) == (DAY, NEXT_DAY)
    assert row["tokens"] == 2 * (812 + 40)


def test_stale_prompts(workspace: Workspace) -> None:
    old = [answer(key, {"x": 1.0}) for key in "stu"]
    store(workspace, [*old, answer("s", {"x": 1.0}, prompt="p2", at=NEXT_DAY)])
    store(workspace, [answer("s", {"x": 1.0}, B)], "b")
    [row] = ask(workspace, "stale-prompts")
    assert (row["teacher_id"], row["prompt_version"], row["newest"]) == (A, "p1", "p2")
    assert (row["states"], row["only_here"]) == (3, 2)


def outcome(key: str, plan: str, advised: float, weighed: float, value: float, n: int) -> Any:
    text = f"state {key}"
    row = {"run_id": RUN, "state_key": key, "state_text": text, "plan": plan}
    return row | {"advised": advised, "reweighted": weighed, "value": value, "segments": n}


def test_advice_against_outcome(workspace: Workspace) -> None:
    rows = [
        outcome("s", "x", 0.8, 0.1, 0.2, 5),
        outcome("s", "y", 0.2, 0.9, 0.7, 4),
        outcome("s", "z", 0.0, 0.0, 0.9, 0),  # never tried: a guess, not the best
        outcome("t", "x", 0.0, 1.0, 0.5, 3),  # no advice
    ]
    table = pa.Table.from_pylist(rows, schema=schema.REWEIGHTING)
    write_parquet(workspace.run(RUN) / REWEIGHTING, table)
    s, t = ask(workspace, "advice-against-outcome")
    assert (s["advised_plan"], s["best_plan"], s["segments"]) == ("x", "y", 9)
    assert s["advised_value"] == pytest.approx(0.8 * 0.2 + 0.2 * 0.7)
    assert s["reweighted_value"] == pytest.approx(0.1 * 0.2 + 0.9 * 0.7)
    assert s["regret"] == pytest.approx(0.7 - 0.3)
    assert (t["advised_plan"], t["advised_value"], t["regret"]) == (None, None, None)
    assert ask(workspace, "advice-against-outcome", least="5")[0]["best_plan"] == "x"


def test_ask_rate(workspace: Workspace) -> None:
    run = Run(workspace, RUN, "teach")
    for step, asked in ((512, 4), (1024, 5), (1536, 2), (2048, 2)):  # taken up again after 1024
        run.log("finetune", step, {"live_questions": asked, "advice_rate": 0.5})
    run.log("pretrain", 90, {"loss": 1.0})
    run.flush()
    rows = ask(workspace, "ask-rate")
    assert [(r["step"], r["asked"]) for r in rows] == [(512, 4), (1024, 1), (1536, 2), (2048, 0)]
    assert rows[0]["per_1000_steps"] == pytest.approx(1000 * 4 / 512)
    assert rows[1]["advice_rate"] == 0.5
    assert ask(workspace, "ask-rate", run="other") == []


def agreement(policy: str, key: str, steps: int, return_after: float) -> dict[str, Any]:
    common = {"run_id": RUN, "task": TASK, "mode": "sampled", "state_text": f"state {key}"}
    numbers = {"kl": 0.5, "differs": 0.25, "episodes": steps // 2, "steps_after": 9.0}
    who = {"policy": policy, "state_key": key, "steps": steps, "return_after": return_after}
    return common | numbers | who | {"student_probs": [1.0], "teacher_probs": [1.0]}


def test_student_against_teacher(workspace: Workspace) -> None:
    run = Run(workspace, RUN, "teach")
    both = {"s": (0.9, 0.5), "t": (0.5, 0.9), "u": (0.5, 0.505)}
    rows = [agreement("student", k, 20, mine) for k, (mine, _) in both.items()]
    rows += [agreement("teacher", k, 40, theirs) for k, (_, theirs) in both.items()]
    run.write_agreement([*rows, agreement("student", "alone", 99, 1.0)])
    rows = ask(workspace, "student-against-teacher")
    assert {r["state_key"]: r["right"] for r in rows} == {
        "s": "student",
        "t": "teacher",
        "u": "neither",
    }
    assert (rows[0]["student_return"], rows[0]["teacher_return"]) == (0.9, 0.5)
    assert ask(workspace, "student-against-teacher", least="11") == [], (
        "steps of one episode do not count"
    )


def test_achievements(workspace: Workspace) -> None:
    def episode(seed: int, wood: float, table: float, task: str = "Crafter") -> dict[str, Any]:
        measures = {"collect wood": wood, "place table": table, "achievements": wood + table}
        row = {"run_id": RUN, "task": task, "policy": "student", "mode": "sampled", "seed": seed}
        more = {"success": False, "return": wood + table - 0.9, "length": 10 * seed}
        return {**row, **more, "measures": list(measures.items())}

    run = Run(workspace, RUN, "teach")
    run.write_evaluation([episode(1, 1.0, 0.0), episode(2, 1.0, 1.0)])
    wood, table = ask(workspace, "achievements")
    assert (wood["achievement"], wood["rate"], wood["episodes"]) == ("collect wood", 1.0, 2)
    assert (table["achievement"], table["rate"]) == ("place table", 0.5)
    score = math.exp((math.log(101) + math.log(51)) / 2) - 1
    assert wood["score"] == table["score"] == pytest.approx(score, abs=0.005)
    assert wood["mean_length"] == 15 and wood["reward_share"] == pytest.approx((0.1 + 1.1) / 2 / 22)
    assert ask(workspace, "achievements", task="Habitat") == []


@pytest.mark.parametrize("name", named_queries())
def test_every_query_says_what_it_answers_and_works_on_nothing(
    name: str, workspace: Workspace, taught: Workspace
) -> None:
    query = named_queries()[name]
    assert query.summary.endswith((".", "?")) and len(query.summary) > 30
    assert query.sql.count("$") >= len(query.parameters)
    given = {p.name: "x" for p in query.parameters if p.default is None}
    empty = run_query(workspace, name, given)
    assert empty.num_rows == 0
    assert run_query(taught, name, given).schema == empty.schema


def test_parameters_are_bound_not_pasted(taught: Workspace) -> None:
    wicked = "' OR true; DROP VIEW states --"
    assert ask(taught, "advice-by-state", teacher=wicked) == []
    [row] = run_sql(taught, "SELECT $x AS x", {"x": wicked}).to_pylist()
    assert row == {"x": wicked}


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("disagrement", {}, "did you mean disagreement?"),
        ("disagreement", {"a": "x"}, "needs --param b=…: what the other's contains"),
        ("cost", {"techer": "x"}, "no parameter 'techer', it has: teacher, family"),
        ("student-against-teacher", {"least": "many"}, "Could not convert string 'many'"),
    ],
)
def test_wrong_names_and_values(
    taught: Workspace, name: str, parameters: dict[str, str], says: str
) -> None:
    with pytest.raises(QueryError) as wrong:
        run_query(taught, name, parameters)
    assert says in str(wrong.value)


def test_parameters_of_plain_sql_are_checked(taught: Workspace) -> None:
    with pytest.raises(QueryError, match=r"has the parameter \$a; give it with --param a="):
        run_sql(taught, "SELECT $a")
    with pytest.raises(QueryError, match=r"has no parameter \$b, it has: \$a"):
        run_sql(taught, "SELECT $a", {"a": "1", "b": "2"})


def test_a_header_is_read() -> None:
    query = parse_query(
        "q", "-- What.\n--\n-- $a: the a\n-- $b = '': the b\n-- $c = 0.5: c\nFROM t"
    )
    assert (query.name, query.summary) == ("q", "What.")
    assert [(p.name, p.meaning, p.default) for p in query.parameters] == [
        ("a", "the a", None),
        ("b", "the b", ""),
        ("c", "c", "0.5"),
    ]
