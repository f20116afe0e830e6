"""The ``recorded`` teacher: distributions that a model gave earlier, read from a JSON file.

``recorded/vicuna-33b.json`` holds the figures that the authors of LLM4Teach published
(arXiv 2311.13373), so that the paper's teacher needs no model at all. `write_recording` makes such
a file of the answers that a store holds; of a teacher that was asked `judgments` it holds the log
odds of each question, of which advice is composed as the teacher's own is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm4teach.envs.plan import Plan, PlanSyntaxError, named_plan
from llm4teach.envs.task import State, verbs_of
from llm4teach.envs.verbs import read_plan
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.questions import JUDGMENTS, NO, YES, log_odds
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    States,
    TeacherInfo,
    advice_from_weights,
)

if TYPE_CHECKING:  # a teacher needs none of what the store imports
    from llm4teach.datasets.advice_store import AdviceStore

SUM_TOLERANCE = 0.02  # published shares are rounded to two places
PLACES = 4  # decimals of log odds and of the probabilities; smaller than `_LEAST` are left out
_LEAST = 1e-3
_SEEN = re.compile(r"(?<=sees )<.*?>(?=, holds )")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class RecordedReply(_Strict):
    """A plan, word for word as the model gave it, and the share of its replies that it was."""

    plan: str
    probability: Annotated[float, Field(ge=0, le=1)]


class RecordedState(_Strict):
    """A state's text and the model's replies to it."""

    state_text: str
    replies: list[RecordedReply]


class Recording(_Strict):
    """The file: whose answers these are, where they come from, and the answers by family.

    ``judgments`` holds by family and question text log P(yes) - log P(no), in nats (format 2).
    """

    format: Annotated[int, Field(ge=1, le=2)]
    source: str
    provenance: str
    model: str
    model_revision: str
    method: str
    families: dict[str, list[RecordedState]] = {}
    judgments: dict[str, dict[str, Annotated[float, Field(ge=-99, le=99)]]] = {}


class RecordedTeacher:
    """Answers from a recording; a state or question that is not in it gets no advice.

    Replies that are not plans of the grammar are kept as raw replies and left out of the
    coverage. Equal plans in other words (``open door with key``, ``open door``) are added up.

    Raises:
        TeacherError: the file is missing or not a recording, or does not know the family.
    """

    def __init__(self, recording: Path | Traversable, family: str) -> None:
        content = _read(recording)
        parsed = _parse(content, recording.name)
        known = parsed.judgments or parsed.families
        if family not in known:
            raise TeacherError(
                f"the recording {recording.name} has no task family {family!r}, only "
                f"{', '.join(sorted(known)) or 'none'}; choose another teacher"
            )
        self._verbs, self._log_odds = verbs_of(family), parsed.judgments.get(family, {})
        recorded = parsed.families.get(family, [])
        self._replies = {_scene(s.state_text): s.replies for s in recorded}
        self.info = TeacherInfo(
            backend="recorded",
            model=parsed.model,
            model_revision=parsed.model_revision,
            method=JUDGMENTS if parsed.judgments else "recorded",
            settings=f"sha256={hashlib.sha256(content).hexdigest()[:8]}",
            instant=True,
        )

    def advise(self, states: States) -> Iterable[Advice]:
        for state in states:
            yield self._advise(state)

    def close(self) -> None:
        """Nothing to free."""

    def _advise(self, state: State) -> Advice:
        if state.text in self._log_odds:
            p_yes = 1 / (1 + math.exp(-self._log_odds[state.text]))
            weights = {YES: p_yes, NO: 1 / (1 + math.exp(self._log_odds[state.text]))}
            return advice_from_weights(state, weights, replies=(f"Yes {p_yes:.6g}",))
        recorded = self._replies.get(_scene(state.text))
        if recorded is None:
            return Advice(state, AdviceStatus.NO_ADVICE)
        weights = dict[Plan, float]()
        for reply in recorded:
            try:
                plan = read_plan(reply.plan, self._verbs)
            except PlanSyntaxError:
                continue  # stays in ``replies`` below, and out of the coverage
            weights[plan] = weights.get(plan, 0.0) + reply.probability
        replies = tuple(f"{reply.probability:g} {reply.plan}" for reply in recorded)
        return advice_from_weights(state, weights, replies=replies)


def recordings() -> dict[str, Traversable]:
    """Return the recordings that come with the package, by name."""
    folder = resources.files("llm4teach.teacher_labeling") / "recorded"
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {entry.name.removesuffix(".json"): entry for entry in files}


def _read(recording: Path | Traversable) -> bytes:
    try:
        return recording.read_bytes()
    except OSError as error:
        raise TeacherError(
            f"the recording {recording} cannot be read ({error.strerror}); check its path"
        ) from error


def _parse(content: bytes, name: str) -> Recording:
    try:
        parsed = Recording.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        raise TeacherError(
            f"the recording {name} is not valid at {place}: {first['msg']} "
            f"(value {str(first['input'])[:80]!r}); correct the file"
        ) from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise TeacherError(f"the recording {name} is not JSON ({error}); correct it") from error
    for family, states in parsed.families.items():
        scenes = [_scene(state.state_text) for state in states]
        for state, scene in zip(states, scenes, strict=True):
            total = math.fsum(reply.probability for reply in state.replies)
            if abs(total - 1) > SUM_TOLERANCE + 1e-9 or scenes.count(scene) > 1:
                raise TeacherError(
                    f"the recording {name} must hold the state {state.state_text!r} of {family} "
                    f"once, with probabilities that sum to 1 (found {scenes.count(scene)} times, "
                    f"sum {total:.3f}); correct the file"
                )
    return parsed


def _scene(state_text: str) -> str:
    """Make two texts equal that name the same seen objects in another order."""
    return _SEEN.sub(lambda m: ", ".join(sorted(m.group().split(", "))), state_text)


def write_recording(
    path: Path,
    info: TeacherInfo,
    stores: Mapping[str, AdviceStore],
    regenerate: str,
    only: Collection[str] | None = None,
) -> int:
    """Write a teacher's answers about some task families; return how many there are.

    Args:
        path: of the JSON file; the folder ``recorded`` is where teachers are looked for by name.
        info: whose answers these are.
        stores: the teacher's advice by task family.
        regenerate: the command that asks anew, for the file's provenance.
        only: keys of the questions whose answers are wanted; by default all of them.

    Raises:
        TeacherError: a store has no advice.
    """
    families, dates = dict[str, Any](), []
    for family, store in stores.items():
        rows = [row for row in store.rows() if row["status"] == AdviceStatus.OK]
        rows = [row for row in rows if only is None or row["question_key"] in only]
        if not rows:
            raise TeacherError(f"there is no advice on {family} by {info.teacher_id} to record")
        dates += [row["created_at"].date().isoformat() for row in rows]
        rows.sort(key=lambda row: str(row["state_text"]))
        if info.method == JUDGMENTS:
            families[family] = {
                row["state_text"]: round(log_odds(_shares(row["options"])), PLACES) for row in rows
            }
        else:
            families[family] = [
                {"state_text": row["state_text"], "replies": _replies(row["options"])}
                for row in rows
            ]
    is_judged = info.method == JUDGMENTS
    what = "answers to yes/no questions" if is_judged else "distributions over the admissible plans"
    head = {
        "format": 2 if is_judged else 1,
        "source": f"{info.teacher_id}, asked by llm4teach",
        "provenance": f"The model's own {what}, rounded; prompt "
        f"version {info.prompt_version}, asked {min(dates)} to {max(dates)}. Regenerate with: "
        f"{regenerate}",
        "model": info.model,
        "model_revision": info.model_revision,
        "method": f"{info.method}, {info.settings}" if info.settings else info.method,
        "judgments" if is_judged else "families": families,
    }
    path.write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return sum(map(len, families.values()))


def _replies(options: list[dict[str, object]]) -> list[dict[str, object]]:
    likely = [o for o in options if float(str(o["probability"])) >= _LEAST]
    return [
        {"plan": o["plan"], "probability": round(float(str(o["probability"])), PLACES)}
        for o in likely
    ]


def _shares(options: list[dict[str, Any]]) -> dict[Plan, float]:
    return {named_plan(option["plan"]): float(option["probability"]) for option in options}
