"""From a teacher's name to a teacher: the one place that knows all backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from llm4teach.envs.custom.loading import (
    TEACHERS,
    entry_points,
    is_from_elsewhere,
    load_from_elsewhere,
)
from llm4teach.envs.task import Task, verbs_of
from llm4teach.errors import TaskError, TeacherError
from llm4teach.teacher_labeling.backends.llama_cpp.weights import (
    DEFAULT_MODEL,
    MODELS,
    find_weights,
)
from llm4teach.teacher_labeling.backends.recorded import RecordedTeacher, recordings
from llm4teach.teacher_labeling.backends.uniform import OPEN_GOALS, UniformTeacher
from llm4teach.teacher_labeling.backends.wrappers import (
    ArgmaxTeacher,
    FaultyTeacher,
    changes_of,
    fault_of,
)
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.questions import Questions, questions_by
from llm4teach.teacher_labeling.teacher import Teacher, TeacherInfo

# From settings, task family, model (what follows the slash) and API key; None: no such model.
Make = Callable[[TeacherConfig, str, str, str], Teacher | None]


@dataclass(frozen=True)
class Backend:
    """One kind of teacher; its name is the key in `BACKENDS`, or that of its entry point."""

    make: Make  # without a request and without loading weights: those wait for a question
    description: str
    remote: bool = False  # a server answers
    priced: bool = False  # its tokens cost money: max_cost needs a price
    models: Callable[[], list[str]] = list  # names that may follow a slash; none: the backend alone
    check: Callable[[str], None] = lambda model: None  # raises if packages or weights are missing
    served: bool = False  # the model's name is a server's


@dataclass(frozen=True)
class TeacherChoice:
    """A line of the list of teachers."""

    spec: str
    description: str
    ready: bool  # can answer here and now, as far as is known without a network
    hint: str = ""  # what to do when it is not


def make_teacher(config: TeacherConfig, family: str, api_key: str = "") -> Teacher:
    """Make the teacher that the settings describe, for the tasks of one family.

    Nothing is opened: the connection, or the model's weights, wait for the first question
    (``advise`` or ``count_tokens``).

    Args:
        config: settings; a server's model must be set (see `resolve_model`).
        family: task family, which chooses the prompt or the recording.
        api_key: a server's; by default the one in the environment.

    Raises:
        TeacherError: there is no such teacher, it has no prompt or recording for the family, or a
            setting that its identity needs is missing.
    """
    model = config.teacher.partition("/")[2]
    backend = find_backend(config.teacher)
    teacher = backend.make(config, family, model, api_key) if backend else None
    if backend is None or teacher is None:
        raise _unknown(config.teacher)
    if (backend.remote, backend.priced) != (teacher.info.remote, teacher.info.is_priced):
        teacher.info = replace(
            teacher.info,
            remote=backend.remote or teacher.info.remote,
            priced=backend.priced or teacher.info.is_priced,
        )
    if config.hard:
        teacher = ArgmaxTeacher(teacher)
    fault = fault_of(config)
    return FaultyTeacher(teacher, fault, verbs_of(family)) if fault else teacher


def questions_of(task: Task, config: TeacherConfig, info: TeacherInfo) -> Questions:
    """Return the questions that a task's states take with a teacher.

    Args:
        task: names the facts that matter to each plan.
        config: the teacher's settings, for how answers are composed to advice.
        info: the teacher's identity, for how it is asked.
    """
    changes = changes_of(config, verbs_of(task.family))
    return questions_by(info.method, task, config.softmax_temperature, changes)


def teacher_info(config: TeacherConfig, family: str) -> TeacherInfo:
    """Return the teacher's identity; makes no request, loads no weights.

    Raises:
        TeacherError: as `make_teacher`, also where a server's model is not set.
    """
    return make_teacher(config, family).info


def resolve_model(config: TeacherConfig, api_key: str = "") -> TeacherConfig:
    """Return the settings with the model's name; asks a server for its only model if it is empty.

    One ``GET /models``; settings that name the model, and teachers that are no server, are returned
    unchanged and without any request.

    Raises:
        TeacherError: the server cannot be reached, or serves more or less than one model.
    """
    backend = find_backend(config.teacher)
    if config.model or backend is None or not backend.served:
        return config
    from llm4teach.teacher_labeling.backends.openai.teacher import only_model

    return config.model_copy(update={"model": only_model(config, api_key)})


def check_installed(config: TeacherConfig) -> None:
    """Check that what the teacher needs is on this machine, before a long run needs it.

    Raises:
        TeacherError: weights or a package are missing; the message names the command to get them.
    """
    backend = find_backend(config.teacher)
    if backend is None:
        raise _unknown(config.teacher)
    backend.check(config.teacher.partition("/")[2])


_registered: dict[str, Backend] = {}  # of this process


def register_teacher(teacher: Teacher) -> str:
    """Let this process find a teacher by the returned name, its ``teacher_id``.

    Raises:
        TeacherError: it is no teacher.
    """
    info = getattr(teacher, "info", None)
    if not hasattr(teacher, "advise") or not isinstance(info, TeacherInfo):
        raise TeacherError(f"{teacher!r} is no teacher: it has no advise(states) or no info")
    name = info.teacher_id
    _registered[name] = Backend(lambda config, family, model, api_key: teacher, name)
    return name


def find_backend(spec: str) -> Backend | None:
    """Return the kind of teacher that a name means; None if there is none.

    A name is one of `BACKENDS`, with or without a model after a slash, an entry point of the group
    ``llm4teach.teachers``, or ``module:attribute``. The latter two name a `Backend`, a teacher, or
    a function that makes one from the settings and the task family.

    Raises:
        TeacherError: it cannot be imported, or is none of these.
    """
    if spec in _registered:
        return _registered[spec]
    name = spec.partition("/")[0]
    if name in BACKENDS or not is_from_elsewhere(TEACHERS, spec):
        return BACKENDS.get(name)
    try:
        found = load_from_elsewhere(TEACHERS, spec)
    except TaskError as error:
        raise TeacherError(str(error)) from None
    if isinstance(found, Backend):
        return found
    if hasattr(found, "advise") and not isinstance(found, type):
        return Backend(lambda config, family, model, api_key: cast(Teacher, found), spec)
    if callable(found):
        return Backend(lambda config, family, model, api_key: _made(found, config, family), spec)
    raise TeacherError(f"{spec} is no teacher, but {found!r}; it has no advise(states)")


def _made(make: Callable[..., Any], config: TeacherConfig, family: str) -> Teacher:
    teacher = make(config, family)
    if not hasattr(teacher, "advise") or not hasattr(teacher, "info"):
        raise TeacherError(f"{config.teacher} made {teacher!r}, which has no advise or no info")
    return cast(Teacher, teacher)


def list_teachers() -> list[TeacherChoice]:
    """Return every teacher that can be named, and whether it is ready."""
    choices = []
    for name in entry_points(TEACHERS):
        choices.append(TeacherChoice(name, "of another package", ready=True))
    for name, backend in BACKENDS.items():
        for model in backend.models() or [""]:
            try:
                backend.check(model)
                hint = ""
            except TeacherError as error:
                hint = str(error)
            spec = f"{name}/{model}" if model else name
            default = ", the default" if spec == f"embedded/{DEFAULT_MODEL}" else ""
            choices.append(TeacherChoice(spec, backend.description + default, not hint, hint))
    return choices


def _unknown(teacher: str) -> TeacherError:
    names = ", ".join(choice.spec for choice in list_teachers())
    return TeacherError(
        f"there is no teacher {teacher!r}; choose one of {names}, or your own as module:attribute"
    )


# Native code and HTTP stacks are imported only when they are wanted.


def _embedded(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    model = model or DEFAULT_MODEL
    if model not in MODELS:
        return None
    from llm4teach.teacher_labeling.backends.llama_cpp.teacher import EmbeddedTeacher

    return EmbeddedTeacher(config, family, model)


def _check_weights(model: str) -> None:
    if (model or DEFAULT_MODEL) in MODELS:
        find_weights(MODELS[model or DEFAULT_MODEL])


def _recorded(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    recording = recordings().get(model) if model else config.recording
    return None if recording is None else RecordedTeacher(recording, family)


def _openai(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher

    return None if model else OpenAITeacher(config, family, api_key)


def _vllm(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    from llm4teach.teacher_labeling.backends.vllm import VLLMTeacher

    return VLLMTeacher(config, family, model or config.model)


def _check_vllm(model: str) -> None:
    from llm4teach.teacher_labeling.backends.vllm import check_vllm

    check_vllm()


def _expert(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    from llm4teach.envs.minigrid.raw.state import FAMILY as RAW_MINIGRID
    from llm4teach.teacher_labeling.backends.expert import ExpertTeacher
    from llm4teach.teacher_labeling.backends.mission_reader import MissionReader

    if model:
        return None
    return MissionReader() if family == RAW_MINIGRID else ExpertTeacher(family)


def _none(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher | None:
    if model == OPEN_GOALS:
        from llm4teach.teacher_labeling.backends.open_goals import OpenGoalsTeacher

        return OpenGoalsTeacher(family)
    return None if model else UniformTeacher()


BACKENDS: dict[str, Backend] = {
    "embedded": Backend(
        _embedded,
        "a small LLM in this process, on the CPU",
        models=lambda: list(MODELS),
        check=_check_weights,
    ),
    "recorded": Backend(
        _recorded, "answers on file, no LLM needed", models=lambda: sorted(recordings())
    ),
    "openai": Backend(
        _openai,
        "any OpenAI-compatible server, such as vLLM: give base_url and model",
        remote=True,
        priced=True,
        served=True,
    ),
    "vllm": Backend(
        _vllm,
        "vLLM in this process, for the largest jobs: give model, a name or a folder",
        check=_check_vllm,
    ),
    "expert": Backend(
        _expert, "hand-written rules for Crafter and raw MiniGrid tasks, no LLM: an upper bound"
    ),
    "none": Backend(
        _none,
        "uniform over the admissible plans, no LLM: the control; "
        f"none/{OPEN_GOALS}, in Crafter: over the options whose achievement is still open",
    ),
}
