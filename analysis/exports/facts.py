"""What an export holds, in numbers, counted while it is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from llm4teach.datasets.exporters.episode import AdvisedEpisode
from llm4teach.envs.task import Task
from llm4teach.student.collection.behavior import OPTION


@dataclass
class Facts:
    """Counts of what was written."""

    task: Task
    steps: int = 0
    steps_of: Counter[str] = field(default_factory=Counter)  # by run
    behaviors: Counter[str] = field(default_factory=Counter)  # steps, by behavior policy
    states: set[str] = field(default_factory=set)  # keys
    advised_steps: int = 0  # with advice
    grounded_steps: int = 0  # of these, with a plan that can act
    terminated: int = 0  # episodes
    truncated: int = 0
    finals: int = 0  # episodes whose observation after the last step is known
    successes: int = 0
    returns: list[float] = field(default_factory=list)  # of the episodes that ended
    episodes: int = 0

    def add(self, episode: AdvisedEpisode) -> None:
        """Count an episode."""
        n = len(episode)
        self.episodes += 1
        self.steps += n
        self.steps_of[episode.run_id] += n
        self.behaviors.update(
            "option" if name.startswith(OPTION) else name for name in episode.behaviors
        )
        self.states.update(episode.state_keys[:n])
        self.advised_steps += int(episode.plan_probs[:n].any(1).sum())
        self.grounded_steps += int(episode.teacher_probs[:n].any(1).sum())
        self.finals += episode.has_final
        terminated, truncated = bool(episode.terminated[-1]), bool(episode.truncated[-1])
        self.terminated += terminated
        self.truncated += truncated
        if terminated or truncated:
            total = float(episode.rewards.sum(dtype=np.float64))
            self.returns.append(total)
            succeeded = self.task.is_success(np.array([terminated]), np.array([total]))
            self.successes += bool(succeeded[0])

    @property
    def unfinished(self) -> int:
        """Episodes that neither terminated nor were truncated: their collection stopped."""
        return self.episodes - self.terminated - self.truncated
