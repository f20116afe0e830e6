"""Advice reweighted by returns: by hand on small chains, and where the teacher is wrong."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import read_parquet, write_parquet
from llm4teach.datasets.trajectories import read_steps
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Mixture, State, describe
from llm4teach.student.collection.behavior import (
    OPTION,
    OptionBehavior,
    PolicyBehavior,
    plans_followed,
)
from llm4teach.student.collection.collect import Collector
from llm4teach.student.collection.reweighting import (
    ReweightedPlan,
    Segments,
    cut_segments,
    read_reweighted,
    reweight_advice,
    reweight_trajectories,
    write_reweighting,
)
from llm4teach.student.config import PretrainConfig
from llm4teach.student.policies import uniform_policy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.writer import plans_of, to_row

EXPLORE, TAKE, OPEN = map(parse_plan, ("explore", "pick up key", "open door"))
A = State("a", "A", (EXPLORE, TAKE))
B = State("b", "B", (EXPLORE, OPEN))
GAMMA = 0.9


def segments(*rows: tuple[str, str, float, float, str]) -> Segments:
    states, plans, rewards, discounts, following = zip(*rows, strict=True)
    return Segments(
        np.array(states),
        np.array(plans),
        np.array(rewards),
        np.array(discounts),
        np.array(following),
    )


def shares(plans_by_state: dict[State, list], state: State) -> dict[str, float]:  # type: ignore[type-arg]
    return {str(o.plan): o.reweighted for o in plans_by_state[state]}


def test_segments_by_hand() -> None:
    states = np.array(["a", "a", "b", "b", "a", "b"])
    plans = np.array(["explore", "explore", "explore", "", "pick up key", "open door"])
    rewards = np.array([0, 1, 2, 9, 1, 5], np.float32)
    terminated = np.array([0, 0, 0, 0, 0, 1], bool)
    ends = np.array([0, 0, 0, 1, 0, 1], bool)
    cut = cut_segments(states, plans, rewards, terminated, ends, GAMMA)
    assert cut.states.tolist() == ["a", "b", "a", "b"], "what no plan led is left out"
    assert cut.plans.tolist() == ["explore", "explore", "pick up key", "open door"]
    np.testing.assert_allclose(cut.rewards, [0.9, 2, 1, 5])
    np.testing.assert_allclose(cut.discounts, [GAMMA**2, GAMMA, GAMMA, 0])
    assert cut.next_states.tolist() == ["b", "b", "b", "b"]


def test_a_truncated_episode_bootstraps_from_its_own_state() -> None:
    cut = cut_segments(
        np.array(["a", "b"]),
        np.array(["explore", "explore"]),
        np.zeros(2, np.float32),
        np.zeros(2, bool),
        np.array([True, True]),
        GAMMA,
    )
    assert cut.next_states.tolist() == ["a", "b"]
    np.testing.assert_allclose(cut.discounts, GAMMA)


def test_noise_counts_for_the_plan_that_it_interrupts() -> None:
    behaviors = np.array(
        ["noise", f"{OPTION}explore", "noise", "noise", "noise", "student", "noise"]
    )
    states = np.array(["a", "a", "a", "a", "b", "b", "b"])
    ends = np.array([0, 0, 1, 0, 0, 0, 0], bool)
    followed = plans_followed(behaviors, states, ends).tolist()
    assert followed == ["", "explore", "explore", "", "", "", ""]


def test_weights_are_the_prior_times_the_exponential_of_the_advantage() -> None:
    """One state, both plans end the episode: the fixed point has a closed form."""
    known = segments(
        *[("a", "explore", 0.5, 0.0, "a")] * 4000, *[("a", "pick up key", 0.7, 0.0, "a")] * 4000
    )
    advice: dict[str, Mixture] = {"a": ((EXPLORE, 1.0),)}
    plans_by_state = reweight_advice(
        known, advice, [A], temperature=0.1, error_prior=0.2, evidence=1e-6
    )
    prior = np.array([0.8, 0.1])  # half of the doubt is the better plan's
    expected = prior * np.exp(np.array([0.5, 0.7]) / 0.1)
    got = shares(plans_by_state, A)
    np.testing.assert_allclose(list(got.values()), expected / expected.sum(), atol=1e-3)
    by_plan = {str(o.plan): o for o in plans_by_state[A]}
    assert by_plan["explore"].advised == 1 and by_plan["pick up key"].advised == 0
    assert by_plan["pick up key"].value == pytest.approx(0.7, abs=1e-3)
    assert by_plan["pick up key"].n == 4000


def test_without_evidence_the_advice_stands() -> None:
    nothing = segments(("elsewhere", "explore", 1.0, 0.0, "elsewhere"))
    advice: dict[str, Mixture] = {"a": ((TAKE, 0.75), (EXPLORE, 0.25))}
    plans_by_state = reweight_advice(nothing, advice, [A], temperature=0.01, error_prior=0.5)
    assert shares(plans_by_state, A) == pytest.approx({"pick up key": 0.75, "explore": 0.25})


def test_a_loop_is_worth_nothing_and_is_overruled() -> None:
    """In B the teacher leads back to A for ever; opening the door pays."""
    known = segments(
        *[("a", "pick up key", 0.0, GAMMA, "b")] * 20,
        *[("b", "explore", 0.0, GAMMA, "a")] * 20,
        *[("b", "open door", 1.0, 0.0, "b")] * 3,
    )
    advice: dict[str, Mixture] = {"a": ((TAKE, 1.0),), "b": ((EXPLORE, 1.0),)}
    plans_by_state = reweight_advice(known, advice, [A, B], temperature=0.02, error_prior=0.2)
    assert shares(plans_by_state, B)["open door"] > 0.99
    assert shares(plans_by_state, A)["pick up key"] > 0.75
    for state in (A, B):
        assert sum(shares(plans_by_state, state).values()) == pytest.approx(1)


def test_a_plan_is_followed_until_the_state_changes(tmp_path: Path) -> None:
    task = get_task("SimpleDoorKey")
    rng = np.random.default_rng(0)
    options = OptionBehavior(task, lambda states: [()] * len(states), 1.0, rng)
    collector = Collector(
        task, tmp_path, "run", n_envs=4, action_epsilon=0.0, seeds=training_seeds(0, "x"), rng=rng
    )
    collector.collect(800, [(options, 0.7), (PolicyBehavior("dice", uniform_policy(7)), 0.3)])
    steps = read_steps(tmp_path, task.observation_shape)
    behaviors, keys = steps.column("behavior"), steps.column("state_key")
    assert set(behaviors) > {"dice", "option: explore"}
    t = steps.column("t")
    goes_on = np.append(False, (t[1:] == t[:-1] + 1) & (keys[1:] == keys[:-1]))
    changed = np.append(False, behaviors[1:] != behaviors[:-1]) & goes_on
    assert changed.mean() < 0.02, "only where the plan could no longer act"
    for key, label in itertools.islice(zip(keys, behaviors, strict=True), 200):
        if label.startswith(OPTION):
            [state] = {s for s in describe(task, steps.observations) if s.key == key}
            assert parse_plan(label.removeprefix(OPTION)) in state.options


def collected(task_name: str, folder: Path, steps: int) -> tuple[list[State], dict[str, Mixture]]:
    """Collect with a teacher, reweight its advice, store and read it again."""
    task = get_task(task_name)
    teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), task.family)

    def advice(states: list[State]) -> list[Mixture]:
        by_key = {a.state.key: plans_of(to_row(a, teacher.info)) for a in teacher.advise(states)}
        return [by_key[s.key] for s in states]

    rng = np.random.default_rng(0)
    options = OptionBehavior(task, advice, 0.5, rng)  # type: ignore[arg-type]
    Collector(
        task, folder, "run", n_envs=8, action_epsilon=0.1, seeds=training_seeds(0, "x"), rng=rng
    ).collect(steps, [(options, 1.0)])
    trajectories = read_steps(folder, task.observation_shape)
    states = list({s.key: s for s in describe(task, trajectories.observations)}.values())
    plans_by_state = reweight_trajectories(
        trajectories,
        states,
        advice,  # type: ignore[arg-type]
        PretrainConfig(),
    )
    write_reweighting(folder, "run", plans_by_state)
    return states, read_reweighted(folder)


def test_the_recorded_teachers_one_mistake_is_found(tmp_path: Path) -> None:
    """With both keys seen and no door it drops the one it holds, for ever; exploring pays."""
    states, reweighted = collected("ColoredDoorKey", tmp_path, 6_000)
    [trap] = [s for s in states if s.text == "Agent sees <color1 key>, holds <color2 key>."]
    mixture = {str(plan): share for plan, share in reweighted[trap.key]}
    assert mixture["explore"] > 0.25, "the teacher gives it 0"
    for state in states:
        assert sum(share for _, share in reweighted[state.key]) == pytest.approx(1)


def test_a_run_without_reweighted_advice_has_none(tmp_path: Path) -> None:
    assert read_reweighted(tmp_path) == {}


def test_the_file_of_an_earlier_version_is_read_and_replaced(tmp_path: Path) -> None:
    rows = {
        A: [ReweightedPlan(EXPLORE, 0.9, 0.25, 0.1, 3), ReweightedPlan(TAKE, 0.1, 0.75, 0.5, 2)]
    }
    write_reweighting(tmp_path, "run", rows)
    present, earlier = tmp_path / "reweighting.parquet", tmp_path / "outcomes.parquet"
    table = read_parquet(present, schema.REWEIGHTING)
    write_parquet(
        earlier,
        table.rename_columns([{"reweighted": "weighed"}.get(n, n) for n in table.column_names]),
    )
    present.unlink()
    assert read_reweighted(tmp_path) == {"a": ((EXPLORE, 0.25), (TAKE, 0.75))}
    write_reweighting(tmp_path, "run", rows)
    assert present.exists() and not earlier.exists()
