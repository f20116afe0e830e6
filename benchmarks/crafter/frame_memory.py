"""Whether Crafter's student needs a memory: distilled students that differ in it alone.

    python benchmarks/crafter/frame_memory.py

Collects steps under the teacher `expert` with the default exploration and splits them by episode.
For each training seed, a student of one frame is distilled from the advice on the training episodes
(no reweighting by return). Each form of student starts from its weights, with a memory that it does
not use yet, and is distilled for as many updates again. It is compared with the advice on the
validation episodes, and plays development episodes alone, actions sampled.

Steps come in random order, as in pretraining; a GRU needs sequences, so the student without memory
learns from those, too. The achievements done are not in the pixels: a student that reads them shows
what a perfect memory of them would add.

A cell has the mean over training seeds, and in brackets the paired difference to the student of one
frame with its 95% bootstrap interval over episodes; for that student itself the mean's interval.
The GRU's difference is to the student of one frame that learns from sequences, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from asked_once import AskedOnce
from memory_students import FORMS, HIDDEN, Form, MemoryStudent, StudentPlay, grown, read
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from llm4teach.analysis.statistics import bootstrap_mean_interval
from llm4teach.datasets.trajectories import read_steps
from llm4teach.envs.crafter.vector import COUNT
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.student.config import CollectConfig, EvaluateConfig, PretrainConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.training.ppo import soft_cross_entropy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

LANES, LENGTH = 16, 16  # sequences of an update, and steps of each
BATCH = LANES * LENGTH
HELD_OUT = 0.2  # share of the episodes
MEASURES = {"KL, nats": 3, "agreement, %": 1, "achievements of 22": 2}  # and their digits

Episode = tuple[int, int]  # its first step, and the one after its last
Batch = tuple[Tensor, Tensor, Tensor]  # steps (T, B), which count (T, B), columns that start (B,)


class Steps(NamedTuple):
    """Collected steps, one episode after the other."""

    pixels: Tensor  # uint8 (N, 63, 63, 3)
    done: Tensor  # float32 (N, 22): achievements done before the step
    advice: Tensor  # float32 (N, 17); zeros where no plan can act
    firsts: Tensor  # int64 (N,): the first step of the step's episode

    def images(self, steps: Tensor, frames: int) -> Tensor:
        """The last frames, newest first, uint8 (*steps.shape, 63, 63, 3 frames).

        An episode's first frame stands for those before it.
        """
        back = torch.arange(frames)
        places = torch.maximum(steps[..., None] - back, self.firsts[steps][..., None])
        return self.pixels[places].movedim(-4, -2).flatten(-2)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=49_152, help="env steps to collect")
    parser.add_argument("--updates", type=int, default=800, help="gradient steps, in all")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each student")
    parser.add_argument("--episodes", type=int, default=64, help="that each student plays")
    parser.add_argument("--data-seed", type=int, default=0, help="of the collection and the split")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    task, results = get_task("Crafter"), {name: list[list[Any]]() for name in FORMS}
    play = EvaluateConfig(episodes=options.episodes, seeds="development")
    with Progress(console=Console(stderr=True)) as progress:
        steps = collected(task, options.steps, options.data_seed, progress)
        starts = steps.firsts.unique().tolist()
        episodes = list(zip(starts, [*starts[1:], len(steps.firsts)], strict=True))
        order = np.random.default_rng(options.data_seed).permutation(len(episodes))
        parts = np.split(order, [max(1, round(HELD_OUT * len(order)))])
        held_out, training = ([episodes[i] for i in part] for part in parts)
        sizes = [sum(end - start for start, end in part) for part in (training, held_out)]
        print(
            f"{len(training)} training episodes ({sizes[0]:,} steps), {len(held_out)} validation "
            f"episodes ({sizes[1]:,} steps), {options.updates:,} updates of {BATCH} steps, "
            f"{options.seeds} training seeds, {options.episodes} development episodes\n"
        )
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            common = MemoryStudent(Form())
            distill(common, steps, training, options.updates // 2, seed, progress)
            for name, form in FORMS.items():
                torch.manual_seed(seed)  # a student is the same whatever was trained before it
                student = grown(common, form)
                distill(student, steps, training, options.updates // 2, seed, progress)
                policy = StudentPlay(student, min(play.n_envs, play.episodes))
                played = evaluate_policy(task, policy, "sampled", play, seed)
                achievements = np.array([outcome["measures"][COUNT] for outcome in played])
                results[name].append([*against_advice(student, steps, held_out), achievements])
                means = ", ".join(f"{figure.mean():.3f}" for figure in results[name][-1])
                progress.print(f"seed {seed}, {name}: {means}", soft_wrap=True)
            print_table(results)


def collected(task: Task, n: int, seed: int, progress: Progress) -> Steps:
    """Steps under the teacher's plans with the default exploration, and the advice on each."""
    settings, rng = CollectConfig(), np.random.default_rng(seed)
    advice = AskedOnce(make_teacher(TeacherConfig(teacher="expert"), task.family))
    bar = progress.add_task("collect", total=n)
    with TemporaryDirectory() as folder:
        collector = Collector(
            task, Path(folder), "benchmark", n_envs=64, action_epsilon=settings.action_epsilon,
            seeds=training_seeds(seed, "frame_memory"), rng=rng,
        )  # fmt: skip
        behavior = OptionBehavior(task, advice, settings.plan_epsilon, rng)
        collector.collect(n, [(behavior, 1.0)], lambda count: progress.advance(bar, count))
        collector.close()
        stored = read_steps(Path(folder), task.observation_shape)
    keys, which = np.unique(stored.column("state_key"), return_inverse=True)
    probs = task.ground(stored.observations, [advice.answers[key] for key in keys], which)
    _, starts, of = np.unique(stored.column("episode_id"), return_index=True, return_inverse=True)
    rest = torch.from_numpy(probs), torch.from_numpy(starts[of])
    return Steps(*read(stored.observations), *rest)


def distill(
    student: MemoryStudent, steps: Steps, episodes: Sequence[Episode], n: int, seed: int,
    progress: Progress,
) -> None:  # fmt: skip
    """Minimize the soft cross-entropy to the advice, in place."""
    settings, form, rng = PretrainConfig(), student.form, np.random.default_rng(seed)
    rate = settings.learning_rate
    optimizer = torch.optim.AdamW(student.parameters(), rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=n)
    batches = sequences(episodes, rng) if form.sequences else shuffled(episodes, rng)
    hidden = torch.zeros(1, LANES if form.sequences else BATCH, HIDDEN)
    bar = progress.add_task("distill", total=n)
    for _, (places, counts, starting) in zip(range(n), batches, strict=False):
        hidden = torch.where(starting[:, None], 0, hidden.detach())
        images = steps.images(places, form.frames)
        logits, hidden = student(images, steps.done[places], hidden)
        losses = soft_cross_entropy(steps.advice[places], logits)  # (T, B)
        optimizer.zero_grad(set_to_none=True)
        losses[counts].mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress.advance(bar)


def shuffled(episodes: Sequence[Episode], rng: np.random.Generator) -> Iterator[Batch]:
    """Steps in random order, each as a sequence of one; every step once before any again."""
    steps = np.concatenate([np.arange(start, end) for start, end in episodes])
    order, all_ = np.empty(0, np.int64), torch.ones(BATCH, dtype=torch.bool)
    while True:
        while len(order) < BATCH:
            order = np.concatenate([order, rng.permutation(steps)])
        yield torch.from_numpy(order[None, :BATCH]), all_[None], all_
        order = order[BATCH:]


def sequences(episodes: Sequence[Episode], rng: np.random.Generator) -> Iterator[Batch]:
    """Episodes in random order, in lanes; each batch continues every lane where it stopped.

    A lane starts its next episode in a new batch, so an episode's last sequence is padded.
    """

    def pieces(queue: Iterator[Episode]) -> Iterator[tuple[int, int, bool]]:
        for start, end in queue:
            yield from ((t, end, t == start) for t in range(start, end, LENGTH))

    queue = (episodes[i] for _ in iter(int, 1) for i in rng.permutation(len(episodes)))  # endless
    for lanes in zip(*(pieces(queue) for _ in range(LANES)), strict=True):
        firsts, ends, starting = (torch.tensor(column) for column in zip(*lanes, strict=True))
        places = firsts + torch.arange(LENGTH)[:, None]  # (LENGTH, LANES)
        yield torch.minimum(places, ends - 1), places < ends, starting


@torch.no_grad()
def against_advice(
    student: MemoryStudent, steps: Steps, episodes: Sequence[Episode]
) -> NDArray[np.float64]:
    """Each episode's mean KL(advice || student) in nats and agreement in percent, (2, episodes).

    They agree where the student's likeliest action is one of the advice's likeliest.
    """
    figures = []
    for start, end in episodes:
        places = torch.arange(start, end)[:, None]  # (T, 1)
        images, hidden = steps.images(places, student.form.frames), torch.zeros(1, 1, HIDDEN)
        logits = student(images, steps.done[places], hidden)[0][:, 0]  # (T, n_actions)
        advice = steps.advice[start:end]
        kl = soft_cross_entropy(advice, logits) - torch.special.entr(advice).sum(1)
        chosen = advice.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        agrees = 100 * (chosen >= advice.amax(1) - 1e-6).float()
        advised = advice.sum(1) > 0
        figures.append((kl[advised].mean().item(), agrees[advised].mean().item()))
    return np.array(figures).T


def print_table(results: dict[str, list[list[NDArray[np.float64]]]]) -> None:
    """Print the table of ``results``: by student and training seed, an array of each measure."""
    print(f"| student | parameters | {' | '.join(MEASURES)} | by training seed |")
    print("| --- |" + " --- |" * (len(MEASURES) + 2))
    for name, figures in results.items():
        base = results["one frame, from sequences" if FORMS[name].recurrent else "one frame"]
        n_parameters = sum(p.numel() for p in MemoryStudent(FORMS[name]).parameters())
        cells = [name, f"{n_parameters:,}"]
        for k, digits in enumerate(MEASURES.values()):
            values, first = (np.mean([one[k] for one in x], axis=0) for x in (figures, base))
            change = values if figures is base else values - first  # (episodes,)
            low, high = bootstrap_mean_interval(change)
            shown = "" if figures is base else f"{change.mean():+.{digits}f} "
            shown += f"[{low:.{digits}f}, {high:.{digits}f}]"
            cells.append(f"{values.mean():.{digits}f} ({shown})")
        cells.append(", ".join(f"{one[-1].mean():.1f}" for one in figures))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
