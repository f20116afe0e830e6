"""habitat-lab's rearrangement task, with episodes that their seed determines."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from habitat.core.registry import registry
from habitat.tasks.rearrange.multi_task.pddl_task import PddlTask

from llm4teach.envs.habitat.worker.rearrange.config import TASK


@registry.register_task(name=TASK)
class SeededPddlTask(PddlTask):
    """Seeds what is drawn when an episode starts after the scene has been loaded.

    Loading a scene uses random numbers up and makes a new navmesh with a state of its own. A seed
    from before that does not determine where the robot starts.
    """

    episode_seed = 0

    def reset(self, episode: Any, *args: Any, **kwargs: Any) -> Any:
        random.seed(self.episode_seed)
        np.random.seed(self.episode_seed)
        self._sim.seed(self.episode_seed)
        self._sim.pathfinder.seed(self.episode_seed)
        return super().reset(episode, *args, **kwargs)
