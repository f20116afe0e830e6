"""Runs one flow from outside Prefect: checks the settings, starts a server if it needs one."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from llm4teach.flows.runtime.settings import Settings

_SHARDED = ("collect_trajectories", "label_states")


def launch(
    flow: str,
    settings: Settings,
    parameters: dict[str, Any] | None = None,
    *,
    needs_server: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a flow in this process and return its results, as plain JSON.

    Without a Prefect server of the user's, a single stage runs as a plain function; the others, and
    sharded ones, get a temporary server.

    Args:
        flow: module ``llm4teach.flows.<flow>``, and the flow's name in it.
        settings: of the run.
        parameters: the flow's others, such as ``from_run``.
        needs_server: whether it cannot run as a plain function.
        quiet: do not tell that a server is started.

    Raises:
        LLM4TeachError: a setting is wrong, or a stage failed for a reason that people can fix.
    """
    from llm4teach.datasets.workspace import Workspace
    from llm4teach.envs.custom.loading import hand_on_path
    from llm4teach.envs.registry import get_task, get_training_task
    from llm4teach.flows.runtime.prefect_env import explained, has_own_server, prepare_environment
    from llm4teach.flows.runtime.teacher_access import resolve_teacher
    from llm4teach.flows.runtime.temporary_server import start_server
    from llm4teach.teacher_labeling.factory import teacher_info

    # Report what is wrong with these before Prefect starts, which takes seconds.
    workspace = Workspace(settings.workspace)
    task = (get_task if flow == "evaluate_student" else get_training_task)(settings.task)
    settings = settings.model_copy(update={"teacher": resolve_teacher(settings.teacher)})
    teacher_info(settings.teacher, task.family)
    own_server = has_own_server()
    is_sharded = settings.scale.runner != "none" and flow in (
        "collect_trajectories",
        "label_states",
    )
    as_flow = own_server or is_sharded or needs_server
    if as_flow and not own_server and not quiet:
        what = f"{flow.partition('_')[0]}, {settings.task}"
        print(f"{what}: starting a temporary Prefect server", file=sys.stderr, flush=True)
    prepare_environment(workspace.root)
    hand_on_path(os.environ)
    # A cluster may be on other machines, which cannot reach this one's temporary server: there
    # Prefect starts one for each worker.
    is_shared = not settings.scale.address or not is_sharded
    is_temporary = as_flow and not own_server and is_shared
    wait_for_server = start_server() if is_temporary else lambda: None
    with explained():
        module = import_module(f"llm4teach.flows.{flow}")
    run = getattr(module, flow)
    wait_for_server()
    given = {"settings": settings, **(parameters or {})}
    result: dict[str, Any] = run(**given) if as_flow else run.fn(**given)
    return result
