"""Prompt templates: plain text files in, chat messages and a content hash out.

A template is one of the task's own, or ``prompts/<family>.<use>.txt``, or else
``prompts/standard/<use>.txt``, whose ``$about`` is what the task says about its world and its own
verbs. Lines
before the first section are comments, then ``[system]``, any number of ``[user]``/``[assistant]``
examples, and a last ``[user]``, the question, in which ``$state``, ``$sees`` and ``$holds`` stand
for the state and ``$options`` for the lettered list of what may be done in it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.abc import Traversable
from string import Template

from llm4teach.envs.task import Family
from llm4teach.errors import TeacherError

_SECTION = re.compile(r"^\[(system|user|assistant)\]$", re.MULTILINE)
_SCENE = re.compile(r"sees (?P<sees>[^\n]*?), holds (?P<holds>[^\n]*?)\.?$", re.MULTILINE)
_PLACES = {"state", "sees", "holds", "options"}

Message = dict[str, str]  # {"role": …, "content": …}


@dataclass(frozen=True)
class PromptTemplate:
    """A chat prompt with a place for the state; ``version`` is its content hash, 12 hex digits."""

    version: str
    system: str
    examples: tuple[tuple[str, str], ...]  # (user, assistant)
    question: str

    @cached_property
    def _places(self) -> frozenset[str]:
        return frozenset(Template(self.question).get_identifiers())

    @property
    def lists_options(self) -> bool:
        """Whether the question lists the options."""
        return "options" in self._places

    def messages(self, state_text: str, order: int = 0, options: str = "") -> list[Message]:
        """Return the chat for one state, its examples rotated by ``order``.

        The state is put in last and once, so that nothing in its text is read as a placeholder,
        a section or an example. Marks that end turns in most chat formats (``<|im_end|>``) are
        broken up in it: servers would obey them.
        """
        return [*self.preamble(order), {"role": "user", "content": self._ask(state_text, options)}]

    def preamble(self, order: int = 0) -> list[Message]:
        """Return what comes before the question, the same for every state."""
        cut = order % len(self.examples) if self.examples else 0
        return list(self._preambles[cut])

    @cached_property
    def _preambles(self) -> list[list[Message]]:
        """The preamble of each order; made once, for there may be millions of states."""
        preambles = []
        for cut in range(max(1, len(self.examples))):
            messages = [{"role": "system", "content": self.system}]
            for user, assistant in self.examples[cut:] + self.examples[:cut]:
                messages.append({"role": "user", "content": user})
                messages.append({"role": "assistant", "content": assistant})
            preambles.append(messages)
        return preambles

    def _ask(self, state_text: str, options: str) -> str:
        state_text = state_text.replace("<|", "< |")
        scene = _SCENE.search(state_text) if {"sees", "holds"} & self._places else None
        sees, holds = scene.group("sees", "holds") if scene else ("not said", "not said")
        return Template(self.question).substitute(
            state=state_text, sees=_plain(sees), holds=_plain(holds), options=options
        )


def load_template(family: str, use: str) -> PromptTemplate:
    """Return the template of a task family for one use: ``sampling``, ``embedded``, …

    Raises:
        TeacherError: there is none for this use, or it is no template.
    """
    if not isinstance(family, Family):
        return _template_in_package(family, use, "")
    if use in family.prompts:
        return parse_template(family.prompts[use], f"prompts[{use!r}] of {family}")
    if use not in _texts_in("standard") and f"{family}.{use}" not in template_files():
        uses = dict.fromkeys([*family.prompts, *_texts_in("standard")])
        raise TeacherError(
            f"prompts of the task family {family!s} has no {use!r}, only {', '.join(uses)}; add it "
            f"to the task, prompts={{{use!r}: …}}, or use another"
        )
    verbs = family.verbs.list_for_prompt() if family.verbs else ""
    return _template_in_package(str(family), use, f"{family.about.strip()}\n{verbs}".strip())


@cache
def _template_in_package(family: str, use: str, about: str) -> PromptTemplate:
    files, standard = template_files(), _texts_in("standard")
    if f"{family}.{use}" in files:
        return parse_template(files[f"{family}.{use}"].read_text("utf-8"), f"{family}.{use}")
    if use not in standard:
        uses = [name.partition(".")[2] for name in files if name.startswith(f"{family}.")]
        raise TeacherError(
            f"there is no {use} prompt for the task family {family!r}, only "
            f"{', '.join(uses or standard)}; add teacher_labeling/prompts/{family}.{use}.txt, or "
            "give the task its own prompts"
        )
    text = standard[use].read_text("utf-8").replace(" $about", f" {about.strip()}".rstrip())
    return parse_template(text, f"standard.{use}")


def template_files() -> dict[str, Traversable]:
    """Return the families' templates in the package, as ``<family>.<use>`` and file."""
    return _texts_in("")


def _texts_in(folder: str) -> dict[str, Traversable]:
    place = resources.files("llm4teach.teacher_labeling") / "prompts"
    files = sorted((place / folder if folder else place).iterdir(), key=lambda entry: entry.name)
    return {file.name.removesuffix(".txt"): file for file in files if file.name.endswith(".txt")}


def parse_template(text: str, name: str = "template") -> PromptTemplate:
    """Read a template.

    Raises:
        TeacherError: its sections are not system, (user, assistant)*, user, or its last one does
            not name ``$state``.
    """
    parts = [part.strip() for part in _SECTION.split(text)[1:]]
    roles, contents = parts[::2], parts[1::2]
    examples = (len(roles) - 2) // 2
    if roles != ["system", *["user", "assistant"] * examples, "user"]:
        raise TeacherError(
            f"the prompt {name!r} must have the sections [system], pairs of [user] and "
            f"[assistant], and a last [user], but has {roles}"
        )
    unknown = set(Template(contents[-1]).get_identifiers()) - _PLACES
    if unknown or "$state" not in contents[-1]:
        raise TeacherError(
            f"the last [user] section of the prompt {name!r} must name $state, and besides it "
            f"only $sees, $holds and $options; unknown: {sorted(unknown)}"
        )
    version = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    pairs = tuple(zip(contents[1:-1:2], contents[2:-1:2], strict=True))
    return PromptTemplate(version, contents[0], pairs, contents[-1])


def _plain(objects: str) -> str:
    return objects.replace("<", "").replace(">", "").strip() or "nothing"
