"""Real vLLM: every elicitation, through its server and in-process, and the embedded engine beside.

``make test-vllm`` makes vLLM's environment and the models and runs this; else it is skipped.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probe import probe_states

from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State, describe
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import tokens_of
from llm4teach.teacher_labeling.factory import make_teacher, resolve_model
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("LLM4TEACH_VLLM_VENV", ""))
FAMILY = "SimpleDoorKey"
# The embedded engine rounds activations to 8 bits where vLLM computes in float32.
TOLERANCE = 0.05  # of a probability
START_S = 1500  # a busy machine takes its time; a server that has died is noticed at once

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        "LLM4TEACH_VLLM_VENV" not in os.environ, reason="needs vLLM: run `make test-vllm`"
    ),
]


def environment() -> dict[str, str]:
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    cpu = {"TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return os.environ | quiet | cpu | {"PYTHONPATH": str(ROOT / ".typecheck")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(model: str, log: Path) -> Iterator[str]:
    port = free_port()
    flags = ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--max-num-seqs", "32"]
    flags += ["--max-model-len", "2048", "--gpu-memory-utilization", "0.3"]
    place = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", model]
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                *(VENV / "bin/python", "-m", "vllm.entrypoints.openai.api_server"),
                *("--model", VENV / "models" / model, *place, *flags),
            ],
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve("smollm2", tmp_path_factory.mktemp("vllm") / "server.log")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve("tiny", tmp_path_factory.mktemp("vllm") / "server.log")


def real_states() -> list[State]:
    """What an agent that walks at random comes to see."""
    task, rng = get_task(FAMILY), np.random.default_rng(0)
    env, rows = task.make_env(), []
    for seed in range(40):
        rows.append(env.reset(seed=seed)[0])
        rows += [env.step(int(rng.integers(0, 4)))[0] for _ in range(30)]
    return list({state.key: state for state in describe(task, np.stack(rows))}.values())


def ask(states: list[State], **settings: Any) -> dict[str, Advice]:
    made = make_teacher(resolve_model(TeacherConfig(**settings)), FAMILY)
    begin = time.perf_counter()
    found = {advice.state.key: advice for advice in made.advise(states)}
    seconds = time.perf_counter() - begin
    made.close()
    assert sorted(found) == sorted(state.key for state in states)
    coverage = np.mean([advice.coverage for advice in found.values()])
    tokens = sum(a.prompt_tokens + a.completion_tokens for a in found.values())
    print(
        f"\n{made.info.teacher_id}: {len(states)} states, {seconds / len(states):.2f} s each, "
        f"coverage {coverage:.3f}, {tokens} tokens"
    )
    return found


@pytest.mark.parametrize("method", ["sampling", "verbalized", "logprobs", "judgments"])
def test_every_elicitation(method: str, smollm2: str) -> None:
    found = ask(real_states(), teacher="openai", base_url=smollm2, method=method)
    for advice in found.values():
        assert advice.prompt_tokens > 100 and advice.completion_tokens > 0
        assert advice.replies
        if method in ("logprobs", "judgments"):
            assert advice.status is AdviceStatus.OK
            assert 0 < advice.coverage <= 1
            assert all("[logprob_token_ids]" in reply for reply in advice.replies)
        if method == "verbalized" and advice.status is AdviceStatus.OK:
            assert advice.raw_sum is not None and advice.raw_sum > 0


def test_the_same_seed_gives_the_same_replies(smollm2: str) -> None:
    states, settings = list(probe_states(FAMILY)), {"teacher": "openai", "base_url": smollm2}
    first, again, other = (ask(states, n_samples=4, seed=s, **settings) for s in (1, 1, 2))
    assert [a.replies for a in first.values()] == [first[k].replies for k in first]
    same = sum(first[k].replies == again[k].replies for k in first)
    assert same >= 2  # batches of another make-up round otherwise, and a draw may tip
    assert all(first[k].replies != other[k].replies for k in first)


@pytest.mark.parametrize("calibrate", [False, True])
def test_the_embedded_engine_scores_alike(smollm2: str, calibrate: bool) -> None:
    states = real_states()
    settings = {"method": "logprobs", "calibrate": calibrate}
    served = ask(states, teacher="openai", base_url=smollm2, **settings)
    embedded = ask(states, teacher="embedded", **settings)
    worst = 0.0
    for key, advice in served.items():
        mine, theirs = dict(embedded[key].plans), dict(advice.plans)
        worst = max(worst, *(abs(mine.get(plan, 0) - p) for plan, p in theirs.items()))
        top, *others = sorted(theirs.values(), reverse=True)
        if not others or top - others[0] > TOLERANCE:
            assert embedded[key].plans[0][0] == advice.plans[0][0], (mine, theirs)
    print(f"largest difference of a probability: {worst:.4f}")
    assert worst <= TOLERANCE


def test_scores_do_not_depend_on_the_protocol(
    smollm2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = list(probe_states(FAMILY))
    settings = {"teacher": "openai", "base_url": smollm2, "method": "logprobs"}
    exact = ask(states, **settings)
    monkeypatch.setattr(
        "llm4teach.teacher_labeling.backends.openai.teacher.label_tokens", _learn_nothing
    )
    listed = ask(states, **settings)
    for key, advice in exact.items():
        assert all("[top_logprobs]" in reply for reply in listed[key].replies)
        other = dict(listed[key].plans)
        for plan, p in advice.plans:
            assert other.get(plan, 0) == pytest.approx(p, abs=0.02)


async def _learn_nothing(*_: Any) -> dict[str, int]:
    return {}


def test_too_long_for_the_context(smollm2: str) -> None:
    long = State("k", "Agent sees <key>" + ", <key>" * 3000 + ", holds <nothing>.", ())
    made = make_teacher(resolve_model(TeacherConfig(teacher="openai", base_url=smollm2)), FAMILY)
    with pytest.raises(TeacherError, match="too long for the model"):
        list(made.advise([long]))
    with pytest.raises(TeacherError, match="context of 2048 tokens"):
        resolve_model(TeacherConfig(teacher="openai", base_url=smollm2, max_tokens=4000))


def test_a_model_that_babbles(tiny: str) -> None:
    states = list(probe_states(FAMILY))
    for method in ("sampling", "verbalized"):
        found = ask(states, teacher="openai", base_url=tiny, method=method, n_samples=3)
        assert {advice.status for advice in found.values()} == {AdviceStatus.INVALID}
        assert all(advice.replies for advice in found.values())
    found = ask(states, teacher="openai", base_url=tiny, method="logprobs")
    assert all(advice.coverage < 0.01 for advice in found.values())


def test_in_this_process(smollm2: str, tmp_path: Path) -> None:
    """The backend vllm, in vLLM's environment, says what the server says."""
    options = {"dtype": "float32", "enforce_eager": True, "max_model_len": 2048, "block_size": 32}
    settings = {
        "teacher": "vllm",
        "model": str(VENV / "models/smollm2"),
        "vllm_options": json.dumps(options | {"gpu_memory_utilization": 0.3}),
    }
    output = tmp_path / "advice.json"
    script = ROOT / "tests/vllm/label_in_process.py"
    done = subprocess.run(
        [VENV / "bin/python", script, json.dumps(settings), output],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    inside = json.loads(output.read_text())
    states = list(probe_states(FAMILY))
    served = ask(states, teacher="openai", base_url=smollm2, method="logprobs")
    for key, advice in served.items():
        found = inside["logprobs"]["advice"][key]
        assert found["status"] == "ok" and found["prompt_tokens"] == advice.prompt_tokens
        assert found["coverage"] == pytest.approx(advice.coverage, abs=0.02)
        for plan, p in advice.plans:
            assert found["plans"][str(plan)] == pytest.approx(p, abs=0.02)
    for method in ("sampling", "verbalized"):
        answers = inside[method]["advice"].values()
        assert all(found["n_replies"] >= 1 for found in answers)
        assert all(found["completion_tokens"] > 0 for found in answers)
    for told in inside.values():
        assert "['long'] vLLM refused a question" in told["refused"], "and the others are answered"
        assert told["counted"] == sum(found["prompt_tokens"] for found in told["advice"].values())


@pytest.mark.parametrize("method", ["sampling", "logprobs"])
def test_the_server_counts_prompts_as_it_bills_them(method: str, smollm2: str) -> None:
    config = TeacherConfig(teacher="openai", base_url=smollm2, method=method, n_samples=2)
    states = list(probe_states(FAMILY))
    teacher = make_teacher(resolve_model(config), FAMILY)
    counts = tokens_of(teacher, states)
    billed = sum(advice.prompt_tokens for advice in teacher.advise(states))
    assert counts is not None and (counts.prompt, counts.is_guess) == (billed, False)
