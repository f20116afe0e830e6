"""`import` of files as they come: each is imported, or rejected with the row and the reason."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from imports import CASES, TASK, imported, ok, rejected


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM4TEACH_QUIET", "1")


FINE = ("ok.parquet", "ok.csv", "bom.csv", "semicolon.csv", "upper.CSV", "obs_str.parquet")


@pytest.mark.parametrize("name", [*FINE, "dictid.parquet", "hive.parquet"])
def test_what_is_fine_is_imported(name: str, tmp_path: Path) -> None:
    steps = imported(CASES / name, tmp_path)
    expected = pq.read_table(CASES / "ok.parquet")
    assert len(np.unique(steps.column("episode_id"))) == 3
    assert steps.column("terminated").sum() == 3 and not steps.column("truncated").any()
    for column in ("t", "action", "terminated"):
        assert steps.column(column).tolist() == expected.column(column).to_pylist()
    assert (steps.column("seed") == -1).all() == (name == "obs_str.parquet")
    assert steps.observations.tobytes() == b"".join(expected.column("observation").to_pylist())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("obs_nullflag.parquet", "episode 0: terminated is null in row 1\n"),
        ("obs_gap.parquet", "episode 0: t jumps from 6 to 10 in row 8"),
        ("gap.csv", "episode 0: t jumps from 6 to 8 in row 8"),
        ("nullid.parquet", "episode_id is null in row 44"),
        ("nanseed.parquet", "episode 1: seed of row 44 is nan, not a whole number"),
        ("badseed.csv", "episode 0: seed of row 1 is 's276856359', not a whole number"),
        ("float_seed.csv", "episode 0: seed of row 1 is '276856359.7', not a whole number"),
        ("empty.csv", "empty.csv has no rows"),
        ("bitrot.parquet", "bitrot.parquet is damaged: Corrupt snappy compressed data"),
        ("lerobot.parquet", "--columns episode_id=episode_index reward=next.reward t=frame_index"),
        ("lerobot.parquet", "'next.done' does not say how an episode ended"),
    ],
)
def test_what_is_wrong_is_rejected_with_the_reason(name: str, words: str, tmp_path: Path) -> None:
    assert words in rejected(CASES / name, tmp_path)


def changed(name: str, row: int, value: Any, kind: pa.DataType | None = None) -> pa.Table:
    """ok.parquet with one value replaced; rows count from 1."""
    values = ok().column(name).to_pylist()
    values[row - 1] = value
    return ok(**{name: pa.array(values, kind)})


def as_text(name: str, true: str = "True", false: str = "False") -> pa.Array:
    replaced = {True: true, False: false} if name == "terminated" else {}
    return pa.array([replaced.get(v, str(v)) for v in ok().column(name).to_pylist()])


def tensors() -> pa.Array:
    values = b"".join(ok().column("observation").to_pylist())
    flat = pa.array(np.frombuffer(values, np.uint8))
    kind = pa.fixed_shape_tensor(pa.uint8(), TASK.observation_shape)
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, 400))


def nested() -> pa.Table:
    """Reward and flags in a struct ``next``."""
    fields = ["reward", "terminated", "truncated"]
    arrays = [ok().column(name).combine_chunks() for name in fields]
    return ok(reward=None, terminated=None, truncated=None).append_column(
        "next", pa.StructArray.from_arrays(arrays, fields)
    )


def cast(name: str, kind: pa.DataType) -> pa.Table:
    return ok(**{name: ok().column(name).cast(kind)})


@pytest.mark.parametrize(
    "table",
    [
        ok(terminated=as_text("terminated", "1", "0")),
        ok(terminated=as_text("terminated", "T", "f").cast(pa.large_string())),
        cast("truncated", pa.int8()),
        ok(terminated=ok().column("terminated").cast(pa.int8()).cast(pa.float32())),
        ok(truncated=pa.array(["no"] * 141).dictionary_encode()),
        ok(seed=as_text("seed")),
        cast("seed", pa.float64()),
        cast("seed", pa.decimal128(20, 0)),
        cast("seed", pa.uint64()),
        cast("t", pa.float64()),
        ok(t=as_text("t")),
        cast("action", pa.float32()),
        ok(action=as_text("action").cast(pa.binary())),
        ok(action=pa.array([[float(a)] for a in ok().column("action").to_pylist()])),
        ok(reward=as_text("reward")),
        cast("episode_id", pa.float64()),
        cast("episode_id", pa.string()),
        ok(episode_id=as_text("episode_id").cast(pa.binary())),
        ok(episode_id=pa.array([f"{i}" * 30 for i in ok().column("episode_id").to_pylist()])),
        ok(observation=tensors()),
        ok(observation=pa.array([list(o) for o in ok().column("observation").to_pylist()])),
        cast("observation", pa.large_binary()),
        ok(observation=None),
        ok(t=None),
        ok().take(pa.array(np.random.default_rng(0).permutation(141))),
        ok(info=pa.array([{"a": [1]}] * 141), extra=pa.nulls(141)),
    ],
    ids=range(26),
)
def test_other_types_mean_the_same(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "log.parquet")
    steps = imported(tmp_path / "log.parquet", tmp_path)
    expected = ok()
    for column in ("t", "seed", "action", "terminated", "truncated"):
        assert steps.column(column).tolist() == expected.column(column).to_pylist()
    assert steps.observations.tobytes() == b"".join(expected.column("observation").to_pylist())


def test_columns_in_structs_are_found_by_their_path(tmp_path: Path) -> None:
    pq.write_table(nested(), tmp_path / "log.parquet")
    message = rejected(tmp_path / "log.parquet", tmp_path)
    assert "did you mean --columns reward=next.reward?" in message
    names = ("reward", "terminated", "truncated")
    columns = {name: f"next.{name}" for name in names}
    assert imported(tmp_path / "log.parquet", tmp_path, columns).column("terminated").sum() == 3


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (changed("terminated", 5, None), "terminated is null in row 5"),
        (ok(terminated=as_text("terminated", "1", "maybe")), "terminated of row 1 is 'maybe'"),
        (ok(truncated=pa.array([2] * 141)), "truncated of row 1 is 2, not true or false"),
        (ok(truncated=pa.array([float("nan")] * 141)), "truncated of row 1 is nan, not true or"),
        (ok(truncated=pa.nulls(141)), "truncated is null in row 1"),
        (changed("t", 5, None), "t is null in row 5"),
        (changed("t", 5, 3), "t is 3 in row 4 and again in row 5"),
        (changed("t", 1, -1), "t of row 1 is -1, not a whole number from 0 on"),
        (ok(t=pc.add(ok().column("t"), 1)), "t starts at 1 in row 1"),
        (cast("t", pa.timestamp("s")), "t of row 1 is datetime"),
        (ok(t=pc.divide(ok().column("t").cast(pa.float64()), 10.0)), "t of row 2 is 0.1, not"),
        (changed("seed", 9, 7), "seed changes from 276856359 to 7 in row 9"),
        (changed("seed", 9, None), "seed changes from 276856359 to null in row 9"),
        (changed("seed", 1, 12.7, pa.float64()), "seed of row 1 is 12.7, not a whole number"),
        (changed("seed", 1, 2.0**60, pa.float64()), "seed of row 1 is 1.152921504606847e+18, not"),
        (changed("seed", 1, 2**64 - 1, pa.uint64()), "seed of row 1 is 18446744073709551615, not"),
        (ok(seed=pa.array([True] * 141)), "seed of row 1 is True, not a whole number"),
        (ok(seed=pa.array([-1] * 141)), "none below 0"),
        (ok(seed=pa.array([5] * 141)), "played again from seed 5, step 0"),
        (changed("action", 3, None), "action is null in row 3"),
        (changed("action", 3, 0.5, pa.float64()), "action of row 3 is 0.5, not a whole number"),
        (changed("action", 3, 9), "action 9: SimpleDoorKey has 0 to 6 (step 2, row 3)"),
        (changed("action", 3, -1), "action -1: SimpleDoorKey has 0 to 6 (step 2, row 3)"),
        (changed("action", 3, -(2**63)), "action -9223372036854775808: SimpleDoorKey has 0 to 6"),
        (ok(action=pa.array(["left"] * 141)), "action of row 1 is 'left', not a whole number"),
        (ok(action=pa.array([[0, 1]] * 141)), "action of row 1 is [0, 1], not a whole number"),
        (ok(action=pa.array([{"a": 1}] * 141)), "action of row 1 is {'a': 1}, not a whole number"),
        (changed("reward", 4, None), "reward is null in row 4"),
        (changed("reward", 4, float("nan")), "reward of row 4 is nan, not a finite number"),
        (changed("reward", 4, float("inf")), "reward of row 4 is inf, not a finite number"),
        (changed("reward", 4, 0.5), "step 3 has reward 0.0000, not 0.5000, row 4"),
        (changed("terminated", 4, True), "it ends at step 3, and goes on, row 4"),
        (changed("truncated", 43, True), "both terminated and truncated (step 42, row 43)"),
        (changed("observation", 2, None), "observation is null in row 2"),
        (changed("observation", 2, b"x" * 399), "observation of row 2 has 399 numbers, that of"),
        (changed("observation", 2, b"\x04" * 400), "step 1 has another observation, row 2"),
        (
            ok(action_logprob=pa.array([0.5] * 141)),
            "action_logprob of row 1 is 0.5, not the logarithm of a probability",
        ),
    ],
    ids=range(37),
)
def test_what_cannot_be_is_rejected(table: pa.Table, words: str, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "log.parquet")
    assert words in rejected(tmp_path / "log.parquet", tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (ok(seed=None, observation=None), "neither a seed, to play it again, nor observations"),
        (
            ok(seed=None, observation=pa.array([{"image": [1], "mission": "go"}] * 141)),
            "it has no seed, to play it again, and its observations are dicts of image, mission",
        ),
        (ok(seed=None, observation=pa.array(["[0, 1]"] * 141)), "observations are of type string"),
        (ok(seed=None, observation=pa.array([b"\x00" * 400] * 141)), "no map of cells with one"),
        (ok(seed=None, observation=pa.array([b"\xff" * 400] * 141)), "no map of cells with one"),
        (ok(seed=None, observation=pa.array([[0.0] * 400] * 141)), "not whole numbers from 0 to"),
        (ok(seed=None, observation=pa.array([[None] * 400] * 141)), "not whole numbers from 0"),
        (ok(seed=None, observation=pa.array([[-1] * 400] * 141)), "not whole numbers from 0"),
    ],
    ids=range(8),
)
def test_observations_without_a_seed_have_to_fit(
    table: pa.Table, words: str, tmp_path: Path
) -> None:
    pq.write_table(table, tmp_path / "log.parquet")
    assert words in rejected(tmp_path / "log.parquet", tmp_path)


@pytest.mark.parametrize("value", [None, float("nan"), 2.0**60])
def test_a_row_without_an_episode_rejects_the_file_even_with_skip(
    value: float | None, tmp_path: Path
) -> None:
    pq.write_table(changed("episode_id", 60, value, pa.float64()), tmp_path / "log.parquet")
    message = rejected(tmp_path / "log.parquet", tmp_path, skip=True)
    assert "row 60" in message and "episode_id" in message


def test_ids_of_categories_lists_and_structs(tmp_path: Path) -> None:
    pq.write_table(ok(episode_id=pa.array([{"a": 1}] * 141)), tmp_path / "log.parquet")
    assert "episode_id of row 1 is {'a': 1}" in rejected(tmp_path / "log.parquet", tmp_path)


def test_rows_in_another_order_than_their_steps(tmp_path: Path) -> None:
    table = ok(t=None, step=ok().column("t"))
    pq.write_table(table, tmp_path / "log.parquet")
    assert len(imported(tmp_path / "log.parquet", tmp_path)) == 141
    shutil.rmtree(tmp_path / "workspace")
    pq.write_table(table.take(pa.array(range(140, -1, -1))), tmp_path / "log.parquet")
    message = rejected(tmp_path / "log.parquet", tmp_path)
    assert "its rows are not in the order of 'step' (row 100): give --columns t=step" in message
    steps = imported(tmp_path / "log.parquet", tmp_path, {"t": "step"})
    assert steps.column("action").tolist() == ok().column("action").to_pylist()


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = ok().append_column("action", ok().column("action"))
    with pa.OSFile(str(tmp_path / "log.csv"), "wb") as file:
        pacsv.write_csv(table.drop_columns(["observation"]), file)
    assert "has 2 columns 'action'" in rejected(tmp_path / "log.csv", tmp_path)


def test_nulls_in_optional_columns_are_unknown(tmp_path: Path) -> None:
    logprobs = pa.array([None, -0.5] + [0] * 139)
    table = ok(seed=pa.nulls(141), behavior=pa.nulls(141, pa.string()), action_logprob=logprobs)
    pq.write_table(table, tmp_path / "log.parquet")
    steps = imported(tmp_path / "log.parquet", tmp_path)
    assert set(steps.column("behavior")) == {"imported"}
    assert np.isnan(steps.column("action_logprob")[0]) and steps.column("action_logprob")[1] == -0.5
    assert set(steps.column("seed")) == {-1}


# Text files

CSV = (CASES / "ok.csv").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", CSV.encode("utf-16")),
        ("log.csv", CSV.encode("utf-8-sig")),
        ("log.csv", CSV.replace("\n", "\r\n").encode()),
        ("log.csv", CSV.replace("\n", "\n\n").encode()),
        ("log.csv", CSV.rstrip().encode()),
        ("log.csv", CSV.replace(",", ", ").encode()),
        ("log.csv", CSV.replace(",", "\t").encode()),
        ("log.tsv", CSV.replace(",", "\t").encode()),
        ("log.csv", CSV.replace(",", "|").encode()),
        ("log.csv", CSV.replace("True", "TRUE").replace("False", "false").encode()),
        ("log.csv", CSV.replace("True", "1").replace("False", "0").encode()),
        ("log.csv", CSV.replace("True", '"True"').encode()),
        ("log.csv", gzip.compress(CSV.encode())),
        ("LOG.Csv.GZ", gzip.compress(CSV.encode())),
    ],
    ids=range(14),
)
def test_dialects_of_csv(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    steps = imported(tmp_path / name, tmp_path)
    assert len(steps) == 141 and steps.column("terminated").sum() == 3


LINES = CSV.splitlines()
GERMAN = CSV.replace(",", ";").replace("0.0;", "0,0;")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (LINES[0].encode(), "has no rows"),
        (LINES[0].encode() + b"\r\n\r\n", "has no rows"),
        (CSV[:-3].encode(), "truncated of row 141 is 'Fal', not true or false"),
        (CSV[:-7].encode(), "Expected 7 columns, got 6"),
        ((CSV + CSV).encode(), "episode_id"),
        (CSV.replace("0.0", "0,0").encode(), "Expected 7 columns, got 8"),
        (GERMAN.encode(), "reward of row 1 is '0,0', not a finite number"),
        (CSV.replace("\n0,", "\n,").encode(), "episode_id is null in row 1"),
        (CSV.replace("\n0,", "\nnan,").encode(), "episode_id is null in row 1"),
        (CSV.replace("276856359", "").replace("276856359", "").encode(), "no seed|neither a seed"),
        (CSV.replace("True", "").encode(), "terminated is null in row 43"),
        (CSV.replace("episode_id", "épisode").encode("latin-1"), "is not UTF-8 text"),
        ("\n".join(LINES[1:]).encode(), "no column 'episode_id'"),
        (gzip.compress(CSV.encode())[:-40], "is damaged"),
        ((CASES / "ok.parquet").read_bytes(), "is a Parquet file: name it .parquet"),
        (b"PK\x03\x04" + b"x" * 99, "spreadsheet"),
    ],
    ids=range(18),
)
def test_damaged_text_is_rejected(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    message = rejected(tmp_path / "log.csv", tmp_path)
    assert any(word in message for word in words.split("|")), message


def test_ids_are_names_and_not_numbers(tmp_path: Path) -> None:
    """007 and 7 are two episodes; a reader that takes them for numbers makes one of them."""
    text = CSV.replace("\n1,", "\n00,").replace("\n2,", "\n99999999999999999999,")
    (tmp_path / "log.csv").write_text(text)
    assert imported(tmp_path / "log.csv", tmp_path).column("terminated").sum() == 3
    shutil.rmtree(tmp_path / "workspace")
    folder = tmp_path / "log"
    for i, name in enumerate(("7", "007", "70")):
        (folder / f"episode_id={name}").mkdir(parents=True)
        part = CASES / "hive.parquet" / f"episode_id={i}"
        shutil.copy(next(part.glob("*.parquet")), folder / f"episode_id={name}" / "part.parquet")
    assert imported(folder, tmp_path).column("terminated").sum() == 3


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    (tmp_path / "log.parquet").mkdir()
    assert "log.csv cannot be read: Is a directory" in rejected(tmp_path / "log.csv", tmp_path)
    assert "has no Parquet files" in rejected(tmp_path / "log.parquet", tmp_path)
    (tmp_path / "empty.parquet").touch()
    assert "is empty" in rejected(tmp_path / "empty.parquet", tmp_path)
    shutil.copy(CASES / "ok.csv", tmp_path / "csv.parquet")
    assert "is damaged, or no Parquet file" in rejected(tmp_path / "csv.parquet", tmp_path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.99])
def test_a_parquet_file_that_was_cut_short(keep: float, tmp_path: Path) -> None:
    content = (CASES / "ok.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(content[: int(len(content) * keep)])
    assert "log.parquet is damaged" in rejected(tmp_path / "log.parquet", tmp_path)
