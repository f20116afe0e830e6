"""Commands on terminals as they are: other encodings, closed streams, no width, a full disk."""

from __future__ import annotations

import codecs
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.flows.cli import streams
from llm4teach.flows.cli.main import main

ROOT = Path(streams.__file__).resolve().parents[2]
FOLDERS = ("flows", "analysis", "student", "datasets", "teacher_labeling", "envs")


@pytest.fixture(scope="module", autouse=True)
def handler() -> None:
    codecs.register_error(streams._ERRORS, streams._degrade)


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    return own_folder


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "shift-jis", "utf-8"])
@given(text=st.text(st.characters()))
def test_any_text_can_be_written(encoding: str, text: str) -> None:
    written = text.encode(encoding, streams._ERRORS).decode(encoding)
    if text.isascii():
        assert written in (text, text.replace("\\", "¥").replace("~", "‾"))


def test_our_own_characters_have_similar_ones() -> None:
    code = "".join(
        path.read_text("utf-8") for name in FOLDERS for path in ROOT.glob(f"{name}/**/*.py")
    )
    table = "┌─┬┐│├┼┤└┴┘…"
    ours = sorted({*code, *table} - {chr(i) for i in range(128)})
    poor = [c for c in ours if "?" in c.encode("ascii", streams._ERRORS).decode()]
    assert not poor
    assert "é – 1²…".encode("ascii", streams._ERRORS) == b"e - 12..."
    assert "é – …".encode("latin-1", streams._ERRORS) == b"\xe9 - ..."
    assert "日本".encode("ascii", streams._ERRORS) == b"????", "as wide as before"


@pytest.mark.parametrize("columns", ["0", "1", "7", "wide"])
def test_tables_need_no_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["teachers"]) == 0
    assert "cuna-33b" in capsys.readouterr().out, "long words are broken, not cut"


def run(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell, in which $L is the command."""
    command = f"{sys.executable} -m llm4teach"
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONUNBUFFERED", "PYTHONUTF8")}
    return subprocess.run(
        ["bash", "-c", f"L='{command}'; {line}"],
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        cwd=folder,
    )


@pytest.mark.extended
def test_a_terminal_that_is_not_utf8(folder: Path) -> None:
    (folder / "workspace").mkdir()
    line = """$L sql "SELECT 'é–日' AS x" """
    done = run(line, folder, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"| e-?? " in done.stdout and b"+---" in done.stdout
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("""$L sql -f - --format csv <<< "SELECT 'é–日' AS x" """, folder, **locale)
    assert done.returncode == 0 and done.stdout == b"x\ne-??\n"
    assert b"--output FILE is UTF-8" in done.stderr
    done = run("$L sql 'SELECT 1' -f x.sql", folder, PYTHONIOENCODING="latin-1")
    assert done.returncode == 2 and done.stderr.startswith(b"llm4teach: error: give one SQL")


@pytest.mark.extended
def test_closed_streams(folder: Path) -> None:
    (folder / "workspace").mkdir()
    sql = "$L sql 'SELECT 42 AS x' --format csv"
    done = run(f"{sql} -o answer.csv >&- 2>&- <&-", folder)
    assert done.returncode == 0 and (folder / "answer.csv").read_text() == "x\n42\n"
    done = run(f"{sql} >&-", folder)
    assert (done.returncode, done.stderr) == (0, b"")
    done = run(f"{sql} 2>&-", folder)
    assert (done.returncode, done.stdout) == (0, b"x\n42\n")
    assert run("$L sql 2>&-", folder).returncode == 2
    assert not [path for path in folder.iterdir() if path.name not in ("workspace", "answer.csv")]


@pytest.mark.extended
@pytest.mark.parametrize("command", ["sql 'SELECT 1'", "tasks", "--version", "sql --help"])
def test_nobody_reads_the_output(command: str, folder: Path) -> None:
    (folder / "workspace").mkdir()
    done = run(f"$L {command} | true; exit ${{PIPESTATUS[0]}}", folder)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.extended
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_and_devices(folder: Path) -> None:
    (folder / "workspace").mkdir()
    done = run("$L sql 'SELECT 1' > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr == b"llm4teach: error: cannot write the output: No space left on device\n"
    (folder / "pipe").unlink(missing_ok=True)
    done = run("mkfifo pipe; cat pipe & $L sql 'SELECT 1 x' --format csv -o pipe; wait", folder)
    assert (done.returncode, done.stdout) == (0, b"x\n1\n")


def test_a_folder_in_place_of_a_file_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "workspace").mkdir()
    (folder / "out").mkdir()
    (folder / "file").touch()
    assert main(["sql", "SELECT 1", "--format", "csv", "-o", "out"]) == 1
    assert capsys.readouterr().err == "llm4teach: error: out: Is a directory\n"
    assert main(["sql", "SELECT 1", "--format", "csv", "-o", "file/out.csv"]) == 1
    assert capsys.readouterr().err.startswith("llm4teach: error: file")


@pytest.mark.extended
def test_the_module_takes_nothing_from_the_current_folder(folder: Path) -> None:
    (folder / "workspace").mkdir()
    for name in ("rich.py", "duckdb.py", "minigrid.py", "prefect.py", "statistics.py"):
        (folder / name).write_text("raise SystemExit('not this one')")
    done = run("$L sql 'SELECT 42 AS x' --format csv", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n42\n", b"")


def test_errors_with_characters_that_no_encoding_has(folder: Path) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=streams._ERRORS)
    stream.write("a file called \udcff")
    stream.flush()
    assert buffer.getvalue() == b"a file called ?"
