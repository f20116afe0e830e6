"""The settings: earlier names, and values that would do nothing."""

import pytest
from pydantic import BaseModel, ValidationError

from llm4teach.errors import ConfigError
from llm4teach.flows.stages.collect import check_steps
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


def test_a_collection_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"8 steps are fewer .* give 16 or more"):
        CollectConfig(steps=8)
    assert CollectConfig(steps=8, n_envs=8).steps == 8


@pytest.mark.parametrize(
    ("steps", "shards", "least"),
    [(15, 1, "at least 64"), (100, 8, "at least 128")],  # the first of 4 rounds; 8 shards
)
def test_rounds_and_shards_need_a_step_in_each_environment(
    steps: int, shards: int, least: str
) -> None:
    config = CollectConfig(steps=max(steps, 60) if shards == 1 else steps)
    with pytest.raises(ConfigError, match=least):
        check_steps(config, steps, shards)
    check_steps(config, 16 * shards, shards)
