"""THE MAIN LOOP: PPO with a decaying KL term to the teacher, resumable in mid-run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

import torch

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.checkpoint import (
    load_tensors,
    optimizer_tensors,
    present_names,
    restore_optimizer,
    save_tensors,
)
from llm4teach.student.model.network import Student
from llm4teach.student.policies import AdviceSource
from llm4teach.student.training.kl_schedules import schedule_of
from llm4teach.student.training.rollout import EpisodeStats, RolloutBuffer, collect_rollout
from llm4teach.student.training.update import PPOUpdater

_RECENT = 100  # episodes, about, whose mean return an adaptive schedule goes by
Log = Callable[[int, Mapping[str, float]], None]  # env steps so far, measurements


class Finetuner:
    """Trains a student in place; `run` goes on from wherever `restore` has put it.

    The same seed gives the same weights, with or without a stop in between, on one machine and one
    number of threads.

    Args:
        task: to learn.
        student: to train; its device is used.
        teacher: gives advice while kl_coef is above 0; None for plain PPO.
        config: steps, PPO's settings and the schedule of kl_coef.
        seed: of episodes, actions and minibatches.
    """

    def __init__(
        self,
        task: Task,
        student: Student,
        teacher: AdviceSource | None,
        config: FinetuneConfig,
        seed: int,
    ) -> None:
        self.task, self.student, self.teacher, self.config = task, student, teacher, config
        self.seed, self.update = seed, 0
        self.kl_coef = schedule_of(config)
        self.optimizer = torch.optim.Adam(
            student.parameters(), config.learning_rate, eps=1e-5, fused=True
        )
        self.generator = torch.Generator().manual_seed(seed)
        seeds = training_seeds(seed, "finetune")
        self.envs = EpisodeVector(task, config.n_envs, seeds, config.workers)
        self.running_returns = torch.zeros(config.n_envs)
        self.recent_return = 0.0  # running mean over about `_RECENT` episodes

    @property
    def steps_per_update(self) -> int:
        """Env steps between two updates."""
        return self.config.n_envs * self.config.rollout_length

    @property
    def n_updates(self) -> int:
        """As many whole updates as fit into the budget of env steps."""
        return self.config.steps // self.steps_per_update

    def run(self, log: Log, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Train to the end of the budget; log after each update, checkpoint every few.

        Raises:
            TeacherError: a new state had to be asked about and the teacher cannot answer.
        """
        config = self.config
        buffer = RolloutBuffer(self.student, self.envs, config.rollout_length)
        updater = PPOUpdater(self.student, self.optimizer, config, self.generator)
        while self.update < self.n_updates:
            step = self.update * self.steps_per_update
            kl_coef = self.kl_coef(step, self.recent_return) if self.teacher is not None else 0.0
            remaining = 1 - self.update / self.n_updates
            batch, episodes = collect_rollout(
                self.student,
                self.teacher if kl_coef else None,
                self.envs,
                buffer,
                config,
                self.generator,
                self.running_returns,
            )
            for episode_return in episodes.returns:
                self.recent_return += (episode_return - self.recent_return) / _RECENT
            losses = updater.update(batch, kl_coef, config.learning_rate * remaining)

            self.update += 1
            advised = (batch.teacher_probs.sum(1) > 0).float().mean().item()
            log(
                self.update * self.steps_per_update,
                {"kl_coef": kl_coef, "advice_rate": advised, **losses, **_summary(episodes)},
            )
            if self.update % config.checkpoint_every == 0 or self.update == self.n_updates:
                checkpoint()

    def close(self) -> None:
        """End the environments' processes, if they have any."""
        self.envs.close()

    def save(self, path: StoragePath) -> None:
        """Write all that `restore` needs, in one file."""
        tensors = {f"student.{k}": v for k, v in self.student.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer)
        tensors["generator"] = self.generator.get_state()
        tensors["running_returns"] = self.running_returns
        meta = {
            "update": self.update,
            "seed": self.seed,
            "config": self.config.model_dump(exclude={"workers"}),
            "recent_return": self.recent_return,
            "episodes_started": self.envs.episodes_started,
            "episodes": self.envs.state(),
        }
        save_tensors(path, tensors, meta)

    def restore(self, path: StoragePath) -> None:
        """Go back to where `save` was called.

        Raises:
            DatasetError: the file is missing or damaged.
            ValueError: it belongs to other settings or another seed.
        """
        tensors, meta = load_tensors(path)
        own_config = self.config.model_dump(exclude={"workers"})
        if (meta["config"], meta["seed"]) != (own_config, self.seed):
            raise ValueError(f"{path} was written with other settings; resume with the same ones")
        prefix = "student."
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        self.student.load_state_dict(present_names(weights))
        restore_optimizer(self.optimizer, tensors)
        self.generator.set_state(tensors["generator"])
        self.running_returns = tensors["running_returns"]
        self.update, self.recent_return = meta["update"], meta["recent_return"]
        seeds = training_seeds(self.seed, "finetune", start=meta["episodes_started"])
        self.envs.restore(meta["episodes"], seeds, meta["episodes_started"])


def _summary(episodes: EpisodeStats) -> dict[str, float]:
    ended = len(episodes.returns)
    if not ended:
        return {"episodes": 0}
    return {
        "episodes": ended,
        "success_rate": episodes.successes / ended,
        "episode_return": fmean(episodes.returns),
        "episode_length": fmean(episodes.lengths),
    }
