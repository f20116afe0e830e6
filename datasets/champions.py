"""The registry: which student is the champion of a task, and everything that led to it.

A task's registry is a folder of numbered JSON files, one an event, which are only ever added. The
champion is whom the last promotion or rollback names. An event's file is made in one step that
fails if its number is taken, so of two that decide at once on what both have read only one can.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from llm4teach.datasets.storage.object_store import create
from llm4teach.datasets.storage.parquet import fsync, read_json
from llm4teach.datasets.storage.paths import StoragePath, names_in
from llm4teach.errors import DatasetError

_EVENT = re.compile(r"[0-9]+\.json")
Action = Literal["promote", "rollback", "reject"]


class RegistryConflictError(DatasetError):
    """Somebody else has decided in the meantime; the decision has to be made again."""


@dataclass(frozen=True)
class Event:
    """Who was made champion, or was refused, and on what grounds."""

    number: int  # counts from 1
    action: Action
    run_id: str  # promoted or brought back; or refused
    replaces: str | None  # the champion until then
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)  # figures, datasets, versions
    checkpoint_sha256: str = ""
    created_at: str = ""
    user: str = ""
    software: str = ""


class ChampionRegistry:
    """One task's events, in the folder ``registry/<task>`` of a workspace."""

    def __init__(self, folder: StoragePath) -> None:
        self.folder = folder

    def events(self) -> list[Event]:
        """All events, oldest first.

        Raises:
            DatasetError: one is damaged or missing.
        """
        names = sorted(name for name in names_in(self.folder) if _EVENT.fullmatch(name))
        events = []
        for number, path in enumerate((self.folder / name for name in names), start=1):
            try:
                event = Event(**read_json(path))
            except TypeError:
                raise DatasetError(f"{path} is no event of this release's registry") from None
            if event.number != number:
                raise DatasetError(f"{self.folder}: event {number} is missing; restore its file")
            events.append(event)
        return events

    def champion(self) -> Event | None:
        """The event that made the champion what it is; None if there is none yet."""
        return champion_of(self.events())

    def append(
        self,
        action: Action,
        run_id: str,
        seen: int,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        checkpoint: StoragePath | None = None,
    ) -> Event:
        """Add the event that follows the ``seen`` first ones.

        Args:
            action: what was decided.
            run_id: of whom.
            seen: how many events there were when it was decided.
            reason: in a sentence.
            evidence: figures and whatever else it rests on, as plain JSON.
            checkpoint: the student's file, whose hash is kept.

        Raises:
            RegistryConflictError: there are more by now.
            DatasetError: an event or the checkpoint cannot be read.
        """
        before = self.events()
        if len(before) > seen:
            raise RegistryConflictError(_conflict(before[seen]))
        champion = champion_of(before)
        event = Event(
            number=seen + 1,
            action=action,
            run_id=run_id,
            replaces=champion.run_id if champion else None,
            reason=reason,
            evidence=dict(evidence or {}),
            checkpoint_sha256=sha256_of(checkpoint) if checkpoint else "",
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            user=_user(),
            software=f"llm4teach {version('llm4teach')}",
        )
        content = json.dumps(asdict(event), indent=2, allow_nan=False) + "\n"
        if not _create(self.folder / f"{event.number:06d}.json", content.encode()):
            raise RegistryConflictError(_conflict(self.events()[seen]))
        return event


def _create(path: StoragePath, content: bytes) -> bool:
    """Make a file in one step, unless there is one of this name; say whether."""
    if not isinstance(path, Path):
        return create(path, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        temporary.write_bytes(content)
        fsync(temporary)
        os.link(temporary, path)
        fsync(path.parent)
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)


def previous_champion(events: list[Event]) -> Event | None:
    """Who was champion before the present one came; what a rollback goes back to.

    A rollback does not count as a promotion of its own: going back twice goes two champions back.
    """
    line: list[Event] = []
    for event in events:
        if event.action == "promote":
            line.append(event)
        elif event.action == "rollback":
            line.pop()
    return line[-2] if len(line) > 1 else None


def sha256_of(path: StoragePath) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def champion_of(events: list[Event]) -> Event | None:
    """The event that made the champion what it is after all these; None if there is none."""
    return next((e for e in reversed(events) if e.action in ("promote", "rollback")), None)


def _conflict(event: Event) -> str:
    return (
        f"somebody else decided first ({event.action} {event.run_id}, {event.created_at}); "
        "look at `llm4teach models show` and decide again"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid, as in some containers
        return f"uid {os.getuid()}"
