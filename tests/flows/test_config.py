"""Where a setting comes from, and what is said when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prefect_processes import REPOSITORY
from pydantic import AliasChoices, BaseModel, Field

from llm4teach.errors import ConfigError
from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.cli.parser import parse
from llm4teach.flows.runtime.settings import OTHER_VARIABLES, Settings, canonical, load_settings


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    return own_folder


def test_flags_outrank_the_environment_and_that_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "llm4teach.toml").write_text(
        'task = "A"\nseed = 1\n[finetune]\nsteps = 9001\nepochs = 1\nkl_coef = 0.5\n'
    )
    monkeypatch.setenv("LLM4TEACH_SEED", "2")
    monkeypatch.setenv("LLM4TEACH_FINETUNE__STEPS", "9002")
    monkeypatch.setenv("LLM4TEACH_FINETUNE__EPOCHS", "2")
    settings = load_settings({"finetune": {"steps": "9003"}})
    assert (settings.task, settings.seed) == ("A", 2)
    finetune = settings.finetune
    assert (finetune.steps, finetune.epochs, finetune.kl_coef) == (9003, 2, 0.5)
    assert finetune.gamma == Settings().finetune.gamma


def test_a_named_file_replaces_the_default_one(folder: Path) -> None:
    (folder / "llm4teach.toml").write_text("seed = 1")
    (folder / "other.toml").write_text("[evaluate]\nepisodes = 7")
    settings = load_settings({}, folder / "other.toml")
    assert (settings.seed, settings.evaluate.episodes) == (0, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "c.toml is not valid TOML: Invalid value"),
        ("seed = 'x'", "c.toml: seed is 'x': Input should be a valid integer"),
        ("[finetune]\nstps = 1", "c.toml: finetune.stps is unknown; did you mean steps?"),
        ("[finetun]\nsteps = 1", "c.toml: finetun is unknown; did you mean finetune?"),
        ("[finetune]\nzzz = 1", "known are: steps, n_envs, workers, rollout_length"),
        ("finetune = 3", "c.toml: finetune is 3: Input should be a valid dictionary"),
        ("[finetune]\nclip = 0", "c.toml: finetune.clip is 0: Input should be greater than 0"),
        ("[teacher]\napi_key = 'x'", "c.toml: teacher.api_key is unknown"),
        ("seed = 'x'\ntask = 1", "; c.toml: seed"),
    ],
)
def test_what_is_wrong_in_a_file(folder: Path, text: str, message: str) -> None:
    Path("c.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_settings({}, Path("c.toml"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"file nope.toml does not exist"):
        load_settings({}, Path("nope.toml"))
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings({}, folder)
    Path("latin.toml").write_bytes(b"task = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin.toml is not valid TOML"):
        load_settings({}, Path("latin.toml"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LLM4TEACH_SEED", "x", "environment variable LLM4TEACH_SEED is 'x'"),
        ("LLM4TEACH_FINETUNE__STPS", "1", "LLM4TEACH_FINETUNE__STPS is unknown; did you mean step"),
        ("LLM4TEACH_TEACHER", "x", "is set with LLM4TEACH_TEACHER__<FIELD>"),
    ],
)
def test_what_is_wrong_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        load_settings({})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LLM4TEACH_WORKSPCE", "is not a setting; did you mean LLM4TEACH_WORKSPACE?"),
        ("llm4teach_workspce", "is not a setting; did you mean LLM4TEACH_WORKSPACE?"),
        ("LLM4TEACH_FINETUN__STEPS", "did you mean LLM4TEACH_FINETUNE__STEPS?"),
        ("LLM4TEACH_FINETUNE_STEPS", "did you mean LLM4TEACH_FINETUNE__STEPS?"),
        ("LLM4TEACH_FINETUNE__KL_COEFF", "is unknown; did you mean kl_coef?"),
        ("LLM4TEACH_SEED__X", "is not a setting; did you mean LLM4TEACH_SEED?"),
        ("LLM4TEACH_API_KYE", "is not a setting; did you mean LLM4TEACH_API_KEY?"),
        ("LLM4TEACH_XYZXYZXYZ", "is set with LLM4TEACH_<SECTION>__<FIELD>"),
    ],
)
def test_a_variable_that_nothing_reads_is_an_error(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setenv(name, "secret")
    with pytest.raises(ConfigError) as error:
        load_settings({})
    assert name in str(error.value) and message in str(error.value)
    assert "secret" not in str(error.value)


def test_variables_of_ours_that_are_no_settings_may_be_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*OTHER_VARIABLES, "LLM4TEACH_SERVICE_HOST", "LLM4TEACH_PORT_80_TCP_ADDR"):
        monkeypatch.setenv(name, "x")
    assert load_settings({}) == Settings()
    monkeypatch.setenv("LLM4TEACH_COLLECT__NOISE", "0.5")  # an earlier name
    assert load_settings({}) != Settings()


def test_every_variable_that_the_code_reads_is_known() -> None:
    found = set()
    for package in ("flows", "teacher_labeling", "envs", "datasets", "analysis", "student"):
        for path in (REPOSITORY / package).rglob("*.py"):
            found |= set(re.findall(r"\bLLM4TEACH_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    assert found <= set(OTHER_VARIABLES), "with our prefix, and neither a setting nor listed"


def test_a_byte_order_mark_is_no_part_of_a_file(folder: Path) -> None:
    (folder / "llm4teach.toml").write_text("seed = 7", encoding="utf-8-sig")
    assert load_settings({}).seed == 7


def test_a_wrong_flag_is_told_by_its_own_name() -> None:
    with pytest.raises(ConfigError, match=r"^--finetune.kl-coef is '-1': Input should be greater"):
        load_settings({"finetune": {"kl_coef": "-1"}})


@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_a_secret_in_an_address_is_refused_wherever_it_stands(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, flags, file = "http://me:hush-hush@host/v1?api-key=hush-hush", {}, None
    if source == "flag":
        flags = {"teacher": {"base_url": url}}
    elif source == "environment":
        monkeypatch.setenv("LLM4TEACH_TEACHER__BASE_URL", url)
    else:
        file = tmp_path / "mine.toml"
        file.write_text(f'[teacher]\nbase_url = "{url}"\n')
    with pytest.raises(ConfigError, match=r"(?i)base.url: .*LLM4TEACH_API_KEY") as error:
        load_settings(flags, file)
    assert "hush" not in str(error.value)


def test_a_budget_in_which_nothing_is_learned_is_refused() -> None:
    with pytest.raises(ConfigError, match="100 steps are less than one update, n_envs x rollout"):
        load_settings({"finetune": {"steps": 100}})
    assert load_settings({"finetune": {"steps": 0}}).finetune.steps == 0
    assert load_settings({"finetune": {"steps": 100, "n_envs": 1}}).finetune.n_envs == 1


class Renamed(BaseModel):
    plan_epsilon: float = Field(0.3, validation_alias=AliasChoices("plan_epsilon", "doubt"))


class Outer(BaseModel):
    collect: Renamed = Field(Renamed(), validation_alias=AliasChoices("collect", "gather"))


def test_an_earlier_name_means_the_present_one() -> None:
    assert canonical({"gather": {"doubt": 0.1}}, Outer) == {"collect": {"plan_epsilon": 0.1}}
    assert canonical({"collect": {"plan_epsilon": 0.1}}, Outer)["collect"] == {"plan_epsilon": 0.1}
    with pytest.raises(ConfigError, match="given twice: plan_epsilon"):
        canonical({"collect": {"plan_epsilon": 0.1, "doubt": 0.2}}, Outer)


def test_an_earlier_name_of_a_setting_counts_like_its_present_one_in_every_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "llm4teach.toml").write_text(
        "[collect]\ndoubt = 0.11\nnoise = 0.11\nteacher_share = 0.11\n"
    )
    monkeypatch.setenv("LLM4TEACH_COLLECT__NOISE", "0.22")
    monkeypatch.setenv("LLM4TEACH_COLLECT__TEACHER_SHARE", "0.22")
    _, flags = parse(["collect", "--collect.teacher-share", "0.33"], COMMANDS)
    collect = load_settings(flags).collect
    assert collect.plan_epsilon == 0.11
    assert collect.action_epsilon == 0.22
    assert collect.teacher_fraction == 0.33
    with pytest.raises(ConfigError, match=r"^--collect.plan-epsilon is '7': Input should be less"):
        load_settings(parse(["collect", "--collect.doubt", "7"], COMMANDS)[1])
