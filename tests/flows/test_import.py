"""`import`: what others recorded becomes trajectories if the task could have produced it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from llm4teach.datasets.importers import Episode, read_episodes
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.errors import DatasetError
from llm4teach.flows.stages.import_episodes import import_episodes
from llm4teach.student.collection.importing import Importer

TASK = get_task("SimpleDoorKey")


def recorded(seed: int, steps: int = 200) -> tuple[Episode, np.ndarray]:
    """An episode of random actions, and what was observed before each."""
    env, rng = TASK.make_env(), np.random.default_rng(seed)
    seen, _ = env.reset(seed=seed)
    rows, observations = [], []
    for _ in range(steps):
        action = int(rng.integers(7))
        observations.append(seen)
        seen, reward, terminated, truncated, _ = env.step(action)
        rows.append((action, reward, terminated, truncated))
        if terminated or truncated:
            break
    actions, rewards, terminated, truncated = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    episode = Episode(str(seed), actions, rewards, terminated, truncated, seed)
    return episode, np.stack(observations)


def log_of(seeds: range, steps: int = 200) -> pa.Table:
    tables = []
    for seed in seeds:
        e, _ = recorded(seed, steps)
        n = len(e.actions)
        tables.append(
            pa.table(
                {
                    "ep": [seed * 10] * n,
                    "step": list(range(n)),
                    "seed": [seed] * n,
                    "act": e.actions,
                    "reward": e.rewards,
                    "terminated": e.terminated,
                    "truncated": e.truncated,
                }
            )
        )
    return pa.concat_tables(tables)


COLUMNS = {"episode_id": "ep", "t": "step", "action": "act"}


def test_a_csv_log_with_seeds_is_played_again(tmp_path: Path) -> None:
    table = log_of(range(3))
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(len(table))))
    pacsv.write_csv(shuffled, tmp_path / "log.csv")
    workspace = Workspace(str(tmp_path / "ws"))
    taken = import_episodes(workspace, TASK.name, str(tmp_path / "log.csv"), COLUMNS, False)
    steps = read_steps(workspace.trajectories(TASK.name), TASK.observation_shape)
    assert taken["episodes"] == 3 and taken["collect_steps"] == len(steps) == len(table)
    expected = np.concatenate([recorded(seed)[1] for seed in range(3)])
    np.testing.assert_array_equal(steps.observations, expected)
    np.testing.assert_array_equal(steps.column("action"), table.column("act").to_numpy())
    assert set(steps.column("behavior")) == {"imported"}
    assert (workspace.run(taken["run_id"]) / "manifest.json").exists()


def test_parquet_with_observations_needs_no_seed(tmp_path: Path) -> None:
    episode, seen = recorded(5, 30)
    table = pa.table(
        {
            "episode_id": [7] * 30,
            "action": episode.actions,
            "reward": episode.rewards,
            "terminated": episode.terminated,
            "truncated": episode.truncated,
            "observation": [o.tobytes() for o in seen],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    workspace = Workspace(str(tmp_path / "ws"))
    import_episodes(workspace, TASK.name, str(tmp_path / "log.parquet"), {}, False)
    steps = read_steps(workspace.trajectories(TASK.name), TASK.observation_shape)
    np.testing.assert_array_equal(steps.observations, seen)
    assert set(steps.column("seed")) == {-1}


@pytest.mark.filterwarnings("ignore::UserWarning")  # that it has no author
def test_a_minari_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    space = gym.spaces.Box(0, 255, TASK.observation_shape, np.uint8)
    buffers = []
    for seed in (11, 12):
        episode, seen = recorded(seed, 40)
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=None,
                seed=seed,
                observations=[*seen, seen[-1]],
                actions=list(episode.actions),
                rewards=list(episode.rewards),
                terminations=list(episode.terminated),
                truncations=[*episode.truncated[:-1], True],
            )
        )
    minari.create_dataset_from_buffers(
        "doorkey/test-v0",
        buffers,
        observation_space=space,
        action_space=gym.spaces.Discrete(7),
    )
    source = tmp_path / "minari" / "doorkey" / "test-v0"
    episodes = list(read_episodes(str(source), {}))
    assert [e.seed for e in episodes] == [11, 12]
    np.testing.assert_array_equal(episodes[0].observations, recorded(11, 40)[1])
    [problem] = Importer(TASK, "run").problems(episodes[0])
    assert problem == "played again from seed 11, step 39 has truncated False"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": np.full(10, 9)}, "action 9: SimpleDoorKey has 0 to 6"),
        ({"actions": np.full(10, 0.5)}, "no whole numbers"),
        ({"rewards": np.full(10, np.nan)}, "not all finite"),
        ({"rewards": np.ones(10)}, "step 0 has reward 0.0000, not 1.0000"),
        ({"rewards": np.ones(9)}, "different lengths"),
        ({"terminated": np.arange(10) == 4}, "it ends at step 4, and goes on"),
        ({"terminated": np.arange(10) == 9}, "step 9 has terminated False"),
        ({"seed": HELD_OUT_START + 3}, "are kept for evaluation"),
        ({"seed": -1}, "none below 0"),
        ({"seed": None}, "neither a seed"),
        ({"seed": None, "observations": np.zeros((10, 3))}, "observations of 3 numbers"),
        ({"seed": None, "observations": np.full((10, 400), 256)}, "from 0 to 255"),
        ({"observations": np.zeros((10, 400), np.uint8)}, "step 0 has another observation"),
    ],
)
def test_what_does_not_fit_is_said(change: dict, words: str) -> None:  # type: ignore[type-arg]
    episode, _ = recorded(1, 10)
    assert not list(Importer(TASK, "run").problems(episode))
    problems = list(Importer(TASK, "run").problems(replace(episode, **change)))
    assert words in "; ".join(problems)


def test_all_or_nothing_unless_told_to_skip(tmp_path: Path) -> None:
    table = log_of(range(2), 20)
    wrong = table.set_column(4, "reward", pa.array([5.0] * 20 + [0.0] * 20))
    pq.write_table(wrong, tmp_path / "log.parquet")
    workspace, source = Workspace(str(tmp_path / "ws")), str(tmp_path / "log.parquet")
    with pytest.raises(DatasetError, match=r"1 of 2 episodes do not fit.*\n  episode 0: played"):
        import_episodes(workspace, TASK.name, source, COLUMNS, False)
    assert not list((tmp_path / "ws").rglob("*.parquet"))
    taken = import_episodes(workspace, TASK.name, source, COLUMNS, True)
    assert (taken["episodes"], taken["refused"]) == (1, 1)


def test_missing_columns_are_all_listed_with_a_proposal(tmp_path: Path) -> None:
    pq.write_table(log_of(range(1), 5), tmp_path / "log.parquet")
    with pytest.raises(DatasetError) as error:
        list(read_episodes(str(tmp_path / "log.parquet"), {"t": "steps"}))
    text = str(error.value)
    assert "no column 'action' for action; did you mean --columns action=act?" in text
    assert "no column 'episode_id'" in text
    assert "no column 'steps' for t; did you mean --columns t=step?" in text


def test_the_command(tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "llm4teach", "import", *words]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)

    gone = command("nothing.csv")
    assert gone.returncode == 1 and "nothing.csv does not exist" in gone.stderr
    unknown = command("some/dataset-v0")
    assert unknown.returncode == 1 and "no Minari dataset here" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    pair = command("log.csv", "--columns", "action")
    assert pair.returncode == 2 and "pairs like action=act" in pair.stderr
