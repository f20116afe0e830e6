"""Crafter's environments: the contract, the same episode in any company, and what is stored."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets.trajectories import write_steps
from llm4teach.envs.crafter import engine
from llm4teach.envs.crafter import symbols as s
from llm4teach.envs.crafter.task import crafter_task
from llm4teach.envs.crafter.textures import CELL
from llm4teach.envs.crafter.vector import CrafterVectorEnv
from llm4teach.envs.custom.check import check_task
from llm4teach.envs.registry import get_task, listed_task_names
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.errors import TaskError

needs_craftax = pytest.mark.skipif(
    importlib.util.find_spec("craftax") is None,
    reason="craftax is not installed: pip install 'llm4teach[crafter]'",
)
TASK = crafter_task()
# The first test of a machine compiles the engine, for minutes on a busy one.
minutes = pytest.mark.timeout(1800)


def test_without_craftax_the_task_is_listed_and_its_environments_name_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "Crafter" in listed_task_names() and get_task("Crafter") is TASK
    engine._programs.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pip install 'llm4teach\[crafter\]'"):
        TASK.make_env()
    with pytest.raises(TaskError, match="Crafter needs the package craftax"):
        TASK.make_vector_env(2)


@needs_craftax
@minutes
@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    assert check_task(TASK) == []


@needs_craftax
@minutes
@pytest.mark.extended
def test_an_episode_is_the_same_in_any_company_and_is_seen_as_it_is() -> None:
    """65 environments take two engines; the last has its lanes nearly to itself."""
    rng = np.random.default_rng(0)
    many, single = TASK.make_vector_env(65), TASK.make_env()
    seeds = np.arange(100, 165)
    observations, _ = many.reset(seed=seeds)
    watched = 64
    alone, _ = single.reset(seed=int(seeds[watched]))
    seen = np.zeros((s.ROWS + 6, s.COLUMNS + 8), bool)
    for _ in range(60):
        np.testing.assert_array_equal(observations[watched], alone)
        view = alone[s.PIXELS :]
        row, column = int(view[s.ROW]), int(view[s.COLUMN])
        seen[row : row + 7, column : column + 9] = True
        known = view[s.MAP : s.MOBS].reshape(s.ROWS, s.COLUMNS) > 0
        assert (known == seen[3:-3, 4:-4]).all(), "what was in sight is known, and nothing else"
        actions = rng.integers(0, 17, 65)
        observations, rewards, terminated, truncated, info = many.step(actions)
        alone, reward, ended, cut, _ = single.step(int(actions[watched]))
        got = rewards[watched], terminated[watched], truncated[watched]
        assert got == (reward, ended, cut)
    done = observations[:, s.PIXELS + s.DONE :][:, : len(s.ACHIEVEMENTS)]
    np.testing.assert_array_equal(info["measures"]["achievements"], done.sum(1))
    assert set(info["measures"]) == {*s.ACHIEVEMENTS, "achievements"}
    with pytest.raises(ValueError, match="65 actions from 0 to 16 are needed"):
        many.step(np.full(65, 17))


@needs_craftax
@minutes
@pytest.mark.extended
def test_pixels_are_those_of_craftaxs_own_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """By day and night, awake and asleep; a rounding may differ by one level of 255."""
    import jax
    from craftax.craftax_classic import renderer
    from craftax.craftax_classic.constants import load_all_textures_given_size

    monkeypatch.setattr(
        renderer, "load_all_textures", lambda: {CELL: load_all_textures_given_size(CELL)}
    )
    render = jax.jit(jax.vmap(renderer.make_craftax_pixel_renderer(CELL)))
    envs = TASK.make_vector_env(engine.LANES)
    assert isinstance(envs, CrafterVectorEnv)
    observations, _ = envs.reset(seed=np.arange(engine.LANES))
    rng, differing, seen = np.random.default_rng(0), [], set()
    running = np.ones(engine.LANES, bool)
    for t in range(211):
        if t % 15 == 0:
            frames = np.asarray(render(envs._engines[0]._worlds)).reshape(engine.LANES, s.PIXELS)
            apart = np.abs(np.rint(frames) - observations[:, : s.PIXELS])[running]
            assert apart.max() <= 1
            differing.append((apart > 0).mean())
            for view in observations[running][:, s.PIXELS :]:
                seen |= {"dark"} if view[s.LIGHT] < 50 else {"light"}
                seen |= {"asleep"} if view[s.ASLEEP] else {"awake"}
                seen |= {int(code) for code in view[s.MOBS : s.STATUS]}
        actions = rng.choice([1, 2, 3, 4, s.DO, s.SLEEP], engine.LANES)
        observations, _, terminated, _, _ = envs.step(actions)
        running &= ~terminated
    assert seen >= {"dark", "light", "asleep", "awake", 0, s.ZOMBIE, s.COW}
    assert np.mean(differing) < 1e-4


@needs_craftax
@minutes
@pytest.mark.extended
def test_an_ended_episode_stays_as_it_is_and_the_time_limit_truncates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm4teach.envs.crafter.vector.MAX_STEPS", 3)
    envs = TASK.make_vector_env(2)
    envs.reset(seed=np.array([1, 2]), options={"reset_mask": np.array([True, False])})
    ends = []
    for _ in range(5):
        observations, rewards, terminated, truncated, _ = envs.step(np.array([4, 4]))
        ends.append(truncated.tolist())
        assert not terminated.any() and rewards[1] == 0 and not observations[1].any()
    assert ends == [[False] * 2] * 2 + [[True, False]] + [[False] * 2] * 2


@needs_craftax
def test_the_nights_noise_is_that_of_jax() -> None:
    import jax

    from llm4teach.envs.crafter.noise_kernel import fill_uniform

    drawn = np.empty(49 * 63, np.float32)
    for seed in range(20):
        key = jax.random.fold_in(jax.random.PRNGKey(seed), seed)
        fill_uniform(np.asarray(key), drawn)
        np.testing.assert_array_equal(drawn.reshape(49, 63), jax.random.uniform(key, (49, 63)))


@needs_craftax
@minutes
@pytest.mark.extended
def test_a_step_takes_at_most_3_kb_by_day_and_night(tmp_path: Path) -> None:
    """A whole day: 300 steps of options, 42 percent of them in the dark, whose noise is costly."""
    n, kept = 14, []
    rng = np.random.default_rng(0)
    envs = EpisodeVector(TASK, n, iter(range(10**9)))
    for _ in range(300):
        kept.append(envs.observations.copy())
        envs.step(rng.integers(1, 6, n))
        # Whoever dies starts in the morning: the share of dark steps is checked below.
    observations = np.concatenate(kept)[:4096]
    dark = (observations[:, s.PIXELS + s.LIGHT] < 50).mean()
    by_light = {}
    for name, rows in (
        ("dark", observations[observations[:, s.PIXELS + s.LIGHT] < 50]),
        ("light", observations[observations[:, s.PIXELS + s.LIGHT] >= 50]),
    ):
        steps = {
            **{key: np.zeros(len(rows), np.int64) for key in ("episode_id", "t", "seed", "action")},
            **{key: [name] * len(rows) for key in ("run_id", "state_key", "state_text")},
            **{key: np.zeros(len(rows)) for key in ("reward", "action_logprob")},
            **{key: np.zeros(len(rows), bool) for key in ("terminated", "truncated")},
            "behavior": ["x"] * len(rows),
        }
        path = write_steps(tmp_path / name, steps, rows)
        by_light[name] = path.stat().st_size / len(rows)
    assert 0.05 < dark < 0.5
    whole_day = 0.42 * by_light["dark"] + 0.58 * by_light["light"]
    assert whole_day < 3000, by_light
