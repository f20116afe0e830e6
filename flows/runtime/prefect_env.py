"""What has to be in the environment before Prefect is imported, so that a run prints only its own.

Every value is a default: what the user has set, stays.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from pathlib import Path

from llm4teach.datasets.storage.paths import StoragePath, state_folder

_ALWAYS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "hide",
}
_OWN_SERVER = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",  # 20 is too short on a busy machine
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # nobody reads the logs of a temporary server
}
_ours: set[str] = set()  # names of variables that were not the user's


def prepare_environment(workspace: StoragePath) -> None:
    """Set defaults for Prefect and other libraries; call it before the first import of Prefect.

    Without a Prefect server in the user's configuration, runs use a temporary one, whose database
    lies in ``workspace/.prefect`` (for one in an object store: in the user's state folder): apart
    from the user's own, which may be of another version.

    Raises:
        OSError: that folder cannot be made.
    """
    defaults = dict(_ALWAYS)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:  # whoever sets it wants to see the log
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    if not has_own_server():
        home = (workspace if isinstance(workspace, Path) else state_folder(workspace)) / ".prefect"
        home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
        defaults |= {**_OWN_SERVER, "PREFECT_HOME": str(home)}
    for name, value in defaults.items():
        if name not in os.environ:
            os.environ[name] = value
            _ours.add(name)
    _silence_gym()


def users_environment() -> dict[str, str]:
    """The environment without what `prepare_environment` has put there for this process alone."""
    return {name: value for name, value in os.environ.items() if name not in _ours}


def has_own_server() -> bool:
    """Whether the user's environment or active Prefect profile names a server."""
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    with suppress(OSError, tomllib.TOMLDecodeError):  # Prefect itself reports a broken file
        profiles = tomllib.loads((home / "profiles.toml").read_text())
        active = profiles.get("profiles", {}).get(profiles.get("active", ""), {})
        return bool(active.get("PREFECT_API_URL"))
    return False


def _silence_gym() -> None:
    """Gym, which d3rlpy imports, prints on import that it is unmaintained."""
    with suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()
