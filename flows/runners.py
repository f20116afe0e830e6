"""Prefect's task runners by name; clusters' come with the extras dask and ray."""

from __future__ import annotations

from typing import Any

from llm4teach.flows.runtime.settings import ConfigError, ScaleConfig


def task_runner(scale: ScaleConfig) -> Any:
    """Return the runner that the shards are given to.

    Raises:
        ConfigError: its package is not installed, or an address is given to one that has none.
    """
    if scale.address and scale.runner not in ("dask", "ray"):
        raise ConfigError(f"--scale.address is for dask and ray; the runner is {scale.runner}")
    if scale.runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=scale.workers)
    if scale.runner == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        return ProcessPoolTaskRunner(max_workers=scale.workers)
    try:
        if scale.runner == "dask":
            from prefect_dask import DaskTaskRunner

            local = {"n_workers": scale.workers, "threads_per_worker": 1}
            if scale.address:
                return DaskTaskRunner(address=scale.address)
            return DaskTaskRunner(cluster_kwargs=local)
        from prefect_ray import RayTaskRunner

        if scale.address:
            return RayTaskRunner(address=scale.address)
        return RayTaskRunner(init_kwargs={"num_cpus": scale.workers, "include_dashboard": False})
    except ImportError:
        hint = f"pip install 'llm4teach[{scale.runner}]'"
        raise ConfigError(f"--scale.runner {scale.runner} needs its extra: {hint}") from None
