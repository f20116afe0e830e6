"""Hierarchical RL: PPO over options, in the semi-Markov decision process of their choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from llm4teach.envs.plan import Plan
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import sample
from llm4teach.student.training.option_player import MOST_PLANS, Decision, OptionPlayer, masks
from llm4teach.student.training.ppo import Batch
from llm4teach.student.training.update import PPOUpdater


@dataclass
class Transition:
    """A plan from its choice to the next one."""

    decision: Decision
    reward: float = 0.0  # discounted to the choice
    discount: float = 1.0  # gamma ** steps
    next_value: float = 0.0  # V where the next plan is chosen; 0 where the episode terminated
    is_last: bool = False  # of its episode, terminated or truncated


def option_advantages(transitions: list[Transition], lam: float) -> list[float]:
    """Generalized advantages of one environment's transitions, in their order.

    ``A = R + gamma^k V' - V + gamma^k lam A'`` for a plan of k steps with the discounted reward R
    (Sutton, Precup and Singh 1999, section 3, in 1506.02438, equation 16). The sum stops where an
    episode ends; V' is then 0, or V of where the time limit cut it.
    """
    advantages, following = [0.0] * len(transitions), 0.0
    for i in reversed(range(len(transitions))):
        t = transitions[i]
        delta = t.reward + t.discount * t.next_value - t.decision.value
        following = delta + (0.0 if t.is_last else t.discount * lam * following)
        advantages[i] = following
    return advantages


class OptionTrainer:
    """Trains a policy over options in place, with PPO's usual settings and losses.

    Env steps are the primitive ones. A plan that is still followed when a rollout ends belongs to
    the next one.

    Args:
        task: to learn.
        student: a network with `MOST_PLANS` outputs.
        config: PPO's settings.
        seed: of episodes, plans, actions and minibatches.
    """

    def __init__(self, task: Task, student: Student, config: FinetuneConfig, seed: int) -> None:
        self.task, self.student, self.config, self.seed = task, student, config, seed
        self.numbers: dict[Plan, int] = {}
        self._rng = np.random.default_rng(seed)
        self._player = OptionPlayer(task, student, self.numbers, self._rng)
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = torch.optim.Adam(
            student.parameters(), config.learning_rate, eps=1e-5, fused=True
        )
        seeds = training_seeds(seed, "finetune")
        self._envs = EpisodeVector(task, config.n_envs, seeds, config.workers)
        self._open: list[Transition | None] = [None] * config.n_envs  # of the plans followed now

    @property
    def steps_per_update(self) -> int:
        """Env steps between two updates."""
        return self.config.n_envs * self.config.rollout_length

    def player(self, seed: int, greedy: bool = False) -> OptionPlayer:
        """Return the policy as it is now, to play other episodes."""
        rng = np.random.default_rng(seed)
        return OptionPlayer(self.task, self.student, dict(self.numbers), rng, greedy)

    def run(self, on_update: Callable[[int, dict[str, float]], None]) -> int:
        """Train for the budget of env steps, and return how many these were.

        Args:
            on_update: receives the env steps so far and the losses after each update.
        """
        updater = PPOUpdater(self.student, self._optimizer, self.config, self._generator)
        n_updates = self.config.steps // self.steps_per_update
        for update in range(n_updates):
            ended, losses = self._rollout(), dict[str, float]()
            if any(ended):
                batch, allowed = self._batch(ended)
                rate = self.config.learning_rate * (1 - update / n_updates)
                losses = updater.update(batch, 0.0, rate, allowed)
            on_update((update + 1) * self.steps_per_update, losses)
        return n_updates * self.steps_per_update

    def close(self) -> None:
        """End the environments' processes, if they have any."""
        self._envs.close()

    def _rollout(self) -> list[list[Transition]]:
        """Step every environment; return each one's plans that ended, in their order."""
        envs = self._envs
        n, every = len(envs), np.arange(len(envs))
        ended: list[list[Transition]] = [[] for _ in range(n)]
        for _ in range(self.config.rollout_length):
            probs, _ = self._player.act(envs.observations, every, envs.steps_in_episode == 0)
            for decision in self._player.decisions:
                if before := self._open[decision.env]:
                    before.next_value = decision.value
                    ended[decision.env].append(before)
                self._open[decision.env] = Transition(decision)
            step = envs.step(sample(probs, self._rng))
            rewards = step.rewards / self.task.return_scale
            cut = np.flatnonzero(step.truncated & ~step.terminated)
            values = dict(zip(cut, self._player.values(step.final_observations[cut]), strict=True))
            for i, transition in enumerate(self._open):
                assert transition is not None, "every environment follows a plan"
                transition.reward += transition.discount * float(rewards[i])
                transition.discount *= self.config.gamma
                if step.terminated[i] or step.truncated[i]:
                    transition.next_value, transition.is_last = float(values.get(i, 0.0)), True
                    ended[i].append(transition)
                    self._open[i] = None
        return ended

    def _batch(self, ended: list[list[Transition]]) -> tuple[Batch, torch.Tensor]:
        """All transitions as one batch of B, and the admissible plans, bool (B, `MOST_PLANS`)."""
        device, advantages = self.student.device, []
        for transitions in ended:
            advantages += option_advantages(transitions, self.config.gae_lambda)
        decisions = [t.decision for transitions in ended for t in transitions]
        observations = torch.from_numpy(np.stack([d.observation for d in decisions]))

        def column(numbers: list[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(numbers, dtype=dtype, device=device)

        values = column([d.value for d in decisions])
        batch = Batch(
            inputs=self.student.encode(observations),
            actions=column([d.plan for d in decisions], torch.int64),
            logprobs=column([d.logprob for d in decisions]),
            advantages=column(advantages),
            returns=column(advantages) + values,
            teacher_probs=torch.zeros(len(decisions), MOST_PLANS, device=device),
        )
        return batch, masks([d.admissible for d in decisions]).to(device)
