"""An API key in a Prefect secret block: used, and in nothing that is written or shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_server import BadServer
from prefect_processes import (
    PREFECT,
    background,
    free_port,
    prefect_environment,
    wait_until_listening,
)

from llm4teach.flows.cli.main import main

SECRET = "sk-planted-in-a-block-0badcafe"
OPENAI = ("--teacher", "openai", "--teacher.n-samples", "1", "--teacher.max-retries", "1")
SAVE = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.argv[1]).save('llm')"


@pytest.fixture
def server() -> Iterator[BadServer]:
    made = BadServer()
    made.key = SECRET
    made.reply = f"Thank you for the key {SECRET}.\nAction: {{explore}}"
    yield made
    made.close()


def run(env: dict[str, str], *command: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_planted_key(server: BadServer, tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "prefect"
    env = prefect_environment(home, port) | {"PREFECT_LOGGING_LEVEL": "DEBUG"}
    cli = ("-m", "llm4teach")
    where = ("--workspace", str(tmp_path / "workspace"), "--teacher.base-url", server.url)
    with background(
        [PREFECT, "server", "start", "--port", str(port)], env, tmp_path / "server.log"
    ):
        wait_until_listening(port)
        run(env, *cli, "collect", "--collect.steps", "320", *where[:2])
        shown = run(env, *cli, "label", *OPENAI, *where, status=1)
        assert "API key" in shown, "there is none in the environment"
        block = ("--teacher.api-key-block", "llm")
        shown = run(env, *cli, "label", *OPENAI, *where, *block, status=1)
        assert "there is no secret block 'llm'" in shown and "Traceback" not in shown
        run(env, "-c", SAVE, SECRET)
        shown += run(env, *cli, "label", *OPENAI, *where, *block)
        shown += run(env, *cli, "teacher", "check", "--replies", *OPENAI, *where[2:], *block)
    assert server.met["good"] > 0, server.met
    assert SECRET not in shown and "***" in shown
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if path.name == "prefect.db"]
    assert [path for path in written if path.name.startswith("part-")]
    assert "label-states" in (tmp_path / "server.log").read_text() or home.exists()
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_without_a_server_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    words = ("--workspace", str(tmp_path / "w"), "--teacher.api-key-block", "llm")
    assert main(["label", *OPENAI, *words]) == 1
    shown = capsys.readouterr().err
    assert "PREFECT_API_URL" in shown and len(shown.splitlines()) == 1
