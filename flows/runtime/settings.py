"""Settings: their models, and where they come from: flags, environment, TOML file, defaults."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from llm4teach.errors import ConfigError
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    RetrainConfig,
    StudentConfig,
    ValidationConfig,
)
from llm4teach.teacher_labeling.config import (
    SECRET_IN_VALUE,
    LabelConfig,
    LiveConfig,
    TeacherConfig,
)

ENV_PREFIX, ENV_DELIMITER = "LLM4TEACH_", "__"
DEFAULT_FILE = Path("llm4teach.toml")
OTHER_VARIABLES = (  # with our prefix, and no settings
    "LLM4TEACH_API_KEY",
    "LLM4TEACH_CACHE",
    "LLM4TEACH_DEBUG",
    "LLM4TEACH_HABITAT_DATA",
    "LLM4TEACH_HABITAT_PYTHON",
    "LLM4TEACH_HABITAT_SIM_PYTHON",
    "LLM4TEACH_HABITAT_WORKERS",
    "LLM4TEACH_PATH",
    "LLM4TEACH_QUIET",
    "LLM4TEACH_TEMPORARY_SERVER",
    "LLM4TEACH_VLLM_VENV",
)
# Kubernetes tells pods about a service named llm4teach.
_KUBERNETES = re.compile(r"LLM4TEACH_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
Model = TypeVar("Model", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PatienceConfig(_Section):
    """Retries and time limits per stage; a retried stage resumes from what is stored."""

    retries: int = Field(
        3,
        ge=0,
        description="retries of a stage while the teacher's server does not answer; errors that "
        "need a human are not retried",
    )
    pause_s: float = Field(60.0, ge=0, description="seconds before each retry")
    collect_s: float = Field(
        0, ge=0, description="time limit of each attempt at collecting, seconds; 0: none"
    )
    label_s: float = Field(0, ge=0, description="time limit of labeling, seconds; 0: none")
    pretrain_s: float = Field(0, ge=0, description="time limit of pretraining, seconds; 0: none")
    finetune_s: float = Field(0, ge=0, description="time limit of fine-tuning, seconds; 0: none")
    evaluate_s: float = Field(0, ge=0, description="time limit of evaluation, seconds; 0: none")

    def limit_s(self, stage: str) -> float | None:
        """Time limit of one attempt at a stage, in seconds; None if there is none."""
        limit: float = getattr(self, f"{stage}_s", 0)
        return limit or None


class ScaleConfig(_Section):
    """How collection and labeling are sharded; what they store depends on the shards alone."""

    runner: Literal["none", "threads", "processes", "dask", "ray"] = Field(
        "none", description="what runs the shards"
    )
    workers: int = Field(2, ge=1, description="shards at a time, on this machine")
    address: str = Field("", description="existing cluster: tcp://host:8786, ray://host:10001")
    shards: int = Field(8, ge=1, description="parts of the work; each is done or retried alone")


class ServiceConfig(_Section):
    """Schedules and triggers of the deployments; empty ones start nothing."""

    retrain_cron: str = Field("", description='when to retrain, such as "0 3 * * 0"')
    retrain_every_s: float = Field(0, ge=0, description="or: seconds between retrainings")
    retrain_rrule: str = Field("", description='or: iCalendar, such as "FREQ=DAILY;BYHOUR=3"')
    check_cron: str = Field("", description="when to evaluate the champion again (drift check)")
    timezone: str = Field("UTC", description="time zone of the schedules")
    relabel_above: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of unseen states above which label-states starts; 1: off",
    )
    revive_after_s: float = Field(
        0, ge=0, description="restart a run without a heartbeat for so many seconds; 0: off"
    )
    revive_times: int = Field(
        5, ge=1, description="restarts of a run that crashes, with revive_after_s"
    )
    teacher_runs: int = Field(1, ge=1, description="flow runs that may ask one teacher at a time")

    @model_validator(mode="after")
    def _one_schedule(self) -> ServiceConfig:
        schedules = [self.retrain_cron, self.retrain_every_s, self.retrain_rrule]
        if sum(map(bool, schedules)) > 1:
            raise ValueError(
                "give one of retrain_cron, retrain_every_s and retrain_rrule, not several"
            )
        if self.revive_after_s and self.revive_after_s < 90:
            raise ValueError(
                "revive_after_s has to be 90 or more: the heartbeat comes every 30 seconds, and a "
                "run that is only slow must not be started twice"
            )
        return self


class Settings(BaseModel):
    """All settings of a run; sections are named like the pipeline's stages.

    There is no field for an API key: those stay in the environment and reach no file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    task: str = Field("SimpleDoorKey", description="environment, see `llm4teach tasks`")
    workspace: str = Field("workspace", description="folder or s3:// URL of all datasets and runs")
    seed: int = Field(0, ge=0, description="random seed")
    teacher: TeacherConfig = TeacherConfig()
    label: LabelConfig = LabelConfig()
    live: LiveConfig = LiveConfig()
    student: StudentConfig = StudentConfig()
    collect: CollectConfig = CollectConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    retrain: RetrainConfig = RetrainConfig()
    validation: ValidationConfig = ValidationConfig()
    service: ServiceConfig = ServiceConfig()
    scale: ScaleConfig = ScaleConfig()
    patience: PatienceConfig = PatienceConfig()


def load_settings(
    flags: Mapping[str, Any], file: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Resolve the settings.

    Args:
        flags: the fields given on the command line, nested as in the model.
        file: TOML; without it, `DEFAULT_FILE` if there is one in the current folder.
        defaults: replace the models' own defaults.

    Raises:
        ConfigError: a source is missing or broken, or a value is not allowed; the message names
            the source and says what is allowed.
    """
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    sources: dict[str, dict[str, Any]] = {
        "flags": canonical(flags),
        "environment": canonical(_read_environment()),
        str(file): canonical(_read_toml(file)) if file else {},
    }
    values: Mapping[str, Any] = canonical(defaults or {})
    for source in reversed(sources.values()):
        values = merge(values, source)
    return validate(Settings, values, sources)


def validate(
    model: type[Model], values: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]
) -> Model:
    """Validate nested values.

    Raises:
        ConfigError: a value is not allowed; the message names its source.
    """
    try:
        return model.model_validate(values, by_alias=True, by_name=True)
    except ValidationError as error:
        problems = [_explain(model, dict(problem), sources) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from None


def flag_name(path: Sequence[str]) -> str:
    """Return the command-line flag of a field, such as ``--finetune.kl-coef``."""
    if len(path) == 2 and path[0] == path[1]:  # --teacher stands for teacher.teacher
        path = path[:1]
    return "--" + ".".join(path).replace("_", "-")


def aliases(field: FieldInfo) -> list[str]:
    """Return a field's names of earlier versions, and its own if it has been renamed."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)]


def canonical(values: Mapping[str, Any], model: type[BaseModel] = Settings) -> dict[str, Any]:
    """Return nested values under the fields' present names, so that sources can be merged.

    Raises:
        ConfigError: two names of one field are given.
    """
    names = {alias: name for name, f in model.model_fields.items() for alias in aliases(f)}
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        name = names.get(key, key)
        if name in renamed:
            raise ConfigError(f"{key} is an earlier name of a setting that is given twice: {name}")
        field = model.model_fields.get(name)
        if field and is_section(field.annotation) and isinstance(value, Mapping):
            value = canonical(value, field.annotation)
        renamed[name] = value
    return renamed


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings: those of ``high``, and of ``low`` where there are none."""
    merged = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            value = merge(merged[key], value)
        merged[key] = value
    return merged


def is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a field of this type holds fields of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors put a mark before it
    except FileNotFoundError:
        raise ConfigError(f"configuration file {file} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None


def _read_environment() -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource, SettingsError  # slow; --help needs it not

    _reject_unknown_variables()
    try:
        source = EnvSettingsSource(
            Settings,  # type: ignore[arg-type]  # of the class it reads no more than the fields
            env_prefix=ENV_PREFIX,
            env_nested_delimiter=ENV_DELIMITER,
        )
        return source()
    except SettingsError:
        sections = [n for n, f in Settings.model_fields.items() if is_section(f.annotation)]
        variables = [ENV_PREFIX + name.upper() for name in sorted(sections)]
        name = next((name for name in variables if name in os.environ), ENV_PREFIX + "…")
        raise ConfigError(
            f"environment variable {name} is not a JSON object; a single field of a section is "
            f"set with {name}{ENV_DELIMITER}<FIELD>"
        ) from None


def _reject_unknown_variables() -> None:
    """Raise for a variable with our prefix that nothing reads; `validate` does within sections."""
    sections = {n for n, f in _variables(Settings).items() if is_section(f.annotation)}
    for name in sorted(os.environ):
        variable = name.upper()  # either case is read
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_VARIABLES:
            continue
        first, *more = variable.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)
        is_known = first in sections or (first in _variables(Settings) and not more)
        if is_known or _KUBERNETES.fullmatch(variable):
            continue
        known = [other.removeprefix(ENV_PREFIX) for other in OTHER_VARIABLES]
        for other, field in _variables(Settings).items():
            known.append(other)
            if is_section(field.annotation):
                known += [other + ENV_DELIMITER + inner for inner in _variables(field.annotation)]
        close = difflib.get_close_matches(variable.removeprefix(ENV_PREFIX), known, n=1)
        rest = f"a section's field is set with {ENV_PREFIX}<SECTION>{ENV_DELIMITER}<FIELD>"
        rest = f"did you mean {ENV_PREFIX}{close[0]}?" if close else rest
        raise ConfigError(f"environment variable {name} is not a setting; {rest}")


def _variables(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that variables have, earlier ones included."""
    fields = model.model_fields.items()
    return {name.upper(): field for own, field in fields for name in (own, *aliases(field))}


def _explain(
    model: type[BaseModel], problem: dict[str, Any], sources: Mapping[str, Mapping[str, Any]]
) -> str:
    """One validation problem in the words of the source that the value came from."""
    path = [str(part) for part in problem["loc"]]
    origin = next((name for name, values in sources.items() if _contains(values, path)), "")
    if origin == "flags":
        where = flag_name(path)
    elif origin == "environment":
        where = "environment variable " + ENV_PREFIX + ENV_DELIMITER.join(path).upper()
    else:
        where = f"{origin}: {'.'.join(path)}"
    if problem["type"] == "extra_forbidden":
        fields = list(_fields(model, path[:-1]))
        hint = did_you_mean(path[-1].replace("-", "_"), fields)
        return f"{where} is unknown; {hint or 'known are: ' + ', '.join(fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    is_whole_section = isinstance(problem["input"], Mapping)  # the message says it all
    if is_whole_section or problem["type"] == SECRET_IN_VALUE:
        return f"{where}: {message}"
    if problem["type"] == "literal_error":
        hint = did_you_mean(str(problem["input"]), re.findall(r"'([^']*)'", message))
        message += f"; {hint}" if hint else ""
    return f"{where} is {problem['input']!r}: {message}"


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return "did you mean …?" with the most similar choice, or "" if none is similar."""
    close = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _contains(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _fields(model: type[BaseModel], section: Sequence[str]) -> Iterator[str]:
    for part in section:
        annotation = model.model_fields[part].annotation
        if not is_section(annotation):
            return
        model = annotation
    yield from model.model_fields
