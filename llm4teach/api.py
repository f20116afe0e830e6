"""The Python API behind `import llm4teach as lt`; the command line does the same."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task, register_task
from llm4teach.envs.seeds import EpisodeSet
from llm4teach.envs.task import Task
from llm4teach.errors import TeacherError
from llm4teach.flows.launch import launch
from llm4teach.flows.runtime.settings import Settings, load_settings
from llm4teach.teacher_labeling.factory import questions_of, register_teacher, teacher_info
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.teacher import Teacher

if TYPE_CHECKING:
    import gymnasium as gym
    import pyarrow as pa
    from duckdb import DuckDBPyRelation

    from llm4teach.student.config import Mode
    from llm4teach.student.model.network import Student

TaskLike = str | Task
TeacherLike = str | Teacher | Mapping[str, Any]


def teach(
    task: TaskLike = "SimpleDoorKey",
    teacher: TeacherLike = "embedded",
    workspace: str = "workspace",
    **settings: Any,
) -> dict[str, Any]:
    """Run the whole pipeline: collect, label, pretrain, fine-tune, evaluate, report.

    Args:
        task: its name, or a task; an object has to have a name, by which this process finds it.
        teacher: its name, a teacher, or the settings of one, such as
            ``{"teacher": "openai", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}``.
        workspace: folder or URL of the results.
        settings: others, nested by section as in a TOML file: ``finetune={"steps": 8192}``.

    Returns:
        The results: ``run_id``, ``report`` (path of the page), ``table`` (success by policy), env
        steps, questions, tokens.

    Raises:
        LLM4TeachError: a setting is wrong, or a stage failed for a reason that people can fix.
    """
    resolved = settings_of(task, teacher, workspace, settings)
    return launch("teach", resolved, needs_server=True, quiet=True)


def collect(
    task: TaskLike = "SimpleDoorKey",
    teacher: TeacherLike = "embedded",
    workspace: str = "workspace",
    **settings: Any,
) -> dict[str, Any]:
    """Play episodes and store every step; see `teach` for arguments and errors."""
    return launch("collect_trajectories", settings_of(task, teacher, workspace, settings))


def label(
    task: TaskLike = "SimpleDoorKey",
    teacher: TeacherLike = "embedded",
    workspace: str = "workspace",
    **settings: Any,
) -> dict[str, Any]:
    """Ask the teacher once about every stored state without advice; see `teach`."""
    return launch("label_states", settings_of(task, teacher, workspace, settings))


def settings_of(
    task: TaskLike, teacher: TeacherLike, workspace: str, settings: Mapping[str, Any]
) -> Settings:
    """Return the resolved settings; environment variables count for what is not given.

    Raises:
        ConfigError: one is wrong.
        TaskError: the task object is no task.
        TeacherError: the teacher object is no teacher.
    """
    task_name = _task_name(task)
    given = dict(teacher) if isinstance(teacher, Mapping) else {"teacher": _teacher_name(teacher)}
    own = {"task": task_name, "workspace": workspace, "teacher": given}
    return load_settings({**settings, **own})


def _task_name(task: TaskLike) -> str:
    return task if isinstance(task, str) else register_task(task)


def _teacher_name(teacher: str | Teacher) -> str:
    return teacher if isinstance(teacher, str) else register_teacher(teacher)


def advice(workspace: str = "workspace") -> DuckDBPyRelation:
    """Return all advice in a workspace: a DuckDB relation, and ``.df()``, ``.pl()``, ``.arrow()``.

    Raises:
        DatasetError: there is no such workspace.
    """
    from llm4teach.analysis.sql.query import connect

    return connect(Workspace(workspace)).sql("SELECT * FROM advice")


def export_trajectories(
    target: str,
    task: TaskLike = "SimpleDoorKey",
    teacher: TeacherLike | None = "embedded",
    workspace: str = "workspace",
    **options: Any,
) -> Path:
    """Write a task's stored trajectories with advice as a new dataset; return its folder.

    Args:
        target: the folder to make, or with ``format="minari"`` the dataset's id.
        task: its name, or a task.
        teacher: whose stored advice; None for none.
        workspace: of the trajectories.
        options: of `llm4teach.flows.export_trajectories.Export`: ``format``, ``runs``,
            ``behaviors``, ``replay``, ``author``, ``author_email``, ``code_permalink`` and
            ``license``.

    Raises:
        LLM4TeachError: there are no such trajectories or advice, or the target exists already.
    """
    from llm4teach.flows.export_trajectories import Export
    from llm4teach.flows.export_trajectories import export_trajectories as export

    settings = settings_of(task, "none" if teacher is None else teacher, workspace, {})
    return export(target, settings, Export(advice=teacher is not None, **options))


def make_env(task: TaskLike, render_mode: str | None = None) -> gym.Env[NDArray[np.uint8], int]:
    """Return a new gymnasium environment of a task, for a trainer of your own.

    Its observations, uint8 (*observation_shape), are what `TeacherPolicy.teacher_probs` takes.
    Train on the seeds below 2^30: those from there on are the held-out episodes of `evaluate`.

    Args:
        task: its name, or a task.
        render_mode: as of `gymnasium.make`.

    Raises:
        TaskError: there is no such task.
    """
    return get_task(_task_name(task)).make_env(render_mode)


def evaluate(
    task: TaskLike,
    policy: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    episodes: int = 500,
    *,
    seeds: EpisodeSet = "test-2",
    mode: Mode = "sampled",
    seed: int = 0,
) -> dict[str, float]:
    """Play held-out episodes with any policy: the ones that `teach` evaluates its students on.

    Args:
        task: its name, or a task.
        policy: from observations, uint8 (N, *observation_shape), to action probabilities, float32
            (N, n_actions), such as `StudentPolicy.probabilities`.
        episodes: how many.
        seeds: those of final tables (test-2), those of earlier tables (test), or those to choose
            settings by (development).
        mode: draw from the probabilities, or take the likeliest action: always (``argmax``), or
            unless it has led back to the same observation (``greedy``).
        seed: random seed of the drawn actions.

    Returns:
        ``success_rate`` with ``success_low`` and ``success_high`` (Wilson's 95% interval),
        ``mean_return`` and ``mean_length`` (env steps).

    Raises:
        TaskError: there is no such task.
    """
    from llm4teach.analysis.statistics import wilson_interval
    from llm4teach.student.config import EvaluateConfig
    from llm4teach.student.evaluation.evaluate import evaluate_policy

    config = EvaluateConfig(episodes=episodes, seeds=seeds)
    played = evaluate_policy(get_task(_task_name(task)), policy, mode, config, seed)
    successes = sum(episode["success"] for episode in played)
    low, high = wilson_interval(successes, episodes)
    return {
        "success_rate": successes / episodes,
        "success_low": low,
        "success_high": high,
        "mean_return": float(np.mean([episode["return"] for episode in played])),
        "mean_length": float(np.mean([episode["length"] for episode in played])),
    }


def query(name: str, workspace: str = "workspace", **parameters: str) -> pa.Table:
    """Answer a named query (``llm4teach sql --list``) as an Arrow table.

    Raises:
        QueryError: there is no such query, or its parameters are wrong.
    """
    from llm4teach.analysis.sql.query import run_query

    return run_query(Workspace(workspace), name, parameters)


class TeacherPolicy:
    """Grounded advice for a trainer of your own: pi_T(a | s) for each observation.

    Answers are stored as they come, those of a teacher without a price in blocks: the last block
    when the policy is closed, by `close`, by a ``with`` statement or by the end of the program.

    Args:
        workspace: whose stored advice it gives.
        task: its name, or a task.
        teacher: whose advice, as in `teach`.
        ask: ask the teacher about states without advice, and store its answers.

    Raises:
        TeacherError: there is no such teacher.
    """

    def __init__(
        self,
        workspace: str,
        task: TaskLike,
        teacher: TeacherLike = "embedded",
        *,
        ask: bool = False,
    ) -> None:
        from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher

        settings = settings_of(task, teacher, workspace, {})
        self.task = get_task(settings.task)
        family = self.task.family
        self._teacher = open_teacher(settings.teacher, family) if ask else None
        info = self._teacher.info if self._teacher else teacher_info(settings.teacher, family)
        store = advice_of(info, Workspace(workspace), family)
        store.refresh()
        if not ask and not len(store):
            raise TeacherError(
                f"there is no advice of {info.teacher_id} on {family} in {workspace}; label some "
                "states first, or ask the teacher (ask=True)"
            )
        questions = questions_of(self.task, settings.teacher, info)
        self._live = LiveTeacher(self.task, store, self._teacher, questions=questions)
        self._closing = weakref.finalize(self, _close, self._live, self._teacher)

    def __enter__(self) -> TeacherPolicy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def teacher_probs(self, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return action probabilities, float32 (N, n_actions).

        A row of zeros says that there is no advice, or none of its plans can act.

        Args:
            observations: uint8 (N, *observation_shape), of the task's own environment.

        Raises:
            TeacherError: a state had to be asked about and the teacher cannot answer.
        """
        return self._live.teacher_probs(observations)

    def close(self) -> None:
        """Store what is not stored yet, and free the model or the connections."""
        self._closing()


def _close(live: LiveTeacher, teacher: Teacher | None) -> None:
    live.close()
    if teacher is not None:
        teacher.close()


class StudentPolicy:
    """A trained student; `load_student` makes it."""

    def __init__(self, student: Student, facts: Mapping[str, Any]) -> None:
        from llm4teach.student import policies

        self.facts = dict(facts)  # ``task``, ``run_id``, …
        self.observation_shape = student.observation_shape
        self._record_shape = student.record_shape
        self._policy = policies.StudentPolicy(student)

    def probabilities(self, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return action probabilities, (N, n_actions), of uint8 (N, *observation_shape)."""
        return self._policy(np.ascontiguousarray(observations))

    def act(self, observation: NDArray[np.uint8], rng: np.random.Generator | None = None) -> int:
        """Return the likeliest action, or with ``rng`` one drawn by probability.

        Args:
            observation: uint8 (*observation_shape).
            rng: draws the action.

        Raises:
            ValueError: the observation has another shape or type.
        """
        observation = np.asarray(observation)
        if observation.dtype != np.uint8 or observation.shape not in (
            self.observation_shape,
            self._record_shape,
        ):
            raise ValueError(
                f"an observation of {self.facts['task']} is uint8 {self.observation_shape}; this "
                f"is {observation.dtype} {observation.shape}"
            )
        probs = self.probabilities(observation[None])[0].astype(np.float64)  # (n_actions,)
        if rng is None:
            return int(probs.argmax())
        return int(rng.choice(len(probs), p=probs / probs.sum()))


def load_student(
    run: str | None = None, workspace: str = "workspace", *, task: Task | None = None
) -> StudentPolicy:
    """Load the student of a run; by default of the newest run that has one.

    Args:
        run: its id.
        workspace: folder or URL of the results.
        task: the student's, if it has an encoder of its own and cannot be imported by its name.

    Raises:
        DatasetError: there is none, its file is damaged, or the task's encoder is not found.
    """
    if task is not None:
        register_task(task)
    from llm4teach.errors import DatasetError
    from llm4teach.student.model.checkpoint import load_student as load

    place = Workspace(workspace)
    if run is None:
        having = (
            id_
            for id_ in reversed(place.run_ids(controls=False))
            if (place.run(id_) / CHECKPOINT).exists()
        )
        run = next(having, None)
        if run is None:
            raise DatasetError(f"no run in {place.root} has a student; make one: llm4teach teach")
    student, facts = load(place.existing_run(run) / CHECKPOINT)
    return StudentPolicy(student.eval(), facts)
