"""Registers the deployments with the server that the environment names.

Settings come as JSON on stdin or, where that is empty, from the environment and llm4teach.toml.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from llm4teach.flows.runtime.settings import Settings, load_settings
from llm4teach.flows.service.deployments import POOL, prepare_server, runner_deployments


def register(settings: Settings) -> None:
    """Create the work pool, if it is missing, then deployments, automations and limits."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for deployment in runner_deployments(settings, POOL):
        deployment.apply()
    prepare_server(settings)


if __name__ == "__main__":
    given = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    register(Settings.model_validate_json(given) if given.strip() else load_settings({}))
