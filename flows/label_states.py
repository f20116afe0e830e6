"""Flow label-states: ask the teacher about every state that has no advice yet."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.errors import TeacherError
from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.sharding import label_in_shards, task_runner
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.label import label
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome, sharded_outcome
from llm4teach.teacher_labeling.labeling.valid_share import ValidShare, too_few_valid


@flow(name="label-states")
def label_states(
    settings: Settings = Settings(), overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Label every distinct state of the stored trajectories once and for all.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.

    Raises:
        TeacherError: the teacher cannot answer, or too small a share of its answers is valid.
    """
    settings = with_resolved_teacher(overridden(settings, overrides))
    if settings.scale.runner != "none":
        flow_of = label_in_shards.with_options(
            task_runner=task_runner(settings.scale),
            timeout_seconds=settings.patience.limit_s("label"),
        )
        result = sharded_outcome(settings.workspace, flow_of(settings))
        found = ValidShare(*(result[f"{name}_states"] for name in ("valid", "invalid", "refused")))
        least = settings.teacher.min_valid_share
        if found.share < least:
            raise TeacherError(too_few_valid(found, result["teacher_id"], least))
        return result
    with opened("label", settings) as ctx:
        rows, run_stage = trajectories(ctx, None), with_retries(settings.patience)
        run_stage("label", lambda: label(ctx, rows))
        return outcome(ctx)
