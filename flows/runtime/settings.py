"""Settings from flags, environment, a TOML file and defaults, in this order of precedence."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from llm4teach.errors import ConfigError as ConfigError
from llm4teach.flows.runtime.patience_config import PatienceConfig
from llm4teach.flows.runtime.scale_config import ScaleConfig
from llm4teach.flows.runtime.service_config import ServiceConfig
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    RetrainConfig,
    ValidationConfig,
)
from llm4teach.teacher_labeling.config import SECRET_IN_VALUE, TeacherConfig
from llm4teach.teacher_labeling.label_config import LabelConfig, LiveConfig

ENV_PREFIX, ENV_DELIMITER = "LLM4TEACH_", "__"
DEFAULT_FILE = Path("llm4teach.toml")


class Settings(BaseModel):
    """All that a run is told; sections are named like the pipeline's stages.

    There is no place for an API key: those stay in the environment and reach no file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    task: str = Field("SimpleDoorKey", description="environment, see `llm4teach tasks`")
    workspace: str = Field("workspace", description="folder of all datasets and runs")
    seed: int = Field(0, ge=0, description="of everything random")
    teacher: TeacherConfig = TeacherConfig()
    label: LabelConfig = LabelConfig()
    live: LiveConfig = LiveConfig()
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
        defaults: what is taken instead of the models' own defaults.

    Raises:
        ConfigError: a source is missing or broken, or a value is not allowed; the message says
            where it stands and what is allowed.
    """
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    stored = _read_toml(file) if file else {}
    environment = _read_environment()
    try:
        given = merge(merge(stored, environment), flags)
        return Settings.model_validate(merge(defaults or {}, given))
    except ValidationError as error:
        sources = {"flags": flags, "environment": environment, str(file): stored}
        problems = [_explain(dict(problem), sources) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from None


def flag_name(path: Sequence[str]) -> str:
    """Return the command-line flag of a field, such as ``--finetune.kl-coef``."""
    if len(path) == 2 and path[0] == path[1]:  # --teacher stands for teacher.teacher
        path = path[:1]
    return "--" + ".".join(path).replace("_", "-")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {file} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None


def _read_environment() -> dict[str, Any]:
    try:
        source = EnvSettingsSource(
            Settings,  # type: ignore[arg-type]  # of the class it reads no more than the fields
            env_prefix=ENV_PREFIX,
            env_nested_delimiter=ENV_DELIMITER,
        )
        return source()
    except SettingsError:
        sections = {n for n, f in Settings.model_fields.items() if _is_section(f.annotation)}
        given = {name for name in sections if ENV_PREFIX + name.upper() in os.environ}
        name = ENV_PREFIX + next(iter(sorted(given)), "…").upper()
        raise ConfigError(
            f"environment variable {name} is not a JSON object; a single field of a section is "
            f"set with {name}{ENV_DELIMITER}<FIELD>"
        ) from None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings: those of ``high``, and of ``low`` where there are none."""
    merged = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            value = merge(merged[key], value)
        merged[key] = value
    return merged


def _explain(problem: dict[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
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
        return f"{where} is unknown; {_alternatives(path)}"
    message = problem["msg"].removeprefix("Value error, ")
    is_section = isinstance(problem["input"], Mapping)  # as a whole: the message says it all
    if is_section or problem["type"] == SECRET_IN_VALUE:
        return f"{where}: {message}"
    return f"{where} is {problem['input']!r}: {message}"


def _contains(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _alternatives(path: Sequence[str]) -> str:
    *section, name = path
    known = list(_fields(section))
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"


def _fields(section: Sequence[str]) -> Iterator[str]:
    model: Any = Settings
    for part in section:
        model = model.model_fields[part].annotation
        if not _is_section(model):
            return
    yield from model.model_fields
