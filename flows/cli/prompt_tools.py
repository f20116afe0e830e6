"""`llm4teach prompts`: templates, what a model gets to see of them, and what changed."""

from __future__ import annotations

import difflib
from pathlib import Path

from llm4teach.flows.cli.terminal import print_table
from llm4teach.flows.runtime.settings import ConfigError
from llm4teach.teacher_labeling.elicitation.parsing import list_options
from llm4teach.teacher_labeling.elicitation.prompts import (
    PromptTemplate,
    parse_template,
    template_files,
)
from llm4teach.teacher_labeling.probe_states import probe_states
from llm4teach.teacher_labeling.teacher import TeacherError

GOLDEN = Path("tests/teacher_labeling/golden")


def list_prompts() -> None:
    """Print every template with its version and the first line of its comment."""
    rows = []
    for name, file in template_files().items():
        text = file.read_text("utf-8")
        template = parse_template(text, name)
        family, _, use = name.partition(".")
        rows.append(
            {
                "family": family,
                "prompt": use,
                "version": template.version,
                "examples": len(template.examples),
                "what it is for": text.partition("\n[")[0].strip().splitlines()[0],
            }
        )
    print_table(rows)


def show_prompt(name: str) -> None:
    """Print a template as a model gets it, filled in with a known state."""
    text = _read(name)
    print(render(parse_template(text, name), family_of(name)), end="")


def diff_prompts(first: str, second: str) -> bool:
    """Print how two templates differ, with their versions; return whether they do.

    Either may be a name or a file of your own.
    """
    texts = [_read(name) for name in (first, second)]
    versions = [parse_template(t, n).version for t, n in zip(texts, (first, second), strict=True)]
    labels = [f"{n} ({v})" for n, v in zip((first, second), versions, strict=True)]
    before, after = (text.splitlines(keepends=True) for text in texts)
    print("".join(difflib.unified_diff(before, after, labels[0], labels[1])), end="")
    if versions[0] == versions[1]:
        print(f"both are prompt_version {versions[0]}: advice is shared")
    return versions[0] != versions[1]


def check_prompts(folder: Path, update: bool) -> None:
    """Hold every template's rendering against its golden text, or write the latter anew.

    Raises:
        ConfigError: there is no such folder; or some differ, and each difference has been printed.
    """
    changed = []
    if update:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder} of golden texts here; go to the repository, or name "
            "yours with --golden (llm4teach prompts test --update writes it)"
        )
    for name, file in template_files().items():
        golden = folder / f"{name}.txt"
        now = render(parse_template(file.read_text("utf-8"), name), family_of(name))
        before = golden.read_text("utf-8") if golden.exists() else ""
        if now == before:
            continue
        changed.append(name)
        if update:
            golden.write_text(now, "utf-8")
            continue
        lines = (before.splitlines(keepends=True), now.splitlines(keepends=True))
        print("".join(difflib.unified_diff(*lines, f"golden {name}", f"now {name}")), end="")
    if changed and not update:
        raise ConfigError(
            f"{len(changed)} prompt(s) differ from {folder}: {', '.join(changed)}. A changed "
            "prompt asks every state anew; if that is meant: llm4teach prompts test --update"
        )
    print(f"{len(template_files())} prompts, {len(changed)} written" if update else "all as golden")


def render(template: PromptTemplate, family: str) -> str:
    """Write a template's version and its messages for the second of the family's known states."""
    state = probe_states(family)[1]
    messages = template.messages(state.text, options=list_options(state.options))
    body = "".join(f"[{m['role']}]\n{m['content']}\n" for m in messages)
    return f"prompt_version {template.version}\n{body}"


def family_of(name: str) -> str:
    """Return the task family in a template's name, or in that of a file."""
    return Path(name).name.partition(".")[0]


def _read(name: str) -> str:
    files = template_files()
    if name in files:
        return files[name].read_text("utf-8")
    if Path(name).is_file():
        return Path(name).read_text("utf-8")
    close = difflib.get_close_matches(name, list(files), n=3, cutoff=0.3)
    hint = f"did you mean {', '.join(close)}?" if close else "see `llm4teach prompts list`"
    raise TeacherError(f"there is no prompt and no file {name!r}; {hint}")
