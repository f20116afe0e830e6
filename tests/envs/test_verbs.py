"""A task's own verbs: names that are read back, wordings that are understood, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from counter_task import counter, never, up
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.envs.custom.check import check_task
from llm4teach.envs.plan import PlanSyntaxError, named_plan
from llm4teach.envs.task import Family, ground_plan, verbs_of
from llm4teach.envs.verbs import Verbs
from llm4teach.errors import TaskError

VERBS = Verbs.of(
    {"drive to <place>": "by road", "give <thing> to <person>": "", "wait": "for one step"}
)
WORDS = st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True).filter(
    lambda word: word not in ("the", "a", "an", "to")
)
OBJECTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
STEPS = st.one_of(
    st.just("wait"),
    OBJECTS.map("drive to {}".format),
    st.tuples(OBJECTS, OBJECTS).map(lambda pair: f"give {pair[0]} to {pair[1]}"),
)


@given(st.lists(STEPS, min_size=1, max_size=4))
def test_what_is_written_is_read_back(steps: list[str]) -> None:
    plan = VERBS.read(", ".join(steps), ",")
    assert str(plan) == " > ".join(steps)
    assert VERBS.read(str(plan), ">") == plan == named_plan(str(plan))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        plan = VERBS.read(text, ",")
    except PlanSyntaxError:
        return
    assert VERBS.read(str(plan), " > ") == plan


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Drive to the <red place>.", "drive to red place"),
        ("{drive to Red_Place}", "drive to red place"),
        ("**Wait!**", "wait"),
        ("give the old box to Anna", "give old box to anna"),
        ("drive to the bank, wait", "drive to bank > wait"),
    ],
)
def test_other_wordings(text: str, name: str) -> None:
    assert str(VERBS.read(text, ",")) == name


@pytest.mark.parametrize("text", ["", "drive", "drive to", "fly to rome", "wait a minute", "go"])
def test_other_steps_are_refused(text: str) -> None:
    with pytest.raises(PlanSyntaxError, match="none of the options drive to <place>, give"):
        VERBS.read(text, ",")


def test_one_of_several_names_that_begin_alike() -> None:
    names = ["go to red", "go to red door", "go to the red door", "go to door"]
    options = [named_plan(name) for name in names]
    assert [str(plan) for plan in options] == names, "names stay as they are"
    verbs = Verbs.of(names)
    assert str(verbs.find("Go to red.", options, ",")) == "go to red"
    assert str(verbs.find("go to the door", options, ",")) == "go to door"
    assert verbs.find("go to a red door", options, ",") is None, "it is two of them"
    assert verbs.find("go to", options, ",") is None


@pytest.mark.parametrize("pattern", ["Drive to <place>", "drive, <place>", "", "drive to <Place>"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(TaskError, match=r"verbs: .* an object is written <like this>"):
        Verbs.of([pattern])


def test_a_task_says_its_verbs() -> None:
    names = verbs_of(counter().family)
    assert names is not None and names.list_for_prompt() == "", "the options' names, as they are"
    options = {"count to three": up, "wait": never}
    task = counter(options=options, verbs={"count to <number>": "one by one", "wait": ""})
    verbs = verbs_of(task.family)
    assert verbs is not None
    listed = "The agent can:\n- count to <number>: one by one\n- wait"
    assert verbs.list_for_prompt() == listed
    assert check_task(task) == []
    with pytest.raises(TaskError, match="verbs cannot read the names of options: 'wait' is none"):
        counter(options=options, verbs={"count to <number>": ""})
    with pytest.raises(TaskError, match="reads the option 'count to the end' as 'count to end'"):
        counter(options={"count to the end": up}, verbs={"count to <number>": ""})


def test_the_first_step_that_is_not_done_acts() -> None:
    task = counter()
    first = task.make_env().reset(seed=1)[0][None]
    steps = named_plan("fly > count up > wait or count up")
    assert ground_plan(task, first, steps).tolist() == [[0, 1]]
    assert ground_plan(task, first, named_plan("fly > fly")).tolist() == [[0, 0]]


def test_verbs_that_do_not_fit_the_options_are_found() -> None:
    task = counter()
    wrong = Family("Counter", verbs=Verbs.of(["count up", "fly"]))
    task.__class__ = type("Changed", (type(task),), {"family": wrong})
    (problem,) = check_task(task)
    assert problem.member == "family"
    assert "cannot read an option: 'wait or count up' is none of" in problem.text


def test_options_may_be_called_by_names_of_the_task() -> None:
    task = counter(
        options={"go to the end": up, "open it with care": never},
        admissible=lambda count: ["go to the end"],
    )
    first = task.make_env().reset(seed=1)[0][None]
    state = task.state(int(task.identify(first)[0]))
    assert [str(plan) for plan in state.options] == ["go to the end"]
    assert np.array_equal(ground_plan(task, first, state.options[0]), [[0, 1]])
