"""The maths, worked out by hand: GAE, returns, KL, the schedule, PPO's loss."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from llm4teach.student.config import FinetuneConfig, KLScheduleName
from llm4teach.student.model.network import Output
from llm4teach.student.policies import sample
from llm4teach.student.training.kl_schedules import LinearToPlateauThenOff, ReturnRatio, schedule_of
from llm4teach.student.training.ppo import (
    TERMS,
    Batch,
    generalized_advantages,
    kl_from_teacher,
    normalized,
    returns_to_go,
    soft_cross_entropy,
    student_loss,
)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def flags(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_gae_by_hand() -> None:
    """gamma 0.5, lambda 0.5: delta = (1 + .5*2 - 1, 0 + .5*4 - 2, 1 + .5*8 - 4) = (1, 0, 1)."""
    none = flags(0, 0, 0)
    values, following = column(1, 2, 4), column(2, 4, 8)
    got = generalized_advantages(column(1, 0, 1), values, following, none, none, 0.5, 0.5)
    # From the end: 1, then 0 + .25 * 1, then 1 + .25 * .25.
    assert got.flatten().tolist() == pytest.approx([1.0625, 0.25, 1.0])


def test_gae_at_a_terminal_has_no_future() -> None:
    got = generalized_advantages(
        column(1, 3), column(1, 2), column(9, 9), flags(1, 0), flags(0, 0), 0.5, 0.5
    )
    assert got.flatten().tolist() == pytest.approx([1 - 1, 3 + 4.5 - 2])


def test_gae_at_a_time_limit_bootstraps_but_does_not_leak() -> None:
    got = generalized_advantages(
        column(1, 100), column(1, 2), column(9, 9), flags(0, 0), flags(1, 0), 0.5, 0.5
    )
    assert got[0].item() == pytest.approx(1 + 4.5 - 1)


def test_gae_with_lambda_one_is_return_minus_value() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.rand(6, 2, generator=rng), torch.rand(6, 2, generator=rng)
    last = torch.rand(1, 2, generator=rng)
    none = torch.zeros(6, 2, dtype=torch.bool)
    following = torch.cat([values[1:], last])
    got = generalized_advantages(rewards, values, following, none, none, 0.9, 1.0)
    returns = [
        sum(0.9**k * rewards[t + k] for k in range(6 - t)) + 0.9 ** (6 - t) * last[0]
        for t in range(6)
    ]
    torch.testing.assert_close(got, torch.stack(returns) - values)


def test_returns_to_go_by_hand() -> None:
    """Two episodes: one that terminated with reward 1, one that was cut where V is 4."""
    rewards = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0])
    ends = torch.tensor([False, False, True, False, True])
    end_values = torch.tensor([0.0, 0.0, 1.0, 0.0, 4.0])
    assert returns_to_go(rewards, ends, end_values, 0.5).tolist() == [0.25, 0.5, 1, 3, 4]


def test_kl_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    student = torch.tensor([[0.25, 0.5, 0.25]] * 3)
    expected = [0.5 * math.log(2), math.log(4), 0.0]
    got = kl_from_teacher(teacher, student.log())
    assert got.tolist() == pytest.approx(expected)
    cross = soft_cross_entropy(teacher, student.log())
    assert cross[0].item() == pytest.approx(0.5 * math.log(4) + 0.5 * math.log(2))
    assert cross[2].item() == 0, "no advice, no loss"


@given(
    st.lists(st.floats(-5, 5), min_size=7, max_size=7),
    st.lists(st.floats(-5, 5), min_size=7, max_size=7),
)
def test_kl_is_nonnegative_and_zero_only_at_the_teacher(a: list[float], b: list[float]) -> None:
    teacher = F.softmax(torch.tensor([a], dtype=torch.float64), -1)
    other = torch.tensor([b], dtype=torch.float64)
    assert kl_from_teacher(teacher, other).item() >= -1e-9
    assert kl_from_teacher(teacher, teacher.log()).item() == pytest.approx(0, abs=1e-9)


def test_the_schedule_by_hand() -> None:
    schedule = LinearToPlateauThenOff(start=1.0, plateau=0.2, decay_steps=100, off_step=300)
    points = {0: 1.0, 50: 0.6, 100: 0.2, 299: 0.2, 300: 0.0, 10_000: 0.0}
    assert {step: schedule(step) for step in points} == pytest.approx(points)
    at_once_off = LinearToPlateauThenOff(1.0, 0.1, 0, 0)
    assert at_once_off(0) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plateau", [1.0, 0.6, 0.2, 0.2, 0.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0, 0.0]),
        ("linear", [1.0, 0.875, 0.75, 0.125, 0.0]),
        ("stepwise", [1.0, 1.0, 0.75, 0.25, 0.0]),
        ("cosine", [1.0, (1 + math.cos(math.pi / 8)) / 2, (1 + math.sqrt(0.5)) / 2, 0.0381, 0.0]),
        ("return-ratio", [0.75, 0.75, 0.75, 0.75, 0.0]),
    ],
)
def test_every_schedule_by_hand(name: KLScheduleName, expected: list[float]) -> None:
    """1,000 env steps, off after 800; the student's recent return is a quarter of the target."""
    config = FinetuneConfig(
        steps=1000,
        n_envs=8,
        kl_schedule=name,
        kl_coef=1.0,
        kl_plateau=0.2,
        kl_decay=0.2,
        kl_off=0.8,
        kl_target_return=0.8,
    )
    schedule = schedule_of(config)
    got = [schedule(step, 0.2) for step in (0, 100, 200, 700, 800)]
    assert got == pytest.approx(expected, abs=1e-3)


def test_a_return_ratio_follows_the_student_both_ways() -> None:
    schedule = ReturnRatio(start=2.0, target=0.8, off_step=100)
    assert [schedule(1, r) for r in (0.0, 0.8, 1.0, 0.6, -1.0)] == pytest.approx([2, 0, 0, 0.5, 2])


@given(
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(get_args(KLScheduleName)),
)
def test_the_schedule_never_rises(
    start: float, plateau: float, decay: float, off: float, name: KLScheduleName
) -> None:
    config = FinetuneConfig(
        kl_coef=start, kl_plateau=plateau, kl_decay=decay, kl_off=off, kl_schedule=name
    )
    values = [schedule_of(config)(step) for step in range(0, config.steps + 1, 256)]
    assert values == sorted(values, reverse=True)
    assert min(values) >= 0 and max(values) <= start


def batch(n: int = 64, seed: int = 0) -> tuple[torch.Tensor, Batch]:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, generator=rng)
    actions = torch.randint(3, (n,), generator=rng)
    old = F.log_softmax(logits + 0.3 * torch.randn(n, 3, generator=rng), -1)
    return logits, Batch(
        inputs=torch.zeros(n, 1),
        actions=actions,
        logprobs=old[torch.arange(n), actions],
        advantages=torch.randn(n, generator=rng),
        returns=torch.randn(n, generator=rng),
        teacher_probs=F.softmax(torch.randn(n, 3, generator=rng), -1),
    )


def plain_ppo(logits: torch.Tensor, values: torch.Tensor, b: Batch, c: FinetuneConfig) -> float:
    """PPO's loss written step by step, without the teacher."""
    mean, std = b.advantages.mean(), b.advantages.std(unbiased=False)
    total = 0.0
    for i in range(len(b.actions)):
        probs = F.softmax(logits[i], -1)
        ratio = (probs[b.actions[i]].log() - b.logprobs[i]).exp()
        advantage = (b.advantages[i] - mean) / (std + 1e-8)
        surrogate = min(ratio * advantage, ratio.clamp(1 - c.clip, 1 + c.clip) * advantage)
        entropy = -(probs * probs.log()).sum()
        squared = (values[i] - b.returns[i]) ** 2
        total += -surrogate + c.value_coef * 0.5 * squared - c.entropy_coef * entropy
    return float(total / len(b.actions))


def test_without_kl_coef_the_loss_and_its_gradient_are_ppos() -> None:
    config = FinetuneConfig(entropy_coef=0.02)
    logits, b = batch()
    logits.requires_grad_()
    values = torch.linspace(-1, 1, 64)
    loss, _ = student_loss(Output(logits, values), normalized(b), config, kl_coef=0.0)
    assert loss.item() == pytest.approx(plain_ppo(logits.detach(), values, b, config), abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    no_teacher = b._replace(teacher_probs=torch.zeros(64, 3))
    other, _ = student_loss(Output(logits, values), normalized(no_teacher), config, kl_coef=0.0)
    assert torch.equal(torch.autograd.grad(other, logits)[0], gradient), "bit for bit"


def test_kl_coef_adds_the_weighted_kl() -> None:
    config = FinetuneConfig()
    logits, b = batch()
    output = Output(logits, torch.zeros(64))
    without, _ = student_loss(output, b, config, 0.0)
    with_kl, stats = student_loss(output, b, config, 0.7)
    kl = kl_from_teacher(b.teacher_probs, logits).mean().item()
    assert (with_kl - without).item() == pytest.approx(0.7 * kl, abs=1e-5)
    assert stats[TERMS.index("kl")].item() == pytest.approx(kl)


def test_sampling_follows_the_probabilities() -> None:
    probs = np.tile(np.array([[0.0, 0.2, 0.5, 0.3]], np.float32), (200_000, 1))
    drawn = np.bincount(sample(probs, np.random.default_rng(0)), minlength=4) / len(probs)
    assert drawn[0] == 0
    np.testing.assert_allclose(drawn, probs[0], atol=0.005)
    certain = np.eye(7, dtype=np.float32)
    assert sample(certain, np.random.default_rng(0)).tolist() == list(range(7))


def test_a_schedule_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_schedule.py").write_text(
        "def half(config):\n    return lambda step, recent_return=0.0: config.kl_coef / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    schedule = schedule_of(FinetuneConfig(kl_coef=3.0, kl_schedule="own_schedule:half"))
    assert schedule(0) == 1.5
    with pytest.raises(ValueError, match="there is no schedule 'half'; the schedules are plateau"):
        FinetuneConfig(kl_schedule="half")
