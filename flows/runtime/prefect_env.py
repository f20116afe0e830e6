"""What has to be in the environment before Prefect is imported, so that a run prints only its own.

Every value is a default: what the user has set, stays.
"""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from llm4teach.datasets.storage.paths import StoragePath, private_folder
from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.runtime.prefect_settings import ServerAddress, configured_server, dotenv

TEMPORARY = "LLM4TEACH_TEMPORARY_SERVER"  # a temporary server's URL; child processes see it, too
_ALWAYS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "hide",
}
_OWN_SERVER = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",  # 20 is too short on a busy machine
    # A local server that does not answer is starved of CPU, not unreachable: wait for it.
    "PREFECT_API_REQUEST_TIMEOUT": "300",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # nobody reads the logs of a temporary server
}
DATABASE = "prefect.db"  # in PREFECT_HOME
OTHER_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_NEEDED = 8 << 20  # bytes of Prefect's database and its log in a new workspace
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
_SAYS_NOTHING = re.compile(r"^\(Background on this error|Application startup failed")
ALL_PROXY = ("ALL_PROXY", "all_proxy")
_ours: set[str] = set()  # names of variables that were not the user's
_replaced: dict[str, str] = {}  # the user's values of variables that are changed for this process


def prepare_environment(workspace: StoragePath) -> None:
    """Set defaults for Prefect and other libraries; call it before the first import of Prefect.

    Without a Prefect server in the user's configuration, runs use a temporary one, whose database
    lies in ``workspace/.prefect`` (for one in an object store: in the user's state folder): apart
    from the user's own, which may be of another version.

    Raises:
        ConfigError: a configuration file of Prefect's is broken.
        DatasetError: that folder cannot be written to.
    """
    users = {**dotenv(), **os.environ}
    defaults = dict(_ALWAYS)
    if "PREFECT_LOGGING_LEVEL" not in users:  # whoever sets it wants to see the log
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    if (server := own_server()) is not None:
        reach_directly(server.url)
    else:
        theirs = users.get("PREFECT_HOME")
        home = Path(theirs).expanduser() if theirs else private_folder(workspace, ".prefect")
        check_writable(home)
        defaults |= {**_OWN_SERVER, "PREFECT_HOME": str(home)}
        users.pop("PREFECT_HOME", None)
    for name, value in defaults.items():
        if name not in users and os.environ.get(name) != value:
            set_ours(name, value)
    _silence_gym()


def set_ours(name: str, value: str) -> None:
    """Set a variable for this process and those that it starts, but not for a service."""
    if name in os.environ and name not in _ours:
        _replaced.setdefault(name, os.environ[name])
    os.environ[name] = value
    _ours.add(name)


def users_environment() -> dict[str, str]:
    """The environment without what has been put there for this process alone."""
    theirs = {name: value for name, value in os.environ.items() if name not in _ours}
    return theirs | _replaced


def own_server() -> ServerAddress | None:
    """The Prefect server that the user has configured; None if there is none.

    Raises:
        ConfigError: a configuration file of Prefect's is broken.
    """
    if TEMPORARY in os.environ and os.environ.get("PREFECT_API_URL") == os.environ[TEMPORARY]:
        return None
    return configured_server()


def has_own_server() -> bool:
    """Whether the user's environment, files or active Prefect profile name a server."""
    return own_server() is not None


def reach_directly(url: str) -> None:
    """Have a server on this machine reached without a proxy; other servers keep the user's.

    It is named with its port: a teacher's server on this machine may well be behind the proxy.
    """
    address = urlsplit(url)
    if not _LOOPBACK.fullmatch(address.hostname or ""):
        return
    # Only Prefect's client looks at ALL_PROXY here. It fails at the mere sight of a SOCKS proxy.
    for name in ALL_PROXY:
        if name in os.environ:
            _replaced.setdefault(name, os.environ.pop(name))
    set_ours("no_proxy", without_proxy(os.environ, address.netloc.rpartition("@")[2]))


def without_proxy(environment: Mapping[str, str], host: str) -> str:
    """The value of ``no_proxy`` that adds a host to those of an environment."""
    known = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    hosts = [name for name in re.split(r"[,\s]+", known) if name]
    return ",".join(dict.fromkeys([*hosts, host]))


def check_writable(folder: Path) -> None:
    """Make a folder, and make sure that Prefect's database has room in it.

    Raises:
        DatasetError: it cannot be made, or written to.
    """
    probe = folder / f".space-{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
        try:
            with probe.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, _NEEDED)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise DatasetError(
            f"cannot write to {folder}, where Prefect keeps its database: {error.strerror}; it "
            f"has to be writable, with {_NEEDED >> 20} MB free; or choose another --workspace"
        ) from None


def database_url(file: Path) -> str:
    """URL of an SQLite file for Prefect's server, whatever characters are in the path.

    Raises:
        ConfigError: this version of SQLAlchemy cannot express it.
    """
    if not set(str(file)) & set("%?#"):  # what means something in a URL
        return f"sqlite+aiosqlite:///{file}"
    from sqlalchemy import URL, make_url  # 0.3 s

    url = URL.create("sqlite+aiosqlite", database=str(file)).render_as_string()
    if make_url(url).database != str(file):
        raise ConfigError(f"{file} cannot be Prefect's database with SQLAlchemy 2.0: it has a '?'")
    return url


def answers(port: int) -> bool:
    """Whether a Prefect server on a port of this machine answers; no proxy is asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_words(log: Path) -> str:
    """The last telling line of a process's log and where it is, to follow what happened to it."""
    lines: list[str] = []
    with suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
    telling = (line for line in reversed(lines) if not _SAYS_NOTHING.search(line))
    last = next(telling, "it wrote nothing")
    return f": {last[:300]}; its log: {log}"


@contextmanager
def explained() -> Iterator[None]:
    """Tell in one sentence what is wrong with Prefect's settings; for around its first import.

    Raises:
        ConfigError: a value is not allowed.
    """
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        places = [
            name for name in (".env", "prefect.toml", "pyproject.toml") if Path(name).exists()
        ]
        places += [f"{name}=…" for name in sorted(os.environ) if name.startswith("PREFECT_")]
        raise ConfigError(
            f"a setting of Prefect is not valid: {name} is {problem.get('input')!r}: "
            f"{problem['msg']}; it comes from one of: {', '.join(places)} or Prefect's profile"
        ) from None


def shown_url(url: str) -> str:
    """An address for people: without what may be a password in it."""
    address = urlsplit(url)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _silence_gym() -> None:
    """Gym, which d3rlpy imports, prints on import that it is unmaintained."""
    with suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()
