"""A teacher's identity comes from its settings alone; its set-up requests are few."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from asking import FAMILY, Make, make_states
from bad_server import BadServer

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.parsing import LETTERS
from llm4teach.teacher_labeling.elicitation.token_counts import tokens_of
from llm4teach.teacher_labeling.factory import (
    BACKENDS,
    Backend,
    make_teacher,
    resolve_model,
    teacher_info,
)
from llm4teach.teacher_labeling.teacher import Teacher, TeacherInfo

NOBODY = "http://127.0.0.1:1/v1"


def config_of(server: BadServer, **settings: Any) -> TeacherConfig:
    return TeacherConfig(
        teacher="openai", base_url=server.url, **{"model": "m", "n_samples": 1, **settings}
    )


def setup_requests(server: BadServer) -> list[str]:
    """The targets of all requests but questions."""
    return [target for target in server.targets if not target.endswith("/chat/completions")]


@pytest.mark.parametrize("method", ["sampling", "verbalized", "logprobs"])
def test_identity_works_with_the_server_down(method: str) -> None:
    config = TeacherConfig(teacher="openai", base_url=NOBODY, model="m", method=method)  # type: ignore[arg-type]
    info = teacher_info(config, FAMILY)
    teacher = make_teacher(config, FAMILY)
    assert teacher.info == info and info.remote
    assert list(teacher.advise([])) == []
    assert info.teacher_id.startswith(f"openai/m@served/{method}/")
    with pytest.raises(TeacherError, match="did not answer"):
        list(teacher.advise(make_states(1)))


def test_identity_strings_are_those_of_stored_advice() -> None:
    ids = {
        "openai": "openai/m@served/sampling/n=10,temperature=1,seed=0,max_tokens=200",
        "embedded": "embedded/smollm2-135m@instruct-q4_1/logprobs/orders=1",
        "vllm/org/m": "vllm/m@served/sampling/n=10,temperature=1,seed=0,max_tokens=200",
        "none": "none/uniform@1/uniform",
    }
    for teacher, expected in ids.items():
        config = TeacherConfig(teacher=teacher, base_url=NOBODY, model="m")
        assert teacher_info(config, FAMILY).teacher_id == expected
        wrapped = config.model_copy(update={"hard": True, "fault": "random", "fault_share": 0.5})
        info = teacher_info(wrapped, FAMILY)
        assert info.teacher_id.startswith(f"faulty-hard-{expected}")
        assert info.remote == (teacher == "openai")


def test_only_an_empty_model_of_a_server_is_looked_up(serve: Make) -> None:
    server = serve()
    for config in (config_of(server), TeacherConfig(teacher="none"), TeacherConfig()):
        assert resolve_model(config) is config
    assert server.targets == []
    assert resolve_model(config_of(server, model="")) == config_of(server)
    assert server.targets == ["/v1/models"]


@pytest.mark.parametrize("method", ["sampling", "verbalized"])
def test_one_setup_request_at_the_first_question_and_none_later(method: str, serve: Make) -> None:
    server = serve()
    server.reply = "A: 50%\nB: 40%\nC: 10%\nAction: {explore}"
    teacher = make_teacher(config_of(server, method=method), FAMILY)
    assert server.targets == []
    for first in range(3):
        assert len(list(teacher.advise(make_states(9)[first::3]))) == 3
    assert setup_requests(server) == ["/v1/models"]


def test_label_tokens_are_learned_once_per_server_and_model(serve: Make) -> None:
    server, config = serve(), TeacherConfig()
    for opening in range(3):
        config = config_of(server, method="logprobs", permutations=1)
        (advice,) = make_teacher(config, FAMILY).advise(make_states(1))
        assert "[logprob_token_ids]" in advice.replies[0]
        if opening == 0:
            assert setup_requests(server) == ["/v1/models", *["/tokenize"] * 26]
            server.targets.clear()
    assert setup_requests(server) == ["/v1/models", "/tokenize"] * 2  # one letter is checked


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"root": "", "tokens": [1]}',
        '{"root": "", "tokens": {"A": 65}}',
        json.dumps({"root": "", "tokens": dict.fromkeys(LETTERS[:26], -1)}),
        json.dumps({"root": "other", "tokens": {letter: ord(letter) for letter in LETTERS[:26]}}),
        json.dumps({"root": "", "tokens": dict.fromkeys(LETTERS[:26], 3)}),  # another model
    ],
)
def test_a_stored_table_that_does_not_fit_is_learned_anew(content: str, serve: Make) -> None:
    server = serve()
    config = config_of(server, method="logprobs", permutations=1)
    (advice,) = make_teacher(config, FAMILY).advise(make_states(1))
    (file,) = Path(os.environ["LLM4TEACH_CACHE"]).rglob("*.json")
    good = file.read_text()
    file.write_text(content)
    (again,) = make_teacher(config, FAMILY).advise(make_states(1))
    assert again.plans == advice.plans and file.read_text() == good


def test_a_cache_that_cannot_be_written_does_no_harm(
    serve: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "file"))
    config = config_of(serve(), method="logprobs")
    assert len(list(make_teacher(config, FAMILY).advise(make_states(2)))) == 2


def test_counting_tokens_needs_no_other_setup(serve: Make) -> None:
    server = serve()
    counts = tokens_of(make_teacher(config_of(server), FAMILY), make_states(2))
    assert counts is not None and not counts.is_guess
    assert server.targets == ["/tokenize"] * 2
    down = TeacherConfig(teacher="openai", base_url=NOBODY, model="m", max_retries=0)
    counts = tokens_of(make_teacher(down, FAMILY), make_states(2))
    assert counts is not None and counts.is_guess


def test_a_new_teacher_is_one_class_and_one_entry_and_is_not_billed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class New:
        info = TeacherInfo("new", "m", "1", "sampling")

        def advise(self, states: Any) -> Any:
            return iter(())

        def close(self) -> None:
            pass

    def make(config: TeacherConfig, family: str, model: str, api_key: str) -> Teacher:
        return New()

    monkeypatch.setitem(BACKENDS, "new", Backend(make, "a new one"))
    info = teacher_info(TeacherConfig(teacher="new", hard=True), FAMILY)
    assert info.backend == "hard-new" and not info.remote
