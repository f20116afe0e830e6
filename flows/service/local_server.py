"""`llm4teach up` and `down`: a Prefect server, a worker and the deployments, on this machine."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm4teach.datasets.storage.parquet import read_json, write_json
from llm4teach.datasets.storage.paths import private_folder
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.custom.loading import hand_on_path
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime.prefect_env import (
    ALL_PROXY,
    DATABASE,
    OTHER_DATABASE,
    answers,
    check_writable,
    database_url,
    last_words,
    users_environment,
    without_proxy,
)
from llm4teach.flows.runtime.prefect_settings import dotenv
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.service.deployments import POOL

FOLDER, STATE = ".service", "service.json"
START_S, END_S = 600.0, 20.0  # a server that ended is noticed at once
HEARTBEAT_S = "30"  # Prefect's shortest


def up(settings: Settings, port: int) -> dict[str, str]:
    """Start what is not running yet; return what to tell.

    Raises:
        DatasetError: it is up already, its folder cannot be written to, the port is taken, or a
            process died while starting; then whatever was started is stopped again.
    """
    folder = _folder(settings)
    check_writable(folder)
    if (folder / STATE).exists() and any(map(_alive, _processes(folder))):
        url = read_json(folder / STATE)["ui"]
        raise DatasetError(f"the service of this workspace is up already, at {url}")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise DatasetError(f"port {port} is taken; choose another with --port")
    address = f"http://127.0.0.1:{port}"
    env = environment(folder, address)
    prefect = [sys.executable, "-m", "prefect"]
    started: dict[str, Any] = {"ui": address, "api": f"{address}/api", "processes": []}

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        mark = _started_at(process.pid)
        started["processes"].append({"name": name, "pid": process.pid, "started": mark})
        write_json(folder / STATE, started)
        return process

    try:
        server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        _wait_for(start("server", *prefect, *server), port, folder / "server.log")
        _register(settings, env)
        start("worker", *prefect, "worker", "start", "--pool", POOL, "--type", "process")
    except BaseException:
        down(settings)
        raise
    return {"ui": address, "api": f"{address}/api", "logs": str(folder)}


def down(settings: Settings) -> list[str]:
    """Stop exactly what `up` started and what that has started; return the names.

    Raises:
        DatasetError: nothing is up.
    """
    folder = _folder(settings)
    if not (folder / STATE).exists():
        raise DatasetError(
            f"nothing was started for the workspace {settings.workspace}; name that of "
            "`llm4teach up` with --workspace"
        )
    stopped = []
    for process in reversed(_processes(folder)):  # the worker first
        if not _alive(process):
            continue
        for how, patience in ((signal.SIGINT, END_S), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(process["pid"], how)
            except ProcessLookupError:
                break
            if _gone(process, patience):
                break
        stopped.append(str(process["name"]))
    (folder / STATE).unlink()
    return stopped


def _folder(settings: Settings) -> Path:
    return private_folder(Workspace(settings.workspace).root, FOLDER)


def _processes(folder: Path) -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = read_json(folder / STATE)["processes"]
    return processes


def variables(api: str) -> str:
    """What a shell has to export for `prefect deployment run label-states`, in any folder.

    Prefect's plugins, which complete a deployment's name, are off outside of this repository.
    """
    wanted = {"PREFECT_API_URL": api, "PREFECT_PLUGINS_ENABLED": "1"}
    if any(name.lower().endswith("_proxy") for name in os.environ):
        wanted["no_proxy"] = without_proxy(users_environment(), urlsplit(api).netloc)
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items())


def environment(folder: Path, address: str) -> dict[str, str]:
    """For the server and the worker: a database of their own, no telemetry, and flows' logs kept.

    A command's own settings, which silence Prefect, are not handed on. The server is reached
    without a proxy.
    """
    theirs = users_environment()
    if not any(name in theirs or name in dotenv() for name in OTHER_DATABASE):
        theirs[OTHER_DATABASE[0]] = database_url(folder.resolve() / DATABASE)
    for name in ALL_PROXY:  # nothing but Prefect's client looks at it
        theirs.pop(name, None)
    hand_on_path(theirs)  # a worker's flows run in folders of their own
    return theirs | {
        "no_proxy": without_proxy(theirs, urlsplit(address).netloc),
        "PREFECT_HOME": str(folder.resolve()),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT_S,
        "DO_NOT_TRACK": "1",
    }


def _register(settings: Settings, env: dict[str, str]) -> None:
    """Deploy in a process of its own, as Prefect reads its settings once, at import."""
    command = [sys.executable, "-m", "llm4teach.flows.service.deployments"]
    done = subprocess.run(
        command,
        env=env,
        input=settings.model_dump_json().encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DatasetError(f"the deployments could not be registered: {' '.join(last)}")


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            status = process.returncode
            raise DatasetError(f"the Prefect server ended with {status}{last_words(log)}")
        if answers(port):
            return
        time.sleep(0.3)
    raise DatasetError(f"the Prefect server did not answer within {START_S:.0f} s{last_words(log)}")


def _started_at(pid: int) -> str:
    """When a process began: with its pid it names one process for good; "" if it is gone."""
    done = subprocess.run(
        ["ps", "-o", "lstart=,state=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    *began, state = done.stdout.split() or [""]
    return "" if state.startswith("Z") else " ".join(began)


def _alive(process: dict[str, Any]) -> bool:
    return bool(process["started"]) and _started_at(process["pid"]) == process["started"]


def _gone(process: dict[str, Any], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not _alive(process):
            return True
        time.sleep(0.1)
    return False
