"""The environment of a quiet run: defaults only, and a Prefect home beside the data."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.runtime import prefect_env
from llm4teach.flows.runtime.prefect_env import (
    database_url,
    has_own_server,
    own_server,
    prepare_environment,
    users_environment,
)
from llm4teach.flows.service import local_server


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path / "home")})
    monkeypatch.setattr(prefect_env, "_ours", set())
    monkeypatch.setattr(prefect_env, "_replaced", {})


def test_without_a_server_prefects_database_lies_in_the_workspace(tmp_path: Path) -> None:
    prepare_environment(tmp_path / "w")
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "w" / ".prefect")
    assert os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] == "300"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert (tmp_path / "w" / ".prefect").is_dir()


def test_what_the_user_set_stays(tmp_path: Path) -> None:
    mine = {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    os.environ.update(mine)
    prepare_environment(tmp_path)
    assert mine.items() <= os.environ.items()
    assert "PREFECT_HOME" not in os.environ
    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in os.environ


@pytest.mark.parametrize(("active", "expected"), [("mine", True), ("ephemeral", False)])
def test_the_active_profile_counts(tmp_path: Path, active: str, expected: bool) -> None:
    home = tmp_path / "home" / ".prefect"
    home.mkdir(parents=True)
    text = f'active = "{active}"\n[profiles.ephemeral]\n[profiles.mine]\nPREFECT_API_URL = "x"\n'
    (home / "profiles.toml").write_text(text)
    assert has_own_server() is expected


URL = "http://127.0.0.1:9/api"
FILES = {
    "prefect.toml": f'[api]\nurl = "{URL}"\n',
    "pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"\n',
    ".env": f"# mine\nexport prefect_api_url='{URL}'\nOTHER=1\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("name", FILES)
def test_a_server_named_in_a_file_of_the_folder_is_the_users(folder: Path, name: str) -> None:
    assert own_server() is None
    (folder / name).write_text(FILES[name])
    server = own_server()
    assert server is not None and server.url == URL
    assert name in server.source and name in server.to_unset
    prepare_environment(folder / "w")
    assert "PREFECT_HOME" not in os.environ and not (folder / "w").exists()
    assert os.environ["no_proxy"] == "127.0.0.1:9"
    os.environ["PREFECT_API_URL"] = ""  # as for Prefect: there is none
    assert own_server() is None


@pytest.mark.parametrize("name", FILES)
def test_prefect_itself_reads_the_same_from_these_files(folder: Path, name: str) -> None:
    (folder / name).write_text(FILES[name])
    code = "from prefect.settings import PREFECT_API_URL as url; print(url.value())"
    env = {"HOME": str(folder), "PATH": os.defpath}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == URL, done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("prefect.toml", b"[api", "prefect.toml, which Prefect reads, is not valid TOML: Expected"),
        (
            "prefect.toml",
            b"\xef\xbb\xbf[api]\nurl = 'x'",
            "prefect.toml, which Prefect reads, is no",
        ),
        ("pyproject.toml", b"a = \xff", "pyproject.toml, which Prefect reads, is not valid TOML"),
        (".env", b"\xff\xfe", "/.env: 'utf-8' codec"),
        ("home/profiles.toml", b"broken = ", "profiles.toml, which Prefect reads, is not valid TO"),
        ("home/profiles.toml", b"\xff", "profiles.toml, which Prefect reads, is not valid TOML"),
        ("home/profiles.toml", b"active = 'x'", "profile 'x', the active one, is not in /"),
        ("home/profiles.toml", b"profiles = 3", "'profiles' is no table"),
        ("home/profiles.toml", b"active = 'x'\n[profiles]\nx = 3", "it is no table"),
    ],
)
def test_a_broken_file_of_prefects_is_named(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    (folder / "home").mkdir()
    os.environ["PREFECT_HOME"] = str(folder / "home")
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        prepare_environment(folder / "w")
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (folder / "w").exists(), "nothing is written before"


def test_a_profile_that_the_environment_names(folder: Path) -> None:
    os.environ |= {"PREFECT_PROFILE": "mine", "PREFECT_HOME": str(folder)}
    with pytest.raises(ConfigError, match="'mine', which PREFECT_PROFILE names, is not"):
        own_server()
    (folder / "profiles.toml").write_text(f'[profiles.mine]\nPREFECT_API_URL = "{URL}"\n')
    server = own_server()
    assert server is not None and server.to_unset == "unset PREFECT_PROFILE"
    os.environ["PREFECT_PROFILE"] = "ephemeral"  # one of Prefect's own
    assert own_server() is None


@pytest.mark.parametrize("kind", ["a file in its place", "too large a file", "a read-only disk"])
def test_a_folder_that_cannot_be_written_to_is_told_at_once(folder: Path, kind: str) -> None:
    workspace, limits = folder / "w", resource.getrlimit(resource.RLIMIT_FSIZE)
    workspace.mkdir()
    mounted = False
    try:
        if kind == "a file in its place":
            (workspace / ".prefect").touch()
        elif kind == "too large a file":  # as on a full disk, or one with quotas
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        else:
            mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(workspace)]
            mounted = not subprocess.run(mount, capture_output=True, env=None).returncode
            if not mounted:
                pytest.skip("mounting a disk needs root")
        with pytest.raises(DatasetError, match=r"cannot write to .*w/\.prefect, .*8 MB free"):
            prepare_environment(workspace)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", str(workspace)], check=True)
    leftover = workspace / ".prefect"
    assert not leftover.is_dir() or not list(leftover.iterdir())


def test_a_proxy_is_bypassed_for_the_server_only(tmp_path: Path) -> None:
    theirs = {"NO_PROXY": "a.example, b.example", "ALL_PROXY": "socks5://p:1", "http_proxy": "p:2"}
    os.environ |= {"PREFECT_API_URL": "http://u:pw@localhost:4200/api", **theirs}
    prepare_environment(tmp_path)
    assert os.environ["no_proxy"] == "a.example,b.example,localhost:4200"
    assert os.environ["http_proxy"] == "p:2" and "ALL_PROXY" not in os.environ
    assert theirs.items() <= users_environment().items() and "no_proxy" not in users_environment()
    env = local_server.environment(tmp_path, "http://127.0.0.1:4300")
    assert env["no_proxy"] == "a.example,b.example,127.0.0.1:4300" and "ALL_PROXY" not in env
    assert local_server.variables("http://127.0.0.1:4300/api") == (
        "PREFECT_API_URL=http://127.0.0.1:4300/api PREFECT_PLUGINS_ENABLED=1 "
        "no_proxy=a.example,b.example,127.0.0.1:4300"
    )


def test_a_server_elsewhere_keeps_the_proxy(tmp_path: Path) -> None:
    theirs = {"PREFECT_API_URL": "https://prefect.example/api", "ALL_PROXY": "socks5://p:1"}
    os.environ |= theirs
    prepare_environment(tmp_path)
    assert "no_proxy" not in os.environ and theirs.items() <= os.environ.items()


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1))
def test_any_path_is_quoted_in_the_databases_url(name: str) -> None:
    file = Path("/tmp") / f"x{name}" / "prefect.db"
    assert make_url(database_url(file)).database == str(file)


@pytest.mark.extended
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["teach", "collect"])
def test_commands_treat_the_file_alike_and_name_it(folder: Path, name: str, command: str) -> None:
    (folder / name).write_text(FILES[name])
    line = [sys.executable, "-m", "llm4teach", command, "--teacher", "recorded/vicuna-33b"]
    env = {"HOME": str(folder), "PATH": os.defpath}
    done = subprocess.run(line, env=env, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    [told] = done.stderr.splitlines()
    assert told.startswith(f"llm4teach: error: Failed to reach API at {URL}. Start it, or ")
    assert told.count(name) == 2, "where the address is, and where to remove it"


def test_a_service_that_a_command_starts_does_not_inherit_its_silence(tmp_path: Path) -> None:
    os.environ["LANG"] = "C.UTF-8"
    prepare_environment(tmp_path)
    assert os.environ["PREFECT_LOGGING_TO_API_ENABLED"] == "false"
    env = local_server.environment(tmp_path / ".service", "http://127.0.0.1:4200")
    assert env["LANG"] == "C.UTF-8"
    assert {n for n in env if n.startswith("PREFECT_LOGGING")} == set(), "Prefect's own defaults"
    assert env["PREFECT_HOME"] == str(tmp_path / ".service")


def test_what_the_user_set_reaches_a_service_that_a_command_starts(tmp_path: Path) -> None:
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    prepare_environment(tmp_path)
    env = local_server.environment(tmp_path / ".service", "http://127.0.0.1:4200")
    assert env["PREFECT_LOGGING_TO_API_ENABLED"] == "false"
