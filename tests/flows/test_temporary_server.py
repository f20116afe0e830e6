"""The temporary server's database is made once on a machine, and copied into new workspaces."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended

START = """
import sys
from pathlib import Path
from llm4teach.flows.runtime.prefect_env import prepare_environment
prepare_environment(Path(sys.argv[1]))
from llm4teach.flows.runtime.temporary_server import start_server
wait = start_server()
wait()
import httpx
from prefect.server.api.server import SubprocessASGIServer
server = SubprocessASGIServer()
assert httpx.get(f"{server.api_url}/health").json() is True
server.stop()
"""


def start(workspace: Path, state: Path) -> Path:
    """Start and stop the server of a workspace; return its database."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    environment = kept | {"XDG_STATE_HOME": str(state), "HOME": str(state)}
    subprocess.run(
        [sys.executable, "-c", START, str(workspace)], env=environment, check=True, timeout=300
    )
    return workspace / ".prefect" / "prefect.db"


def revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(version)


def test_it_is_kept_and_copied_and_made_anew_if_damaged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = start(tmp_path / "first", state)
    [template] = (state / "llm4teach").glob("prefect-*.db")
    assert template.stat().st_mode & 0o777 == 0o600
    assert revision(template) == revision(first)

    with closing(sqlite3.connect(template)) as connection:  # to be recognized in the copy
        connection.execute("CREATE TABLE from_the_template (a)")
        connection.commit()
    second = start(tmp_path / "second", state)
    with closing(sqlite3.connect(second)) as connection:
        assert connection.execute("SELECT count(*) FROM from_the_template").fetchone() == (0,)

    template.write_bytes(template.read_bytes()[:5000])
    third = start(tmp_path / "third", state)
    assert revision(third) == revision(first) == revision(template)
    assert not [path for path in template.parent.iterdir() if path != template]
