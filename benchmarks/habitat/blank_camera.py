"""Does a student need its depth image? Its success with it, with a blank one, with another's.

    llm4teach teach --task HabitatNavPickCamera --teacher recorded/handwritten-nav-pick
    python benchmarks/habitat/blank_camera.py --run RUN
    python benchmarks/habitat/blank_camera.py --run RUN --task HabitatNavPickCamera-sim --n-envs 4

The same held-out episodes are played three times. A blank image shows nothing within 5 m; another's
is that of an environment beside this one. The row below the image stays as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from llm4teach.analysis.statistics import wilson_interval
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.habitat.worker.layout import DEPTH_ROWS
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations
from llm4teach.flows.stages.checkpoints import CHECKPOINT, PRETRAINED, stored_student
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import StudentPolicy

IMAGE = slice(0, DEPTH_ROWS - 1)  # rows of an observation
FAR = 255


def own(observations: Observations) -> Observations:
    return observations


def blank(observations: Observations) -> Observations:
    changed = observations.copy()
    changed[:, IMAGE] = FAR
    return changed


def others(observations: Observations) -> Observations:
    changed = observations.copy()
    changed[:, IMAGE] = np.roll(observations[:, IMAGE], 1, axis=0)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--run", required=True, help="run whose student plays")
    parser.add_argument("--pretrained", action="store_true", help="before it was fine-tuned")
    parser.add_argument("--task", default="HabitatNavPickCamera")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--n-envs", type=int, default=32)
    given = parser.parse_args()
    task = get_task(given.task)
    name = PRETRAINED if given.pretrained else CHECKPOINT
    policy = StudentPolicy(stored_student(Workspace(given.workspace), task, given.run, name))
    config = EvaluateConfig(episodes=given.episodes, n_envs=given.n_envs)
    print("| image | success | 95% interval | collisions |\n| --- | ---: | ---: | ---: |")
    changes: list[Callable[[Observations], Observations]] = [own, blank, others]
    for change in changes:
        played = evaluate_policy(task, lambda seen, c=change: policy(c(seen)), "sampled", config, 0)
        won = sum(episode["success"] for episode in played)
        low, high = wilson_interval(won, len(played))
        collisions = np.mean([episode["measures"]["collisions"] for episode in played])
        print(
            f"| {change.__name__} | {won / len(played):.1%} | {low:.1%} to {high:.1%} "
            f"| {collisions:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
