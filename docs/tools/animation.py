"""Draw the README's animation: a student plays a room beside its LLM's advice.

python docs/tools/animation.py docs/images/student.svg

trains the student of examples/demo.toml with recorded answers of Qwen2.5-Coder-1.5B (a minute, no
model weights), plays held-out episodes and draws the first one that is solved in 10 to 20 steps.
"""

from __future__ import annotations

import argparse
import base64
import textwrap
import tomllib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from svg import bars, picture, text

import llm4teach as lt
from llm4teach.analysis.reports.replay import replay
from llm4teach.api import settings_of
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State, describe
from llm4teach.flows.runtime.teacher_access import open_teacher
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.evaluation.replay import replay_episodes

ROOT = Path(__file__).resolve().parents[2]
TEACHER = "recorded/qwen2.5-coder-1.5b-go-to-door"
LLM = "Qwen2.5-Coder-1.5B"
WIDTH, HEIGHT, ROOM = 760, 360, 296  # pixels
SECONDS_PER_STEP, STEPS_AT_END = 0.7, 3
LENGTHS = range(10, 21)  # env steps of the episode to draw

MOTION = """
.step { visibility: hidden; animation: show SECONDSs step-end infinite; }
@keyframes show { 0% { visibility: visible; } SHARE% { visibility: hidden; } }
@media (prefers-reduced-motion: reduce) {
  .step { animation: none; }
  .step:nth-of-type(1) { visibility: visible; }
}
"""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="SVG file to write")
    parser.add_argument("--workspace", help="use the newest student here instead of training one")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        args.target.write_text(draw(args.workspace or trained(folder)), encoding="utf-8")
    print(f"{args.target}: {args.target.stat().st_size / 1000:.0f} kB")


def trained(workspace: str) -> str:
    """Train the demo's student with the recorded LLM."""
    config = tomllib.loads((ROOT / "examples" / "demo.toml").read_text())
    config["teacher"] = {"teacher": TEACHER}
    config["evaluate"] = {"episodes": 1, "teacher_episodes": 1}
    lt.teach(config.pop("task"), config.pop("teacher"), workspace, **config)
    return workspace


def draw(workspace: str, best: bool = True) -> str:
    """Return the animation of one held-out episode as SVG; ``best`` wants success and advice."""
    student = lt.load_student(workspace=workspace)
    task = get_task(student.facts["task"])
    played = evaluate_policy(task, student.probabilities, "greedy", EvaluateConfig(episodes=60), 0)
    settings = settings_of(task.name, TEACHER, workspace, {})
    teacher = open_teacher(settings.teacher, task.family)
    for episode in played:
        if not best or (episode["success"] and episode["length"] in LENGTHS):
            observations, _, _ = replay_episodes(task, [episode])  # (T, *observation_shape)
            states = describe(task, observations)
            advice = [_advised(given) for given in teacher.advise(states)]
            if all(advice) or not best:
                break
    else:
        raise SystemExit("no episode of the wanted length has advice at every step")
    film = replay(task.name, episode["seed"], list(episode["actions"]))
    actions = [task.action_names[action] for action in episode["actions"]]
    probabilities = student.probabilities(observations).max(1)  # (T,)
    steps = [
        _step(*shown)
        for shown in zip(film.frames, states, advice, actions, probabilities, strict=False)
    ]
    end = _step(film.frames[-1], states[-1], advice[-1], "", 0.0)
    return _svg(
        [*steps, *[end] * STEPS_AT_END], f"a student solves {task.name} in {film.steps} steps"
    )


def _advised(advice: Any) -> list[tuple[str, float]]:
    return sorted(((str(plan), p) for plan, p in advice.plans), key=lambda plan: -plan[1])[:4]


def _step(
    frame: Any, state: State, advice: Sequence[tuple[str, float]], action: str, p: float
) -> str:
    left, did = ROOM + 52, f"{action} ({p:.0%})" if action else "arrived"
    lines = textwrap.wrap(state.text, 54)
    return "".join(
        [
            _image(frame),
            text(left, 46, "The state as the LLM reads it", "title"),
            *(text(left, 68 + 20 * i, words) for i, words in enumerate(lines)),
            text(left, 172, f"The advice of {LLM}", "title"),
            bars(left, 196, advice),
            text(left, 300, f"The student: {did}", "title"),
            text(left, 322, "A small policy trained on such advice. It plays alone.", "faint"),
        ]
    )


def _image(frame: Any) -> str:
    png = BytesIO()
    Image.fromarray(frame).resize((ROOM, ROOM)).quantize(64).save(png, "PNG", optimize=True)
    data = base64.b64encode(png.getvalue()).decode()
    place = f'x="24" y="32" width="{ROOM}" height="{ROOM}"'
    return f'<image {place} href="data:image/png;base64,{data}"/>'


def _svg(steps: Sequence[str], title: str) -> str:
    seconds = len(steps) * SECONDS_PER_STEP
    motion = MOTION.replace("SECONDS", f"{seconds:.1f}").replace("SHARE", f"{100 / len(steps):.3f}")
    groups = [
        f'<g class="step" style="animation-delay:{i * SECONDS_PER_STEP:.1f}s">{step}</g>'
        for i, step in enumerate(steps)
    ]
    return picture(WIDTH, HEIGHT, title, *groups, style=motion)


if __name__ == "__main__":
    main()
