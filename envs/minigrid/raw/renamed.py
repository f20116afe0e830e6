"""Raw tasks whose text gives the colors other names, so that fewer texts have to be labeled.

Rooms that differ only in which color is which share a text. It calls the colors by a permutation
that is a function of that text: if the mission's color were always called "red", a teacher that
just prefers red would look wise. A permutation drawn for each episode would do the same and
multiply the texts again. The student sees the real colors, and plans are translated back for it.

A table of returns, which needs no LLM, gains from this more than a teacher does: rooms that share a
text share their returns as well.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache

from minigrid.core.constants import COLOR_NAMES

from llm4teach.envs.grid.options import Decision
from llm4teach.envs.minigrid.raw.scene import RawScene
from llm4teach.envs.minigrid.raw.state import Facts, facts_of, text_of
from llm4teach.envs.plan import Plan, parse_plan

_COLOR = re.compile(rf"\b(?:{'|'.join(COLOR_NAMES)})\b")
_PERMUTATIONS = tuple(itertools.permutations(sorted(COLOR_NAMES)))


class RenamedScene(RawScene):
    """A `RawScene` with other names for the colors in its text and its plans."""

    @cached_property
    def _facts(self) -> Facts:
        return facts_of(self)

    @cached_property
    def _colors_by_name(self) -> Mapping[str, str]:
        return {name: color for color, name in color_names(self._facts).items()}

    def shown(self) -> Facts:
        """Return the facts of this scene's text."""
        return renamed(self._facts, color_names(self._facts))

    def decide(self, plan: Plan) -> Decision:
        """What a plan in the text's colors does here; see `RawScene.decide`."""
        return super().decide(parse_plan(_reworded(str(plan), self._colors_by_name)))


@lru_cache(maxsize=1 << 16)
def color_names(facts: Facts) -> Mapping[str, str]:
    """Return the name of each color, the same for facts that differ only in their colors."""
    mentioned = dict.fromkeys(_COLOR.findall(facts.mission))
    others = [color for color in COLOR_NAMES if color not in mentioned]  # in the same order always
    order = [*mentioned, *sorted(others, key=lambda color: _role(facts, color))]
    numbered = renamed(facts, {color: str(i) for i, color in enumerate(order)})
    digest = hashlib.sha256(text_of(numbered).encode()).digest()
    names = _PERMUTATIONS[int.from_bytes(digest, "big") % len(_PERMUTATIONS)]
    return dict(zip(order, names, strict=True))


def renamed(facts: Facts, names: Mapping[str, str]) -> Facts:
    """Return the facts with other names for the colors; what was seen is sorted by them."""
    things = (thing._replace(name=_reworded(thing.name, names)) for thing in facts.things)
    return Facts(
        tuple(sorted(things)),
        facts.is_unexplored,
        _reworded(facts.held, names),
        _reworded(facts.mission, names),
        tuple(_reworded(clause, names) for clause in facts.fulfilled),
    )


def _role(facts: Facts, color: str) -> tuple[str, ...]:
    """Where a color appears; colors that the mission does not name differ by this alone."""
    words = [facts.held, *(" ".join(map(str, thing)) for thing in facts.things)]
    return tuple(sorted(_COLOR.sub("", each) for each in words if color in _COLOR.findall(each)))


def _reworded(words: str, names: Mapping[str, str]) -> str:
    return _COLOR.sub(lambda color: names[color[0]], words)
