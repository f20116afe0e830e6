"""The temporary Prefect server: wherever the workspace is, behind a proxy, and on a bad day."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended

PRELUDE = """
import os, signal, sys, threading
from pathlib import Path
from llm4teach.flows.runtime.prefect_env import prepare_environment
prepare_environment(Path(sys.argv[1]))
from llm4teach.flows.runtime import temporary_server
wait = temporary_server.start_server()
"""
RUN_A_FLOW = """
from prefect import flow, task
from prefect.client.orchestration import get_client

@flow
def adds():
    return task(lambda: 1)() + 1

wait()
assert adds() == 2
with get_client(sync_client=True) as client:
    assert [run.state_name for run in client.read_flow_runs()] == ["Completed"]
"""


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's state folder, in which Prefect's empty database is kept between the tests."""
    return tmp_path_factory.mktemp("state")


def environment(state: Path) -> dict[str, str]:
    outer = ("PREFECT_", "LLM4TEACH_", "HTTP", "NO_", "ALL_")
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(outer)}
    return kept | {"XDG_STATE_HOME": str(state), "HOME": str(state)}


def run(script: str, workspace: Path | str, env: dict[str, str], cwd: Path | None = None) -> str:
    """Run a script that starts the server of a workspace; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(workspace)],
        env=env,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(version)


def test_it_is_kept_and_copied_and_made_anew_if_damaged(tmp_path: Path) -> None:
    state = tmp_path / "state"

    def start(workspace: Path) -> Path:
        run("wait()", workspace, environment(state))
        return workspace / ".prefect" / "prefect.db"

    first = start(tmp_path / "first")
    [template] = (state / "llm4teach").glob("prefect-*.db")
    assert template.stat().st_mode & 0o777 == 0o600
    assert revision(template) == revision(first)

    with closing(sqlite3.connect(template)) as connection:  # to be recognized in the copy
        connection.execute("CREATE TABLE from_the_template (a)")
        connection.commit()
    second = start(tmp_path / "second")
    with closing(sqlite3.connect(second)) as connection:
        assert connection.execute("SELECT count(*) FROM from_the_template").fetchone() == (0,)

    template.write_bytes(template.read_bytes()[:5000])
    third = start(tmp_path / "third")
    assert revision(third) == revision(first) == revision(template)
    assert not [path for path in template.parent.iterdir() if path != template]
    assert not list(third.parent.glob("server-*.log")), "nothing went wrong"


@pytest.mark.parametrize(
    "name", ["q?x", "a%2Fb #c [d]*'é\"", "-w", "/".join(["long" * 25] * 6)], ids=lambda n: n[:9]
)
def test_any_path_will_do_and_nothing_lies_outside(tmp_path: Path, state: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    run(RUN_A_FLOW, name, environment(state), cwd=inside)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    if name.startswith("long"):  # than SQLite can open
        assert list((state / "llm4teach").glob("*/.prefect/prefect.db"))
        return
    assert [path.name for path in inside.iterdir()] == [name]
    assert (inside / name / ".prefect" / "prefect.db").stat().st_size > 100_000


@contextmanager
def proxy() -> Iterator[tuple[int, list[bytes]]]:
    """A server that notes what it is asked, and hangs up; yield its port and the notes."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def note() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(200))

    threading.Thread(target=note, daemon=True).start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


PROXIED = """
from urllib.request import getproxies, proxy_bypass
assert not proxy_bypass("127.0.0.1") and not proxy_bypass("llm.example")
assert getproxies()["http"] == os.environ["HTTP_PROXY"], "the teacher's server keeps it"
from llm4teach.flows.runtime.prefect_env import users_environment
assert users_environment()["ALL_PROXY"] == os.environ["HTTP_PROXY"]
"""


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_it_is_reached_without_a_proxy(tmp_path: Path, state: Path, scheme: str) -> None:
    with proxy() as (port, asked):
        url = f"{scheme}://127.0.0.1:{port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")
        env = environment(state) | dict.fromkeys(names, url) | {"NO_PROXY": "elsewhere.example"}
        run(RUN_A_FLOW + PROXIED, tmp_path / "w", env)
    assert asked == []


KILLED = """
wait()
from prefect.client.orchestration import get_client
before = temporary_server._server._process
with get_client(sync_client=True) as client:
    for _ in range(2):  # the second time without a connection that was open before
        os.kill(temporary_server._server._process.pid, signal.SIGKILL)
        assert client.hello().status_code == 200
"""


def test_a_server_that_is_killed_is_replaced_and_no_call_fails(tmp_path: Path, state: Path) -> None:
    """A command ended with "Failed to reach API" once its server was gone."""
    told = run(KILLED + RUN_A_FLOW, tmp_path, environment(state))
    [log] = (tmp_path / ".prefect").glob("server-*.log")
    ended = "the temporary Prefect server ended (signal 9): it wrote nothing"
    assert told.count(f"{ended}; its log: {log}; it is started again") == 2, told


STARVED = """
wait()
server = temporary_server._server._process.pid
os.kill(server, signal.SIGSTOP)
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT
assert PREFECT_API_REQUEST_TIMEOUT.value() == 300

def ask():
    with get_client(sync_client=True) as client:
        answers.append(client.hello().status_code)

answers = []
asking = threading.Thread(target=ask)
asking.start()
asking.join(1.5)
assert not answers and asking.is_alive()
os.kill(server, signal.SIGCONT)
asking.join()
assert answers == [200]
"""


def test_a_server_that_gets_no_cpu_is_waited_for(tmp_path: Path, state: Path) -> None:
    run(STARVED, tmp_path, environment(state))


GIVEN_UP = """
temporary_server.RESTARTS = 0
wait()
os.kill(temporary_server._server._process.pid, signal.SIGKILL)
while not temporary_server.failure():
    pass
from llm4teach.flows.cli.main import _explain
print(_explain(RuntimeError("whatever its clients made of it")))
"""


def test_a_server_that_is_gone_is_named_with_its_log(tmp_path: Path, state: Path) -> None:
    told = run(GIVEN_UP, tmp_path, environment(state))
    [log] = (tmp_path / ".prefect").glob("server-*.log")
    assert told.count(f"ended (signal 9): it wrote nothing; its log: {log}") == 2, told


@pytest.mark.parametrize("damage", ["no database", "of another version"])
def test_a_server_that_cannot_start_is_told_at_once(
    tmp_path: Path, state: Path, damage: str
) -> None:
    home = tmp_path / ".prefect"
    if damage == "no database":
        home.mkdir()
        (home / "prefect.db").write_bytes(b"damaged" * 2000)
        words = "file is not a database"
    else:
        run("wait()", tmp_path, environment(state))
        with closing(sqlite3.connect(home / "prefect.db")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'abc'")
            connection.commit()
        words = "Can't locate revision identified by 'abc'"
    script = "try:\n    wait()\nexcept Exception as error:\n    print(type(error).__name__, error)"
    told = run(script, tmp_path, environment(state))
    [log] = home.glob("server-*.log")
    assert "TemporaryServerError the temporary Prefect server ended (exit status 3): " in told
    assert f"{words}; its log: {log}; {home} holds nothing but" in told


def test_a_killed_command_leaves_no_server(tmp_path: Path, state: Path) -> None:
    script = "wait()\nprint(temporary_server._server._process.pid, flush=True)\nsignal.pause()"
    command = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(tmp_path)],
        env=environment(state),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    server = int(command.stdout.readline())
    command.send_signal(signal.SIGKILL)
    command.wait()
    command.stdout.close()
    while is_running(server):  # pytest's time limit ends this
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")
