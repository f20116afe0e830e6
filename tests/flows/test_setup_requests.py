"""A run makes few requests besides its questions, and none where it asks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_server import BadServer

from llm4teach.flows.cli.main import main

SMALL = {
    "collect": ("--collect.steps", "512"),
    "label": (),
    "pretrain": ("--pretrain.epochs", "2"),
    "finetune": (
        *("--finetune.steps", "512", "--finetune.n-envs", "8", "--finetune.rollout-length", "16"),
    ),
    "evaluate": ("--evaluate.episodes", "4"),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[BadServer]:
    for variable in ("LLM4TEACH_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    server = BadServer()
    yield server
    server.close()


@pytest.mark.extended
@pytest.mark.parametrize("model", ["m", ""], ids=["named", "asked for"])
@pytest.mark.parametrize("method", ["sampling", "logprobs"])
def test_a_teach_makes_less_than_five(model: str, method: str, server: BadServer) -> None:
    """It was 476; the tokens of the 26 option letters are learned once per server and model."""
    openai = ["--teacher", "openai", "--teacher.base-url", server.url, "--teacher.model", model]
    small = [word for words in SMALL.values() for word in words]
    assert main(["teach", *small, *openai, "--teacher.method", method, "--quiet"]) == 0
    setup = [target for target in server.targets if not target.endswith("/chat/completions")]
    assert server.asked and len([target for target in setup if target != "/tokenize"]) < 5
    assert setup.count("/tokenize") == (26 if method == "logprobs" else 0)


@pytest.mark.extended
def test_stages_that_ask_nothing_run_with_the_server_down(server: BadServer) -> None:
    openai = ["--teacher", "openai", "--teacher.base-url", server.url, "--teacher.model", "m"]
    assert main(["collect", *SMALL["collect"], *openai, "--quiet"]) == 0
    assert server.targets == [], "no advice is needed to explore"
    assert main(["label", *openai, "--quiet"]) == 0
    server.close()
    for command in ("label", "pretrain", "collect", "evaluate"):
        assert main([command, *SMALL[command], *openai, "--quiet"]) == 0, command
