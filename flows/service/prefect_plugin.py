"""Prefect plugin: `prefect deployment run label-states` works without the flow's name in front.

Prefect loads it through the entry-point group ``prefect.plugins`` where plugins are enabled, which
this repository's pyproject.toml does (elsewhere: ``PREFECT_PLUGINS_ENABLED=1``).
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING

from prefect.plugins import register_hook

if TYPE_CHECKING:  # keeps this module's own import light; Prefect itself is loaded by then
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.plugins import HookContext


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Let `PrefectClient.read_deployment_by_name` also take a bare, unique deployment name."""
    from prefect.client.orchestration import PrefectClient

    by_full_name = PrefectClient.read_deployment_by_name
    if getattr(by_full_name, "takes_bare_names", False):  # Prefect may run its hooks twice
        return

    @wraps(by_full_name)
    async def by_any_name(self: PrefectClient, name: str) -> DeploymentResponse:
        full_name = name if "/" in name else await _full_name(self, name)
        return await by_full_name(self, full_name)

    by_any_name.takes_bare_names = True  # type: ignore[attr-defined]
    PrefectClient.read_deployment_by_name = by_any_name  # type: ignore[assignment]


async def _full_name(client: PrefectClient, name: str) -> str:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    only = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    deployments = await client.read_deployments(deployment_filter=only)
    names = sorted([f"{(await client.read_flow(d.flow_id)).name}/{d.name}" for d in deployments])
    if len(names) > 1:
        _refuse(f"deployment name {name!r} is ambiguous; give one of: {', '.join(names)}")
    # For an unknown name the server answers 404, which Prefect reports as it always does.
    return names[0] if names else f"{name}/{name}"


def _refuse(message: str) -> None:
    if (cli := sys.modules.get("prefect.cli._utilities")) is not None:
        cli.exit_with_error(message)  # anything else that is raised there shows a traceback
    raise ValueError(message)
