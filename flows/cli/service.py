"""The commands that serve: up, down, serve (deployments of flows), serve-student (a policy)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.cli.parser import Argument, SettingsCommand
from llm4teach.flows.runtime.settings import Settings

if TYPE_CHECKING:
    from llm4teach.datasets.storage.paths import StoragePath
    from llm4teach.datasets.workspace import Workspace

Port = Annotated[int, Field(ge=1, le=65535)]
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_DEPLOYED = tuple(name for name in Settings.model_fields if name != "validation")


class Up(SettingsCommand):
    """Start a Prefect server, a worker and the deployments on this machine."""

    command = "up"
    examples = ("llm4teach up", 'llm4teach up --service.retrain-cron "0 3 * * 0" --port 4300')
    uses = _DEPLOYED

    port: Port = Field(4200, description="port of the server")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.flows.runtime.prefect_env import prepare_environment

        prepare_environment(Workspace(settings.workspace).root)

        from llm4teach.flows.service.deployments import schedule_of
        from llm4teach.flows.service.local_server import up, variables

        for name in ("retrain", "check-champion"):
            schedule_of(name, settings.service)  # raises before anything starts
        addresses = up(settings, self.port)
        print(f"UI: {addresses['ui']}\nlogs: {addresses['logs']}")
        print(f"in any folder: export {variables(addresses['api'])}")
        own = settings.workspace != Settings.model_fields["workspace"].default
        down = f"llm4teach down{f' --workspace {quote(settings.workspace)}' if own else ''}"
        print(f"then: prefect deployment run label-states   ({down} ends all of it)")


class Down(SettingsCommand):
    """Stop the processes that `llm4teach up` has started."""

    command = "down"
    examples = ("llm4teach down",)
    uses = ("workspace",)

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.flows.service.local_server import down

        print("stopped:", ", ".join(down(settings)) or "nothing, it was gone already")


class Serve(SettingsCommand):
    """Run every deployment from this one process; needs a Prefect server."""

    command = "serve"
    examples = ("llm4teach serve", "llm4teach serve --service.retrain-every-s 86400")
    uses = _DEPLOYED

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment

        if not has_own_server():
            hint = "llm4teach up starts one; another's address goes into PREFECT_API_URL"
            raise ConfigError(f"there is no Prefect server to serve for: {hint}")
        prepare_environment(Workspace(settings.workspace).root)

        from llm4teach.flows.service.deployments import serve_all

        serve_all(settings)


class ServeStudent(SettingsCommand):
    """Serve a student over HTTP: observations in, action probabilities out; no LLM, no torch."""

    command = "serve-student"
    examples = (
        "llm4teach serve-student",
        "llm4teach serve-student student.onnx --port 9000",
        "curl -s http://127.0.0.1:8080/health",
    )
    uses = ("task", "workspace")

    student: Annotated[str | None, Argument(metavar="RUN|FILE", is_positional=True)] = Field(
        None,
        description="an .onnx file, or the run whose student to serve (default: the task's "
        "champion, or else the newest)",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8080, description="port to listen on")
    max_batch: PositiveInt = Field(1024, description="observations per request, at most")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace

        path = exported(Workspace(settings.workspace), settings.task, self.student)
        serve_student(path, self.host, self.port, self.max_batch)


def exported(workspace: Workspace, task: str, student: str | None) -> StoragePath:
    """Return the ONNX file to serve; export a run's student first if it has not been exported.

    Raises:
        DatasetError: there is no such file, run or student.
    """
    from llm4teach.datasets.champions import ChampionRegistry
    from llm4teach.envs.registry import get_training_task
    from llm4teach.flows.stages.checkpoints import newest_student
    from llm4teach.flows.stages.export import export

    if student and (Path(student).is_file() or Path(student).suffix.lower() == ".onnx"):
        return Path(student)
    champion = ChampionRegistry(workspace.registry(task)).champion()
    run_id = student or (champion.run_id if champion else None)
    run_id = run_id or newest_student(workspace, get_training_task(task))
    path = workspace.existing_run(run_id) / "student.onnx"
    return path if _is_current(path) else export(workspace, run_id, "onnx", path)[0]


def _is_current(path: StoragePath) -> bool:
    """Whether an exported file is complete, and of the checkpoint that is beside it now."""
    from llm4teach.datasets.champions import sha256_of
    from llm4teach.datasets.runs import CHECKPOINT
    from llm4teach.datasets.storage.parquet import local_copy

    checkpoint = path.parent / CHECKPOINT
    if not path.exists() or not checkpoint.exists():
        return path.exists()
    try:
        from llm4teach.student.export.onnx_policy import OnnxStudent

        with local_copy(path) as file:
            facts = OnnxStudent(file).facts
    except ImportError:  # is reported later, with what to install
        return True
    except ValueError:
        return False
    return bool(facts.get("checkpoint_sha256") == sha256_of(checkpoint))


def serve_student(path: StoragePath, host: str, port: int, max_batch: int) -> None:
    """Serve until interrupted.

    Raises:
        DatasetError: the file is no student, the address is in use, or the extra is not installed.
    """
    try:
        import uvicorn

        from llm4teach.datasets.storage.parquet import local_copy
        from llm4teach.student.export.onnx_policy import OnnxStudent
        from llm4teach.student.export.server import make_app
    except ImportError as error:
        message = (
            f"{error.name} is missing; install the serve extra: pip install 'llm4teach[serve]'"
        )
        raise DatasetError(message) from None
    try:
        with local_copy(path) as file:
            student = OnnxStudent(file)
    except (FileNotFoundError, ValueError) as error:
        raise DatasetError(str(error)) from None
    sockets = listen(host, port)
    address = f"[{host}]" if ":" in host else host
    print(
        f"student of {student.facts['task']} on http://{address}:{port} (Ctrl-C ends it)",
        flush=True,
    )
    app = make_app(student, max_batch)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that are bound to all addresses of a host, in IPv4 and IPv6.

    Raises:
        DatasetError: there is no such address here, or it is in use.
    """
    sockets: list[socket.socket] = []
    reason: object = "it has no address"
    try:
        for family, kind, protocol, _, address in dict.fromkeys(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ):
            try:
                sockets.append(_bound(socket.socket(family, kind, protocol), address))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                reason = error.strerror  # a machine without IPv6 has localhost in IPv4 only
    except (OSError, UnicodeError) as error:
        for opened in sockets:
            opened.close()
        sockets, reason = [], getattr(error, "strerror", None) or error
    if not sockets:
        raise DatasetError(
            f"cannot listen on port {port} of {host!r} ({reason}); choose others with --port and "
            "--host"
        )
    return sockets


def _bound(opened: socket.socket, address: Any) -> socket.socket:
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen()
    except OSError:
        opened.close()
        raise
    return opened
