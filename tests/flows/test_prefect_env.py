"""The environment of a quiet run: defaults only, and a Prefect home beside the data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm4teach.flows.runtime import prefect_env
from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment
from llm4teach.flows.service import local_server


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path / "home")})
    monkeypatch.setattr(prefect_env, "_ours", set())


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
