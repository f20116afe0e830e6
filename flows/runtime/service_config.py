"""Settings of the running service: when flows start by themselves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ServiceConfig(BaseModel):
    """Schedules and triggers of the deployments; empty ones start nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retrain_cron: str = Field("", description='when to retrain, such as "0 3 * * 0"')
    retrain_every_s: float = Field(0, ge=0, description="or: seconds between retrainings")
    retrain_rrule: str = Field("", description='or: iCalendar, such as "FREQ=DAILY;BYHOUR=3"')
    check_cron: str = Field("", description="when to play the champion again (drift check)")
    timezone: str = Field("UTC", description="of the schedules")
    relabel_above: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of unseen states from which label-states starts; 1: off",
    )
    revive_after_s: float = Field(
        0, ge=0, description="a run that gave no sign for so long is started again; 0: off"
    )
    revive_times: int = Field(
        5, ge=1, description="with revive_after_s: how often a run that crashes is started again"
    )
    teacher_runs: int = Field(1, ge=1, description="flow runs that may ask one teacher at a time")

    @model_validator(mode="after")
    def _one_schedule(self) -> ServiceConfig:
        given = [self.retrain_cron, self.retrain_every_s, self.retrain_rrule]
        if sum(map(bool, given)) > 1:
            raise ValueError(
                "give one of retrain_cron, retrain_every_s and retrain_rrule, not several"
            )
        if self.revive_after_s and self.revive_after_s < 90:
            raise ValueError(
                "revive_after_s has to be 90 or more: runs give a sign every 30 seconds, and one "
                "that is only slow must not be started twice"
            )
        return self
