"""Habitat workers: processes in habitat-lab's own interpreter, asked over pipes, and used again."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from llm4teach.envs.habitat.worker import protocol
from llm4teach.envs.habitat.worker.protocol import Message, ProtocolError
from llm4teach.errors import TaskError

PYTHON = "LLM4TEACH_HABITAT_PYTHON"  # names the interpreter
SIM_PYTHON = "LLM4TEACH_HABITAT_SIM_PYTHON"  # names one with habitat-sim, if that is another
START_S, ANSWER_S = 180.0, 120.0  # time limits; importing habitat-lab takes seconds
# A simulator loads a scene when it starts, and in a reset; without a GPU ReplicaCAD takes a minute.
SCENE_S = 600.0
ON_HABITAT_SIM = ("apartments", "rearrange")  # simulators, each alone in its process
_END_S = 5.0
_QUIET = {"MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet", "GLOG_minloglevel": "2"}
_ROOT = Path(__file__).resolve().parents[2]
_WORKER = Path(__file__).resolve().parent / "worker"


class WorkerGoneError(RuntimeError):
    """A worker died, does not answer, or sent something that is not a message."""


def habitat_python(habitat_sim: bool = False) -> Path:
    """Return the interpreter that has habitat-lab.

    Args:
        habitat_sim: the one named for habitat-sim, if there is such a name.

    Raises:
        TaskError: there is none.
    """
    variable = SIM_PYTHON if habitat_sim and os.environ.get(SIM_PYTHON) else PYTHON
    named = os.environ.get(variable)
    places = [Path.cwd() / ".venv-habitat/bin/python", _ROOT / ".venv-habitat/bin/python"]
    for place in [Path(named).expanduser()] if named else places:
        if place.is_file():
            return place
    where = f"{variable}={named} is no file" if named else f"there is none at {places[0]}"
    raise TaskError(
        f"Habitat's tasks run in an interpreter of their own, with habitat-lab, and {where}; "
        f"make one (make habitat-env), or say where it is: {variable}=/path/to/python"
    )


class HabitatWorker:
    """A worker with environments; the caller waits for each answer before the next request.

    Args:
        settings: what the environments are made of: ``simulator``, ``depth``, ``data_path``.
        answer_s: time limit of an answer, in seconds.

    Raises:
        TaskError: there is no interpreter, or it cannot make such environments; the message names
            the next step.
    """

    def __init__(self, settings: Mapping[str, Any], answer_s: float = ANSWER_S) -> None:
        self.settings, self.answer_s = dict(settings), answer_s
        self._on_habitat_sim = settings.get("simulator") in ON_HABITAT_SIM
        self.n_envs, self.observation_shape = 0, ()  # type: tuple[int, tuple[int, ...]]
        self.waiting = True  # for an answer
        self._unread = bytearray()  # came with what was read before
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        # Nothing of this environment belongs into the other: neither its packages nor its threads.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        self._process = subprocess.Popen(
            [str(habitat_python(self._on_habitat_sim)), str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**_QUIET, **environment, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            bufsize=0,
        )
        try:
            self.facts = self._receive(START_S, protocol.HELLO).json
        except WorkerGoneError as error:
            raise TaskError(
                f"the habitat worker does not start: {error}; renew its environment "
                "(rm -r .venv-habitat, then make habitat-env)"
            ) from None

    def prepare(self, n_envs: int) -> None:
        """Make environments until the worker has ``n_envs``.

        Raises:
            TaskError: they cannot be made.
        """
        if n_envs > self.n_envs:
            content = {**self.settings, "n_envs": n_envs}
            try:
                self.send(Message(protocol.MAKE, content))
                answer = self.receive(SCENE_S if self._on_habitat_sim else START_S)
            except WorkerGoneError as error:
                raise TaskError(f"the habitat worker makes no environments: {error}") from None
            self.observation_shape = tuple(answer.json["observation_shape"])
            self.n_envs = n_envs

    def send(self, message: Message) -> None:
        """Ask; `receive` gets the answer.

        Raises:
            WorkerGoneError: it is gone.
        """
        assert self._process.stdin is not None
        unsent = memoryview(protocol.pack(message))
        self.waiting = True
        try:
            while unsent:
                unsent = unsent[self._process.stdin.write(unsent) or 0 :]
        except OSError as error:
            raise WorkerGoneError(self._why(str(error))) from None

    def receive(self, limit_s: float | None = None) -> Message:
        """Wait for the answer.

        Raises:
            WorkerGoneError: there is none in time, or it is no answer.
            TaskError: the worker reports that it could not do what was asked.
        """
        return self._receive(limit_s or self.answer_s, protocol.DONE)

    def _receive(self, limit_s: float, kind: int) -> Message:
        deadline = time.monotonic() + limit_s
        try:
            message = protocol.read_message(lambda size: self._read(size, deadline, limit_s))
        except ProtocolError as error:
            raise WorkerGoneError(self._why(str(error))) from None
        self.waiting = False
        if message is None:
            raise WorkerGoneError(self._why("it ended"))
        if message.kind == protocol.FAILED:
            raise TaskError(f"the habitat worker reports: {message.json.get('error', 'no reason')}")
        if message.kind != kind:
            raise WorkerGoneError(f"an answer of kind {protocol.KINDS[message.kind - 1]}")
        return message

    def _read(self, size: int, deadline: float, limit_s: float) -> bytes:
        """Read ``size`` bytes, or fewer at the end of the stream."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while len(self._unread) < size:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise WorkerGoneError(self._why(f"no answer in {limit_s:g} s"))
            part = os.read(pipe, 1 << 20)
            if not part:
                break
            self._unread += part
        content = bytes(self._unread[:size])
        del self._unread[:size]
        return content

    def _why(self, what: str) -> str:
        """What happened, with the exit code and the last that the worker printed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        code = self._process.poll()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2_000))
        last = self._log.read().decode(errors="replace").strip().splitlines()[-3:]
        ended = "" if code is None else f" (exit code {code})"
        output = f"; its last output: {json.dumps(' / '.join(last))}" if last else ""
        return f"{what}{ended}{output}"

    @property
    def reset_s(self) -> float:
        """Time limit of a reset, in seconds."""
        return SCENE_S if self._on_habitat_sim else self.answer_s

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close(self, patience_s: float = _END_S) -> None:
        """End the worker; one that still works gets ``patience_s`` to exit on its own."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()  # which the worker takes for the end
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


MOST_IDLE, MOST_IDLE_SIMULATORS = 4, 64  # workers with many environments, and with one each
_idle: list[HabitatWorker] = []
_owner = os.getpid()
_lock = Lock()


def borrow(settings: Mapping[str, Any]) -> HabitatWorker:
    """Return an idle worker with these settings, or a new one.

    Raises:
        TaskError: there is none, and none can be started.
    """
    global _owner
    with _lock:
        if _owner != os.getpid():  # after a fork: these are the parent's
            _idle.clear()
            _owner = os.getpid()
        for worker in _idle:
            if worker.alive and worker.settings == dict(settings):
                _idle.remove(worker)
                return worker
    return HabitatWorker(settings)


def give_back(worker: HabitatWorker) -> None:
    """Keep the worker for the next `borrow`; end it if enough are idle."""
    one_each = worker.settings.get("simulator") in ON_HABITAT_SIM
    most = MOST_IDLE_SIMULATORS if one_each else MOST_IDLE
    with _lock:
        if worker.alive and not worker.waiting and len(_idle) < most:
            _idle.append(worker)
            return
    worker.close()


@atexit.register
def close_idle() -> None:
    """End the idle workers."""
    with _lock:
        workers = list(_idle) if _owner == os.getpid() else []
        _idle.clear()
    for worker in workers:
        worker.close()
