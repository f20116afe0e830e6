"""An episode in pictures: played again from its seed and actions, as a film strip or sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from llm4teach.envs.registry import get_task

Frames = NDArray[np.uint8]  # (n_steps + 1, height, width, 3), RGB

PAPER, INK, FAINT = (250, 250, 248), (32, 36, 44), (110, 116, 128)  # RGB, of a strip
TILE, GAP, LINE, PER_ROW = 320, 20, 27, 5  # pixels, pixels, pixels, frames
PER_SHEET_ROW = 10  # frames


class FilmError(ValueError):
    """The actions do not belong to an episode of this task and seed."""


@dataclass(frozen=True)
class Film:
    """An episode's frames, one before each action and one at its end."""

    frames: Frames
    captions: tuple[str, ...]  # one a frame
    outcome: str  # "success", "failure", "time limit" or "unfinished"
    total_return: float  # undiscounted

    @property
    def steps(self) -> int:
        """How many actions were played."""
        return len(self.frames) - 1


@dataclass(frozen=True)
class SpriteSheet:
    """A film's frames side by side in one picture, row by row."""

    png: bytes
    columns: int
    rows: int
    width: int  # pixels, of one frame
    height: int


def replay(task: str, seed: int, actions: Sequence[int], captions: Sequence[str] = ()) -> Film:
    """Play an episode again and keep its frames.

    MiniGrid lightens what the agent sees now; fog lies on the cells that it has never seen.

    Args:
        task: a name that `get_task` knows.
        seed: of the episode.
        actions: indices into the task's actions, from the episode's start.
        captions: at most one a frame; the actions' names where there are none. The last frame,
            for which there is usually none, is captioned with the outcome.

    Raises:
        TaskError: no such task.
        FilmError: an action is none of the task's, or the episode ended before the last of them.
    """
    the_task = get_task(task)
    names = the_task.action_names
    for step, action in enumerate(actions):
        if not 0 <= action < len(names):
            raise FilmError(f"action {action} at step {step} is none of {task}'s {len(names)}")
    env: Any = the_task.make_env(render_mode="rgb_array")
    try:
        observation, _ = env.reset(seed=seed)
        frames = [the_task.draw(np.asarray(env.render()), observation)]
        total_return, terminated, truncated = 0.0, False, False
        for step, action in enumerate(actions):
            if terminated or truncated:
                raise FilmError(
                    f"the episode with seed {seed} of {task} ended after {step} steps, but there "
                    f"are {len(actions)} actions; were they recorded with another version?"
                )
            observation, reward, terminated, truncated, _ = env.step(action)
            total_return += float(reward)
            frames.append(the_task.draw(np.asarray(env.render()), observation))
    finally:
        env.close()
    outcome = "time limit" if truncated else "unfinished"
    if terminated:
        succeeded = the_task.is_success(np.array([True]), np.array([total_return]))[0]
        outcome = "success" if succeeded else "failure"
    labels = list(captions[: len(frames)]) or [names[action] for action in actions]
    labels += [""] * (len(frames) - len(labels))
    labels[-1] = labels[-1] or outcome
    return Film(np.stack(frames), tuple(labels), outcome, total_return)


def film_strip(film: Film, max_frames: int = 10) -> bytes:
    """Return a PNG of evenly chosen frames, the first and the last among them, with captions."""
    count = min(max_frames, len(film.frames))
    chosen = np.linspace(0, film.steps, count).round().astype(int)  # (count,)
    columns = min(PER_ROW, count)
    rows = -(-count // columns)
    title, text = ImageFont.load_default(22), ImageFont.load_default(22)
    lines = [_wrap(film.captions[i], text, TILE) for i in chosen]
    cell = TILE + LINE * (1 + max(map(len, lines))) + 12  # pixels high: frame, step number, caption
    size = (columns * (TILE + GAP) + GAP, rows * (cell + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, frame in enumerate(chosen):
        left = GAP + place % columns * (TILE + GAP)
        top = GAP + place // columns * (cell + GAP)
        sheet.paste(_scaled(film.frames[frame], TILE), (left, top))
        draw.text((left, top + TILE + 6), f"step {frame}", FAINT, title)
        for number, line in enumerate(lines[place], start=1):
            draw.text((left, top + TILE + 6 + number * LINE), line, INK, text)
    return _encoded(sheet, "PNG", optimize=True)


def sprite_sheet(film: Film, max_bytes: int = 600_000, max_pixels: int = 10_000_000) -> SpriteSheet:
    """Return all frames in one PNG, smaller ones if they would not fit.

    ``max_pixels`` is for the sake of phones, which hold the picture unpacked.

    Raises:
        FilmError: it does not fit even at its smallest.
    """
    columns = min(PER_SHEET_ROW, len(film.frames))
    rows = -(-len(film.frames) // columns)
    for pixels in (320, 240, 160, 120, 80):
        if columns * rows * pixels**2 > max_pixels:
            continue
        frames = [_scaled(frame, pixels) for frame in film.frames]
        width, height = frames[0].size
        sheet = Image.new("RGB", (columns * width, rows * height), PAPER)
        for i, frame in enumerate(frames):
            sheet.paste(frame, (i % columns * width, i // columns * height))
        content = _encoded(sheet.quantize(64), "PNG", optimize=True)
        if len(content) <= max_bytes:
            return SpriteSheet(content, columns, rows, width, height)
    raise FilmError(f"{film.steps} steps do not fit into {max_bytes:,} bytes")


def _scaled(frame: NDArray[np.uint8], pixels: int) -> Image.Image:
    image = Image.fromarray(frame)
    height = max(1, round(image.height * pixels / image.width))
    return image.resize((pixels, height), Image.Resampling.BOX)


def _encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a caption into lines no wider than ``width`` pixels; at most three."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= 3 else [*lines[:2], lines[2] + " …"]
