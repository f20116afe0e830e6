"""What an episode has done of its mission, and which things its clauses are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minigrid.core.world_object import Door, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import PutNextInstr
from minigrid.minigrid_env import MiniGridEnv

from llm4teach.envs.minigrid.instructions import account_of
from llm4teach.envs.minigrid.parsed.missions import Clause, Mission, Thing, parse_mission, without

NOW, LATER = 1, 2  # the next step may be about it; a later step may be
_OBJECTS = ("key", "ball", "box", "door")


@dataclass
class _Goal:
    """A clause; of BabyAI's also its instruction, which knows the objects that fit."""

    clause: Clause
    instruction: Any = None
    done: bool = False

    def is_about(self, thing: WorldObj) -> bool:
        """Whether this may be the thing to go to, to pick up, to open or to put elsewhere."""
        if self.instruction is None:
            return _fits(self.clause.thing, thing)
        name = "desc_move" if isinstance(self.instruction, PutNextInstr) else "desc"
        return any(thing is one for one in getattr(self.instruction, name).obj_set)

    def is_beside(self, thing: WorldObj) -> bool:
        """Whether this may be the thing to put something next to."""
        if self.clause.beside is None:
            return False
        if self.instruction is None:
            return _fits(self.clause.beside, thing)
        return any(thing is one for one in self.instruction.desc_fixed.obj_set)

    def is_way_to(self, thing: WorldObj) -> bool:
        """Whether this is the door of the room that the mission says the thing is in."""
        room = self.clause.thing.place.removeprefix("from the ").removesuffix(" room")
        return thing.type == "door" and thing.color == room

    def mark(self, thing: WorldObj, carried: WorldObj | None) -> int:
        """The mark of a thing while this clause belongs to the next step."""
        if self.is_about(thing) or self.is_way_to(thing):
            return NOW
        if self.is_beside(thing):
            return NOW if carried is not None and self.is_about(carried) else LATER
        return 0


class MissionProgress:
    """Follows one episode; made after its reset, updated after each step.

    BabyAI keeps account of what is done of its missions. Elsewhere a clause stays done once
    its thing is carried or its door is seen open, in the order of the mission; what ends the
    episode needs no account.

    Raises:
        TaskError: the mission is not understood.
    """

    def __init__(self, env: MiniGridEnv) -> None:
        self._mission = parse_mission(env.mission)
        level: Any = env if isinstance(env, RoomGridLevel) else None
        self._instructions = level.instrs if level else None
        pairs = account_of(self._instructions) if self._instructions is not None else None
        self._goals = [
            [_Goal(c, pairs[i][j][0] if pairs else None) for j, c in enumerate(step)]
            for i, step in enumerate(self._mission.steps)
        ]
        self._carried: WorldObj | None = None
        self.left = Mission()  # set by the first update

    def update(self, seen: Iterable[WorldObj], carried: WorldObj | None) -> bool:
        """Take note of what was done; whether marks or words may have changed."""
        if self._instructions is not None:
            for goals, step in zip(self._goals, account_of(self._instructions), strict=True):
                for goal, (_, done) in zip(goals, step, strict=True):
                    goal.done = done
        else:
            self._follow(seen, carried)
        left = without(self._mission, [[goal.done for goal in goals] for goals in self._goals])
        changed = left != self.left or carried is not self._carried
        self.left, self._carried = left, carried
        return changed

    def _follow(self, seen: Iterable[WorldObj], carried: WorldObj | None) -> None:
        open_doors = [one for one in seen if isinstance(one, Door) and one.is_open]
        for goals in self._goals:
            for goal in goals:
                verb = goal.clause.verb
                if verb == "pick up" and carried is not None:
                    goal.done |= goal.is_about(carried)
                elif verb == "open":
                    goal.done |= any(map(goal.is_about, open_doors))
            if not all(goal.done for goal in goals):
                return

    def mark(self, thing: WorldObj) -> int:
        """Whether the next step (NOW), a later one (LATER) or none (0) may be about it."""
        steps = [[goal for goal in goals if not goal.done] for goals in self._goals]
        first, *later = [step for step in steps if step] or [[]]
        marks = [goal.mark(thing, self._carried) for goal in first]
        if NOW in marks:
            return NOW
        return LATER if any(marks) or any(g.mark(thing, None) for s in later for g in s) else 0


def _fits(target: Thing, thing: WorldObj) -> bool:
    kinds = _OBJECTS if target.kind == "object" else (target.kind,)
    return thing.type in kinds and target.color in ("", thing.color)
