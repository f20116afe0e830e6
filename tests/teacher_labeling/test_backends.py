"""Naming teachers: every known name works, every wrong one is answered with the right ones."""

import math
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from probe import probe_states

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.recorded import recordings
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import (
    check_installed,
    list_teachers,
    make_teacher,
    teacher_info,
)
from llm4teach.teacher_labeling.labeling.budget import priced
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.teacher import AdviceStatus

FAMILY = "SimpleDoorKey"


def test_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path))
    choices = {choice.spec: choice for choice in list_teachers()}
    assert choices["recorded/vicuna-33b"].ready
    assert choices["embedded/smollm2-135m"].ready
    large = choices["embedded/qwen2.5-coder-1.5b"]
    assert not large.ready
    assert "llm4teach teachers --fetch qwen2.5-coder-1.5b" in large.hint
    config = TeacherConfig(teacher=large.spec)
    teacher = make_teacher(config, FAMILY)
    assert teacher.info == teacher_info(config, FAMILY), "its identity needs no weights"
    with pytest.raises(TeacherError, match="--fetch"):
        list(teacher.advise(probe_states(FAMILY)))
    with pytest.raises(TeacherError, match="--fetch"):
        check_installed(config)


@pytest.mark.parametrize(
    "spec", ["", "gpt", "recorded", "recorded/none", "embedded/gpt-9", "openai/x", "none/x", "vLLM"]
)
def test_unknown_teacher(spec: str) -> None:
    with pytest.raises(TeacherError, match=r"recorded/vicuna-33b.*openai"):
        make_teacher(TeacherConfig(teacher=spec), FAMILY)


def test_vllm_says_what_it_lacks() -> None:
    with pytest.raises(TeacherError, match="needs a model"):
        make_teacher(TeacherConfig(teacher="vllm"), FAMILY)
    if find_spec("vllm") is None:
        (choice,) = (choice for choice in list_teachers() if choice.spec == "vllm")
        assert not choice.ready and "pip install" in choice.hint
        for teacher in ("vllm", "vllm/org/model"):
            config = TeacherConfig(teacher=teacher, model="org/model")
            with pytest.raises(TeacherError, match=r"not installed; install it .*pip install"):
                list(make_teacher(config, FAMILY).advise(probe_states(FAMILY)))
            with pytest.raises(TeacherError, match="not installed"):
                check_installed(config)
    with pytest.raises(ValueError, match="JSON"):
        TeacherConfig(vllm_options="dtype=float32")


def test_no_recording_for_the_family() -> None:
    with pytest.raises(TeacherError, match="NoSuchTask"):
        make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), "NoSuchTask")


def test_another_prompt_makes_another_teacher() -> None:
    versions = set()
    for prompt in (None, "embedded", "embedded-six"):
        teacher = make_teacher(TeacherConfig(prompt=prompt), FAMILY)
        versions.add((teacher.info.prompt_version, teacher.info.settings))
        teacher.close()
    assert len(versions) == 2 and {settings for _, settings in versions} == {"orders=1", "orders=3"}
    with pytest.raises(TeacherError, match="no nonsense prompt"):
        make_teacher(TeacherConfig(prompt="nonsense"), FAMILY)


def test_a_recording_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    config = TeacherConfig(teacher="recorded", recording=own)
    with pytest.raises(TeacherError, match=r"own\.json"):
        make_teacher(config, FAMILY)
    own.write_bytes(recordings()["vicuna-33b"].read_bytes())
    assert make_teacher(config, FAMILY).info.model == "vicuna-33b"


def test_the_control_is_uniform_over_the_admissible_plans_and_free(
    states: list[State], tmp_path: Path
) -> None:
    config = TeacherConfig(teacher="none")
    teacher = make_teacher(config, FAMILY)
    store = AdviceStore(tmp_path, teacher.info.teacher_id, teacher.info.prompt_version)
    limits = priced(config, LabelConfig(max_cost=1.0, max_tokens=10), teacher.info)
    report = label_states(teacher, store, states, limits=limits)
    assert (report.ok, report.cost, report.prompt_tokens, report.stopped_by) == (6, 0.0, 0, "")
    options = {state.key: [str(plan) for plan in sorted(state.options)] for state in states}
    for row in store.rows():
        plans = options[row["state_key"]]
        assert [o["plan"] for o in row["options"]] == plans
        assert {o["probability"] for o in row["options"]} == {1 / len(plans)}
    (nothing,) = teacher.advise([State("k", "a state without options", ())])
    assert nothing.status is AdviceStatus.NO_ADVICE


def test_every_setting_is_described() -> None:
    assert all(field.description for field in TeacherConfig.model_fields.values())


def install_in_place_of_vllm(monkeypatch: pytest.MonkeyPatch, engine: type) -> None:
    fake = ModuleType("vllm")
    parameters = SimpleNamespace
    vars(fake).update(LLM=engine, SamplingParams=parameters, __spec__=ModuleSpec("vllm", None))
    monkeypatch.setitem(sys.modules, "vllm", fake)


class Letters:
    """An engine and tokenizer: a letter is a token, and A is half as likely as B."""

    batches: ClassVar[list[int]] = []

    def __init__(self, **options: object) -> None:
        self.batches.clear()

    def get_tokenizer(self) -> "Letters":
        return self

    def encode(self, text: str, **_: object) -> list[int]:
        return [ord(letter) for letter in text]

    def chat(self, chats: list[Any], parameters: list[Any], **_: object) -> list[Any]:
        self.batches.append(len(chats))
        if len(chats) > 1 and any("too long" in chat[-1]["content"] for chat in chats):
            raise ValueError("The decoder prompt is longer than the maximum of 64.")
        if "too long" in chats[0][-1]["content"]:
            raise ValueError("The decoder prompt is longer than the maximum of 64.")
        return [self._output(wanted) for wanted in parameters]

    def _output(self, wanted: Any) -> Any:
        ids = getattr(wanted, "logprob_token_ids", [])
        table = {i: SimpleNamespace(logprob=math.log(0.1 * (i - ord("A") + 1))) for i in ids}
        reply = SimpleNamespace(
            text="Action: {explore}", finish_reason="stop", token_ids=[1, 2], logprobs=[table]
        )
        return SimpleNamespace(prompt_token_ids=[1] * 5, outputs=[reply] * getattr(wanted, "n", 1))


def test_batches_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores and replies are read, shared requests sent once, and a refused state fails alone."""
    install_in_place_of_vllm(monkeypatch, Letters)
    states = list(probe_states(FAMILY))
    settings: dict[str, Any] = {"teacher": "vllm/org/model", "method": "logprobs"}
    calibrated = TeacherConfig(**settings, permutations=1, calibrate=True)
    teacher = make_teacher(calibrated, FAMILY)
    assert all(advice.plans for advice in teacher.advise(states))
    assert Letters.batches == [6], "one chat per state, and one per distinct list of options"
    list(teacher.advise(states))
    assert Letters.batches == [6, 3]
    plain = make_teacher(TeacherConfig(**settings, permutations=1), FAMILY)
    advice = {advice.state.key: advice for advice in plain.advise(states)}[states[1].key]
    assert dict(advice.plans) == pytest.approx(
        {plan: (i + 1) / 6 for i, plan in enumerate(states[1].options)}
    )
    assert (advice.prompt_tokens, advice.completion_tokens) == (5, 2)
    sampled = make_teacher(TeacherConfig(teacher="vllm/org/model", n_samples=3), FAMILY)
    long, kept = State("long", "too long", ()), []
    with pytest.raises(TeacherError, match="lower max_tokens") as caught:
        for advice in sampled.advise([states[0], long, states[1]]):
            kept.append((advice.state.key, advice.n_samples, str(advice.plans[0][0])))
    assert kept == [(states[0].key, 3, "explore"), (states[1].key, 3, "explore")]
    assert caught.value.failed_states == {"long"} and not sampled.info.remote


def test_a_prompt_that_vllm_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of vLLM, which is not in this environment, something that raises what it raises."""

    class TooShort:
        def __init__(self, **options: object) -> None:
            pass

        def chat(self, *arguments: object, **options: object) -> None:
            raise ValueError("The decoder prompt (length 512) is longer than the maximum of 64.")

    install_in_place_of_vllm(monkeypatch, TooShort)
    teacher = make_teacher(TeacherConfig(teacher="vllm/org/model"), FAMILY)
    with pytest.raises(TeacherError, match=r"length 512.*lower max_tokens or raise max_model_len"):
        list(teacher.advise(probe_states(FAMILY)))


def test_importing_is_light() -> None:
    code = (
        "import sys, llm4teach.teacher_labeling.factory as b\n"
        "b.make_teacher(b.TeacherConfig(teacher='recorded/vicuna-33b'), 'SimpleDoorKey')\n"
        "heavy = ('xllamacpp', 'httpx', 'aiohttp', 'pyarrow', 'torch')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
