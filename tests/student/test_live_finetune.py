"""Fine-tuning with the live teacher in the background: an outage costs advice, not the training."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import policy_entropy
from llm4teach.student.training.finetune import Finetuner
from llm4teach.teacher_labeling import live_labelers
from llm4teach.teacher_labeling.ask_policy import ask_policy
from llm4teach.teacher_labeling.config import LiveConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.live_labelers import BackgroundLabeler, LiveLabeler
from llm4teach.teacher_labeling.teacher import Advice, Teacher

TASK = get_task("SimpleDoorKey")
CONFIG = FinetuneConfig(
    steps=1_024, n_envs=8, rollout_length=16, epochs=1, kl_coef=1.0, kl_decay=1.0, kl_off=1.0
)


class Outage:
    """The recorded teacher, of which nothing is heard for a while."""

    def __init__(self) -> None:
        self._inner = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), TASK.family)
        self.info = self._inner.info
        self.back, self.tried, self.asked = threading.Event(), threading.Event(), 0

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        self.tried.set()
        if not self.back.is_set():
            raise TeacherError("the server is down")
        for advice in self._inner.advise(states):
            self.asked += 1
            yield advice

    def close(self) -> None:
        self._inner.close()


def student() -> Student:
    torch.manual_seed(0)
    return Student(TASK.observation_shape, len(TASK.action_names), width=8, hidden=8)


def store_of(teacher: Teacher, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def test_an_outage_costs_advice_and_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_labelers, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(live_labelers, "LONGEST_RETRY_S", 0.05)
    teacher, told, rates = Outage(), list[str](), list[float]()
    store = store_of(teacher, tmp_path)
    live = LiveTeacher(TASK, store, BackgroundLabeler(teacher, store, warn=told.append))

    def log(step: int, values: Mapping[str, float]) -> None:
        rates.append(values["advice_rate"])
        assert np.isfinite(values["kl"])
        if len(rates) == 3:
            assert teacher.tried.wait(120)
            teacher.back.set()
            while live.waiting:  # the teacher answers all; the suite's time limit is the guard
                time.sleep(0.01)

    Finetuner(TASK, student(), live, CONFIG, seed=0).run(log)
    live.close()
    assert rates[:3] == [0, 0, 0] and max(rates[3:]) > 0.5
    assert len(told) == 1 and len(rates) == 8
    assert teacher.asked == len(store_of(teacher, tmp_path).rows()) == live.questions.asked


def test_asked_in_the_foreground_the_same_seed_gives_the_same_student(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), TASK.family)
        store, learner = store_of(teacher, tmp_path / name), student()
        policy = ask_policy(LiveConfig(ask="uncertain", min_entropy=1.0), policy_entropy(learner))
        live = LiveTeacher(TASK, store, LiveLabeler(teacher, store), policy=policy)
        Finetuner(TASK, learner, live, CONFIG, seed=0).run(lambda step, values: None)
        assert live.questions.asked > 0
        found.append(torch.cat([p.detach().flatten() for p in learner.parameters()]))
    assert torch.equal(found[0], found[1])


def test_the_entropy_of_the_students_policy() -> None:
    learner, rng = student(), np.random.default_rng(0)
    seen = TASK.make_vector_env(6).reset(seed=rng.integers(0, 99, 6))[0]
    probs = torch.softmax(learner(torch.from_numpy(seen)).logits, -1)
    expected = torch.distributions.Categorical(probs=probs).entropy().detach().numpy()
    np.testing.assert_allclose(policy_entropy(learner)(seen), expected, rtol=1e-5)
