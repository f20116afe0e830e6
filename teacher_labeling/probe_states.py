"""Three states of every task family that has prompts, to try a teacher or a prompt on."""

from __future__ import annotations

from llm4teach.envs.door_key.state import Naming, door_key_state, pack
from llm4teach.envs.habitat.state import FAMILY as NAV_PICK
from llm4teach.envs.habitat.state import nav_pick_state
from llm4teach.envs.minigrid.state import FAMILY as MINIGRID
from llm4teach.envs.minigrid.state import Facts, minigrid_state
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError

_NAMINGS = {
    "SimpleDoorKey": Naming.PLAIN,
    "ColoredDoorKey": Naming.COLORS,
    "DivergedDoorKey": Naming.COUNTED,
}
_ROOMS = (pack(0, 0, 0), pack(1, 1, 0), pack(0, 1, 1))  # nothing; key and door; door, key in hand
_FACTS = (
    Facts("go to <goal>", True, (), ""),
    Facts("pick up <target object>", True, ("locked door", "matching key"), ""),
    Facts("pick up <target object>", True, ("locked door",), "matching key"),
)
_PLACES = (0, 18, 12)  # packed: nothing seen; the table ahead, 1 to 3 m away; in reach


def probe_states(family: str) -> tuple[State, State, State]:
    """Return three states of a family, from nothing seen to nearly done.

    Raises:
        TeacherError: the family is not known here.
    """
    if family == MINIGRID:
        first, second, third = (minigrid_state(facts) for facts in _FACTS)
    elif family == NAV_PICK:
        first, second, third = (nav_pick_state(packed) for packed in _PLACES)
    elif family in _NAMINGS:
        naming = _NAMINGS[family]
        first, second, third = (door_key_state(family, naming, room) for room in _ROOMS)
    else:
        raise TeacherError(
            f"no states of the task family {family!r} are known; add three of them to "
            "teacher_labeling/probe_states.py"
        )
    return first, second, third
