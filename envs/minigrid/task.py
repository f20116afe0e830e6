"""Any registered MiniGrid or BabyAI environment as a Task, by its gymnasium id."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from threading import Lock
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers its environments
import numpy as np
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import PutNextInstr
from minigrid.envs.gotodoor import GoToDoorEnv
from minigrid.envs.gotoobject import GoToObjectEnv
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.encoding import EncoderName
from llm4teach.envs.grid.options import Decision, OptionStatus, decide_plan
from llm4teach.envs.minigrid.instructions import clauses_of
from llm4teach.envs.minigrid.map_env import MapEnv
from llm4teach.envs.minigrid.parsed import state as parsed_state
from llm4teach.envs.minigrid.parsed.env import MarkedMapEnv
from llm4teach.envs.minigrid.parsed.scene import Scene
from llm4teach.envs.minigrid.raw import state as raw_states
from llm4teach.envs.minigrid.raw.env import SwappedMissionEnv, WordedMapEnv
from llm4teach.envs.minigrid.raw.renamed import RenamedScene
from llm4teach.envs.minigrid.raw.scene import RawScene
from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Mixture, Observations, State, normalize_rows, whole_question
from llm4teach.envs.vector.workers import WorkerVectorEnv
from llm4teach.errors import TaskError

_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_SCENES_KEPT = 1024
_PREFIXES = ("MiniGrid-", "BabyAI-")
SAY_DONE = (GoToDoorEnv, GoToObjectEnv)  # to arrive is not enough there: the agent has to say so


@dataclass(frozen=True)
class Mode:
    """What the teacher of a task reads, and how its plans act."""

    family: str
    map_env: Callable[[gym.Env[Any, int]], MapEnv]
    scene: Callable[..., Any]  # an observation, parsed; of raw ones, with says_done
    facts: Callable[[Any], Any]  # of a scene, hashable: what its text holds
    state: Callable[[Any], State]  # of facts
    question: Callable[[State, Plan], str]  # whether a plan is worth following
    decide: Callable[[Any, Plan], Decision]  # what a plan does in a scene
    encoder: EncoderName  # the student's
    many_plans: bool  # one that led back to the same state gives way to another


_PARSED = Mode(
    parsed_state.FAMILY,
    MarkedMapEnv,
    Scene,
    parsed_state.facts_of,
    parsed_state.minigrid_state,
    whole_question,
    decide_plan,
    encoder="cells",
    many_plans=False,
)
_RAW = Mode(
    raw_states.FAMILY,
    WordedMapEnv,
    RawScene,
    raw_states.facts_of,
    raw_states.raw_state,
    raw_states.raw_question,
    RawScene.decide,
    encoder="mission",
    many_plans=True,
)
_RENAMED = replace(_RAW, scene=RenamedScene, facts=RenamedScene.shown, decide=RenamedScene.decide)
_MODES = {
    "": _RAW,
    "-parsed": _PARSED,
    "-renamed": _RENAMED,
    "-swapped": replace(_RAW, map_env=SwappedMissionEnv),
    "-swapped-renamed": replace(_RENAMED, map_env=SwappedMissionEnv),
}
ENDINGS = tuple(filter(None, _MODES))  # of a task's name, after the environment's id
_NAME = re.compile(rf"(?P<env_id>.*?)(?P<ending>{'|'.join(ENDINGS)})?")


class MiniGridTask(BaseTask):
    """A Task on an environment that was not made for this project.

    A state's id is the position of its facts in a table that this object keeps.

    Args:
        name: the environment's gymnasium id: the text lists what is seen, and the teacher reads the
            mission (`raw`). With the ending ``-parsed`` a parser has read it (`parsed`). With the
            ending ``-renamed`` the text gives the colors other names (`raw.renamed`). With the
            ending ``-swapped`` everyone reads another episode's mission: a control, which can be
            had with other names too (``-swapped-renamed``).
    """

    def __init__(self, name: str) -> None:
        self.name = self.trained_as = name
        self._mode = _MODES[_parts(name)[1]]
        self._make = partial(make_minigrid_env, name)
        self.family = self._mode.family
        self.many_plans = self._mode.many_plans
        env = self.make_env()
        assert env.observation_space.shape is not None
        self.observation_shape: tuple[int, ...] = env.observation_space.shape
        self.action_names: tuple[str, ...] = _ACTIONS[: env.action_space.n]  # type: ignore[attr-defined]
        self.max_steps = _longest_episode(env)
        self._read = self._mode.scene
        if self._mode is not _PARSED:
            self._read = partial(self._mode.scene, says_done=isinstance(env.unwrapped, SAY_DONE))
        self._facts: list[Any] = []
        self._ids: dict[Any, int] = {}
        self._scenes: dict[bytes, Any] = {}
        self._lock = Lock()

    @property
    def encoder(self) -> EncoderName:
        """What reads the maps: ``mission`` if they have the mission's words."""
        return self._mode.encoder

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return self._make(render_mode)

    def make_worker_env(self, n_envs: int, workers: int) -> WorkerVectorEnv:
        """Return many environments, stepped by worker processes; see `WorkerVectorEnv`."""
        return WorkerVectorEnv(self._make, n_envs, workers)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), as its position in this task's table."""
        return np.array([self._identify(self._scene(o)) for o in observations], np.int64)

    def _scene(self, observation: NDArray[np.uint8]) -> Any:
        """Return the parsed observation; `identify` and `ground` share it."""
        key = observation.tobytes()
        scene = self._scenes.get(key)
        if scene is None:
            if len(self._scenes) >= _SCENES_KEPT:
                self._scenes.clear()
            scene = self._scenes[key] = self._read(observation.copy())
        return scene

    def _identify(self, scene: Any) -> int:
        facts = self._mode.facts(scene)
        with self._lock:  # shards may run in threads
            if facts not in self._ids:
                self._ids[facts] = len(self._facts)
                self._facts.append(facts)
            return self._ids[facts]

    def state(self, state_id: int) -> State:
        return self._mode.state(self._facts[state_id])

    def question(self, state: State, plan: Plan) -> str:
        return self._mode.question(state, plan)

    def example_states(self) -> Sequence[State]:
        """Return three states of the family, from nothing seen to nearly done."""
        if self._mode is _PARSED:
            return [parsed_state.minigrid_state(facts) for facts in parsed_state.EXAMPLES]
        return super().example_states()

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground."""
        probs = np.zeros((len(observations), len(self.action_names)), np.float32)
        for row, observation, i in zip(probs, observations, which, strict=True):
            scene = self._scene(observation)
            for plan, share in mixtures[i]:
                decision = self._mode.decide(scene, plan)
                if not isinstance(decision, OptionStatus):
                    actions = [a for a in decision if a < len(row)]
                    row[actions] += share / len(decision)
        return normalize_rows(probs)


def make_minigrid_env(name: str, render_mode: str | None = None) -> MapEnv:
    """Return a new environment of the task with this name, observed as a map."""
    env_id, ending = _parts(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer version; papers use the older
        env = gym.make(env_id, render_mode=render_mode, disable_env_checker=True)
    return _MODES[ending].map_env(env)


def _longest_episode(env: gym.Env[Any, int]) -> int:
    """Time limit in steps; of BabyAI's levels, whose missions set it, that of the longest.

    A level allows ``nav`` steps for each thing to go to: a mission has at most four clauses, and
    putting a thing next to another counts twice.
    """
    level: Any = env.unwrapped
    env.reset(seed=0)
    if not isinstance(level, RoomGridLevel) or level.fixed_max_steps:
        return int(level.max_steps)
    nav = level.room_size**2 * level.num_rows * level.num_cols
    navs = 1
    for seed in range(12):
        env.reset(seed=seed)
        clauses = [clause for clause, _ in clauses_of(level)]
        several = 4 if len(clauses) > 1 else 1
        navs = max(navs, level.max_steps // nav, several)
        if several > 1 and any(isinstance(clause, PutNextInstr) for clause in clauses):
            return int(2 * several * nav)
    return int(navs * nav)


def minigrid_ids() -> list[str]:
    """The registered environments that can be tasks, sorted."""
    return sorted(name for name in gym.registry if name.startswith(_PREFIXES))


def env_id_of(name: str) -> str:
    """Return the gymnasium id of the environment of a task."""
    return _parts(name)[0]


def _parts(name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    assert match is not None
    return match["env_id"], match["ending"] or ""


@cache
def minigrid_task(name: str) -> MiniGridTask:
    """Return the task on this environment.

    Raises:
        TaskError: it cannot be made, or its mission is not understood.
    """
    try:
        return MiniGridTask(name)
    except gym.error.DependencyNotInstalled as error:
        raise TaskError(f"the environment {env_id_of(name)} cannot be made: {error}") from error


def close_matches(name: str, names: Sequence[str]) -> list[str]:
    """The names most like this one, however it is capitalised."""
    by_lower = {one.lower(): one for one in names}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
