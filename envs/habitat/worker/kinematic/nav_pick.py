"""Nav & Pick as a habitat-lab task: its actions, sensors and measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gym import spaces
from habitat.core.embodied_task import EmbodiedTask, Measure, SimulatorTaskAction
from habitat.core.registry import registry
from habitat.core.simulator import Sensor, SensorTypes
from habitat.tasks.nav.nav import SPL, DistanceToGoal

from llm4teach.envs.habitat.worker.kinematic.world import TARGET
from llm4teach.envs.habitat.worker.layout import (
    FLAGS,
    TARGET_BYTES,
    TARGETS,
    Array,
    nav_pick_reward,
)

TASK = "NavPick-v0"


@registry.register_task(name=TASK)
class NavPickEmbodiedTask(EmbodiedTask):
    """Find the table, go there without touching anything, and pick up the object."""

    def _check_episode_is_active(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._sim.world.holds != TARGET)


@registry.register_task_action(name="KinematicAction")
class KinematicAction(SimulatorTaskAction):
    """Hands an action to the simulator, under its name in the configuration."""

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._action = name

    def step(self, *args: Any, **kwargs: Any) -> Any:
        return self._sim.step(self._action)


class _WorldSensor(Sensor):
    def __init__(self, sim: Any, *args: Any, **kwargs: Any) -> None:
        self._sim = sim
        super().__init__(*args, **kwargs)

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return SensorTypes.TENSOR


@registry.register_sensor(name="NavPickFlagsSensor")
class FlagsSensor(_WorldSensor):
    """What the robot knows of itself: `layout.FLAGS`."""

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return "flags"

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.MultiBinary(len(FLAGS))

    def get_observation(self, *args: Any, **kwargs: Any) -> tuple[bool, ...]:
        return tuple(self._sim.world.flags())


@registry.register_sensor(name="NavPickTargetsSensor")
class TargetsSensor(_WorldSensor):
    """Where things are, and where the planners would go next: `layout.TARGETS`."""

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return "targets"

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.Box(-1.0, np.inf, (len(TARGETS), TARGET_BYTES), np.float64)

    def get_observation(self, *args: Any, **kwargs: Any) -> Array:
        return self._sim.world.targets()


class _Measure(Measure):
    uuid = ""

    def __init__(self, sim: Any, *args: Any, **kwargs: Any) -> None:
        self._sim = sim
        super().__init__()

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return type(self).uuid


@registry.register_measure(name="NavPickSuccess")
class NavPickSuccess(_Measure):
    """1.0 once the robot holds the object, else 0.0."""

    uuid = "success"

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = 0.0

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = float(self._sim.world.holds == TARGET)


@registry.register_measure(name="PickHeld")
class PickHeld(NavPickSuccess):
    """The number of the thing in the robot's hand, 0 is the wanted one; -1 for none."""

    uuid = "pick_held"

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = -1.0

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = float(self._sim.world.holds)


@registry.register_measure(name="NavPickDistanceToGoal")
class NavPickDistanceToGoal(DistanceToGoal):
    """Habitat's distance to the goal, in meters, computed when it is read, and once a place."""

    _previous_position: Any

    def update_metric(self, episode: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing to do before it is read."""

    def get_metric(self) -> float:
        world = self._sim.world
        place = (world.x, world.y)
        if self._previous_position != place:
            self._previous_position = place
            self._metric = world.distance_to_goal()
        return float(self._metric)


@registry.register_measure(name="NavPickSPL")
class NavPickSPL(SPL):
    """Habitat's SPL, computed again only after a move or a success."""

    _seen: Any = None

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._seen = None
        super().reset_metric(*args, **kwargs)

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        world = self._sim.world
        seen = world.x, world.y, world.holds
        if self._seen != seen:
            self._seen = seen
            super().update_metric(*args, **kwargs)


@registry.register_measure(name="PathLength")
class PathLength(_Measure):
    """Meters traveled."""

    uuid = "path_length"

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._last = (self._sim.world.x, self._sim.world.y)
        self._metric = 0.0

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        x, y = self._last
        self._last = (self._sim.world.x, self._sim.world.y)
        self._metric += math.hypot(self._last[0] - x, self._last[1] - y)


@registry.register_measure(name="NavPickReward")
class NavPickReward(_Measure):
    """The reward of the last step: see `reward`."""

    uuid = "nav_pick_reward"

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._steps, self._touched, self._metric = 0, 0.0, 0.0

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        world = self._sim.world
        self._steps += 1
        self._metric, self._touched = nav_pick_reward(
            world.blocked, world.holds == TARGET, self._steps, self._touched
        )
