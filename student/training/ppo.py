"""PPO with a KL term to the teacher: advantages (1506.02438) and losses (1707.06347)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Output


class Batch(NamedTuple):
    """Steps of a rollout, each tensor of length B."""

    inputs: Tensor  # encoded observations, (B, ...)
    actions: Tensor  # int64 (B,)
    logprobs: Tensor  # log pi_old(a | s), (B,)
    advantages: Tensor  # (B,)
    returns: Tensor  # targets of the value function, (B,)
    teacher_probs: Tensor  # (B, n_actions); a row of zeros where there is no advice


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Advantages, float32 (T, N), of T steps in N environments (1506.02438, equations 11 and 16).

    Values bootstrap at time limits, but not where an episode terminated.

    Args:
        rewards: (T, N).
        values: V(s_t), (T, N).
        next_values: V of what the action led to, before any reset, (T, N).
        terminated: the episode ended: nothing follows, bool (T, N).
        truncated: the time limit ended it: its last value counts, the sum stops, bool (T, N).
        gamma: discount factor.
        lam: exponential weight of longer returns.
    """
    deltas = rewards + gamma * next_values * ~terminated - values  # (T, N)
    carry = gamma * lam * ~(terminated | truncated)  # (T, N)
    advantages = torch.zeros_like(deltas)
    following = torch.zeros_like(deltas[0])  # (N,)
    for t in reversed(range(len(deltas))):
        following = deltas[t] + carry[t] * following
        advantages[t] = following
    return advantages


def returns_to_go(
    rewards: Tensor, segment_ends: Tensor, end_values: Tensor, gamma: float
) -> Tensor:
    """Discounted returns, float32 (N,), of steps stored one segment after the other.

    Args:
        rewards: (N,).
        segment_ends: the last stored step of each episode, bool (N,).
        end_values: what stands for the return of those last steps: the reward where the episode
            terminated there, else the value of the state it was cut in, (N,).
        gamma: discount factor.
    """
    returns, following = rewards.tolist(), 0.0  # Python's numbers: a tensor's take 50 times as long
    ends, at_ends = segment_ends.tolist(), end_values.tolist()
    for i in reversed(range(len(returns))):
        following = at_ends[i] if ends[i] else returns[i] + gamma * following
        returns[i] = following
    return torch.tensor(returns, dtype=rewards.dtype)


def kl_from_teacher(teacher_probs: Tensor, logits: Tensor) -> Tensor:
    """KL( pi_T(.|s) || pi_S(.|s) ) in nats, (B,); 0 where there is no advice.

    The second term of the paper's loss (arXiv 2311.13373, equation 4).
    """
    log_student = F.log_softmax(logits, dim=-1)  # (B, n_actions)
    return (torch.xlogy(teacher_probs, teacher_probs) - teacher_probs * log_student).sum(-1)


def soft_cross_entropy(teacher_probs: Tensor, logits: Tensor) -> Tensor:
    """``-sum_a pi_T(a | s) log pi_S(a | s)`` in nats, (B,): the KL term plus a constant."""
    return -(teacher_probs * F.log_softmax(logits, dim=-1)).sum(-1)


def normalized(batch: Batch) -> Batch:
    """The batch with advantages of mean 0 and standard deviation 1."""
    advantages = batch.advantages - batch.advantages.mean()
    return batch._replace(advantages=advantages / (batch.advantages.std(unbiased=False) + 1e-8))


TERMS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")


def student_loss(
    output: Output, batch: Batch, config: FinetuneConfig, kl_coef: float
) -> tuple[Tensor, Tensor]:
    """``L_PPO + kl_coef * E_s[KL(pi_T || pi_S)]`` and what it is made of, the `TERMS`, (5,).

    L_PPO is the clipped surrogate, the value loss and the entropy bonus (1707.06347, equations 7
    and 9). With ``kl_coef`` 0 the KL term is not part of the graph: this is PPO. The caller
    normalizes the advantages (`normalized`).
    """
    log_probs = F.log_softmax(output.logits, dim=-1)  # (B, n_actions)
    logprobs = log_probs.gather(1, batch.actions[:, None]).squeeze(1)  # (B,)
    ratio = (logprobs - batch.logprobs).exp()  # (B,)
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    policy_loss = -torch.min(ratio * batch.advantages, clipped * batch.advantages).mean()
    value_loss = 0.5 * (output.values - batch.returns).square().mean()
    entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
    loss = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
    kl = kl_from_teacher(batch.teacher_probs, output.logits).mean()
    if kl_coef:
        loss = loss + kl_coef * kl
    clip_fraction = ((ratio - 1).abs() > config.clip).float().mean()
    return loss, torch.stack([policy_loss, value_loss, entropy, kl, clip_fraction]).detach()
