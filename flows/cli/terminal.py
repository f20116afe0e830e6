"""A player's terminal: observations drawn as text, and single keys without Enter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT, STATE_TO_IDX
from numpy.typing import NDArray
from rich.text import Text

from llm4teach.envs.grid.fog_of_war import NO_HEADING

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}

_SHADES = " ░▒▓█"
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


def draw(observation: NDArray[np.uint8]) -> Text | None:
    """Return a map of MiniGrid's codes, or a picture of one channel; None of anything else.

    Args:
        observation: uint8 (*observation_shape).
    """
    if is_map(observation):
        return draw_map(observation)
    return draw_shades(observation) if observation.ndim == 2 else None


def is_map(observation: NDArray[np.uint8]) -> bool:
    """Whether an observation is a map of MiniGrid's codes with the agent's heading in its cell."""
    if observation.ndim != 3 or observation.shape[2] < 4:
        return False
    heading = observation[..., 3]
    is_agent = heading != NO_HEADING
    is_object = np.isin(observation[..., 0], list(IDX_TO_OBJECT))
    return bool(is_agent.sum() == 1 and (heading[is_agent] < len(_AGENT)).all() and is_object.all())


def draw_shades(image: NDArray[np.uint8]) -> Text:
    """Return one line per row of pixels, two characters per pixel; uint8 (rows, columns)."""
    levels = image.astype(np.intp) * len(_SHADES) // 256
    return Text("\n".join("".join(_SHADES[level] * 2 for level in row) for row in levels))


def draw_map(observation: NDArray[np.uint8]) -> Text:
    """Return one line per row of cells, two characters per cell.

    Args:
        observation: uint8 (W, H, C), C >= 4: object, color and state codes of MiniGrid as last
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
    """Return what the agent of a map holds, such as "yellow key"; its own cell says it."""
    x, y = np.argwhere(observation[..., 3] != NO_HEADING)[0]
    name = IDX_TO_OBJECT[int(observation[x, y, 0])]
    if name not in ("key", "ball", "box"):
        return "nothing"
    return f"{IDX_TO_COLOR[int(observation[x, y, 1])]} {name}"


def _cell(cell: NDArray[np.uint8]) -> tuple[str, str]:
    kind, color, state, heading = (int(value) for value in cell[:4])
    if heading != NO_HEADING:
        return _AGENT[heading], "bold red"
    name = IDX_TO_OBJECT[kind]
    named = IDX_TO_COLOR.get(color, "white")
    style = _FIXED.get(name) or f"bold {_STYLES.get(named, named)}"
    if name == "door":
        return _DOORS.get(state, "D"), style
    return _SIGNS.get(name, "?"), style


@contextmanager
def single_keys() -> Iterator[None]:
    """Let `read_key` return each key at once; restore the terminal at the end."""
    import termios  # not on Windows
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def read_key() -> str:
    """Wait for a key: a character, or left, right, up, down, escape; "" at the end of input."""
    # Straight from the terminal: the buffer of sys.stdin would hide the rest of an arrow's code.
    data = os.read(sys.stdin.fileno(), 8).decode(errors="ignore")
    if data.startswith("\x1b["):
        return _ARROWS.get(data[2:3], "")
    return "escape" if data == "\x1b" else data[:1]
