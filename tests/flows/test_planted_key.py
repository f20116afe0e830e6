"""An API key that a server quotes is in nothing that the pipeline writes or prints."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bad_server import BadServer

from llm4teach.flows.cli.main import main
from llm4teach.teacher_labeling.backends.openai import client as openai_client

SECRET = "sk-planted-0badcafe"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    monkeypatch.setenv("LLM4TEACH_API_KEY", SECRET)
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "false")
    monkeypatch.setattr(openai_client, "FIRST_WAIT_S", 0.01)
    made = BadServer(["500", "html", "reset mid-body"], rate=0.2)
    made.reply = f"Thank you for the key {SECRET}.\nAction: {{explore}}"
    yield made
    made.close()


def everything_in(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            yield path, str(pq.read_table(path).to_pylist()) + str(pq.read_schema(path))
        elif path.is_file():
            yield path, path.read_bytes().decode("utf-8", "replace")


def test_a_planted_key(
    server: BadServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    openai = ["--teacher", "openai", "--teacher.base-url", server.url, "--teacher.n-samples", "2"]
    assert main(["collect", "--collect.steps", "400", *openai, "--quiet"]) == 0
    assert main(["label", *openai]) == 0
    assert main(["report"]) == 0
    assert main(["teacher", "check", "--replies", *openai]) == 0
    server.down = True
    assert main(["teacher", "check", *openai, "--teacher.max-retries", "1"]) == 1
    shown = capfd.readouterr()
    assert SECRET not in shown.out and SECRET not in shown.err
    assert "***" in shown.out  # it was there to be seen
    written = dict(everything_in(tmp_path))
    assert [path for path in written if path.name.startswith("part-")]
    assert [path for path in written if path.name == "manifest.json"]
    assert [path for path, text in written.items() if path.suffix == ".parquet" and "***" in text]
    assert [path for path, text in written.items() if SECRET in text] == []
