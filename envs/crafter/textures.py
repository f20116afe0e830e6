"""Craftax-Classic's textures as arrays for `pixels_kernel`, without the cache that craftax writes.

Its own loader makes textures of all sizes, for minutes, and keeps them in the package's folder,
which may be read-only; the one size needed here takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import ITEMS, SEEN_COLUMNS, SEEN_ROWS

CELL = 7  # pixels
VITAL_TEXTURES = ("health", "hunger", "thirst", "energy")
# Where each is in the two rows below the map: row, column.
_PLACES = {
    **{"health": (0, 0), "hunger": (0, 1), "thirst": (0, 2), "energy": (0, 3), "sapling": (0, 4)},
    **{"wood": (0, 5), "stone": (0, 6), "coal": (0, 7), "iron": (0, 8), "diamond": (1, 0)},
    **{"wood pickaxe": (1, 1), "stone pickaxe": (1, 2), "iron pickaxe": (1, 3)},
    **{"wood sword": (1, 4), "stone sword": (1, 5), "iron sword": (1, 6)},
}
_BLOCKS = {"wood": 6, "stone": 4, "coal": 8, "iron": 9, "diamond": 10}  # whose icons items have
_DIGITS = 10


class Textures(NamedTuple):
    """What a frame is put together from; colors from 0 to 255."""

    blocks: NDArray[np.float32]  # (17, CELL, CELL, 3)
    creatures: NDArray[np.float32]  # (8, CELL, CELL, 3), by code; times their opacity
    behind: NDArray[np.float32]  # likewise: the share of what is behind that shows, 0 to 1
    player: NDArray[np.float32]  # (5, CELL, CELL, 3), facing left, right, up, down, and asleep
    behind_player: NDArray[np.float32]  # (5, CELL, CELL, 3)
    icons: NDArray[np.uint8]  # (16, 10, CELL, CELL, 3), by vital sign or item, and number
    icon_rows: NDArray[np.int64]  # (16,), first pixel below the map
    icon_columns: NDArray[np.int64]  # (16,)
    darkness: NDArray[np.float32]  # (49, 63), how much of a pixel the night's noise takes


def frame_textures(loaded: Mapping[str, Any]) -> Textures:
    """Take what is needed from ``load_all_textures_given_size(CELL)``."""
    images = {name: np.asarray(image, np.float32) for name, image in loaded.items()}
    creatures = np.zeros((8, CELL, CELL, 3), np.float32)
    behind = np.ones_like(creatures)
    looks = {1: "zombie", 2: "cow", 3: "skeleton"}
    for code, name in looks.items():
        alpha = images[f"{name}_texture_alpha"]
        creatures[code], behind[code] = images[f"{name}_texture"] * alpha, 1 - alpha
    color, alpha = images["arrow_texture"], images["arrow_texture_alpha"]
    for code in range(4, 8):  # up, down, left, right
        turned = [image[::-1] if code % 2 else image for image in (color, alpha)]
        if code >= 6:
            turned = [image.transpose(1, 0, 2) for image in turned]
        creatures[code], behind[code] = turned[0] * turned[1], 1 - turned[1]
    top, left = SEEN_ROWS // 2 * CELL, SEEN_COLUMNS // 2 * CELL
    middle = np.s_[:, top : top + CELL, left : left + CELL]
    player, opacity = (images[f"full_map_player_textures{end}"][middle] for end in ("", "_alpha"))
    names = (*VITAL_TEXTURES, *ITEMS)
    rows, columns = np.array([_PLACES[name] for name in names]).T * CELL
    return Textures(
        images["block_textures"],
        *(creatures, behind, player * opacity, 1 - opacity),
        np.array([[_icon(images, name, n) for n in range(_DIGITS)] for name in names]),
        *(rows, columns, images["night_noise_intensity_texture"][..., 0].copy()),
    )


def _icon(images: Mapping[str, NDArray[np.float32]], name: str, count: int) -> NDArray[np.uint8]:
    """A cell of the inventory: the item's picture, if there is any, and the number on it."""
    cell = np.zeros((CELL, CELL, 3), np.float32)
    if count:
        if name in _BLOCKS:
            picture = images["smaller_block_textures"][_BLOCKS[name]]
        else:
            picture = images[f"{name.replace(' ', '_')}_texture"]
        cell[: len(picture), : len(picture)] = picture
    digit, alpha = images["number_textures"][count], images["number_textures_alpha"][count]
    place = np.s_[CELL - 1 - len(digit) : CELL - 1, CELL - 1 - len(digit) : CELL - 1]
    cell[place] = cell[place] * (1 - alpha) + digit
    return np.clip(np.rint(cell), 0, 255).astype(np.uint8)
