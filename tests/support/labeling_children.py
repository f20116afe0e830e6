"""Labeling processes that are killed at random moments, or share their work.

    python labeling_children.py FOLDER N_STATES KILLS SEED [URL]

Forks children that label the same states with a counting teacher, or through the ``openai`` backend
with a counting server at URL, and kills each after a random time; what they asked is in
FOLDER/asked.log, a line ``pid key`` for each question, and who was killed in FOLDER/killed.log. At
the end one child is left alone to finish. Children that finish all the work end the killing early.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.paths import StoragePath, storage_path
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.labeling import writer
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo

IN_FLIGHT = 4
INFO = TeacherInfo("test", "counting", "1", "sampling")
PLAN = parse_plan("explore")


class LoggingTeacher:
    """Asks about a few states at a time, and writes down each before it does."""

    info = INFO

    def __init__(self, log: Path, delay_s: float) -> None:
        self._log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self._delay_s = delay_s

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        waiting = iter(states)
        while asked := list(islice(waiting, IN_FLIGHT)):
            lines = "".join(f"{os.getpid()} {state.key}\n" for state in asked)
            os.write(self._log, lines.encode())
            time.sleep(self._delay_s)
            for state in asked:
                said = (f"reply to {state.key}",)
                yield Advice(state, AdviceStatus.OK, ((PLAN, 1.0),), 1.0, 1, said, 10, 5)

    def close(self) -> None:
        os.close(self._log)


def made_up_states(count: int) -> list[State]:
    keys = [sha256(str(i).encode()).hexdigest()[:16] for i in range(count)]
    return [State(key, f"state {key}", (PLAN,)) for key in keys]


def in_few_partitions(count: int) -> list[State]:
    """States that share few partitions: for stores in which a lock takes many requests."""
    return [state for state in made_up_states(6 * count) if state.key < "3"][:count]


def store_in(folder: StoragePath, info: TeacherInfo = INFO) -> AdviceStore:
    return AdviceStore(folder / "advice", info.teacher_id, info.prompt_version)


def teacher_at(url: str) -> OpenAITeacher:
    """Asks a counting server, which knows this process by its API key."""
    os.environ["LLM4TEACH_API_KEY"] = f"pid-{os.getpid()}"  # unlike anything in a reply
    config = TeacherConfig(
        teacher="openai",
        base_url=url,
        model="counting",
        n_samples=1,
        max_in_flight=IN_FLIGHT,
        max_retries=0,
    )
    return OpenAITeacher(config, "SimpleDoorKey")


def label_through_server(
    place: str, url: str, states: Sequence[State], lease_s: float = 30, commit_s: float = 5
) -> None:
    """Label into a workspace's place, as a process of its own."""
    writer.COMMIT_EVERY_S = commit_s
    teacher = teacher_at(url)
    store = store_in(storage_path(place), teacher.info)
    label_states(teacher, store, states, limits=LabelConfig(lease_s=lease_s))


def label(folder: Path, store: AdviceStore, states: Sequence[State], delay_s: float) -> None:
    teacher = LoggingTeacher(folder / "asked.log", delay_s)
    label_states(teacher, store, states, limits=LabelConfig(lease_s=30))


def label_alone(folder: Path, states: Sequence[State], delay_s: float) -> None:
    label(folder, store_in(folder), states, delay_s)


def main() -> None:
    folder, n_states, kills, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    url = sys.argv[5] if len(sys.argv) > 5 else ""
    info = teacher_at(url).info if url else INFO
    rng, states, store = random.Random(seed), made_up_states(n_states), store_in(folder, info)
    usual, writer.COMMIT_EVERY_S = writer.COMMIT_EVERY_S, 0.01  # many kills hit a commit
    # Two ask for 0.06 s on average until one is killed: four fifths of the states at most.
    delay_s = 2 * 0.06 * IN_FLIGHT * kills / (0.8 * n_states)
    running: list[int] = []
    killed: list[int] = []
    is_finished = False
    while len(killed) < kills and not is_finished:
        store.refresh()  # children inherit what is known, so that they start at once
        while len(running) < 2:
            running.append(_child(folder, store, states, url, delay_s))
        _wait_for_a_question(folder / "asked.log", running)
        time.sleep(rng.uniform(0, 0.05 if url else 0.12))
        for pid in rng.sample(running, rng.choice((1, 2))):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            running.remove(pid)
            if os.WIFSIGNALED(status):
                killed.append(pid)
            else:
                assert os.WEXITSTATUS(status) == 0
                is_finished = True
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    (folder / "killed.log").write_text("\n".join(map(str, killed + running)))
    writer.COMMIT_EVERY_S = usual
    store.refresh()
    assert os.waitpid(_child(folder, store, states, url, delay_s=0.0), 0)[1] == 0


def _wait_for_a_question(log: Path, pids: Sequence[int]) -> None:
    """Wait until one is asked, or a child has nothing left to ask."""
    before = _size(log)
    while _size(log) == before:
        if any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in pids):
            return
        time.sleep(0.001)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _child(
    folder: Path, store: AdviceStore, states: Sequence[State], url: str, delay_s: float
) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            if url:
                limits = LabelConfig(lease_s=30)
                label_states(teacher_at(url), store, states, limits=limits)
            else:
                label(folder, store, states, delay_s)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return pid


if __name__ == "__main__":
    main()
