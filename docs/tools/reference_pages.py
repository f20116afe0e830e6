"""Reference pages that are made from the code: commands, settings and schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.cli.parser import Argument, command_parser
from llm4teach.flows.runtime.settings import ENV_PREFIX, Settings, flag_name, is_section


def cli_page() -> str:
    """Every command with its own arguments, the settings that it uses, and examples."""
    parts = ["# Commands", "Every command also has `--help`."]
    for name, kind in COMMANDS.items():
        usage = command_parser(kind).usage
        parts += [f"## {name}", (kind.__doc__ or "").strip(), f"```text\n{usage}\n```"]
        rows = []
        for field_name, field in kind.model_fields.items():
            given = next((m for m in field.metadata if isinstance(m, Argument)), Argument())
            flag = given.flags[0] if given.flags else flag_name((field_name,))
            shown = f"`{field_name.upper()}`" if given.is_positional else f"`{flag}`"
            rows.append((shown, field.description or given.metavar, _default(field)))
        if rows:
            parts.append(_table(("argument", "meaning", "default"), rows))
        if kind.uses:
            used = [f"[`{use}`](settings.md#{use.split('.')[0]})" for use in kind.uses]
            parts.append(f"Settings: {', '.join(used)}.")
        parts.append("```bash\n" + "\n".join(kind.examples) + "\n```")
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Every setting with its flag, type, default and meaning."""
    general, parts = [], []
    for name, field in Settings.model_fields.items():
        section: Any = field.annotation
        if not is_section(section):
            general.append((name, field))
            continue
        parts += [f"## {name}", (section.__doc__ or "").strip()]
        parts.append(_settings((name,), section.model_fields.items()))
    heading = (
        "# Settings\n\nA setting comes from its flag, then from the environment "
        f"(`{ENV_PREFIX}FINETUNE__STEPS=0`), then from a TOML file (`llm4teach.toml` or `--config "
        "FILE`), then from its default. In a TOML file a section is a table and a name has `_`."
    )
    anchors = "".join(f'<a id="{name}"></a>' for name, _ in general)
    first = ["## General", anchors, _settings((), general)]
    return "\n\n".join([heading, *first, *parts]) + "\n"


def schemas_page() -> str:
    """Every table's columns with types, units and meanings."""
    parts = [
        "# Schemas",
        "The tables of a workspace, which are also the views of `llm4teach sql`. All files are "
        "Parquet; the schema's version and the units are in their metadata.",
    ]
    tables = [schema.trajectories((3, 3, 3))]
    tables += [value for value in vars(schema).values() if isinstance(value, pa.Schema)]
    for table in tables:
        rows = []
        for field in table:
            kind = "binary" if pa.types.is_fixed_size_binary(field.type) else str(field.type)
            unit, text = (field.metadata[key].decode() for key in (b"unit", b"description"))
            rows.append((f"`{field.name}`", f"`{kind}`", unit, text))
        version = table.metadata[b"schema_version"].decode()
        parts += [f"## {table.metadata[b'table'].decode()}", f"Version {version}."]
        parts.append(_table(("column", "type", "unit", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _settings(path: tuple[str, ...], fields: Iterable[tuple[str, Any]]) -> str:
    rows = [
        (f"`{flag_name((*path, n))}`", _kind(f.annotation), f.description or "", _default(f))
        for n, f in fields
    ]
    return _table(("flag", "type", "meaning", "default"), rows)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None or value in ("", [], {}, ()) else f"`{value}`"


def _kind(annotation: Any) -> str:
    members = [m for m in get_args(annotation) if m is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{member}`" for member in members)
    if members and type(None) in get_args(annotation):
        return _kind(members[0])
    return str(getattr(annotation, "__name__", annotation))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
