"""Where Prefect finds its server's address: the places that it reads, in its own order.

Prefect takes a second to import, and what it does about a broken file is a warning, or minutes of
waiting. So its files are read here first.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm4teach.errors import ConfigError

URL, PROFILE = "PREFECT_API_URL", "PREFECT_PROFILE"
DOTENV = Path(".env")  # in the current folder, as the TOML files
_TOML: dict[Path, tuple[str, ...]] = {
    Path("prefect.toml"): (),
    Path("pyproject.toml"): ("tool", "prefect"),
}
_BUILT_IN = ("ephemeral", "local", "test", "cloud")  # profiles that Prefect itself has


@dataclass(frozen=True)
class ServerAddress:
    """A server's address, and what to do to go without it."""

    url: str
    source: str  # for people: "prefect.toml (api.url)"
    to_unset: str


def configured_server() -> ServerAddress | None:
    """The server that Prefect's configuration names; None if it names none.

    Raises:
        ConfigError: a file that Prefect reads is broken, or there is no such profile.
    """
    if URL in os.environ:  # an empty one means: no server
        if not (url := os.environ[URL]):
            return None
        return ServerAddress(url, f"the environment variable {URL}", f"unset {URL}")
    if url := dotenv().get(URL, ""):
        return ServerAddress(url, f"{DOTENV} in this folder", f"remove {URL} from {DOTENV}")
    for file, table in _TOML.items():
        if url := _text(_looked_up(_read_toml(file), *table, "api", "url")):
            setting = ".".join((*table, "api", "url"))
            what = f"{file} in this folder ({setting})"
            return ServerAddress(url, what, f"remove {setting} from {file}")
    return _server_of_profile()


def dotenv() -> dict[str, str]:
    """Prefect's variables in the file ``.env`` of the current folder.

    Raises:
        ConfigError: it is not a text.
    """
    if not DOTENV.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(DOTENV, encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"Prefect cannot read {DOTENV.resolve()}: {error}") from None
    names = {name.upper(): value for name, value in found.items() if value is not None}
    return {name: value for name, value in names.items() if name.startswith("PREFECT_")}


def _server_of_profile() -> ServerAddress | None:
    path = _profiles_path()
    content = _read_toml(path)
    wanted = os.environ.get(PROFILE)
    active = wanted or _text(content.get("active"))
    profiles = content.get("profiles", {})
    if not isinstance(profiles, Mapping):
        raise ConfigError(f"Prefect's profiles in {path} are broken: 'profiles' is no table")
    profile = profiles.get(active)
    if active and profile is None and active not in _BUILT_IN:
        known = ", ".join(dict.fromkeys((*profiles, *_BUILT_IN)))
        where = f"which {PROFILE} names, is not" if wanted else "the active one, is not"
        raise ConfigError(f"Prefect's profile {active!r}, {where} in {path}; known are: {known}")
    if profile is not None and not isinstance(profile, Mapping):
        raise ConfigError(f"Prefect's profile {active!r} in {path} is broken: it is no table")
    url = _text((profile or {}).get(URL))
    if not url:
        return None
    to_unset = f"unset {PROFILE}" if wanted else f"prefect config unset {URL}"
    return ServerAddress(url, f"Prefect's profile {active!r} in {path}", to_unset)


def _profiles_path() -> Path:
    name = "PREFECT_PROFILES_PATH"
    text = os.environ.get(name) or dotenv().get(name)
    for file, table in _TOML.items():
        text = text or _text(_looked_up(_read_toml(file), *table, "profiles_path"))
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    return Path(text).expanduser() if text else Path(home).expanduser() / "profiles.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    """Read a file of Prefect's as it does: UTF-8 without a byte order mark."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path.absolute()}, which Prefect reads, is not valid TOML: {error}; correct it or "
            "move it away"
        ) from None
    except OSError as error:
        raise ConfigError(f"Prefect cannot read {path.absolute()}: {error.strerror}") from None


def _looked_up(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
