"""The label stage: its budget counts over a run's stages, and a dry run asks nothing."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import llm4teach as lt
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run
from llm4teach.datasets.trajectories import distinct_states
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import ConfigError
from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.cli.parser import parse
from llm4teach.flows.label_states import label_states
from llm4teach.flows.runtime.settings import Settings, load_settings
from llm4teach.flows.stages.checkpoints import new_student, store_student
from llm4teach.flows.stages.collect import collect
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.finetune import asks_in_background
from llm4teach.flows.stages.label import dry_run
from llm4teach.flows.stages.label import label as label_stage
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.student.collection.states import states_of
from llm4teach.student.config import CollectConfig
from llm4teach.student.policies import policy_entropy
from llm4teach.teacher_labeling.config import (
    AskOrder,
    LabelConfig,
    LiveConfig,
    Price,
    TeacherConfig,
)
from llm4teach.teacher_labeling.factory import register_teacher
from llm4teach.teacher_labeling.labeling.asking_order import in_order

RECORDED = TeacherConfig(teacher="recorded/vicuna-33b")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("labeling"))
    with opened("collect", settings(place)) as ctx:
        collect(ctx, CollectConfig(steps=600), None, 600)
    return place


def settings(workspace: str, **sections: Any) -> Settings:
    return Settings(workspace=workspace, teacher=RECORDED, **sections)


def label(workspace: str, **limits: Any) -> dict[str, Any]:
    return label_states.fn(settings(workspace, label=LabelConfig(**limits)))


def test_a_budget_a_dry_run_and_the_rest(
    workspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dry_run(settings(workspace))
    states = int(before["distinct states"])
    assert states >= 4 and before["without an answer"] == str(states)
    assert before["cost"] == "$0", "nobody bills it"
    assert before["prompt tokens"] == "unknown" and "nothing yet" in before["estimated from"]
    assert not list(Workspace(workspace).root.glob("advice/**/part-*")), "it asked nothing"

    result = label(workspace, max_requests=2)
    assert (result["questions"], result["states_left"]) == (2, states - 2)
    assert "2 questions of max_requests" in result["stopped_by"]
    said = capsys.readouterr().err
    assert f"{states - 2} states are left" in said and "repeat the command" in said

    priced = LabelConfig(prices={"vicuna-33b": Price(prompt=1.0)})
    between = dry_run(settings(workspace, label=priced))
    assert between["without an answer"] == str(states - 2)
    assert between["estimated from"] == "means of 2 stored answers"

    result = label(workspace)
    assert (result["questions"], result["known_states"]) == (states - 2, 2)
    assert (result["states_left"], result["stopped_by"]) == (0, "")
    assert label(workspace)["questions"] == 0


@pytest.mark.parametrize("order", ["visits", "random", "uncertain", "spread", "change"])
def test_a_share_goes_to_the_states_that_come_first(
    workspace: str, order: AskOrder, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = lt.FunctionTeacher(lambda text, options: options[0], name=order)
    own = TeacherConfig(teacher=register_teacher(teacher))
    none = Settings(workspace=workspace, teacher=TeacherConfig(teacher="none"))

    def stored(share: float) -> list[str]:
        label = LabelConfig(share=share, order=order)
        config = none.model_copy(update={"label": label, "seed": 7, "teacher": own})
        asked = dry_run(config)["to be asked (label.share)"]
        result = label_states.fn(config)
        assert int(asked) == result["questions"]
        left = f"{result['states_left']} states are left out (label.share {share:.0%})"
        assert left in capsys.readouterr().err and not result["stopped_by"]
        with opened("label", config) as ctx:
            return [row["question_key"] for row in ctx.store.rows()]

    some, more = stored(0.3), stored(0.6)
    with opened("label", none) as ctx:
        rows = trajectories(ctx, None)
        states = [s for s in states_of(ctx.task, rows) if s.options]
        steps = Counter(rows.column("state_key").tolist())
        plans = ctx.reweighted(rows)
        expected = in_order(
            states,
            order,
            steps,
            lambda: {s.key: [(p.value, p.reweighted) for p in ps] for s, ps in plans.items()},
            dict,
            seed=7,
        )
    assert len(some) == math.ceil(0.3 * len(states))
    assert set(some) == {state.key for state in expected[: len(some)]}
    assert set(some) < set(more) and len(more) == math.ceil(0.6 * len(states))


def test_the_commonest_states_get_the_questions_of_a_budget(tmp_path: Path) -> None:
    place = str(tmp_path)
    with opened("collect", settings(place)) as ctx:
        collect(ctx, CollectConfig(steps=600), None, 600)
    result = label(place, max_requests=2, order="visits")
    assert (result["questions"], result["stopped_by"]) == (
        2,
        "the 2 questions of max_requests are asked",
    )
    with opened("label", settings(place)) as ctx:
        rows = trajectories(ctx, None)
        with_plans = {s.key for s in states_of(ctx.task, rows) if s.options}
        steps = Counter(k for k in rows.column("state_key").tolist() if k in with_plans)
        stored = {row["question_key"] for row in ctx.store.rows()}
    assert stored == {key for key, _ in steps.most_common(2)}
    rest = label(place, order="visits")
    assert (rest["questions"], rest["states_left"]) == (len(with_plans) - 2, 0)


def test_uncertain_states_are_those_of_the_last_rounds_student(tmp_path: Path) -> None:
    limits = LabelConfig(share=0.3, order="uncertain")
    with opened("teach", settings(str(tmp_path), label=limits)) as ctx:
        collect(ctx, CollectConfig(steps=600), None, 600)
        student = new_student(ctx.task, ctx.settings.student, seed=3)
        store_student(ctx.run, ctx.task, student, "pretrain", 3)
        rows = trajectories(ctx, ctx.run.run_id)
        label_stage(ctx, rows)
        stored = {row["question_key"] for row in ctx.store.rows()}
    keys, observations = distinct_states(rows)
    entropies = dict(zip(keys, policy_entropy(student)(observations), strict=True))
    states = [state.key for state in states_of(ctx.task, rows) if state.options]
    states.sort(key=lambda key: -entropies[key])
    assert stored == set(states[: math.ceil(0.3 * len(states))])


def test_shards_have_no_order_by_returns(workspace: str) -> None:
    config = settings(workspace, label=LabelConfig(share=0.5, order="change"))
    scaled = config.model_copy(
        update={"scale": config.scale.model_copy(update={"runner": "threads"})}
    )
    with pytest.raises(ConfigError, match="order change needs whole episodes"):
        label_states.fn(scaled)


def test_the_budget_is_that_of_all_stages_together(tmp_path: Path) -> None:
    place, limits = str(tmp_path), LabelConfig(max_requests=3)
    with opened("teach", settings(place, label=limits)) as ctx:
        collect(ctx, CollectConfig(steps=600), None, 600)
        run_id = ctx.run.run_id
        rows = trajectories(ctx, run_id)
        label_stage(ctx, rows)
        assert ctx.run.results["questions"] == 3
        with opened("teach", settings(place), join=run_id) as joined:
            for run in (ctx, joined):  # in this process and in another one
                assert run.limits == limits
                live = run.live_teacher(ask=True)
                task = get_task("SimpleDoorKey")
                silent = ~live.teacher_probs(rows.observations).any(axis=1)
                assert live.questions.asked == 0 and 0 < silent.sum() < len(rows)
    info = ctx.teacher.info
    folder = Workspace(place).advice(task.family, info.slug)
    assert len(AdviceStore(folder, info.teacher_id, info.prompt_version).rows()) == 3


@pytest.mark.parametrize(
    ("model", "chosen", "expected"),
    [(RECORDED, None, False), (RECORDED, True, True), (RECORDED, False, False)],
)
def test_who_is_asked_in_the_background(
    tmp_path: Path, model: TeacherConfig, chosen: bool | None, expected: bool
) -> None:
    chosen_live = settings(str(tmp_path), live=LiveConfig(in_background=chosen))
    with opened("finetune", chosen_live.model_copy(update={"teacher": model})) as ctx:
        assert asks_in_background(ctx) is expected


def test_the_flags_of_the_budget() -> None:
    words = ["label", "--max-requests", "7", "--label.max-cost", "2.5", "--max-tokens", "100"]
    settings = load_settings(parse(words, COMMANDS)[1])
    assert settings.label == LabelConfig(max_requests=7, max_cost=2.5, max_tokens=100)
    words = ["finetune", "--live.ask", "uncertain", "--live.in-background"]
    settings = load_settings(parse(words, COMMANDS)[1])
    assert settings.live == LiveConfig(ask="uncertain", in_background=True)
    with pytest.raises(ConfigError, match=r"max-requests.*-1"):
        load_settings(parse(["label", "--max-requests", "-1"], COMMANDS)[1])


def test_prices_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[label.prices."Qwen/Qwen2.5-7B-Instruct"]\nprompt = 0.2\ncompletion = 0.6\n')
    found = load_settings({}, file).label.prices
    assert found["Qwen/Qwen2.5-7B-Instruct"].of(1_000_000, 500_000) == pytest.approx(0.5)


def test_old_runs_without_these_sections_can_be_resumed(tmp_path: Path) -> None:
    run = Run(Workspace(tmp_path), "finetune-1", "finetune")
    run.start({"task": "SimpleDoorKey", "teacher": RECORDED.model_dump(mode="json"), "seed": 4})
    run.note(task="SimpleDoorKey")
    with opened("finetune", settings(str(tmp_path)), resume="finetune-1") as ctx:
        assert (ctx.limits, ctx.live, ctx.seed) == (LabelConfig(), LiveConfig(), 4)
