"""From a method's name to an elicitation, with the settings that concern it."""

from __future__ import annotations

from llm4teach.envs.task import verbs_of
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Elicitation
from llm4teach.teacher_labeling.elicitation.judgments import SampledJudgments, ScoredJudgments
from llm4teach.teacher_labeling.elicitation.option_logprobs import OptionLogprobs
from llm4teach.teacher_labeling.elicitation.prompts import load_template
from llm4teach.teacher_labeling.elicitation.sampling import Sampling
from llm4teach.teacher_labeling.elicitation.verbalized import Verbalized
from llm4teach.teacher_labeling.questions import JUDGMENTS

PLAN_LOGPROBS = "plan-logprobs"  # the embedded engine's own: it scores whole plans


def make_elicitation(config: TeacherConfig, family: str) -> Elicitation:
    """Make the elicitation that the settings describe, for the tasks of one family.

    Raises:
        TeacherError: there is no prompt for it, or a setting does not go with the method.
    """
    method = config.method or "sampling"
    if method == PLAN_LOGPROBS:
        raise TeacherError(
            f"the method {method} is the embedded engine's; with {config.teacher} choose one of "
            "sampling, verbalized, logprobs, judgments"
        )
    template = load_template(family, config.prompt or method)
    if method == JUDGMENTS and config.scores:
        return ScoredJudgments(template, config.min_coverage)
    if method in ("verbalized", "logprobs") and not template.lists_options:
        raise TeacherError(
            f"the prompt {config.prompt!r} does not list the $options, which {method} needs; "
            f"leave prompt out, or choose another"
        )
    if method == "logprobs":
        temperature = 1.0 if config.temperature is None else config.temperature
        if temperature <= 0:
            raise TeacherError("with the method logprobs, temperature must be above 0; 1 is usual")
        return OptionLogprobs(
            template, config.permutations, temperature, config.calibrate, config.min_coverage
        )
    kinds: dict[str, type[Sampling | Verbalized | SampledJudgments]] = {
        "sampling": Sampling,
        "verbalized": Verbalized,
        JUDGMENTS: SampledJudgments,
    }
    usual = 0.0 if method == "verbalized" else 1.0
    temperature = usual if config.temperature is None else config.temperature
    return kinds[method](
        template,
        config.n_samples,
        temperature,
        config.seed,
        config.max_tokens,
        config.min_coverage,
        verbs_of(family),
    )
