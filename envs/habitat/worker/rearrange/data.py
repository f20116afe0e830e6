"""ReplicaCAD's files, which habitat-sim's rearrangement task needs."""

from __future__ import annotations

from pathlib import Path

EPISODES = "datasets/replica_cad/rearrange/v2/{split}/rearrange_easy.json.gz"
NEEDED = (
    "replica_cad/replicaCAD.scene_dataset_config.json",
    "objects/ycb/configs",
    "robots/hab_fetch/robots/hab_suction.urdf",
    EPISODES.format(split="train"),
    EPISODES.format(split="val"),
)
DOWNLOAD = (
    "python -m habitat_sim.utils.datasets_download --uids rearrange_task_assets --data-path {}"
)


def check_data(folder: Path) -> None:
    """Look for the data before anything is built.

    Raises:
        FileNotFoundError: some of it is missing; the message says what, and how to get it.
    """
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"the rearrange simulator needs ReplicaCAD's data, and {folder} lacks "
            f"{', '.join(missing)}. Get it (CC BY-NC, some GB) with the worker's interpreter: "
            f"{DOWNLOAD.format(folder)}; or say where it is: LLM4TEACH_HABITAT_DATA=/path/to/data"
        )
