"""Places: where a workspace's files are, a folder on a disk or a prefix in an object store.

A place on a disk is a `pathlib.Path`; one in an object store is a `upath.UPath`, which has the same
methods over fsspec. Object stores have no folders: making one does nothing, and one without files
is not there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from llm4teach.errors import DatasetError

if TYPE_CHECKING:
    from upath import UPath

StoragePath: TypeAlias = "Path | UPath"

_FOLDER = re.compile(r"[A-Za-z0-9_][\w=.:,-]*")  # names that we give to folders of a dataset
_MAX_SQLITE_FOLDER = 480  # bytes; leaves room for the file's name
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def storage_path(text: str | StoragePath) -> StoragePath:
    """Return the place that a path or URL (``s3://bucket/prefix``, ``file:///…``) names.

    ``memory://name`` is gone with its process; it is for trying things out.

    Raises:
        DatasetError: it cannot be a workspace, or the object store cannot be reached.
    """
    match = _URL.match(str(text))
    if match is None:
        return Path(str(text)).expanduser().resolve()
    scheme = match[1].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(str(text)).path)).resolve()
    if scheme not in ("s3", "memory"):
        raise DatasetError(
            f"workspace {scheme}://…: only folders and s3:// (any server that speaks its protocol, "
            "named by AWS_ENDPOINT_URL) can be workspaces; of other stores we know no conditional "
            "writes, without which two processes would ask, and decide, twice"
        )
    bucket, _, prefix = str(text)[match.end() :].rstrip("/").partition("/")
    if not re.fullmatch(r"[\w.-]+", bucket) or re.search(r"[?#*\[\]]|//", prefix):
        raise DatasetError(
            f"this is not a workspace's URL: give {scheme}://bucket/prefix, without credentials "
            "(they are read from the environment: AWS_ACCESS_KEY_ID, AWS_PROFILE, …) and options"
        )
    return _reached(f"{scheme}://{bucket}/{prefix}".rstrip("/"))


@lru_cache(maxsize=16)  # asked once a process: every stage opens its workspace anew
def _reached(url: str) -> UPath:
    from upath import UPath  # 0.2 s, so only where it is needed

    if url.startswith("memory:"):
        return UPath(url)
    try:
        place = UPath(url, use_listings_cache=False)  # others write, too
        bucket, key, _ = place.fs.split_path(place.path)
    except ImportError:
        raise DatasetError(f"{url} needs s3fs: pip install 'llm4teach[s3]'") from None
    try:
        place.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
    except FileNotFoundError:
        raise DatasetError(f"there is no bucket {bucket!r}; create it first") from None
    except Exception as error:  # botocore's errors have no common ancestor but this
        raise DatasetError(
            f"cannot reach {url} ({type(error).__name__}: {error}); look at AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE"
        ) from None
    return place


def names_in(folder: StoragePath) -> list[str]:
    """Names of what is right in a folder, quick for thousands; none if it is missing."""
    if isinstance(folder, Path):
        try:
            with os.scandir(folder) as entries:
                return [entry.name for entry in entries]
        except FileNotFoundError:
            return []
    return [name for name, _ in _listed(folder)]


def folder_names(folder: StoragePath) -> list[str]:
    """Names of our folders right in a folder, sorted; none if it is missing."""
    if isinstance(folder, Path):
        names = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    else:
        names = [name for name, kind in _listed(folder) if kind == "directory"]
    return sorted(filter(_is_ours, names))


def _listed(folder: UPath) -> list[tuple[str, str]]:
    try:
        entries: list[dict[str, Any]] = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return []
    return [(entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in entries]


def walk(folder: StoragePath) -> Iterator[tuple[StoragePath, list[str]]]:
    """Yield each folder at or below this one that has files, with their names, sorted.

    Links to folders are followed. Folders that other programs make are left out, such as a NAS's
    ``@eaDir``, ``.stversions`` and "run=… (1)", the copy of a conflict.
    """
    if isinstance(folder, Path):
        yield from sorted(_walk(folder, frozenset()))
        return
    names_in_each: dict[str, list[str]] = {}
    for path in folder.fs.find(folder.path):  # one listing for all
        below, _, name = path[len(folder.path) :].strip("/").rpartition("/")
        names_in_each.setdefault(below, []).append(name)
    for below, names in sorted(names_in_each.items()):
        if below and not all(map(_is_ours, below.split("/"))):
            continue
        yield (folder / below if below else folder), sorted(names)


def _walk(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, list[str]]]:
    """As `walk`, not sorted; ``above`` are the folders that lead here, for links in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    names.append(entry.name)
                elif _is_ours(entry.name):
                    yield from _walk(folder / entry.name, above | {real})
    except (FileNotFoundError, NotADirectoryError):
        return
    if names:
        yield folder, sorted(names)


def _is_ours(folder: str) -> bool:
    return bool(_FOLDER.fullmatch(folder)) and "sync-conflict" not in folder


def below(place: StoragePath, root: StoragePath) -> str:
    """Return the path of a place from a folder that it lies in, as ``a/b``."""
    if isinstance(place, Path):
        assert isinstance(root, Path)
        return place.relative_to(root).as_posix()
    assert not isinstance(root, Path)
    return place.path[len(root.path) :].lstrip("/")


def files_in_each(folder: StoragePath, name: str) -> list[StoragePath]:
    """Return ``folder/*/name``, wherever there is one, in one listing."""
    if isinstance(folder, Path):
        return sorted(folder.glob(f"*/{name}"))
    direct = (place for place, names in walk(folder) if name in names)
    return [place / name for place in direct if "/" not in below(place, folder)]


def state_folder(place: StoragePath | None = None) -> Path:
    """Return where this machine keeps what is not in a workspace; one folder a place.

    Two object stores may both have a bucket of the same name: those are two places.
    """
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(base) / "llm4teach"
    if place is None:
        return folder
    name = f"{place}{_server(place)}"
    return folder / hashlib.sha256(name.encode()).hexdigest()[:16]


def private_folder(workspace: StoragePath, name: str) -> Path:
    """Return a workspace's folder for what needs a disk and SQLite: in it, or for this machine.

    SQLite opens no path of more than 512 bytes.
    """
    if isinstance(workspace, Path) and len(os.fsencode(workspace / name)) < _MAX_SQLITE_FOLDER:
        return workspace / name
    return state_folder(workspace) / name


def _server(place: StoragePath) -> str:
    """Return host and port of the object store; nothing for Amazon's, where names are unique."""
    if isinstance(place, Path) or place.protocol != "s3":
        return ""
    host = urlsplit(place.fs.s3.meta.endpoint_url).netloc.lower()  # wherever it is configured
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else f" at {host}"
