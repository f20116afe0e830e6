"""Settings of patience: how long a stage may take, and how often it is begun again."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PatienceConfig(BaseModel):
    """When a stage is given up, and when it is begun again; it then goes on from what is stored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retries: int = Field(
        3,
        ge=0,
        description="times that a stage is begun again after the teacher's server stopped "
        "answering; what a person has to mend is never repeated",
    )
    pause_s: float = Field(60.0, ge=0, description="seconds before each")
    collect_s: float = Field(
        0, ge=0, description="seconds that an attempt at collecting may take; 0: any time"
    )
    label_s: float = Field(0, ge=0, description="likewise a labelling")
    pretrain_s: float = Field(0, ge=0, description="likewise a pretraining")
    finetune_s: float = Field(0, ge=0, description="likewise a fine-tuning")
    evaluate_s: float = Field(0, ge=0, description="likewise an evaluation")

    def limit_s(self, stage: str) -> float | None:
        """Seconds that one attempt at a stage may take; None for any time."""
        found: float = getattr(self, f"{stage}_s", 0)
        return found or None
