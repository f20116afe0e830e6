"""Nav & Pick's episodes as a habitat-lab dataset: an episode's seed determines all of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from habitat.core.dataset import Dataset
from habitat.core.registry import registry
from habitat.tasks.nav.nav import NavigationEpisode, NavigationGoal

from llm4teach.envs.habitat.worker.apartment import apartment, scene_name
from llm4teach.envs.habitat.worker.layout import HELD_OUT_START, TURN_DEGREES
from llm4teach.envs.habitat.worker.poses import position_of, rotation_list

DATASET = "NavPickDataset-v0"
LEAST_WAY_M = 3.0  # from the start to where the object can be picked up


@registry.register_dataset(name=DATASET)
class NavPickDataset(Dataset):
    """The first episodes of a split; others are made by `nav_pick_episode` when they are wanted."""

    def __init__(self, config: Any = None) -> None:
        first = 0 if config is None or config.split == "train" else HELD_OUT_START
        count = 1 if config is None else config.n_episodes
        self.config = config
        self.episodes = [nav_pick_episode(first + i) for i in range(count)]


def nav_pick_episode(seed: int) -> NavigationEpisode:
    """Return the episode of this seed: an apartment, where the robot starts, and the goal."""
    name = scene_name(seed)
    scene = apartment(name)
    rng = np.random.default_rng(seed)
    places = scene.area.starts(LEAST_WAY_M)  # (N, 2)
    x, y = places[int(rng.integers(len(places)))]
    heading = math.radians(TURN_DEGREES * int(rng.integers(360 // TURN_DEGREES)))
    target = scene.things[0]
    return NavigationEpisode(
        episode_id=str(seed),
        scene_id=name,
        start_position=position_of(x, y),
        start_rotation=rotation_list(heading),
        goals=[NavigationGoal(position=position_of(target.x, target.y, target.z), radius=None)],
    )
