"""The embedded engine and teacher, with the real small model."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.llama_cpp.engine import LlamaEngine, Usage
from llm4teach.teacher_labeling.backends.llama_cpp.weights import embedded_model, find_weights
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus

PROMPT = "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\nIt is"


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaEngine]:
    engine = LlamaEngine(find_weights(embedded_model("smollm2-135m")), slots=1)
    yield engine
    engine.close()


def test_a_score_is_the_product_of_next_token_probabilities(engine: LlamaEngine) -> None:
    text = " go to key, pick up key"
    spent = Usage()
    score = engine.score(PROMPT, text, spent)
    slow, prompt = 0.0, PROMPT
    for token in engine.tokenize(text):
        reply = engine._complete(prompt, 0, 1, Usage(), n_probs=100_000)  # the whole vocabulary
        (step,) = reply["choices"][0]["logprobs"]["content"]
        by_id = {t["id"]: t for t in step["top_logprobs"]}
        assert sum(math.exp(t["logprob"]) for t in by_id.values()) == pytest.approx(1, abs=1e-2)
        slow += by_id[token]["logprob"]
        prompt += bytes(by_id[token]["bytes"]).decode()
    assert prompt == PROMPT + text
    assert score == pytest.approx(slow, abs=0.05)
    assert spent.completion_tokens == len(engine.tokenize(text))
    assert spent.prompt_tokens > 10


def test_greedy_text_stops_before_the_stop(engine: LlamaEngine) -> None:
    first = engine.generate(PROMPT, "\n", 12, Usage())
    assert first
    assert "\n" not in first
    assert engine.generate(PROMPT, "\n", 12, Usage()) == first


def test_no_port_is_open(engine: LlamaEngine) -> None:
    assert engine._server.listening_address.startswith("unix:")


def test_the_teacher_is_silent(states: list[State], capfd: pytest.CaptureFixture[str]) -> None:
    teacher = make_teacher(TeacherConfig(orders=1), "SimpleDoorKey")
    (advice,) = teacher.advise(states[:1])
    nothing_to_choose = State("k", states[0].text, ())
    assert [a.status for a in teacher.advise([nothing_to_choose])] == [AdviceStatus.NO_ADVICE]
    teacher.close()
    assert advice.plans == ((states[0].options[0], 1.0),)
    assert advice.prompt_tokens > 100
    assert advice.completion_tokens > 10
    assert capfd.readouterr() == ("", "")


def test_a_question_counts_the_same_tokens_whenever_it_is_asked(states: list[State]) -> None:
    """Cached ones included, and also as the first one after the model was loaded."""

    def tokens(advice: Advice) -> tuple[int, int, int]:
        return advice.prompt_tokens, advice.cached_prompt_tokens, advice.completion_tokens

    loaded_again = make_teacher(TeacherConfig(orders=1), "SimpleDoorKey")
    (alone,) = loaded_again.advise(states[:1])
    loaded_again.close()
    teacher = make_teacher(TeacherConfig(orders=1), "SimpleDoorKey")
    _, later = teacher.advise([states[2], states[0]])
    teacher.close()
    assert tokens(alone) == tokens(later)
    prompt, cached, _ = tokens(alone)
    assert 0.5 * prompt < cached < prompt, "it starts from the cached worked examples"


def test_a_broken_model_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing")
    with pytest.raises(TeacherError, match=r"broken\.gguf cannot be loaded"):
        LlamaEngine(broken)
    with pytest.raises(TeacherError, match=r"none\.gguf cannot be loaded"):
        LlamaEngine(tmp_path / "none.gguf")


@pytest.mark.extended
def test_a_tree_of_plans_has_the_scores_of_each_plan_by_itself() -> None:
    """Against the slow way, with the real model; pruned, only what is unlikely differs."""
    (state, *_) = get_task("BabyAI-PutNextLocal-v0").example_states()

    def advice(prune: float) -> Advice:
        config = TeacherConfig(orders=1, prune=prune)
        teacher = make_teacher(config, "MiniGridRaw")
        (advice,) = teacher.advise([state])
        teacher.close()
        return advice

    exact, tree, pruned = advice(0), advice(1e-12), advice(0.05)
    assert len(state.options) > 15 and len(exact.plans) == len(state.options)
    expected = dict(exact.plans)
    assert dict(tree.plans) == {plan: pytest.approx(p, abs=0.02) for plan, p in expected.items()}
    assert pruned.completion_tokens < exact.completion_tokens / 2
    assert all(abs(dict(pruned.plans)[plan] - p) < 0.1 for plan, p in expected.items())
