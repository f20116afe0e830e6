"""The share of a teacher's answers that is valid advice, and the error where it is too small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.teacher import AdviceStatus

RETRY = "llm4teach label --retry-invalid"  # with the flags that name task, workspace and teacher
_QUOTED = 160  # characters of a reply: its end, where the answer belongs
_LOOKED_AT = 100  # invalid answers that are described


@dataclass(frozen=True)
class ValidShare:
    """How many of some questions have a valid answer, and how many one that is not."""

    valid: int
    invalid: int
    refused: int

    @property
    def judged(self) -> int:
        """Questions that the teacher was to answer; those about what it does not know are not."""
        return self.valid + self.invalid + self.refused

    @property
    def share(self) -> float:
        """Valid ones among those judged; 1 if there are none."""
        return self.valid / self.judged if self.judged else 1.0


def valid_share(store: AdviceStore, question_keys: Sequence[str]) -> ValidShare:
    """Count the stored answers to these questions by what they are worth."""
    store.refresh()
    statuses = [store.status(key) for key in dict.fromkeys(question_keys)]
    return ValidShare(
        statuses.count(AdviceStatus.OK),
        statuses.count(AdviceStatus.INVALID),
        statuses.count(AdviceStatus.REFUSED),
    )


def check_valid_share(
    store: AdviceStore, question_keys: Sequence[str], least: float, max_tokens: int
) -> ValidShare:
    """Return the share of valid answers to these questions, and stop if it is too small.

    Args:
        store: of one teacher's answers.
        question_keys: about the states to train on.
        least: the smallest share to train on.
        max_tokens: of a reply, for the message.

    Raises:
        TeacherError: the share is below ``least``; the message shows what is wrong with the
            replies, and what to do next.
    """
    found = valid_share(store, question_keys)
    if found.share < least:
        reasons = _reasons(store, question_keys, max_tokens)
        raise TeacherError(too_few_valid(found, store.teacher_id, least, reasons))
    return found


def too_few_valid(found: ValidShare, teacher_id: str, least: float, reasons: str = "") -> str:
    """Write the message that the share of valid advice is below ``least``."""
    return (
        f"only {found.valid} of {found.judged} questions ({found.share:.0%}) have a valid answer "
        f"by {teacher_id}, and teacher.min_valid_share is {least:.0%}: nothing is trained on it."
        f"{reasons} See the replies with `llm4teach teacher check --replies`, fix the server or "
        f"the teacher's settings, and run `{RETRY}`; or lower --teacher.min-valid-share"
    )


def _reasons(store: AdviceStore, question_keys: Sequence[str], max_tokens: int) -> str:
    without = [key for key in dict.fromkeys(question_keys) if store.is_invalid(key)][:_LOOKED_AT]
    columns = ["replies", "invalid_replies", "truncated_replies", "coverage", "min_coverage"]
    rows = list(store.lookup(without, columns).values())
    if not rows:
        return ""
    replies = sum(len(row["replies"] or ()) for row in rows)
    invalid = sum(row["invalid_replies"] or 0 for row in rows)
    truncated = sum(row["truncated_replies"] or 0 for row in rows)
    low = [row for row in rows if 0 < (row["coverage"] or 0.0) < (row["min_coverage"] or 0.0)]
    reasons = f" Of their {replies:,} replies {invalid:,} are invalid" if invalid else ""
    if truncated:
        reasons += f", and {truncated:,} reached max_tokens ({max_tokens})"
    reasons += "." if reasons else ""
    if low:
        coverage, floor = max(row["coverage"] for row in low), low[0]["min_coverage"]
        reasons += f" {len(low)} have a coverage below min_coverage: {coverage:.2g} < {floor:g}."
    first = next((reply for row in rows for reply in row["replies"] or ()), None)
    return reasons + (f" The first of them: {quoted(first)}." if first is not None else "")


def quoted(reply: str) -> str:
    """Return the end of a reply, for a message in one line."""
    if not reply.strip(" …\n"):
        return "an empty reply" + (", truncated before its answer" if reply else "")
    return repr(reply if len(reply) <= _QUOTED else f"[…] {reply[-_QUOTED:]}")
