"""Deployments, schedules and drift; and, slow, a flow run that is killed in every stage."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect_processes import PREFECT, REPOSITORY, free_port

from llm4teach.analysis.statistics import declined
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.flow_runs import begun_by
from llm4teach.flows.runtime.settings import ServiceConfig, Settings, load_settings
from llm4teach.flows.runtime.teacher_access import limit_of
from llm4teach.flows.service.deployments import DEPLOYMENTS, parameters_of, schedule_of
from llm4teach.teacher_labeling.config import TeacherConfig

TASK = get_task("SimpleDoorKey")


def test_every_deployment_of_prefect_yaml_has_a_flow_that_takes_its_parameters() -> None:
    listed = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert [entry["name"] for entry in listed] == [d.name for d in DEPLOYMENTS]
    for entry, deployment in zip(listed, DEPLOYMENTS, strict=True):
        flow = deployment.flow()
        assert flow.name == deployment.name and "llm4teach" in deployment.tags
        for parameters in (entry["parameters"], parameters_of(deployment, Settings())):
            flow.validate_parameters(parameters)


def test_a_deployment_carries_what_the_configuration_changes() -> None:
    settings = load_settings({"task": "LavaDoorKey", "finetune": {"epochs": 3}})
    by_name = {d.name: parameters_of(d, settings)["settings"] for d in DEPLOYMENTS}
    assert by_name["finetune-student"]["finetune"] == {"epochs": 3}
    assert "teacher" not in by_name["finetune-student"], "as it is by default"
    assert by_name["label-states"]["task"] == "LavaDoorKey"
    assert Path(by_name["label-states"]["workspace"]).is_absolute()


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"retrain_cron": "0 3 * * 0"}, "cron"),
        ({"retrain_every_s": 3600}, "interval"),
        ({"retrain_rrule": "FREQ=DAILY;BYHOUR=3"}, "rrule"),
    ],
)
def test_retraining_is_scheduled_by_the_configuration(config: dict[str, Any], kind: str) -> None:
    given = ServiceConfig(**config)
    assert getattr(schedule_of("retrain", given)["schedule"], kind)
    assert schedule_of("teach", given) == {}
    assert schedule_of("retrain", ServiceConfig()) == {}
    assert schedule_of("check-champion", ServiceConfig(check_cron="0 * * * *"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"retrain_cron": "every day"}, "schedule of retrain"),
        ({"retrain_rrule": "FREQ=SOMETIMES"}, "schedule of retrain"),
        ({"retrain_cron": "0 3 * * 0", "timezone": "Mars/Olympus"}, "schedule of retrain"),
        ({"retrain_cron": "0 3 * * 0", "retrain_every_s": 5}, "give one of"),
        ({"revive_after_s": 5}, "90 or more"),
    ],
)
def test_a_wrong_schedule_is_refused_before_anything_starts(
    flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        schedule_of("retrain", load_settings({"service": flags}).service)


def test_drift_by_hand() -> None:
    """Of 4 episodes 0 now and 4 then: 1 of the C(8, 4) = 70 ways is as bad."""
    found = declined((0, 4), (4, 4), 0.95)
    assert found.p_value == pytest.approx(1 / 70) and found.verdict
    assert declined((3, 4), (4, 4), 0.95).p_value == pytest.approx(0.5)
    assert not declined((3, 4), (4, 4), 0.95).verdict
    assert not declined((4, 4), (3, 4), 0.95).verdict, "better is no drift"
    assert not declined((0, 4), (0, 0), 0.95).verdict, "nothing was known before"


def test_only_servers_have_limits() -> None:
    url = "http://10.0.0.7:8000/v1"
    assert limit_of(TeacherConfig(teacher="openai", model="m", base_url=url)) == (
        "llm4teach.teacher.10.0.0.7-8000"
    )
    assert limit_of(TeacherConfig(teacher="recorded/vicuna-33b")) is None


def test_a_flow_run_finds_the_run_that_it_had_begun(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    for run_id, flow_run, complete in (
        ("teach-20261129-000001-aaaa", "a", True),
        ("teach-20261129-000002-aaaa", "b", False),
        ("teach-20261129-000003-aaaa", None, False),
    ):
        folder = workspace.run(run_id)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        if flow_run:
            (folder / "progress.json").write_text(json.dumps({"flow_run_id": flow_run}))
        if complete:
            (folder / "manifest.json").write_text("{}")
    assert begun_by(workspace, "b") == "teach-20261129-000002-aaaa"
    assert begun_by(workspace, "a") is None, "it is complete"
    assert begun_by(workspace, None) is None and begun_by(workspace, "c") is None


class Service:
    """`llm4teach up` in a folder of its own, and the server's interface."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder, self.port = folder, free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.told = self.llm4teach("up", "--port", str(self.port), *flags)

    def llm4teach(self, *words: str) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH"))}
        env = clean | {"PREFECT_WORKER_QUERY_SECONDS": "1", "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "llm4teach", *words]
        done = subprocess.run(
            line, cwd=self.folder, env=env, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> Any:
        for _ in range(30):
            answer = httpx.post(f"{self.api}/{path}", json=body, timeout=60)
            if answer.status_code != 503:  # its database is busy
                break
            time.sleep(1)
        return answer.raise_for_status().json()

    def flow_runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.post("flow_runs/filter", {})
        return found

    def running_stages(self, flow_run: str) -> set[str]:
        """Names of the tasks of a flow run that are running now."""
        of_run = {
            "flow_runs": {"id": {"any_": [flow_run]}},
            "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        }
        return {
            str(run["name"]).rpartition("-")[0] for run in self.post("task_runs/filter", of_run)
        }

    def start(self, name: str, parameters: dict[str, Any]) -> str:
        deployment = httpx.get(f"{self.api}/deployments/name/{name}/{name}", timeout=60).json()
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = self.post(f"deployments/{deployment['id']}/create_flow_run", body)
        return str(made["id"])


@pytest.mark.extended
@pytest.mark.timeout(1500)
def test_what_up_prints_works_in_any_folder(tmp_path: Path) -> None:
    """Behind a proxy that does not answer, and with a workspace whose name needs quoting."""
    here, elsewhere, workspace = tmp_path / "here", tmp_path / "elsewhere", "w?s %2F#"
    here.mkdir()
    elsewhere.mkdir()
    proxies = dict.fromkeys(("HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in proxies.items():
            patch.setenv(name, value)
        service = Service(here, "--workspace", workspace)
        try:
            assert [path.name for path in here.iterdir()] == [workspace]
            assert (here / workspace / ".service" / "prefect.db").stat().st_size > 100_000
            [export] = re.findall(r"^in any folder: (export .*)$", service.told, re.MULTILINE)
            [run] = re.findall(r"^then: (prefect .*?)   ", service.told, re.MULTILINE)
            assert f"(llm4teach down --workspace '{workspace}' ends all of it)" in service.told
            clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
            done = subprocess.run(
                ["bash", "-c", f"{export}; {run}"],
                cwd=elsewhere,
                env=clean | {"PATH": f"{Path(PREFECT).parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=400,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Created flow run" in done.stdout
            patch.undo()
            [made] = service.flow_runs()
            assert made["parameters"] == {"settings": {"workspace": str(here / workspace)}}
        finally:
            service.llm4teach("down", "--workspace", workspace)


def engines_of(folder: Path) -> list[int]:
    """Processes that run a flow run of the workspace in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            inside = (entry / "cwd").readlink() == folder or (
                str(folder).encode() in (entry / "environ").read_bytes()
            )
        except OSError:
            continue
        if b"prefect.engine" in line and inside:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes by /proc")
def test_killed_in_every_stage_a_flow_run_goes_on(tmp_path: Path) -> None:
    stages = ["collect", "label", "pretrain", "finetune", "evaluate"]
    shutil.copy(REPOSITORY / "tests" / "support" / "held_task.py", tmp_path)
    for stage in stages:  # labeling waits for nothing: loading the model takes seconds
        (tmp_path / f"hold-{stage}").touch()
    service = Service(tmp_path, "--service.revive-after-s", "90")
    try:
        assert f"UI: http://127.0.0.1:{service.port}" in service.told
        wanted = service.start(
            "teach",
            {
                "overrides": {
                    "task": "held_task:task",
                    "teacher": {"teacher": "embedded"},
                    "collect": {"steps": 1280, "rounds": 2},
                    "pretrain": {"epochs": 10},
                    "finetune": {"steps": 4096, "n_envs": 16, "checkpoint_every": 1},
                    "evaluate": {"episodes": 100},
                }
            },
        )
        killed: list[str] = []
        began = time.monotonic()
        while time.monotonic() < began + 1300:
            runs = service.flow_runs()
            state = next(r["state_type"] for r in runs if r["id"] == wanted)
            if state in ("COMPLETED", "FAILED", "CANCELLED"):
                break
            running = service.running_stages(wanted)
            now = [s for s in stages if s in running and s not in killed]
            if state == "RUNNING" and now and (found := engines_of(tmp_path)):
                killed.append(now[0])
                print(f"{time.monotonic() - began:.0f} s: killed in {now[0]}", flush=True)
                for pid in found:
                    os.kill(pid, signal.SIGKILL)
                (tmp_path / f"hold-{now[0]}").unlink()
            time.sleep(0.3)
        assert state == "COMPLETED", f"{state}, killed in {killed}"
        assert killed == stages
    finally:
        print(service.llm4teach("down"))
    workspace = Workspace(str(tmp_path / "workspace"))
    [run_id] = [r for r in workspace.run_ids() if r.startswith("teach")]
    results = read_json(workspace.run(run_id) / "manifest.json")["results"]
    assert results["collect_steps"] == 1280 and results["finetune_steps"] == 4096
    steps = read_steps(workspace.trajectories("held_task:task"), TASK.observation_shape)
    assert len(steps) == 1280, "no step twice"
    assert not engines_of(tmp_path), "down left something behind"
