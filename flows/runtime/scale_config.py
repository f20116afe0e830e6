"""Settings of scale-out: on what collection and labelling run, in how many shards."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ScaleConfig(BaseModel):
    """How collection and labelling are spread; what they store depends on the shards alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runner: Literal["none", "threads", "processes", "dask", "ray"] = Field(
        "none", description="engine of the shards: none, threads, processes, dask or ray"
    )
    workers: int = Field(2, ge=1, description="shards at a time, on an engine of this machine")
    address: str = Field("", description="existing cluster: tcp://host:8786, ray://host:10001")
    shards: int = Field(8, ge=1, description="parts of the work; each is done once or again")
