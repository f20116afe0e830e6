"""What a server's tokens cost: the same in a labeling, its dry run and a check, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bad_server import BadServer

from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import TeacherError
from llm4teach.flows.cli.teachers import check_teacher
from llm4teach.flows.experiments.train_trial import run_trial
from llm4teach.flows.experiments.trial import TEACHER, Trial
from llm4teach.flows.label_states import label_states
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher
from llm4teach.flows.stages import collect as collecting
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import label as labeling
from llm4teach.student.config import CollectConfig, EvaluateConfig
from llm4teach.teacher_labeling.config import LabelConfig, Price, TeacherConfig

TABLE = LabelConfig(prices={"m": Price(prompt=1.0)})
RECORDED = TeacherConfig(teacher="recorded/vicuna-33b")


@pytest.fixture
def url() -> Iterator[str]:
    server = BadServer()  # 100 tokens a prompt, 10 a reply
    yield server.url
    server.close()


@pytest.fixture
def workspace(tmp_path: Any) -> str:
    settings = Settings(workspace=str(tmp_path / "w"), teacher=RECORDED)
    with stages.opened("collect", settings) as ctx:
        collecting.collect(ctx, CollectConfig(steps=300), None, 300)
    return str(tmp_path / "w")


@pytest.mark.parametrize(
    ("own", "dollars"),
    [({}, 100e-6), ({"usd_per_million_completion_tokens": 7.0}, 70e-6)],
    ids=["the table's", "the teacher's own"],
)
def test_one_price_everywhere(
    own: dict[str, float],
    dollars: float,
    url: str,
    workspace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = TeacherConfig(teacher="openai", base_url=url, n_samples=1, max_tokens=50, **own)
    settings = Settings(workspace=workspace, teacher=teacher, label=TABLE)
    check_teacher(settings)
    assert f"300 tokens in, 30 out, {3 * dollars:.6f} US dollars" in capsys.readouterr().out

    said = labeling.dry_run(settings)
    states = int(said["without an answer"])
    prompts = int(said["prompt tokens"].replace(",", ""))  # a character is a token to it
    assert said["completion tokens"] == f"at most {50 * states:,}"
    at_most = 7.0 * 50 * states / 1e6 if own else prompts / 1e6
    assert said["cost"] == f"at most ${at_most:.4g}"

    limits = TABLE.model_copy(update={"max_requests": 2, "max_cost": 1.0})
    result = label_states.fn(settings.model_copy(update={"label": limits}))
    assert result["questions"] == 2 and result["cost"] == pytest.approx(2 * dollars)
    run_trial(Trial(TEACHER, settings.model_copy(update={"evaluate": EvaluateConfig(episodes=2)})))
    info = open_teacher(teacher, "SimpleDoorKey").info
    shared = advice_of(info, Workspace(workspace), "SimpleDoorKey")
    costs = [row["cost"] for row in shared.rows()]
    assert len(costs) > 2 and costs == [pytest.approx(dollars)] * len(costs), "trials pay it, too"


@pytest.mark.parametrize("kind", ["label", "finetune"])
def test_no_limit_in_dollars_without_a_price(kind: str, url: str, workspace: str) -> None:
    teacher, limits = TeacherConfig(teacher="openai", base_url=url), LabelConfig(max_cost=2.5)
    with (
        pytest.raises(TeacherError, match=r"max_cost is \$2\.5, but no price is known.*'m'"),
        stages.opened(kind, Settings(workspace=workspace, teacher=teacher, label=limits)),
    ):
        pass
    assert not [name for name in Workspace(workspace).run_ids() if name.startswith(kind)]
    free = TeacherConfig(teacher="openai", base_url=url, usd_per_million_prompt_tokens=0)
    for allowed in (free, RECORDED):
        settings = Settings(workspace=workspace, teacher=allowed, label=limits)
        with stages.opened(kind, settings) as ctx:
            assert ctx.limits.max_cost == 2.5


def test_a_check_without_a_price_says_so(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_teacher(Settings(teacher=TeacherConfig(teacher="openai", base_url=url, n_samples=1)))
    assert "cost unknown: label.prices has no m" in capsys.readouterr().out
