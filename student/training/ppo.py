"""The losses: PPO's (Schulman et al., 1707.06347) and the KL term to the teacher."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Output


class Batch(NamedTuple):
    """Steps of a rollout, each tensor of length B."""

    observations: Tensor  # uint8 (B, *observation_shape)
    actions: Tensor  # int64 (B,)
    logprobs: Tensor  # log pi_old(a | s), (B,)
    advantages: Tensor  # (B,)
    returns: Tensor  # targets of the value function, (B,)
    teacher_probs: Tensor  # (B, n_actions); a row of zeros where there is no advice


def kl_from_teacher(teacher_probs: Tensor, logits: Tensor) -> Tensor:
    """KL( pi_T(.|s) || pi_S(.|s) ) in nats, (B,); 0 where there is no advice.

    The second term of the paper's loss (arXiv 2311.13373, equation 4).
    """
    log_student = F.log_softmax(logits, dim=-1)  # (B, n_actions)
    return (torch.xlogy(teacher_probs, teacher_probs) - teacher_probs * log_student).sum(-1)


def soft_cross_entropy(teacher_probs: Tensor, logits: Tensor) -> Tensor:
    """``-sum_a pi_T(a | s) log pi_S(a | s)`` in nats, (B,): the KL term plus a constant."""
    return -(teacher_probs * F.log_softmax(logits, dim=-1)).sum(-1)


def normalised(batch: Batch) -> Batch:
    """The batch with advantages of mean 0 and standard deviation 1."""
    advantages = batch.advantages - batch.advantages.mean()
    return batch._replace(advantages=advantages / (batch.advantages.std(unbiased=False) + 1e-8))


def student_loss(
    output: Output, batch: Batch, config: FinetuneConfig, kl_coef: float
) -> tuple[Tensor, dict[str, float]]:
    """``L_PPO + kl_coef * E_s[KL(pi_T || pi_S)]`` and what it is made of.

    L_PPO is the clipped surrogate, the value loss and the entropy bonus (1707.06347, equations 7
    and 9). With ``kl_coef`` 0 the KL term is not computed into the graph: this is PPO. The batch
    is `normalised` before, since it may be one process's share of a minibatch.
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
    stats = {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "entropy": entropy.item(),
        "kl": kl.item(),
        "clip_fraction": ((ratio - 1).abs() > config.clip).float().mean().item(),
    }
    return loss, stats
