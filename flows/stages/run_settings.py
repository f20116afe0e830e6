"""The settings of a run: which are stored with it, and with which it resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm4teach.datasets.runs import CONFIG, MANIFEST, with_earlier_settings
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.runtime.settings import Settings, canonical, flag_name, merge, validate

_ALWAYS = ("task", "teacher", "seed")
_TEACH = ("label", "live", "student", "collect", "pretrain", "finetune", "evaluate")
SECTIONS = {  # by kind of run: the sections that it uses, and that are stored with it
    "collect": ("collect",),
    "label": ("label",),
    "pretrain": ("student", "pretrain"),
    "finetune": ("label", "live", "finetune"),
    "evaluate": ("evaluate",),
    "teach": _TEACH,
    "control": _TEACH,  # of a teach run
    "retrain": (*_TEACH, "retrain"),
}
_REMOVED = {"retrain": ("gate_lead",)}  # settings of earlier versions, by section
RESUMABLE = ("teach", "finetune", "retrain")  # kinds of runs whose commands have --resume


def present_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration by today's names, with what version 0.1 did not store."""
    kept = dict(with_earlier_settings(canonical(config)))
    for section, names in _REMOVED.items():
        if section in kept:
            kept[section] = {n: value for n, value in kept[section].items() if n not in names}
    return kept


def overridden(settings: Settings, overrides: Mapping[str, Any] | None) -> Settings:
    """Return the settings with some of them, nested by section, replaced.

    Raises:
        ConfigError: a value is not allowed.
    """
    if not overrides:
        return settings
    changes = canonical(overrides)
    return validate(Settings, merge(settings.model_dump(), changes), {"overrides": changes})


def stored_settings(settings: Settings, run_id: str) -> Settings:
    """Return the settings with all that the run was started with.

    Raises:
        DatasetError: there is no such run, or its configuration is damaged.
        ConfigError: a stored value is not allowed any more.
    """
    folder = Workspace(settings.workspace).existing_run(run_id)
    config = read_json(folder / CONFIG)["config"]
    names = {name for names in SECTIONS.values() for name in names} | {*_ALWAYS}
    stored = {name: value for name, value in present_config(config).items() if name in names}
    whole = {name: value for name, value in settings.model_dump().items() if name not in stored}
    return validate(Settings, whole | stored, {f"run {run_id}": stored})


def resumed_settings(settings: Settings, kind: str, run_id: str) -> Settings:
    """Return the settings with which an unfinished run of this kind resumes: its own.

    Raises:
        DatasetError: there is no such run, it is complete, or it is of another kind.
    """
    folder = Workspace(settings.workspace).existing_run(run_id)
    started = read_json(folder / CONFIG)
    if started["kind"] != kind:
        raise DatasetError(f"run {run_id} is no {kind} run; {_instead(started, run_id)}")
    if (folder / MANIFEST).exists():
        raise DatasetError(f"run {run_id} is complete; there is nothing to resume")
    return stored_settings(settings, run_id)


def _instead(started: Mapping[str, Any], run_id: str) -> str:
    kind = started["kind"]
    if kind in RESUMABLE:
        return f"resume it with `llm4teach {kind} --resume {run_id}`"
    if "method" in started["config"]:
        return "it is a trial: repeat `llm4teach compare` or `llm4teach experiment` to resume it"
    return f"runs of `llm4teach {kind}` do not resume: repeat that command"


def check_resumed(flags: Mapping[str, Any], stored: Settings, run_id: str) -> None:
    """Refuse flags that contradict the settings of a resumed run.

    Args:
        flags: the settings given on the command line, nested by section, as text or values.
        stored: the settings of the run.
        run_id: of the run, for the message.

    Raises:
        ConfigError: a flag differs from what is stored; the message names both values.
    """
    flags = canonical(flags)
    wanted = validate(Settings, merge(stored.model_dump(), flags), {"flags": flags})
    for path in _leaves(flags):
        new, old = _at(wanted, path), _at(stored, path)
        if new != old:
            raise ConfigError(
                f"{flag_name(path)} is {new}, but run {run_id} was started with {old}: a resumed "
                "run keeps its settings; leave the flag out, or start a new run"
            )


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and len(path) == 0:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _at(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value
