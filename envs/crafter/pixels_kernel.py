"""What the engine's glimpses of a world show: symbols for the teacher, pixels for the student.

craftax's own renderer, `make_craftax_pixel_renderer`, is the readable definition of the pixels. It
takes as long as the game itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.noise_kernel import fill_uniform
from llm4teach.envs.crafter.symbols import (
    ARROW,
    ASLEEP,
    FACING,
    HEALTH,
    HELD,
    ITEMS,
    MEMORY,
    MOBS_SHOWN,
    SEEN_COLUMNS,
    SEEN_ROWS,
    STATUS,
)
from llm4teach.envs.crafter.textures import CELL
from llm4teach.envs.kernels.jit import compiled

_LOCAL = SEEN_ROWS * SEEN_COLUMNS
_PLAYER = _LOCAL // 2  # the cell in the middle
_STATUS = _LOCAL + 2 * MOBS_SHOWN  # its place in a glimpse
_N_STATUS, _N_ICONS, _VITALS = MEMORY - STATUS, 4 + len(ITEMS), 4
_WIDTH = SEEN_COLUMNS * CELL
_PLAYER_ASLEEP = 4
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)  # of brightness
_NIGHT = (np.float32(0), np.float32(16), np.float32(64))
_SLEEP = (np.float32(0), np.float32(0), np.float32(16))
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_GREY, _COLOR = np.float32(0.6), np.float32(0.4)
_NOISE, _LEAST_NOISE = np.float32(95), np.float32(32)


@compiled
def show(
    glimpses: NDArray[np.uint8],
    light: NDArray[np.float32],
    noise_keys: NDArray[np.uint32],
    which: NDArray[np.bool_],
    textures: Any,
    symbols: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
) -> None:
    """Write the symbols and draw the pixels of some worlds.

    Args:
        glimpses: uint8 (N or more, GLIMPSE): blocks in sight, cell and code of each mob, status.
        light: of the day, (N or more,), 0 to 1.
        noise_keys: uint32 (N or more, 2), from which the noise of the night is drawn.
        which: the rows to write, bool (N,).
        textures: of `textures.frame_textures`.
        symbols: uint8 (N, SYMBOLS).
        pixels: uint8 (N, PIXELS or more), of which the first are written.
    """
    noise = np.zeros((SEEN_ROWS * CELL, _WIDTH), np.float32)
    for i in range(len(which)):  # an engine may show more worlds than are in use
        if which[i]:
            glimpse, row = glimpses[i], symbols[i]
            row[:_LOCAL] = glimpse[:_LOCAL]
            row[_LOCAL : 2 * _LOCAL] = 0
            for k in range(MOBS_SHOWN):
                cell, code = glimpse[_LOCAL + 2 * k], glimpse[_LOCAL + 2 * k + 1]
                if code:
                    row[_LOCAL + cell] = min(code, ARROW)
            row[2 * _LOCAL :] = glimpse[_STATUS:]
            if light[i] < _HALF:
                fill_uniform(noise_keys[i], noise.ravel())
            _draw(glimpse, light[i], noise, textures, pixels[i])


@compiled
def _draw(glimpse: Any, light: Any, noise: Any, textures: Any, pixels: Any) -> None:
    status = glimpse[_STATUS:]
    asleep = status[ASLEEP - STATUS] > 0
    colors = np.empty((CELL, CELL, 3), np.float32)
    is_plain = np.full(_LOCAL, light >= _HALF)  # all pixels follow from the block
    is_plain[_PLAYER] = False
    for k in range(MOBS_SHOWN):
        if glimpse[_LOCAL + 2 * k + 1]:
            is_plain[glimpse[_LOCAL + 2 * k]] = False
    drawn = np.full(len(textures.blocks), -1, np.int64)  # a plain cell of each kind of block
    for cell in range(_LOCAL):
        if is_plain[cell]:
            if drawn[glimpse[cell]] >= 0:
                _copy(pixels, drawn[glimpse[cell]], cell)
                continue
            drawn[glimpse[cell]] = cell
        colors[:] = textures.blocks[glimpse[cell]]
        if cell == _PLAYER:
            look = _PLAYER_ASLEEP if asleep else int(status[FACING - STATUS]) - 1
            _put(colors, textures.player[look], textures.behind_player[look])
        for k in range(MOBS_SHOWN):
            code = glimpse[_LOCAL + 2 * k + 1]
            if code and glimpse[_LOCAL + 2 * k] == cell:
                _put(colors, textures.creatures[code], textures.behind[code])
        top, left = _corner(cell)
        for r in range(CELL):
            start = ((top + r) * _WIDTH + left) * 3
            for c in range(CELL):
                share = np.float32(0)
                if light < _HALF:
                    share = _TWO * (_HALF - light) * textures.darkness[top + r, left + c]
                _shade(colors[r, c], light, share, noise[top + r, left + c], asleep)
                for k in range(3):
                    level = min(max(np.rint(colors[r, c, k]), np.float32(0)), np.float32(255))
                    pixels[start + 3 * c + k] = np.uint8(level)
    below = SEEN_ROWS * CELL
    pixels[below * _WIDTH * 3 : (below + 2 * CELL) * _WIDTH * 3] = 0
    for k in range(_N_ICONS):
        count = status[HEALTH - STATUS + k] if k < _VITALS else status[HELD - STATUS + k - _VITALS]
        icon = textures.icons[k, count]
        for r in range(CELL):
            start = ((below + textures.icon_rows[k] + r) * _WIDTH + textures.icon_columns[k]) * 3
            for c in range(CELL):
                for channel in range(3):
                    pixels[start + 3 * c + channel] = icon[r, c, channel]


@compiled
def _corner(cell: int) -> tuple[int, int]:
    """A cell's first row and column of pixels."""
    return cell // SEEN_COLUMNS * CELL, cell % SEEN_COLUMNS * CELL


@compiled
def _copy(pixels: Any, source: int, cell: int) -> None:
    """Let a cell look as another one does."""
    for r in range(CELL):
        from_row, from_column = _corner(source)
        top, left = _corner(cell)
        start = ((from_row + r) * _WIDTH + from_column) * 3
        place = ((top + r) * _WIDTH + left) * 3
        for k in range(3 * CELL):
            pixels[place + k] = pixels[start + k]


@compiled
def _put(colors: Any, image: Any, behind: Any) -> None:
    for r in range(CELL):
        for c in range(CELL):
            for k in range(3):
                colors[r, c, k] = colors[r, c, k] * behind[r, c, k] + image[r, c, k]


@compiled
def _shade(color: Any, light: Any, share: Any, noise: Any, asleep: bool) -> None:
    """Apply the night, with so much of its noise, and the dimness of sleep to a pixel (3,)."""
    red, green, blue = color[0], color[1], color[2]
    if share > 0:
        level = share * (noise * _NOISE + _LEAST_NOISE)
        red, green = (_ONE - share) * red + level, (_ONE - share) * green + level
        blue = (_ONE - share) * blue + level
    grey = _GREY * (_RED * red + _GREEN * green + _BLUE * blue)
    dark = _ONE - light
    color[0] = light * color[0] + dark * (_HALF * (red * _COLOR + grey) + _HALF * _NIGHT[0])
    color[1] = light * color[1] + dark * (_HALF * (green * _COLOR + grey) + _HALF * _NIGHT[1])
    color[2] = light * color[2] + dark * (_HALF * (blue * _COLOR + grey) + _HALF * _NIGHT[2])
    if asleep:
        grey = _HALF * (_RED * color[0] + _GREEN * color[1] + _BLUE * color[2])
        for k in range(3):
            color[k] = grey + _HALF * _SLEEP[k]
