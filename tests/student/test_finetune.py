"""The main loop on a toy task: it learns, is seeded, resumes, and needs no teacher to be PPO."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llm4teach.student.config import EvaluateConfig, FinetuneConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy
from llm4teach.student.training.finetune import Finetuner

from .toy import SHAPE, RightTeacher, ToyTask

TASK = ToyTask()
CONFIG = FinetuneConfig(
    steps=2_048,
    n_envs=8,
    rollout_length=16,
    minibatches=4,
    learning_rate=3e-3,
    kl_coef=0.0,
    gamma=0.5,
    checkpoint_every=10,
)


def student() -> Student:
    torch.manual_seed(0)
    return Student(SHAPE, 3, width=16, hidden=16)


def weights(tuner: Finetuner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in tuner.student.parameters()])


def score(trained: Student) -> float:
    episodes = evaluate_policy(
        TASK, StudentPolicy(trained), "argmax", EvaluateConfig(episodes=16), seed=0
    )
    return float(np.mean([episode["return"] for episode in episodes]))


def test_plain_ppo_solves_the_toy() -> None:
    tuner = Finetuner(TASK, student(), None, CONFIG.model_copy(update={"steps": 8_192}), seed=0)
    tuner.run(lambda step, values: None)
    assert score(tuner.student) > 7.5, "of 8; chance is 2.7"


@pytest.mark.extended
def test_a_teacher_makes_it_faster_and_may_be_wrong() -> None:
    short = CONFIG.model_copy(update={"steps": 128})
    alone = Finetuner(TASK, student(), None, short, seed=0)
    taught = Finetuner(
        TASK, student(), RightTeacher(), short.model_copy(update={"kl_coef": 1.0}), seed=0
    )
    for tuner in (alone, taught):
        tuner.run(lambda step, values: None)
    assert score(taught.student) > score(alone.student) + 1
    longer = CONFIG.model_copy(
        update={"steps": 10_240, "kl_coef": 0.2, "kl_off": 0.4, "entropy_coef": 0.05}
    )
    misled = Finetuner(TASK, student(), RightTeacher(wrong=1), longer, seed=0)
    misled.run(lambda step, values: None)
    assert score(misled.student) > 7, "the reward overrules advice worth 5.3"


def test_kl_coef_zero_never_asks_and_equals_no_teacher() -> None:
    teacher = RightTeacher()
    tuners = [Finetuner(TASK, student(), advisor, CONFIG, seed=3) for advisor in (None, teacher)]
    for tuner in tuners:
        tuner.run(lambda step, values: None)
    assert torch.equal(weights(tuners[0]), weights(tuners[1]))
    assert teacher.asked == 0


def test_the_teacher_is_left_alone_once_the_schedule_is_off() -> None:
    config = CONFIG.model_copy(update={"kl_coef": 1.0, "kl_off": 0.5})
    teacher, seen = RightTeacher(), []
    Finetuner(TASK, student(), teacher, config, seed=0).run(
        lambda step, values: seen.append((values["kl_coef"], values["advice_rate"]))
    )
    assert teacher.asked == config.steps // 2
    assert [rate for _, rate in seen] == [1.0] * 8 + [0.0] * 8


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kl_coef", "schedule"), [(0.0, "plateau"), (0.5, "plateau"), (0.5, "return-ratio")]
)
def test_stopped_and_resumed_it_ends_the_same(
    tmp_path: Path, kl_coef: float, schedule: str
) -> None:
    config = CONFIG.model_copy(
        update={"kl_coef": kl_coef, "kl_schedule": schedule, "kl_off": 1.0, "checkpoint_every": 3}
    )
    logs: list[list[dict[str, float]]] = [[], []]

    whole = Finetuner(TASK, student(), RightTeacher(), config, seed=1)
    whole.run(lambda step, values: logs[0].append(dict(values)))

    class KilledError(Exception):
        pass

    def die(step: int, values: object) -> None:
        if step >= 8 * 128:
            raise KilledError

    path = tmp_path / "resume.safetensors"
    first = Finetuner(TASK, student(), RightTeacher(), config, seed=1)
    with pytest.raises(KilledError):
        first.run(die, lambda: first.save(path))

    torch.manual_seed(99)  # nothing may hang on the global generator
    second = Finetuner(TASK, Student(SHAPE, 3, width=16, hidden=16), RightTeacher(), config, seed=1)
    second.restore(path)
    assert second.update == 6
    second.run(lambda step, values: logs[1].append(dict(values)))
    assert torch.equal(weights(second), weights(whole))
    assert logs[1] == logs[0][6:]


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resume.safetensors"
    Finetuner(TASK, student(), None, CONFIG, seed=1).save(path)
    with pytest.raises(ValueError, match="other settings"):
        Finetuner(TASK, student(), None, CONFIG, seed=2).restore(path)


def test_same_seed_same_weights_other_seed_other_weights() -> None:
    short = CONFIG.model_copy(update={"steps": 512})
    results = []
    for seed in (0, 0, 1):
        tuner = Finetuner(TASK, student(), RightTeacher(), short, seed)
        tuner.run(lambda step, values: None)
        results.append(weights(tuner))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_it_never_uses_more_env_steps_than_its_budget() -> None:
    steps = []
    config = CONFIG.model_copy(update={"steps": 300})
    Finetuner(TASK, student(), None, config, seed=0).run(lambda step, values: steps.append(step))
    assert steps == [128, 256]
