"""The command line as a process: a reader that leaves early, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    return own_folder


def test_the_reader_of_a_pipe_may_leave_early(folder: Path) -> None:
    pytest.importorskip("llm4teach.analysis.sql.query")
    (folder / "workspace").mkdir()
    sql = "SELECT * FROM range(200000)"
    command = [sys.executable, "-m", "llm4teach", "sql", sql, "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_ends_a_run_at_once_and_its_server_too(folder: Path) -> None:
    """For real: a flow that runs in Prefect's temporary server, and a terminal's Ctrl-C."""
    (folder / "slow.py").write_text(
        "import sys, time, types\n"
        "from llm4teach.flows import launch\n"
        "from llm4teach.flows.cli import main as cli\n"
        "def import_module(name):\n"
        "    from prefect import flow\n"
        "    @flow\n"
        "    def collect_trajectories(**parameters):\n"
        "        open('began', 'w').close()\n"
        "        time.sleep(3600)\n"
        "    return types.SimpleNamespace(collect_trajectories=collect_trajectories)\n"
        "launch.import_module = import_module\n"
        "sys.argv = ['llm4teach', 'collect']\n"
        "sys.exit(cli.main())\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    env |= {"HOME": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "slow.py"], env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while not (folder / "began").exists() and process.poll() is None:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        _, printed = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130
    assert printed == b"llm4teach: interrupted\n"
    with pytest.raises(ProcessLookupError):  # nothing of its group is left
        os.killpg(process.pid, 0)


MADE_ANOTHER_OF_IT = """
import os, signal, sys, time
import llm4teach.flows.cli.main as cli

def command(words):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt as error:
        raise ValueError("cannot serialize KeyboardInterrupt") from error

cli._main = command
sys.exit(cli.main())
"""


def test_what_a_library_makes_of_an_interruption_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MADE_ANOTHER_OF_IT], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "llm4teach: interrupted\n")
