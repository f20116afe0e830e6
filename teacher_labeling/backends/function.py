"""A Python function as a teacher: rules, a model of your own, or any service with a client."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.teacher import Advice, States, TeacherInfo, advice_from_weights

# From a state's text and the names of its options to an option, or the weights of several.
Advise = Callable[[str, tuple[str, ...]], str | Mapping[str, float]]


class FunctionTeacher:
    """Calls a function about each state, once.

    Args:
        function: returns the name of an option, or non-negative weights by name; an empty mapping
            says that it does not know.
        name: of the teacher, stored with its advice; by default the function's.
        revision: another one is another teacher, which is asked anew; by default a hash of the
            function's source.
        instant: the function takes no time and always says the same; then its answers are stored
            many at a time, and a killed run asks it again.
    """

    def __init__(
        self, function: Advise, name: str = "", revision: str = "", *, instant: bool = False
    ) -> None:
        self._function = function
        name = name or getattr(function, "__name__", type(function).__name__)
        revision = revision or _source_hash(function)
        self.info = TeacherInfo("function", name, revision, "function", instant=instant)

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield the function's advice on each state.

        Raises:
            TeacherError: the function failed, or returned what is none of the options.
        """
        for state in states:
            weights = self._weights(state, {str(plan): plan for plan in state.options})
            yield advice_from_weights(state, weights, n_samples=1)

    def close(self) -> None:
        """Free nothing."""

    def _weights(self, state: State, plans: Mapping[str, Plan]) -> dict[Plan, float]:
        try:
            said = self._function(state.text, tuple(plans))
        except Exception as error:  # code of the user, which may raise anything
            problem = f"failed on {state.text!r}: {type(error).__name__}: {error}"
            raise TeacherError(f"the teacher {self.info.model} {problem}") from error
        weights = {said: 1.0} if isinstance(said, str) else said
        unknown = [name for name in weights if name not in plans]
        negative = [name for name, weight in weights.items() if not 0 <= weight < float("inf")]
        if unknown or negative:
            raise TeacherError(
                f"the teacher {self.info.model} returned {said!r} on {state.text!r}; it must "
                f"return one of the options ({', '.join(plans)}), or weights of 0 or more"
            )
        return {plans[name]: float(weight) for name, weight in weights.items()}


def _source_hash(function: Advise) -> str:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # not written in a file, or an object
        return "1"
    return hashlib.sha256(source.encode()).hexdigest()[:8]
