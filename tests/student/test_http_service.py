"""The student over HTTP: its own answers, and a clear word about what it does not understand."""

import json
import signal
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm4teach.student.export.export import export_student
from llm4teach.student.export.onnx_policy import OnnxStudent
from llm4teach.student.export.server import RAW, make_app
from llm4teach.student.model.network import Student

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that another HTTP library is to come
    from fastapi.testclient import TestClient

SHAPE = (10, 10, 4)
ACTIONS = ["left", "right", "forward", "pickup", "drop", "toggle", "done"]


@pytest.fixture(scope="module")
def student_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("student") / "student.v1"  # a name that `export -o` may have had
    facts = {"task": "SimpleDoorKey", "action_names": ACTIONS, "observation_shape": list(SHAPE)}
    export_student(Student(SHAPE, 7), path, "onnx", facts, seen(2))
    return path


@pytest.fixture(scope="module")
def student(student_file: Path) -> OnnxStudent:
    return OnnxStudent(student_file)


@pytest.fixture(scope="module")
def client(student: OnnxStudent) -> Iterator[TestClient]:
    with TestClient(make_app(student, max_batch=8)) as client:
        yield client


def seen(n: int) -> np.ndarray:
    maps = np.random.default_rng(0).integers(0, 4, (n, *SHAPE)).astype(np.uint8)
    maps[..., 3] = 4
    maps[:, 2, 3, 3] = 1  # the agent
    return maps


def test_json_and_bytes_are_answered_as_the_student_would(
    client: TestClient, student: OnnxStudent
) -> None:
    batch = seen(5)
    expected = student.probabilities(batch)
    as_json = client.post("/v1/act", json={"observations": batch.tolist()})
    as_bytes = client.post("/v1/act", content=batch.tobytes(), headers={"content-type": RAW})
    assert as_json.status_code == as_bytes.status_code == 200
    assert as_json.json() == as_bytes.json()
    np.testing.assert_allclose(as_json.json()["probabilities"], expected, atol=1e-6)
    assert as_json.json()["actions"] == [ACTIONS[i] for i in expected.argmax(1)]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "not valid JSON"),
        (b"[" * 100_000, 413, "larger than"),
        (b"[" * 5_000, 422, "not valid JSON"),
        (b"[]", 422, '{"observations": [...]}'),
        (b'{"observation": 1}', 422, '{"observations": [...]}'),
        (b'{"observations": []}', 422, "shape"),
        (b'{"observations": "x"}', 422, "shape"),
        (b'{"observations": [[1, 2], [3]]}', 422, "rows differ"),
        (json.dumps({"observations": seen(1)[0].tolist()}).encode(), 422, "not (10, 10, 4)"),
        (json.dumps({"observations": (seen(1) + 0.5).tolist()}).encode(), 422, "whole numbers"),
        (
            json.dumps({"observations": (seen(1) + 200).tolist()}).encode(),
            422,
            "no observations of",
        ),
        (json.dumps({"observations": (-1 - seen(1).astype(int)).tolist()}).encode(), 422, "0 to"),
        (json.dumps({"observations": (seen(1).astype(int) + 254).tolist()}).encode(), 422, "255"),
        (json.dumps({"observations": seen(9).tolist()}).encode(), 413, "at most 8"),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, body: bytes, status: int, words: str) -> None:
    answer = client.post("/v1/act", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.text.replace('\\"', '"')


def test_bytes_of_another_size_are_refused(client: TestClient) -> None:
    answer = client.post("/v1/act", content=b"x" * 401, headers={"content-type": RAW})
    assert answer.status_code == 422 and "10 x 10 x 4 = 400 bytes each" in answer.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=600), raw=st.booleans())
def test_no_bytes_make_it_fail(client: TestClient, body: bytes, raw: bool) -> None:
    kind = RAW if raw else "application/json"
    answer = client.post("/v1/act", content=body, headers={"content-type": kind})
    assert answer.status_code in (200, 413, 422)


def test_health_metrics_and_page(client: TestClient) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["task"] == "SimpleDoorKey"
    client.post("/v1/act", content=seen(3).tobytes(), headers={"content-type": RAW})
    counted = client.get("/metrics").text
    assert 'llm4teach_requests_total{status="200"}' in counted
    assert 'llm4teach_requests_total{status="422"}' in counted
    assert "llm4teach_decision_seconds_bucket" in counted
    schema = client.get("/openapi.json").json()
    content = schema["paths"]["/v1/act"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", RAW}
    page = client.get("/").text
    assert "/v1/act" in page and "SimpleDoorKey" in page
    assert "src=" not in page, "nothing is loaded from elsewhere"


def test_the_command_serves_a_file_and_says_what_is_wrong(
    student: OnnxStudent, tmp_path: Path
) -> None:
    from llm4teach.errors import DatasetError
    from llm4teach.flows.cli.service import serve_student

    with pytest.raises(DatasetError, match="no exported student at"):
        serve_student(tmp_path / "none.onnx", "127.0.0.1", 8080, 8)
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(DatasetError, match="no student exported by llm4teach"):
        serve_student(tmp_path / "bad.onnx", "127.0.0.1", 8080, 8)


@pytest.mark.parametrize("port", ["0", "-1", "65536", "70000", "http"])
def test_a_port_that_cannot_be(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    from llm4teach.flows.cli.main import main

    for command in ("serve-student", "up"):
        assert main([command, "--port", port]) == 2
        shown = capsys.readouterr().err
        assert f"--port is '{port}': Input should be" in shown and shown.count("\n") == 1


def test_a_port_in_use_and_hosts_that_are_not_here() -> None:
    from llm4teach.errors import DatasetError
    from llm4teach.flows.cli.service import listen

    [used] = listen("127.0.0.1", 0)
    port = used.getsockname()[1]
    with used, pytest.raises(DatasetError, match=rf"port {port} of '127.0.0.1' .*in use"):
        listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no-such-host.invalid", "http://127.0.0.1", "a" * 300, "\udcff"):
        with pytest.raises(DatasetError, match=r"cannot listen on port 8080 of .*--host"):
            listen(host, 8080)
    for opened in listen("localhost", 0):
        opened.close()


@pytest.mark.extended
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_the_command_listens_in_ipv6_too(host: str, tmp_path: Path, student_file: Path) -> None:
    from llm4teach.flows.cli.service import listen

    [free] = listen(host, 0)
    port = free.getsockname()[1]
    free.close()
    words = ["serve-student", str(student_file), "--host", host, "--port", str(port)]
    command = [sys.executable, "-m", "llm4teach", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert f"on http://{address} (" in process.stdout.readline()
        with urllib.request.urlopen(f"http://{address}/health") as answer:
            assert json.load(answer)["status"] == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait() in (0, 130)
