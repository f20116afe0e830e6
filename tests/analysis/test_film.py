"""Films: an episode played again shows what happened, with fog where the agent never looked."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from llm4teach.analysis.reports.replay import FilmError, film_strip, replay, sprite_sheet
from llm4teach.envs.grid.fog_of_war import FOG
from llm4teach.envs.registry import get_task
from llm4teach.errors import TaskError

from .conftest import TASK, play


def test_a_replay_ends_as_the_episode_did() -> None:
    episode = play(1)
    film = replay(TASK, episode.seed, episode.actions, episode.captions)
    assert film.steps == len(episode.actions) == len(film.captions) - 1
    assert film.outcome == ("success" if episode.terminated else "time limit")
    assert film.total_return == pytest.approx(sum(episode.rewards))
    assert film.captions[:-1] == tuple(episode.captions)
    assert film.captions[-1] == film.outcome


def test_fog_lies_exactly_on_cells_never_seen() -> None:
    episode = play(1)
    film = replay(TASK, episode.seed, episode.actions)
    env = get_task(TASK).make_env(render_mode="rgb_array")
    env.reset(seed=episode.seed)
    for t, observation in enumerate(episode.observations):
        clear = np.asarray(env.render())
        foggy = (film.frames[t] != clear).any(axis=2)  # (H, W)
        cells = foggy.reshape(10, 32, 10, 32).any(axis=(1, 3))  # (rows, columns) of the grid
        assert (cells == (observation[..., 0] == 0).T).all()
        assert np.abs(film.frames[t][foggy].mean(axis=0) - FOG).max() < 40
        env.step(episode.actions[t])


def test_without_captions_the_actions_are_named() -> None:
    film = replay(TASK, 1, [0, 1, 2])
    assert film.captions == ("left", "right", "forward", "unfinished")
    assert film.outcome == "unfinished"


def test_an_episode_without_steps() -> None:
    film = replay(TASK, 1, [])
    assert Image.open(BytesIO(film_strip(film))).width > 100
    assert sprite_sheet(film).columns == 1


def test_the_strip_is_a_png_of_ten_frames_that_grows_with_its_captions() -> None:
    episode = play(4)
    short = Image.open(BytesIO(film_strip(replay(TASK, 4, episode.actions, ["explore"]))))
    words = ["go to the key and pick it up, then go to the door " * 3] * len(episode.actions)
    tall = Image.open(BytesIO(film_strip(replay(TASK, 4, episode.actions, words))))
    assert short.format == "PNG" and short.width == tall.width == 5 * 340 + 20
    assert short.height < tall.height


def test_the_sheet_holds_every_frame_in_its_place() -> None:
    film = replay(TASK, 5, [0, 1] * 7)
    sheet = sprite_sheet(film)
    image = np.asarray(Image.open(BytesIO(sheet.png)).convert("RGB")).astype(int)
    assert (sheet.columns, sheet.rows) == (10, 2)
    assert image.shape == (2 * sheet.height, 10 * sheet.width, 3)
    for i, frame in enumerate(film.frames):
        top, left = i // 10 * sheet.height, i % 10 * sheet.width
        shown = image[top : top + sheet.height, left : left + sheet.width]
        assert np.abs(shown - frame).mean() < 8, "but for the palette's rounding"


@pytest.mark.extended
def test_a_long_film_gets_smaller_until_it_fits() -> None:
    film = replay(TASK, 5, [0, 1] * 75)  # up to the time limit
    assert film.outcome == "time limit"
    large, small = sprite_sheet(film), sprite_sheet(film, max_bytes=20_000)
    assert len(large.png) <= 600_000 and len(small.png) <= 20_000 and small.width < large.width
    assert large.columns * large.rows * large.width * large.height <= 10_000_000
    with pytest.raises(FilmError, match="do not fit into 100 bytes"):
        sprite_sheet(film, max_bytes=100)


def test_actions_that_cannot_be_the_episode() -> None:
    episode = play(1)
    assert episode.terminated
    with pytest.raises(FilmError, match=f"ended after {len(episode.actions)} steps"):
        replay(TASK, 1, [*episode.actions, 0])
    with pytest.raises(FilmError, match="action 9 at step 1 is none of"):
        replay(TASK, 1, [0, 9])
    with pytest.raises(TaskError, match="unknown task"):
        replay("Nowhere", 1, [])
