"""The command `llm4teach`: parse, run one command, and report every failure in one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from llm4teach.errors import LLM4TeachError
from llm4teach.flows.cli import (
    data,
    experiments,
    models,
    pipeline,
    play,
    service,
    tasks,
    teachers,
)
from llm4teach.flows.cli.parser import Command, parse, root_parser
from llm4teach.flows.cli.signals import INTERRUPTED, handle_signals, status_of_signal
from llm4teach.flows.cli.streams import (
    discard_output,
    flush_stdout,
    is_unread,
    prepare_streams,
)
from llm4teach.flows.runtime.settings import Settings, load_settings

_ALL: tuple[type[Command], ...] = (
    *(pipeline.Teach, pipeline.Collect, pipeline.Label, pipeline.Pretrain, pipeline.Finetune),
    *(pipeline.Evaluate, pipeline.Retrain, models.Models, models.Export),
    *(experiments.Compare, experiments.Experiment, experiments.Report, play.Play),
    *(data.Sql, data.Compact, data.Import, data.ExportData, tasks.Tasks, tasks.NewTask),
    *(teachers.Teachers, teachers.TeacherCommand, teachers.Prompts),
    *(service.Up, service.Down, service.Serve, service.ServeStudent),
)
COMMANDS = {kind.command: kind for kind in _ALL}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 1 (it failed), 2 (misuse) or 130 (Ctrl-C)."""
    if argv is None:  # as a program, not called from another one
        prepare_streams()
        handle_signals()
    try:
        try:
            return _main(sys.argv[1:] if argv is None else argv)
        finally:
            flush_stdout()
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_unread():
            discard_output()
            return 128 + signal.SIGPIPE
        if status := status_of_signal():
            _say("interrupted")
            return status
        if os.environ.get("LLM4TEACH_DEBUG"):
            traceback.print_exc()
        message, status = _explain(error)
        _say(f"error: {message}")
        return status


def _main(argv: Sequence[str]) -> int:
    if not argv:
        root_parser(COMMANDS).print_help(sys.stderr)
        return 2
    command, flags = parse(argv, COMMANDS)
    if getattr(command, "quiet", False):
        os.environ["LLM4TEACH_QUIET"] = "1"
    config = getattr(command, "config", None)
    settings = load_settings(flags, config) if command.uses else Settings()
    command.run(settings, flags)
    return 0


def _say(message: str) -> None:
    with suppress(OSError):  # nobody reads it
        print(f"llm4teach: {message}", file=sys.stderr, flush=True)


def _explain(error: Exception) -> tuple[str, int]:
    """Return the message for people, and the exit status."""
    message = str(error).strip()
    if isinstance(error, LLM4TeachError):
        return message, error.exit_status
    from llm4teach.flows.runtime import prefect_env, temporary_server

    if temporary := temporary_server.failure():  # whatever its clients made of it
        return temporary, 1
    if type(error).__name__ == "ConnectError":  # of httpx, which is what Prefect's client uses
        server = prefect_env.own_server()
        message = f"Failed to reach API at {prefect_env.shown_url(server.url) if server else '?'}"
    if "Failed to reach API" in message and (server := prefect_env.own_server()):
        way_out = f"Start it, or go without: {server.to_unset} (its address is in {server.source})"
        return f"{message.splitlines()[0].rstrip('/.')}. {way_out}", 1
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename2 or error.filename}: {error.strerror}", 1
    hint = "" if os.environ.get("LLM4TEACH_DEBUG") else " (LLM4TEACH_DEBUG=1 shows where)"
    return f"{type(error).__name__}: {message}{hint}", 1


if __name__ == "__main__":
    sys.exit(main())
