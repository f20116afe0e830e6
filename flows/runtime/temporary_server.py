"""Prefect's temporary server: it starts while the command imports what it needs.

Prefect itself would start it at the first call, after all imports. In a new workspace it then makes
its database by some hundred migrations, six seconds of work; so an empty one is kept for this
version of Prefect, and copied.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import state_folder

DATABASE = "prefect.db"  # in PREFECT_HOME
_OTHER_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def start_server() -> Callable[[], None]:
    """Start the server in the background; call the result before the first flow, to wait for it.

    `prepare_environment` has to be called before. A failure to start is raised by the result.
    """
    import prefect
    from prefect.server.api.server import SubprocessASGIServer

    database = Path(os.environ["PREFECT_HOME"]) / DATABASE
    template = state_folder() / f"prefect-{prefect.__version__}.db"
    is_new = not any(database.parent.glob(f"{DATABASE}*"))  # nor a log of one that is gone
    is_new = is_new and not any(name in os.environ for name in _OTHER_DATABASE)
    is_kept = _is_sound(template)
    if is_new and is_kept:
        with suppress(OSError):  # then it is made as always
            _put(database, lambda temporary: shutil.copyfile(template, temporary))
    failures: list[Exception] = []

    def start() -> None:
        try:
            SubprocessASGIServer().start()
        except Exception as error:  # whoever waits has to hear of it
            failures.append(error)

    thread = threading.Thread(target=start, name="temporary-server", daemon=True)
    thread.start()

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]
        if is_new and not is_kept:
            with suppress(OSError, sqlite3.Error):  # the next workspace takes six seconds more
                template.parent.mkdir(parents=True, exist_ok=True)
                _put(template, lambda temporary: _back_up(database, temporary))

    return wait


def _is_sound(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        with closing(_opened(database)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, for its owner only."""
    with replacing(path) as temporary:
        temporary.touch(0o600)
        write(temporary)


def _back_up(database: Path, copy: Path) -> None:
    """Copy a database that a server has open."""
    with closing(_opened(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
