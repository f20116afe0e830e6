"""States: the paper's texts, one key a text, and the plans admissible in each."""

import numpy as np

from llm4teach.envs.door_key.state import Naming, door_key_state, pack
from llm4teach.envs.registry import get_task, task_names
from llm4teach.envs.task import State, describe, ground_plan, state_key


def simple(*sees: str, holds: str = "", family: str = "SimpleDoorKey") -> State:
    packed = pack("key" in sees, "door" in sees, holds == "key")
    return door_key_state(family, Naming.PLAIN, packed)


def plans(*sees: str, holds: str = "") -> list[str]:
    return [str(plan) for plan in simple(*sees, holds=holds).options]


def test_admissible_plans_of_the_six_states() -> None:
    key, door = "go to key > pick up key", "go to door > open door"
    assert plans() == ["explore"]
    assert plans("key") == ["explore", key]
    assert plans("door") == ["explore", door]
    assert plans("key", "door") == ["explore", key, door]
    assert plans(holds="key") == ["explore", "drop key"]
    assert plans("door", holds="key") == ["explore", door, "drop key"]


def test_state_texts_are_the_papers() -> None:
    assert simple().text == "Agent sees <nothing>, holds <nothing>."
    assert simple("key", "door").text == "Agent sees <key>, <door>, holds <nothing>."
    assert simple("door", holds="key").text == "Agent sees <door>, holds <key>."


def test_the_key_is_a_hash_of_family_and_text() -> None:
    state = simple("key")
    assert state.key == state_key("SimpleDoorKey", state.text)
    assert state.key != state_key("Other", state.text)
    # Stored advice is found by these: another hash would ask every state again.
    assert simple().key == "a3feb22732f98aef"


def test_every_task_keeps_its_protocol() -> None:
    """One contract for every task: shapes, dtypes, keys and grounded rows."""
    for name in task_names(shifted=True):
        task = get_task(name)
        env = task.make_env()
        rng = np.random.default_rng(0)
        rows = [env.reset(seed=0)[0]]
        for _ in range(200):
            obs, _, terminated, truncated, _ = env.step(rng.integers(len(task.action_names)))
            rows.append(env.reset()[0] if terminated or truncated else obs)
        observations = np.stack(rows)
        assert observations.shape[1:] == task.observation_shape
        assert observations.dtype == np.uint8
        states = describe(task, observations)
        texts = {state.key: (state.text, state.options) for state in states}
        assert all(texts[s.key] == (s.text, s.options) for s in states)
        assert all(state.key == state_key(task.family, state.text) for state in states)
        for plan in {plan for state in states for plan in state.options}:
            probs = ground_plan(task, observations, plan)
            assert probs.shape == (len(observations), len(task.action_names))
            assert probs.dtype == np.float32
            total = probs.sum(1)
            assert np.all(np.isclose(total, 1) | (total == 0))
            one_by_one = np.concatenate([ground_plan(task, o[None], plan) for o in observations])
            np.testing.assert_array_equal(probs, one_by_one)
