"""Command serve-student: an exported student behind HTTP, on this machine alone unless asked."""

from __future__ import annotations

import socket
from pathlib import Path

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.flows.cli.parser import Parser, positive


def add_serve_student_arguments(parser: Parser) -> None:
    """Add what is no setting."""
    parser.add_argument(
        "student",
        nargs="?",
        metavar="RUN|FILE",
        help="an .onnx file, or the run whose student to serve (default: the task's champion, "
        "else the newest)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=positive, default=8080, help="(default: %(default)s)")
    parser.add_argument(
        "--max-batch", type=positive, default=1024, help="observations a request (default: 1024)"
    )


def exported(workspace: Workspace, task: str, given: str | None) -> StoragePath:
    """Return the ONNX file to serve; a run's student is exported first where it has not been.

    Raises:
        DatasetError: there is no such file, run or student.
    """
    from llm4teach.datasets.champions import Registry
    from llm4teach.envs.registry import get_training_task
    from llm4teach.flows.stages.checkpoints import newest_student
    from llm4teach.flows.stages.export import export

    if given and Path(given).suffix == ".onnx":
        return Path(given)
    champion = Registry(workspace.registry(task)).champion()
    newest = champion.run_id if champion else None
    run_id = given or newest or newest_student(workspace, get_training_task(task))
    path = workspace.existing_run(run_id) / "student.onnx"
    return path if path.exists() else export(workspace, run_id, "onnx", path)[0]


def serve_student(path: StoragePath, host: str, port: int, max_batch: int) -> None:
    """Serve until interrupted.

    Raises:
        DatasetError: the file is no student, the address is taken, or the extra is not installed.
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
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            message = f"cannot listen on {host}:{port} ({reason}); choose another with --port"
            raise DatasetError(message) from None
    print(
        f"student of {student.facts['task']} on http://{host}:{port} (Ctrl-C ends it)", flush=True
    )
    app = make_app(student, max_batch)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
