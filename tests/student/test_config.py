"""The settings' earlier names stay valid for one release."""

import pytest
from pydantic import BaseModel, ValidationError

from llm4teach.student.config import CollectConfig, PretrainConfig


@pytest.mark.parametrize(
    ("model", "earlier", "present"),
    [
        (CollectConfig, "doubt", "plan_epsilon"),
        (CollectConfig, "noise", "action_epsilon"),
        (CollectConfig, "teacher_share", "teacher_fraction"),
        (PretrainConfig, "outcome_doubt", "advice_error_prior"),
        (PretrainConfig, "outcome_temperature", "reweight_temperature"),
    ],
)
def test_earlier_names(model: type[BaseModel], earlier: str, present: str) -> None:
    assert getattr(model(**{earlier: 0.75}), present) == 0.75
    assert getattr(model(**{present: 0.75}), present) == 0.75
    assert earlier not in model(**{earlier: 0.75}).model_dump()


def test_unknown_settings_are_still_refused() -> None:
    with pytest.raises(ValidationError):
        CollectConfig.model_validate({"epsilon": 0.1})
