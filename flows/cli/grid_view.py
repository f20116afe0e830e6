"""An observation as coloured text: the map of all that the agent has seen so far."""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT, STATE_TO_IDX
from numpy.typing import NDArray
from rich.text import Text

from llm4teach.envs.grid.fog_of_war import NO_HEADING

_AGENT = ("▶", "▼", "◀", "▲")  # by heading: east, south, west, north
_SIGNS = {
    "unseen": "░",
    "empty": "·",
    "wall": "█",
    "floor": ".",
    "key": "k",
    "ball": "o",
    "box": "□",
    "goal": "◎",
    "lava": "~",
}
_DOORS = {STATE_TO_IDX["open"]: "'", STATE_TO_IDX["closed"]: "d", STATE_TO_IDX["locked"]: "D"}
_STYLES = {"grey": "bright_black", "purple": "magenta"}  # the others are the terminal's own names
_FIXED = {"unseen": "bright_black", "empty": "bright_black", "wall": "bright_black", "lava": "red"}


def draw_map(observation: NDArray[np.uint8]) -> Text:
    """Return one line a row of cells, two characters a cell.

    Args:
        observation: uint8 (W, H, C), C >= 4: object, colour and state codes of MiniGrid as last
            seen, 0 where never seen, and the agent's heading in its own cell.
    """
    text = Text()
    width, height = observation.shape[:2]
    for y in range(height):
        for x in range(width):
            sign, style = _cell(observation[x, y])
            text.append(sign if sign not in ("█", "░") else sign * 2, style)
            text.append("" if sign in ("█", "░") else " ")
        text.append("\n")
    return text


def carried(observation: NDArray[np.uint8]) -> str:
    """What the agent holds, such as "yellow key"; it stands at the agent's own cell."""
    x, y = np.argwhere(observation[..., 3] != NO_HEADING)[0]
    name = IDX_TO_OBJECT[int(observation[x, y, 0])]
    if name not in ("key", "ball", "box"):
        return "nothing"
    return f"{IDX_TO_COLOR[int(observation[x, y, 1])]} {name}"


def _cell(cell: NDArray[np.uint8]) -> tuple[str, str]:
    kind, colour, state, heading = (int(value) for value in cell[:4])
    if heading != NO_HEADING:
        return _AGENT[heading], "bold red"
    name = IDX_TO_OBJECT[kind]
    own = IDX_TO_COLOR.get(colour, "white")
    style = _FIXED.get(name) or f"bold {_STYLES.get(own, own)}"
    if name == "door":
        return _DOORS.get(state, "D"), style
    return _SIGNS.get(name, "?"), style
