"""Advantages and returns that bootstrap at time limits (Schulman et al., 1506.02438)."""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Advantages, float32 (T, N), of T steps in N environments (equations 11 and 16).

    Args:
        rewards: (T, N).
        values: V(s_t), (T, N).
        next_values: V of what the action led to, before any reset, (T, N).
        terminated: the episode ended by itself: nothing follows, bool (T, N).
        truncated: a time limit cut it: its value goes on, its advantage sum does not, bool (T, N).
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
    returns = torch.empty_like(rewards)
    following = torch.zeros(())
    for i in reversed(range(len(rewards))):
        following = end_values[i] if segment_ends[i] else rewards[i] + gamma * following
        returns[i] = following
    return returns
