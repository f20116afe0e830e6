"""Craftax-Classic on the CPU, 64 worlds at a time, compiled once per machine.

One compiled program of 64 lanes serves every number of environments. Programs for other numbers
would round some pixels otherwise, and an episode would depend on how many are played beside it.
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

from llm4teach.envs.crafter.symbols import ITEMS, OUTSIDE, SEEN_COLUMNS, SEEN_ROWS
from llm4teach.errors import TaskError

LANES = 64
_TEXTURE = 7  # pixels a cell
_NO_TIME_LIMIT = 1 << 30  # steps; the vector environment has its own
_QUIET = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # says that compiling takes long
}


class Moment(NamedTuple):
    """What 64 worlds show after a step; all arrays have one row per lane."""

    rewards: NDArray[np.float32]
    over: NDArray[np.bool_]  # the player is dead
    symbols: NDArray[np.uint8]  # (LANES, SYMBOLS)
    pixels: NDArray[np.uint8]  # (LANES, 63, 63, 3)


class Engine:
    """64 worlds. A world depends on its seed and its actions alone.

    Raises:
        TaskError: craftax is not installed.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self._worlds, self._keys = self._programs.empty()

    def start(self, lane: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Start an episode; return its symbols (SYMBOLS,) and pixels (63, 63, 3)."""
        self._worlds, self._keys, symbols, pixels = self._programs.start(
            self._worlds, self._keys, np.int32(lane), np.uint32(seed)
        )
        return np.asarray(symbols), np.asarray(pixels)

    def step(self, actions: NDArray[np.integer[Any]]) -> Moment:
        """Act in every lane, also in those without an episode; actions are int (LANES,)."""
        self._worlds, *shown = self._programs.step(
            self._worlds, self._keys, np.asarray(actions, np.int32)
        )
        return Moment(*map(np.asarray, shown))


class _Programs(NamedTuple):
    empty: Callable[[], Any]
    start: Callable[..., Any]
    step: Callable[..., Any]


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
        from craftax.craftax_classic import renderer
        from craftax.craftax_classic.constants import load_all_textures_given_size
        from craftax.craftax_classic.envs.craftax_state import EnvParams, StaticEnvParams
        from craftax.craftax_classic.game_logic import craftax_step, is_game_over
        from craftax.craftax_classic.world_gen import generate_world

        # Its own loader makes textures of all sizes, for minutes, and writes them beside its code.
        renderer.load_all_textures = lambda: {_TEXTURE: load_all_textures_given_size(_TEXTURE)}
        render = renderer.make_craftax_pixel_renderer(_TEXTURE)
    parameters, sizes = EnvParams(max_timesteps=_NO_TIME_LIMIT), StaticEnvParams()

    def symbols_of(world: Any) -> Any:
        """Blocks and creatures in sight, then the status, as uint8 (SYMBOLS,)."""
        margin = max(SEEN_ROWS, SEEN_COLUMNS)
        padded = jnp.pad(world.map, margin, constant_values=OUTSIDE)
        corner = world.player_position - jnp.array([SEEN_ROWS // 2, SEEN_COLUMNS // 2])
        seen = jax.lax.dynamic_slice(padded, corner + margin, (SEEN_ROWS, SEEN_COLUMNS))
        creatures = jnp.zeros((SEEN_ROWS, SEEN_COLUMNS), jnp.uint8)
        kinds = (world.zombies, world.cows, world.skeletons, world.arrows)
        for code, mobs in enumerate(kinds, start=1):
            for i in range(mobs.mask.shape[0]):
                row, column = mobs.position[i] - corner
                inside = (row >= 0) & (row < SEEN_ROWS) & (column >= 0) & (column < SEEN_COLUMNS)
                row = jnp.where(inside & mobs.mask[i], row, SEEN_ROWS)  # outside: dropped
                creatures = creatures.at[row, column].set(code, mode="drop")
        status = [
            *(world.player_position[0], world.player_position[1], world.player_direction),
            *(world.player_health, world.player_food, world.player_drink, world.player_energy),
            *(world.is_sleeping, jnp.clip(world.light_level * 100, 0, 100)),
            *(getattr(world.inventory, name.replace(" ", "_")) for name in ITEMS),
        ]
        numbers = jnp.stack([jnp.asarray(number).astype(jnp.uint8) for number in status])
        return jnp.concatenate(
            [seen.ravel().astype(jnp.uint8), creatures.ravel(), numbers,
             world.achievements.astype(jnp.uint8)]
        )  # fmt: skip

    def pixels_of(world: Any) -> Any:
        return jnp.clip(jnp.round(render(world)), 0, 255).astype(jnp.uint8)

    def make(seed: Any) -> Any:
        key = jax.random.PRNGKey(seed)
        return generate_world(key, parameters, sizes), key

    def start(worlds: Any, keys: Any, lane: Any, seed: Any) -> Any:
        world, key = make(seed)
        put = jax.tree_util.tree_map(lambda many, one: many.at[lane].set(one), worlds, world)
        return put, keys.at[lane].set(key), symbols_of(world), pixels_of(world)

    def step_one(world: Any, key: Any, action: Any) -> Any:
        chance = jax.random.fold_in(key, world.timestep)
        after, reward = craftax_step(chance, world, action, parameters, sizes)
        over = is_game_over(after, parameters)
        return after, reward, over, symbols_of(after), pixels_of(after)

    def empty() -> Any:
        shapes = jax.eval_shape(make, jax.ShapeDtypeStruct((), jnp.uint32))
        zeros: Any = jax.tree_util.tree_map(
            lambda leaf: jnp.zeros((LANES, *leaf.shape), leaf.dtype), shapes
        )
        return zeros

    return _Programs(
        empty,
        jax.jit(start, donate_argnums=(0, 1)),
        jax.jit(jax.vmap(step_one), donate_argnums=(0,)),
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
