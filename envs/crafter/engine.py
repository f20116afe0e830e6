"""Craftax-Classic on the CPU, 64 worlds at a time, compiled once per machine.

One compiled program of 64 lanes serves every number of environments, so it is compiled once.
Worlds are made one at a time, where an episode starts: 64 at once are not cheaper.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import COLUMNS, ITEMS, OUTSIDE, ROWS, SEEN_COLUMNS, SEEN_ROWS
from llm4teach.envs.crafter.textures import CELL, Textures, frame_textures
from llm4teach.errors import TaskError

LANES = 64
_NO_TIME_LIMIT = 1 << 30  # steps; the vector environment has its own
_QUIET = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # says that compiling takes long
}


class Scene(NamedTuple):
    """What worlds show, in the form that `pixels_kernel.show` reads."""

    glimpses: NDArray[np.uint8]  # (N, GLIMPSE)
    light: NDArray[np.float32]  # (N,)
    noise_keys: NDArray[np.uint32]  # (N, 2), of the night's noise


class Moment(NamedTuple):
    """64 worlds after a step; all arrays have one row per lane."""

    rewards: NDArray[np.float32]
    over: NDArray[np.bool_]  # the player is dead
    scene: Scene


class Engine:
    """64 worlds. A world depends on its seed and its actions alone.

    Raises:
        TaskError: craftax is not installed.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self.textures = self._programs.textures
        self._worlds, self._keys = self._programs.empty()

    def start(self, lane: int, seed: int) -> Scene:
        """Start an episode; return what its world shows, as one row."""
        self._worlds, self._keys, shown = self._programs.start(
            self._worlds, self._keys, np.int32(lane), np.uint32(seed)
        )
        return Scene(*map(np.asarray, shown))

    def step(self, actions: NDArray[np.integer[Any]]) -> Moment:
        """Act in every lane, also in those without an episode; actions are int (LANES,)."""
        self._worlds, rewards, over, shown = self._programs.step(
            self._worlds, self._keys, np.asarray(actions, np.int32)
        )
        return Moment(np.asarray(rewards), np.asarray(over), Scene(*map(np.asarray, shown)))


class _Programs(NamedTuple):
    empty: Callable[[], Any]
    start: Callable[..., Any]
    step: Callable[..., Any]
    textures: Textures


def check_installed() -> None:
    """Check that the extra is there, without importing it.

    Raises:
        TaskError: it is not; the message has the command.
    """
    if importlib.util.find_spec("craftax") is None:
        raise TaskError(
            "the task Crafter needs the package craftax, which is not installed; install the "
            "extra: pip install 'llm4teach[crafter]'"
        )


@cache
def _programs() -> _Programs:
    """Import JAX and craftax, and make the compiled functions."""
    check_installed()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
    import jax
    import jax.numpy as jnp

    _keep_compiled(jax.config)
    with contextlib.redirect_stdout(io.StringIO()):  # craftax prints
        from craftax.craftax_classic.constants import load_all_textures_given_size
        from craftax.craftax_classic.envs.craftax_state import EnvParams, StaticEnvParams
        from craftax.craftax_classic.game_logic import craftax_step, is_game_over
        from craftax.craftax_classic.world_gen import generate_world

        textures = frame_textures(load_all_textures_given_size(CELL))
    parameters, sizes = EnvParams(max_timesteps=_NO_TIME_LIMIT), StaticEnvParams()

    def glimpse_of(world: Any) -> Any:
        """Blocks in sight, the mobs' cells and codes, then the status, as uint8 (GLIMPSE,)."""
        corner = world.player_position - jnp.array([SEEN_ROWS // 2, SEEN_COLUMNS // 2])
        rows = corner[0] + jnp.arange(SEEN_ROWS)[:, None]
        columns = corner[1] + jnp.arange(SEEN_COLUMNS)[None, :]
        inside = (rows >= 0) & (rows < ROWS) & (columns >= 0) & (columns < COLUMNS)
        blocks = world.map[jnp.clip(rows, 0, ROWS - 1), jnp.clip(columns, 0, COLUMNS - 1)]
        seen = jnp.where(inside, blocks, OUTSIDE)  # (SEEN_ROWS, SEEN_COLUMNS)
        kinds = (world.zombies, world.cows, world.skeletons, world.arrows)
        place = jnp.concatenate([mobs.position for mobs in kinds]) - corner  # (MOBS_SHOWN, 2)
        sizes_seen = jnp.array([SEEN_ROWS, SEEN_COLUMNS])
        in_sight = ((place >= 0) & (place < sizes_seen)).all(axis=1)
        codes = [jnp.full(mobs.mask.shape, code) for code, mobs in enumerate(kinds[:-1], start=1)]
        down, right = world.arrow_directions.T
        codes.append(4 + (down + right > 0) + 2 * (right != 0))  # up, down, left, right
        shown = in_sight & jnp.concatenate([mobs.mask for mobs in kinds])
        mobs = jnp.stack([place[:, 0] * SEEN_COLUMNS + place[:, 1], jnp.concatenate(codes)], axis=1)
        status = [
            *(world.player_position[0], world.player_position[1], world.player_direction),
            *(world.player_health, world.player_food, world.player_drink, world.player_energy),
            *(world.is_sleeping, jnp.clip(world.light_level * 100, 0, 100)),
            *(getattr(world.inventory, name.replace(" ", "_")) for name in ITEMS),
        ]
        parts = (
            seen.ravel(),
            jnp.where(shown[:, None], mobs, 0).ravel(),
            jnp.stack([jnp.asarray(number).astype(jnp.uint8) for number in status]),
            world.achievements,
        )
        return jnp.concatenate([part.astype(jnp.uint8) for part in parts])

    def scene_of(worlds: Any) -> Any:
        light = worlds.light_level.astype(jnp.float32)
        return jax.vmap(glimpse_of)(worlds), light, worlds.state_rng

    def make(seed: Any) -> Any:
        key = jax.random.PRNGKey(seed)
        return generate_world(key, parameters, sizes), key

    def start(worlds: Any, keys: Any, lane: Any, seed: Any) -> Any:
        world, key = make(seed)
        put = jax.tree_util.tree_map(lambda many, one: many.at[lane].set(one), worlds, world)
        only = jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf)[None], world)
        return put, keys.at[lane].set(key), scene_of(only)

    def step_one(world: Any, key: Any, action: Any) -> Any:
        chance = jax.random.fold_in(key, world.timestep)
        after, reward = craftax_step(chance, world, action, parameters, sizes)
        return after, reward, is_game_over(after, parameters)

    def step(worlds: Any, keys: Any, actions: Any) -> Any:
        after, rewards, over = jax.vmap(step_one)(worlds, keys, actions)
        return after, rewards, over, scene_of(after)

    def empty() -> Any:
        shapes = jax.eval_shape(make, jax.ShapeDtypeStruct((), jnp.uint32))
        zeros: Any = jax.tree_util.tree_map(
            lambda leaf: jnp.zeros((LANES, *leaf.shape), leaf.dtype), shapes
        )
        return zeros

    return _Programs(
        empty,
        jax.jit(start, donate_argnums=(0, 1)),
        jax.jit(step, donate_argnums=(0,)),
        textures,
    )


def _keep_compiled(config: Any) -> None:
    """Let JAX store compiled programs in the user's state folder, unless it has another place."""
    if config.jax_compilation_cache_dir:
        return
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(base) / "llm4teach" / "jax"
    with contextlib.suppress(OSError):  # compile in every process
        folder.mkdir(parents=True, exist_ok=True)
        config.update("jax_compilation_cache_dir", str(folder))
