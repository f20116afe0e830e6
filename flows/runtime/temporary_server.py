"""Prefect's temporary server: it starts while the command imports what it needs.

Prefect itself would start it at the first call, after all imports; it would choose a port and hope
that it stays free; and once its server is gone, every call fails with "Failed to reach API". Here
this process keeps the socket: a server that ends is replaced by another one on the same socket,
and calls that come meanwhile wait. In a new workspace Prefect makes its database by some hundred
migrations, six seconds of work; so an empty one is kept for this version of Prefect, and copied.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import state_folder
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime import server_process
from llm4teach.flows.runtime.prefect_env import (
    DATABASE,
    OTHER_DATABASE,
    TEMPORARY,
    answers,
    database_url,
    last_words,
    reach_directly,
    set_ours,
    users_environment,
)

RESTARTS = 5  # of a server that ends while it is needed
_POLL_S = 0.1
_TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_SILENCED = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"  # nothing of it would be in the log file
_EPHEMERAL = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_PLUGINS_ENABLED": "0",  # one is ours, and only for the command line
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_server: _Server | None = None  # of this process


class TemporaryServerError(DatasetError):
    """The temporary Prefect server cannot start, or has ended."""


def start_server() -> Callable[[], None]:
    """Start the server in the background; call the result before the first flow, to wait for it.

    `prepare_environment` has to be called before, and Prefect is best imported after: this sets the
    address of the server, for child processes, too. Prefect's clients reach it without a proxy.

    A failure to start is raised by the result, as TemporaryServerError.
    """
    global _server
    if _server is not None:  # of an earlier command in this process
        return lambda: None
    home = Path(os.environ["PREFECT_HOME"])
    database = home / DATABASE
    template = state_folder() / f"prefect-{version('prefect')}.db"
    is_new = not any(home.glob(f"{DATABASE}*"))  # nor a log of one that is gone
    is_new = is_new and not any(name in os.environ for name in OTHER_DATABASE)
    is_kept = _is_sound(template)
    if is_new and is_kept:
        with suppress(OSError):  # then it is made as always
            _put(database, lambda temporary: shutil.copyfile(template, temporary))
    _server = server = _Server(home)
    set_ours("PREFECT_API_URL", server.url)
    set_ours(TEMPORARY, server.url)
    reach_directly(server.url)
    atexit.register(stop_server)

    def wait() -> None:
        server.wait_until_ready()
        _use_in_this_process()
        if is_new and not is_kept:
            with suppress(OSError, sqlite3.Error):  # the next workspace takes six seconds more
                template.parent.mkdir(parents=True, exist_ok=True)
                _put(template, lambda temporary: _back_up(database, temporary))

    return wait


def stop_server() -> None:
    """End the server of this process, if there is one."""
    global _server
    server, _server = _server, None
    if server is not None:
        server.stop()


def failure() -> str:
    """Why there is no server any more; "" if nothing is wrong with it."""
    return _server.failure if _server is not None else ""


class _Server:
    """A server's process, and the thread that replaces it if it ends."""

    def __init__(self, home: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/api"
        self.failure = ""
        self._restarts = 0
        self._log = home / f"server-{os.getpid()}.log"
        kept = {name: value for name, value in os.environ.items() if name not in _EPHEMERAL}
        if _SILENCED not in users_environment():
            kept.pop(_SILENCED, None)
        kept.pop("PREFECT_API_URL", None)  # of an empty one: it is the server itself
        if not any(name in os.environ for name in OTHER_DATABASE):
            kept[OTHER_DATABASE[0]] = database_url(home / DATABASE)
        self._environment = kept | _EPHEMERAL
        self._log.unlink(missing_ok=True)
        self._is_ending = threading.Event()
        self._is_ready = threading.Event()
        self._process = self._launch()
        self._watching = threading.Thread(target=self._watch, name="temporary-server", daemon=True)
        self._watching.start()

    def wait_until_ready(self) -> None:
        """Return once the server answers.

        Raises:
            TemporaryServerError: it has ended, or has not answered for minutes.
        """
        limit_s = float(os.environ.get(_TIMEOUT, "300"))
        deadline = time.monotonic() + limit_s
        while not self._is_ready.wait(_POLL_S):
            if not self.failure and time.monotonic() > deadline:
                self.failure = f"the temporary Prefect server did not answer within {limit_s:g} s"
                self.failure += last_words(self._log)
            if self.failure:
                raise TemporaryServerError(self.failure)

    def stop(self) -> None:
        """End the server; its log goes with it, unless it has failed once."""
        self._is_ending.set()
        self._watching.join()
        self._listener.close()
        process = self._process
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]  # a pipe
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not self.failure and not self._restarts:
            self._log.unlink(missing_ok=True)

    def _launch(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the command, which still has to report its end.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", server_process.__file__, str(self._listener.fileno())],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(self._listener.fileno(),),
                start_new_session=True,
            )

    def _watch(self) -> None:
        """Notice the server's first answer, and its end; replace it if it had answered."""
        while not self._is_ending.is_set():
            status = self._process.poll()
            if status is None:
                if not self._is_ready.is_set() and answers(self._port):
                    self._is_ready.set()
                self._is_ending.wait(_POLL_S)
                continue
            failure = f"the temporary Prefect server ended ({_in_words(status)})"
            failure += last_words(self._log)
            if self._is_ready.is_set() and self._restarts < RESTARTS:
                _say(f"llm4teach: {failure}; it is started again")
                self._restarts += 1
                with suppress(OSError):  # then its status is seen again
                    self._process = self._launch()
            else:
                if self._is_ready.is_set():
                    _say(f"llm4teach: {failure}")
                else:
                    about = "holds nothing but Prefect's own records and may be moved away"
                    failure += f"; {self._log.parent} {about}"
                self.failure = failure
                self._listener.close()  # calls fail from now on, instead of waiting
                return


def _say(line: str) -> None:
    from llm4teach.flows.runtime.progress import say  # imports Prefect

    say(line)


def _in_words(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _use_in_this_process() -> None:
    """Let Prefect see its address even if it was imported before, and ignore all proxies."""
    from functools import partialmethod

    import prefect.context
    from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value() != os.environ["PREFECT_API_URL"]:
        prefect.context.refresh_global_settings_context()
    clients: tuple[Any, ...] = (PrefectHttpxAsyncClient, PrefectHttpxSyncClient)
    for kind in clients:
        # httpx fails at the mere sight of HTTP_PROXY=socks5://…, whatever no_proxy says.
        kind.__init__ = partialmethod(kind.__init__, trust_env=False)


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
