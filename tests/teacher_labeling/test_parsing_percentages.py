"""The grammar of stated percentages: what it reads and what it refuses."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.envs.plan import parse_plan
from llm4teach.teacher_labeling.elicitation.parsing import (
    LETTERS,
    TAIL_CHARACTERS,
    PercentagesError,
    list_options,
    parse_percentages,
    words,
)

OPTIONS = tuple(map(parse_plan, ("explore", "go to key > pick up key", "go to door1 > open door1")))
SEVENTY = {OPTIONS[0]: 70.0, OPTIONS[1]: 20.0, OPTIONS[2]: 10.0}


@pytest.mark.parametrize(
    "reply",
    [
        "A: 70%\nB: 20%\nC: 10%",
        "a) 70 %\nb) 20 %\nc) 10 %",
        "- **A**: 70%\n- **B**: 20%\n- **C**: 10%.",
        "A) explore: 70%\nB) go to key, pick up key: 20%\nC) go to door1, open door1: 10%",
        "explore: 70%\ngo to <key>, pick up <key> = 20\n{go to door1, open door1} - 10",
        "1. A: 70.0%\r\n2. B: 20 percent\r\n3. C: 10%",
        "I would say: 99%\nA: 1%\nOn second thoughts:\nC: 10%\nB: 20%\nA: 70%\nThat is all.",
        "A = 70\nB = 20\nC = 10\nD: 40%",
        "Option A: 70%\nOption B: 20%\nOption C: 10%",
        "A: 70%\nB: 20%\nC: 10%" + " " * TAIL_CHARACTERS,
        "Hm. " * TAIL_CHARACTERS + "\nA: 70%\nB: 20%\nC: 10%",
        "A) explore -70%\n**B**-20%\n{go to door1, open door1}-10%",
    ],
)
def test_reads(reply: str) -> None:
    assert parse_percentages(reply, OPTIONS) == SEVENTY


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "A: 70%\nB: 30%",  # C is left out
        "A: 70%, B: 20%, C: 10%",  # not a line each
        "A: 0%\nB: 0%\nC: 0%",
        "A: 150%\nB: 0%\nC: 0%",
        "A: nan%\nB: inf%\nC: 1e9%",
        "A: -70%x\nB: 20%\nC: 10%",
        "explore\ngo to key, pick up key 2\ngo to door1",  # a number at the end is no percentage
        "A) explore: 70%\nB) go to key, pick up key: 20%\nC) explore: 10%",  # mixed up
        "A: __import__('os').getpid()\nB: 20%\nC: 10%",
        "A: -70%\nB: 20%\nC: 10%",
        "A = -70%\nB = 20%\nC = 10%",
        "A) explore:-70\nB: 20%\nC: 10%",
        "A: 70%\nB: 20%\nC: 1…",  # of 10%, perhaps
    ],
)
def test_refuses(reply: str) -> None:
    with pytest.raises(PercentagesError):
        parse_percentages(reply, OPTIONS)


@given(st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any), st.booleans())
def test_round_trip(numbers: list[int], by_letter: bool) -> None:
    names = LETTERS[:3] if by_letter else list(map(words, OPTIONS))
    reply = "\n".join(f"{name}: {n}%" for name, n in zip(names, numbers, strict=True))
    assert list(parse_percentages(reply, OPTIONS).values()) == numbers


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for reply in (text, f"A: {text}\nB: 1%\nC: 1%", f"{text}: 5%\nB: 1%\nC: 1%"):
        try:
            stated = parse_percentages(reply, OPTIONS)
        except PercentagesError:
            continue
        assert list(stated) == list(OPTIONS)
        assert all(0 <= percent <= 100 for percent in stated.values())


@pytest.mark.parametrize("unit", ["A: 1%\n", "1", "A", ": ", "- ", "*", "go to ", "9.9.", "%"])
def test_long_hostile_replies_take_no_time(unit: str) -> None:
    reply = (unit * TAIL_CHARACTERS)[:TAIL_CHARACTERS]
    begin = time.process_time()
    with pytest.raises(PercentagesError):
        parse_percentages(reply, OPTIONS)
    assert time.process_time() - begin < 10  # CPU seconds, whatever else runs


def test_the_list_shows_letters_and_words() -> None:
    assert list_options(OPTIONS[:2]) == "A) explore\nB) go to key, pick up key"
