"""Price: one rule for what a teacher's tokens cost, and no limit in dollars without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import labeling_children as children
import pytest
from asking import Make, make_states
from asking import make_teacher as make_openai

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import LabelConfig, Price, TeacherConfig
from llm4teach.teacher_labeling.labeling.budget import price_of, priced
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.teacher import TeacherInfo

TABLE = LabelConfig(prices={"m": Price(prompt=1.0, completion=2.0)})
FREE = {"usd_per_million_prompt_tokens": 0.0, "usd_per_million_completion_tokens": 0.0}


def info(backend: str = "openai") -> TeacherInfo:
    return TeacherInfo(backend, "m", "1", "sampling", remote=backend.endswith("openai"))


@pytest.mark.parametrize(
    ("backend", "own", "label", "expected"),
    [
        ("openai", {}, LabelConfig(), None),
        ("openai", {}, TABLE, (1.0, 2.0)),
        ("openai", {"usd_per_million_completion_tokens": 5.0}, LabelConfig(), (0.0, 5.0)),
        ("openai", {"usd_per_million_prompt_tokens": 3.0}, TABLE, (3.0, 0.0)),
        ("openai", FREE, LabelConfig(), (0.0, 0.0)),
        ("openai", FREE, TABLE, (1.0, 2.0)),
        ("openai", {}, LabelConfig(prices={"other": Price(prompt=1.0)}), None),
        ("faulty-hard-openai", {}, LabelConfig(), None),
        ("faulty-embedded", {}, LabelConfig(), (0.0, 0.0)),
        ("vllm", {}, LabelConfig(), (0.0, 0.0)),
        ("recorded", {}, TABLE, (1.0, 2.0)),
        ("of-another-kind", {}, LabelConfig(), (0.0, 0.0)),  # in this process, as its info says
    ],
)
def test_what_a_price_is(
    backend: str,
    own: dict[str, Any],
    label: LabelConfig,
    expected: tuple[float, float] | None,
) -> None:
    price = price_of(TeacherConfig(**own), label, info(backend))
    assert (price and (price.prompt, price.completion)) == expected
    limited = label.model_copy(update={"max_cost": 1.0})
    if expected is None:
        assert priced(TeacherConfig(**own), label, info(backend)) == label
        with pytest.raises(TeacherError, match=r"max_cost is \$1.*no price.*'m'.*leave max_cost"):
            priced(TeacherConfig(**own), limited, info(backend))
    else:
        table = priced(TeacherConfig(**own), limited, info(backend)).prices
        assert table.get("m", Price()) == price


@pytest.mark.parametrize("limit", ["max_tokens", "max_cost"])
def test_a_server_that_does_not_tell_its_tokens(limit: str, serve: Make, tmp_path: Path) -> None:
    """One answer is enough to see that the limit cannot be kept."""
    server = serve()
    server.tells_usage = False
    teacher = make_openai(server, n_samples=1, max_in_flight=1)
    store = children.store_in(tmp_path, teacher.info)
    limits = TABLE.model_copy(update={limit: 1000})
    report = label_states(teacher, store, make_states(20), limits=limits)
    assert report.asked == len(store.rows()) <= 2 and report.left == 20 - report.asked
    assert f"(no usage), and so {limit} cannot be kept" in report.stopped_by
    assert label_states(teacher, store, make_states(20), limits=TABLE).left == 0


def test_teachers_without_tokens_need_not_tell_any(tmp_path: Path) -> None:
    class Free(children.LoggingTeacher):
        info = TeacherInfo("recorded", "m", "1", "recorded")

        def advise(self, states: Any) -> Any:
            for advice in super().advise(states):
                yield replace(advice, prompt_tokens=0, completion_tokens=0)

    store = children.store_in(tmp_path, Free.info)
    limits = LabelConfig(max_tokens=1000, max_cost=1.0)
    report = label_states(Free(tmp_path / "l", 0), store, children.made_up_states(9), limits=limits)
    assert (report.asked, report.stopped_by) == (9, "")
