"""The table that people wrote solves the generic tasks: the mark for an LLM's advice."""

import numpy as np
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, describe
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import Policy, teacher_policy
from llm4teach.teacher_labeling.backends.recorded import recordings
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher

TASKS = (
    "MiniGrid-DoorKey-8x8-v0-parsed",
    "MiniGrid-Unlock-v0-parsed",
    "MiniGrid-UnlockPickup-v0-parsed",
    "MiniGrid-BlockedUnlockPickup-v0-parsed",
    "MiniGrid-KeyCorridorS3R3-v0-parsed",
    "MiniGrid-MultiRoom-N4-S5-v0-parsed",
    "MiniGrid-LockedRoom-v0-parsed",
    "MiniGrid-ObstructedMaze-2Dlh-v0-parsed",
    "MiniGrid-FourRooms-v0-parsed",
    "MiniGrid-LavaCrossingS9N2-v0-parsed",
    "BabyAI-GoToObj-v0-parsed",
    "BabyAI-PickupLoc-v0-parsed",
    "BabyAI-GoToSeq-v0-parsed",
)


@pytest.mark.parametrize("name", TASKS)
def test_its_own_policy_solves_the_task(name: str, tmp_path: object) -> None:
    task = get_task(name)
    teacher = make_teacher(TeacherConfig(teacher="recorded/handwritten"), task.family)
    store = AdviceStore(tmp_path, teacher.info.teacher_id, "")  # type: ignore[arg-type]
    live = LiveTeacher(task, store, teacher)
    states: set[str] = set()

    def watched(policy: Policy) -> Policy:
        def act(observations: Observations) -> np.ndarray:  # type: ignore[type-arg]
            states.update(state.text for state in describe(task, observations))
            return policy(observations)

        return act

    config = EvaluateConfig(episodes=20)
    played = evaluate_policy(task, watched(teacher_policy(live)), "sampled", config, seed=0)
    assert sum(episode["success"] for episode in played) >= 16
    assert len(states) < 60, "every state costs a question"


def test_its_plans_are_among_those_offered() -> None:
    """Each row is a state of the describer, letter for letter, and its plan is admissible there."""
    import json
    import re

    from llm4teach.envs.minigrid.parsed.state import Facts, minigrid_state

    rows = json.loads(recordings()["handwritten"].read_bytes())["families"]["MiniGrid"]
    form = re.compile(r"Mission: (.*)\. Unexplored: (yes|no)\. Agent sees (.*), holds <(.*)>\.")
    for row in rows:
        match = form.fullmatch(row["state_text"])
        assert match is not None
        sees = tuple(name for name in re.findall("<(.*?)>", match[3]) if name != "nothing")
        holds = "" if match[4] == "nothing" else match[4]
        state = minigrid_state(Facts(match[1], match[2] == "yes", sees, holds))
        assert state.text == row["state_text"]
        offered = {str(plan) for plan in state.options}
        assert {reply["plan"] for reply in row["replies"]} <= offered
