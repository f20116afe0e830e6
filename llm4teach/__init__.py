"""LLM4Teach: an LLM labels each distinct state once, and a small RL policy learns from its advice.

    import llm4teach as lt

    result = lt.teach("SimpleDoorKey", teacher="none", workspace="ws", finetune={"steps": 8192})
    student = lt.load_student(result["run_id"], "ws")
    print(lt.advice("ws"))

`python -m llm4teach` runs the command line. Importing this package imports nothing else; what it
offers is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm4teach.api import StudentPolicy as StudentPolicy
    from llm4teach.api import TeacherPolicy as TeacherPolicy
    from llm4teach.api import advice as advice
    from llm4teach.api import collect as collect
    from llm4teach.api import evaluate as evaluate
    from llm4teach.api import export_trajectories as export_trajectories
    from llm4teach.api import label as label
    from llm4teach.api import load_student as load_student
    from llm4teach.api import make_env as make_env
    from llm4teach.api import query as query
    from llm4teach.api import teach as teach
    from llm4teach.envs.custom.base import BaseTask as BaseTask
    from llm4teach.envs.custom.gym_task import GymTask as GymTask
    from llm4teach.student.check_task import check_task as check_task
    from llm4teach.teacher_labeling.backends.function import FunctionTeacher as FunctionTeacher
    from llm4teach.teacher_labeling.factory import Backend as Backend
    from llm4teach.teacher_labeling.teacher import Advice as Advice
    from llm4teach.teacher_labeling.teacher import Teacher as Teacher
    from llm4teach.teacher_labeling.teacher import TeacherInfo as TeacherInfo
    from llm4teach.teacher_labeling.teacher import advice_from_weights as advice_from_weights

# Run from the repository's root, this folder hides an installed package, whose sub-packages are
# then found through the rest of sys.path.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

_API = "llm4teach.api"
_HOMES = {  # of the names that this package offers
    **dict.fromkeys(("TeacherPolicy", "StudentPolicy", "export_trajectories"), _API),
    **dict.fromkeys(("make_env", "evaluate"), _API),
    **dict.fromkeys(("teach", "collect", "label", "advice", "query", "load_student"), _API),
    "BaseTask": "llm4teach.envs.custom.base",
    "GymTask": "llm4teach.envs.custom.gym_task",
    "check_task": "llm4teach.student.check_task",
    "FunctionTeacher": "llm4teach.teacher_labeling.backends.function",
    "Backend": "llm4teach.teacher_labeling.factory",
    **dict.fromkeys(("Advice", "Teacher", "TeacherInfo"), "llm4teach.teacher_labeling.teacher"),
    "advice_from_weights": "llm4teach.teacher_labeling.teacher",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import what is asked for; the version, too: reading the metadata takes a while."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("llm4teach")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
