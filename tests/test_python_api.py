"""`import llm4teach as lt`: each name of the API, with real flows, files and queries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counter_task import counter

import llm4teach as lt
from llm4teach.envs.registry import _registered, get_task
from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.task import State
from llm4teach.errors import ConfigError, DatasetError, TaskError, TeacherError
from llm4teach.student.policies import uniform_policy

SMALL: dict[str, Any] = {
    "collect": {"steps": 256, "rounds": 1, "n_envs": 8},
    "pretrain": {"epochs": 1},
    "finetune": {"steps": 256, "n_envs": 8, "rollout_length": 32},
    "evaluate": {"episodes": 2},
}


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return str(tmp_path / "ws")


@pytest.fixture
def own_tasks() -> Iterator[None]:
    yield
    _registered.clear()


def test_collect_label_and_ask_the_advice(workspace: str) -> None:
    collected = lt.collect("SimpleDoorKey", "none", workspace, **SMALL)
    labeled = lt.label("SimpleDoorKey", "none", workspace)
    assert collected["collect_steps"] == 256 and labeled["questions"] > 0
    relation = lt.advice(workspace)
    assert relation.count("*").fetchall() == [(labeled["questions"],)]
    assert set(relation.select("teacher_id").fetchall()) == {("none/uniform@1/uniform",)}

    policy = lt.TeacherPolicy(workspace, "SimpleDoorKey", "none")
    task = get_task("SimpleDoorKey")
    first, _ = task.make_env().reset(seed=1)
    probs = policy.teacher_probs(first[None])
    assert probs.shape == (1, 7) and probs.sum() == pytest.approx(1)
    with pytest.raises(TeacherError, match="there is no advice of recorded/vicuna-33b"):
        lt.TeacherPolicy(workspace, "SimpleDoorKey", "recorded/vicuna-33b")
    asking = lt.TeacherPolicy(workspace, "SimpleDoorKey", "recorded/vicuna-33b", ask=True)
    assert asking.teacher_probs(first[None]).sum() == pytest.approx(1)
    asking.close()
    assert lt.advice(workspace).aggregate("count(DISTINCT teacher_id)").fetchall() == [(2,)]


def test_what_a_free_teacher_said_is_stored_without_a_call_of_close(workspace: str) -> None:
    env = lt.make_env("SimpleDoorKey")
    seen = np.stack([env.reset(seed=seed)[0] for seed in range(40)])

    def stored() -> int:
        (row,) = lt.advice(workspace).aggregate("count(*)").fetchall()
        return int(row[0])

    teacher = lt.TeacherPolicy(workspace, "SimpleDoorKey", "none", ask=True)
    teacher.teacher_probs(seen[:1])
    assert stored() == 1  # a reader finds some advice from the first call on
    for i in range(1, len(seen)):
        teacher.teacher_probs(seen[i : i + 1])
    asked = teacher._live.questions.asked
    assert 1 < stored() < asked
    del teacher
    assert stored() == asked
    with lt.TeacherPolicy(workspace, "SimpleDoorKey", "recorded/vicuna-33b", ask=True) as teacher:
        teacher.teacher_probs(seen)
    assert stored() == 2 * asked


def test_the_environment_of_a_task_is_what_its_teacher_reads(workspace: str) -> None:
    env = lt.make_env("SimpleDoorKey", render_mode="rgb_array")
    first, _ = env.reset(seed=5)
    assert env.observation_space.contains(first) and env.render().ndim == 3
    assert (first == lt.make_env("SimpleDoorKey").reset(seed=5)[0]).all()
    teacher = lt.TeacherPolicy(workspace, "SimpleDoorKey", "none", ask=True)
    assert teacher.teacher_probs(first[None]).sum() == pytest.approx(1)
    teacher.close()
    with pytest.raises(TaskError, match="unknown task 'Nowhere'"):
        lt.make_env("Nowhere")


def test_evaluate_plays_the_held_out_episodes_with_any_policy(workspace: str) -> None:
    teacher = lt.TeacherPolicy(workspace, "SimpleDoorKey", "recorded/vicuna-33b", ask=True)
    seen: list[Any] = []

    def watched(observations: Any) -> Any:
        seen.append(observations)
        return teacher.teacher_probs(observations)

    good = lt.evaluate("SimpleDoorKey", watched, 20)
    seeds = episode_seeds("test-2", 20)
    starts = [lt.make_env("SimpleDoorKey").reset(seed=s)[0] for s in seeds]
    assert (seen[0] == np.stack(starts)).all()
    assert good["success_rate"] == 1 == good["success_high"] and good["success_low"] > 0.8
    assert 0 < good["mean_return"] < 1 and 10 < good["mean_length"] < 100
    poor = lt.evaluate("SimpleDoorKey", uniform_policy(7), 20, seeds="development", mode="greedy")
    assert poor["success_rate"] < 0.5
    again = lt.evaluate("SimpleDoorKey", teacher.teacher_probs, 20, seed=1)
    assert again["mean_length"] != good["mean_length"]  # other actions are drawn
    teacher.close()


@pytest.mark.extended
@pytest.mark.usefixtures("own_tasks")
def test_teach_an_own_task_by_an_own_teacher(workspace: str) -> None:
    asked: list[str] = []

    def advise(text: str, options: tuple[str, ...]) -> str:
        asked.append(text)
        return "count up"

    task = counter(success="terminated", name="OwnCounter")
    teacher = lt.FunctionTeacher(advise, "counting", "1")
    result = lt.teach(task, teacher, workspace, **SMALL)
    assert 1 <= len(asked) <= 4 and result["questions"] == len(asked)
    assert Path(result["report"]).exists()
    student = lt.load_student(result["run_id"], workspace)
    assert student.facts["task"] == "OwnCounter"
    record, _ = task.make_env().reset(seed=1)
    seen = task.student_observations(record[None])[0]
    assert student.act(seen) == student.act(record) in (0, 1)
    drawn = {student.act(seen, np.random.default_rng(i)) for i in range(50)}
    assert drawn <= {0, 1}
    with pytest.raises(ValueError, match=r"is uint8 \(4,\); this is uint8 \(3,\)"):
        student.act(seen[:3])


def test_a_subclass_is_a_teacher(workspace: str) -> None:
    class Indifferent(lt.Teacher):
        info = lt.TeacherInfo("mine", "indifferent", "1", "none")

        def advise(self, states: Any) -> Iterator[lt.Advice]:
            for state in states:
                yield self._advice(state)

        def _advice(self, state: State) -> lt.Advice:
            from llm4teach.teacher_labeling.teacher import advice_from_weights

            return advice_from_weights(state, dict.fromkeys(state.options, 0.5))

        def close(self) -> None:
            pass

    lt.collect("SimpleDoorKey", Indifferent(), workspace, **SMALL)
    assert lt.label("SimpleDoorKey", Indifferent(), workspace)["teacher_id"] == (
        "mine/indifferent@1/none"
    )


@pytest.mark.usefixtures("own_tasks")
def test_what_is_wrong_is_told_in_one_sentence(workspace: str) -> None:
    with pytest.raises(TaskError, match="unknown task 'Nowhere'"):
        lt.collect("Nowhere", "none", workspace)
    with pytest.raises(TaskError, match="the task has no name"):
        lt.collect(counter(name=""), "none", workspace)
    with pytest.raises(TaskError, match="the task is no task: object has no family"):
        lt.collect(object(), "none", workspace)  # type: ignore[arg-type]
    with pytest.raises(TeacherError, match="is no teacher: it has no advise"):
        lt.collect("SimpleDoorKey", object(), workspace)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stepz"):
        lt.collect("SimpleDoorKey", "none", workspace, collect={"stepz": 1})
    with pytest.raises(DatasetError, match=r"no run in .* has a student"):
        lt.load_student(workspace=workspace)


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, llm4teach as lt; print(len([m for m in sys.modules if 'torch' in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert set(lt.__all__) >= {"teach", "collect", "label", "advice", "Teacher", "load_student"}
    for name in lt.__all__:
        assert getattr(lt, name).__doc__
