"""Conditional writes in an object store: create a name that is free, replace what is unchanged."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm4teach.errors import DatasetError

if TYPE_CHECKING:
    from upath import UPath

_REFUSED = ("PreconditionFailed", "ConditionalRequestConflict")  # HTTP 412 and 409
_memory_mutex = threading.Lock()  # a memory:// workspace has no other process
_tried: set[tuple[str, str]] = set()  # endpoint and bucket


def create(place: UPath, content: bytes) -> bool:
    """Store an object unless there is one of this name; say whether. One PUT: all or nothing.

    Raises:
        DatasetError: the store has no conditional writes.
    """
    return put(place, content, None)[0]


def put(place: UPath, content: bytes, etag: str | None) -> tuple[bool, str]:
    """Store an object if it still has this ETag; return whether, and the new ETag.

    Args:
        place: of the object.
        content: is stored whole or not at all.
        etag: None stores only where there is no object.

    Raises:
        DatasetError: the store has no conditional writes.
    """
    if place.protocol == "memory":
        return _put_in_memory(place, content, etag)
    require_conditional_writes(place)
    return _conditional_put(place, content, etag)


def _put_in_memory(place: UPath, content: bytes, etag: str | None) -> tuple[bool, str]:
    with _memory_mutex:
        stored = place.read_bytes().hex() if place.exists() else None
        if stored == etag:
            place.write_bytes(content)
        return stored == etag, content.hex()


def _conditional_put(place: UPath, content: bytes, etag: str | None) -> tuple[bool, str]:
    bucket, key, _ = place.fs.split_path(place.path)
    request = {"Bucket": bucket, "Key": key}
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    writer = {"writer": uuid.uuid4().hex}
    answer: dict[str, Any]
    try:
        with _connection_errors():
            answer = place.fs.call_s3(
                "put_object", **request, **condition, Body=content, Metadata=writer
            )
        return True, answer["ETag"]
    except OSError as error:
        if _code(error) not in _REFUSED and not isinstance(error, FileNotFoundError):
            raise
    try:  # it may be ours: s3fs repeats a request whose answer was lost
        with _connection_errors():
            answer = place.fs.call_s3("head_object", **request)
    except FileNotFoundError:
        return False, ""
    return answer["Metadata"] == writer, answer["ETag"]


@contextmanager
def _connection_errors() -> Iterator[None]:
    """What goes wrong on the way as an OSError: botocore's errors have no ancestor of their own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ConnectionError(f"object store: {type(error).__name__}: {error}") from error


def _code(error: OSError) -> str:
    """S3's name of what is wrong."""
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def get(place: UPath) -> tuple[bytes | None, str | None]:
    """Return content and ETag of an object, read together; None if there is none."""
    try:
        if place.protocol == "memory":
            content = place.read_bytes()
            return content, content.hex()
        from fsspec.asyn import sync  # type: ignore[import-untyped]  # 0.1 s

        with _connection_errors():
            download: tuple[bytes, str] = sync(place.fs.loop, _download, place)
            return download
    except FileNotFoundError:
        return None, None


async def _download(place: UPath) -> tuple[bytes, str]:
    bucket, key, _ = place.fs.split_path(place.path)
    answer = await place.fs._call_s3("get_object", Bucket=bucket, Key=key)
    return await answer["Body"].read(), answer["ETag"]


def require_conditional_writes(place: UPath) -> None:
    """Make sure, once a process, that the store honors conditions: some servers ignore them.

    Raises:
        DatasetError: it does not.
    """
    bucket = place.fs.split_path(place.path)[0]
    store = (str(place.fs.endpoint_url), bucket)
    if store in _tried:
        return
    trial = place.parent / f".conditions-{uuid.uuid4().hex}"
    try:
        honored = (
            _conditional_put(trial, b"1", None)[0]
            and not _conditional_put(trial, b"2", None)[0]
            and not _conditional_put(trial, b"3", '"00000000000000000000000000000000"')[0]
        )
    except OSError as error:
        if _code(error) not in ("NotImplemented", "InvalidArgument", "InvalidRequest"):
            raise
        honored = False
    finally:
        trial.unlink(missing_ok=True)
    if not honored:
        raise DatasetError(
            f"the object store of bucket {bucket!r} has no conditional writes (it ignores "
            "If-None-Match or If-Match on PUT), so that two processes could do the same work, and "
            "decide, twice; use a newer server, or a local folder"
        )
    _tried.add(store)
