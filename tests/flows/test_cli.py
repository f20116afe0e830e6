"""The command line: help, results on stdout, and every failure as one message on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError, TeacherError
from llm4teach.flows import launch
from llm4teach.flows.cli import pipeline
from llm4teach.flows.cli.main import COMMANDS, main

FLOWS = {name: kind for name, kind in COMMANDS.items() if issubclass(kind, pipeline.FlowCommand)}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> Path:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # never used: flows are fakes
    return own_folder


def run_with_fake_flow(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], outcome: BaseException | Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Run a command whose flow raises or returns ``outcome``; also return its parameters."""
    received: dict[str, Any] = {}

    def flow(**parameters: Any) -> Mapping[str, Any]:
        received.update(parameters)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    module = SimpleNamespace(**{kind.flow: flow for kind in FLOWS.values()})
    monkeypatch.setattr(launch, "import_module", lambda name: module)
    return main(argv), received


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  llm4teach {name}" in text
    assert ("--workspace" in text) == (name not in ("tasks", "new-task", "teachers", "prompts"))


SLOW = {
    "torch",
    "prefect",
    "numpy",
    "numba",
    "pyarrow",
    "duckdb",
    "rich",
    "asyncio",
    "pydantic_settings",
}


@pytest.mark.parametrize("argv", [["--help"], ["teach", "--help"], ["--version"], ["teach", "--x"]])
def test_nothing_slow_is_imported_before_a_command_runs(argv: list[str]) -> None:
    check = (
        "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules));"
        f"from llm4teach.flows.cli.main import main; main({argv})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert SLOW.isdisjoint(done.stdout.splitlines()[-1].split())


def test_numba_is_not_imported_before_an_environment_is_made() -> None:
    code = (
        "import sys; from llm4teach.envs.registry import get_task; get_task('SimpleDoorKey');"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "commands:" in shown.err and shown.out == ""


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["teech"], 2, "unknown command teech; did you mean teach? (see `llm4teach --help`)"),
        (["--task", "Maze"], 2, "unrecognized arguments: --task Maze (see `llm4teach --help`)"),
        (["teach", "--finetune.stps", "1"], 2, "did you mean --finetune.steps?"),
        (["teach", "--finetune.steps", "x"], 2, "--finetune.steps is 'x': Input should be"),
        (["teach", "--finetune.kl_coef=-1"], 2, "--finetune.kl-coef is '-1': Input should be"),
        (["teach", "--finetune.steps"], 2, "expected one argument"),
        (["teach", "--config", "no.toml"], 2, "configuration file no.toml does not exist"),
        (["teach", "--task", "Maze"], 2, "unknown task 'Maze'; the tasks are SimpleDoorKey"),
        (["teach", "--task", "LavaDoorKey-lava"], 2, "shifted variant, which nothing is trained"),
        (["teach", "--workspace", "gs://b/w"], 1, "only folders and s3://"),
        (["evaluate", "--from-run", "x"], 1, "no run 'x' in"),
        (["finetune", "--from-run", "x", "--resume", "y"], 2, "--resume is not allowed with"),
        (
            ["finetune", "--finetune.kl-schedule", "platau"],
            2,
            "did you mean plateau? The schedules are",
        ),
        (["models", "destroy"], 2, "argument: action is 'destroy': Input should be"),
        (["compare", "--seeds", "0"], 2, "--seeds is '0': Input should be greater than 0"),
        (["collect", "--finetune.steps", "1"], 2, "unknown argument --finetune.steps"),
        (["report"], 1, "there are no runs in"),
        (["report", "x"], 1, "no run 'x' in"),
        (["sql"], 2, "give one SQL statement"),
        (["sql", "SELECT 1", "-f", "x.sql"], 2, "give one SQL statement"),
        (["sql", "-f", "no.sql"], 1, "no.sql: No such file or directory"),
        (["sql", "SELECT 1", "--format", "xml"], 2, "--format is 'xml': Input should be 'table'"),
        (["sql", "SELECT 1", "--format", "parquet"], 2, "add --output FILE"),
    ],
)
def test_misuse_is_told_in_one_line(
    argv: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("llm4teach: error: ") and shown.err.count("\n") == 1
    assert message in shown.err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DatasetError("no trajectories"), 1, "error: no trajectories"),
        (TeacherError("no such model"), 1, "error: no such model"),
        (KeyError("oops"), 1, "error: KeyError: 'oops' (LLM4TEACH_DEBUG=1 shows where)"),
        (
            RuntimeError("Failed to reach API at http://x"),
            1,
            "http://x. Start it, or go without: unset",
        ),
        (KeyboardInterrupt(), 130, "llm4teach: interrupted"),
    ],
)
def test_what_a_flow_raises_is_told_in_one_line(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_with_fake_flow(monkeypatch, ["teach"], error)[0] == status
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert message in shown.err


def test_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM4TEACH_DEBUG", "1")
    assert run_with_fake_flow(monkeypatch, ["teach"], KeyError("oops"))[0] == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_gets_just_its_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, received = run_with_fake_flow(monkeypatch, [name, "--workspace", "w"], {"run_id": "r"})
    assert status == 0
    assert set(received) == {"settings"}
    assert received["settings"].workspace == "w"


def test_flags_reach_the_flow(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "workspace" / "runs" / "pretrain-1").mkdir(parents=True)
    argv = ["finetune", "--teacher", "recorded/vicuna-33b", "--finetune.kl-coef", "0"]
    argv += ["--seed=3", "--from-run", "pretrain-1"]
    _, received = run_with_fake_flow(monkeypatch, argv, {"run_id": "r"})
    settings = received["settings"]
    assert settings.teacher.teacher == "recorded/vicuna-33b"
    assert (settings.finetune.kl_coef, settings.seed) == (0, 3)
    assert received["from_run"] == "pretrain-1" and "resume" not in received


def test_an_evaluation_is_shown_as_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"success_rate": 0.935, "success_low": 0.91, "success_high": 0.954}
    row = {"policy": "student", "mode": "greedy", "episodes": 500, "mean_return": 0.8}
    result = {"run_id": "r", "table": [{**row, **rates, "mean_length": 20.46}], "report": "r.html"}
    assert run_with_fake_flow(monkeypatch, ["evaluate"], result)[0] == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[1].split("  ")[0] == "student"
    assert "93.5%" in lines[1] and "91.0% to 95.4%" in lines[1] and "20.5 steps" in lines[1]
    assert lines[-2:] == ["run: r", "report: r.html"]
    assert shown.err == ""


def test_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    assert "SimpleDoorKey" in capsys.readouterr().out


def test_teachers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llm4teach.teacher_labeling.factory")
    assert main(["teachers"]) == 0
    assert "recorded/vicuna-33b" in capsys.readouterr().out


def test_a_teacher_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--teacher", "recorded/vicuna-33b", "--replies"]
    assert main(["teacher", "check", *flags]) == 0
    out = capsys.readouterr().out
    assert "teacher: recorded/vicuna-33b@" in out
    for heading in ("advice", "entropy", "coverage", "tokens in", "seconds", "cost $"):
        assert heading in out
    assert "0 tokens in, 0 out, 0.000000 US dollars" in out
    assert main(["teacher", "check", "--teacher", "openai", "--teacher.method", "nonsense"]) == 2
    assert main(["teacher", "destroy"]) == 2


def test_prompts_are_listed_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "list"]) == 0
    assert "verbalized" in capsys.readouterr().out
    assert main(["prompts", "show", "SimpleDoorKey.logprobs"]) == 0
    shown = capsys.readouterr().out
    assert "B) go to key, pick up key" in shown and "$" not in shown
    assert main(["prompts", "show", "SimpleDorKey.logprobs"]) == 1
    assert "did you mean SimpleDoorKey.logprobs" in capsys.readouterr().err
    assert main(["prompts", "show"]) == 2
    assert main(["prompts", "list", "SimpleDoorKey.logprobs"]) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["watch"], "`watch` was removed: `tensorboard --logdir"),
        (["prompts", "diff", "a", "b"], "`prompts diff` was removed"),
        (["prompts", "test"], "`prompts test` was removed"),
        (["sql", "--shell"], "`sql --shell` was removed: `llm4teach sql --init-script FILE`"),
        (["export", "--quantize", "int8"], "`export --quantize` was removed"),
        (["export", "RUN", "--quantize=int8"], "`export --quantize` was removed"),
    ],
)
def test_a_removed_command_names_its_replacement(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_help_shows_choices_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--live.ask {unseen,budgeted,uncertain,never}" in text
    assert "--teacher.method {sampling,verbalized," in text, "of optional settings, too"
    assert "--seed N random seed (default: 0)" in text


def test_sql_from_a_file_to_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llm4teach.analysis.sql.query")
    (folder / "workspace").mkdir()
    (folder / "q.sql").write_text("SELECT count(*) AS n FROM advice")
    assert main(["sql", "-f", "q.sql", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 0}]
    assert main(["sql", "SELECT * FROM advise"]) == 1
    assert "Did you mean advice?" in capsys.readouterr().err


def test_the_newest_run_is_no_other_folder_and_no_failed_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NAS, a file system or a notebook put theirs beside the runs."""
    workspace = Workspace(folder / "workspace")
    for name in ("teach-20261129-080004-000001-ffff", "@eaDir", "lost+found", ".ipynb_checkpoints"):
        run = Run(workspace, name, "teach")
        run.start({"task": "SimpleDoorKey"})
        run.write_evaluation([])
    Run(workspace, "teach-20261129-080005-000001-ffff", "teach").start({})  # killed at once
    assert main(["report"]) == 0
    report = workspace.run("teach-20261129-080004-000001-ffff") / "report.html"
    assert capsys.readouterr().out.strip() == str(report)
    assert list((folder / "workspace" / "runs").glob("*/report.html")) == [report]
    assert main(["report", "@eaDir"]) == 1
    assert "no run '@eaDir'" in capsys.readouterr().err
